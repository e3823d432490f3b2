/* Members over real sockets on loopback: who is let in, what gets through, and what is left when somebody goes. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "lib/core/env_uv.h"
#include "lib/net/conn.h"
#include "lib/net/pki.h"
#include "store/peer_frame.h"
#include "store/peer_tls.h"
#include "tests/support/tap.h"

#define CLUSTER 0xc1u

struct world {
	uv_loop_t loop;
	struct env *env;
	struct pki_pair ca, other_ca;
};

/* A member of the tests: a transport, and what it has heard. */
struct node {
	struct world *w;
	struct peer_tls *p;
	uint64_t id;
	uint16_t port;
	unsigned n_received, n_unreachable;
	uint64_t received_bytes, last_from, order_broken;
	struct buf last, first_bytes; /* the first byte of each message, in order */
	bool in_send, closed;
};

static void wait_over(struct env_timer *t)
{
	*(bool *)(t + 1) = true;
}

/* Runs the loop until cond holds; fails after a minute. */
#define WAIT(w, cond)                                                                                                  \
	do {                                                                                                           \
		struct {                                                                                               \
			struct env_timer t;                                                                            \
			bool over;                                                                                     \
		} guard = {.t = {.fn = wait_over}};                                                                    \
		env_timer_start((w)->env, &guard.t, 60 * 1000 * 1000);                                                 \
		while (!(cond) && !guard.over)                                                                         \
			uv_run(&(w)->loop, UV_RUN_ONCE);                                                               \
		env_timer_stop((w)->env, &guard.t);                                                                    \
		if (guard.over)                                                                                        \
			fail_msg("waited in vain for: %s", #cond);                                                     \
	} while (0)

static void run_for(struct world *w, unsigned ms)
{
	struct {
		struct env_timer t;
		bool over;
	} guard = {.t = {.fn = wait_over}};
	env_timer_start(w->env, &guard.t, ms * 1000u);
	while (!guard.over)
		uv_run(&w->loop, UV_RUN_ONCE);
}

static struct world *world_new(void)
{
	struct world *w = NEW(struct world);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	w->env = env_uv_new(&w->loop);
	int64_t now = env_wall_s(w->env);
	assert_int_equal(pki_make_ca("mini-ca", now - 60, now + 3600, &w->ca, NULL), 0);
	assert_int_equal(pki_make_ca("mini-ca", now - 60, now + 3600, &w->other_ca, NULL), 0);
	return w;
}

static void world_free(struct world *w)
{
	pki_pair_done(&w->ca);
	pki_pair_done(&w->other_ca);
	env_uv_free(w->env);
	while (uv_run(&w->loop, UV_RUN_NOWAIT))
		;
	assert_int_equal(uv_loop_close(&w->loop), 0);
	free(w);
}

static struct pki_pair cert_of(struct world *w, const struct pki_pair *ca, const char *name, const char *organization)
{
	struct pki_pair pair = {0};
	const char *organizations[] = {organization, NULL};
	int64_t now = env_wall_s(w->env);
	const struct pki_request req = {.common_name = name,
					.organizations = organizations,
					.server = true,
					.client = true,
					.not_before_s = now - 60,
					.not_after_s = now + 3600};
	assert_int_equal(pki_issue(ca, &req, &pair, NULL), 0);
	return pair;
}

static struct pki_pair member_cert(struct world *w, const struct pki_pair *ca, uint64_t id)
{
	char name[PEER_TLS_NAME_MAX];
	peer_tls_name(id, name);
	return cert_of(w, ca, name, PEER_TLS_ORGANIZATION);
}

static void on_receive(void *arg, uint64_t from, const void *data, size_t len)
{
	struct node *n = arg;
	assert_false(n->in_send);
	n->n_received++;
	n->received_bytes += len;
	n->last_from = from;
	buf_addc(&n->first_bytes, *(const char *)data);
	buf_clear(&n->last);
	buf_add(&n->last, data, len);
}

static void on_unreachable(void *arg, _unused_ uint64_t to)
{
	struct node *n = arg;
	assert_false(n->in_send);
	n->n_unreachable++;
}

static void node_init(struct node *n, struct world *w, uint64_t id)
{
	*n = (struct node){.w = w, .id = id, .p = peer_tls_new(w->env, &w->loop)};
	struct store_peer *seam = peer_tls_peer(n->p);
	seam->receive = on_receive;
	seam->unreachable = on_unreachable;
	seam->arg = n;
}

static void node_start_at(struct node *n, const struct pki_pair *pair, uint64_t cluster, uint16_t port)
{
	char listen[32];
	struct err err = ERR_INIT;
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
	const struct peer_tls_config config = {.cert_pem = pair->cert_pem,
					       .key_pem = pair->key_pem,
					       .ca_pem = n->w->ca.cert_pem,
					       .cluster = cluster,
					       .member = n->id,
					       .listen = listen,
					       .advertise = port ? listen : NULL};
	if (peer_tls_start(n->p, &config, &err))
		fail_msg("%s", err.message);
	n->port = peer_tls_port(n->p);
	assert_int_not_equal(n->port, 0);
}

static void node_open(struct node *n, struct world *w, uint64_t id)
{
	struct pki_pair pair = member_cert(w, &w->ca, id);
	node_init(n, w, id);
	node_start_at(n, &pair, CLUSTER, 0);
	pki_pair_done(&pair);
}

/* n learns of the others, itself included. */
static void introduce(struct node *n, struct node *const *others, size_t count)
{
	struct store_member members[8];
	memset(members, 0, sizeof(members));
	for (size_t i = 0; i < count; i++) {
		members[i].id = others[i]->id;
		members[i].role = STORE_ROLE_VOTER;
		snprintf(members[i].name, sizeof(members[i].name), "m%" PRIu64, others[i]->id);
		if (others[i]->port)
			snprintf(members[i].peer, sizeof(members[i].peer), "127.0.0.1:%u", others[i]->port);
	}
	struct store_peer *seam = peer_tls_peer(n->p);
	seam->ops->members(seam, members, count);
}

static void node_send(struct node *n, uint64_t to, const void *data, size_t len)
{
	struct store_peer *seam = peer_tls_peer(n->p);
	n->in_send = true;
	seam->ops->send(seam, to, data, len);
	n->in_send = false;
}

static void on_node_closed(void *arg)
{
	((struct node *)arg)->closed = true;
}

static void node_close(struct node *n)
{
	peer_tls_close(n->p, on_node_closed, n);
	assert_false(n->closed);
	WAIT(n->w, n->closed);
	buf_done(&n->last);
	buf_done(&n->first_bytes);
}

static bool linked(struct node *a, struct node *b)
{
	return peer_tls_connected(a->p, b->id) && peer_tls_connected(b->p, a->id);
}

/* A message of raft's encoding, so that the transport sees its kind; len bytes in all, the first is the tag. */
static struct buf message(enum raft_msg_type type, size_t len)
{
	struct buf b = BUF_INIT;
	_cleanup_free_ char *data = xcalloc(1, len + 1);
	const struct raft_msg m = {.type = type, .len = len > 96 ? len - 96 : 0, .data = data};
	for (size_t i = 0; i < m.len; i++)
		data[i] = (char)(i * 7 + i / 251);
	assert_int_equal(store_peer_encode(&m, &b), 0);
	return b;
}

/* ---- a client that is no member, or not a good one ---- */

struct raw {
	struct conn_group group;
	struct conn conn;
	uv_connect_t req;
	struct tls_context *tls;
	struct buf got;
	bool open, ended, closed, group_closed;
};

static void raw_open(struct conn *c)
{
	CONTAINER_OF(c, struct raw, conn)->open = true;
}
static void raw_data(struct conn *c, const char *data, size_t len)
{
	buf_add(&CONTAINER_OF(c, struct raw, conn)->got, data, len);
}
static void raw_tick(_unused_ struct conn *c) {}
static void raw_end(struct conn *c, _unused_ const struct err *err)
{
	CONTAINER_OF(c, struct raw, conn)->ended = true;
}
static void raw_closed(struct conn *c)
{
	CONTAINER_OF(c, struct raw, conn)->closed = true;
}
static void raw_group_closed(struct conn_group *g)
{
	CONTAINER_OF(g, struct raw, group)->group_closed = true;
}
static const struct conn_ops raw_ops = {
	.on_open = raw_open, .on_data = raw_data, .on_tick = raw_tick, .on_end = raw_end, .on_closed = raw_closed};

static void raw_connected(uv_connect_t *req, int status)
{
	struct raw *r = CONTAINER_OF(req, struct raw, req);
	assert_int_equal(status, 0);
	conn_start(&r->conn, r->tls, NULL, NULL);
}

static struct raw *raw_dial(struct world *w, uint16_t port, const struct pki_pair *pair)
{
	struct raw *r = NEW(struct raw);
	struct sockaddr_in addr;
	conn_group_init(&r->group, w->env, &w->loop, raw_group_closed);
	assert_int_equal(tls_client_context(w->ca.cert_pem, pair ? pair->cert_pem : NULL, pair ? pair->key_pem : NULL,
					    false, &r->tls, NULL),
			 0);
	assert_int_equal(conn_init(&r->conn, &r->group, false, &raw_ops), 0);
	uv_ip4_addr("127.0.0.1", port, &addr);
	assert_int_equal(uv_tcp_connect(&r->req, &r->conn.u.tcp, (struct sockaddr *)&addr, raw_connected), 0);
	return r;
}

static void raw_close(struct world *w, struct raw *r)
{
	conn_close(&r->conn);
	WAIT(w, r->closed);
	conn_group_close(&r->group);
	WAIT(w, r->group_closed);
	tls_context_unref(r->tls);
	buf_done(&r->got);
	free(r);
}

static void raw_frame(struct raw *r, enum peer_frame_type type, const void *data, size_t len)
{
	uint8_t head[PEER_FRAME_HEAD];
	peer_frame_head(head, type, len);
	conn_add(&r->conn, head, sizeof(head));
	conn_add(&r->conn, data, len);
}

static void raw_hello(struct raw *r, struct peer_hello h)
{
	uint8_t bytes[PEER_HELLO_SIZE];
	h.version_min = h.version_min ? h.version_min : PEER_VERSION_MIN;
	h.version_max = h.version_max ? h.version_max : PEER_VERSION_MAX;
	h.cluster = h.cluster ? h.cluster : CLUSTER;
	peer_hello_encode(&h, bytes);
	raw_frame(r, PEER_FRAME_HELLO, bytes, sizeof(bytes));
}

/* The other side refuses, says why, and ends it. */
static void expect_refused(struct world *w, struct raw *r, enum peer_refusal code, const char *text)
{
	WAIT(w, r->ended);
	assert_true(r->got.len > 9);
	assert_int_equal(r->got.data[4], PEER_FRAME_REFUSED);
	assert_int_equal(r->got.data[8], code);
	if (!strstr(r->got.data + 9, text))
		fail_msg("refused with: %s", r->got.data + 9);
	raw_close(w, r);
}

/* ---- tests ---- */

static void names(_unused_ void **state)
{
	char name[PEER_TLS_NAME_MAX];
	peer_tls_name(0xc0ffee, name);
	assert_string_equal(name, "mini:server:0000000000c0ffee");
	assert_int_equal(peer_tls_name_member(name), 0xc0ffee);
	assert_int_equal(peer_tls_name_member("mini:server:c0ffee"), 0);
	assert_int_equal(peer_tls_name_member("mini:server:0000000000C0FFEE"), 0);
	assert_int_equal(peer_tls_name_member("mini:server:0000000000c0ffee1"), 0);
	assert_int_equal(peer_tls_name_member("mini:server:-000000000c0ffee"), 0);
	assert_int_equal(peer_tls_name_member("system:node:a"), 0);
}

static void two_exchange(_unused_ void **state)
{
	static const size_t sizes[] = {1,     95,    96,    4096,   4097,     16384,
				       16385, 32768, 65536, 100000, 3u << 20, STORE_PEER_MESSAGE_MAX};
	struct world *w = world_new();
	struct node a, b;
	node_open(&a, w, 1);
	node_open(&b, w, 2);
	struct node *all[] = {&a, &b};
	node_send(&a, 2, "lost", 4); /* nobody is there yet */
	introduce(&a, all, 2);
	introduce(&b, all, 2);
	WAIT(w, linked(&a, &b));
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		_cleanup_free_ char *data = xmalloc(sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			data[k] = (char)(k * 13 + k / 255 + i);
		unsigned a_before = a.n_received, b_before = b.n_received;
		node_send(&a, 2, data, sizes[i]);
		node_send(&b, 1, data, sizes[i]);
		WAIT(w, a.n_received > a_before && b.n_received > b_before);
		assert_int_equal(a.last_from, 2);
		assert_int_equal(b.last_from, 1);
		assert_int_equal(a.last.len, sizes[i]);
		assert_int_equal(b.last.len, sizes[i]);
		assert_memory_equal(a.last.data, data, sizes[i]);
		assert_memory_equal(b.last.data, data, sizes[i]);
	}
	assert_int_equal(a.n_received, ARRAY_LEN(sizes));
	node_send(&a, 2, "", 0); /* not a message; and neither are these */
	node_send(&a, 1, "self", 4);
	node_send(&a, 77, "nobody", 6);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

static void three_exchange(_unused_ void **state)
{
	struct world *w = world_new();
	struct node n[3];
	struct node *all[] = {&n[0], &n[1], &n[2]};
	for (unsigned i = 0; i < 3; i++)
		node_open(&n[i], w, i + 1);
	for (unsigned i = 0; i < 3; i++)
		introduce(&n[i], all, 3);
	WAIT(w, linked(&n[0], &n[1]) && linked(&n[1], &n[2]) && linked(&n[0], &n[2]));
	_cleanup_buf_ struct buf m = message(RAFT_MSG_APPEND, 5000);
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < 3; i++)
			for (unsigned k = 0; k < 3; k++)
				if (i != k)
					node_send(&n[i], k + 1, m.data, m.len);
		if (round % 10 == 0)
			uv_run(&w->loop, UV_RUN_NOWAIT);
	}
	WAIT(w, n[0].n_received == 600 && n[1].n_received == 600 && n[2].n_received == 600);
	assert_int_equal(n[0].n_unreachable, 0);
	for (unsigned i = 0; i < 3; i++)
		node_close(&n[i]);
	world_free(w);
}

