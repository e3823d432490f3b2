/* A node keeps to what is its own. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

#define NS        "/api/v1/namespaces/default"
#define BY_NAME   "?fieldSelector=metadata.name%3D"
#define UNRELATED "no relationship found between node 'n2' and this object"

static void nodes_keep_to_themselves(void **state)
{
	struct api *f = *state;
	struct http_client *n1 = api_client(f, "system:node:n1", "system:nodes");
	struct api_answer *a = api_call(f, n1, "POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"n1\"}}");
	assert_int_equal(a->status, 201);
	a = api_call(f, n1, "POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"n2\"}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"");
	api_default_account(f);
	a = api_post(
		f, PODS,
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"nodeName\":\"n2\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *bound = xasprintf(
		"{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"t\",\"uid\":\"%s\"}}}",
		api_str(a, "metadata.uid"));
#define TOKEN "/api/v1/namespaces/default/serviceaccounts/default/token"
	static const char no_uid[] =
		"{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"t\"}}}";
	assert_int_equal(api_call(f, n1, "POST", TOKEN, NULL, "{\"spec\":{}}")->status, 403);
	assert_int_equal(api_call(f, n1, "POST", TOKEN, NULL, bound)->status, 403);
	assert_int_equal(api_call(f, n1, "PATCH", PODS "/t/status", "Content-Type: application/merge-patch+json",
				  "{\"status\":{\"phase\":\"Failed\"}}")
				 ->status,
			 403);
	struct http_client *n2 = api_client(f, "system:node:n2", "system:nodes");
	a = api_call(f, n2, "POST", TOKEN, NULL, no_uid);
	assert_string_equal(
		api_str(a, "message"),
		"serviceaccounts \"default\" is forbidden: node requested token with a pod binding without a uid");
	a = api_call(f, n2, "POST", TOKEN, NULL, bound);
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *bearer = xasprintf("Authorization: Bearer %s", api_str(a, "status.token"));
	static const char who[] = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
	assert_int_equal(api_call(f, f->anonymous, "POST", who, bearer, "{}")->status, 201);
	api_call(f, f->admin, "DELETE", PODS "/t?gracePeriodSeconds=0", NULL, NULL);
	assert_int_equal(api_call(f, f->anonymous, "POST", who, bearer, "{}")->status, 401); /* with its pod */
	http_client_free(n1);
	http_client_free(n2);
	api_call(f, f->admin, "DELETE", "/api/v1/nodes/n1", NULL, NULL);
}

static int status_of(struct api *f, struct http_client *c, const char *method, const char *target, const char *body)
{
	return api_call(f, c, method, target,
			streq(method, "PATCH") ? "Content-Type: application/merge-patch+json" : NULL, body)
		->status;
}

/* A node reads what its pods refer to, one by one, and nothing else. */
static void nodes_read_what_their_pods_need(void **state)
{
	struct api *f = *state;
	api_default_account(f);
	struct http_client *n1 = api_client(f, "system:node:n1", "system:nodes");
	struct http_client *n2 = api_client(f, "system:node:n2", "system:nodes");
	api_post(f, NS "/secrets", "{\"metadata\":{\"name\":\"s1\"}}");
	api_post(f, NS "/secrets", "{\"metadata\":{\"name\":\"other\"}}");
	api_post(f, NS "/configmaps", "{\"metadata\":{\"name\":\"c1\"}}");
	struct api_answer *a = api_post(
		f, PODS,
		"{\"metadata\":{\"name\":\"reader\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
		"\"i\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s1\",\"key\":\"k\"}}}],"
		"\"envFrom\":[{\"configMapRef\":{\"name\":\"c1\"}}]}],\"imagePullSecrets\":[{\"name\":\"pull\"}]}}");
	assert_int_equal(a->status, 201);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/s1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/pull", NULL), 404);
	assert_int_equal(status_of(f, n1, "GET", NS "/configmaps/kube-root-ca.crt", NULL), 404);
	assert_int_equal(status_of(f, n1, "GET", NS "/configmaps/c1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets" BY_NAME "s1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/other", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets" BY_NAME "other", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/secrets", NULL), 403);
	assert_int_equal(status_of(f, n1, "DELETE", NS "/secrets/s1", NULL), 403);
	a = api_call(f, n2, "GET", NS "/secrets/s1", NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "secrets \"s1\" is forbidden: User \"system:node:n2\" cannot get resource \"secrets\" in "
			    "API group \"\" in the namespace \"default\": " UNRELATED);
	assert_int_equal(status_of(f, n2, "GET", NS "/configmaps/c1?watch=1", NULL), 403);
	/* what the server knows at once again when it has just started */
	http_client_free(n1);
	http_client_free(n2);
	api_restart(f);
	n1 = api_client(f, "system:node:n1", "system:nodes");
	n2 = api_client(f, "system:node:n2", "system:nodes");
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/s1", NULL), 200);
	assert_int_equal(status_of(f, n2, "GET", NS "/secrets/s1", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", PODS, NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", PODS "/reader", NULL), 200);
	assert_int_equal(status_of(f, n2, "GET", PODS "/reader", NULL), 403);
	assert_int_equal(status_of(f, n2, "DELETE", PODS "/reader", NULL), 403);
	assert_int_equal(status_of(f, n1, "DELETE", PODS "/reader?gracePeriodSeconds=0", NULL), 200);
	assert_int_equal(status_of(f, n1, "GET", NS "/secrets/s1", NULL), 403);
	http_client_free(n1);
	http_client_free(n2);
}

