/* A watch over HTTP: a stream of JSON values, one a line, as {"type": ..., "object": ...}. */
#include <errno.h>

#include "lib/client/http_priv.h"

#define WATCH_MAGIC    0xc11e4771u
#define WATCH_LINE_MAX (16u << 20)
/* With bookmarks something comes about every minute. A server that has died without a word is found out by this. */
#define WATCH_SILENCE_US (300ull * 1000000)

struct client_watch {
	uint32_t magic;
	struct client_http *c;
	struct list node;
	const struct kind *kind;
	struct client_watch_ops ops;
	void *arg;
	struct buf target;
	unsigned tries; /* servers asked */
	uint64_t asked_us;
	struct pools *pools;
	struct http_call *call;
	int status;
	struct buf in;
	bool bookmarks;
	struct env_timer silence;
	bool delivering, dead; /* dead: let go of while an event was being delivered */
	struct err failure;
};

static void watch__free(struct client_watch *w)
{
	env_timer_stop(w->c->base.env, &w->silence);
	buf_done(&w->target);
	buf_done(&w->in);
	err_done(&w->failure);
	free(w);
}

static void watch__let_go(struct client_watch *w)
{
	if (w->call)
		http_call_cancel(STEAL(w->call));
	if (w->pools)
		pools__drop(w->c, STEAL(w->pools));
}

/* The end as the stream or the server says it; the caller is told, the watch is gone. */
static void watch__end(struct client_watch *w, const struct err *err)
{
	watch__let_go(w);
	list_del(&w->node);
	w->ops.on_end(w->arg, err);
	watch__free(w);
}

static bool watch__again(struct client_watch *w);

/* Nothing of an answer yet: the next server may have one. */
static void watch__unanswered(struct client_watch *w, const struct err *err)
{
	servers__failed(w->c->servers, w->pools->url, err);
	if (!watch__again(w))
		watch__end(w, err);
}

static void watch__on_silence(struct env_timer *t)
{
	struct client_watch *w = CONTAINER_OF(t, struct client_watch, silence);
	MAGIC_CHECK(w, WATCH_MAGIC);
	struct err err = ERR_INIT;
	if (w->status) {
		err_set(&err, -ETIMEDOUT, "nothing came for %llu seconds", WATCH_SILENCE_US / 1000000);
		watch__end(w, &err);
		return;
	}
	err_set(&err, -ETIMEDOUT, "%s is silent", w->pools->url);
	watch__unanswered(w, &err);
}

static void watch__heard(struct client_watch *w)
{
	if (!w->status && servers_count(w->c->servers) > 1)
		env_timer_start(w->c->base.env, &w->silence, SERVER_SILENT_US);
	else if (w->bookmarks)
		env_timer_start(w->c->base.env, &w->silence, WATCH_SILENCE_US);
	else
		env_timer_stop(w->c->base.env, &w->silence);
}

static int watch__object(struct client_watch *w, json_t *tree, struct object **ret)
{
	if (!json_is_object(tree))
		return err_set(&w->failure, -EPROTO, "a watch event without an object");
	const struct kind *k = w->kind;
	if (!json_object_get(tree, "kind")) {
		_cleanup_free_ char *version = kind_api_version(k);
		json_put_str(tree, "apiVersion", version);
		json_put_str(tree, "kind", k->kind);
	}
	*ret = object_from_tree(k, tree);
	return 0;
}

static void watch__event(struct client_watch *w, enum watch_type type, json_t *tree)
{
	_cleanup_object_ struct object *obj = NULL;
	if (watch__object(w, tree, &obj) < 0)
		return;
	w->delivering = true;
	w->ops.on_event(w->arg, type, obj);
	w->delivering = false;
}

static void watch__line(struct client_watch *w, const char *line, size_t len)
{
	_cleanup_json_ json_t *ev = NULL;
	if (json_parse(line, len, &ev, &w->failure) < 0) {
		err_prefix(&w->failure, "watch stream");
		return;
	}
	const char *type = json_get_str(ev, "type", "");
	json_t *tree = json_object_get(ev, "object");
	if (!strcmp(type, "ADDED"))
		watch__event(w, WATCH_ADDED, tree);
	else if (!strcmp(type, "MODIFIED"))
		watch__event(w, WATCH_MODIFIED, tree);
	else if (!strcmp(type, "DELETED"))
		watch__event(w, WATCH_DELETED, tree);
	else if (!strcmp(type, "BOOKMARK"))
		watch__event(w, WATCH_BOOKMARK, tree);
	else if (!strcmp(type, "ERROR"))
		err_from_status(tree, (int)json_get_int(tree, "code", 500), &w->failure);
	else
		err_set(&w->failure, -EPROTO, "unknown watch event type \"%.40s\"", type);
}

