#include <arpa/inet.h>
#include <errno.h>

#include "lib/net/http_server.h"

enum {
	PENDING_MAX = 128 * 1024, /* pipelined bytes kept while a request is served: then reading stops */
	DRAINED = 64 * 1024,
	SMALL_BODY = 64 * 1024,
	LINGER_US = 2 * 1000 * 1000, /* how long a refused client may go on talking, so that it sees the answer */
	STREAM_STALL = 15,           /* a person at a terminal may look at a full page for so many times body_s */
};

static void on_deadline(struct env_timer *t)
{
	struct sconn *c = CONTAINER_OF(t, struct sconn, timer);
	MAGIC_CHECK(c, SCONN_MAGIC);
	uint64_t now = env_now_us(c->server->group.env);
	if (c->deadline_us == 0)
		return;
	if (now < c->deadline_us) {
		env_timer_start(c->server->group.env, t, c->deadline_us - now);
		return;
	}
	if (c->watching_output && c->conn.progress != c->progress && c->state != SCONN_LINGERING) {
		c->watching_output = false; /* slow, but it moves */
		conn_mark(&c->conn);
		return;
	}
	if (c->state == SCONN_READING && c->request->parse.state != HTTP_PARSE_FAILED)
		request__refuse(c->request, 408, "the request took too long to arrive");
	else
		sconn__close(c);
}

/* Deadlines move far more often than they pass: the timer is only started when it would fire too late. */
void sconn__deadline(struct sconn *c, uint64_t delay_us)
{
	struct env *env = c->server->group.env;
	c->watching_output = false;
	c->deadline_us = delay_us ? env_now_us(env) + delay_us : 0;
	if (delay_us && (!env_timer_active(&c->timer) || c->timer.due_us > c->deadline_us))
		env_timer_start(env, &c->timer, delay_us);
}

static void go_idle(struct sconn *c)
{
	c->state = SCONN_IDLE;
	list_del(&c->idle_node);
	list_push(&c->server->idle, &c->idle_node);
	sconn__deadline(c, (uint64_t)c->server->limits.idle_s * 1000000);
}

void sconn__linger(struct sconn *c)
{
	c->state = SCONN_LINGERING;
	buf_done(&c->pending);
	conn_pause(&c->conn, false);
	conn_shutdown(&c->conn);
	sconn__deadline(c, conn_unsent(&c->conn) ? (uint64_t)c->server->limits.body_s * 1000000 : LINGER_US);
}

void sconn__finish(struct sconn *c, bool keep_alive)
{
	request__free(STEAL(c->request));
	if (!keep_alive || c->server->closing) {
		sconn__linger(c);
		return;
	}
	go_idle(c);
	if (c->conn.paused)
		conn_pause(&c->conn, false);
	conn_mark(&c->conn);
}

static void dispatch(struct sconn *c)
{
	struct http_server *s = c->server;
	c->state = SCONN_SERVING;
	c->request->dispatched = true;
	sconn__deadline(c, 0);
	s->ops.on_request(s->arg, c->request);
}

/* A body is held before anybody has asked who sends it: what strangers may fill leaves room for the others. */
static bool has_room(struct sconn *c)
{
	struct http_server *s = c->server;
	size_t len = c->request->parse.body.len, most = s->limits.bodies_bytes;
	bool more = len > SMALL_BODY && len > c->request->counted;
	if (!more)
		return true;
	s->bodies += len - c->request->counted;
	c->request->counted = len;
	return s->bodies <= (c->peer.cert_verified ? most : most / 4);
}

