#include "lib/net/http_client.h"

#include <errno.h>
#include <strings.h>

static void group_closed(struct conn_group *g)
{
	struct http_client *c = CONTAINER_OF(g, struct http_client, group);
	tls_context_unref(c->tls);
	buf_done(&c->session);
	free(c->host);
	free(c->unix_path);
	free(c->server_name);
	free(c->host_header);
	c->magic = 0;
	free(c);
}

static char *host_header(const struct http_client_config *config)
{
	if (config->unix_path || !config->host)
		return xstrdup("localhost");
	const char *format = strchr(config->host, ':') ? "[%s]:%u" : "%s:%u";
	char text[300];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, config->host, config->port);
#pragma GCC diagnostic pop
	return xstrdup(text);
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

struct http_client *http_client_new(struct env *env, uv_loop_t *loop, const struct http_client_config *config)
{
	struct http_client *c = NEW(struct http_client);
	c->magic = CLIENT_MAGIC;
	conn_group_init(&c->group, env, loop, group_closed);
	c->host = copy(config->host);
	c->port = config->port;
	c->unix_path = copy(config->unix_path);
	c->server_name = copy(config->server_name ? config->server_name : config->host);
	c->host_header = host_header(config);
	c->tls = tls_context_ref(config->tls);
	c->max_connections = config->max_connections ? config->max_connections : 32;
	c->connect_timeout_ms = config->connect_timeout_ms ? config->connect_timeout_ms : 10000;
	c->idle_s = config->idle_s ? config->idle_s : 60;
	list_init(&c->conns);
	list_init(&c->idle);
	list_init(&c->waiting);
	return c;
}

void http_client_set_tls(struct http_client *c, struct tls_context *tls)
{
	MAGIC_CHECK(c, CLIENT_MAGIC);
	struct tls_context *old = c->tls;
	c->tls = tls_context_ref(tls);
	tls_context_unref(old);
	buf_done(&c->session);
	LIST_EACH (&c->idle, cc, struct cconn, idle_node)
		cconn__close(cc);
}

void http_call__free(struct http_call *call)
{
	list_del(&call->node);
	env_timer_stop(call->client->group.env, &call->timer);
	blob_unref(call->request);
	call->magic = 0;
	free(call);
}

void http_call__done(struct http_call *call, const struct err *err)
{
	void (*on_done)(void *arg, const struct err *err) = call->ops.on_done;
	void (*on_failed)(void *arg, const struct err *err, bool sent) = err->code ? call->ops.on_failed : NULL;
	void *arg = call->arg;
	bool sent = call->sent;
	struct http_client *c = call->client;
	http_call__free(call);
	client__pump(c);
	if (on_failed)
		on_failed(arg, err, sent);
	else if (on_done)
		on_done(arg, err);
}

void http_call__retry(struct http_call *call)
{
	call->retried = true;
	call->conn = NULL;
	list_unshift(&call->client->waiting, &call->node);
	client__pump(call->client);
}

void client__pump(struct http_client *c)
{
	while (!c->closing && !list_empty(&c->waiting)) {
		struct http_call *call = LIST_ENTRY(c->waiting.next, struct http_call, node);
		if (!list_empty(&c->idle) && !call->retried) {
			struct cconn *cc = LIST_ENTRY(c->idle.prev, struct cconn, idle_node);
			list_del(&call->node);
			cc->reused = true;
			cconn__begin(cc, call);
		} else if (c->n_conns < c->max_connections) {
			list_del(&call->node);
			cconn__open(c, call);
		} else {
			return;
		}
	}
}

static void on_timeout(struct env_timer *t)
{
	struct http_call *call = CONTAINER_OF(t, struct http_call, timer);
	MAGIC_CHECK(call, CALL_MAGIC);
	struct err err = ERR_INIT;
	err_set(&err, -ETIMEDOUT, "no complete answer from %s in time", call->client->host_header);
	if (call->conn) {
		call->sent = cconn__sent(call->conn);
		call->conn->call = NULL;
		cconn__close(call->conn);
	}
	http_call__done(call, &err);
}