static void watch__on_response(void *arg, int status, const struct http_header *headers)
{
	struct client_watch *w = arg;
	MAGIC_CHECK(w, WATCH_MAGIC);
	(void)headers;
	w->status = status;
	watch__heard(w);
}

static void watch__on_body(void *arg, const void *data, size_t len)
{
	struct client_watch *w = arg;
	MAGIC_CHECK(w, WATCH_MAGIC);
	if (w->in.len + len > WATCH_LINE_MAX) {
		struct err err = ERR_INIT;
		err_set(&err, -EFBIG, "a watch event of more than %u bytes", WATCH_LINE_MAX);
		watch__end(w, &err);
		return;
	}
	watch__heard(w);
	size_t searched = w->in.len, done = 0;
	buf_add(&w->in, data, len);
	if (w->status != 200) /* an error answer: read whole at the end */
		return;
	char *nl;
	while (!w->failure.code && (nl = memchr(w->in.data + searched, '\n', w->in.len - searched)) != NULL) {
		const char *line = w->in.data + done;
		size_t line_len = (size_t)(nl - line);
		done = searched = (size_t)(nl - w->in.data) + 1;
		if (line_len)
			watch__line(w, line, line_len);
		if (w->dead) {
			watch__free(w);
			return;
		}
	}
	buf_consume(&w->in, done);
	if (w->failure.code)
		watch__end(w, &w->failure);
}

static void watch__on_done(void *arg, const struct err *err)
{
	struct client_watch *w = arg;
	MAGIC_CHECK(w, WATCH_MAGIC);
	w->call = NULL;
	if (!w->status) {
		watch__unanswered(w, err);
		return;
	}
	if (!err->code && w->status != 200) {
		_cleanup_json_ json_t *status = NULL;
		if (servers__answered(w->c->servers, w->pools->url, w->status, w->asked_us) && watch__again(w))
			return;
		json_parse(buf_str(&w->in), w->in.len, &status, NULL);
		err_from_status(status, w->status, &w->failure);
		err = &w->failure;
	}
	watch__end(w, err);
}

static const struct http_call_ops call_ops = {
	.on_response = watch__on_response,
	.on_body = watch__on_body,
	.on_done = watch__on_done,
};

static void watch__send(struct client_watch *w)
{
	struct http_header headers[6];
	w->tries++;
	w->pools = pools__use(w->c);
	w->asked_us = env_now_us(w->c->base.env);
	_cleanup_free_ char *target = xasprintf("%s%s", w->pools->prefix, buf_str(&w->target));
	client_http__headers(w->c, NULL, headers);
	w->call = http_call(w->pools->watches, "GET", target, headers, NULL, 0, 0, &call_ops, w);
	watch__heard(w);
}

/* At the current server, which is another one by now; each is asked once. */
static bool watch__again(struct client_watch *w)
{
	if (w->tries >= servers_count(w->c->servers))
		return false;
	watch__let_go(w);
	buf_done(&w->in);
	w->status = 0;
	watch__send(w);
	return true;
}

struct client_watch *http_watch__new(struct client *base, const struct client_watch_request *r,
				     const struct client_watch_ops *ops, void *arg)
{
	struct client_http *c = client_http__of(base);
	struct client_watch *w = NEW(struct client_watch);
	w->magic = WATCH_MAGIC;
	w->c = c;
	w->kind = r->kind;
	w->bookmarks = r->bookmarks;
	w->silence.fn = watch__on_silence;
	w->ops = *ops;
	w->arg = arg;
	list_push(&c->watch_list, &w->node);
	target__watch(&w->target, r);
	watch__send(w);
	return w;
}

void http_watch__cancel(struct client *base, struct client_watch *w)
{
	(void)base;
	MAGIC_CHECK(w, WATCH_MAGIC);
	watch__let_go(w);
	list_del(&w->node);
	if (w->delivering)
		w->dead = true;
	else
		watch__free(w);
}

void http_watch__free_all(struct client_http *c)
{
	LIST_EACH (&c->watch_list, w, struct client_watch, node)
		http_watch__cancel(&c->base, w);
}

/* Their owners begin new ones meanwhile, and may let go of any. */
void http_watch__end_elsewhere(struct client_http *c)
{
	const struct err moved = ERR_INIT;
	struct list ending, *node;
	list_init(&ending);
	LIST_EACH (&c->watch_list, w, struct client_watch, node) {
		if (!w->status || streq(w->pools->url, servers_current(c->servers)))
			continue;
		list_del(&w->node);
		list_push(&ending, &w->node);
	}
	while ((node = list_pop(&ending)))
		watch__end(LIST_ENTRY(node, struct client_watch, node), &moved);
}
