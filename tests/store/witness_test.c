/* A witness that is far behind is told where to go on, whatever interrupts it; and what it promised outlives it. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/core/failpoint.h"
#include "store/engine.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

#define WITNESS 2u

static void init(struct several *s)
{
	several_init(s);
	for (size_t i = 0; i < 3; i++)
		s->servers[i].f.config.sizes = (struct store_sizes){.log_segment = 16384,
								    .state_bytes = 4096,
								    .state_us = 100000,
								    .checkpoint = 8192,
								    .log_keep = 1,
								    .snapshot_piece = 2048};
}

static int setup(void **state)
{
	struct several *s = NEW(struct several);
	init(s);
	*state = s;
	return 0;
}

static struct engine *engine(struct several *s, size_t i)
{
	return engine_of(s->servers[i].f.store);
}

static void found(struct several *s)
{
	several_found(s, 2);
	MUST(several_add(s, 0, WITNESS, STORE_ROLE_WITNESS, 0) == 0);
	several_join(s, WITNESS);
	several_run(s, 2000000);
}

static void put(struct several *s, const char *key, const char *value)
{
	size_t leader = several_leader(s);
	MUST(fx_put(&s->servers[leader].f, key, value)->err.code == 0);
}

/* So much that the log does not reach back any more. */
static void leave_behind(struct several *s)
{
	char value[2000];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	several_stop(s, WITNESS);
	for (int i = 0; i < 60; i++)
		put(s, "k", value);
	put(s, "last", "2");
	several_run(s, 500000);
}

static uint64_t behind(struct several *s)
{
	uint64_t applied = engine(s, several_leader(s))->applied, has = engine(s, WITNESS)->applied;
	return applied > has ? applied - has : 0;
}

/* It is of use: with it alone the leader goes on, and another one that was elected with its vote knows everything. */
static void check_in_use(struct several *s)
{
	for (int i = 0; i < 300 && behind(s); i++)
		several_run(s, 10000);
	assert_int_equal(behind(s), 0);
	assert_false(s->servers[WITNESS].f.stopped);
	size_t leader = several_leader(s), other = 1 - leader;
	several_stop(s, other);
	put(s, "alone", "3");
	assert_int_equal(several_start(s, other, NULL), 0);
	assert_true(several_has(s, other, "alone", "3"));
	several_run(s, 500000);
	several_stop(s, leader);
	assert_int_equal(several_leader(s), other);
	assert_true(several_has(s, other, "last", "2"));
	put(s, "then", "4");
	assert_int_equal(several_start(s, leader, NULL), 0);
	assert_true(several_has(s, leader, "then", "4"));
	assert_null(strstr(several_roles(s, WITNESS), "none"));
	assert_non_null(strstr(several_roles(s, WITNESS), "3:witness"));
}

static void is_caught_up(void **state)
{
	struct several *s = *state;
	struct store_log_info info;
	found(s);
	uint64_t had = engine(s, WITNESS)->applied;
	leave_behind(s);
	store_log_info(engine(s, several_leader(s))->log, &info);
	assert_true(info.base > had); /* or it would be sent entries */
	assert_int_equal(several_start(s, WITNESS, NULL), 0);
	check_in_use(s);
	assert_int_equal(engine(s, WITNESS)->mvcc.rev, 1); /* and it has no data */
}

/* ---- interrupted ---- */

static bool is_syncing(void *arg)
{
	return snapshot__sync_due(engine(arg, WITNESS));
}

static void live_and_die(struct several *s, const char *points)
{
	_cleanup_err_ struct err err = ERR_INIT;
	found(s);
	leave_behind(s);
	if (several_start(s, WITNESS, &err) || !env_sim_run_until(s->env, is_syncing, s, 10000000) ||
	    failpoints_parse(points, &err)) {
		fprintf(stderr, "# %s: %s\n", points, err.code ? err.message : "it is not told where to go on");
		_exit(2);
	}
	several_run(s, 5000000);
	_exit(0);
}

