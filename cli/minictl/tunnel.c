#include "cli/minictl/tunnel.h"

#include <errno.h>

#include "cli/minictl/remote.h"
#include "lib/net/pki.h"
#include "lib/net/spdy.h"
#include "lib/net/websocket.h"

#define MESSAGE_MAX (16u << 20)
#define ENOUGH      (256u << 10) /* waiting in one direction: the other side is not read */
#define LITTLE      (32u << 10)
#define ERROR_MAX   1024

struct tunnel {
	struct ctl *c;
	struct http_call *call;
	struct ws_parser ws;
	struct spdy spdy;
	struct list conns;
	uint32_t next_id, next_request;
	unsigned n_full; /* connections that take nothing more */
	bool full;       /* nor does the server */
	bool upgraded, done;
	int status;
	struct buf refusal;
	struct err err;
};

struct listener {
	uv_tcp_t tcp;
	struct tunnel *t;
	struct tunnel_port port;
};

/* Lives from accept to the close of its handle. */
struct conn {
	struct list node;
	struct tunnel *t;
	uv_tcp_t tcp;
	struct tunnel_port port;
	uint32_t error_id, data_id;
	struct buf error; /* what went wrong over there */
	uv_shutdown_t shutdown;
	bool full, ended, closing;        /* ended: the local side says no more */
	bool remote_ended, flushed, over; /* nor does the pod; it has been handed on; both streams are at their end */
};

struct write_req {
	uv_write_t req;
	struct conn *k;
	char data[];
};

/* ---- to the server ---- */

static void send_frame(struct tunnel *t, enum ws_opcode op, const void *data, size_t len)
{
	uint8_t mask[4];
	_cleanup_buf_ struct buf frame = BUF_INIT;
	if (!t->call || t->done)
		return;
	pki_random(mask, sizeof(mask));
	ws_frame(&frame, op, data, len, mask);
	http_call_write(t->call, frame.data, frame.len);
}

static void send_end(struct tunnel *t, uint32_t id)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	spdy_data(&out, id, "", 0, true);
	send_frame(t, WS_BINARY, out.data, out.len);
}

static void open_streams(struct conn *k)
{
	struct tunnel *t = k->t;
	_cleanup_buf_ struct buf out = BUF_INIT;
	char port[8], request[16];
	snprintf(port, sizeof(port), "%u", k->port.remote);
	snprintf(request, sizeof(request), "%u", t->next_request++);
	struct http_header headers[] = {{"streamtype", "error"}, {"port", port}, {"requestid", request}, {NULL, NULL}};
	k->error_id = t->next_id;
	k->data_id = t->next_id + 2;
	t->next_id += 4;
	spdy_stream(&t->spdy, &out, k->error_id, headers);
	spdy_data(&out, k->error_id, "", 0, true); /* we say nothing on it */
	headers[0].value = "data";
	spdy_stream(&t->spdy, &out, k->data_id, headers);
	send_frame(t, WS_BINARY, out.data, out.len);
}

/* ---- a local connection ---- */

static void set_full(struct conn *k, bool full)
{
	if (k->full == full)
		return;
	k->full = full;
	k->t->n_full += full ? 1 : -1u;
	if (k->t->call)
		http_call_pause(k->t->call, k->t->n_full > 0);
}

static void on_conn_closed(uv_handle_t *h)
{
	struct conn *k = CONTAINER_OF((uv_tcp_t *)h, struct conn, tcp);
	buf_done(&k->error);
	free(k);
}

static void conn_drop(struct conn *k)
{
	if (k->closing)
		return;
	k->closing = true;
	set_full(k, false);
	list_del(&k->node);
	uv_close((uv_handle_t *)&k->tcp, on_conn_closed);
}

/* Whatever the server still has for it is not wanted. */
static void conn_reset(struct conn *k)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	spdy_reset(&out, k->data_id, SPDY_CANCEL);
	send_frame(k->t, WS_BINARY, out.data, out.len);
	conn_drop(k);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *ret)
{
	static char bytes[65536];
	(void)h, (void)size;
	*ret = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf);

static void read_conns(struct tunnel *t)
{
	LIST_EACH (&t->conns, k, struct conn, node) {
		if (t->full)
			uv_read_stop((uv_stream_t *)&k->tcp);
		else if (!k->ended)
			uv_read_start((uv_stream_t *)&k->tcp, on_alloc, on_read);
	}
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct conn *k = CONTAINER_OF((uv_tcp_t *)st, struct conn, tcp);
	struct tunnel *t = k->t;
	if (n > 0) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		spdy_data(&out, k->data_id, buf->base, (size_t)n, false);
		send_frame(t, WS_BINARY, out.data, out.len);
		t->full = t->call && http_call_unsent(t->call) > ENOUGH;
		if (t->full) {
			http_call_await_drain(t->call);
			read_conns(t);
		}
	} else if (n == UV_EOF) {
		uv_read_stop(st);
		k->ended = true;
		send_end(t, k->data_id);
	} else if (n < 0) {
		conn_reset(k);
	}
}

