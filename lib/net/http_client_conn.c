#include <errno.h>
#include <sys/un.h>

#include "lib/net/http_client.h"

enum { RESPONSE_HEADER_MAX = 256 * 1024, ADDRESSES_MAX = 8, DRAINED = 64 * 1024 };

/* A look-up outlives the connection that asked, if need be. */
struct resolve {
	uv_getaddrinfo_t req;
	struct cconn *conn; /* NULL: nobody waits any more */
};

static void connect_next(struct cconn *cc);

/* ---- the answer ---- */

static bool parse_stopped(void *arg)
{
	struct cconn *cc = arg;
	return !cc->call || cc->conn.closing;
}

static void parse_head(void *arg, int status, const struct http_header *headers)
{
	struct cconn *cc = arg;
	struct http_call *call = cc->call;
	call->upgraded = status == 101 && call->ops.on_upgrade;
	if (call->upgraded) {
		env_timer_stop(cc->client->group.env, &call->timer);
		call->ops.on_upgrade(call->arg, status, headers);
	} else if (call->ops.on_response) {
		call->ops.on_response(call->arg, status, headers);
	}
}

static void parse_body(void *arg, const char *data, size_t len)
{
	struct cconn *cc = arg;
	if (cc->call->ops.on_body)
		cc->call->ops.on_body(cc->call->arg, data, len);
}

static void go_idle(struct cconn *cc)
{
	struct http_client *c = cc->client;
	cc->state = CCONN_IDLE;
	list_del(&cc->idle_node);
	list_push(&c->idle, &cc->idle_node);
	env_timer_start(c->group.env, &cc->timer, (uint64_t)c->idle_s * 1000000);
}

static void complete(struct cconn *cc, bool reusable)
{
	struct http_call *call = STEAL(cc->call);
	struct err ok = ERR_INIT;
	http_response_done(&cc->parse);
	if (reusable && conn_unsent(&cc->conn) == 0 && cc->tls == cc->client->tls)
		go_idle(cc);
	else
		cconn__close(cc);
	http_call__done(call, &ok);
}

bool cconn__sent(const struct cconn *cc)
{
	return cc->state == CCONN_BUSY && (cc->conn.sent != cc->sent_base || cc->conn.writing);
}

static void fail_call(struct cconn *cc, const struct err *err)
{
	struct http_call *call = STEAL(cc->call);
	bool unsent = !cconn__sent(cc);
	bool again = call && cc->reused && !cc->got_bytes && !call->retried && (call->safe || unsent);
	struct err copy = *err;
	if (call)
		call->sent = !unsent;
	cconn__close(cc);
	if (again)
		http_call__retry(call);
	else if (call)
		http_call__done(call, &copy);
}

static void on_data(struct conn *conn, const char *data, size_t len)
{
	struct cconn *cc = CONTAINER_OF(conn, struct cconn, conn);
	const char *why = NULL;
	MAGIC_CHECK(cc, CCONN_MAGIC);
	if (!cc->call) {
		cconn__close(cc); /* nothing was asked: whatever this is, it answers no question of ours */
		return;
	}
	cc->got_bytes = true;
	if (cc->call->upgraded) {
		parse_body(cc, data, len);
		return;
	}
	ssize_t used = http_response_feed(&cc->parse, data, len, &why);
	if (used == -ECANCELED)
		return;
	if (used < 0) {
		struct err err = ERR_INIT;
		err_set(&err, -EPROTO, "bad answer from %s: %s", cc->client->host_header, why);
		fail_call(cc, &err);
	} else if (cc->call->upgraded) {
		if ((size_t)used < len)
			parse_body(cc, data + used, len - (size_t)used);
	} else if (cc->parse.complete) {
		complete(cc, (size_t)used == len && !cc->parse.upgraded &&
				     llhttp_should_keep_alive(&cc->parse.llhttp) && !conn->ended);
	}
}

