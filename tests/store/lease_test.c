/* Leases away from an engine: their keys are found, and let go of a few at a time. */
#include "store/engine.h"
#include "tests/support/tap.h"

static void a_few_at_a_time(_unused_ void **state)
{
	struct map leases = MAP_INIT;
	struct mvcc m;
	struct blob *value = blob_new("v", 1);
	char key[16];
	mvcc_init(&m, 1000);
	for (uint64_t id = 1; id <= 3; id++)
		lease__load(&leases, &(struct store_state_lease){.id = id, .ttl_s = 10, .renewed = 7});
	for (unsigned i = 0; i < 100; i++) { /* the fourth has ended */
		snprintf(key, sizeof(key), "%03u", i);
		mvcc_load(&m, key, 2, 2, 1, i % 5, value);
	}
	lease__attach_all(&leases, &m);
	const struct lease *one = map_get(&leases, "1");
	assert_int_equal(one->keys.count, 20);
	assert_true(map_has(&one->keys, "001"));
	assert_int_equal(one->renewed, 7);
	unsigned slices = 1;
	while (lease__discard(&leases, 7))
		slices++;
	assert_int_equal(slices, 9); /* 60 keys and 3 leases */
	assert_int_equal(leases.count, 0);
	mvcc_done(&m);
	blob_unref(value);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(a_few_at_a_time)};
RUN_TESTS(tests)
