#include "lib/net/conn.h"

#include <errno.h>
#include <signal.h>

#include "lib/net/conn_out.h"

enum { CONN_MAGIC = 0x434f4e4e, READ_SIZE = 64 * 1024 };

/* Where reads land. Used up within the read callback; an unfinished record is kept in c->in. */
static __thread char scratch[READ_SIZE];

static void on_idle(uv_idle_t *h);

void conn_group_init(struct conn_group *g, struct env *env, uv_loop_t *loop, void (*on_closed)(struct conn_group *g))
{
	struct sigaction pipe;
	/* libuv writes with writev(2): a peer that left must be an error there, not the end of the process. */
	if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	*g = (struct conn_group){.env = env, .loop = loop, .on_closed = on_closed};
	list_init(&g->dirty);
	MUST(uv_idle_init(loop, &g->idle) == 0);
}

static void group_closed(uv_handle_t *h)
{
	struct conn_group *g = CONTAINER_OF(h, struct conn_group, idle);
	g->on_closed(g);
}

void conn_group_close(struct conn_group *g)
{
	MUST(!g->closing);
	g->closing = true;
	uv_close((uv_handle_t *)&g->idle, group_closed);
}

void conn_mark(struct conn *c)
{
	if (c->closing || !list_empty(&c->node))
		return;
	list_push(&c->group->dirty, &c->node);
	/* An idle handle keeps the loop from sleeping: its callback comes right after this turn's I/O. */
	uv_idle_start(&c->group->idle, on_idle);
}

static void report_end(struct conn *c, const struct err *err)
{
	if (c->closing || c->failed || (c->ended && !err->code))
		return;
	c->ended = true;
	c->failed = err->code != 0;
	c->ops->on_end(c, err);
}

static void tick(struct conn *c)
{
	conn__flush(c);
	if (!c->fail && !c->closing) {
		c->ops->on_tick(c);
		if (c->closing)
			return;
		conn__flush(c);
	}
	if (c->fail)
		report_end(c, c->fail);
}

static void on_idle(uv_idle_t *h)
{
	struct conn_group *g = CONTAINER_OF(h, struct conn_group, idle);
	struct list batch;
	list_init(&batch);
	for (struct list *n; (n = list_pop(&g->dirty));)
		list_push(&batch, n);
	for (struct list *n; (n = list_pop(&batch));)
		tick(LIST_ENTRY(n, struct conn, node));
	if (list_empty(&g->dirty) && !g->closing)
		uv_idle_stop(&g->idle);
}

int conn_init(struct conn *c, struct conn_group *g, bool pipe, const struct conn_ops *ops)
{
	c->magic = CONN_MAGIC;
	c->group = g;
	c->ops = ops;
	list_init(&c->node);
	return pipe ? uv_pipe_init(g->loop, &c->u.pipe, 0) : uv_tcp_init(g->loop, &c->u.tcp);
}