/* Nobody has told the new one where anybody is: it answers on the connection it was given. */
static void joining_member(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, j;
	node_open(&a, w, 1);
	node_open(&j, w, 2);
	struct node *all[] = {&a, &j};
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &j));
	node_send(&a, 2, "come", 4);
	WAIT(w, j.n_received == 1);
	node_send(&j, 1, "here", 4);
	WAIT(w, a.n_received == 1);
	/* It moves, and nobody is told: it finds the others itself, and they answer. */
	unsigned before = a.n_unreachable;
	node_close(&j);
	WAIT(w, a.n_unreachable > before);
	assert_false(peer_tls_connected(a.p, 2));
	node_open(&j, w, 2);
	introduce(&j, all, 1);
	WAIT(w, linked(&a, &j));
	node_send(&a, 2, "come", 4);
	WAIT(w, j.n_received == 1);
	/* It moves again, and the others are told. */
	node_close(&j);
	WAIT(w, !peer_tls_connected(a.p, 2));
	node_open(&j, w, 2);
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &j));
	node_close(&j);
	node_close(&a);
	world_free(w);
}

/* A member comes back at its old address: those who dial it find it within a moment, backed off or not. */
static void back_again(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	struct pki_pair pair = member_cert(w, &w->ca, 2);
	node_open(&a, w, 1);
	node_open(&b, w, 2);
	struct node *all[] = {&a, &b};
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &b));
	for (int i = 0; i < 2; i++) {
		uint16_t port = b.port;
		node_close(&b);
		WAIT(w, a.n_unreachable >= 2); /* the dials fail */
		a.n_unreachable = 0;
		node_init(&b, w, 2);
		node_start_at(&b, &pair, CLUSTER, port);
		WAIT(w, linked(&a, &b));
	}
	pki_pair_done(&pair);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

