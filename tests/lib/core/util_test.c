#include <errno.h>

#include "lib/core/err.h"
#include "lib/core/utf8.h"
#include "lib/core/util.h"
#include "tests/support/tap.h"

static void numbers_are_whole_strings(void **state)
{
	(void)state;
	int64_t i = 7;
	uint64_t u = 7;
	assert_int_equal(parse_i64("-12", &i), 0);
	assert_int_equal(i, -12);
	static const char *const bad[] = {"", " 1", "1 ", "+1", "0x10", "1.5", "-", "--1", "a"};
	for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
		assert_int_equal(parse_i64(bad[k], &i), -EINVAL);
		assert_int_equal(parse_u64(bad[k], &u), -EINVAL);
	}
	assert_int_equal(parse_u64("-1", &u), -EINVAL);
	assert_int_equal(parse_i64("9223372036854775808", &i), -ERANGE);
	assert_int_equal(parse_u64("18446744073709551616", &u), -ERANGE);
	assert_int_equal(i, -12);
	assert_int_equal(u, 7);
	assert_int_equal(parse_u64("18446744073709551615", &u), 0);
	assert_true(u == UINT64_MAX);
}

static void what_is_cut_short_is_mended(void **state)
{
	(void)state;
	static const char *const rows[][2] = {
		{"", ""},
		{"a\u00e9\u20ac\U0001f600", "a\u00e9\u20ac\U0001f600"},
		{"a\xc3", "a"},
		{"\xa9 b", " b"},
		{"\xe2\x82\xe2\x82\xac", "\u20ac"},
		{"\xff\xfe\xc0\x80", ""},
		{"\xed\xa0\x80x", "x"}, /* a surrogate */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[32];
		snprintf(text, sizeof(text), "%s", rows[i][0]);
		utf8_mend(text);
		assert_string_equal(text, rows[i][1]);
	}
	/* whatever an error's texts hold, and wherever they end */
	_cleanup_free_ char *many = xmalloc(6002);
	for (size_t pad = 0; pad < 2; pad++) {
		struct err err = ERR_INIT;
		memset(many, 'a', pad);
		for (size_t i = 0; i < 3000; i++)
			memcpy(many + pad + 2 * i, "\u00e9", 2);
		many[6000] = '\0';
		err_add_cause(&err, "FieldValueInvalid", many, "Invalid value: %s", many);
		assert_true(utf8_valid(err.causes[0].field, strlen(err.causes[0].field)));
		assert_true(utf8_valid(err.causes[0].message, strlen(err.causes[0].message)));
		err_status(&err, ERR_BAD_REQUEST, "%.5s: %s", many, many);
		assert_true(utf8_valid(err.message, strlen(err.message)));
		err_prefix(&err, "%s", many);
		assert_true(utf8_valid(err.message, strlen(err.message)));
		err_done(&err);
	}
}

static void times_round_trip(void **state)
{
	(void)state;
	char buf[40];
	int64_t us;
	assert_string_equal(time_format_s(0, buf), "1970-01-01T00:00:00Z");
	assert_string_equal(time_format_us(1700000000123456, buf), "2023-11-14T22:13:20.123456Z");
	assert_string_equal(time_format_ns(-1, buf), "1969-12-31T23:59:59.999999999Z");
	assert_int_equal(time_parse_us("2023-11-14T22:13:20.123456789Z", &us), 0);
	assert_int_equal(us, 1700000000123456);
	assert_int_equal(time_parse_us("2023-11-15T00:13:20+02:00", &us), 0);
	assert_int_equal(us, 1700000000000000);
	assert_int_equal(time_parse_us("2024-02-29T00:00:00Z", &us), 0);
	static const char *const bad[] = {"",
					  "2023-11-14",
					  "2023-11-14T22:13:20",
					  "2023-02-29T00:00:00Z",
					  "2023-13-01T00:00:00Z",
					  "2023-11-14T24:00:00Z",
					  "2023-11-14T22:13:20.Z",
					  "2023-11-14T22:13:20Zx",
					  "2023-11-14T22:13:20+2:00"};
	for (size_t k = 0; k < ARRAY_LEN(bad); k++)
		assert_int_equal(time_parse_us(bad[k], &us), -EINVAL);
}

static void base64_vectors_of_rfc_4648(void **state)
{
	(void)state;
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};
	for (size_t k = 0; k < ARRAY_LEN(pairs); k++) {
		_cleanup_free_ char *text = base64_encode(pairs[k][0], strlen(pairs[k][0]));
		_cleanup_free_ uint8_t *data = NULL;
		size_t len;
		assert_string_equal(text, pairs[k][1]);
		assert_int_equal(base64_decode(text, strlen(text), &data, &len), 0);
		assert_int_equal(len, strlen(pairs[k][0]));
		assert_memory_equal(data, pairs[k][0], len);
	}
	static const char *const bad[] = {"Zg=", "Zg", "Z===", "Zh==", "Zm9v\n", "Zm-_", "===="};
	for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
		uint8_t *data = NULL;
		size_t len;
		assert_int_equal(base64_decode(bad[k], strlen(bad[k]), &data, &len), -EINVAL);
		assert_null(data);
	}
	_cleanup_free_ char *url = base64url_encode("\xfb\xff\xfe", 3);
	assert_string_equal(url, "-__-");
}

static void checksums_match_published_values(void **state)
{
	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	/* any split gives the same */
	uint32_t c = crc32c(0, "12345", 5);
	assert_int_equal(crc32c(c, "6789", 4), 0xe3069283);
	uint8_t bytes[100];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
	/* by either way, whatever the length and wherever it begins */
	for (size_t from = 0; from < 9; from++)
		for (size_t n = 0; n <= sizeof(bytes) - from; n++)
			assert_int_equal(crc32c(77, bytes + from, n), crc32c_by_tables(77, bytes + from, n));
	assert_int_equal(fnv32a("foobar", 6), 0xbf9cf968);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_whole_strings),
		cmocka_unit_test(what_is_cut_short_is_mended),
		cmocka_unit_test(times_round_trip),
		cmocka_unit_test(base64_vectors_of_rfc_4648),
		cmocka_unit_test(checksums_match_published_values),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
