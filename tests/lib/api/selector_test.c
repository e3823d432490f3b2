#include "lib/api/selector.h"
#include "tests/lib/api/test_support.h"

static void test_text(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
		bool matches;
	} cases[] = {
		{"", "", true},
		{"app=web", "app=web", true},
		{"app==web", "app=web", true},
		{"app = web , tier in (b, a)", "app=web,tier in (a,b)", true},
		{"tier notin (a)", "tier notin (a)", false},
		{"app!=web", "app!=web", false},
		{"none!=web", "none!=web", true},
		{"none notin (x)", "none notin (x)", true},
		{"!none", "!none", true},
		{"!app", "!app", false},
		{"app", "app", true},
		{"n>4,n<6", "n>4,n<6", true},
		{"n>5", "n>5", false},
		{"z,app=web,!x", "app=web,!x,z", false},
		{"empty=", "empty=", true},
		{"empty in (,b)", "empty in (,b)", true},
		{"in in (in)", "in in (in)", false},
		{"a.b/c-d=1", "a.b/c-d=1", false},
	};
	json_t *labels = J("{\"app\":\"web\",\"tier\":\"a\",\"n\":\"5\",\"empty\":\"\"}");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct selector *s = NULL;
		struct err err = ERR_INIT;
		if (selector_parse(cases[i].in, &s, &err))
			fail_msg("%s: %s", cases[i].in, err.message);
		char *text = selector_str(s);
		assert_string_equal(text, cases[i].out);
		if (selector_matches(s, labels) != cases[i].matches)
			fail_msg("%s: wrong", cases[i].in);
		free(text);
		selector_free(s);
	}
	json_decref(labels);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"a=b,",  ",",    "a in b", "a in (b", "a in (b c)",       "=x",   "a=b c", "!a=b", "a>x", "a b c",
		"a=(b)", "-a=b", "a=b=c",  "a=-b",    "a in (x),!b,!c=d", "a,,b",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct selector *s = NULL;
		struct err err = ERR_INIT;
		if (selector_parse(bad[i], &s, &err) == 0)
			fail_msg("\"%s\" taken", bad[i]);
		assert_null(s);
		assert_int_equal(err.reason, ERR_BAD_REQUEST);
	}
	struct buf many = BUF_INIT;
	for (int i = 0; i < 65; i++)
		buf_addf(&many, "%sk%d", i ? "," : "", i);
	struct selector *s = NULL;
	assert_true(selector_parse(many.data, &s, NULL) < 0);
	buf_done(&many);
}

/* The words are upstream's. */
static void test_words(void **state)
{
	(void)state;
	static const struct {
		const char *in, *message;
	} cases[] = {
		{"a===b", "unable to parse requirement: found '=', expected: identifier"},
		{"a in b", "unable to parse requirement: found 'b' expected: '('"},
		{"a gt x", "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt"},
		{"!", "unable to parse requirement: found '', expected: identifier"},
		{",", "found ',', expected: !, identifier, or 'end of string'"},
		{"a=b,", "found '', expected: identifier after ','"},
		{"a=b c", "found 'c', expected: ',' or 'end of string'"},
		{"a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the "
			"value must be an integer"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct selector *s = NULL;
		struct err err = ERR_INIT;
		assert_true(selector_parse(cases[i].in, &s, &err) < 0);
		assert_string_equal(err.message, cases[i].message);
	}
}

static void test_objects(void **state)
{
	(void)state;
	struct selector *s = NULL;
	json_t *labels = J("{\"app\":\"web\",\"tier\":\"a\"}");
	json_t *sel = J("{\"matchLabels\":{\"tier\":\"a\"},\"matchExpressions\":["
			"{\"key\":\"app\",\"operator\":\"In\",\"values\":[\"web\"]},"
			"{\"key\":\"x\",\"operator\":\"DoesNotExist\"}]}");
	assert_int_equal(selector_from_json(sel, &s, NULL), 0);
	char *text = selector_str(s);
	assert_string_equal(text, "app in (web),tier=a,!x");
	assert_true(selector_matches(s, labels));
	assert_false(selector_matches(s, NULL));
	free(text);
	selector_free(s);
	json_decref(sel);

	assert_int_equal(selector_from_json(NULL, &s, NULL), 0);
	assert_false(selector_matches(s, labels));
	selector_free(s);
	sel = J("{}");
	assert_int_equal(selector_from_json(sel, &s, NULL), 0);
	assert_true(selector_matches(s, labels));
	selector_free(s);
	s = selector_from_map(sel);
	assert_false(selector_matches(s, labels));
	selector_free(s);
	s = selector_from_map(labels);
	assert_true(selector_matches(s, labels));
	selector_free(s);
	json_decref(sel);
	sel = J("{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Like\"}]}");
	assert_true(selector_from_json(sel, &s, NULL) < 0);
	json_decref(sel);
	json_decref(labels);
	assert_true(selector_matches(NULL, NULL));
}

static void test_fields(void **state)
{
	(void)state;
	struct field_selector *f = NULL;
	json_t *pod = J("{\"spec\":{\"nodeName\":\"a,b\",\"hostNetwork\":true},\"status\":{\"phase\":\"Running\"}}");
	assert_int_equal(
		field_selector_parse("spec.nodeName=a\\,b,status.phase!=Failed,spec.hostNetwork==true", &f, NULL), 0);
	assert_int_equal(field_selector_count(f), 3);
	assert_string_equal(field_selector_path(f, 1), "status.phase");
	assert_string_equal(field_selector_requires(f, "spec.nodeName"), "a,b");
	assert_null(field_selector_requires(f, "status.phase"));
	assert_true(field_selector_matches(f, pod));
	field_selector_free(f);
	assert_int_equal(field_selector_parse("spec.none=", &f, NULL), 0);
	assert_true(field_selector_matches(f, pod));
	field_selector_free(f);
	f = NULL;
	assert_true(field_selector_parse("spec", &f, NULL) < 0);
	assert_true(field_selector_parse("a=b=c", &f, NULL) < 0);
	assert_true(field_selector_parse("a!b", &f, NULL) < 0);
	assert_true(field_selector_parse("=b", &f, NULL) < 0);
	assert_null(f);
	json_decref(pod);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),    cmocka_unit_test(test_refused), cmocka_unit_test(test_words),
		cmocka_unit_test(test_objects), cmocka_unit_test(test_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
