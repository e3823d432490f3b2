#include <errno.h>

#include "lib/api/object.h"
#include "tests/lib/api/test_support.h"

static const char pod_text[] =
	"{\"spec\":{\"nodeName\":\"n1\"},\"metadata\":{\"labels\":{\"a\":\"b\"},\"uid\":\"u-1\",\"name\":\"web\","
	"\"resourceVersion\":\"42\",\"namespace\":\"default\"},\"apiVersion\":\"v1\",\"kind\":\"Pod\"}";

static char *written(const struct object *o)
{
	struct buf b = BUF_INIT;
	object_write(&b, o);
	return buf_steal(&b);
}

static void test_serialized_form(void **state)
{
	(void)state;
	struct object *o = NULL;
	assert_int_equal(object_parse(pod_text, strlen(pod_text), &o, NULL), 0);
	assert_string_equal(o->kind->kind, "Pod");
	assert_string_equal(o->name, "web");
	assert_string_equal(o->ns, "default");
	assert_string_equal(o->uid, "u-1");
	assert_int_equal(o->rv, 42);
	assert_string_equal(
		o->bytes->data,
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\","
		"\"uid\":\"u-1\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"nodeName\":\"n1\"}}");
	char *text = written(o);
	assert_non_null(strstr(text, "\"metadata\":{\"resourceVersion\":\"42\",\"name\":\"web\""));
	assert_json_equal(J(text), J(pod_text));
	free(text);
	object_unref(o);
}

static void from_bytes(const char *bytes, uint64_t rv, const char *name, const char *ns, const char *uid)
{
	struct blob *b = blob_new(bytes, strlen(bytes));
	struct object *o = NULL;
	assert_int_equal(object_from_bytes(NULL, b, rv, &o, NULL), 0);
	assert_string_equal(o->name, name);
	assert_string_equal(o->ns, ns);
	assert_string_equal(o->uid, uid);
	char *text = written(o);
	json_t *tree = object_tree(o), *parsed = J(text);
	assert_true(json_equal(tree, parsed));
	char want[32];
	snprintf(want, sizeof(want), "%llu", (unsigned long long)rv);
	assert_string_equal(json_get_str(json_path(parsed, "metadata", NULL), "resourceVersion", ""), want);
	json_decref(tree);
	json_decref(parsed);
	free(text);
	object_unref(o);
	blob_unref(b);
}

static void test_from_bytes(void **state)
{
	(void)state;
	from_bytes(
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\"}}",
		7, "a", "n", "u");
	from_bytes("{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"x\":1}}", 7,
		   "a", "", "u");
	/* not our writer's: whitespace, order, escapes, a version inside */
	from_bytes("{ \"metadata\": {\"resourceVersion\":\"3\",\"uid\":\"u\",\"name\":\"a\"}}", 7, "a", "", "u");
	from_bytes("{\"metadata\":{\"name\":\"a\\u0062\",\"uid\":\"u\"}}", 7, "ab", "", "u");
	from_bytes("{\"metadata\":{}}", 7, "", "", "");
	from_bytes("{\"a\":1}", 7, "", "", "");
	static const char *const bad[] = {"", "[]", "{", "{\"metadata\":{\"name\":\"a", "{} x"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct blob *b = blob_new(bad[i], strlen(bad[i]));
		struct object *o = NULL;
		assert_int_equal(object_from_bytes(NULL, b, 1, &o, NULL), -EPROTO);
		assert_null(o);
		blob_unref(b);
	}
}

static void test_scan_is_taken(void **state)
{
	(void)state;
	/* our own form shares the bytes: no parse, no copy */
	struct object *o = NULL, *again = NULL;
	object_parse(pod_text, strlen(pod_text), &o, NULL);
	assert_int_equal(object_from_bytes(o->kind, o->bytes, 43, &again, NULL), 0);
	assert_ptr_equal(o->bytes, again->bytes);
	assert_int_equal(o->rv_offset, again->rv_offset);
	assert_null(again->tree);
	object_unref(o);
	json_t *tree = object_tree(again);
	assert_string_equal(json_get_str(json_path(tree, "metadata", NULL), "resourceVersion", ""), "43");
	json_decref(tree);
	object_unref(again);
}

