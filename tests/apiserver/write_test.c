/* Creating, changing and reading back objects, scales among them; and what is refused. */
#include "lib/core/utf8.h"
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static void config_map_life(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(f, CM, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "kind"), "ConfigMap");
	assert_string_equal(api_str(a, "metadata.namespace"), "default");
	assert_int_equal(strlen(api_str(a, "metadata.uid")), 36);
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"a\"}}");
	assert_int_equal(a->status, 409);
	assert_string_equal(api_str(a, "message"), "configmaps \"a\" already exists");
	a = api_get(f, CM "/a");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "data.k"), "v");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_get(f, CM);
	assert_string_equal(api_str(a, "kind"), "ConfigMapList");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "a");
	assert_string_equal(api_str(a, "items.0.metadata.resourceVersion"), rv);
	_cleanup_free_ char *body =
		xasprintf("{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"},\"data\":{\"k\":\"w\"}}", rv);
	a = api_call(f, f->admin, "PUT", CM "/a", NULL, body);
	assert_int_equal(a->status, 200);
	assert_string_not_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_call(f, f->admin, "PUT", CM "/a", NULL, body);
	assert_int_equal(a->status, 409);
	assert_string_equal(
		api_str(a, "message"),
		"Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply "
		"your changes to the latest version and try again");
	a = api_call(f, f->admin, "PATCH", CM "/a", "Content-Type: application/merge-patch+json",
		     "{\"data\":{\"k\":null,\"l\":\"x\"}}");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "data.l"), "x");
	assert_string_equal(api_str(a, "data.k"), "");
	a = api_call(f, f->admin, "DELETE", CM "/a", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "status"), "Success");
	a = api_get(f, CM "/a");
	assert_int_equal(a->status, 404);
	assert_string_equal(api_str(a, "message"), "configmaps \"a\" not found");
	assert_string_equal(api_str(a, "reason"), "NotFound");
	assert_string_equal(api_str(a, "details.kind"), "configmaps");
}

static void bad_input(void **state)
{
	struct api *f = *state;
	struct api_answer *a =
		api_post(f, CM "?fieldValidation=Strict", "{\"metadata\":{\"name\":\"b\"},\"dota\":{},\"data\":{}}");
	assert_int_equal(a->status, 400);
	assert_string_equal(api_str(a, "message"),
			    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding "
			    "error: unknown field \"dota\"");
	a = api_post(f, CM, "{\"metadata\":{\"name\":\"b\"},\"dota\":{},\"data\":{}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(a->warning, "299 - \"unknown field \\\"dota\\\"\"");
	assert_int_equal(api_post(f, CM, "{\"metadata\":{\"name\":\"B\"}}")->status, 422);
	assert_int_equal(api_post(f, CM, "{\"metadata\":")->status, 400);
	assert_int_equal(api_post(f, CM, "[]")->status, 400);
	assert_int_equal(api_post(f, CM, "")->status, 400);
	assert_int_equal(api_post(f, CM, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}")->status, 400);
	assert_int_equal(api_call(f, f->admin, "POST", CM, "Content-Type: text/html", "x")->status, 415);
	assert_int_equal(api_call(f, f->admin, "GET", CM, "Accept: text/html", NULL)->status, 406);
	assert_int_equal(api_call(f, f->admin, "PUT", CM, NULL, "{}")->status, 405);
	assert_int_equal(api_get(f, "/api/v1/nonsense")->status, 404);
	assert_int_equal(api_get(f, "/nonsense")->status, 404);
	assert_int_equal(api_get(f, CM "/b/nonsense")->status, 404);
	assert_int_equal(api_get(f, CM "?labelSelector=%3D%3D")->status, 400);
	assert_int_equal(api_get(f, CM "?limit=x")->status, 400);
	assert_int_equal(api_get(f, CM "?continue=zzz")->status, 400);
	_cleanup_free_ char *big = xmalloc((3u << 20) + 1024);
	memset(big, ' ', (3u << 20) + 1023);
	big[(3u << 20) + 1023] = 0;
	a = api_post(f, CM, big);
	assert_int_equal(a->status, 413);
	assert_string_equal(api_str(a, "message"), "Request entity too large: limit is 3145728");
	a = api_call(f, f->admin, "POST", CM, "Content-Type: application/yaml",
		     "metadata:\n  name: yam\ndata:\n  a: b\n");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "data.a"), "b");
	api_call(f, f->admin, "DELETE", CM "/yam", NULL, NULL);
	api_call(f, f->admin, "DELETE", CM "/b", NULL, NULL);
	/* long values that are no ASCII come back cut short: what is left is UTF-8 */
	for (size_t pad = 0; pad < 2; pad++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		buf_adds(&b, pad ? "{\"metadata\":{\"name\":\"u\",\"labels\":{\"x\":\"a"
				 : "{\"metadata\":{\"name\":\"u\",\"labels\":{\"x\":\"");
		for (int i = 0; i < 1000; i++)
			buf_adds(&b, "\u00e9");
		buf_adds(&b, "\"}}}");
		struct api_answer *cut = api_post(f, CM, buf_str(&b));
		assert_int_equal(cut->status, 422);
		assert_true(utf8_valid(cut->body.data, cut->body.len));
	}
}

static void scales(void **state)
{
	struct api *f = *state;
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"
	struct api_answer *a = api_post(
		f, DEPLOY,
		"{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":"
		"{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "metadata.generation"), "1");
	assert_string_equal(api_str(a, "spec.replicas"), "1");
	a = api_get(f, DEPLOY "/d/scale");
	assert_string_equal(api_str(a, "kind"), "Scale");
	assert_string_equal(api_str(a, "status.selector"), "a=b");
#define AS_TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"
	a = api_call(f, f->admin, "GET", DEPLOY "/d/scale", AS_TABLE, NULL);
	assert_string_equal(api_str(a, "columnDefinitions.1.name"), "Desired");
	assert_string_equal(api_str(a, "rows.0.cells.1"), "1");
	a = api_call(f, f->admin, "GET", DEPLOY "/d/status", AS_TABLE, NULL);
	assert_string_equal(api_str(a, "columnDefinitions.2.name"), "Up-to-date");
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d/scale", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"replicas\":4}}");
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "spec.replicas"), "4");
	a = api_call(
		f, f->admin, "PUT", DEPLOY "/d/scale", NULL,
		"{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":-1}}");
	assert_int_equal(a->status, 422);
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/strategic-merge-patch+json",
		     "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"j\"}]}}}}");
	assert_string_equal(api_str(a, "metadata.generation"), "3");
	assert_string_equal(api_str(a, "spec.template.spec.containers.0.image"), "j");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	/* nothing changes: nothing is written */
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"replicas\":4}}");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"resourceVersion\":\"2\"},\"spec\":{\"replicas\":5}}");
	assert_int_equal(a->status, 409);
	a = api_call(f, f->admin, "PATCH", DEPLOY "/d", "Content-Type: application/apply-patch+yaml", "{}");
	assert_int_equal(a->status, 415);
	api_call(f, f->admin, "DELETE", DEPLOY "/d", NULL, NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(config_map_life),
	cmocka_unit_test(bad_input),
	cmocka_unit_test(scales),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