static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = CONTAINER_OF(req, struct write_req, req);
	struct conn *k = w->k;
	free(w);
	if (k->closing)
		return;
	if (status != 0)
		conn_reset(k);
	else if (uv_stream_get_write_queue_size((uv_stream_t *)&k->tcp) < LITTLE)
		set_full(k, false);
}

static void write_local(struct conn *k, const void *data, size_t len)
{
	struct write_req *w = xmalloc(sizeof(*w) + len);
	w->k = k;
	memcpy(w->data, data, len);
	uv_buf_t b = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->req, (uv_stream_t *)&k->tcp, &b, 1, on_written) != 0)
		free(w);
	if (uv_stream_get_write_queue_size((uv_stream_t *)&k->tcp) > ENOUGH)
		set_full(k, true);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct conn *k = CONTAINER_OF(req, struct conn, shutdown);
	(void)status;
	k->flushed = true;
	if (k->over)
		conn_drop(k);
}

static void on_connection(uv_stream_t *st, int status)
{
	struct listener *l = CONTAINER_OF((uv_tcp_t *)st, struct listener, tcp);
	struct tunnel *t = l->t;
	if (status < 0 || t->done)
		return;
	struct conn *k = NEW(struct conn);
	k->t = t;
	k->port = l->port;
	uv_tcp_init(&t->c->loop, &k->tcp);
	list_push(&t->conns, &k->node);
	if (uv_accept(st, (uv_stream_t *)&k->tcp) < 0) {
		conn_drop(k);
		return;
	}
	uv_tcp_nodelay(&k->tcp, 1);
	printf("Handling connection for %u\n", k->port.local);
	fflush(stdout);
	open_streams(k);
	if (!t->full)
		uv_read_start((uv_stream_t *)&k->tcp, on_alloc, on_read);
}

/* ---- from the server ---- */

static struct conn *find(struct tunnel *t, uint32_t id)
{
	LIST_EACH (&t->conns, k, struct conn, node) {
		if (k->data_id == id || k->error_id == id)
			return k;
	}
	return NULL;
}

static void report(struct conn *k)
{
	if (!k->error.len)
		return;
	fprintf(stderr, "an error occurred forwarding %u -> %u: %s\n", k->port.local, k->port.remote, k->error.data);
	conn_drop(k);
}

static void on_spdy_data(void *arg, uint32_t id, const void *data, size_t len, bool fin)
{
	struct conn *k = find(arg, id);
	if (!k)
		return;
	if (id == k->error_id) {
		buf_add(&k->error, data, MIN(len, ERROR_MAX - MIN(k->error.len, (size_t)ERROR_MAX)));
		if (fin && k->error.len) {
			report(k);
			return;
		}
		k->over |= fin;
		if (k->over && k->flushed)
			conn_drop(k);
		return;
	}
	if (k->remote_ended)
		return;
	if (len)
		write_local(k, data, len);
	k->remote_ended = fin;
	if (fin && uv_shutdown(&k->shutdown, (uv_stream_t *)&k->tcp, on_shutdown) != 0)
		conn_reset(k);
}

static void on_spdy_reset(void *arg, uint32_t id, uint32_t status)
{
	struct conn *k = find(arg, id);
	(void)status;
	if (k)
		conn_drop(k);
}

static const struct spdy_ops spdy_ops = {.on_data = on_spdy_data, .on_reset = on_spdy_reset};

static void on_message(void *arg, enum ws_opcode op, const void *data, size_t len)
{
	struct tunnel *t = arg;
	if (op == WS_PING)
		send_frame(t, WS_PONG, data, len);
	else if (op == WS_CLOSE || (op == WS_BINARY && spdy_feed(&t->spdy, data, len, &t->err) < 0))
		t->done = true;
}

static void on_response(void *arg, int status, const struct http_header *headers)
{
	struct tunnel *t = arg;
	(void)headers;
	t->status = status;
}

static void on_upgrade(void *arg, int status, const struct http_header *headers)
{
	struct tunnel *t = arg;
	(void)headers;
	t->status = status;
	t->upgraded = t->done = true; /* the first wait is over */
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct tunnel *t = arg;
	if (!t->upgraded && t->refusal.len < 65536)
		buf_add(&t->refusal, data, len);
	else if (t->upgraded && ws_feed(&t->ws, data, len, &t->err) < 0)
		t->done = true;
}

