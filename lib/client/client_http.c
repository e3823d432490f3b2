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
	const struct kind *kind;
	client_cb cb;
	void *arg;
	struct http_call *call;
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

static void call__free(struct client_call *call)
{
	list_del(&call->node);
	buf_done(&call->body);
	for (unsigned i = 0; i < call->n_warnings; i++)
		free(call->warnings[i]);
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
	else if (call->verb == CLIENT_LIST)
		call__list(call, tree, &resp);
	else
		call__object(call, tree, &resp);
}

static void call__on_done(void *arg, const struct err *err)
{
	struct client_call *call = arg;
	MAGIC_CHECK(call, CALL_MAGIC);
	call->call = NULL;
	_cleanup_err_ struct err mine = ERR_INIT;
	err_copy(&mine, err);
	call__answer(call, &mine);
	call__free(call);
}

static const struct http_call_ops call_ops = {
	.on_response = call__on_response,
	.on_body = call__on_body,
	.on_done = call__on_done,
};

static struct client_call *http__call(struct client *base, const struct client_request *r, client_cb cb, void *arg)
{
	struct client_http *c = client_http__of(base);
	struct client_call *call = NEW(struct client_call);
	call->magic = CALL_MAGIC;
	call->c = c;
	call->verb = r->verb;
	call->kind = r->kind;
	call->cb = cb;
	call->arg = arg;
	list_push(&c->call_list, &call->node);
	_cleanup_buf_ struct buf target = BUF_INIT, body = BUF_INIT;
	buf_adds(&target, c->prefix);
	client_http_target(&target, r);
	target__body(&body, r);
	struct http_header headers[6];
	client_http__headers(c, body.len ? target__content_type(r) : NULL, headers);
	call->call = http_call(c->calls, target__method(r), buf_str(&target), headers, body.data, body.len,
			       CALL_TIMEOUT_MS, &call_ops, call);
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
	http_client_free(c->calls);
	http_client_free(c->watches);
	kubeconfig_done(&c->config);
	free(c->prefix);
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

/* ---- the server's address ---- */

struct server_url {
	bool tls;
	char host[256];
	uint16_t port;
	char *prefix;
};

static int parse_port(const char *s, size_t len, uint16_t *ret)
{
	char text[8];
	uint64_t port;
	if (len == 0 || len >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, len);
	text[len] = '\0';
	if (parse_u64(text, &port) < 0 || port == 0 || port > 65535)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static int parse_url(const char *url, struct server_url *ret, struct err *err)
{
	struct server_url u = {.tls = true, .port = 443};
	const char *p = url;
	if (str_starts(p, "https://")) {
		p += 8;
	} else if (str_starts(p, "http://")) {
		p += 7;
		u.tls = false;
		u.port = 80;
	} else if (strstr(p, "://")) {
		return err_status(err, ERR_BAD_REQUEST, "server \"%s\": not an http or https URL", url);
	}
	const char *end = strchrnul(p, '/'), *host = p, *host_end, *rest;
	if (*p == '[') {
		host = p + 1;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (!host_end)
			return err_status(err, ERR_BAD_REQUEST, "server \"%s\": no ] after the address", url);
		rest = host_end + 1;
	} else {
		const char *colon = memchr(p, ':', (size_t)(end - p));
		rest = host_end = colon ? colon : end;
	}
	size_t len = (size_t)(host_end - host);
	if (len == 0 || len >= sizeof(u.host))
		return err_status(err, ERR_BAD_REQUEST, "server \"%s\": no host", url);
	memcpy(u.host, host, len);
	if (rest < end && (*rest != ':' || parse_port(rest + 1, (size_t)(end - rest - 1), &u.port) < 0))
		return err_status(err, ERR_BAD_REQUEST, "server \"%s\": bad port", url);
	size_t prefix_len = strlen(end);
	while (prefix_len && end[prefix_len - 1] == '/')
		prefix_len--;
	u.prefix = xstrndup(end, prefix_len);
	*ret = u;
	return 0;
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void make_pools(struct client_http *c, uv_loop_t *loop, const struct server_url *u, struct tls_context *tls)
{
	struct http_client_config config = {
		.host = u->host,
		.port = u->port,
		.tls = tls,
		.server_name = c->config.tls_server_name,
	};
	c->calls = http_client_new(c->base.env, loop, &config);
	config.max_connections = 256; /* one each; they never wait in line */
	c->watches = http_client_new(c->base.env, loop, &config);
}

int client_http_new(struct env *env, uv_loop_t *loop, const struct kubeconfig *k, const char *user_agent,
		    struct client **ret, struct err *err)
{
	struct server_url u = {0};
	int rc = parse_url(k->server, &u, err);
	if (rc < 0)
		return rc;
	struct tls_context *tls = NULL;
	if (u.tls) {
		rc = tls_client_context(k->ca_pem, k->cert_pem, k->key_pem, k->insecure, &tls, err);
		if (rc < 0) {
			free(u.prefix);
			return err_prefix(err, "server %s", k->server);
		}
	}
	struct client_http *c = NEW(struct client_http);
	c->base.ops = &http_ops;
	c->base.env = env;
	c->magic = CLIENT_HTTP_MAGIC;
	c->prefix = u.prefix;
	c->user_agent = xstrdup(user_agent);
	c->authorization = k->token ? xasprintf("Bearer %s", k->token) : NULL;
	c->config.ca_pem = copy(k->ca_pem);
	c->config.tls_server_name = copy(k->tls_server_name);
	c->config.insecure = k->insecure;
	list_init(&c->call_list);
	list_init(&c->watch_list);
	make_pools(c, loop, &u, tls);
	tls_context_unref(tls);
	*ret = &c->base;
	return 0;
}

struct http_call *client_http_call(struct client *base, const char *method, const char *target,
				   const struct http_header *headers, const void *body, size_t len, unsigned timeout_ms,
				   const struct http_call_ops *ops, void *arg)
{
	struct client_http *c = client_http__of(base);
	_cleanup_free_ char *full = xasprintf("%s%s", c->prefix, target);
	struct http_header all[32];
	unsigned n = 0;
	for (const struct http_header *h = headers; h && h->name && n < ARRAY_LEN(all) - 3; h++)
		all[n++] = *h;
	all[n++] = (struct http_header){"User-Agent", c->user_agent};
	if (c->authorization)
		all[n++] = (struct http_header){"Authorization", c->authorization};
	all[n] = (struct http_header){NULL, NULL};
	/* A stream without a time limit must not stand in the way of calls. */
	struct http_client *pool = timeout_ms ? c->calls : c->watches;
	return http_call(pool, method, full, all, body, len, timeout_ms, ops, arg);
}

int client_http_set_cert(struct client *base, const char *cert_pem, const char *key_pem, struct err *err)
{
	struct client_http *c = client_http__of(base);
	struct tls_context *tls = NULL;
	int rc = tls_client_context(c->config.ca_pem, cert_pem, key_pem, c->config.insecure, &tls, err);
	if (rc < 0)
		return rc;
	http_client_set_tls(c->calls, tls);
	http_client_set_tls(c->watches, tls);
	tls_context_unref(tls);
	return 0;
}
