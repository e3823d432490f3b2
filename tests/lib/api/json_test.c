#include "tests/lib/api/test_support.h"

static void refused(const char *text, const char *part)
{
	json_t *v = NULL;
	struct err err = ERR_INIT;
	int rc = json_parse(text, strlen(text), &v, &err);
	assert_true(rc < 0);
	assert_null(v);
	assert_int_equal(err.reason, ERR_BAD_REQUEST);
	if (!strstr(err.message, part))
		fail_msg("%s: \"%s\" is not in \"%s\"", text, part, err.message);
}

static void same(const char *text)
{
	json_t *v = J(text);
	char *out = text_of(v);
	assert_string_equal(out, text);
	free(out);
	json_decref(v);
}

static void test_round_trip(void **state)
{
	(void)state;
	same("{\"b\":1,\"a\":[true,false,null,\"x\",{}],\"c\":[]}");
	same("[0,-1,9223372036854775807,-9223372036854775808]");
	same("[0.1,1.5,-2.25,1e+21,1e-7,0.000001,123456789012345680000.0,1.0,-0.0]");
	same("\"a/b<>&\\\"\\\\\\n\\t\\u0001\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	same("\"exactly8\"");
	same("\"12345678\\\"\"");
}

static void test_escapes(void **state)
{
	(void)state;
	json_t *v = J("\"\\u00e4\\ud83d\\ude00\\/\\b\\ud800\"");
	assert_string_equal(json_string_value(v), "\xc3\xa4\xf0\x9f\x98\x80/\b\xef\xbf\xbd");
	json_decref(v);
}

static void test_refused(void **state)
{
	(void)state;
	refused("", "line 1, column 1: unexpected end");
	refused("{\n  \"a\": 01}", "line 2, column 10");
	refused("{\"a\":1,}", "member name");
	refused("[1,]", "expected a value");
	refused("[1 2]", "expected ','");
	refused("{'a':1}", "member name");
	refused("tru", "expected a value");
	refused("1 2", "follows");
	refused("1e999", "out of range");
	refused("-", "malformed number");
	refused("1.", "malformed number");
	refused("\"\xff\"", "UTF-8");
	refused("\"\xc0\x80\"", "UTF-8");
	refused("\"\xed\xa0\x80\"", "UTF-8");
	refused("\"a", "unfinished");
	refused("\"\\u0000\"", "u0000");
	refused("\"\\x\"", "escape");
	refused("\"\n\"", "control");
	refused("NaN", "expected a value");
}

static void test_bounds(void **state)
{
	(void)state;
	size_t n = 20000;
	char *deep = xmalloc(n + 1);
	memset(deep, '[', n);
	deep[n] = '\0';
	refused(deep, "too deeply");
	/* as deep as allowed */
	size_t ok = JSON_MAX_DEPTH;
	memset(deep + ok, ']', ok);
	deep[2 * ok] = '\0';
	same(deep);
	free(deep);
	/* [[],[],...]: small as text, large in memory */
	n = 100000;
	char *wide = xmalloc(3 * n + 2), *p = wide;
	*p++ = '[';
	for (size_t i = 0; i < n; i++, p += 3)
		memcpy(p, "[],", 3);
	p[-1] = ']';
	*p = '\0';
	refused(wide, "too many");
	free(wide);
}

static void test_large_integers_become_real(void **state)
{
	(void)state;
	json_t *v = J("[9223372036854775808,-9223372036854775809]");
	assert_true(json_is_real(json_array_get(v, 0)));
	assert_true(json_is_real(json_array_get(v, 1)));
	json_decref(v);
}

static void test_duplicates(void **state)
{
	(void)state;
	const char *text = "{\"spec\":{\"x\":1,\"l\":[{\"y\":1},{\"y\":1,\"y\":2}],\"x\":3},\"spec\":{\"x\":9}}";
	json_t *v = NULL, *dups = json_array();
	assert_int_equal(json_parse_dups(text, strlen(text), &v, dups, NULL), 0);
	assert_json_equal(v, J("{\"spec\":{\"x\":9}}"));
	assert_json_equal(dups, J("[\"duplicate field \\\"spec.l[1].y\\\"\",\"duplicate field \\\"spec.x\\\"\","
				  "\"duplicate field \\\"spec\\\"\"]"));
}

static void test_pretty(void **state)
{
	(void)state;
	json_t *v = J("{\"a\":[1,{\"b\":[]}],\"c\":{}}");
	struct buf b = BUF_INIT;
	json_write_pretty(&b, v, 4);
	assert_string_equal(b.data, "{\n    \"a\": [\n        1,\n        {\n            \"b\": []\n        }\n    ],\n"
				    "    \"c\": {}\n}");
	buf_done(&b);
	json_decref(v);
}

static void test_helpers(void **state)
{
	(void)state;
	json_t *v = J("{\"a\":{\"b\":{\"s\":\"x\",\"i\":3,\"t\":true,\"n\":null}}}");
	json_t *b = json_path(v, "a", "b", NULL);
	assert_string_equal(json_get_str(b, "s", "d"), "x");
	assert_string_equal(json_get_str(b, "i", "d"), "d");
	assert_int_equal(json_get_int(b, "i", 0), 3);
	assert_int_equal(json_get_int(b, "n", 7), 7);
	assert_true(json_get_bool(b, "t", false));
	assert_null(json_path(v, "a", "x", "y", NULL));
	json_put_int(json_need_object(v, "q"), "n", 1);
	json_array_append_new(json_need_array(v, "l"), json_make("{s:s}", "k", "v"));
	json_put(v, "a", NULL);
	assert_json_equal(v, J("{\"q\":{\"n\":1},\"l\":[{\"k\":\"v\"}]}"));
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_large_integers_become_real),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_pretty),
		cmocka_unit_test(test_helpers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
