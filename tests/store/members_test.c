/* A membership that changes: several members in virtual time, each with its directory. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/core/failpoint.h"
#include "store/cluster.h"
#include "store/engine.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

static int put(struct several *s, size_t at, const char *key, const char *value)
{
	return fx_put(&s->servers[at].f, key, value)->err.code;
}

/* One server, and two more that join it while it works. */
static void grow_to_three(struct several *s)
{
	several_found(s, 1);
	assert_int_equal(put(s, 0, "before", "1"), 0);
	for (size_t i = 1; i < 3; i++) {
		assert_int_equal(several_add(s, 0, i, STORE_ROLE_VOTER, 0), 0);
		several_join(s, i);
	}
	assert_true(several_await(s, 0, "1:voter* 2:voter 3:voter"));
}

static void grows(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	assert_true(several_has(s, 1, "before", "1"));
	assert_true(several_has(s, 2, "before", "1"));
	/* any of them takes writes, and they survive the loss of the first */
	assert_int_equal(put(s, 2, "after", "2"), 0);
	several_stop(s, 0);
	size_t leader = several_leader(s);
	assert_true(leader == 1 || leader == 2);
	assert_int_equal(put(s, 1, "later", "3"), 0);
	assert_int_equal(fx_get(&s->servers[2].f, "later", 0)->n_kvs, 1);
}

static void on_names(void *arg, _unused_ const struct err *err, const struct store_members *m)
{
	struct buf *b = arg;
	for (size_t i = 0; m && i < m->n; i++)
		buf_addf(b, "%s %s %s %u, ", m->members[i].name, m->members[i].peer, m->members[i].api,
			 (unsigned)m->members[i].wish);
	buf_adds(b, ".");
}

/* One that reads the log from its first entry on decides as those did that were there, founders included. */
static void joined_knows_the_founders(void **state)
{
	struct several *s = *state;
	several_found(s, 1);
	several_run(s, 1000000);
	assert_int_equal(several_add(s, 0, 2, STORE_ROLE_LEARNER, 0), 0); /* with a voter to be counted */
	assert_int_equal(several_wish(s, 0, 1, STORE_ROLE_LEARNER), -EINVAL);
	several_join(s, 2);
	assert_true(several_await(s, 0, "1:voter* 3:learner"));
	assert_true(several_await(s, 2, "1:voter* 3:learner"));
	_cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
	store_members(s->servers[0].f.store, true, on_names, &a);
	store_members(s->servers[2].f.store, true, on_names, &b);
	several_run(s, 10000);
	assert_string_equal(buf_str(&a), buf_str(&b));
	assert_non_null(strstr(buf_str(&b), "s1 10.0.0.1:6444"));
}

static void all_restart(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	assert_int_equal(put(s, 1, "a", "1"), 0);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 3; i++)
			several_stop(s, i);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(several_start(s, i, NULL), 0);
		assert_true(several_leader(s) < 3);
		for (size_t i = 0; i < 3; i++)
			assert_true(several_has(s, i, "a", "1"));
		assert_int_equal(put(s, 2, "b", "2"), 0);
	}
}

static void learner_stays_learner(void **state)
{
	struct several *s = *state;
	several_found(s, 1);
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_LEARNER, 0), 0);
	several_join(s, 1);
	assert_true(several_await(s, 0, "1:voter* 2:learner"));
	assert_int_equal(put(s, 1, "a", "1"), 0); /* forwarded */
	assert_true(several_has(s, 1, "a", "1"));
	several_run(s, 3000000);
	assert_string_equal(several_roles(s, 0), "1:voter* 2:learner");
	/* it does not vote, so nothing waits for it */
	several_stop(s, 1);
	assert_int_equal(put(s, 0, "a", "2"), 0);
	assert_int_equal(several_start(s, 1, NULL), 0);
	assert_int_equal(several_wish(s, 1, 2, STORE_ROLE_VOTER), 0); /* promoted, through the learner itself */
	assert_true(several_await(s, 0, "1:voter* 2:voter"));
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_LEARNER), 0);
	assert_true(several_await(s, 0, "1:voter* 2:learner"));
}

