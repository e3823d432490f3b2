#include <errno.h>

#include "lib/client/http_priv.h"

#define CALL_MAGIC      0xc11e4772u
#define CALL_TIMEOUT_MS 60000
#define ANSWER_MAX      (256u << 20)
#define WARNINGS_MAX    32

struct client_call {
	uint32_t magic;
	struct client_http *c;
	struct list node;
	enum client_verb verb;
	const struct kind *kind; /* NULL: the answer is no object of ours */
	client_cb cb;
	void *arg;
	const char *method, *content_type;
	struct buf target, request; /* kept: another server may have to be asked the same */
	unsigned tries;             /* servers asked */
	uint64_t asked_us;
	struct pools *pools;
	struct http_call *call;
	struct env_timer silence;
	int status, retry_after_s;
	struct buf body;
	char *warnings[WARNINGS_MAX + 1];
	unsigned n_warnings;
	bool too_big;
};

struct client_http *client_http__of(struct client *c)
{
	struct client_http *h = (struct client_http *)(void *)c;
	MAGIC_CHECK(h, CLIENT_HTTP_MAGIC);
	return h;
}

void client_http__headers(const struct client_http *c, const char *content_type, struct http_header *ret)
{
	unsigned n = 0;
	ret[n++] = (struct http_header){"Accept", "application/json"};
	ret[n++] = (struct http_header){"User-Agent", c->user_agent};
	if (content_type)
		ret[n++] = (struct http_header){"Content-Type", content_type};
	if (c->authorization)
		ret[n++] = (struct http_header){"Authorization", c->authorization};
	ret[n] = (struct http_header){NULL, NULL};
}

/* ---- one call ---- */

/* What came of one try. */
static void call__reset(struct client_call *call)
{
	env_timer_stop(call->c->base.env, &call->silence);
	if (call->pools)
		pools__drop(call->c, STEAL(call->pools));
	for (unsigned i = 0; i < call->n_warnings; i++)
		free(call->warnings[i]);
	call->n_warnings = 0;
	buf_done(&call->body);
	call->status = call->retry_after_s = 0;
	call->too_big = false;
}

static void call__free(struct client_call *call)
{
	list_del(&call->node);
	call__reset(call);
	buf_done(&call->target);
	buf_done(&call->request);
	free(call);
}

/* Warning: 299 - "text" (RFC 7234, 5.5) */
static void call__warning(struct client_call *call, const char *value)
{
	const char *start = strchr(value, '"'), *end = strrchr(value, '"');
	if (call->n_warnings >= WARNINGS_MAX || !start || end <= start)
		return;
	struct buf text = BUF_INIT;
	for (const char *p = start + 1; p < end; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		buf_addc(&text, *p);
	}
	call->warnings[call->n_warnings++] = buf_steal(&text);
}

static void call__on_response(void *arg, int status, const struct http_header *headers)
{
	struct client_call *call = arg;
	MAGIC_CHECK(call, CALL_MAGIC);
	call->status = status;
	env_timer_stop(call->c->base.env, &call->silence);
	for (const struct http_header *h = headers; h && h->name; h++) {
		int64_t n;
		if (!strcasecmp(h->name, "Warning"))
			call__warning(call, h->value);
		else if (!strcasecmp(h->name, "Retry-After") && parse_i64(h->value, &n) == 0 && n > 0)
			call->retry_after_s = (int)MIN(n, 3600);
	}
}

static void call__on_body(void *arg, const void *data, size_t len)
{
	struct client_call *call = arg;
	MAGIC_CHECK(call, CALL_MAGIC);
	if (call->body.len + len > ANSWER_MAX)
		call->too_big = true;
	else
		buf_add(&call->body, data, len);
}

/* Items of a list have no kind of their own on the wire. */
static struct object *item_object(const struct kind *k, const char *api_version, json_t *item)
{
	if (!json_object_get(item, "kind")) {
		json_put_str(item, "apiVersion", api_version);
		json_put_str(item, "kind", k->kind);
	}
	return object_from_tree(k, item);
}

static uint64_t list_rv(const json_t *tree)
{
	uint64_t rv = 0;
	parse_u64(json_get_str(json_object_get(tree, "metadata"), "resourceVersion", ""), &rv);
	return rv;
}

static void call__list(struct client_call *call, json_t *tree, struct client_response *resp)
{
	json_t *items = json_object_get(tree, "items");
	size_t n = json_array_size(items), i, have = 0;
	_cleanup_free_ struct object **v = NEW_N(struct object *, n + 1);
	_cleanup_free_ char *api_version = kind_api_version(call->kind);
	json_t *item;
	json_array_foreach(items, i, item)
	{
		if (json_is_object(item))
			v[have++] = item_object(call->kind, api_version, item);
	}
	resp->items = v;
	resp->n_items = have;
	resp->rv = list_rv(tree);
	resp->continue_token = json_get_str(json_object_get(tree, "metadata"), "continue", "");
	resp->remaining = json_get_int(json_object_get(tree, "metadata"), "remainingItemCount", -1);
	call->cb(call->arg, resp);
	for (i = 0; i < have; i++)
		object_unref(v[i]);
}

