/* The linearizability checker on histories known to be good and known to be bad. */
#include "tests/sim/linear.h"
#include "tests/support/tap.h"

#define READ(c, r, v)                                                                                                  \
	{                                                                                                              \
		.call = c, .ret = r, .sees = true, .seen = v                                                           \
	}
#define WRITE(c, r, v)                                                                                                 \
	{                                                                                                              \
		.call = c, .ret = r, .writes = true, .value = v                                                        \
	}
#define CAS(c, r, old, v)                                                                                              \
	{                                                                                                              \
		.call = c, .ret = r, .sees = true, .seen = old, .writes = true, .value = v                             \
	}
#define CHECK(expected, ...)                                                                                           \
	do {                                                                                                           \
		const struct lin_op ops[] = {__VA_ARGS__};                                                             \
		assert_int_equal(lin_check(ops, sizeof(ops) / sizeof(ops[0])), expected);                              \
	} while (0)

static void good(_unused_ void **state)
{
	assert_int_equal(lin_check(NULL, 0), LIN_OK);
	CHECK(LIN_OK, WRITE(1, 2, 7), READ(3, 4, 7));
	CHECK(LIN_OK, READ(1, 2, 0), WRITE(3, 4, 7));
	/* overlapping: the read may see before or after */
	CHECK(LIN_OK, WRITE(1, 10, 7), READ(2, 3, 0), READ(4, 5, 7));
	CHECK(LIN_OK, WRITE(1, 10, 7), WRITE(2, 9, 8), READ(3, 4, 8), READ(5, 6, 7));
	CHECK(LIN_OK, CAS(1, 4, 0, 5), CAS(2, 6, 5, 6), READ(7, 8, 6));
}

static void stale_read(_unused_ void **state)
{
	CHECK(LIN_BAD, WRITE(1, 2, 7), READ(3, 4, 0));
	CHECK(LIN_BAD, WRITE(1, 2, 7), WRITE(3, 4, 8), READ(5, 6, 7));
}

static void read_goes_back(_unused_ void **state)
{
	CHECK(LIN_BAD, WRITE(1, 10, 7), READ(2, 3, 7), READ(4, 5, 0));
	CHECK(LIN_BAD, WRITE(1, 20, 7), WRITE(2, 19, 8), READ(3, 4, 7), READ(5, 6, 8), READ(7, 8, 7));
}

static void lost_update(_unused_ void **state)
{
	CHECK(LIN_BAD, CAS(1, 4, 0, 5), CAS(2, 3, 0, 6));
	CHECK(LIN_BAD, WRITE(1, 2, 5), CAS(3, 6, 5, 6), CAS(4, 5, 5, 7));
}

static void out_of_thin_air(_unused_ void **state)
{
	CHECK(LIN_BAD, WRITE(1, 2, 7), READ(3, 4, 9));
	CHECK(LIN_BAD, READ(1, 2, 7), WRITE(3, 4, 7)); /* seen before it was called */
}

static void unknown_fate(_unused_ void **state)
{
	CHECK(LIN_OK, WRITE(1, LIN_UNKNOWN, 7), READ(2, 3, 0), READ(4, 5, 7));
	CHECK(LIN_OK, WRITE(1, LIN_UNKNOWN, 7), READ(2, 3, 0), READ(4, 5, 0));
	CHECK(LIN_BAD, WRITE(1, LIN_UNKNOWN, 7), READ(2, 3, 7), READ(4, 5, 0)); /* it happens once */
	CHECK(LIN_BAD, READ(1, 2, 7), WRITE(3, LIN_UNKNOWN, 7));
	CHECK(LIN_OK, WRITE(1, 2, 5), CAS(3, LIN_UNKNOWN, 5, 6), READ(4, 5, 5), READ(6, 7, 6));
	CHECK(LIN_BAD, WRITE(1, 2, 5), CAS(3, LIN_UNKNOWN, 4, 6), READ(4, 5, 6));
}

/* Many that overlap: the memory of what was tried keeps it quick; and one bad answer at the end is still found. */
static void many(_unused_ void **state)
{
	enum { N = 200 };
	struct lin_op *ops = NEW_N(struct lin_op, N + 2);
	for (uint64_t i = 0; i < N; i++)
		ops[i] = (struct lin_op){.call = 10 * i + 1, .ret = 10 * i + 65, .writes = true, .value = i + 1};
	ops[N] = (struct lin_op)READ(10 * N + 100, 10 * N + 101, N);
	assert_int_equal(lin_check(ops, N + 1), LIN_OK);
	ops[N].seen = 1;
	assert_int_equal(lin_check(ops, N + 1), LIN_BAD);
	free(ops);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(good),        cmocka_unit_test(stale_read),      cmocka_unit_test(read_goes_back),
	cmocka_unit_test(lost_update), cmocka_unit_test(out_of_thin_air), cmocka_unit_test(unknown_fate),
	cmocka_unit_test(many),
};
RUN_TESTS(tests)
