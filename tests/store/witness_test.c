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

static int teardown(void **state)
{
	several_done(*state);
	free(*state);
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

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {T(is_caught_up), cmocka_unit_test(dies_on_the_way), T(restarts_on_the_way),
					  T(keeps_its_promises)};
RUN_TESTS(tests)
