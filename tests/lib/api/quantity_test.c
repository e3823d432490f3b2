#include "lib/api/quantity.h"
#include "tests/lib/api/test_support.h"

static const struct {
	const char *in, *out;
	int64_t value, milli;
} good[] = {
	{"0", "0", 0, 0},
	{"0.1", "100m", 1, 100},
	{"100m", "100m", 1, 100},
	{"1500m", "1500m", 2, 1500},
	{"1.5", "1500m", 2, 1500},
	{"1000m", "1", 1, 1000},
	{"1024Mi", "1Gi", 1 << 30, 1073741824000},
	{"1.5Gi", "1536Mi", 1610612736, 1610612736000},
	{"0.5Gi", "512Mi", 536870912, 536870912000},
	{"1Ki", "1Ki", 1024, 1024000},
	{"0.5Ki", "512", 512, 512000},
	{"100Mi", "100Mi", 104857600, 104857600000},
	{"1e3", "1e3", 1000, 1000000},
	{"2E3", "2e3", 2000, 2000000},
	{"12e6", "12e6", 12000000, 12000000000},
	{"1500", "1500", 1500, 1500000},
	{"1000", "1k", 1000, 1000000},
	{"10000k", "10M", 10000000, 10000000000},
	{"1e-3", "1e-3", 1, 1},
	{"-1.5", "-1500m", -2, -1500},
	{"+5", "5", 5, 5000},
	{".5", "500m", 1, 500},
	{"5.", "5", 5, 5000},
	{"1n", "1n", 1, 1},
	{"0.0000000001", "1n", 1, 1},
	{"100E", "9223372036854775807", INT64_MAX, INT64_MAX},
	{"8Ei", "9223372036854775807", INT64_MAX, INT64_MAX},
	{"7Ei", "7Ei", 8070450532247928832, INT64_MAX},
	{"1.1Ki", "1126400m", 1127, 1126400},
	{"999999999999999999999999", "9223372036854775807", INT64_MAX, INT64_MAX},
	{"0.5Mi", "512Ki", 524288, 524288000},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct quantity q;
		char text[64];
		if (quantity_parse(good[i].in, &q, NULL))
			fail_msg("%s refused", good[i].in);
		quantity_str(&q, text);
		if (strcmp(text, good[i].out) || quantity_value(&q) != good[i].value ||
		    quantity_milli(&q) != good[i].milli)
			fail_msg("%s: %s %lld %lld", good[i].in, text, (long long)quantity_value(&q),
				 (long long)quantity_milli(&q));
	}
}

static void test_bad(void **state)
{
	(void)state;
	static const char *const bad[] = {"",    "x",  "1x",    "1.2.3", "--1", "1 ", " 1",  "1kk",
					  "1mi", "1e", "1e1.5", "Ki",    ".",   "+",  "0x10"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct quantity q;
		struct err err = ERR_INIT;
		if (quantity_parse(bad[i], &q, &err) == 0)
			fail_msg("\"%s\" taken", bad[i]);
		assert_int_equal(err.reason, ERR_BAD_REQUEST);
	}
	assert_int_equal(quantity_value_of("x", 7), 7);
	assert_int_equal(quantity_milli_of("250m", 7), 250);
	assert_int_equal(quantity_milli_of(NULL, 7), 7);
}

static void test_order(void **state)
{
	(void)state;
	struct quantity a, b;
	quantity_parse("1Gi", &a, NULL);
	quantity_parse("1G", &b, NULL);
	assert_int_equal(quantity_cmp(&a, &b), 1);
	assert_int_equal(quantity_cmp(&b, &a), -1);
	quantity_parse("1024Mi", &b, NULL);
	assert_int_equal(quantity_cmp(&a, &b), 0);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
