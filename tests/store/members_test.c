/* A membership that changes: several members in virtual time, each with its directory. */
#include <errno.h>
#include <inttypes.h>

#include "store/cluster.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

static int setup(void **state)
{
	struct several *s = NEW(struct several);
	several_init(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	several_done(*state);
	free(*state);
	return 0;
}

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

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {T(grows), T(all_restart)};
RUN_TESTS(tests)
