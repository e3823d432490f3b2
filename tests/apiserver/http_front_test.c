/* Too many requests at once. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static void too_many_at_once(void **state)
{
	struct api *f = *state;
	unsigned was = f->server->max_reading;
	f->server->max_reading = 0;
	struct api_answer *a = api_get(f, CM);
	f->server->max_reading = was;
	assert_int_equal(a->status, 429);
	assert_string_equal(api_str(a, "details.retryAfterSeconds"), "1");
	assert_int_equal(api_get(f, CM)->status, 200);
	assert_int_equal(f->server->n_reading, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(too_many_at_once),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