static bool has_header(const struct http_header *h, const char *name)
{
	for (; h && h->name; h++)
		if (strcasecmp(h->name, name) == 0)
			return true;
	return false;
}

static struct blob *make_request(const struct http_client *c, const char *method, const char *target,
				 const struct http_header *headers, const void *body, size_t len)
{
	struct buf out = BUF_INIT;
	buf_reserve(&out, 512);
	buf_adds(&out, method);
	buf_addc(&out, ' ');
	/* What would end the request line is escaped: a target is data to its callers. */
	for (const char *s = target; *s; s++) {
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			buf_addf(&out, "%%%02X", (unsigned char)*s);
		else
			buf_addc(&out, *s);
	}
	buf_adds(&out, " HTTP/1.1\r\n");
	if (!has_header(headers, "Host"))
		http_add_header(&out, "Host", c->host_header);
	bool has_body = len || streq(method, "POST") || streq(method, "PUT") || streq(method, "PATCH");
	if (has_body && !has_header(headers, "Content-Length"))
		buf_addf(&out, "Content-Length: %zu\r\n", len);
	for (; headers && headers->name; headers++)
		http_add_header(&out, headers->name, headers->value);
	buf_adds(&out, "\r\n");
	struct blob *b = blob_alloc(out.len + len);
	memcpy(b->data, out.data, out.len);
	if (len)
		memcpy(b->data + out.len, body, len);
	buf_done(&out);
	return b;
}

struct http_call *http_call(struct http_client *c, const char *method, const char *target,
			    const struct http_header *headers, const void *body, size_t len, unsigned timeout_ms,
			    const struct http_call_ops *ops, void *arg)
{
	MAGIC_CHECK(c, CLIENT_MAGIC);
	struct http_call *call = NEW(struct http_call);
	call->magic = CALL_MAGIC;
	call->client = c;
	call->ops = *ops;
	call->arg = arg;
	call->head = streq(method, "HEAD");
	call->safe = call->head || streq(method, "GET");
	call->request = make_request(c, method, target, headers, body, len);
	call->timer.fn = on_timeout;
	if (timeout_ms)
		env_timer_start(c->group.env, &call->timer, (uint64_t)timeout_ms * 1000);
	list_push(&c->waiting, &call->node);
	client__pump(c);
	return call;
}

void http_call_write(struct http_call *call, const void *data, size_t len)
{
	MAGIC_CHECK(call, CALL_MAGIC);
	if (call->conn && call->upgraded)
		conn_add(&call->conn->conn, data, len);
}

void http_call_pause(struct http_call *call, bool pause)
{
	MAGIC_CHECK(call, CALL_MAGIC);
	if (call->conn && call->upgraded)
		conn_pause(&call->conn->conn, pause);
}

size_t http_call_unsent(const struct http_call *call)
{
	return call->conn ? conn_unsent(&call->conn->conn) : 0;
}

void http_call_await_drain(struct http_call *call)
{
	MAGIC_CHECK(call, CALL_MAGIC);
	call->awaits_drain = true;
	if (call->conn)
		conn_mark(&call->conn->conn);
}

void http_call_cancel(struct http_call *call)
{
	if (!call)
		return;
	MAGIC_CHECK(call, CALL_MAGIC);
	struct http_client *c = call->client;
	if (call->conn) {
		call->conn->call = NULL;
		cconn__close(call->conn);
	}
	http_call__free(call);
	client__pump(c);
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	MAGIC_CHECK(c, CLIENT_MAGIC);
	c->closing = true;
	LIST_EACH (&c->waiting, call, struct http_call, node)
		http_call__free(call);
	LIST_EACH (&c->conns, cc, struct cconn, node) {
		struct http_call *call = STEAL(cc->call);
		if (call)
			http_call__free(call);
		cconn__close(cc);
	}
	if (c->n_conns == 0)
		conn_group_close(&c->group);
}