/* Whoever is not there is no voter: nothing would be committed any more. */
static void absent_one_is_not_promoted(void **state)
{
	struct several *s = *state;
	several_found(s, 1);
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_VOTER, 0), 0);
	several_run(s, 3000000);
	assert_string_equal(several_roles(s, 0), "1:voter* 2:learner>voter");
	assert_int_equal(put(s, 0, "a", "1"), 0);
	several_join(s, 1);
	assert_true(several_await(s, 0, "1:voter* 2:voter"));
}

static void stopped_as_removed(struct several *s, size_t i)
{
	for (int n = 0; n < 500 && !s->servers[i].f.stopped; n++)
		several_run(s, 10000);
	assert_true(s->servers[i].f.stopped);
	assert_int_equal(s->servers[i].f.fatal.code, -ESTALE);
	assert_non_null(strstr(s->servers[i].f.fatal.message, "removed"));
	assert_non_null(strstr(s->servers[i].f.fatal.message, "token"));
}

static void follower_is_removed(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	assert_int_equal(several_wish(s, 2, 2, STORE_ROLE_NONE), 0);
	assert_true(several_await(s, 0, "1:voter* 3:voter"));
	stopped_as_removed(s, 1);
	several_stop(s, 1);
	/* for good: neither its directory nor its id come back */
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(several_start(s, 1, &err), -ESTALE);
	assert_non_null(strstr(err.message, "removed"));
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_VOTER, 0), -ENOENT);
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_VOTER), -ENOENT);
	/* as another it does */
	several_wipe(s, 1, 5);
	assert_int_equal(several_add(s, 2, 1, STORE_ROLE_VOTER, 0), 0);
	several_join(s, 1);
	assert_true(several_await(s, 0, "1:voter* 3:voter 5:voter"));
	assert_true(several_has(s, 1, "before", "1"));
}

/* It was not there when it was removed, and is told when it asks the others for their votes. */
static void removed_while_away(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	several_stop(s, 1);
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_NONE), 0);
	assert_true(several_await(s, 0, "1:voter* 3:voter"));
	several_run(s, 2000000);
	assert_int_equal(several_start(s, 1, NULL), 0);
	stopped_as_removed(s, 1);
	assert_string_equal(several_roles(s, 0), "1:voter* 3:voter"); /* and has disturbed nobody */
}

static void leader_is_removed(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	assert_int_equal(several_wish(s, 0, 1, STORE_ROLE_NONE), 0);
	stopped_as_removed(s, 0);
	size_t leader = several_leader(s);
	assert_true(leader == 1 || leader == 2);
	assert_true(several_await(s, leader, leader == 1 ? "2:voter* 3:voter" : "2:voter 3:voter*"));
	assert_int_equal(put(s, 1, "a", "1"), 0);
}

static void last_voter_stays(void **state)
{
	struct several *s = *state;
	several_found(s, 1);
	assert_int_equal(several_wish(s, 0, 1, STORE_ROLE_NONE), -EINVAL);
	assert_non_null(strstr(several_error(), "last voter"));
	assert_int_equal(several_wish(s, 0, 1, STORE_ROLE_LEARNER), -EINVAL);
	assert_int_equal(several_wish(s, 0, 9, STORE_ROLE_NONE), -ENOENT);
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_LEARNER, 0), 0);
	several_join(s, 1);
	assert_true(several_await(s, 0, "1:voter* 2:learner"));
	assert_int_equal(several_wish(s, 0, 1, STORE_ROLE_NONE), -EINVAL);
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_WITNESS), -EINVAL);
	snprintf(s->servers[5].name, sizeof(s->servers[5].name), "s2");
	assert_int_equal(several_add(s, 0, 5, STORE_ROLE_VOTER, 0), -EEXIST);
	assert_int_equal(several_add(s, 0, 5, STORE_ROLE_NONE, 0), -EINVAL);
}