static uint16_t free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin_port);
}

/* Two that have moved while each was away know only where the other was; the third has seen both. */
static void found_through_a_third(_unused_ void **state)
{
	struct world *w = world_new();
	struct node n[3];
	for (unsigned i = 0; i < 3; i++) {
		struct pki_pair pair = member_cert(w, &w->ca, i + 1);
		node_init(&n[i], w, i + 1);
		node_start_at(&n[i], &pair, CLUSTER, free_port());
		pki_pair_done(&pair);
	}
	struct node gone[2] = {{.id = 1, .port = free_port()}, {.id = 2, .port = free_port()}};
	introduce(&n[0], (struct node *[]){&n[0], &gone[1], &n[2]}, 3);
	introduce(&n[1], (struct node *[]){&gone[0], &n[1], &n[2]}, 3);
	introduce(&n[2], (struct node *[]){&gone[0], &gone[1], &n[2]}, 3);
	WAIT(w, linked(&n[0], &n[1]));
	assert_true(linked(&n[0], &n[2]) && linked(&n[1], &n[2]));
	for (unsigned i = 0; i < 3; i++)
		node_close(&n[i]);
	world_free(w);
}

/* Named without an address: it is where it was found in an earlier life, or where it says itself that it is. */
static void found_by_a_hint(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	struct pki_pair pair = member_cert(w, &w->ca, 2);
	char where[32];
	node_open(&a, w, 1);
	node_init(&b, w, 2);
	node_start_at(&b, &pair, CLUSTER, free_port());
	struct node nowhere = {.id = 2}, *all[] = {&a, &nowhere};
	snprintf(where, sizeof(where), "127.0.0.1:%u", b.port);
	peer_tls_hint(a.p, 2, where);
	run_for(w, 50);
	assert_false(peer_tls_connected(a.p, 2)); /* nobody says that it is a member */
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &b));
	node_close(&a);
	/* What it says to one who does not count it among the members yet is of use once it is one. */
	node_open(&a, w, 1);
	struct node *both[] = {&a, &b};
	introduce(&b, both, 2);
	WAIT(w, linked(&a, &b));
	run_for(w, 50);
	introduce(&a, all, 2);
	introduce(&b, &both[1], 1); /* the connection that b made will end; a has made one of its own */
	run_for(w, 3500);
	WAIT(w, linked(&a, &b));
	pki_pair_done(&pair);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

