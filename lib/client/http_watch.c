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
	buf_done(&w->in);
	err_done(&w->failure);
	free(w);
}

/* The end as the stream or the server says it; the caller is told, the watch is gone. */
static void watch__end(struct client_watch *w, const struct err *err)
{
	if (w->call)
		http_call_cancel(STEAL(w->call));
	list_del(&w->node);
	w->ops.on_end(w->arg, err);
	watch__free(w);
}

static void watch__on_silence(struct env_timer *t)
{
	struct client_watch *w = CONTAINER_OF(t, struct client_watch, silence);
	MAGIC_CHECK(w, WATCH_MAGIC);
	struct err err = ERR_INIT;
	err_set(&err, -ETIMEDOUT, "nothing came for %llu seconds", WATCH_SILENCE_US / 1000000);
	watch__end(w, &err);
}

static void watch__heard(struct client_watch *w)
{
	if (w->bookmarks)
		env_timer_start(w->c->base.env, &w->silence, WATCH_SILENCE_US);
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
	if (!err->code && w->status != 200) {
		_cleanup_json_ json_t *status = NULL;
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
	watch__heard(w);
	w->ops = *ops;
	w->arg = arg;
	list_push(&c->watch_list, &w->node);
	_cleanup_buf_ struct buf target = BUF_INIT;
	buf_adds(&target, c->prefix);
	target__watch(&target, r);
	struct http_header headers[6];
	client_http__headers(c, NULL, headers);
	w->call = http_call(c->watches, "GET", buf_str(&target), headers, NULL, 0, 0, &call_ops, w);
	return w;
}

void http_watch__cancel(struct client *base, struct client_watch *w)
{
	(void)base;
	MAGIC_CHECK(w, WATCH_MAGIC);
	if (w->call)
		http_call_cancel(STEAL(w->call));
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