/* A server that lost its disk comes back as another, under its name. */
static void replaced(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	several_stop(s, 2);
	several_wipe(s, 2, 6);
	assert_int_equal(several_add(s, 1, 2, STORE_ROLE_VOTER, 3), 0);
	assert_true(several_await(s, 0, "1:voter* 2:voter 6:learner>voter"));
	several_join(s, 2);
	assert_true(several_await(s, 0, "1:voter* 2:voter 6:voter"));
	assert_true(several_has(s, 2, "before", "1"));
}

static void leadership_moves(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	assert_int_equal(several_move(s, 1, 3), 0); /* asked of a follower */
	assert_true(several_await(s, 2, "1:voter 2:voter 3:voter*"));
	assert_int_equal(put(s, 0, "a", "1"), 0);
	assert_int_equal(several_move(s, 2, 0), 0); /* to whoever is furthest */
	for (int n = 0; n < 100 && strstr(several_roles(s, 2), "3:voter*"); n++)
		several_run(s, 10000);
	assert_true(several_leader(s) < 2);
	assert_int_equal(several_move(s, 0, 9), -ENOENT);
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_LEARNER), 0);
	several_run(s, 3000000);
	assert_int_equal(several_move(s, 0, 2), -EINVAL);
}

struct addresses {
	bool done;
	char name[64], peer[300], api[300];
};

static void on_addresses(void *arg, _unused_ const struct err *err, const struct store_members *m)
{
	struct addresses *a = arg;
	a->done = true;
	for (size_t i = 0; m && i < m->n; i++)
		if (m->members[i].id == 3) {
			snprintf(a->name, sizeof(a->name), "%s", m->members[i].name);
			snprintf(a->peer, sizeof(a->peer), "%s", m->members[i].peer);
			snprintf(a->api, sizeof(a->api), "%s", m->members[i].api);
		}
}

static bool addresses_done(void *arg)
{
	return ((struct addresses *)arg)->done;
}

static struct addresses addresses_at(struct several *s, size_t at)
{
	struct addresses a = {0};
	store_members(s->servers[at].f.store, false, on_addresses, &a);
	assert_true(env_sim_run_until(s->env, addresses_done, &a, 10000000));
	return a;
}

/* It comes back somewhere else, under another name, and is itself. */
static void address_changes(void **state)
{
	struct several *s = *state;
	struct several_server *v = &s->servers[2];
	grow_to_three(s);
	assert_string_equal(addresses_at(s, 0).peer, "10.0.0.3:6444");
	several_stop(s, 2);
	snprintf(v->peer_address, sizeof(v->peer_address), "10.9.9.9:6444");
	snprintf(v->api_address, sizeof(v->api_address), "https://10.9.9.9:6443");
	snprintf(v->name, sizeof(v->name), "moved");
	assert_int_equal(several_start(s, 2, NULL), 0);
	several_run(s, 3000000);
	struct addresses a = addresses_at(s, 0);
	assert_string_equal(a.peer, "10.9.9.9:6444");
	assert_string_equal(a.api, "https://10.9.9.9:6443");
	assert_string_equal(a.name, "moved");
	assert_string_equal(several_roles(s, 0), "1:voter* 2:voter 3:voter");
}

static void transport_is_told(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	several_run(s, 100000);
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(s->servers[i].told[k], k + 1);
	assert_int_equal(several_wish(s, 0, 3, STORE_ROLE_NONE), 0);
	assert_true(several_await(s, 0, "1:voter* 2:voter"));
	several_run(s, 1000000);
	assert_int_equal(s->servers[1].told[2], 0);
}

/* Alone with a transport it is as quiet as without: no ticks. */
static void alone_is_quiet(void **state)
{
	struct several *s = *state;
	several_found(s, 1);
	several_run(s, 40000000);
	assert_int_equal(s->sent, 0);
	several_stop(s, 0);
	grow_to_three(s);
	assert_true(s->sent > 0);
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_NONE), 0);
	assert_int_equal(several_wish(s, 0, 3, STORE_ROLE_NONE), 0);
	assert_true(several_await(s, 0, "1:voter*"));
	several_stop(s, 1);
	several_stop(s, 2);
	several_run(s, 3000000);
	uint64_t sent = s->sent;
	several_run(s, 10000000);
	assert_int_equal(s->sent, sent);
	assert_int_equal(put(s, 0, "a", "1"), 0);
}

