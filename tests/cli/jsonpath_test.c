#include "tests/support/tap.h"

#include "cli/minictl/jsonpath.h"

static const char *const doc_text =
	"{\"kind\":\"List\",\"n\":3,\"items\":["
	"{\"metadata\":{\"name\":\"a\",\"labels\":{\"x.io/y\":\"1\"}},\"status\":{\"addresses\":[{\"type\":\"Hostname\",\"address\":\"h\"},"
	"{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"}],\"ready\":true}},"
	"{\"metadata\":{\"name\":\"b\"},\"spec\":{\"replicas\":2}}]}";

static json_t *doc(void)
{
	json_t *d = NULL;
	assert_int_equal(json_parse(doc_text, strlen(doc_text), &d, NULL), 0);
	return d;
}

static void prints(const char *template_text, const char *want)
{
	_cleanup_json_ json_t *d = doc();
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(jsonpath_print(template_text, d, &out, &err), 0);
	assert_string_equal(buf_str(&out), want);
}

static void refuses(const char *template_text, const char *why)
{
	_cleanup_json_ json_t *d = doc();
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_err_ struct err err = ERR_INIT;
	assert_true(jsonpath_print(template_text, d, &out, &err) < 0);
	assert_non_null(strstr(err.message, why));
}

static void test_paths(void **state)
{
	(void)state;
	prints("plain", "plain");
	prints("{.kind}", "List");
	prints("{$.kind}-{@.n}", "List-3");
	prints("{.items[0].metadata.name}", "a");
	prints("{.items[-1].metadata.name}", "b");
	prints("{.items[*].metadata.name}", "a b");
	prints("{.items[0:1].metadata.name}", "a");
	prints("{.items[0,1].metadata.name}", "a b");
	prints("{.items[0]['metadata'].name}", "a");
	prints("{.items[0].metadata.labels.x\\.io/y}", "1");
	prints("{..name}", "a b");
	prints("{.items[0].status.ready}", "true");
	prints("{.items[0].metadata}", "{\"labels\":{\"x.io/y\":\"1\"},\"name\":\"a\"}");
	prints("{.missing.deep}", "");
	prints("{.kind .n}", "List3");
}

/* As kubectl prints them, whatever order the server sent. */
static void test_objects(void **state)
{
	(void)state;
	static const char text[] = "{\"z\":{\"b\":\"<1>&\",\"a\":\"q\\\"\",\"\u00e9\":\"\u2028\u2029\u2030\"},"
				   "\"list\":[{\"y\":1,\"x\":null},[]]}";
	static const char *const want[][2] = {
		{"{.z}", "{\"a\":\"q\\\"\",\"b\":\"\\u003c1\\u003e\\u0026\",\"\u00e9\":\"\\u2028\\u2029\u2030\"}"},
		{"{.list}", "[{\"x\":null,\"y\":1},[]]"},
		{"{.list[*]}", "{\"x\":null,\"y\":1} []"},
		{"{.z.b}", "<1>&"},
	};
	_cleanup_json_ json_t *d = NULL;
	assert_int_equal(json_parse(text, strlen(text), &d, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT;
		_cleanup_err_ struct err err = ERR_INIT;
		assert_int_equal(jsonpath_print(want[i][0], d, &out, &err), 0);
		assert_string_equal(buf_str(&out), want[i][1]);
	}
}

static void test_filters(void **state)
{
	(void)state;
	prints("{.items[*].status.addresses[?(@.type==\"InternalIP\")].address}", "10.0.0.1");
	prints("{.items[*].status.addresses[?(@.type!='InternalIP')].address}", "h");
	prints("{.items[?(@.spec.replicas>1)].metadata.name}", "b");
	prints("{.items[?(@.spec.replicas<=1)].metadata.name}", "");
	prints("{.items[?(@.spec)].metadata.name}", "b");
	refuses("{.items[?(@.spec==)]}", "filter");
	refuses("{.items[?(@.spec]}", "unterminated");
}

static void test_ranges(void **state)
{
	(void)state;
	prints("{range .items[*]}{.metadata.name}{\"\\t\"}{.spec.replicas}{\"\\n\"}{end}", "a\t\nb\t2\n");
	prints("{range .items[*]}{range .status.addresses[*]}<{.type}>{end};{end}", "<Hostname><InternalIP>;;");
	prints("{range .none[*]}{.x}{end}done", "done");
	refuses("{range .items[*]}x", "nothing to end");
	refuses("{end}", "nothing to end");
}

static void test_errors(void **state)
{
	(void)state;
	refuses("{.items[9]}", "out of bounds");
	refuses("{.items", "unclosed");
	refuses("{.items[0}", "unterminated array");
	refuses("{'abc}", "unterminated quoted");
	refuses("{nope}", "unrecognized");
	/* depth is bounded */
	_cleanup_buf_ struct buf deep = BUF_INIT;
	for (int i = 0; i < 5000; i++)
		buf_adds(&deep, "{.items[?(@[?(@");
	_cleanup_json_ json_t *d = doc();
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_err_ struct err err = ERR_INIT;
	assert_true(jsonpath_print(buf_str(&deep), d, &out, &err) < 0);
}

static void test_values(void **state)
{
	(void)state;
	static const char *const same[] = {"{.items[0].metadata.name}", ".items[0].metadata.name",
					   "items[0].metadata.name"};
	_cleanup_json_ json_t *d = doc();
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		_cleanup_json_ json_t *values = json_array();
		_cleanup_err_ struct err err = ERR_INIT;
		assert_int_equal(jsonpath_values(same[i], d, values, &err), 0);
		assert_int_equal(json_array_size(values), 1);
		assert_string_equal(json_string_value(json_array_get(values, 0)), "a");
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_paths),  cmocka_unit_test(test_filters), cmocka_unit_test(test_ranges),
	cmocka_unit_test(test_errors), cmocka_unit_test(test_values),  cmocka_unit_test(test_objects),
};
RUN_TESTS(tests)
