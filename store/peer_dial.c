/* Getting to a member: its address, a look-up if that is a name, a TCP connection.
 *
 * A look-up under way outlives the connection it was for, and has no other deadline than the resolver's: given up, it
 * would hold its thread of the pool while the next one takes another. Each try takes the next of a name's addresses. */
#include <errno.h>

#include "store/peer_tls_internal.h"

struct peer_resolve {
	uv_getaddrinfo_t req;
	struct peer_conn *conn; /* NULL: nobody waits any more */
};

int peer__split_address(const char *address, char *host, uint16_t *ret_port)
{
	const char *colon = strrchr(address, ':');
	uint64_t port;
	if (!colon || colon == address || parse_u64(colon + 1, &port) || port > UINT16_MAX)
		return -EINVAL;
	size_t n = (size_t)(colon - address);
	if (*address == '[') {
		if (n < 3 || address[n - 1] != ']')
			return -EINVAL;
		address++;
		n -= 2;
	}
	if (n > STORE_ADDRESS_MAX)
		return -EINVAL;
	memcpy(host, address, n);
	host[n] = 0;
	*ret_port = (uint16_t)port;
	return 0;
}

static void on_connect(uv_connect_t *req, int status)
{
	struct peer_conn *c = CONTAINER_OF(req, struct peer_conn, connect_req);
	if (c->conn.closing)
		return;
	if (status)
		peer_conn__fail(c, uv_strerror(status));
	else
		peer_conn__start(c);
}

static void connect_to(struct peer_conn *c, const struct sockaddr *addr)
{
	env_timer_start(c->p->env, &c->timer, PEER_CONNECT_US);
	int rc = uv_tcp_connect(&c->connect_req, &c->conn.u.tcp, addr, on_connect);
	if (rc)
		conn_fail(&c->conn, rc, "connect"); /* told from the loop */
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct peer_resolve *l = CONTAINER_OF(req, struct peer_resolve, req);
	struct peer_conn *c = l->conn;
	unsigned n = 0;
	free(l);
	if (c) {
		c->resolve = NULL;
		for (struct addrinfo *a = res; status == 0 && a; a = a->ai_next)
			n++;
		struct addrinfo *pick = res;
		for (unsigned i = n ? c->peer->tries / 2 % n : 0; i; i--)
			pick = pick->ai_next;
		if (n)
			connect_to(c, pick->ai_addr);
		else
			peer_conn__fail(c, status ? uv_strerror(status) : "the name has no address");
	}
	uv_freeaddrinfo(res);
}

static void look_up(struct peer_conn *c, const char *host, uint16_t port)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char service[8];
	c->resolve = NEW(struct peer_resolve);
	c->resolve->conn = c;
	snprintf(service, sizeof(service), "%u", port);
	int rc = uv_getaddrinfo(c->p->group.loop, &c->resolve->req, on_resolved, host, service, &hints);
	if (rc) {
		free(STEAL(c->resolve));
		conn_fail(&c->conn, rc, "look up");
	}
}

void peer__dial_cancel(struct peer_conn *c)
{
	if (!c->resolve)
		return;
	c->resolve->conn = NULL;
	uv_cancel((uv_req_t *)&STEAL(c->resolve)->req);
}

/* What the members' table says and what it said itself last may differ: in turn, its own word first. */
static const char *where(const struct peer *r)
{
	if (!*r->heard.text || !*r->address)
		return *r->address ? r->address : r->heard.text;
	return r->tries % 2 ? r->address : r->heard.text;
}

void peer__dial(struct peer *r)
{
	char host[STORE_ADDRESS_MAX + 1];
	struct sockaddr_storage addr = {0};
	uint16_t port;
	if (!*where(r) || r->p->closing)
		return;
	struct peer_conn *c = peer_conn__new(r->p, true);
	c->peer = r;
	r->dialing = c;
	snprintf(c->address, sizeof(c->address), "%s", where(r));
	r->tries++;
	if (peer__split_address(c->address, host, &port))
		conn_fail(&c->conn, -EPROTO, "its address is not HOST:PORT");
	else if (uv_ip4_addr(host, port, (struct sockaddr_in *)&addr) == 0 ||
		 uv_ip6_addr(host, port, (struct sockaddr_in6 *)&addr) == 0)
		connect_to(c, (struct sockaddr *)&addr);
	else
		look_up(c, host, port);
}
