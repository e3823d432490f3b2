/* The API server from outside: real store, TLS, HTTP; and the direct client beside it. */
#include <strings.h>

#include "tests/support/tap.h"

#include "tests/support/apiserver/api.h"

static int setup(void **state)
{
	static struct api f;
	api_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	api_done(*state);
	return 0;
}

#define CM "/api/v1/namespaces/default/configmaps"

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

static void watch_sees_changes(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	struct api_answer *a = api_get(f, CM);
	_cleanup_free_ char *target = xasprintf(CM "?watch=1&labelSelector=app%%3Dx&resourceVersion=%s",
						api_str(a, "metadata.resourceVersion"));
	api_watch_start(f, &w, f->admin, target);
	api_post(f, CM, "{\"metadata\":{\"name\":\"w\"}}");
	api_post(f, CM, "{\"metadata\":{\"name\":\"x\",\"labels\":{\"app\":\"x\"}}}");
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "x");
	/* into the selector, and out again */
	api_call(f, f->admin, "PATCH", CM "/w", "Content-Type: application/merge-patch+json",
		 "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "w");
	api_call(f, f->admin, "PATCH", CM "/w", "Content-Type: application/merge-patch+json",
		 "{\"metadata\":{\"labels\":{\"app\":\"y\"}}}");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "DELETED");
	api_call(f, f->admin, "DELETE", CM "/x", NULL, NULL);
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "DELETED");
	assert_string_equal(meta_name(json_object_get(e, "object")), "x");
	api_watch_stop(&w);
	api_call(f, f->admin, "DELETE", CM "/w", NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_map_life),
		cmocka_unit_test(watch_sees_changes),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
