/* Questions to etcd: which server, again or not, and what its errors mean. */
#include <errno.h>
#include <inttypes.h>

#include "store/etcd_internal.h"

/* gRPC's status codes, as far as they matter. */
enum {
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_FORBIDDEN = 7,
	GRPC_EXHAUSTED = 8,
	GRPC_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16
};

static void ask(struct etcd_call *c);

static void on_timer(struct env_timer *t)
{
	ask(CONTAINER_OF(t, struct etcd_call, timer));
}

void etcd_call_init(struct etcd_call *c, struct etcd *e, const char *path)
{
	*c = (struct etcd_call){.e = e, .path = path, .timer = {.fn = on_timer}};
	list_init(&c->node);
	etcd_msg_init(&c->msg, e->prefix);
}

void etcd_call_stop(struct etcd_call *c)
{
	list_del(&c->node);
	env_timer_stop(c->e->env, &c->timer);
	http_call_cancel(STEAL(c->http));
}

void etcd_call_done(struct etcd_call *c)
{
	if (!c->e)
		return;
	etcd_call_stop(c);
	etcd_msg_done(&c->msg);
	buf_done(&c->body);
	c->e = NULL;
}

static void finish(struct etcd_call *c, const struct err *err)
{
	etcd_call_stop(c);
	c->done(c, err);
}

static void gone(struct etcd_call *c, const struct err *why)
{
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_SERVICE_UNAVAILABLE, "no etcd server answers: %s", why->message);
	err.retry_after_s = 1;
	finish(c, &err);
}

/* Nothing came of it, and asking again does no harm. */
static void again(struct etcd_call *c, const struct err *why)
{
	struct etcd *e = c->e;
	uint64_t wait = ++c->tries % e->n_servers ? 0 : ETCD_RETRY_US;
	if (e->current == c->server)
		e->current = (c->server + 1) % e->n_servers;
	if (c->one || env_now_us(e->env) - c->since_us + wait > e->wait_us)
		gone(c, why);
	else
		env_timer_start(e->env, &c->timer, wait);
}

static void unknown(struct etcd_call *c, const struct err *why)
{
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_TIMEOUT, "it is not known whether etcd has done it: %s", why->message);
	err.code = -ECANCELED;
	finish(c, &err);
}

int etcd_call_error(const struct etcd_msg *m, int status, struct err *err)
{
	const char *text = m->error;
	switch (m->error_code) {
	case GRPC_INVALID_ARGUMENT:
		return err_set(err, strstr(text, "too large") || strstr(text, "too many") ? -EFBIG : -EINVAL, "%s",
			       text);
	case GRPC_NOT_FOUND:
		return err_set(err, -ENOENT, "%s", text);
	case GRPC_OUT_OF_RANGE:
		return err_set(err,
			       strstr(text, "compacted") ? -ESTALE
			       : strstr(text, "future")  ? -ERANGE
							 : -EINVAL,
			       "%s", text);
	case GRPC_EXHAUSTED:
		if (strstr(text, "larger than max"))
			return err_set(err, -EFBIG, "%s (see etcd's --max-request-bytes)", text);
		if (strstr(text, "space exceeded"))
			return err_set(err, -ENOSPC, "%s", text);
		err_status(err, ERR_TOO_MANY_REQUESTS, "%s", text);
		err->retry_after_s = 1;
		return err->code;
	case GRPC_FORBIDDEN:
	case GRPC_UNAUTHENTICATED:
		return err_set(err, -EACCES, "etcd refuses: %s", text);
	case GRPC_PRECONDITION:
		return err_set(err, -EEXIST, "%s", text);
	case GRPC_UNIMPLEMENTED:
		return err_set(err, -ENOTSUP, "etcd: %s", text);
	case GRPC_UNAVAILABLE:
	case GRPC_DEADLINE:
		return err_status(err, ERR_SERVICE_UNAVAILABLE, "%s", text);
	default:
		return *text ? err_set(err, -EIO, "etcd: %s", text)
			     : err_set(err, -EPROTO, "this is no etcd 3.4 or later: HTTP status %d", status);
	}
}

static bool another_cluster(struct etcd_call *c, struct err *err)
{
	struct etcd *e = c->e;
	if (!e->cluster)
		e->cluster = c->msg.cluster;
	if (!c->msg.cluster || c->msg.cluster == e->cluster)
		return false;
	err_set(err, -EIO, "%s belongs to another etcd cluster (%" PRIx64 ", not %" PRIx64 ")",
		e->servers[c->server].url, c->msg.cluster, e->cluster);
	return true;
}