static void call__object(struct client_call *call, json_t *tree, struct client_response *resp)
{
	const char *kind = json_get_str(tree, "kind", "");
	_cleanup_object_ struct object *obj = NULL;
	if (json_is_object(tree) && strcmp(kind, "Status") != 0) {
		bool same = !strcmp(kind, call->kind->kind);
		obj = object_from_tree(
			same ? call->kind : kind_by_api_version(json_get_str(tree, "apiVersion", ""), kind), tree);
		resp->rv = obj->rv;
	}
	resp->object = obj;
	call->cb(call->arg, resp);
}

static void call__answer(struct client_call *call, struct err *err)
{
	_cleanup_json_ json_t *tree = NULL;
	struct client_response resp = {
		.err = err,
		.continue_token = "",
		.remaining = -1,
		.warnings = call->n_warnings ? (const char *const *)call->warnings : NULL,
	};
	if (!err->code && call->too_big)
		err_set(err, -EFBIG, "the answer is larger than %u bytes", ANSWER_MAX);
	bool ok = call->status >= 200 && call->status < 300;
	if (!err->code && call->body.len) {
		struct err *why = ok ? err : NULL; /* an error page need not be JSON */
		if (json_parse(call->body.data, call->body.len, &tree, why) < 0 && ok)
			err_prefix(err, "the server's answer");
	}
	if (!err->code && !ok) {
		err_from_status(tree, call->status, err);
		if (!err->retry_after_s)
			err->retry_after_s = call->retry_after_s;
	}
	resp.tree = tree;
	if (err->code)
		call->cb(call->arg, &resp);
	else if (!call->kind)
		call->cb(call->arg, &resp);
	else if (call->verb == CLIENT_LIST)
		call__list(call, tree, &resp);
	else
		call__object(call, tree, &resp);
}

static void call__send(struct client_call *call);

/* The current server, which is another one by now; each is asked once. */
static bool call__again(struct client_call *call)
{
	if (call->tries >= servers_count(call->c->servers))
		return false;
	call__reset(call);
	call__send(call);
	return true;
}

static void call__end(struct client_call *call, const struct err *err)
{
	_cleanup_err_ struct err mine = ERR_INIT;
	err_copy(&mine, err);
	call__answer(call, &mine);
	call__free(call);
}

static void call__on_done(void *arg, const struct err *err)
{
	struct client_call *call = arg;
	MAGIC_CHECK(call, CALL_MAGIC);
	call->call = NULL;
	bool other = servers__answered(call->c->servers, call->pools->url, call->status, call->asked_us);
	/* 503 says that nothing was done */
	if (!other || !call__again(call))
		call__end(call, err);
}

static void call__failed(struct client_call *call, const struct err *err, bool sent)
{
	bool safe = call->verb == CLIENT_GET || call->verb == CLIENT_LIST;
	call->call = NULL;
	servers__failed(call->c->servers, call->pools->url, err);
	if ((sent && !safe) || !call__again(call))
		call__end(call, err);
}

static void call__on_failed(void *arg, const struct err *err, bool sent)
{
	struct client_call *call = arg;
	MAGIC_CHECK(call, CALL_MAGIC);
	call__failed(call, err, sent);
}

static void call__on_silence(struct env_timer *t)
{
	struct client_call *call = CONTAINER_OF(t, struct client_call, silence);
	struct err err = ERR_INIT;
	MAGIC_CHECK(call, CALL_MAGIC);
	http_call_cancel(STEAL(call->call));
	err_set(&err, -ETIMEDOUT, "%s is silent", call->pools->url);
	call__failed(call, &err, true);
}

static const struct http_call_ops call_ops = {
	.on_response = call__on_response,
	.on_body = call__on_body,
	.on_done = call__on_done,
	.on_failed = call__on_failed,
};

static void call__send(struct client_call *call)
{
	struct client_http *c = call->c;
	struct http_header headers[6];
	call->tries++;
	call->pools = pools__use(c);
	call->asked_us = env_now_us(c->base.env);
	_cleanup_free_ char *target = xasprintf("%s%s", call->pools->prefix, buf_str(&call->target));
	client_http__headers(c, call->request.len ? call->content_type : NULL, headers);
	call->call = http_call(call->pools->calls, call->method, target, headers, call->request.data, call->request.len,
			       CALL_TIMEOUT_MS, &call_ops, call);
	if (servers_count(c->servers) > 1)
		env_timer_start(c->base.env, &call->silence, SERVER_SILENT_US);
}

static struct client_call *call__new(struct client_http *c, enum client_verb verb, client_cb cb, void *arg)
{
	struct client_call *call = NEW(struct client_call);
	call->magic = CALL_MAGIC;
	call->c = c;
	call->verb = verb;
	call->cb = cb;
	call->arg = arg;
	call->silence.fn = call__on_silence;
	list_push(&c->call_list, &call->node);
	return call;
}

