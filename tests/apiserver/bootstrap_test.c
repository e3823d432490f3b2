/* What a server makes at its start, mends, and finds again. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

/* The service of the API and the cluster's own namespaces come back when somebody deletes them, without a restart. */
static void vital_objects_come_back(void **state)
{
	static const struct {
		const char *list, *name;
	} rows[] = {{"/api/v1/namespaces/default/services", "kubernetes"}, {"/api/v1/namespaces", "kube-node-lease"}};
	struct api *f = *state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_watch w;
		_cleanup_free_ char *one = xasprintf("%s/%s", rows[i].list, rows[i].name);
		_cleanup_free_ char *rv = xstrdup(api_str(api_get(f, rows[i].list), "metadata.resourceVersion"));
		_cleanup_free_ char *target =
			xasprintf("%s?watch=1&fieldSelector=metadata.name%%3D%s&resourceVersion=%s", rows[i].list,
				  rows[i].name, rv);
		api_watch_start(f, &w, f->admin, target);
		assert_int_equal(api_call(f, f->admin, "DELETE", one, NULL, NULL)->status, 200);
		if (i == 1)
			api_call(
				f, f->admin, "PUT", "/api/v1/namespaces/kube-node-lease/finalize", NULL,
				"{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kube-node-lease\"},"
				"\"spec\":{}}");
		json_t *e = NULL;
		do {
			e = api_watch_next(f, &w);
			assert_non_null(e);
		} while (!streq(json_get_str(e, "type", ""), "ADDED"));
		assert_string_equal(meta_name(json_object_get(e, "object")), rows[i].name);
		api_watch_stop(&w);
	}
	assert_string_equal(api_str(api_get(f, "/api/v1/namespaces/default/services/kubernetes"), "spec.clusterIP"),
			    "10.96.0.1");
}

static void bootstrap_roles_are_mended(void **state)
{
	struct api *f = *state;
#define ROLE "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node-proxier"
	struct api_answer *a = api_get(f, ROLE);
	size_t n = json_array_size(json_object_get(a->json, "rules"));
	assert_true(n > 1);
	api_call(f, f->admin, "PATCH", ROLE, "Content-Type: application/merge-patch+json",
		 "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"get\"]}]}");
	api_restart(f);
	a = api_get(f, ROLE);
	assert_int_equal(json_array_size(json_object_get(a->json, "rules")), n + 1); /* and what was added stays */
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	api_restart(f);
	assert_string_equal(api_str(api_get(f, ROLE), "metadata.resourceVersion"), rv);
}

static void restart_keeps_all(void **state)
{
	struct api *f = *state;
	struct api_watch w;
	api_post(f, CM, "{\"metadata\":{\"name\":\"kept\"}}");
	struct api_answer *a = api_get(f, CM "/kept");
	_cleanup_free_ char *rv = xstrdup(api_str(a, "metadata.resourceVersion"));
	api_post(f, CM, "{\"metadata\":{\"name\":\"kept2\"}}");
	api_restart(f);
	a = api_get(f, CM "/kept");
	assert_string_equal(api_str(a, "metadata.resourceVersion"), rv);
	/* a revision from before this server's time: a watch of its own */
	_cleanup_free_ char *target = xasprintf(CM "?watch=1&resourceVersion=%s", rv);
	api_watch_start(f, &w, f->admin, target);
	json_t *e = api_watch_next(f, &w);
	assert_string_equal(meta_name(json_object_get(e, "object")), "kept2");
	api_watch_stop(&w);
	/* and the present state, then what comes */
	api_watch_start(f, &w, f->admin, CM "?watch=1&fieldSelector=metadata.name%3Dkept&timeoutSeconds=1");
	e = api_watch_next(f, &w);
	assert_string_equal(json_get_str(e, "type", ""), "ADDED");
	assert_null(api_watch_next(f, &w)); /* its time is up */
	api_watch_stop(&w);
	api_call(f, f->admin, "DELETE", CM "/kept", NULL, NULL);
	api_call(f, f->admin, "DELETE", CM "/kept2", NULL, NULL);
}

/* A member that is far behind does not hear in time what became of its writes: it looks again, and does not give up. */
static void a_start_goes_on_after_doubtful_writes(void **state)
{
	(void)state;
	struct api f;
	api_writes_in_doubt = 2;
	api_init(&f);
	assert_int_equal(api_writes_in_doubt, 0);
	assert_int_equal(api_get(&f, "/api/v1/namespaces/default/services/kubernetes")->status, 200);
	assert_int_equal(api_get(&f, "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")->status, 200);
	api_done(&f);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(vital_objects_come_back),
	cmocka_unit_test(bootstrap_roles_are_mended),
	cmocka_unit_test(restart_keeps_all),
	cmocka_unit_test(a_start_goes_on_after_doubtful_writes),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
