#include <time.h>

#include "lib/api/schema.h"
#include "tests/lib/api/test_support.h"

static json_t *v3(const char *group, const char *version)
{
	struct buf b = BUF_INIT;
	openapi_v3_write(&b, group, version);
	json_t *doc = J(b.data);
	buf_done(&b);
	return doc;
}

static json_t *v2(void)
{
	struct buf b = BUF_INIT;
	openapi_v2_write(&b);
	json_t *doc = J(b.data);
	buf_done(&b);
	return doc;
}

/* Every $ref leads somewhere. */
static void check_refs(const json_t *v, const json_t *definitions)
{
	const char *key, *ref = json_get_str(v, "$ref", NULL);
	json_t *item;
	size_t i;

	if (ref && !json_object_get(definitions, strrchr(ref, '/') + 1))
		fail_msg("dangling %s", ref);
	json_object_foreach((json_t *)v, key, item) check_refs(item, definitions);
	json_array_foreach(v, i, item) check_refs(item, definitions);
}

static bool has_parameter(const json_t *op, const char *name)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(op, "parameters"), i, p)
	{
		if (streq(json_get_str(p, "name", ""), name))
			return true;
	}
	return false;
}

static void test_v3(void **state)
{
	(void)state;
	json_t *doc = v3("apps", "v1");
	json_t *schemas = json_path(doc, "components", "schemas", NULL);
	check_refs(doc, schemas);
	json_t *d = json_object_get(schemas, "io.k8s.api.apps.v1.Deployment");
	assert_json_equal(json_incref(json_object_get(d, "x-kubernetes-group-version-kind")),
			  J("[{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}]"));
	json_t *containers = json_path(schemas, "io.k8s.api.core.v1.PodSpec", "properties", "containers", NULL);
	assert_string_equal(json_get_str(containers, "x-kubernetes-patch-merge-key", ""), "name");
	assert_string_equal(json_get_str(containers, "x-kubernetes-patch-strategy", ""), "merge");
	assert_string_equal(
		json_get_str(json_path(schemas, "io.k8s.api.apps.v1.DeploymentSpec", "properties", "strategy", NULL),
			     "x-kubernetes-patch-strategy", ""),
		"retainKeys");
	json_t *patch =
		json_path(doc, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch", NULL);
	assert_true(has_parameter(patch, "fieldValidation"));
	assert_true(has_parameter(patch, "dryRun"));
	assert_string_equal(json_get_str(json_object_get(patch, "x-kubernetes-group-version-kind"), "kind", ""),
			    "Deployment");
	assert_null(json_object_get(schemas, "io.k8s.api.core.v1.ConfigMap"));
	json_decref(doc);
	doc = v3("", "v1");
	const json_t *del = json_path(doc, "paths", "/api/v1/namespaces/{namespace}/pods/{name}", "delete", NULL);
	assert_string_equal(json_get_str(json_path(del, "requestBody", "content", "*/*", "schema", NULL), "$ref", ""),
			    "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
	assert_string_equal(
		json_get_str(json_path(del, "responses", "200", "content", "application/json", "schema", NULL), "$ref",
			     ""),
		"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Status");
	assert_non_null(json_path(doc, "components", "schemas", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
				  "properties", "propagationPolicy", NULL));
	assert_non_null(json_path(doc, "paths", "/api/v1/namespaces/{name}", "patch", NULL));
	assert_non_null(json_path(doc, "paths", "/api/v1/namespaces/{namespace}/pods", "post", NULL));
	json_decref(doc);
}

static void test_v2(void **state)
{
	(void)state;
	json_t *doc = v2();
	check_refs(doc, json_object_get(doc, "definitions"));
	for (const struct kind *const *k = kinds_all; *k; k++) {
		_cleanup_free_ char *name = xasprintf("io.k8s.%s", (*k)->schema->name);
		assert_non_null(json_path(doc, "definitions", name, "x-kubernetes-group-version-kind", NULL));
	}
	json_decref(doc);
}

static void test_pb(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct timespec t0, t1;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	openapi_v2_write_pb(&b);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	print_message("# %zu bytes, %ld us\n", b.len,
		      (t1.tv_sec - t0.tv_sec) * 1000000 + (t1.tv_nsec - t0.tv_nsec) / 1000);
	assert_memory_equal(b.data,
			    "\x0a\x03"
			    "2.0\x12",
			    6);
	assert_true(b.len > 10000);
	buf_done(&b);
}

int main(int argc, char **argv)
{
	/* for trying a document with other tools: openapi_test v2|v2pb|GROUP VERSION */
	struct buf b = BUF_INIT;
	if (argc > 1) {
		if (streq(argv[1], "v2"))
			openapi_v2_write(&b);
		else if (streq(argv[1], "v2pb"))
			openapi_v2_write_pb(&b);
		else if (argc > 2)
			openapi_v3_write(&b, argv[1], argv[2]);
		fwrite(b.data, 1, b.len, stdout);
		buf_done(&b);
		return 0;
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v3),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_pb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