static void test_cache(void **state)
{
	(void)state;
	struct object *o[4];
	for (int i = 0; i < 4; i++)
		object_parse(pod_text, strlen(pod_text), &o[i], NULL);
	object_cache_limit(2);
	assert_null(o[0]->tree);
	assert_null(o[1]->tree);
	assert_non_null(o[2]->tree);
	json_t *tree = object_tree(o[2]); /* now the most recently used */
	json_t *other = object_tree(o[0]);
	assert_null(o[3]->tree);
	assert_ptr_equal(tree, o[2]->tree);
	assert_true(json_equal(tree, other));
	json_decref(tree);
	json_decref(other);
	object_cache_limit(0);
	tree = object_tree(o[1]);
	assert_null(o[1]->tree);
	assert_string_equal(meta_name(tree), "web");
	json_decref(tree);
	object_cache_limit(256);
	for (int i = 0; i < 4; i++)
		object_unref(o[i]);
}

static void test_version_set_later(void **state)
{
	(void)state;
	json_t *tree = J("{\"metadata\":{\"name\":\"a\"}}");
	struct object *o = object_from_tree(NULL, tree);
	o->rv = 9;
	json_t *seen = object_tree(o);
	assert_string_equal(json_get_str(json_path(seen, "metadata", NULL), "resourceVersion", ""), "9");
	assert_null(json_path(tree, "metadata", "resourceVersion", NULL));
	json_t *copy = object_edit(o);
	json_put_str(json_need_object(copy, "metadata"), "name", "b");
	assert_string_equal(meta_name(seen), "a");
	json_decref(copy);
	json_decref(seen);
	json_decref(tree);
	object_unref(o);
}

static void test_meta(void **state)
{
	(void)state;
	json_t *t = J("{\"metadata\":{\"labels\":{\"a\":\"b\"},\"annotations\":{\"c\":\"d\"},\"generation\":3,"
		      "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"ownerReferences\":[{\"uid\":\"1\"},"
		      "{\"uid\":\"2\",\"controller\":true}]}}");
	assert_string_equal(meta_label(t, "a"), "b");
	assert_null(meta_label(t, "x"));
	assert_string_equal(meta_annotation(t, "c"), "d");
	assert_string_equal(meta_name(t), "");
	assert_int_equal(meta_generation(t), 3);
	assert_true(meta_deleting(t));
	assert_string_equal(json_get_str(meta_controller(t), "uid", ""), "2");
	json_decref(t);
	struct object *o = NULL;
	object_parse(pod_text, strlen(pod_text), &o, NULL);
	assert_json_equal(meta_owned_by(o),
			  J("[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"web\",\"uid\":\"u-1\",\"controller\":"
			    "true,\"blockOwnerDeletion\":true}]"));
	object_unref(o);
}

static void test_status(void **state)
{
	(void)state;
	struct err err = ERR_INIT, back = ERR_INIT;
	err_add_cause(&err, "FieldValueRequired", "spec.a", "Required value");
	snprintf(err.name, sizeof(err.name), "x");
	snprintf(err.kind, sizeof(err.kind), "Deployment");
	snprintf(err.group, sizeof(err.group), "apps");
	snprintf(err.message, sizeof(err.message), "no");
	json_t *status = status_from_err(&err);
	char *text = text_of(status);
	assert_string_equal(text, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
				  "\"message\":\"no\",\"reason\":\"Invalid\",\"details\":{\"name\":\"x\",\"group\":"
				  "\"apps\",\"kind\":\"Deployment\",\"causes\":[{\"reason\":\"FieldValueRequired\","
				  "\"message\":\"Required value\",\"field\":\"spec.a\"}]},\"code\":422}");
	err_from_status(status, 500, &back);
	assert_int_equal(back.reason, ERR_INVALID);
	assert_int_equal(back.code, err.code);
	assert_string_equal(back.message, "no");
	assert_string_equal(back.name, "x");
	assert_int_equal(back.n_causes, 1);
	assert_string_equal(back.causes[0].field, "spec.a");
	json_decref(status);
	free(text);
	err_done(&err);
	err_done(&back);
	/* an answer that is no Status at all */
	err_from_status(NULL, 404, &back);
	assert_int_equal(back.reason, ERR_NOT_FOUND);
	err_done(&back);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_serialized_form),
		cmocka_unit_test(test_from_bytes),
		cmocka_unit_test(test_scan_is_taken),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_version_set_later),
		cmocka_unit_test(test_meta),
		cmocka_unit_test(test_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