static void on_done(void *arg, const struct err *err)
{
	struct tunnel *t = arg;
	t->call = NULL;
	t->done = true;
	if (!t->err.code)
		err_copy(&t->err, err);
}

static void on_drain(void *arg)
{
	struct tunnel *t = arg;
	t->full = false;
	read_conns(t);
}

/* ---- listening ---- */

static int listen_on(struct tunnel *t, const char *address, struct tunnel_port port, uint16_t *ret_port,
		     struct err *err)
{
	struct sockaddr_storage a = {0};
	int len = sizeof(a);
	bool v6 = strchr(address, ':');
	int rc = v6 ? uv_ip6_addr(address, port.local, (struct sockaddr_in6 *)&a)
		    : uv_ip4_addr(address, port.local, (struct sockaddr_in *)&a);
	if (rc < 0)
		return ctl_usage(err, "%s is not an IP", address);
	struct listener *l = keep(NEW(struct listener)); /* its handle is closed with the loop */
	l->t = t;
	uv_tcp_init(&t->c->loop, &l->tcp);
	rc = uv_tcp_bind(&l->tcp, (struct sockaddr *)&a, v6 ? UV_TCP_IPV6ONLY : 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->tcp, 128, on_connection);
	if (rc == 0)
		rc = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&a, &len);
	if (rc < 0)
		return err_set(err, rc, "unable to listen on port %u: %s: %s", port.local, address, uv_strerror(rc));
	port.local = ntohs(v6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
	l->port = port;
	printf(v6 ? "Forwarding from [%s]:%u -> %u\n" : "Forwarding from %s:%u -> %u\n", address, port.local,
	       port.remote);
	*ret_port = port.local;
	return 0;
}

static int listen_all(struct tunnel *t, const char *const *addresses, const struct tunnel_port *ports, size_t n_ports,
		      struct err *err)
{
	for (size_t i = 0; i < n_ports; i++) {
		struct tunnel_port port = ports[i];
		for (const char *const *a = addresses; *a; a++) {
			bool local = streq(*a, "localhost");
			int rc = listen_on(t, local ? "127.0.0.1" : *a, port, &port.local, err);
			if (rc < 0)
				return rc;
			if (local)
				(void)listen_on(t, "::1", port, &port.local, NULL);
		}
	}
	fflush(stdout);
	return 0;
}

static int outcome(struct tunnel *t, struct err *err)
{
	if (!t->upgraded && t->status >= 300)
		return remote_refusal(t->status, &t->refusal, err);
	if (t->err.code)
		return err_move(err, &t->err);
	return err_set(err, -EPIPE, "lost connection to pod");
}

static int connect_and_listen(struct tunnel *t, const char *path, const char *const *addresses,
			      const struct tunnel_port *ports, size_t n_ports, struct err *err)
{
	static const struct http_call_ops ops = {.on_response = on_response,
						 .on_body = on_body,
						 .on_done = on_done,
						 .on_upgrade = on_upgrade,
						 .on_drain = on_drain};
	struct http_header headers[6];
	_cleanup_free_ char *key = NULL;
	remote_headers("SPDY/3.1+portforward.k8s.io", headers, &key);
	t->call = client_http_call(t->c->client, "GET", path, headers, NULL, 0, 0, &ops, t);
	ctl_run(t->c, &t->done, 0);
	if (!t->call || !t->upgraded)
		return outcome(t, err);
	t->done = false;
	int rc = listen_all(t, addresses, ports, n_ports, err);
	if (rc < 0)
		return rc;
	ctl_run(t->c, &t->done, 0);
	return outcome(t, err);
}

int tunnel_run(struct ctl *c, const char *path, const char *const *addresses, const struct tunnel_port *ports,
	       size_t n_ports, struct err *err)
{
	int rc = ctl_connect(c, err);
	if (rc < 0)
		return rc;
	struct tunnel *t = keep(NEW(struct tunnel)); /* listeners point to it until the loop is closed */
	t->c = c;
	t->next_id = 1;
	t->ws = (struct ws_parser){.max_bytes = MESSAGE_MAX, .on_message = on_message, .arg = t};
	list_init(&t->conns);
	spdy_init(&t->spdy, &spdy_ops, t);
	rc = connect_and_listen(t, path, addresses, ports, n_ports, err);
	t->done = true;
	if (t->call)
		http_call_cancel(STEAL(t->call));
	LIST_EACH (&t->conns, k, struct conn, node)
		conn_drop(k);
	spdy_done(&t->spdy);
	ws_parser_done(&t->ws);
	buf_done(&t->refusal);
	err_done(&t->err);
	return rc;
}