/* Whoever answers at the address of one that is gone is found there. */
static void found_in_place_of_another(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	struct pki_pair pair = member_cert(w, &w->ca, 2);
	node_open(&a, w, 1);
	node_init(&b, w, 2);
	node_start_at(&b, &pair, CLUSTER, free_port());
	struct node nowhere = {.id = 2}, gone = {.id = 3, .port = b.port}, *all[] = {&a, &nowhere, &gone};
	introduce(&a, all, 3);
	WAIT(w, linked(&a, &b));
	assert_false(peer_tls_connected(a.p, 3));
	pki_pair_done(&pair);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

/* One whose clock went back would not be believed where it is now: it hears what was believed, and surpasses it. */
static void clock_went_back(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a;
	struct pki_pair own = member_cert(w, &w->ca, 1), other = member_cert(w, &w->ca, 2);
	struct peer_address said = {.id = 1, .version = (uint64_t)env_wall_us(w->env) + 1000000000}, got = {0};
	uint8_t bytes[PEER_ADDRESS_SIZE_MAX];
	snprintf(said.text, sizeof(said.text), "127.0.0.1:1");
	node_init(&a, w, 1);
	node_start_at(&a, &own, CLUSTER, free_port());
	struct raw *r = raw_dial(w, a.port, &other);
	WAIT(w, r->open);
	raw_hello(r, (struct peer_hello){.from = 2, .to = 1});
	WAIT(w, peer_tls_connected(a.p, 2));
	raw_frame(r, PEER_FRAME_ADDRESS, bytes, peer_address_encode(&said, bytes));
	while (got.version <= said.version) {
		size_t before = r->got.len, at = 0;
		WAIT(w, r->got.len > before);
		for (uint32_t len; at + PEER_FRAME_HEAD <= r->got.len; at += PEER_FRAME_HEAD + len) {
			memcpy(&len, r->got.data + at, 4);
			if (r->got.data[at + 4] == PEER_FRAME_ADDRESS)
				assert_int_equal(peer_address_decode(r->got.data + at + PEER_FRAME_HEAD, len, &got), 0);
		}
	}
	assert_int_equal(got.version, said.version + 1);
	assert_int_equal(got.id, 1);
	assert_string_not_equal(got.text, said.text);
	raw_close(w, r);
	pki_pair_done(&own);
	pki_pair_done(&other);
	node_close(&a);
	world_free(w);
}

static void by_name(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	node_open(&a, w, 1);
	node_open(&b, w, 2);
	struct store_member members[] = {{.id = 2}, {.id = 3, .peer = "nonsense"}};
	snprintf(members[0].peer, sizeof(members[0].peer), "localhost:%u", b.port);
	struct store_peer *seam = peer_tls_peer(a.p);
	seam->ops->members(seam, members, 2);
	WAIT(w, linked(&a, &b));
	WAIT(w, a.n_unreachable >= 2); /* the other one, which is tried again and again */
	node_close(&a);
	node_close(&b);
	world_free(w);
}

/* Whom the members name no more is let go, after a while in which it may hear of it. */
static void removed(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	node_open(&a, w, 1);
	node_open(&b, w, 2);
	struct node *all[] = {&a, &b};
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &b));
	introduce(&a, all, 1);
	run_for(w, 200);
	assert_true(linked(&a, &b));
	node_send(&a, 2, "bye", 3);
	WAIT(w, b.n_received == 1);
	WAIT(w, !linked(&a, &b)); /* 3 s */
	run_for(w, 200);
	assert_false(linked(&a, &b));
	node_close(&a);
	node_close(&b);
	world_free(w);
}

