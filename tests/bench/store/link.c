#include "tests/bench/store/link.h"

static void on_open(struct conn *c)
{
	struct link *l = CONTAINER_OF(c, struct link, conn);
	l->open = true;
	l->proto->start(l);
	l->ops->opened(l);
}

static void on_data(struct conn *c, const char *data, size_t len)
{
	struct link *l = CONTAINER_OF(c, struct link, conn);
	if (l->proto->data(l, data, len) < 0)
		l->ops->ended(l, "an answer that cannot be read");
}

static void on_end(struct conn *c, const struct err *err)
{
	struct link *l = CONTAINER_OF(c, struct link, conn);
	l->ops->ended(l, err->code ? err->message : "closed");
}

static void on_tick(struct conn *c)
{
	(void)c;
}

static void on_closed(struct conn *c)
{
	struct link *l = CONTAINER_OF(c, struct link, conn);
	l->proto->stop(l);
	buf_done(&l->in);
	free(l);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct link *l = CONTAINER_OF(req, struct link, connect);
	if (l->conn.closing)
		return;
	if (status < 0) {
		conn_fail(&l->conn, status, "connect");
		return;
	}
	uv_tcp_nodelay(&l->conn.u.tcp, 1);
	conn_start(&l->conn, l->tls, "127.0.0.1", NULL);
}

struct link *link_new(struct conn_group *g, const struct link_proto *proto, struct tls_context *tls, uint16_t port,
		      const struct link_ops *ops, void *arg)
{
	static const struct conn_ops conn_ops = {
		.on_open = on_open, .on_data = on_data, .on_tick = on_tick, .on_end = on_end, .on_closed = on_closed};
	struct link *l = NEW(struct link);
	struct sockaddr_in addr;
	*l = (struct link){.proto = proto, .ops = ops, .arg = arg, .tls = tls};
	MUST(conn_init(&l->conn, g, false, &conn_ops) == 0);
	uv_ip4_addr("127.0.0.1", port, &addr);
	int rc = uv_tcp_connect(&l->connect, &l->conn.u.tcp, (struct sockaddr *)&addr, on_connect);
	if (rc < 0)
		conn_fail(&l->conn, rc, "connect");
	return l;
}

void link_close(struct link *l)
{
	conn_close(&l->conn);
}