static void dies_at(const char *points)
{
	struct several s;
	int status;
	init(&s);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		live_and_die(&s, points);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("%s was not reached", points);
	for (size_t i = 0; i < 3; i++) {
		_cleanup_err_ struct err err = ERR_INIT;
		if (several_start(&s, i, &err))
			fail_msg("%s: server %zu: %s", points, i + 1, err.message);
	}
	check_in_use(&s);
	several_done(&s);
}

static void dies_on_the_way(void **state)
{
	(void)state;
	static const char *const points[] = {"state.begin=kill",
					     "state.commit.before=kill",
					     "state.commit.after=kill",
					     "state.checkpoint.before=kill",
					     "state.checkpoint.after=kill",
					     "snapshot.restore=kill",
					     "snapshot.reset=kill",
					     "snapshot.taken=kill"};
	for (size_t i = 0; i < ARRAY_LEN(points); i++)
		dies_at(points[i]);
}

/* It is stopped in order at that moment, and once more. */
static void restarts_on_the_way(void **state)
{
	struct several *s = *state;
	found(s);
	leave_behind(s);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(several_start(s, WITNESS, NULL), 0);
		if (i == 0)
			assert_true(env_sim_run_until(s->env, is_syncing, s, 10000000));
		several_stop(s, WITNESS);
	}
	assert_int_equal(several_start(s, WITNESS, NULL), 0);
	check_in_use(s);
}

/* ---- what it promised ---- */

static void same_after_a_restart(struct several *s)
{
	struct raft_status was, is;
	char roles[200];
	raft_get_status(engine(s, WITNESS)->raft, &was);
	snprintf(roles, sizeof(roles), "%s", several_roles(s, WITNESS));
	assert_true(was.term > 0);
	s->servers[WITNESS].cut = true;
	several_stop(s, WITNESS);
	assert_int_equal(several_start(s, WITNESS, NULL), 0);
	raft_get_status(engine(s, WITNESS)->raft, &is);
	assert_int_equal(is.term, was.term);
	assert_int_equal(is.vote, was.vote);
	assert_int_equal(engine(s, WITNESS)->membership.n_members, 3);
	assert_true(engine(s, WITNESS)->witness);
	for (char *star; (star = strchr(roles, '*'));)
		memmove(star, star + 1, strlen(star));
	assert_string_equal(several_roles(s, WITNESS), roles);
	s->servers[WITNESS].cut = false;
}

static void keeps_its_promises(void **state)
{
	struct several *s = *state;
	found(s);
	size_t leader = several_leader(s);
	several_stop(s, leader);
	assert_int_equal(several_leader(s), 1 - leader); /* with its vote */
	struct raft_status rs;
	raft_get_status(engine(s, WITNESS)->raft, &rs);
	assert_int_equal(rs.vote, 2 - leader);
	same_after_a_restart(s);
	assert_int_equal(several_start(s, leader, NULL), 0);
	several_run(s, 1000000);
	leave_behind(s);
	assert_int_equal(several_start(s, WITNESS, NULL), 0);
	several_run(s, 2000000);
	assert_int_equal(behind(s), 0);
	same_after_a_restart(s);
	check_in_use(s);
}

/* ---- who has its key ---- */

static void forge(struct several *s, size_t to, struct raft_msg m)
{
	struct store_peer *peer = engine(s, to)->peer;
	_cleanup_buf_ struct buf b = BUF_INIT;
	m.from = WITNESS + 1;
	m.to = to + 1;
	assert_int_equal(store_peer_encode(&m, &b), 0);
	peer->receive(peer->arg, m.from, b.data, b.len);
	several_run(s, 300000);
}

static uint64_t term_of(struct several *s, size_t i)
{
	struct raft_status rs;
	raft_get_status(engine(s, i)->raft, &rs);
	return rs.term;
}

static struct raft_entry entry_of(const struct store_cmd *cmd, uint64_t term, uint64_t index)
{
	return (struct raft_entry){.type = RAFT_ENTRY_NORMAL,
				   .term = term,
				   .index = index,
				   .data = cmd->bytes.data,
				   .len = (uint32_t)cmd->bytes.len};
}