static void on_end(struct conn *conn, const struct err *err)
{
	struct cconn *cc = CONTAINER_OF(conn, struct cconn, conn);
	struct err why = *err;
	MAGIC_CHECK(cc, CCONN_MAGIC);
	if (!cc->call) {
		cconn__close(cc);
		client__pump(cc->client);
	} else if (cc->state == CCONN_BUSY && !err->code && !conn->truncated &&
		   (cc->call->upgraded || http_response_eof(&cc->parse) == 0)) {
		if (cc->call)
			complete(cc, false);
	} else {
		if (err->code && cc->state != CCONN_BUSY)
			err_prefix(&why, "%s", cc->client->host_header);
		else if (!err->code)
			err_set(&why, -ECONNRESET, "%s closed the connection %s", cc->client->host_header,
				cc->parse.head_done ? "in the middle of its answer" : "without an answer");
		fail_call(cc, &why);
	}
}

static void on_open(struct conn *conn)
{
	struct cconn *cc = CONTAINER_OF(conn, struct cconn, conn);
	if (conn->handshake && cc->tls == cc->client->tls) {
		struct tls_result *r = tls_handshake_result(conn->handshake);
		if (r->session.len) {
			buf_done(&cc->client->session);
			cc->client->session = r->session;
			r->session = BUF_INIT;
		}
	}
	cconn__begin(cc, cc->call);
}

static void on_tick(struct conn *conn)
{
	struct cconn *cc = CONTAINER_OF(conn, struct cconn, conn);
	struct http_call *call = cc->call;
	if (!call || !call->awaits_drain || conn_unsent(conn) >= DRAINED)
		return;
	call->awaits_drain = false;
	call->ops.on_drain(call->arg);
}

static void on_closed(struct conn *conn)
{
	struct cconn *cc = CONTAINER_OF(conn, struct cconn, conn);
	struct http_client *c = cc->client;
	http_response_done(&cc->parse);
	tls_context_unref(cc->tls);
	free(cc->addrs);
	list_del(&cc->node);
	c->n_conns--;
	cc->magic = 0;
	free(cc);
	if (c->closing && c->n_conns == 0)
		conn_group_close(&c->group);
	else
		client__pump(c);
}

static const struct conn_ops cconn_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_tick = on_tick,
	.on_end = on_end,
	.on_closed = on_closed,
};

void cconn__begin(struct cconn *cc, struct http_call *call)
{
	list_del(&cc->idle_node);
	env_timer_stop(cc->client->group.env, &cc->timer);
	cc->state = CCONN_BUSY;
	cc->call = call;
	call->conn = cc;
	cc->got_bytes = false;
	cc->sent_base = cc->conn.sent;
	http_response_done(&cc->parse);
	http_response_init(&cc->parse, call->head, RESPONSE_HEADER_MAX);
	cc->parse.on_head = parse_head;
	cc->parse.on_body = parse_body;
	cc->parse.stopped = parse_stopped;
	cc->parse.arg = cc;
	conn_add_blob(&cc->conn, call->request);
}

void cconn__close(struct cconn *cc)
{
	list_del(&cc->idle_node);
	env_timer_stop(cc->client->group.env, &cc->timer);
	if (cc->resolve) {
		cc->resolve->conn = NULL;
		uv_cancel((uv_req_t *)&STEAL(cc->resolve)->req);
	}
	conn_close(&cc->conn);
}

/* ---- getting there ---- */

static void on_timer(struct env_timer *t)
{
	struct cconn *cc = CONTAINER_OF(t, struct cconn, timer);
	MAGIC_CHECK(cc, CCONN_MAGIC);
	if (cc->state == CCONN_IDLE) {
		cconn__close(cc);
		return;
	}
	struct err err = ERR_INIT;
	err_set(&err, -ETIMEDOUT, "%s: no connection in time", cc->client->host_header);
	fail_call(cc, &err);
}