static struct client_call *http__call(struct client *base, const struct client_request *r, client_cb cb, void *arg)
{
	struct client_call *call = call__new(client_http__of(base), r->verb, cb, arg);
	call->kind = r->kind;
	call->method = target__method(r);
	call->content_type = target__content_type(r);
	client_http_target(&call->target, r);
	target__body(&call->request, r);
	call__send(call);
	return call;
}

struct client_call *client_http_ask(struct client *base, const char *path, const json_t *body, client_cb cb, void *arg)
{
	struct client_call *call = call__new(client_http__of(base), body ? CLIENT_CREATE : CLIENT_GET, cb, arg);
	call->method = body ? "POST" : "GET";
	call->content_type = "application/json";
	buf_adds(&call->target, path);
	if (body)
		json_write(&call->request, body);
	call__send(call);
	return call;
}

static void http__cancel(struct client *base, struct client_call *call)
{
	(void)base;
	MAGIC_CHECK(call, CALL_MAGIC);
	if (call->call)
		http_call_cancel(call->call);
	call__free(call);
}

static void http__free(struct client *base)
{
	struct client_http *c = client_http__of(base);
	LIST_EACH (&c->call_list, call, struct client_call, node)
		http__cancel(base, call);
	http_watch__free_all(c);
	pools__free_all(c);
	kubeconfig_done(&c->config);
	free(c->authorization);
	free(c->user_agent);
	free(c);
}

static const struct client_ops http_ops = {
	.call = http__call,
	.cancel = http__cancel,
	.watch = http_watch__new,
	.unwatch = http_watch__cancel,
	.free = http__free,
};

/* ---- the client ---- */

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

int client_http_new_among(struct env *env, uv_loop_t *loop, struct servers *servers, const struct kubeconfig *k,
			  const char *user_agent, struct client **ret, struct err *err)
{
	struct tls_context *tls = NULL;
	if (servers__tls(servers)) {
		int rc = tls_client_context(k->ca_pem, k->cert_pem, k->key_pem, k->insecure, &tls, err);
		if (rc < 0)
			return err_prefix(err, "server %s", servers_current(servers));
	}
	struct client_http *c = NEW(struct client_http);
	c->base.ops = &http_ops;
	c->base.env = env;
	c->magic = CLIENT_HTTP_MAGIC;
	c->loop = loop;
	c->among = true;
	c->tls = tls;
	c->user_agent = xstrdup(user_agent);
	c->authorization = k->token ? xasprintf("Bearer %s", k->token) : NULL;
	c->config.ca_pem = copy(k->ca_pem);
	c->config.tls_server_name = copy(k->tls_server_name);
	c->config.insecure = k->insecure;
	list_init(&c->call_list);
	list_init(&c->watch_list);
	pools__init(c, servers);
	*ret = &c->base;
	return 0;
}

int client_http_new(struct env *env, uv_loop_t *loop, const struct kubeconfig *k, const char *user_agent,
		    struct client **ret, struct err *err)
{
	struct servers *one;
	const char *const urls[] = {k->server};
	int rc = servers_new(env, urls, 1, &one, err);
	if (rc < 0)
		return rc;
	rc = client_http_new_among(env, loop, one, k, user_agent, ret, err);
	if (rc == 0)
		client_http__of(*ret)->among = false;
	servers_unref(one);
	return rc;
}

struct http_call *client_http_call(struct client *base, const char *method, const char *target,
				   const struct http_header *headers, const void *body, size_t len, unsigned timeout_ms,
				   const struct http_call_ops *ops, void *arg)
{
	struct client_http *c = client_http__of(base);
	struct pools *p = pools__get(c);
	_cleanup_free_ char *full = xasprintf("%s%s", p->prefix, target);
	struct http_header all[32];
	unsigned n = 0;
	MUST(!c->among); /* its connections would be closed below it */
	for (const struct http_header *h = headers; h && h->name && n < ARRAY_LEN(all) - 3; h++)
		all[n++] = *h;
	all[n++] = (struct http_header){"User-Agent", c->user_agent};
	if (c->authorization)
		all[n++] = (struct http_header){"Authorization", c->authorization};
	all[n] = (struct http_header){NULL, NULL};
	/* A stream without a time limit must not stand in the way of calls. */
	struct http_client *pool = timeout_ms ? p->calls : p->watches;
	return http_call(pool, method, full, all, body, len, timeout_ms, ops, arg);
}

int client_http_set_cert(struct client *base, const char *cert_pem, const char *key_pem, struct err *err)
{
	struct client_http *c = client_http__of(base);
	struct tls_context *tls = NULL;
	int rc = tls_client_context(c->config.ca_pem, cert_pem, key_pem, c->config.insecure, &tls, err);
	if (rc < 0)
		return rc;
	pools__set_tls(c, tls);
	tls_context_unref(tls);
	return 0;
}
