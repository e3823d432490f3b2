/* Deletion: grace, finalizers, whole namespaces. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static void binding_and_grace(void **state)
{
	struct api *f = *state;
	api_default_account(f);
	api_post(f, PODS,
		 "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	struct api_answer *a = api_post(f, PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "kind"), "Status");
	a = api_post(f, PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n2\"}}");
	assert_int_equal(a->status, 409);
	a = api_get(f, PODS "/p");
	assert_string_equal(api_str(a, "spec.nodeName"), "n1");
	assert_string_equal(api_str(a, "status.conditions.0.type"), "PodScheduled");
	a = api_get(f, PODS "?fieldSelector=spec.nodeName%3Dn1");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "p");
	a = api_get(f, PODS "?fieldSelector=spec.nodeName%3Dn2");
	assert_string_equal(api_str(a, "items.0.metadata.name"), "");
	assert_int_equal(api_get(f, PODS "?fieldSelector=spec.foo%3Dn2")->status, 400);
	/* with a node it is only marked */
	a = api_call(f, f->admin, "DELETE", PODS "/p", NULL, NULL);
	assert_string_equal(api_str(a, "metadata.deletionGracePeriodSeconds"), "30");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	a = api_call(f, f->admin, "DELETE", PODS "/p?gracePeriodSeconds=60", NULL, NULL); /* never later */
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	a = api_call(f, f->admin, "DELETE", PODS "/p", NULL, "{\"preconditions\":{\"uid\":\"x\"}}");
	assert_int_equal(a->status, 409);
	a = api_call(f, f->admin, "PATCH", PODS "/p/status", "Content-Type: application/merge-patch+json",
		     "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"nodeName\":\"zzz\"}}");
	assert_string_equal(api_str(a, "status.phase"), "Running");
	assert_string_equal(api_str(a, "spec.nodeName"), "n1");
	a = api_call(f, f->admin, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_int_equal(api_get(f, PODS "/p")->status, 404);
}

static void finalizers_hold(void **state)
{
	struct api *f = *state;
	api_post(f, CM, "{\"metadata\":{\"name\":\"fin\",\"finalizers\":[\"a.b/c\"]}}");
	struct api_answer *a =
		api_call(f, f->admin, "DELETE", CM "/fin", NULL, "{\"propagationPolicy\":\"Foreground\"}");
	assert_int_equal(a->status, 200);
	assert_string_not_equal(api_str(a, "metadata.deletionTimestamp"), "");
	assert_string_equal(api_str(a, "metadata.finalizers.1"), "foregroundDeletion");
	a = api_call(f, f->admin, "PATCH", CM "/fin", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"finalizers\":null}}");
	assert_int_equal(a->status, 200);
	assert_int_equal(api_get(f, CM "/fin")->status, 404);
}

static void namespaces_end(void **state)
{
	struct api *f = *state;
	assert_int_equal(api_post(f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}")->status, 201);
	assert_int_equal(api_post(f, "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"a\"}}")->status,
			 201);
	struct api_answer *a = api_post(f, "/api/v1/namespaces/none/configmaps", "{\"metadata\":{\"name\":\"a\"}}");
	assert_int_equal(a->status, 404);
	assert_string_equal(api_str(a, "message"), "namespaces \"none\" not found");
	a = api_call(f, f->admin, "DELETE", "/api/v1/namespaces/n", NULL, NULL);
	assert_string_equal(api_str(a, "status.phase"), "Terminating");
	a = api_post(f, "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"b\"}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "configmaps \"b\" is forbidden: unable to create new content in namespace n "
			    "because it is being terminated");
	assert_string_equal(api_str(a, "details.causes.0.reason"), "NamespaceTerminating");
	a = api_call(f, f->admin, "PUT", "/api/v1/namespaces/n/finalize", NULL,
		     "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"},\"spec\":{}}");
	assert_int_equal(a->status, 200);
	assert_int_equal(api_get(f, "/api/v1/namespaces/n")->status, 404);
	assert_int_equal(api_call(f, f->admin, "DELETE", "/api/v1/namespaces/default", NULL, NULL)->status, 403);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(binding_and_grace),
	cmocka_unit_test(finalizers_hold),
	cmocka_unit_test(namespaces_end),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