static void on_response(void *arg, int status, _unused_ const struct http_header *headers)
{
	((struct etcd_call *)arg)->status = status;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct etcd_call *c = arg;
	const char *p = data;
	while (len && !c->unreadable && !c->msg.whole) {
		ssize_t n = etcd_msg_feed(&c->msg, p, len);
		c->unreadable = n < 0;
		p += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
}

static void on_done(void *arg, _unused_ const struct err *ok)
{
	struct etcd_call *c = arg;
	_cleanup_err_ struct err err = ERR_INIT;
	c->http = NULL;
	bool answered = c->msg.whole && !c->unreadable;
	if (c->status == 200 && answered && !c->msg.error_code) {
		if (!c->e->cluster || c->msg.cluster == c->e->cluster)
			c->e->seen = MAX(c->e->seen, c->msg.rev);
		if (!another_cluster(c, &err))
			finish(c, &err);
		else if (c->write)
			unknown(c, &err);
		else
			again(c, &err);
		return;
	}
	if (c->status == 200 && !answered)
		err_set(&err, -EPROTO, "the answer of %s cannot be read", c->e->servers[c->server].url);
	else
		etcd_call_error(&c->msg, c->status, &err);
	bool vague = err.code == -EHOSTUNREACH || err.code == -EIO || err.code == -EPROTO;
	if (!vague)
		finish(c, &err);
	else if (c->write && c->status != 404)
		unknown(c, &err);
	else
		again(c, &err);
}

static void on_failed(void *arg, const struct err *err, bool sent)
{
	struct etcd_call *c = arg;
	struct err why = *err;
	c->http = NULL;
	if (c->write && sent)
		unknown(c, &why);
	else
		again(c, &why);
}

static void ask(struct etcd_call *c)
{
	static const struct http_call_ops ops = {
		.on_response = on_response, .on_body = on_body, .on_done = on_done, .on_failed = on_failed};
	static const struct http_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	struct etcd *e = c->e;
	list_del(&c->node);
	if (!e->known && !c->early) {
		_cleanup_err_ struct err err = ERR_INIT;
		err_status(&err, ERR_SERVICE_UNAVAILABLE, "no etcd server has answered yet");
		finish(c, &err);
		return;
	}
	etcd_msg_done(&c->msg);
	etcd_msg_init(&c->msg, e->prefix);
	c->status = 0;
	c->unreadable = false;
	if (!c->one)
		c->server = e->current;
	c->http = http_call(e->servers[c->server].calls, "POST", c->path, headers, c->body.data, c->body.len,
			    c->write           ? ETCD_WRITE_MS
			    : e->n_servers > 1 ? ETCD_NEXT_MS
					       : ETCD_READ_MS,
			    &ops, c);
}

void etcd_call_begin(struct etcd_call *c)
{
	c->since_us = env_now_us(c->e->env);
	c->tries = 0;
	if (c->e->known || c->early) {
		ask(c);
		return;
	}
	list_push(&c->e->line, &c->node);
	env_timer_start(c->e->env, &c->timer, c->e->wait_us);
}

void etcd_line_go(struct etcd *e)
{
	LIST_EACH (&e->line, c, struct etcd_call, node) {
		env_timer_stop(e->env, &c->timer);
		ask(c);
	}
}

/* ---- JSON of requests: fields of an object, each with a comma behind it; whoever opened it drops the last one ---- */

void etcd_add_bytes(struct buf *b, const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *text = base64_encode(data, len);
	buf_addf(b, "\"%s\":\"", name);
	buf_adds(b, text);
	buf_adds(b, "\",");
}

void etcd_add_number(struct buf *b, const char *name, uint64_t v)
{
	buf_addf(b, "\"%s\":\"%" PRIu64 "\",", name, MIN(v, (uint64_t)INT64_MAX));
}

void etcd_add_key(struct buf *b, const struct etcd *e, const char *name, const char *key)
{
	_cleanup_free_ char *full = xasprintf("%s%s", e->prefix, key);
	/* etcd has no empty key: the first possible one is "\0" */
	etcd_add_bytes(b, name, full, *full ? strlen(full) : 1);
}

void etcd_add_end(struct buf *b, const struct etcd *e, const char *end)
{
	if (*end)
		etcd_add_key(b, e, "range_end", end);
	else
		etcd_add_bytes(b, "range_end", e->prefix_end, MAX(strlen(e->prefix_end), 1));
}