/* Bytes of requests. Stops at the first request that isn't answered at once; returns what was taken. */
static size_t take(struct sconn *c, const char *data, size_t len)
{
	size_t used = 0;
	while (used < len && (c->state == SCONN_IDLE || c->state == SCONN_READING) && !c->conn.closing) {
		if (!c->request) {
			struct http_request *r = NEW(struct http_request);
			r->magic = REQUEST_MAGIC;
			r->conn = c;
			http_parse_init(&r->parse, c->server->limits.header_bytes, c->server->limits.body_bytes);
			c->request = r;
		}
		struct http_parse *p = &c->request->parse;
		enum http_parse_state before = p->state;
		used += http_parse_feed(p, data + used, len - used);
		list_del(&c->idle_node);
		bool began = c->state == SCONN_IDLE;
		c->state = SCONN_READING;
		if (p->state == HTTP_PARSE_FAILED)
			request__refuse(c->request, p->status, p->reason);
		else if (!has_room(c))
			request__refuse(c->request, 429, "too many large requests at once, try again later");
		else if (p->state == HTTP_PARSE_DONE)
			dispatch(c);
		else if (p->state != before)
			sconn__deadline(c, (uint64_t)c->server->limits.body_s * 1000000);
		else if (began)
			sconn__deadline(c, (uint64_t)c->server->limits.header_s * 1000000);
		if (c->state == SCONN_READING && p->wants_continue) {
			p->wants_continue = false;
			conn_add(&c->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		}
	}
	return used;
}

static void on_open(struct conn *conn)
{
	struct sconn *c = CONTAINER_OF(conn, struct sconn, conn);
	if (conn->handshake) {
		struct tls_result *r = tls_handshake_result(conn->handshake);
		struct http_peer address = c->peer;
		c->peer = r->peer;
		memcpy(c->peer.address, address.address, sizeof(c->peer.address));
		c->peer.port = address.port;
		c->organizations = STEAL(r->organizations);
	}
	go_idle(c);
}

static void on_data(struct conn *conn, const char *data, size_t len)
{
	struct sconn *c = CONTAINER_OF(conn, struct sconn, conn);
	MAGIC_CHECK(c, SCONN_MAGIC);
	if (c->state == SCONN_LINGERING)
		return;
	if (c->state == SCONN_STREAMING && c->pending.len == 0) {
		if (c->stream)
			c->stream->ops->on_data(c->stream->arg, data, len);
		return;
	}
	size_t used = c->pending.len ? 0 : take(c, data, len);
	if (used == len || conn->closing || c->state == SCONN_LINGERING)
		return;
	buf_add(&c->pending, data + used, len - used);
	if (c->pending.len > PENDING_MAX)
		conn_pause(conn, true);
	conn_mark(conn);
}

static void take_pending(struct sconn *c)
{
	struct buf pending = c->pending;
	size_t used;
	c->pending = BUF_INIT;
	if (c->state == SCONN_STREAMING) {
		c->stream->ops->on_data(c->stream->arg, pending.data, pending.len);
		used = pending.len;
	} else {
		used = take(c, pending.data, pending.len);
	}
	if (used < pending.len && !c->conn.closing && c->state != SCONN_LINGERING) {
		buf_consume(&pending, used);
		c->pending = pending;
		if (c->state == SCONN_IDLE || c->state == SCONN_STREAMING)
			conn_mark(&c->conn);
		return;
	}
	buf_done(&pending);
	if (c->conn.paused && !(c->stream && c->stream->paused))
		conn_pause(&c->conn, false);
}

/* A reader that takes nothing at all for a while holds memory for nobody. */
static void watch_output(struct sconn *c)
{
	if (conn_unsent(&c->conn) == 0) {
		if (c->watching_output)
			sconn__deadline(c, c->state == SCONN_IDLE ? (uint64_t)c->server->limits.idle_s * 1000000 : 0);
	} else if (!c->watching_output) {
		unsigned times = c->state == SCONN_STREAMING ? STREAM_STALL : 1;
		sconn__deadline(c, (uint64_t)c->server->limits.body_s * 1000000 * times);
		c->watching_output = true;
		c->progress = c->conn.progress;
	}
}

static void on_tick(struct conn *conn)
{
	struct sconn *c = CONTAINER_OF(conn, struct sconn, conn);
	MAGIC_CHECK(c, SCONN_MAGIC);
	if (c->state == SCONN_LINGERING) {
		if (conn->shut_done && conn->ended)
			conn_close(conn);
		else if (conn->shut_done && c->deadline_us > env_now_us(c->server->group.env) + LINGER_US)
			sconn__deadline(c, LINGER_US);
		return;
	}
	bool unwanted = c->server->closing || (c->pending.len == 0 && server__crowded(c->server));
	if (unwanted && c->state == SCONN_IDLE && conn_unsent(conn) == 0) {
		sconn__close(c);
		return;
	}
	struct http_request *r = c->request;
	if (r && r->on_drain && conn_unsent(conn) < DRAINED) {
		void (*fn)(void *arg, struct http_request *r) = STEAL(r->on_drain);
		fn(r->drain_arg, r);
	}
	if (conn->closing)
		return;
	if (c->stream && c->stream->awaits_drain && conn_unsent(conn) < DRAINED) {
		c->stream->awaits_drain = false;
		c->stream->ops->on_drain(c->stream->arg);
	}
	if (conn->closing)
		return;
	if (c->pending.len &&
	    (c->state == SCONN_IDLE || (c->state == SCONN_STREAMING && c->stream && !c->stream->paused)))
		take_pending(c);
	if (!conn->closing && (c->state == SCONN_IDLE || c->state == SCONN_SERVING || c->state == SCONN_STREAMING))
		watch_output(c);
}

void sconn__close(struct sconn *c)
{
	struct http_request *r = STEAL(c->request);
	struct http_stream *stream = STEAL(c->stream);
	if (c->conn.closing) {
		request__free(r);
		free(stream);
		return;
	}
	list_del(&c->idle_node);
	env_timer_stop(c->server->group.env, &c->timer);
	if (r && r->dispatched && c->server->ops.on_close)
		c->server->ops.on_close(c->server->arg, r);
	if (stream)
		stream->ops->on_close(stream->arg);
	request__free(r);
	free(stream);
	conn_close(&c->conn);
}

static void on_end(struct conn *conn, const struct err *err)
{
	struct sconn *c = CONTAINER_OF(conn, struct sconn, conn);
	MAGIC_CHECK(c, SCONN_MAGIC);
	/* A client that has ended its side may still read the answers it was given. */
	bool answered = c->state == SCONN_IDLE || c->state == SCONN_LINGERING;
	if (err->code == 0 && answered && conn_unsent(conn)) {
		sconn__linger(c);
		return;
	}
	sconn__close(c);
}

static void on_closed(struct conn *conn)
{
	struct sconn *c = CONTAINER_OF(conn, struct sconn, conn);
	struct http_server *s = c->server;
	list_del(&c->node);
	list_del(&c->idle_node);
	env_timer_stop(s->group.env, &c->timer);
	buf_done(&c->pending);
	free(c->organizations);
	c->magic = 0;
	free(c);
	server__conn_gone(s);
}

static const struct conn_ops sconn_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_tick = on_tick,
	.on_end = on_end,
	.on_closed = on_closed,
};