static void without_a_quorum(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	several_stop(s, 0);
	several_stop(s, 1);
	several_run(s, 1000000);
	struct fixture *f = &s->servers[2].f;
	uint64_t from = env_now_us(s->env);
	const struct answer *a = fx_put(f, "a", "1");
	assert_int_equal(a->err.code, -EHOSTUNREACH);
	assert_int_equal(a->err.reason, ERR_SERVICE_UNAVAILABLE);
	assert_non_null(strstr(a->err.message, "quorum"));
	assert_true(env_now_us(s->env) - from <= 5100000);
	from = env_now_us(s->env); /* now it is known for so long that nobody has to wait */
	assert_int_equal(fx_get(f, "before", 0)->err.code, -EHOSTUNREACH);
	assert_int_equal(fx_put(f, "a", "1")->err.code, -EHOSTUNREACH);
	assert_true(env_now_us(s->env) - from <= 100000);
	assert_int_equal(fx_range(f, &(struct store_range_req){.key = "before", .serializable = true})->n_kvs, 1);
	assert_false(fx_status(f)->status.has_quorum);
	assert_int_equal(several_start(s, 0, NULL), 0);
	assert_true(several_leader(s) < 3);
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	assert_int_equal(fx_get(f, "before", 0)->n_kvs, 1);
}

/* Back in an idle cluster, nothing new is said: it has what it needs. */
static void restarted_while_idle(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	several_run(s, 2000000);
	several_stop(s, 2);
	assert_int_equal(several_start(s, 2, NULL), 0);
	several_run(s, 1000000);
	assert_true(fx_status(&s->servers[2].f)->status.has_quorum);
}

/* Cut off, the old leader answers neither writes nor fresh reads; back again it follows. */
static void leader_is_cut_off(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	s->servers[0].cut = true;
	size_t leader = several_leader(s);
	assert_true(leader == 1 || leader == 2);
	assert_int_equal(put(s, leader, "a", "1"), 0);
	assert_int_equal(fx_get(&s->servers[0].f, "before", 0)->err.code, -EHOSTUNREACH);
	assert_int_equal(put(s, 0, "a", "2"), -EHOSTUNREACH);
	s->servers[0].cut = false;
	assert_true(several_has(s, 0, "a", "1"));
	assert_int_equal(put(s, 0, "a", "3"), 0);
}

/* Two full voters and a witness: the leader may be lost, and what was acknowledged is there. */
static void witness(void **state)
{
	struct several *s = *state;
	several_found(s, 1);
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_VOTER, 0), 0);
	several_join(s, 1);
	assert_true(several_await(s, 0, "1:voter* 2:voter"));
	assert_int_equal(put(s, 0, "before", "1"), 0);
	assert_int_equal(several_add(s, 0, 2, STORE_ROLE_WITNESS, 0), 0);
	several_join(s, 2);
	assert_true(several_await(s, 0, "1:voter* 2:voter 3:witness"));
	assert_int_equal(several_wish(s, 0, 3, STORE_ROLE_VOTER), -EINVAL);
	several_run(s, 1000000);
	const struct answer *a = fx_put(&s->servers[2].f, "a", "1");
	assert_int_equal(a->err.code, -EHOSTUNREACH);
	assert_non_null(strstr(a->err.message, "witness"));
	assert_int_equal(
		fx_range(&s->servers[2].f, &(struct store_range_req){.key = "a", .serializable = true})->err.code,
		-EHOSTUNREACH);
	assert_true(several_await(s, 2, "1:voter* 2:voter 3:witness"));
	assert_int_equal(s->servers[2].told[1], 2);
	assert_int_equal(put(s, 0, "a", "2"), 0);
	several_run(s, 500000);
	several_stop(s, 0);
	assert_int_equal(several_leader(s), 1);
	assert_true(several_has(s, 1, "a", "2"));
	assert_int_equal(put(s, 1, "a", "3"), 0); /* with the witness's vote */
	several_stop(s, 2);
	assert_int_equal(several_start(s, 2, NULL), 0);
	assert_int_equal(put(s, 1, "a", "4"), 0);
	assert_int_equal(several_start(s, 0, NULL), 0);
	assert_true(several_has(s, 0, "a", "4"));
}