static struct cconn *cconn_new(struct http_client *c, struct http_call *call)
{
	struct cconn *cc = NEW(struct cconn);
	cc->magic = CCONN_MAGIC;
	cc->client = c;
	cc->call = call;
	call->conn = cc;
	cc->tls = tls_context_ref(c->unix_path ? NULL : c->tls);
	cc->state = CCONN_CONNECTING;
	cc->timer.fn = on_timer;
	list_push(&c->conns, &cc->node);
	list_init(&cc->idle_node);
	c->n_conns++;
	MUST(conn_init(&cc->conn, &c->group, c->unix_path != NULL, &cconn_ops) == 0);
	return cc;
}

static void on_connect(uv_connect_t *req, int status)
{
	struct cconn *cc = CONTAINER_OF(req, struct cconn, connect_req);
	if (cc->conn.closing)
		return;
	if (status == 0) {
		conn_start(&cc->conn, cc->tls, cc->client->server_name,
			   cc->tls == cc->client->tls ? &cc->client->session : NULL);
	} else if (cc->next_addr < cc->n_addrs) {
		/* A socket that failed to connect is of no further use: the next address gets a new one. */
		struct cconn *next = cconn_new(cc->client, STEAL(cc->call));
		next->addrs = STEAL(cc->addrs);
		next->n_addrs = cc->n_addrs;
		next->next_addr = cc->next_addr;
		env_timer_start(cc->client->group.env, &next->timer, (uint64_t)cc->client->connect_timeout_ms * 1000);
		cconn__close(cc);
		connect_next(next);
	} else {
		conn_fail(&cc->conn, status, "connect");
	}
}

static void connect_next(struct cconn *cc)
{
	cc->state = CCONN_CONNECTING;
	struct sockaddr *addr = (struct sockaddr *)&cc->addrs[cc->next_addr++];
	int rc = uv_tcp_connect(&cc->connect_req, &cc->conn.u.tcp, addr, on_connect);
	if (rc < 0)
		conn_fail(&cc->conn, rc, "connect");
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct resolve *r = CONTAINER_OF(req, struct resolve, req);
	struct cconn *cc = r->conn;
	free(r);
	if (cc) {
		cc->resolve = NULL;
		cc->addrs = NEW_N(struct sockaddr_storage, ADDRESSES_MAX);
		for (struct addrinfo *a = res; status == 0 && a && cc->n_addrs < ADDRESSES_MAX; a = a->ai_next)
			memcpy(&cc->addrs[cc->n_addrs++], a->ai_addr, a->ai_addrlen);
		if (cc->n_addrs)
			connect_next(cc);
		else
			conn_fail(&cc->conn, status ? status : UV_EAI_NONAME, "look up");
	}
	uv_freeaddrinfo(res);
}

static void connect_tcp(struct cconn *cc)
{
	struct http_client *c = cc->client;
	struct sockaddr_storage addr = {0};
	const char *host = c->host ? c->host : "localhost";
	char port[8];
	if (uv_ip4_addr(host, c->port, (struct sockaddr_in *)&addr) == 0 ||
	    uv_ip6_addr(host, c->port, (struct sockaddr_in6 *)&addr) == 0) {
		cc->addrs = NEW(struct sockaddr_storage);
		cc->addrs[0] = addr;
		cc->n_addrs = 1;
		connect_next(cc);
		return;
	}
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	cc->state = CCONN_RESOLVING;
	cc->resolve = NEW(struct resolve);
	cc->resolve->conn = cc;
	snprintf(port, sizeof(port), "%u", c->port);
	int rc = uv_getaddrinfo(c->group.loop, &cc->resolve->req, on_resolved, host, port, &hints);
	if (rc < 0) {
		free(STEAL(cc->resolve));
		conn_fail(&cc->conn, rc, "look up");
	}
}

void cconn__open(struct http_client *c, struct http_call *call)
{
	struct cconn *cc = cconn_new(c, call);
	env_timer_start(c->group.env, &cc->timer, (uint64_t)c->connect_timeout_ms * 1000);
	if (!c->unix_path)
		connect_tcp(cc);
	else if (strlen(c->unix_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		conn_fail(&cc->conn, UV_ENAMETOOLONG, c->unix_path);
	else
		uv_pipe_connect(&cc->connect_req, &cc->conn.u.pipe, c->unix_path, on_connect);
}
