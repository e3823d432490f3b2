/* The cluster's format level: raised once every member's program knows it, and too new for those that do not. */
#include <errno.h>

#include "store/cluster.h"
#include "store/cmd.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

struct seen {
	bool done;
	unsigned level;
};

static void on_members(void *arg, _unused_ const struct err *err, const struct store_members *m)
{
	*(struct seen *)arg = (struct seen){.done = true, .level = m ? m->level : 0};
}

static bool is_done(void *arg)
{
	return ((struct seen *)arg)->done;
}

static unsigned level(struct several *s, size_t at)
{
	struct seen seen = {0};
	store_members(s->servers[at].f.store, true, on_members, &seen);
	assert_true(env_sim_run_until(s->env, is_done, &seen, 10000000));
	return seen.level;
}

static void knows(struct several *s, size_t i, unsigned max)
{
	s->servers[i].f.config.level_max = max;
}

/* The first stays at 1, the others are of a newer program. */
static void found(struct several *s)
{
	knows(s, 0, 1);
	knows(s, 1, 2);
	knows(s, 2, 2);
	several_found(s, 3);
	assert_int_equal(fx_put(&s->servers[1].f, "before", "1")->err.code, 0);
	several_run(s, 3000000);
}

static void raise_it(struct several *s)
{
	several_stop(s, 0);
	knows(s, 0, 2);
	assert_int_equal(several_start(s, 0, NULL), 0);
	several_run(s, 3000000);
}

static void is_too_old(const struct err *err, int code)
{
	assert_int_equal(code, -EPROTO);
	assert_non_null(strstr(err->message, "level is 2"));
	assert_non_null(strstr(err->message, "newer program"));
}

static void rises_with_the_last_one(void **state)
{
	struct several *s = *state;
	found(s);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(level(s, i), 1);
	raise_it(s);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(level(s, i), 2);
	/* it is kept, and never falls */
	for (size_t i = 0; i < 3; i++)
		several_stop(s, i);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(several_start(s, i, NULL), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(level(s, i), 2);
}

static void older_program_does_not_open(void **state)
{
	struct several *s = *state;
	_cleanup_err_ struct err err = ERR_INIT;
	found(s);
	raise_it(s);
	several_stop(s, 2);
	knows(s, 2, 1);
	is_too_old(&err, several_start(s, 2, &err));
	/* nothing was damaged */
	knows(s, 2, 2);
	assert_int_equal(several_start(s, 2, NULL), 0);
	assert_true(several_has(s, 2, "before", "1"));
	fx_put(&s->servers[2].f, "after", "2");
	assert_true(several_has(s, 0, "after", "2"));
}

static void await_stopped(struct several *s, size_t i)
{
	for (int n = 0; n < 500 && !s->servers[i].f.stopped; n++)
		several_run(s, 10000);
	assert_true(s->servers[i].f.stopped);
	is_too_old(&s->servers[i].f.fatal, s->servers[i].f.fatal.code);
}

/* It was away, and an older program takes its directory: it sees the entry. */
static void older_program_meets_the_entry(void **state)
{
	struct several *s = *state;
	found(s);
	several_stop(s, 2); /* what it said is known: they go on without it */
	raise_it(s);
	assert_int_equal(level(s, 0), 2);
	knows(s, 2, 1);
	assert_int_equal(several_start(s, 2, NULL), 0);
	await_stopped(s, 2);
	several_stop(s, 2);
	assert_int_equal(several_start(s, 2, NULL), 0); /* it has the entry in its log and does not get past it */
	await_stopped(s, 2);
	several_stop(s, 2);
	knows(s, 2, 2);
	assert_int_equal(several_start(s, 2, NULL), 0);
	fx_put(&s->servers[2].f, "after", "2");
	assert_true(several_has(s, 2, "after", "2"));
	assert_int_equal(level(s, 2), 2);
}

static void write_much(struct several *s, size_t at)
{
	char key[32], value[2000];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "k/%02d", i);
		assert_int_equal(fx_put(&s->servers[at].f, key, value)->err.code, 0);
	}
	several_run(s, 500000);
}

static void older_program_is_sent_the_state(void **state)
{
	struct several *s = *state;
	for (size_t i = 0; i < 3; i++)
		s->servers[i].f.config.sizes = (struct store_sizes){.log_segment = 16384,
								    .state_bytes = 4096,
								    .state_us = 100000,
								    .checkpoint = 8192,
								    .log_keep = 1,
								    .snapshot_piece = 2048};
	found(s);
	several_stop(s, 2);
	raise_it(s);
	write_much(s, 0);
	knows(s, 2, 1);
	assert_int_equal(several_start(s, 2, NULL), 0);
	await_stopped(s, 2);
	several_stop(s, 2);
	/* its own state is as it was, and a program that knows takes the copy in */
	knows(s, 2, 2);
	assert_int_equal(several_start(s, 2, NULL), 0);
	assert_true(several_has(s, 2, "before", "1"));
	fx_put(&s->servers[2].f, "after", "2");
	assert_true(several_has(s, 2, "after", "2"));
	assert_int_equal(level(s, 2), 2);
}