struct number {
	bool done;
	int code;
	uint64_t value, at_us;
	struct env *env;
};

static void on_number(void *arg, const struct err *err, uint64_t value)
{
	struct number *n = arg;
	*n = (struct number){
		.done = true, .code = err ? err->code : 0, .value = value, .at_us = env_now_us(n->env), .env = n->env};
}

static bool number_done(void *arg)
{
	return ((struct number *)arg)->done;
}

/* Renewed in the log just before its leader's decision to end it gets there: what was acknowledged counts. */
static void renewal_before_the_end(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	struct store *leader = s->servers[0].f.store;
	struct number grant = {.env = s->env}, renew = grant;
	leader->engine->lease_grant(leader, 1, on_number, &grant);
	assert_true(env_sim_run_until(s->env, number_done, &grant, 1000000));
	_cleanup_blob_ struct blob *v = blob_new("1", 1);
	struct store_op op = {.type = STORE_PUT, .key = "leased", .value = v, .lease = grant.value};
	assert_int_equal(fx_txn(&s->servers[0].f, &(struct store_txn_req){.then_ops = &op, .n_then = 1})->err.code, 0);
	several_run(s, grant.at_us + 1000000 - 100 - env_now_us(s->env));
	leader->engine->lease_keepalive(leader, grant.value, on_number, &renew);
	several_run(s, 500000);
	assert_true(renew.done);
	assert_int_equal(renew.code, 0);
	assert_true(renew.at_us > grant.at_us + 1000000); /* the end was proposed before it was applied */
	assert_int_equal(fx_get(&s->servers[1].f, "leased", 0)->n_kvs, 1);
	several_run(s, 2000000);
	assert_int_equal(fx_get(&s->servers[1].f, "leased", 0)->n_kvs, 0);
	assert_int_equal(fx_get(&s->servers[2].f, "leased", 0)->n_kvs, 0);
}

/* Its members renew through any of them; a leader's loss gives everyone the whole time again. */
static void leases_of_several(void **state)
{
	struct several *s = *state;
	grow_to_three(s);
	struct number grant = {.env = s->env}, renew = grant;
	struct store *far = s->servers[1].f.store;
	far->engine->lease_grant(far, 2, on_number, &grant);
	assert_true(env_sim_run_until(s->env, number_done, &grant, 1000000));
	for (int i = 0; i < 5; i++) {
		several_run(s, 1000000);
		renew.done = false;
		far->engine->lease_keepalive(far, grant.value, on_number, &renew);
		assert_true(env_sim_run_until(s->env, number_done, &renew, 1000000));
		assert_int_equal(renew.code, 0);
	}
	several_stop(s, 0);
	several_run(s, 1500000);
	renew.done = false;
	far->engine->lease_keepalive(far, grant.value, on_number, &renew);
	assert_true(env_sim_run_until(s->env, number_done, &renew, 1000000));
	assert_int_equal(renew.code, 0);
	several_run(s, 3000000);
	renew.done = false;
	far->engine->lease_keepalive(far, grant.value, on_number, &renew);
	assert_true(env_sim_run_until(s->env, number_done, &renew, 1000000));
	assert_int_equal(renew.code, -ENOENT);
}

/* ---- the first start of one of three ---- */

static const struct raft_member founders[] = {{1, RAFT_VOTER}, {2, RAFT_VOTER}, {3, RAFT_VOTER}};