static void other_clusters_server(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	struct pki_pair pair = member_cert(w, &w->ca, 2), foreign = member_cert(w, &w->other_ca, 2);
	node_open(&a, w, 1);
	node_init(&b, w, 2);
	node_start_at(&b, &pair, CLUSTER + 1, 0); /* same CA, another cluster: a copied directory */
	struct node *all[] = {&a, &b};
	introduce(&a, all, 2);
	introduce(&b, all, 2);
	WAIT(w, a.n_unreachable && b.n_unreachable);
	assert_false(peer_tls_connected(a.p, 2) || peer_tls_connected(b.p, 1));
	node_close(&b);
	node_init(&b, w, 2);
	node_start_at(&b, &foreign, CLUSTER, 0); /* another CA */
	introduce(&a, all, 2);
	introduce(&b, all, 2);
	unsigned before = a.n_unreachable;
	WAIT(w, a.n_unreachable > before && b.n_unreachable);
	assert_false(peer_tls_connected(a.p, 2) || peer_tls_connected(b.p, 1));
	node_close(&b);
	/* Another member at that address. */
	node_open(&b, w, 3);
	b.id = 2;
	introduce(&a, all, 2);
	before = a.n_unreachable;
	WAIT(w, a.n_unreachable > before);
	assert_false(peer_tls_connected(a.p, 2) || peer_tls_connected(a.p, 3));
	assert_int_equal(a.n_received + b.n_received, 0);
	pki_pair_done(&pair);
	pki_pair_done(&foreign);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

static void refused_with_a_reason(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a;
	node_open(&a, w, 1);
	struct pki_pair good = member_cert(w, &w->ca, 2), foreign = member_cert(w, &w->other_ca, 2),
			own = member_cert(w, &w->ca, 1),
			node = cert_of(w, &w->ca, "system:node:worker", "system:nodes"),
			posing = cert_of(w, &w->ca, "mini:server:0000000000000002", "system:nodes");
	expect_refused(w, raw_dial(w, a.port, NULL), PEER_REFUSED_CERT, "no certificate");
	expect_refused(w, raw_dial(w, a.port, &foreign), PEER_REFUSED_CERT, "does not verify");
	expect_refused(w, raw_dial(w, a.port, &node), PEER_REFUSED_CERT, "not that of a server");
	expect_refused(w, raw_dial(w, a.port, &posing), PEER_REFUSED_CERT, "not that of a server");
	const struct {
		const struct pki_pair *pair;
		struct peer_hello hello;
		enum peer_refusal code;
		const char *text;
	} cases[] = {
		{&good, {.from = 2, .to = 1, .cluster = 5}, PEER_REFUSED_CLUSTER, "restored from a copy is a new one"},
		{&good, {.from = 2, .to = 3}, PEER_REFUSED_MEMBER, "but this is member 0000000000000001"},
		{&good, {.from = 4, .to = 1}, PEER_REFUSED_MEMBER, "its certificate is that of"},
		{&own, {.from = 1, .to = 1}, PEER_REFUSED_MEMBER, "this server itself"},
		{&good,
		 {.from = 2, .to = 1, .version_min = 7, .version_max = 9},
		 PEER_REFUSED_VERSION,
		 "speaks versions 7 to 9"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct raw *r = raw_dial(w, a.port, cases[i].pair);
		WAIT(w, r->open);
		raw_hello(r, cases[i].hello);
		expect_refused(w, r, cases[i].code, cases[i].text);
	}
	/* A newer one that still speaks ours is welcome. */
	struct raw *r = raw_dial(w, a.port, &good);
	WAIT(w, r->open);
	raw_hello(r, (struct peer_hello){.from = 2, .to = 1, .version_max = 9});
	WAIT(w, peer_tls_connected(a.p, 2));
	raw_close(w, r);
	WAIT(w, !peer_tls_connected(a.p, 2));
	assert_int_equal(a.n_unreachable, 0); /* nobody counts on a stranger */
	struct pki_pair *pairs[] = {&good, &foreign, &own, &node, &posing};
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		pki_pair_done(pairs[i]);
	node_close(&a);
	world_free(w);
}

/* A member that sends what is no frame, or too large a one, is cut off; nothing of it is taken. */
static void bad_frames(_unused_ void **state)
{
	static const uint32_t huge = STORE_PEER_MESSAGE_MAX + 1, ten = 10;
	struct world *w = world_new();
	struct node a;
	struct pki_pair good = member_cert(w, &w->ca, 2);
	node_open(&a, w, 1);
	for (int kind = 0; kind < 9; kind++) {
		struct raw *r = raw_dial(w, a.port, &good);
		uint8_t head[PEER_FRAME_HEAD] = {0};
		WAIT(w, r->open);
		if (kind == 0) {
			raw_frame(r, PEER_FRAME_MESSAGE, "early", 5);
		} else {
			raw_hello(r, (struct peer_hello){.from = 2, .to = 1});
			WAIT(w, peer_tls_connected(a.p, 2));
		}
		if (kind == 1)
			raw_hello(r, (struct peer_hello){.from = 2, .to = 1});
		if (kind == 2)
			raw_frame(r, PEER_FRAME_BEGIN, &huge, sizeof(huge));
		if (kind == 3)
			raw_frame(r, PEER_FRAME_MORE, "orphan", 6);
		if (kind == 4 || kind == 5) {
			raw_frame(r, PEER_FRAME_BEGIN, &ten, sizeof(ten));
			raw_frame(r, kind == 4 ? PEER_FRAME_BEGIN : PEER_FRAME_MORE, "01234567890", kind == 4 ? 4 : 11);
		}
		if (kind == 6) {
			peer_frame_head(head, PEER_FRAME_MESSAGE, PEER_FRAME_SMALL_MAX + 1);
			conn_add(&r->conn, head, sizeof(head));
		}
		if (kind == 7) {
			peer_frame_head(head, (enum peer_frame_type)99, 4);
			conn_add(&r->conn, head, sizeof(head));
		}
		if (kind == 8) {
			peer_frame_head(head, PEER_FRAME_PING, 0);
			head[6] = 1; /* spare */
			conn_add(&r->conn, head, sizeof(head));
		}
		WAIT(w, r->ended);
		assert_false(peer_tls_connected(a.p, 2));
		raw_close(w, r);
	}
	assert_int_equal(a.n_received, 0);
	pki_pair_done(&good);
	node_close(&a);
	world_free(w);
}

static int plain_dial(uint16_t port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static bool hung_up(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Strangers cost nothing: those who talk nonsense go at once, the silent ones soon, and members get through. */
static void strangers(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	int silent[20];
	char junk[4096];
	memset(junk, 'x', sizeof(junk));
	node_open(&a, w, 1);
	node_open(&b, w, 2);
	for (unsigned i = 0; i < 20; i++) {
		int fd = plain_dial(a.port);
		(void)!send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
		WAIT(w, hung_up(fd));
		close(fd);
	}
	for (unsigned i = 0; i < ARRAY_LEN(silent); i++) {
		silent[i] = plain_dial(a.port);
		uv_run(&w->loop, UV_RUN_NOWAIT);
	}
	uint64_t since = env_now_us(w->env);
	struct node *all[] = {&a, &b};
	introduce(&b, all, 2);
	WAIT(w, hung_up(silent[0]) && hung_up(silent[3])); /* beyond what one address may have waiting */
	WAIT(w, linked(&a, &b));
	assert_true(env_now_us(w->env) - since < 4000000);
	WAIT(w, hung_up(silent[19]));
	uint64_t took = env_now_us(w->env) - since;
	assert_true(took > 4000000 && took < 30000000);
	assert_true(linked(&a, &b));
	for (unsigned i = 0; i < ARRAY_LEN(silent); i++)
		close(silent[i]);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

/* A member that reads nothing: what waits for it is bounded, and small messages overtake what is large. Then it is
 * given up, because it answers no ping. */
static void backlog(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a;
	struct pki_pair good = member_cert(w, &w->ca, 2);
	_cleanup_buf_ struct buf large = message(RAFT_MSG_APPEND, 1u << 20), small = message(RAFT_MSG_HEARTBEAT, 96);
	node_open(&a, w, 1);
	struct raw *r = raw_dial(w, a.port, &good);
	WAIT(w, r->open);
	raw_hello(r, (struct peer_hello){.from = 2, .to = 1});
	WAIT(w, peer_tls_connected(a.p, 2));
	conn_pause(&r->conn, true);
	unsigned sent = 0;
	for (; sent < 100 && a.n_unreachable == 0; sent++) {
		node_send(&a, 2, large.data, large.len);
		run_for(w, 2);
	}
	assert_true(sent > 10 && sent < 50); /* 16 MiB, and what the kernel takes */
	for (unsigned i = 0; i < 100000; i++)
		node_send(&a, 2, small.data, small.len);
	r->got.len = 0;
	conn_pause(&r->conn, false);
	WAIT(w, r->got.len > 8u << 20);
	/* The first heartbeat comes long before the last of the entries. */
	size_t at = 0, first_small = 0;
	while (at + PEER_FRAME_HEAD < r->got.len && !first_small) {
		uint32_t len;
		memcpy(&len, r->got.data + at, 4);
		if (r->got.data[at + 4] == PEER_FRAME_MESSAGE)
			first_small = at;
		at += PEER_FRAME_HEAD + len;
	}
	assert_true(first_small && first_small < 7u << 20);
	/* Silence. */
	conn_pause(&r->conn, true);
	WAIT(w, !peer_tls_connected(a.p, 2));
	raw_close(w, r);
	pki_pair_done(&good);
	node_close(&a);
	world_free(w);
}

static void large_keep_their_order(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	node_open(&a, w, 1);
	node_open(&b, w, 2);
	struct node *all[] = {&a, &b};
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &b));
	for (unsigned i = 0; i < 40; i++) {
		_cleanup_buf_ struct buf m = message(RAFT_MSG_APPEND, i % 3 ? 200 : 300000);
		m.data[0] = (char)i; /* the tag, where the version stands: the transport does not care */
		node_send(&a, 2, m.data, m.len);
	}
	WAIT(w, b.n_received == 40);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(b.first_bytes.data[i], i);
	node_close(&a);
	node_close(&b);
	world_free(w);
}

static void bad_configurations(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	struct pki_pair two = member_cert(w, &w->ca, 2), one = member_cert(w, &w->ca, 1);
	struct err err = ERR_INIT;
	char taken[32];
	node_open(&b, w, 2);
	node_init(&a, w, 1);
	struct peer_tls_config c = {.cert_pem = two.cert_pem,
				    .key_pem = two.key_pem,
				    .ca_pem = w->ca.cert_pem,
				    .cluster = CLUSTER,
				    .member = 1,
				    .listen = "127.0.0.1:0"};
	assert_int_equal(peer_tls_start(a.p, &c, &err), -EINVAL);
	assert_non_null(strstr(err.message, "mini:server:0000000000000001"));
	c.cert_pem = one.cert_pem;
	assert_int_equal(peer_tls_start(a.p, &c, &err), -EINVAL); /* another's key */
	c.key_pem = one.key_pem;
	c.listen = "somewhere:1";
	assert_int_equal(peer_tls_start(a.p, &c, &err), -EINVAL);
	c.listen = "127.0.0.1";
	assert_int_equal(peer_tls_start(a.p, &c, &err), -EINVAL);
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", b.port);
	c.listen = taken;
	assert_int_equal(peer_tls_start(a.p, &c, &err), -EADDRINUSE);
	run_for(w, 5);
	c.listen = "[::1]:0";
	assert_int_equal(peer_tls_start(a.p, &c, &err), 0);
	assert_int_equal(peer_tls_set_cert(a.p, two.cert_pem, two.key_pem, w->ca.cert_pem, &err), -EINVAL);
	assert_int_equal(peer_tls_set_cert(a.p, one.cert_pem, one.key_pem, w->ca.cert_pem, &err), 0);
	struct node *all[] = {&a, &b};
	a.port = 0;
	introduce(&a, all, 2);
	WAIT(w, linked(&a, &b));
	assert_int_equal(peer_tls_set_cert(a.p, one.cert_pem, one.key_pem, w->ca.cert_pem, &err), 0);
	assert_true(linked(&a, &b)); /* what there is stays */
	node_close(&a);
	node_close(&b);
	pki_pair_done(&one);
	pki_pair_done(&two);
	world_free(w);
}

/* Closed before it was started, in the middle of handshakes, and with megabytes under way. */
static void closed_any_time(_unused_ void **state)
{
	struct world *w = world_new();
	struct node a, b;
	node_init(&a, w, 1);
	node_close(&a);
	_cleanup_buf_ struct buf large = message(RAFT_MSG_APPEND, 1u << 20);
	for (unsigned turns = 0; turns < 60; turns++) {
		node_open(&a, w, 1);
		node_open(&b, w, 2);
		struct node *all[] = {&a, &b};
		introduce(&a, all, 2);
		introduce(&b, all, 2);
		for (unsigned i = 0; i < turns; i++) {
			uv_run(&w->loop, UV_RUN_NOWAIT);
			if (turns >= 50) {
				if (i == 1)
					WAIT(w, linked(&a, &b));
				node_send(&a, 2, large.data, large.len);
				node_send(&b, 1, large.data, large.len);
			} else {
				run_for(w, 1);
			}
		}
		peer_tls_close(b.p, on_node_closed, &b);
		node_close(&a);
		WAIT(w, b.closed);
		buf_done(&b.last);
		buf_done(&b.first_bytes);
	}
	world_free(w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(names),
	cmocka_unit_test(two_exchange),
	cmocka_unit_test(three_exchange),
	cmocka_unit_test(joining_member),
	cmocka_unit_test(back_again),
	cmocka_unit_test(found_through_a_third),
	cmocka_unit_test(found_by_a_hint),
	cmocka_unit_test(found_in_place_of_another),
	cmocka_unit_test(clock_went_back),
	cmocka_unit_test(by_name),
	cmocka_unit_test(removed),
	cmocka_unit_test(other_clusters_server),
	cmocka_unit_test(refused_with_a_reason),
	cmocka_unit_test(bad_frames),
	cmocka_unit_test(strangers),
	cmocka_unit_test(backlog),
	cmocka_unit_test(large_keep_their_order),
	cmocka_unit_test(bad_configurations),
	cmocka_unit_test(closed_any_time),
};
RUN_TESTS(tests)
