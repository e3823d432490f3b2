/* Serves our store to the bench: the real engine, the real disk, TLS, and nothing above it.
 *
 *   store_server DIR PORT CERTS [ID PEER_PORT PEER_PORT PEER_PORT]     the last four: one of three members
 */
#include <errno.h>
#include <signal.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/net/conn.h"
#include "raft/raft.h"
#include "store/peer_tls.h"
#include "store/store.h"
#include "tests/bench/store/wire.h"

struct server {
	uv_loop_t loop;
	struct env *env;
	struct store *store;
	struct tls_context *tls;
	struct conn_group group;
	uv_tcp_t listener;
	uv_signal_t term;
	struct peer_tls *peers;
	bool closed;
};

struct client {
	struct conn conn;
	struct server *s;
	struct buf in;
	unsigned refs; /* calls and watches that may still answer, and the connection */
};

/* One call or watch of a client. */
struct ask {
	struct client *c;
	struct wire_head head;
};

static void client_unref(struct client *c)
{
	if (--c->refs)
		return;
	buf_done(&c->in);
	free(c);
}

static void answer(struct ask *a, const struct err *err, uint64_t number)
{
	if (a->c->conn.closing)
		return;
	struct wire_head h = {
		.len = sizeof(h) - 4, .op = a->head.op, .failed = err && err->code, .id = a->head.id, .number = number};
	conn_add(&a->c->conn, &h, sizeof(h));
}

static void done(struct ask *a, const struct err *err, uint64_t number)
{
	answer(a, err, number);
	client_unref(a->c);
	free(a);
}

static void on_txn(void *arg, const struct err *err, const struct store_txn_resp *r)
{
	done(arg, err, r ? r->rev : 0);
}

static void on_count(void *arg, const struct err *err, const struct store_range_resp *r)
{
	done(arg, err, r ? r->count : 0);
}

static void on_status(void *arg, const struct err *err, const struct store_status *st)
{
	done(arg, err, st && st->is_leader);
}

static void on_compacted(void *arg, const struct err *err, uint64_t rev)
{
	done(arg, err, rev);
}

static void on_latest(void *arg, const struct err *err, const struct store_range_resp *r)
{
	struct ask *a = arg;
	if (err && err->code)
		done(a, err, 0);
	else
		a->c->s->store->engine->compact(a->c->s->store, r->rev, on_compacted, a);
}

static void on_events(void *arg, uint64_t rev, const struct store_event *events, size_t n)
{
	struct ask *a = arg;
	if (a->c->conn.closing)
		return;
	for (size_t i = 0; i < n; i++) {
		size_t key = strlen(events[i].kv.key), value = events[i].kv.value ? events[i].kv.value->len : 0;
		struct wire_head h = {.len = (uint32_t)(sizeof(h) - 4 + key + value),
				      .op = WIRE_EVENT,
				      .key_len = (uint16_t)key,
				      .id = a->head.id,
				      .number = rev};
		conn_add(&a->c->conn, &h, sizeof(h));
		conn_add(&a->c->conn, events[i].kv.key, key);
		if (value)
			conn_add(&a->c->conn, events[i].kv.value->data, value);
	}
}

static void on_end(void *arg, const struct err *err)
{
	(void)arg;
	(void)err;
}

static void begin(struct client *c, const struct wire_head *h, const char *key, const char *value, size_t len)
{
	static const struct store_watch_ops ops = {.on_events = on_events, .on_end = on_end};
	struct store *s = c->s->store;
	struct ask *a = NEW(struct ask);
	*a = (struct ask){.c = c, .head = *h};
	c->refs++;
	_cleanup_free_ char *name = xstrndup(key, h->key_len), *end = store_prefix_end(name);
	switch ((enum wire_op)h->op) {
	case WIRE_PUT: {
		_cleanup_blob_ struct blob *b = blob_new(value, len);
		struct store_op op = {.type = STORE_PUT, .key = name, .value = b};
		store_txn(s, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, on_txn, a);
		break;
	}
	case WIRE_COUNT:
		store_range(s, &(struct store_range_req){.key = "", .end = "", .count_only = true}, on_count, a);
		break;
	case WIRE_STATUS:
		s->engine->status(s, on_status, a);
		break;
	case WIRE_COMPACT:
		store_range(s, &(struct store_range_req){.key = "none"}, on_latest, a);
		break;
	case WIRE_WATCH: /* lives as long as the process: connections that watch end with it */
		store_watch(s, &(struct store_watch_req){.key = name, .end = end}, &ops, a);
		answer(a, NULL, 0);
		break;
	case WIRE_EVENT:
		break;
	}
}

static void on_data(struct conn *conn, const char *data, size_t len)
{
	struct client *c = CONTAINER_OF(conn, struct client, conn);
	buf_add(&c->in, data, len);
	size_t at = 0;
	for (struct wire_head h; c->in.len - at >= sizeof(h);) {
		memcpy(&h, c->in.data + at, sizeof(h));
		if (h.len > WIRE_MAX || h.len + 4 < sizeof(h) + h.key_len) {
			conn_close(conn);
			return;
		}
		if (c->in.len - at < h.len + 4)
			break;
		const char *key = c->in.data + at + sizeof(h);
		begin(c, &h, key, key + h.key_len, h.len + 4 - sizeof(h) - h.key_len);
		at += h.len + 4;
	}
	buf_consume(&c->in, at);
}