static int start_first(struct several *s, struct err *err)
{
	struct store_config *c = &s->servers[0].f.config;
	c->members = founders;
	c->n_members = 3;
	int rc = several_start(s, 0, err);
	c->members = NULL;
	c->n_members = 0;
	return rc;
}

static void not_alone(struct several *s)
{
	several_run(s, 2000000);
	assert_false(fx_status(&s->servers[0].f)->status.is_leader);
	assert_string_equal(several_roles(s, 0), "1:voter 2:voter 3:voter");
}

/* Who belongs is not durable, so nothing else is written: a log without it would be that of a server that is alone. */
static void first_state_is_not_durable(void **state)
{
	struct several *s = *state;
	static const char *const points[] = {"state.begin=error:EIO", "state.commit.before=error:EIO",
					     "state.checkpoint.before=error:EIO"};
	for (size_t i = 0; i < ARRAY_LEN(points); i++) {
		_cleanup_err_ struct err err = ERR_INIT;
		assert_int_equal(failpoints_parse(points[i], NULL), 0);
		assert_int_equal(start_first(s, &err), -EIO);
		assert_non_null(strstr(err.message, "first state"));
		assert_int_equal(failpoints_parse("", NULL), 0);
		static const char *const names[] = {"state.db", "state.db-wal", "state.db-shm"};
		for (size_t k = 0; k < ARRAY_LEN(names); k++) { /* the power goes */
			_cleanup_free_ char *path = xasprintf("%s/store/%s", s->servers[0].f.dir, names[k]);
			unlink(path);
		}
		assert_int_equal(start_first(s, NULL), 0);
		not_alone(s);
		several_stop(s, 0);
		several_wipe(s, 0, 1);
	}
}

/* It was killed in between: before the log is begun, that state is made durable. */
static void first_state_is_settled_later(void **state)
{
	struct several *s = *state;
	struct stat st;
	_cleanup_free_ char *wal = xasprintf("%s/store/state.db-wal", s->servers[0].f.dir);
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		failpoints_parse("state.commit.after=kill", NULL);
		start_first(s, NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 0);
	assert_int_equal(several_start(s, 0, NULL), 0);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0); /* all of it is in the file, and synced there */
	not_alone(s);
}

static int log_full(_unused_ void *arg, enum failpoint p)
{
	return p == FAILPOINT_LOG_WRITE_BEFORE ? -ENOSPC : 0;
}

static void on_txn(void *arg, const struct err *err, _unused_ const struct store_txn_resp *resp)
{
	*(int *)arg = err ? err->code : 1;
}

/* Whatever was sent to a leader when the disk is found full is answered, too: nothing is heard until there is room. */
static void full_disk_answers_what_was_forwarded(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	size_t leader = several_leader(s), at = (leader + 1) % 3;
	assert_int_equal(put(s, at, "a", "1"), 0);
	int answer = 0, others = 0;
	_cleanup_blob_ struct blob *b = blob_new("2", 1);
	struct store_op op = {.type = STORE_PUT, .key = "b", .value = b};
	struct store_txn_req req = {.then_ops = &op, .n_then = 1};
	store_txn(s->servers[at].f.store, &req, on_txn, &answer);
	s->servers[leader].cut = true; /* it gets lost */
	several_run(s, 1000);
	s->servers[leader].cut = false;
	failpoints_set_handler(log_full, NULL);
	store_txn(s->servers[leader].f.store, &req, on_txn, &others); /* to be written by all */
	several_run(s, 1500000);
	failpoints_set_handler(NULL, NULL);
	assert_int_equal(answer, -ECANCELED);
	assert_int_equal(others, -ECANCELED);
	several_run(s, 5000000);
	assert_int_equal(put(s, at, "c", "3"), 0);
}

static int states_full(void *arg, enum failpoint p)
{
	const struct engine *e = arg;
	return p == FAILPOINT_STATE_BEGIN && e->state_writing ? -ENOSPC : 0;
}

