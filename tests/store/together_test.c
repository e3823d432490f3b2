/* Three stores, each with its own directory, that speak to each other over mutual TLS on loopback: the driver, raft, the
 * log and the transport as they run in a server, on the real clock. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/net/pki.h"
#include "store/cluster.h"
#include "store/peer_tls.h"
#include "tests/support/tap.h"

#define CLUSTER 0xabcu

struct member {
	struct together *t;
	struct env *env;
	struct store *store;
	struct peer_tls *peers;
	struct store_peer seam; /* what the store sees: the transport, until it is cut */
	uint64_t id;
	char dir[64], peer[32];
	bool closed, cut;
};

struct together {
	uv_loop_t loop;
	struct pki_pair ca;
	char dir[32];
	struct member m[3];
};

struct answer {
	bool done;
	int code;
	uint64_t value;
	char text[200];
};

static uint64_t now_ms(struct together *t)
{
	return env_now_ms(t->m[0].env);
}

#define WAIT(t, cond)                                                                                                  \
	do {                                                                                                           \
		uv_timer_t wake_;                                                                                      \
		uint64_t end_ = now_ms(t) + 60000;                                                                     \
		uv_timer_init(&(t)->loop, &wake_);                                                                     \
		uv_timer_start(&wake_, nothing, 20, 20);                                                               \
		while (!(cond) && now_ms(t) < end_)                                                                    \
			uv_run(&(t)->loop, UV_RUN_ONCE);                                                               \
		uv_close((uv_handle_t *)&wake_, NULL);                                                                 \
		uv_run(&(t)->loop, UV_RUN_NOWAIT);                                                                     \
		if (now_ms(t) >= end_)                                                                                 \
			fail_msg("waited in vain for: %s", #cond);                                                     \
	} while (0)

static void nothing(_unused_ uv_timer_t *timer) {}

static void on_number(void *arg, const struct err *err, uint64_t value)
{
	struct answer *a = arg;
	a->done = true;
	a->code = err ? err->code : 0;
	a->value = value;
	snprintf(a->text, sizeof(a->text), "%.190s", a->code ? err->message : "");
}

static void on_txn(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	on_number(arg, err, err && err->code ? 0 : resp->rev);
}

static void on_range(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct answer *a = arg;
	on_number(arg, err, 0);
	if (!a->code && resp->n_kvs)
		snprintf(a->text, sizeof(a->text), "%.190s", resp->kvs[0].value->data);
}

static void on_members(void *arg, const struct err *err, const struct store_members *m)
{
	struct answer *a = arg;
	on_number(arg, err, 0);
	if (a->code)
		return;
	for (size_t i = 0; i < m->n; i++)
		a->value += m->members[i].role == STORE_ROLE_VOTER ? 1 : 100;
}

static struct answer put(struct member *m, const char *key, const char *value)
{
	struct answer a = {0};
	_cleanup_blob_ struct blob *b = blob_new(value, strlen(value));
	const struct store_op op = {.type = STORE_PUT, .key = key, .value = b};
	store_txn(m->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, on_txn, &a);
	WAIT(m->t, a.done);
	return a;
}

static struct answer get(struct member *m, const char *key)
{
	struct answer a = {0};
	store_range(m->store, &(struct store_range_req){.key = key}, on_range, &a);
	WAIT(m->t, a.done);
	return a;
}

static void await_voters(struct member *m, uint64_t n)
{
	struct answer a = {0};
	do {
		a = (struct answer){0};
		store_members(m->store, false, on_members, &a);
		WAIT(m->t, a.done);
	} while (a.value != n);
}

static void on_status(void *arg, _unused_ const struct err *err, const struct store_status *st)
{
	*(int *)arg = st->is_leader ? 1 : 0;
}

static bool leads(struct member *m)
{
	int leader = -1;
	m->store->engine->status(m->store, on_status, &leader);
	WAIT(m->t, leader >= 0);
	return leader == 1;
}

/* ---- a member from start to end ---- */

static void seam_send(struct store_peer *seam, uint64_t to, const void *data, size_t len)
{
	struct member *m = CONTAINER_OF(seam, struct member, seam);
	if (!m->cut)
		peer_tls_peer(m->peers)->ops->send(peer_tls_peer(m->peers), to, data, len);
}
static void seam_members(struct store_peer *seam, const struct store_member *members, size_t n)
{
	struct member *m = CONTAINER_OF(seam, struct member, seam);
	if (!m->cut)
		peer_tls_peer(m->peers)->ops->members(peer_tls_peer(m->peers), members, n);
}
static const struct store_peer_ops seam_ops = {.send = seam_send, .members = seam_members};

static void seam_receive(void *arg, uint64_t from, const void *data, size_t len)
{
	struct member *m = arg;
	if (m->seam.receive)
		m->seam.receive(m->seam.arg, from, data, len);
}
static void seam_unreachable(void *arg, uint64_t to)
{
	struct member *m = arg;
	if (m->seam.unreachable)
		m->seam.unreachable(m->seam.arg, to);
}

static unsigned free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin_port);
}

