#include "tests/lib/api/test_support.h"

static void reads(const char *yaml, const char *json)
{
	json_t *docs = NULL;
	struct err err = ERR_INIT;
	if (yaml_parse_all(yaml, strlen(yaml), NULL, &docs, &err))
		fail_msg("%s: %s", err.message, yaml);
	assert_json_equal(docs, J(json));
}

static void refused(const char *yaml, const char *part)
{
	json_t *docs = NULL;
	struct err err = ERR_INIT;
	assert_true(yaml_parse_all(yaml, strlen(yaml), "f.yaml", &docs, &err) < 0);
	assert_null(docs);
	assert_int_equal(err.reason, ERR_BAD_REQUEST);
	if (!strstr(err.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, err.message);
}

/* What kubectl 1.32 makes of the same words. */
static void test_scalars(void **state)
{
	(void)state;
	reads("[y, n, yes, Off, 0x1f, 010, 0o17, 089, 1_000, 1.0, 1e3, 1.5, .5, 5., +1, 2026-01-01, 12:30:45, 0b11, ~]",
	      "[[true,false,true,false,31,8,15,89,1000,1,1000,1.5,0.5,5,1,\"2026-01-01\",\"12:30:45\",3,null]]");
	reads("[!!str 5, -9223372036854775808, 1e400, 0.1, 1e21, TRUE, Null, -0, -.5, 1__0, _1, 0x_1, 1e, ., '1']",
	      "[[\"5\",-9223372036854775808,\"1e400\",0.1,1e21,true,null,0,-0.5,10,\"_1\",1,\"1e\",\".\",\"1\"]]");
	reads("x: 1\n2: 3\ntrue: 4\n1.5: 6\n", "[{\"x\":1,\"2\":3,\"true\":4,\"1.5\":6}]");
	refused("a: .inf", "no JSON form");
}

static void test_documents(void **state)
{
	(void)state;
	reads("", "[]");
	reads("# nothing\n---\n---\na: 1\n---\n\n...\n---\nb: [1]\n", "[{\"a\":1},{\"b\":[1]}]");
	reads("{\"a\": [1, {\"b\": null}]}", "[{\"a\":[1,{\"b\":null}]}]");
	reads("a: |\n  x\n  y\nb: >-\n  x\n  y\n", "[{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}]");
}

static void test_anchors(void **state)
{
	(void)state;
	reads("a: &x {k: 1, l: [2]}\nb: *x\nc: {<<: *x, k: 3}\n",
	      "[{\"a\":{\"k\":1,\"l\":[2]},\"b\":{\"k\":1,\"l\":[2]},\"c\":{\"k\":3,\"l\":[2]}}]");
	reads("- &a {x: 1}\n- &b {x: 2, z: 2}\n- {<<: [*a, *b]}\n",
	      "[[{\"x\":1},{\"x\":2,\"z\":2},{\"x\":1,\"z\":2}]]");
	refused("a: *x", "f.yaml:1: unknown anchor 'x'");
	refused("a: &x [*x]", "unknown anchor");
	refused("a: {<<: 1}", "map merge");
	/* anchors end with their document */
	refused("a: &x 1\n---\nb: *x\n", "f.yaml:3: unknown anchor");
}

static void test_bomb(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	buf_adds(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 10; i++) {
		buf_addf(&b, "a%d: &a%d [", i, i);
		for (int n = 0; n < 9; n++)
			buf_addf(&b, "%s*a%d", n ? "," : "", i - 1);
		buf_adds(&b, "]\n");
	}
	refused(b.data, "excessive aliasing");
	buf_done(&b);
}

static void test_refused(void **state)
{
	(void)state;
	refused("a: 1\nb: 2\na: 3\n", "f.yaml:3: key \"a\" already set in map");
	refused("a: b: c\n", "f.yaml:1: mapping values are not allowed");
	refused("a:\n\t- x\n", "f.yaml:2");
	refused("{a", "f.yaml:2: while parsing a flow mapping");
	refused("? [a]\n: b\n", "must be a word");
	refused("a: \"x\\0y\"", "NUL");
	refused("a: \xff", "UTF-8");
	refused("a: !foo x", "unknown tag");
	size_t n = 20000;
	char *deep = xmalloc(2 * n + 1);
	memset(deep, '[', n);
	deep[n] = '\0';
	refused(deep, "too deeply");
	for (size_t i = 0; i < 600; i++)
		memcpy(deep + 2 * i, "- ", 2);
	deep[1200] = '\0';
	refused(deep, "too deeply");
	free(deep);
}

#define LONG "long long long long long long long long long long long long long long long long long long long long"

static void writes(const char *json, const char *yaml)
{
	json_t *v = J(json);
	struct buf b = BUF_INIT;
	yaml_write(&b, v);
	assert_string_equal(b.data, yaml);
	json_t *docs = NULL;
	assert_int_equal(yaml_parse_all(b.data, b.len, NULL, &docs, NULL), 0);
	assert_true(json_equal(json_array_get(docs, 0), v));
	json_decref(docs);
	json_decref(v);
	buf_done(&b);
}

/* The right sides are what kubectl 1.32 prints. */
static void test_write(void **state)
{
	(void)state;
	writes("{\"b\":{\"z\":[1,{\"x\":[],\"a\":{}},[2,[3]]]},\"a\":null,\"c\":{},\"d\":0.1,\"e\":true}",
	       "a: null\nb:\n  z:\n  - 1\n  - a: {}\n    x: []\n  - - 2\n    - - 3\nc: {}\nd: 0.1\ne: true\n");
	writes("[\"y\",\"1\",\"2026-01-01\",\"1.5\",\"a: b\",\"- x\",\"#x\",\"it's\",\"null\",\"\",\"~\",\"tab\\there\"]",
	       "- \"y\"\n- \"1\"\n- \"2026-01-01\"\n- \"1.5\"\n- 'a: b'\n- '- x'\n- '#x'\n- it's\n- \"null\"\n- \"\"\n"
	       "- \"~\"\n- \"tab\\there\"\n");
	writes("[\"a #b\",\"a:\",\"'q'\",\"0o17\",\"<<\",\"12:30:45\",\"x, y\",\"[x\",\"?x\",\":x\",\"-x\",\"-\",\"---\"]",
	       "- 'a #b'\n- 'a:'\n- '''q'''\n- \"0o17\"\n- <<\n- \"12:30:45\"\n- x, y\n- '[x'\n- ?x\n- :x\n- -x\n- '-'\n"
	       "- '---'\n");
	writes("[\"trail \",\" lead\",\"\xf0\x9f\x8e\x89 x\",\"a\\u0001\",\"a\\\\b\",\"1e\",\"010\",\"\xc3\xa4\"]",
	       "- 'trail '\n- ' lead'\n- \"\\U0001F389 x\"\n- \"a\\x01\"\n- a\\b\n- 1e\n- \"010\"\n- \xc3\xa4\n");
	writes("{\"a\":\"x\\ny\\n\",\"b\":\"x\\ny\",\"c\":\"x\\n\\n\",\"d\":\" l\\nx\",\"e\":\"a\\nb \\nc\",\"f\":\"\\nl\","
	       "\"g\":\"\\n\",\"h\":\"a\\n b\",\"i\":\"a\\n\\tb\",\"j\":[\"x\\ny\"]}",
	       "a: |\n  x\n  y\nb: |-\n  x\n  y\nc: |+\n  x\n\nd: |2-\n   l\n  x\ne: \"a\\nb \\nc\"\nf: |2-\n\n  l\n"
	       "g: |2+\n\nh: |-\n  a\n   b\ni: \"a\\n\\tb\"\nj:\n- |-\n  x\n  y\n");
	writes("{\"yes\":1,\"1\":2,\"a b\":3,\"<<\":4}", "\"1\": 2\n\"<<\": 4\na b: 3\n\"yes\": 1\n");
	writes("{\"d\":{\"o7\":\"" LONG "\"}}",
	       "d:\n  o7: long long long long long long long long long long long long long long long long\n"
	       "    long long long long\n");
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars), cmocka_unit_test(test_documents), cmocka_unit_test(test_anchors),
		cmocka_unit_test(test_bomb),    cmocka_unit_test(test_refused),   cmocka_unit_test(test_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
