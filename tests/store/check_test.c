/* Members compare their states: one that holds something else is told of, and what is the same raises no alarm. */
#include "store/cluster.h"
#include "store/engine.h"
#include "store/state_internal.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

struct alarms {
	bool done;
	size_t n;
	char text[300];
};

static void on_members(void *arg, _unused_ const struct err *err, const struct store_members *m)
{
	struct alarms *a = arg;
	a->done = true;
	a->n = m ? m->n_alarms : 99;
	snprintf(a->text, sizeof(a->text), "%s", m && m->n_alarms ? m->alarms[0] : "");
}

static bool is_done(void *arg)
{
	return ((struct alarms *)arg)->done;
}

static struct alarms alarms_at(struct several *s, size_t at)
{
	struct alarms a = {0};
	store_members(s->servers[at].f.store, true, on_members, &a);
	assert_true(env_sim_run_until(s->env, is_done, &a, 10000000));
	return a;
}

static void change_state(struct several *s, size_t i, const char *sql)
{
	_cleanup_free_ char *path = xasprintf("%s/store/state.db", s->servers[i].f.dir);
	sqlite3 *db;
	assert_int_equal(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, state__vfs(store_disk_real())),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	sqlite3_close(db);
}

static void start_checking(struct several *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		several_stop(s, i);
		s->servers[i].f.config.hash_us = 1000000;
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(several_start(s, i, NULL), 0);
}

static void the_same_is_quiet(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	start_checking(s, 3);
	for (int i = 0; i < 20; i++) {
		fx_put(&s->servers[several_leader(s)].f, "a", i % 2 ? "one" : "two");
		fx_delete(&s->servers[several_leader(s)].f, "a");
		several_run(s, 500000);
	}
	assert_int_equal(alarms_at(s, 0).n, 0);
}

static void a_difference_is_told_and_taken_back(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	size_t leader = several_leader(s), other = (leader + 1) % 3;
	fx_put(&s->servers[leader].f, "a", "one");
	several_run(s, 1000000);
	several_stop(s, other);
	change_state(s, other, "UPDATE kv SET value=CAST('onf' AS BLOB) WHERE key=CAST('a' AS BLOB)");
	start_checking(s, 3);
	several_run(s, 10000000);
	for (size_t i = 0; i < 3; i++) {
		struct alarms a = alarms_at(s, i);
		assert_int_equal(a.n, 1);
		assert_non_null(strstr(a.text, "holds other keys or values"));
		assert_true(fx_status(&s->servers[i].f)->status.alarm);
	}
	/* it lives through a restart, and ends once all are alike */
	for (size_t i = 0; i < 3; i++)
		several_stop(s, i);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(several_start(s, i, NULL), 0);
	several_leader(s);
	assert_int_equal(alarms_at(s, 0).n, 1);
	fx_put(&s->servers[several_leader(s)].f, "a", "three");
	several_run(s, 10000000);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(alarms_at(s, i).n, 0);
	assert_false(fx_status(&s->servers[0].f)->status.alarm);
}

static size_t waiting(struct engine *e)
{
	size_t n = 0;
	LIST_EACH (&e->waiting, c, struct call, node)
		n++;
	return n;
}

static void say(struct engine *e, uint64_t check, uint64_t member)
{
	struct store_cmd cmd;
	char hex[2 * 32 + 1];
	memset(hex, 'a', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	store_cmd_hash(&cmd, check, member, hex);
	check__apply(e, &cmd, check + 1);
	store_cmd_done(&cmd);
}

/* One that starts again says what it has said before: that does not stand for another one. */
static void all_have_to_say_so(void **state)
{
	struct several *s = *state;
	several_found(s, 3);
	struct engine *e = engine_of(s->servers[several_leader(s)].f.store);
	several_run(s, 2000000);
	struct store_cmd cmd;
	store_cmd_number(&cmd, CMD_CHECK, 0);
	check__apply(e, &cmd, e->applied);
	store_cmd_done(&cmd);
	snprintf(e->alarm, sizeof(e->alarm), "they differ");
	uint64_t check = e->applied, other = e->member % 3 + 1, third = other % 3 + 1;
	say(e, check, e->member);
	say(e, check, other);
	say(e, check, other);
	assert_int_equal(waiting(e), 0);
	say(e, check, third);
	assert_int_equal(waiting(e), 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, several_setup, several_teardown)
static const struct CMUnitTest tests[] = {T(the_same_is_quiet), T(a_difference_is_told_and_taken_back),
					  T(all_have_to_say_so)};
RUN_TESTS(tests)