/* Whoever is about to join counts too, and so does a witness. */
static void those_who_join_count(void **state)
{
	struct several *s = *state;
	for (size_t i = 0; i < 4; i++)
		knows(s, i, 2);
	knows(s, 1, 1);
	several_found(s, 1);
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_VOTER, 0), 0); /* before it has said anything of itself */
	several_run(s, 2000000);
	assert_int_equal(level(s, 0), 1);
	several_join(s, 1);
	assert_true(several_await(s, 0, "1:voter* 2:voter"));
	several_run(s, 2000000);
	assert_int_equal(level(s, 0), 1);
	assert_int_equal(several_wish(s, 0, 2, STORE_ROLE_NONE), 0);
	several_run(s, 2000000);
	assert_int_equal(level(s, 0), 2); /* who is out does not */
	several_stop(s, 1);
	several_wipe(s, 1, 5);
	assert_int_equal(several_add(s, 0, 1, STORE_ROLE_VOTER, 0), 0);
	several_join(s, 1);
	await_stopped(s, 1);
}

static void witness_counts(void **state)
{
	struct several *s = *state;
	knows(s, 0, 1);
	knows(s, 1, 1);
	knows(s, 2, 1);
	several_found(s, 2);
	assert_int_equal(several_add(s, 0, 2, STORE_ROLE_WITNESS, 0), 0);
	several_join(s, 2);
	several_run(s, 2000000);
	for (size_t i = 0; i < 2; i++) {
		several_stop(s, i);
		knows(s, i, 2);
		assert_int_equal(several_start(s, i, NULL), 0);
		several_run(s, 2000000);
	}
	assert_int_equal(level(s, 0), 1);
	several_stop(s, 2);
	knows(s, 2, 2);
	assert_int_equal(several_start(s, 2, NULL), 0);
	several_run(s, 3000000);
	assert_int_equal(level(s, 0), 2);
	assert_int_equal(level(s, 1), 2);
	/* it is told with the next change of members */
	knows(s, 3, 2);
	assert_int_equal(several_add(s, 0, 3, STORE_ROLE_LEARNER, 0), 0);
	several_join(s, 3);
	several_run(s, 3000000);
	assert_int_equal(level(s, 2), 2);
	several_stop(s, 2);
	knows(s, 2, 1);
	_cleanup_err_ struct err err = ERR_INIT;
	is_too_old(&err, several_start(s, 2, &err));
}

/* A member that came back with an older program before it was raised says so, and it is not. */
static void falls_back_in_time(void **state)
{
	struct several *s = *state;
	found(s);
	several_stop(s, 2);
	knows(s, 2, 1);
	assert_int_equal(several_start(s, 2, NULL), 0);
	several_run(s, 2000000);
	raise_it(s);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(level(s, i), 1);
}

/* This program's own level: nothing is written that older ones cannot read. */
static void at_level_1_entries_are_as_they_were(void **state)
{
	(void)state;
	struct store_cmd c, d;
	struct store_member m = {.id = 5, .name = "a", .wish = STORE_ROLE_VOTER};
	for (uint64_t level = 1; level < 4; level++) {
		assert_int_equal(store_cmd_member_set(&c, &m, 3, level, NULL), 0);
		assert_int_equal(c.bytes.data[0], level > 1 ? 3 : 2);
		assert_int_equal(store_cmd_decode(&d, c.bytes.data, c.bytes.len, NULL), 0);
		assert_int_equal(d.level, level);
		assert_int_equal(d.number, 3);
		assert_string_equal(d.members[0].name, "a");
		store_cmd_done(&c);
		store_cmd_done(&d);
		store_cmd_roster(&c, &m, 1, level);
		assert_int_equal(c.bytes.data[0], level > 1 ? 3 : 2);
		assert_int_equal(store_cmd_decode(&d, c.bytes.data, c.bytes.len, NULL), 0);
		assert_int_equal(d.level, level);
		assert_int_equal(d.n_members, 1);
		store_cmd_done(&c);
		store_cmd_done(&d);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, several_setup, several_teardown)
static const struct CMUnitTest tests[] = {T(rises_with_the_last_one),
					  T(older_program_does_not_open),
					  T(older_program_meets_the_entry),
					  T(older_program_is_sent_the_state),
					  T(those_who_join_count),
					  T(witness_counts),
					  T(falls_back_in_time),
					  cmocka_unit_test(at_level_1_entries_are_as_they_were)};
RUN_TESTS(tests)