static void on_conn_end(struct conn *conn, const struct err *err)
{
	(void)err;
	conn_close(conn);
}

static void nothing(struct conn *conn)
{
	(void)conn;
}

static void on_closed(struct conn *conn)
{
	client_unref(CONTAINER_OF(conn, struct client, conn));
}

static void on_connection(uv_stream_t *stream, int status)
{
	static const struct conn_ops ops = {.on_open = nothing,
					    .on_data = on_data,
					    .on_tick = nothing,
					    .on_end = on_conn_end,
					    .on_closed = on_closed};
	struct server *s = stream->data;
	if (status < 0)
		return;
	struct client *c = NEW(struct client);
	c->s = s;
	c->refs = 1;
	MUST(conn_init(&c->conn, &s->group, false, &ops) == 0);
	if (uv_accept(stream, &c->conn.u.stream)) {
		conn_close(&c->conn);
		return;
	}
	uv_tcp_nodelay(&c->conn.u.tcp, 1);
	conn_start(&c->conn, s->tls, NULL, NULL);
}

static char *pem(const char *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	if (file_read(path, 1u << 20, &b, &err)) {
		fprintf(stderr, "store_server: %s\n", err.message);
		exit(1);
	}
	return buf_steal(&b);
}

static void fail(const struct err *err)
{
	fprintf(stderr, "store_server: %s\n", err->message);
	exit(1);
}

static void start_peers(struct server *s, const char *certs, unsigned id, char **ports)
{
	char listen[32], name[32];
	struct err err = ERR_INIT;
	snprintf(listen, sizeof(listen), "127.0.0.1:%s", ports[id - 1]);
	snprintf(name, sizeof(name), "member%u.pem", id);
	_cleanup_free_ char *cert = pem(certs, name), *ca = pem(certs, "ca.pem");
	snprintf(name, sizeof(name), "member%u.key", id);
	_cleanup_free_ char *key = pem(certs, name);
	struct peer_tls_config pc = {.cert_pem = cert,
				     .key_pem = key,
				     .ca_pem = ca,
				     .cluster = 7,
				     .member = id,
				     .advertise = listen,
				     .listen = listen};
	if (peer_tls_start(s->peers, &pc, &err))
		fail(&err);
	for (unsigned i = 1; i <= 3; i++) {
		char address[32];
		snprintf(address, sizeof(address), "127.0.0.1:%s", ports[i - 1]);
		peer_tls_hint(s->peers, i, address);
	}
}

static void open_store(struct server *s, const char *dir, const char *certs, int argc, char **argv)
{
	static const struct raft_member members[] = {
		{.id = 1, .role = RAFT_VOTER}, {.id = 2, .role = RAFT_VOTER}, {.id = 3, .role = RAFT_VOTER}};
	struct err err = ERR_INIT;
	struct store_config sc = {.dir = dir};
	char address[32], name[16];
	unsigned id = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
	if (id) {
		snprintf(address, sizeof(address), "127.0.0.1:%s", argv[4 + id]);
		snprintf(name, sizeof(name), "m%u", id);
		s->peers = peer_tls_new(s->env, &s->loop);
		sc.peer = peer_tls_peer(s->peers);
		sc.cluster = 7;
		sc.member = id;
		sc.members = members;
		sc.n_members = 3;
		sc.name = name;
		sc.peer_address = address;
	}
	if (store_open(s->env, &sc, &s->store, &err))
		fail(&err);
	if (id)
		start_peers(s, certs, id, argv + 5);
}

static void on_store_closed(void *arg)
{
	(void)arg;
	exit(0);
}

static void on_term(uv_signal_t *h, int signum)
{
	struct server *s = h->data;
	(void)signum;
	s->store->engine->close(s->store, on_store_closed, s);
}

int main(int argc, char **argv)
{
	static struct server s;
	struct sockaddr_in addr;
	struct err err = ERR_INIT;
	if (argc != 4 && argc != 8) {
		fprintf(stderr, "usage: store_server DIR PORT CERTS [ID PEER_PORT PEER_PORT PEER_PORT]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&s.loop);
	s.env = env_uv_new(&s.loop);
	_cleanup_free_ char *cert = pem(argv[3], "server.pem"), *key = pem(argv[3], "server.key"),
			    *ca = pem(argv[3], "ca.pem");
	if (tls_server_context(cert, key, ca, &s.tls, &err))
		fail(&err);
	open_store(&s, argv[1], argv[3], argc, argv);
	conn_group_init(&s.group, s.env, &s.loop, NULL);
	uv_tcp_init(&s.loop, &s.listener);
	s.listener.data = &s;
	uv_ip4_addr("127.0.0.1", atoi(argv[2]), &addr);
	if (uv_tcp_bind(&s.listener, (struct sockaddr *)&addr, 0) ||
	    uv_listen((uv_stream_t *)&s.listener, 128, on_connection)) {
		fprintf(stderr, "store_server: cannot listen on port %s\n", argv[2]);
		return 1;
	}
	uv_signal_init(&s.loop, &s.term);
	s.term.data = &s;
	uv_signal_start(&s.term, on_term, SIGTERM);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	return 0;
}
