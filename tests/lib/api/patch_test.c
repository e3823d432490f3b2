#include "lib/api/patch.h"
#include "tests/lib/api/test_support.h"

typedef int patch_fn(const json_t *, const json_t *, json_t **, struct err *);

static void applies(patch_fn *fn, const char *doc, const char *patch, const char *want)
{
	json_t *d = J(doc), *p = J(patch), *got = NULL, *before = J(doc), *patch_before = J(patch);
	struct err err = ERR_INIT;
	if (fn(d, p, &got, &err))
		fail_msg("%s: %s", err.message, patch);
	assert_json_equal(got, J(want));
	assert_json_equal(d, before);
	assert_json_equal(p, patch_before);
}

static void refused(patch_fn *fn, const char *doc, const char *patch, enum err_reason reason, const char *part)
{
	json_t *d = J(doc), *p = J(patch), *got = NULL;
	struct err err = ERR_INIT;
	if (fn(d, p, &got, &err) == 0)
		fail_msg("taken: %s", patch);
	assert_null(got);
	assert_int_equal(err.reason, reason);
	if (!strstr(err.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, err.message);
	json_decref(d);
	json_decref(p);
}

static void test_json_patch(void **state)
{
	(void)state;
	applies(patch_json, "{\"a\":1}",
		"[{\"op\":\"add\",\"path\":\"/b\",\"value\":{\"c\":[]}},"
		"{\"op\":\"add\",\"path\":\"/b/c/-\",\"value\":2},"
		"{\"op\":\"add\",\"path\":\"/b/c/0\",\"value\":1}]",
		"{\"a\":1,\"b\":{\"c\":[1,2]}}");
	applies(patch_json, "{\"a/b\":{\"m~n\":1},\"l\":[1,2,3]}",
		"[{\"op\":\"test\",\"path\":\"/a~1b/m~0n\",\"value\":1.0},{\"op\":\"remove\",\"path\":\"/l/1\"},"
		"{\"op\":\"replace\",\"path\":\"/l/0\",\"value\":9},{\"op\":\"move\",\"from\":\"/a~1b\",\"path\":\"/x\"},"
		"{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/l/-\"}]",
		"{\"l\":[9,3,{\"m~n\":1}],\"x\":{\"m~n\":1}}");
	applies(patch_json, "{}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{\"a\":null}}]", "{\"a\":null}");
	applies(patch_json, "{}", "[{\"op\":\"test\",\"path\":\"/none\",\"value\":null}]", "{}");
	refused(patch_json, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", ERR_INVALID, "test failed");
	refused(patch_json, "{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", ERR_INVALID, "no such place: \"/a\"");
	refused(patch_json, "{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]", ERR_INVALID, "no such");
	refused(patch_json, "{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]", ERR_INVALID, "no such");
	refused(patch_json, "{\"l\":[]}", "[{\"op\":\"add\",\"path\":\"/l/1\",\"value\":1}]", ERR_INVALID, "no such");
	refused(patch_json, "{\"l\":[1]}", "[{\"op\":\"remove\",\"path\":\"/l/00\"}]", ERR_INVALID, "no such");
	refused(patch_json, "{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", ERR_INVALID,
		"into itself");
	refused(patch_json, "{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", ERR_BAD_REQUEST, "pointer");
	refused(patch_json, "{}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", ERR_BAD_REQUEST, "pointer");
	refused(patch_json, "{}", "[{\"op\":\"zap\",\"path\":\"/a\",\"value\":1}]", ERR_BAD_REQUEST, "unknown op");
	refused(patch_json, "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", ERR_BAD_REQUEST, "no value");
	refused(patch_json, "{}", "[1]", ERR_BAD_REQUEST, "no path");
	refused(patch_json, "{}", "{}", ERR_BAD_REQUEST, "list of operations");
}

/* From the end, which upstream has beside the RFC. */
static void test_json_patch_negative(void **state)
{
	(void)state;
	static const struct {
		const char *patch, *want; /* NULL: refused */
	} cases[] = {
		{"[{\"op\":\"remove\",\"path\":\"/l/-1\"}]", "{\"l\":[1,2]}"},
		{"[{\"op\":\"replace\",\"path\":\"/l/-3\",\"value\":9}]", "{\"l\":[9,2,3]}"},
		{"[{\"op\":\"add\",\"path\":\"/l/-1\",\"value\":9}]", "{\"l\":[1,2,3,9]}"},
		{"[{\"op\":\"add\",\"path\":\"/l/-4\",\"value\":9}]", "{\"l\":[9,1,2,3]}"},
		{"[{\"op\":\"remove\",\"path\":\"/l/-4\"}]", NULL},
		{"[{\"op\":\"remove\",\"path\":\"/l/-0\"}]", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_json_ json_t *doc = json_loads("{\"l\":[1,2,3]}", 0, NULL);
		_cleanup_json_ json_t *patch = json_loads(cases[i].patch, 0, NULL);
		json_t *got = NULL;
		int rc = patch_json(doc, patch, &got, NULL);
		if (!cases[i].want) {
			assert_true(rc < 0);
			continue;
		}
		_cleanup_json_ json_t *want = json_loads(cases[i].want, 0, NULL);
		assert_int_equal(rc, 0);
		assert_true(json_equal(got, want));
		json_decref(got);
	}
}

static void test_json_patch_bounds(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	buf_adds(&b, "[{\"op\":\"add\",\"path\":\"/l\",\"value\":[1,2,3,4]}");
	for (int i = 0; i < 30; i++)
		buf_adds(&b, ",{\"op\":\"copy\",\"from\":\"/l\",\"path\":\"/l/-\"}");
	buf_adds(&b, "]");
	refused(patch_json, "{}", b.data, ERR_INVALID, "copies too much");
	buf_clear(&b);
	buf_adds(&b, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}}");
	for (int i = 0; i < 600; i++)
		buf_adds(
			&b,
			",{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b\"},{\"op\":\"add\",\"path\":\"/a\",\"value\":{}},"
			"{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a/a\"}");
	buf_adds(&b, "]");
	refused(patch_json, "{}", b.data, ERR_INVALID, "too deeply");
	buf_clear(&b);
	buf_addc(&b, '[');
	for (int i = 0; i <= 10000; i++)
		buf_addf(&b, "%s1", i ? "," : "");
	buf_addc(&b, ']');
	refused(patch_json, "{}", b.data, ERR_TOO_LARGE, "10000");
	buf_done(&b);
}

/* RFC 7386's own examples. */
static void test_merge_patch(void **state)
{
	(void)state;
	static const char *const cases[][3] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
		{"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
		{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
		{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
		{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
		{"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
		{"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
		{"{\"a\":\"foo\"}", "null", "null"},
		{"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
		{"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
		{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		applies(patch_merge, cases[i][0], cases[i][1], cases[i][2]);
}

/* ---- strategic: tables of our own, with each kind of member ---- */

static const struct schema_field item_fields[] = {
	{.name = "name", .type = SCHEMA_STRING},
	{.name = "v", .type = SCHEMA_INT32},
	{.name = "tags", .type = SCHEMA_STRING, .shape = SCHEMA_LIST, .flags = SCHEMA_MERGE},
	{.name = NULL},
};
static const struct schema item = {.name = "t.Item", .fields = item_fields};
static const struct schema_field strategy_fields[] = {
	{.name = "type", .type = SCHEMA_STRING},
	{.name = "rolling", .type = SCHEMA_ANY},
	{.name = NULL},
};
static const struct schema strategy = {.name = "t.Strategy", .fields = strategy_fields};
static const struct schema_field top_fields[] = {
	{.name = "items",
	 .type = SCHEMA_OBJECT,
	 .shape = SCHEMA_LIST,
	 .of = &item,
	 .flags = SCHEMA_MERGE,
	 .merge_key = "name"},
	{.name = "set", .type = SCHEMA_STRING, .shape = SCHEMA_LIST, .flags = SCHEMA_MERGE},
	{.name = "list", .type = SCHEMA_STRING, .shape = SCHEMA_LIST},
	{.name = "strategy", .type = SCHEMA_OBJECT, .of = &strategy, .flags = SCHEMA_REPLACE_KEYS},
	{.name = "map", .type = SCHEMA_STRING, .shape = SCHEMA_MAP},
	{.name = NULL},
};
static const struct schema top = {.name = "t.Top", .fields = top_fields};

static int strategic(const json_t *doc, const json_t *patch, json_t **ret, struct err *err)
{
	return patch_strategic(&top, doc, patch, ret, err);
}

#define ITEMS "{\"items\":[{\"name\":\"a\",\"v\":1},{\"name\":\"b\",\"v\":2},{\"name\":\"c\",\"v\":3}]}"
#define TWINS "{\"items\":[{\"name\":\"a\",\"v\":1},{\"name\":\"a\",\"v\":2},{\"name\":\"c\",\"v\":3}]}"

static void test_strategic(void **state)
{
	(void)state;
	applies(strategic, ITEMS, "{\"items\":[{\"name\":\"b\",\"v\":9},{\"name\":\"d\",\"v\":4,\"x\":null}]}",
		"{\"items\":[{\"name\":\"a\",\"v\":1},{\"name\":\"b\",\"v\":9},{\"name\":\"d\",\"v\":4},{\"name\":\"c\",\"v\":3}]}");
	applies(strategic, ITEMS, "{\"items\":[{\"name\":\"b\",\"$patch\":\"delete\"},{\"name\":\"a\",\"v\":null}]}",
		"{\"items\":[{\"name\":\"a\"},{\"name\":\"c\",\"v\":3}]}");
	applies(strategic, ITEMS, "{\"items\":[{\"$patch\":\"replace\"},{\"name\":\"z\"}]}",
		"{\"items\":[{\"name\":\"z\"}]}");
	applies(strategic, ITEMS, "{\"items\":[{\"name\":\"a\",\"$patch\":\"replace\",\"v\":5}]}", "{\"items\":[]}");
	applies(strategic, ITEMS, "{\"items\":null,\"map\":{\"a\":\"b\"}}", "{\"map\":{\"a\":\"b\"}}");
	applies(strategic, ITEMS,
		"{\"$setElementOrder/items\":[{\"name\":\"c\"},{\"name\":\"a\"}],\"items\":[{\"name\":\"c\",\"v\":7}]}",
		"{\"items\":[{\"name\":\"b\",\"v\":2},{\"name\":\"c\",\"v\":7},{\"name\":\"a\",\"v\":1}]}");
	/* two of one key, as the ports of a DNS service: both stay, and what names one finds the first */
	applies(strategic, TWINS, "{\"items\":[{\"name\":\"c\",\"v\":7}]}",
		"{\"items\":[{\"name\":\"a\",\"v\":1},{\"name\":\"a\",\"v\":2},{\"name\":\"c\",\"v\":7}]}");
	applies(strategic, TWINS,
		"{\"$setElementOrder/items\":[{\"name\":\"c\"},{\"name\":\"a\"},{\"name\":\"a\"}],\"items\":[{\"name\":\"a\",\"v\":5}]}",
		"{\"items\":[{\"name\":\"c\",\"v\":3},{\"name\":\"a\",\"v\":5},{\"name\":\"a\",\"v\":2}]}");
	applies(strategic, "{\"set\":[\"a\",\"b\"],\"list\":[\"a\"]}", "{\"set\":[\"c\",\"a\"],\"list\":[\"c\"]}",
		"{\"set\":[\"c\",\"a\",\"b\"],\"list\":[\"c\"]}");
	applies(strategic, "{\"set\":[\"a\",\"b\",\"c\"]}",
		"{\"$deleteFromPrimitiveList/set\":[\"a\"],\"$setElementOrder/set\":[\"c\",\"b\",\"d\"],\"set\":[\"d\"]}",
		"{\"set\":[\"c\",\"b\",\"d\"]}");
	applies(strategic, "{\"strategy\":{\"type\":\"R\",\"rolling\":{\"a\":1}}}",
		"{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"X\"}}", "{\"strategy\":{\"type\":\"X\"}}");
	applies(strategic, "{\"map\":{\"a\":\"1\",\"b\":\"2\"}}", "{\"map\":{\"a\":null,\"c\":\"3\",\"d\":null}}",
		"{\"map\":{\"b\":\"2\",\"c\":\"3\"}}");
	applies(strategic, "{\"map\":{\"a\":\"1\"}}", "{\"map\":{\"$patch\":\"replace\",\"c\":\"3\"}}",
		"{\"map\":{\"c\":\"3\"}}");
	applies(strategic, "{\"map\":{\"a\":\"1\"}}", "{\"map\":{\"$patch\":\"delete\"}}", "{\"map\":{}}");
	applies(strategic, "{\"map\":{\"a\":\"1\"}}", "{\"map\":{\"$patch\":\"merge\",\"b\":\"2\"}}",
		"{\"map\":{\"a\":\"1\",\"b\":\"2\"}}");
	applies(strategic, "{\"x\":{\"a\":1,\"l\":[1]}}", "{\"x\":{\"b\":2,\"l\":[2]}}",
		"{\"x\":{\"a\":1,\"l\":[2],\"b\":2}}");
	applies(strategic, "{}", "{\"items\":[{\"name\":\"a\",\"$patch\":\"delete\"},{\"name\":\"b\",\"v\":null}]}",
		"{\"items\":[{\"name\":\"b\"}]}");
}

/* Elements are looked up, not searched: that would take minutes here. */
static void test_strategic_long_lists(void **state)
{
	(void)state;
	enum { N = 20000 };
	json_t *doc = json_object(), *patch = json_object(), *out = NULL;
	for (int i = 0; i < N; i++) {
		char name[16];
		snprintf(name, sizeof(name), "n%d", i);
		json_array_append_new(json_need_array(doc, "items"), json_make("{s:s, s:i}", "name", name, "v", i));
		json_array_append_new(json_need_array(doc, "set"), json_string(name));
		json_array_insert_new(json_need_array(patch, "set"), 0, json_string(name));
		if (i % 2)
			json_array_insert_new(json_need_array(patch, "items"), 0,
					      json_make("{s:s, s:s}", "name", name, "$patch", "delete"));
		else
			json_array_insert_new(json_need_array(patch, "items"), 0,
					      json_make("{s:s, s:i}", "name", name, "v", -i));
	}
	assert_int_equal(strategic(doc, patch, &out, NULL), 0);
	json_t *items = json_object_get(out, "items"), *set = json_object_get(out, "set");
	assert_int_equal(json_array_size(items), N / 2);
	assert_int_equal(json_array_size(set), N);
	assert_string_equal(json_get_str(json_array_get(items, 0), "name", ""), "n19998");
	assert_int_equal(json_get_int(json_array_get(items, 1), "v", 0), -19996);
	assert_string_equal(json_string_value(json_array_get(set, 0)), "n19999");
	json_decref(doc);
	json_decref(patch);
	json_decref(out);
}

static void test_strategic_refused(void **state)
{
	(void)state;
	refused(strategic, ITEMS, "{\"items\":[{\"v\":1}]}", ERR_BAD_REQUEST, "merge key \"name\"");
	refused(strategic, ITEMS, "{\"items\":[{\"$patch\":\"delete\"}]}", ERR_BAD_REQUEST, "merge key");
	refused(strategic, ITEMS, "{\"items\":[1]}", ERR_BAD_REQUEST, "must be objects");
	refused(strategic, ITEMS, "{\"items\":[{\"$patch\":\"zap\"}]}", ERR_BAD_REQUEST, "unknown $patch");
	refused(strategic, "{\"map\":{}}", "{\"map\":{\"$patch\":1}}", ERR_BAD_REQUEST, "unknown $patch");
	refused(strategic, "{\"strategy\":{}}", "{\"strategy\":{\"$retainKeys\":[\"a\"],\"b\":1}}", ERR_BAD_REQUEST,
		"$retainKeys");
	refused(strategic, ITEMS,
		"{\"$setElementOrder/items\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"items\":[{\"name\":\"b\"},{\"name\":\"a\"}]}",
		ERR_BAD_REQUEST, "order");
	refused(strategic, "{}", "[]", ERR_BAD_REQUEST, "object");
}

/* ---- three-way ---- */

static void three_way(const struct schema *s, const char *original, const char *modified, const char *current,
		      const char *want)
{
	json_t *o = J(original), *m = J(modified), *c = J(current), *patch = NULL;
	struct err err = ERR_INIT;
	if (patch_three_way(s, o, m, c, &patch, &err))
		fail_msg("%s", err.message);
	assert_json_equal(patch, J(want));
	json_decref(o);
	json_decref(m);
	json_decref(c);
}

static void test_three_way(void **state)
{
	(void)state;
	three_way(&top, "{\"map\":{\"a\":\"1\",\"b\":\"2\"}}", "{\"map\":{\"a\":\"1\"}}",
		  "{\"map\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"server\"}}", "{\"map\":{\"b\":null}}");
	three_way(&top, "{\"map\":{\"a\":\"1\"}}", "{\"map\":{\"a\":\"1\"}}", "{\"map\":{\"a\":\"1\",\"c\":\"s\"}}",
		  "{}");
	three_way(&top, "{}", "{\"map\":{\"a\":\"2\"},\"n\":1}", "{\"map\":{\"a\":\"1\"}}",
		  "{\"map\":{\"a\":\"2\"},\"n\":1}");
	three_way(
		&top, "{\"items\":[{\"name\":\"a\",\"v\":1},{\"name\":\"b\"}]}",
		"{\"items\":[{\"name\":\"a\",\"v\":2},{\"name\":\"d\"}]}",
		"{\"items\":[{\"name\":\"a\",\"v\":1},{\"name\":\"b\"},{\"name\":\"s\"}]}",
		"{\"$setElementOrder/items\":[{\"name\":\"a\"},{\"name\":\"d\"}],\"items\":[{\"v\":2,\"name\":\"a\"},{\"name\":\"d\"},"
		"{\"name\":\"b\",\"$patch\":\"delete\"}]}");
	three_way(&top, "{\"set\":[\"a\",\"b\"]}", "{\"set\":[\"a\",\"c\"]}", "{\"set\":[\"a\",\"b\",\"s\"]}",
		  "{\"$setElementOrder/set\":[\"a\",\"c\"],\"set\":[\"c\"],\"$deleteFromPrimitiveList/set\":[\"b\"]}");
	three_way(&top, "{\"strategy\":{\"type\":\"R\",\"rolling\":{}}}", "{\"strategy\":{\"type\":\"X\"}}",
		  "{\"strategy\":{\"type\":\"R\",\"rolling\":{\"s\":1}}}",
		  "{\"strategy\":{\"rolling\":null,\"$retainKeys\":[\"type\"],\"type\":\"X\"}}");
	three_way(&top, "{\"list\":[\"a\"]}", "{\"list\":[\"b\"]}", "{\"list\":[\"a\"]}", "{\"list\":[\"b\"]}");
	three_way(&top, TWINS, TWINS, TWINS, "{}");
	/* without a schema, lists are replaced */
	three_way(NULL, "{\"items\":[1],\"x\":1}", "{\"items\":[2]}", "{\"items\":[1],\"x\":1,\"y\":1}",
		  "{\"items\":[2],\"x\":null}");
}

#define CONTAINERS(c) "\"template\":{\"spec\":{\"containers\":[" c "]}}"
#define WAS                                                                                                                   \
	"{\"spec\":{\"replicas\":2,\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}}," CONTAINERS( \
		"{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":80}]},{\"name\":\"d\",\"image\":\"i\"}") "}}"
#define IS                                                                                                             \
	"{\"spec\":{\"replicas\":2,\"strategy\":{\"type\":\"Recreate\"}," CONTAINERS(                                  \
		"{\"name\":\"c\",\"image\":\"j\"},{\"name\":\"e\",\"image\":\"i\"}") "}}"

/* The body that kubectl 1.27 to 1.33 all send for this change. */
static void test_three_way_like_kubectl(void **state)
{
	(void)state;
	const struct kind *k = kind_by_word("deployments.apps");
	three_way(
		k->schema, WAS, IS, WAS,
		"{\"spec\":{\"strategy\":{\"$retainKeys\":[\"type\"],\"rollingUpdate\":null,\"type\":\"Recreate\"},"
		"\"template\":{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"e\"}],\"containers\":["
		"{\"image\":\"j\",\"name\":\"c\",\"ports\":null},{\"image\":\"i\",\"name\":\"e\"},{\"$patch\":\"delete\","
		"\"name\":\"d\"}]}}}}");
}

/* Whatever the three are: applying the patch gives what was wanted, and doing it twice changes nothing. */
static void test_three_way_then_apply(void **state)
{
	(void)state;
	static const char *const docs[] = {
		"{}",
		ITEMS,
		"{\"items\":[{\"name\":\"c\",\"tags\":[\"x\"]},{\"name\":\"a\",\"v\":2,\"tags\":[\"y\",\"z\"]}],\"set\":[\"q\"]}",
		"{\"set\":[\"a\",\"b\"],\"map\":{\"k\":\"v\"},\"strategy\":{\"type\":\"R\",\"rolling\":{\"m\":1}}}",
		"{\"set\":[\"b\",\"c\",\"a\"],\"strategy\":{\"type\":\"X\"},\"list\":[\"1\"],\"items\":[{\"name\":\"q\",\"tags\":[\"y\"]}]}",
	};
	size_t n = ARRAY_LEN(docs);
	for (size_t i = 0; i < n * n; i++) {
		json_t *from = J(docs[i / n]), *to = J(docs[i % n]), *patch = NULL, *got = NULL, *again = NULL;
		assert_int_equal(patch_three_way(&top, from, to, from, &patch, NULL), 0);
		assert_int_equal(patch_strategic(&top, from, patch, &got, NULL), 0);
		assert_int_equal(patch_three_way(&top, to, to, got, &again, NULL), 0);
		assert_json_equal(again, J("{}"));
		/* what the deletion of all members leaves behind: empty containers, which mean the same */
		const char *key;
		json_t *v;
		json_object_foreach(to, key, v)
		{
			char *a = text_of(json_object_get(got, key)), *b = text_of(v);
			if (!json_equal(json_object_get(got, key), v))
				fail_msg("%zu: %s: got %s, want %s", i, key, a, b);
			free(a);
			free(b);
		}
		json_decref(from);
		json_decref(to);
		json_decref(patch);
		json_decref(got);
	}
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_patch),
		cmocka_unit_test(test_json_patch_negative),
		cmocka_unit_test(test_json_patch_bounds),
		cmocka_unit_test(test_merge_patch),
		cmocka_unit_test(test_strategic),
		cmocka_unit_test(test_strategic_long_lists),
		cmocka_unit_test(test_strategic_refused),
		cmocka_unit_test(test_three_way),
		cmocka_unit_test(test_three_way_like_kubectl),
		cmocka_unit_test(test_three_way_then_apply),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