static void start_peers(struct member *m)
{
	struct together *t = m->t;
	struct pki_pair pair = {0};
	struct err err = ERR_INIT;
	char name[PEER_TLS_NAME_MAX];
	const char *organizations[] = {PEER_TLS_ORGANIZATION, NULL};
	peer_tls_name(m->id, name);
	const struct pki_request req = {.common_name = name,
					.organizations = organizations,
					.server = true,
					.client = true,
					.not_before_s = env_wall_s(m->env) - 60,
					.not_after_s = env_wall_s(m->env) + 3600};
	assert_int_equal(pki_issue(&t->ca, &req, &pair, NULL), 0);
	const struct peer_tls_config c = {.cert_pem = pair.cert_pem,
					  .key_pem = pair.key_pem,
					  .ca_pem = t->ca.cert_pem,
					  .cluster = CLUSTER,
					  .member = m->id,
					  .listen = m->peer,
					  .advertise = m->peer};
	snprintf(m->peer, sizeof(m->peer), "127.0.0.1:%u", free_port());
	if (peer_tls_start(m->peers, &c, &err))
		fail_msg("%s", err.message);
	pki_pair_done(&pair);
}

static void start(struct together *t, unsigned i, bool join)
{
	struct member *m = &t->m[i];
	struct err err = ERR_INIT;
	char name[8];
	m->t = t;
	m->id = i + 1;
	m->closed = m->cut = false;
	m->env = env_uv_new(&t->loop);
	snprintf(m->dir, sizeof(m->dir), "%s/%u", t->dir, i);
	snprintf(name, sizeof(name), "s%u", i + 1);
	m->peers = peer_tls_new(m->env, &t->loop);
	m->seam = (struct store_peer){.ops = &seam_ops};
	peer_tls_peer(m->peers)->receive = seam_receive;
	peer_tls_peer(m->peers)->unreachable = seam_unreachable;
	peer_tls_peer(m->peers)->arg = m;
	start_peers(m);
	const struct store_config c = {.dir = m->dir,
				       .cluster = CLUSTER,
				       .member = m->id,
				       .join = join,
				       .name = name,
				       .peer_address = m->peer,
				       .peer = &m->seam};
	if (store_open(m->env, &c, &m->store, &err))
		fail_msg("%s", err.message);
}

static void add(struct together *t, unsigned by, unsigned i)
{
	struct answer a = {0};
	struct store_member row = {.id = i + 1, .wish = STORE_ROLE_VOTER};
	snprintf(row.name, sizeof(row.name), "s%u", i + 1);
	snprintf(row.peer, sizeof(row.peer), "%s", t->m[i].peer);
	store_member_add(t->m[by].store, &row, 0, on_number, &a);
	WAIT(t, a.done);
	if (a.code)
		fail_msg("%s", a.text);
}

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

/* From here on nobody hears of it, as if it had been killed. */
static void cut(struct member *m)
{
	bool gone = false;
	m->cut = true;
	peer_tls_close(m->peers, on_closed, &gone);
	WAIT(m->t, gone);
}

static void stop(struct member *m)
{
	m->store->engine->close(m->store, on_closed, &m->closed);
	WAIT(m->t, m->closed);
	assert_null(m->seam.receive);
	if (!m->cut)
		cut(m);
}

static void await_linked(struct together *t)
{
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < 3; k++)
			if (i != k)
				WAIT(t, peer_tls_connected(t->m[i].peers, k + 1));
}

static int setup(void **state)
{
	struct together *t = NEW(struct together);
	uv_loop_init(&t->loop);
	snprintf(t->dir, sizeof(t->dir), "/tmp/mini-together-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	int64_t now = time(NULL);
	assert_int_equal(pki_make_ca("mini-ca", now - 60, now + 3600, &t->ca, NULL), 0);
	start(t, 0, false);
	assert_int_equal(put(&t->m[0], "before", "1").code, 0);
	for (unsigned i = 1; i < 3; i++) {
		start(t, i, true);
		add(t, 0, i);
	}
	for (unsigned i = 0; i < 3; i++)
		await_voters(&t->m[i], 3);
	assert_int_equal(put(&t->m[0], "before", "1").code, 0); /* behind the last change of the configuration */
	await_linked(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct together *t = *state;
	for (unsigned i = 0; i < 3; i++)
		stop(&t->m[i]);
	for (unsigned i = 0; i < 3; i++)
		env_uv_free(t->m[i].env);
	while (uv_run(&t->loop, UV_RUN_NOWAIT))
		;
	assert_int_equal(uv_loop_close(&t->loop), 0);
	assert_int_equal(rm_rf(t->dir, NULL), 0);
	pki_pair_done(&t->ca);
	free(t);
	return 0;
}

static void any_member_answers(void **state)
{
	struct together *t = *state;
	for (unsigned i = 0; i < 3; i++) {
		char value[8];
		snprintf(value, sizeof(value), "v%u", i);
		assert_string_equal(get(&t->m[i], "before").text, "1");
		assert_int_equal(put(&t->m[i], "k", value).code, 0);
		for (unsigned k = 0; k < 3; k++)
			assert_string_equal(get(&t->m[k], "k").text, value);
	}
}

static void leader_is_lost(void **state)
{
	struct together *t = *state;
	for (unsigned round = 0; round < 2; round++) {
		unsigned leader = 3;
		WAIT(t, (leader = leads(&t->m[0]) ? 0 : leads(&t->m[1]) ? 1 : leads(&t->m[2]) ? 2 : 3) < 3);
		struct member *other = &t->m[(leader + 1) % 3];
		cut(&t->m[leader]);
		uint64_t since = now_ms(t);
		while (put(other, "k", "w").code)
			assert_true(now_ms(t) - since < 20000);
		printf("# the leader is lost: the next write took %" PRIu64 " ms\n", now_ms(t) - since);
		stop(&t->m[leader]);
		env_uv_free(t->m[leader].env);
		start(t, leader, false);
		assert_int_equal(put(&t->m[leader], "k", "back").code, 0);
		assert_string_equal(get(other, "k").text, "back");
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {T(any_member_answers), T(leader_is_lost)};
RUN_TESTS(tests)