static void leads_nobody(struct several *s, size_t other)
{
	static const enum raft_msg_type types[] = {RAFT_MSG_APPEND,         RAFT_MSG_HEARTBEAT, RAFT_MSG_SNAPSHOT,
						   RAFT_MSG_VOTE,           RAFT_MSG_PRE_VOTE,  RAFT_MSG_TIMEOUT_NOW,
						   RAFT_MSG_READ_INDEX_RESP};
	uint64_t term = term_of(s, other);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct raft_membership now;
		raft_get_membership(engine(s, other)->raft, &now);
		forge(s, other,
		      (struct raft_msg){.type = types[i],
					.term = term + (types[i] == RAFT_MSG_TIMEOUT_NOW ? 0 : 7),
					.index = engine(s, other)->applied,
					.log_term = term,
					.membership = types[i] == RAFT_MSG_SNAPSHOT ? &now : NULL});
		assert_int_equal(term_of(s, other), term);
	}
}

static void leads_and_writes_nothing(void **state)
{
	struct several *s = *state;
	struct store_cmd write = {0}, name = {0};
	found(s);
	size_t leader = several_leader(s), other = 1 - leader;
	leads_nobody(s, other);
	/* what it proposes is not taken, but for its own name */
	_cleanup_blob_ struct blob *value = blob_new("1", 1);
	const struct store_op op = {.type = STORE_PUT, .key = "forged", .value = value};
	const struct store_txn_req req = {.then_ops = &op, .n_then = 1};
	struct store_member m = {.id = WITNESS + 1, .name = "called", .peer = "h:1", .wish = STORE_ROLE_NONE};
	assert_int_equal(store_cmd_from_txn(&write, &req, NULL), 0);
	assert_int_equal(store_cmd_member_set(&name, &m, 0, 1, NULL), 0);
	struct raft_entry e = entry_of(&write, 0, 0);
	struct raft_msg propose = {.type = RAFT_MSG_PROPOSE, .term = term_of(s, leader), .context = 1001};
	propose.entries = &e;
	propose.n_entries = 1;
	uint64_t applied = engine(s, leader)->applied;
	forge(s, leader, propose);
	assert_int_equal(engine(s, leader)->applied, applied);
	e = entry_of(&name, 0, 0);
	propose.context = 1002;
	forge(s, leader, propose);
	assert_string_equal(roster__find(engine(s, leader), WITNESS + 1)->m.name, "called");
	store_cmd_done(&name);
	m.id = other + 1;
	assert_int_equal(store_cmd_member_set(&name, &m, 0, 1, NULL), 0);
	e = entry_of(&name, 0, 0);
	propose.context = 1003;
	forge(s, leader, propose);
	assert_string_not_equal(roster__find(engine(s, leader), other + 1)->m.name, "called");
	/* it does not send others away */
	struct store_peer *peer = engine(s, other)->peer;
	_cleanup_buf_ struct buf notice = BUF_INIT;
	store_peer_encode_notice(STORE_PEER_REMOVED, &notice);
	peer->receive(peer->arg, WITNESS + 1, notice.data, notice.len);
	several_run(s, 300000);
	assert_false(s->servers[other].f.stopped);
	/* and once it is out, not even nobody's leader is */
	assert_int_equal(several_wish(s, leader, WITNESS + 1, STORE_ROLE_NONE), 0);
	several_run(s, 3000000);
	assert_int_equal(roster__role(&engine(s, other)->membership, WITNESS + 1), STORE_ROLE_NONE);
	leads_nobody(s, other);
	put(s, "goes-on", "1");
	store_cmd_done(&write);
	store_cmd_done(&name);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, several_teardown)
static const struct CMUnitTest tests[] = {T(is_caught_up), cmocka_unit_test(dies_on_the_way), T(restarts_on_the_way),
					  T(keeps_its_promises), T(leads_and_writes_nothing)};
RUN_TESTS(tests)