static void nodes_do_not_steer_work_to_themselves(void **state)
{
	struct api *f = *state;
	struct http_client *n1 = api_client(f, "system:node:n1", "system:nodes");
	static const char bad[] =
		"{\"metadata\":{\"name\":\"n1\",\"labels\":{\"node-restriction.kubernetes.io/a\":\"b\","
		"\"kubernetes.io/hostname\":\"n1\",\"x.k8s.io/y\":\"\"}}}";
	struct api_answer *a = api_call(f, n1, "POST", "/api/v1/nodes", NULL, bad);
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: "
			    "node-restriction.kubernetes.io/a, x.k8s.io/y");
	static const char good[] = "{\"metadata\":{\"name\":\"n1\",\"labels\":{\"kubernetes.io/hostname\":\"n1\","
				   "\"node.kubernetes.io/z\":\"\",\"a/b\":\"c\"}}}";
	assert_int_equal(status_of(f, n1, "POST", "/api/v1/nodes", good), 201);
	a = api_call(f, n1, "GET", "/api/v1/nodes/n1", NULL, NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(api_str(a, "spec.taints.0.key"), "node.kubernetes.io/not-ready");
	assert_string_equal(api_str(a, "spec.taints.0.effect"), "NoSchedule");
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/nodes", NULL), 403);
	assert_int_equal(status_of(f, n1, "GET", "/api/v1/nodes" BY_NAME "n1", NULL), 200);
	assert_int_equal(status_of(f, n1, "DELETE", "/api/v1/nodes/n1", NULL), 403);
	a = api_call(f, n1, "PATCH", "/api/v1/nodes/n1", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints");
	assert_int_equal(status_of(f, n1, "PATCH", "/api/v1/nodes/n1",
				   "{\"metadata\":{\"labels\":{\"role.kubernetes.io/x\":\"y\"}}}"),
			 403);
	assert_int_equal(status_of(f, n1, "PATCH", "/api/v1/nodes/n1", "{\"metadata\":{\"labels\":{\"a/b\":\"d\"}}}"),
			 200);
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/"
	assert_int_equal(status_of(f, n1, "POST", LEASES "default/leases", "{\"metadata\":{\"name\":\"n1\"}}"), 403);
	api_post(f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"kube-node-lease\"}}");
	assert_int_equal(status_of(f, n1, "POST", LEASES "kube-node-lease/leases", "{\"metadata\":{\"name\":\"n2\"}}"),
			 403);
	assert_int_equal(status_of(f, n1, "POST", LEASES "kube-node-lease/leases", "{\"metadata\":{\"name\":\"n1\"}}"),
			 201);
	a = api_call(f, n1, "POST", PODS, NULL,
		     "{\"metadata\":{\"name\":\"own\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\","
		     "\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(
		api_str(a, "message"),
		"pods \"own\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node "
		"\"n1\" can only create mirror pods");
	a = api_call(f, n1, "POST", PODS, NULL,
		     "{\"metadata\":{\"name\":\"own\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"},"
		     "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n1\",\"uid\":\"u\","
		     "\"controller\":true}]},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"image\":"
		     "\"i\",\"envFrom\":[{\"secretRef\":{\"name\":\"s1\"}}]}]}}");
	assert_string_equal(api_str(a, "message"),
			    "pods \"own\" is forbidden: node \"n1\" can not create pods that reference secrets");
	http_client_free(n1);
	api_call(f, f->admin, "DELETE", "/api/v1/nodes/n1", NULL, NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(nodes_keep_to_themselves),
	cmocka_unit_test(nodes_read_what_their_pods_need),
	cmocka_unit_test(nodes_do_not_steer_work_to_themselves),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