static void describe_address(struct sconn *c)
{
	struct sockaddr_storage a;
	int len = sizeof(a);
	if (uv_tcp_getpeername(&c->conn.u.tcp, (struct sockaddr *)&a, &len))
		return;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
	if (a.ss_family == AF_INET) {
		uv_ip4_name((struct sockaddr_in *)&a, c->peer.address, sizeof(c->peer.address));
		c->peer.port = ntohs(((struct sockaddr_in *)&a)->sin_port);
	} else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], c->peer.address, sizeof(c->peer.address));
		c->peer.port = ntohs(v6->sin6_port);
	} else {
		uv_ip6_name(v6, c->peer.address, sizeof(c->peer.address));
		c->peer.port = ntohs(v6->sin6_port);
	}
}

void sconn__accept(struct http_server *s, struct listener *l)
{
	struct sconn *c = NEW(struct sconn);
	c->magic = SCONN_MAGIC;
	c->server = s;
	c->timer.fn = on_deadline;
	list_push(&s->conns, &c->node);
	list_init(&c->idle_node);
	s->n_conns++;
	MUST(conn_init(&c->conn, &s->group, l->pipe, &sconn_ops) == 0);
	if (uv_accept(&l->u.stream, &c->conn.u.stream) < 0) {
		conn_close(&c->conn);
		return;
	}
	if (l->pipe)
		snprintf(c->peer.address, sizeof(c->peer.address), "unix");
	else
		describe_address(c);
	sconn__deadline(c, (uint64_t)s->limits.header_s * 1000000);
	conn_start(&c->conn, l->pipe ? NULL : s->tls, NULL, NULL);
}