void conn_fail(struct conn *c, int code, const char *message)
{
	if (c->fail || c->closing)
		return;
	c->fail = NEW(struct err);
	if (code == -EPROTO)
		err_set(c->fail, code, "%s", message);
	else
		err_set(c->fail, code, "%s: %s", message, uv_strerror(code));
	conn_mark(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	(void)h;
	(void)suggested;
	*ret = uv_buf_init(scratch, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void reading(struct conn *c, bool on)
{
	if (c->closing || c->reading == on || (on && c->ended))
		return;
	c->reading = on;
	if (!on)
		uv_read_stop(&c->u.stream);
	else if (uv_read_start(&c->u.stream, on_alloc, on_read) < 0)
		conn_fail(c, -ENOTCONN, "read");
}

void conn_pause(struct conn *c, bool pause)
{
	c->paused = pause;
	reading(c, !pause && !(c->handshake && tls_handshake_busy(c->handshake)));
}

/* ---- records ---- */

static bool take_alert(struct conn *c, const uint8_t *alert, size_t len)
{
	struct err err = ERR_INIT;
	if (len != 2)
		err_set(&err, -EPROTO, "malformed TLS alert");
	else if (alert[0] == 1 && alert[1] != 0)
		return true; /* a warning */
	else if (alert[1] != 0)
		err_set(&err, -ECONNRESET, "the other side sent TLS alert %d", alert[1]);
	reading(c, false);
	report_end(c, &err);
	return false;
}

/* False when the connection takes no more. */
static bool take_record(struct conn *c, uint8_t *record, size_t len)
{
	enum tls_content type;
	uint8_t *plain;
	size_t n;
	if (tls_record_open(c->record, record, len, &type, &plain, &n)) {
		conn__alert(c, 2, 20); /* bad_record_mac */
		conn__flush(c);
		conn_fail(c, -EPROTO, "a TLS record does not authenticate");
		return false;
	}
	if (type == TLS_ALERT)
		return take_alert(c, plain, n);
	if (type != TLS_DATA) {
		/* A renegotiation: refused, as by everyone since RFC 5746. */
		conn__alert(c, 2, 10); /* unexpected_message */
		conn__flush(c);
		conn_fail(c, -EPROTO, "unexpected TLS message");
		return false;
	}
	if (n)
		c->ops->on_data(c, (char *)plain, n);
	return !c->closing && !c->fail && !c->ended;
}

/* Complete the record that began in c->in with bytes of data. Returns how many were used, or -1. */
static ssize_t complete_record(struct conn *c, const char *data, size_t len)
{
	size_t used = 0;
	for (;;) {
		int want = tls_record_length((uint8_t *)c->in.data, c->in.len);
		if (want < 0) {
			conn_fail(c, -EPROTO, "not a TLS record");
			return -1;
		}
		size_t need = (want ? (size_t)want : TLS_HEADER) - c->in.len;
		if (want && need == 0)
			break;
		size_t n = MIN(need, len - used);
		if (n == 0)
			return (ssize_t)used;
		buf_add(&c->in, data + used, n);
		used += n;
	}
	struct buf record = c->in;
	c->in = BUF_INIT;
	bool more = take_record(c, (uint8_t *)record.data, record.len);
	buf_done(&record);
	return more ? (ssize_t)used : -1;
}

static void take_records(struct conn *c, char *data, size_t len)
{
	if (c->in.len) {
		ssize_t used = complete_record(c, data, len);
		if (used < 0)
			return;
		data += used;
		len -= (size_t)used;
	}
	while (len) {
		int n = tls_record_length((uint8_t *)data, len);
		if (n < 0) {
			conn_fail(c, -EPROTO, "not a TLS record");
			return;
		}
		if (n == 0 || (size_t)n > len) {
			buf_add(&c->in, data, len);
			return;
		}
		if (!take_record(c, (uint8_t *)data, (size_t)n))
			return;
		data += n;
		len -= (size_t)n;
	}
}

/* ---- handshake ---- */

static void opened(struct conn *c)
{
	struct buf rest = *tls_handshake_leftover(c->handshake);
	*tls_handshake_leftover(c->handshake) = BUF_INIT;
	c->opened = true;
	c->ops->on_open(c);
	tls_handshake_free(STEAL(c->handshake));
	if (rest.len && !c->closing)
		take_records(c, rest.data, rest.len);
	buf_done(&rest);
	if (!c->closing && !c->ended)
		conn_pause(c, c->paused);
	conn_mark(c);
}

static void on_handshake_step(void *arg)
{
	struct conn *c = arg;
	MAGIC_CHECK(c, CONN_MAGIC);
	struct tls_result *r = tls_handshake_result(c->handshake);
	struct buf *out = tls_handshake_out(c->handshake);
	conn__raw(c, out->data, out->len);
	buf_clear(out);
	conn__flush(c);
	if (c->fail) {
		report_end(c, c->fail);
	} else if (!r->done) {
		conn_pause(c, c->paused);
	} else if (r->err.code) {
		struct err err = r->err;
		report_end(c, &err);
	} else {
		c->record = STEAL(r->record);
		opened(c);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = CONTAINER_OF(stream, struct conn, u.stream);
	MAGIC_CHECK(c, CONN_MAGIC);
	if (n == 0 || c->ended || c->fail)
		return;
	if (n < 0) {
		struct err err = ERR_INIT;
		/* An end without close_notify: whoever waits for more than it was promised finds out by itself. */
		c->truncated = c->record != NULL;
		if (n != UV_EOF)
			err_set(&err, (int)n, "read: %s", uv_strerror((int)n));
		else if (!c->opened)
			err_set(&err, -ECONNRESET, "the other side closed the connection during the TLS handshake");
		reading(c, false);
		report_end(c, &err);
	} else if (c->handshake) {
		reading(c, false);
		tls_handshake_feed(c->handshake, buf->base, (size_t)n);
	} else if (c->record) {
		take_records(c, buf->base, (size_t)n);
	} else {
		c->ops->on_data(c, buf->base, (size_t)n);
	}
}

void conn_start(struct conn *c, struct tls_context *tls, const char *server_name, const struct buf *session)
{
	if (c->u.handle.type == UV_TCP)
		uv_tcp_nodelay(&c->u.tcp, 1);
	if (!tls) {
		c->opened = true;
		reading(c, true);
		c->ops->on_open(c);
		conn_mark(c);
		return;
	}
	c->handshake = tls_handshake_new(c->group->env, tls, server_name, session, on_handshake_step, c);
	if (tls_context_is_server(tls))
		reading(c, true);
	else
		tls_handshake_feed(c->handshake, NULL, 0);
}

void conn_shutdown(struct conn *c)
{
	c->shut_wanted = true;
	conn_mark(c);
}

static void handle_closed(uv_handle_t *h)
{
	struct conn *c = CONTAINER_OF(h, struct conn, u.handle);
	conn__out_done(c);
	buf_done(&c->in);
	free(STEAL(c->fail));
	c->magic = 0;
	c->ops->on_closed(c);
}

void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	if (c->record && !c->alert_sent && c->opened && !c->writing && !c->fail && !c->queued) {
		conn__alert(c, 1, 0);
		conn__flush(c);
	}
	c->closing = true;
	list_del(&c->node);
	tls_handshake_free(STEAL(c->handshake));
	tls_record_free(STEAL(c->record));
	uv_close(&c->u.handle, handle_closed);
}