/* Its log has room, its state has none: another one leads before the log is full, too. */
static void a_leader_whose_state_is_full_hands_over(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	size_t leader = several_leader(s);
	struct engine *e = engine_of(s->servers[leader].f.store);
	assert_int_equal(put(s, leader, "a", "1"), 0);
	several_run(s, 1000000);
	failpoints_set_handler(states_full, e);
	writer__flush(e);
	several_run(s, 2000000);
	assert_true(e->read_only);
	assert_true(several_leader(s) != leader);
	assert_int_equal(put(s, (leader + 1) % 3, "b", "2"), 0);
	failpoints_set_handler(NULL, NULL);
	several_run(s, 2000000);
	assert_false(e->read_only);
	assert_true(several_has(s, leader, "b", "2"));
}

/* A leader that hands over at once: what it said last is heard after the next one's first words, and is true all the same. */
static void a_past_leader_is_believed(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	size_t leader = several_leader(s), at = (leader + 1) % 3, next = (leader + 2) % 3;
	assert_int_equal(put(s, at, "a", "1"), 0);
	int answer = 0;
	_cleanup_blob_ struct blob *b = blob_new("2", 1);
	struct store_op op = {.type = STORE_PUT, .key = "b", .value = b};
	struct store_txn_req req = {.then_ops = &op, .n_then = 1};
	struct engine *e = engine_of(s->servers[leader].f.store);
	uint64_t before = e->applied;
	s->late.from = leader + 1;
	s->late.to = at + 1;
	s->late.us = 6 * SEVERAL_DELAY_US;
	store_txn(s->servers[at].f.store, &req, on_txn, &answer);
	while (e->applied == before)
		several_run(s, SEVERAL_DELAY_US / 2);
	raft_transfer(e->raft, next + 1);
	env_post(s->env, &e->pump);
	several_run(s, 1000000);
	assert_int_equal(answer, 1);
	assert_true(several_has(s, at, "b", "2"));
}

/* Commands that no member could read do not get into the log. */
static void a_wish_that_is_none(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	size_t leader = several_leader(s);
	assert_int_equal(several_wish(s, leader, (leader + 1) % 3 + 1, (enum store_role)9), -EINVAL);
	several_run(s, 1000000);
	for (size_t i = 0; i < 3; i++)
		assert_false(s->servers[i].f.stopped);
}

/* It has not applied yet what an earlier leader left, a voter's rise among that: by its rows that one is a learner. */
static void a_new_leader_applies_first(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	size_t leader = several_leader(s), other = (leader + 1) % 3;
	struct engine *e = engine_of(s->servers[leader].f.store);
	several_run(s, 2000000);
	struct store_state_member *row = roster__find(e, other + 1);
	struct raft_status rs;
	uint64_t term = e->applied_term;
	row->m.wish = STORE_ROLE_LEARNER;
	e->applied_term--;
	e->wishes_due = true;
	wishes__pursue(e);
	raft_get_status(e->raft, &rs);
	assert_false(rs.joint);
	assert_true(e->wishes_due);
	row->m.wish = STORE_ROLE_VOTER;
	e->applied_term = term;
	wishes__pursue(e);
	assert_false(e->wishes_due);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, several_setup, several_teardown)
static const struct CMUnitTest tests[] = {
	T(grows),
	T(joined_knows_the_founders),
	T(all_restart),
	T(learner_stays_learner),
	T(absent_one_is_not_promoted),
	T(follower_is_removed),
	T(removed_while_away),
	T(leader_is_removed),
	T(last_voter_stays),
	T(replaced),
	T(leadership_moves),
	T(address_changes),
	T(transport_is_told),
	T(alone_is_quiet),
	T(without_a_quorum),
	T(restarted_while_idle),
	T(leader_is_cut_off),
	T(witness),
	T(renewal_before_the_end),
	T(leases_of_several),
	T(first_state_is_not_durable),
	T(first_state_is_settled_later),
	T(full_disk_answers_what_was_forwarded),
	T(a_leader_whose_state_is_full_hands_over),
	T(a_past_leader_is_believed),
	T(a_wish_that_is_none),
	T(a_new_leader_applies_first),
};
RUN_TESTS(tests)
