/* What is filled in and refused on the way in: service accounts, addresses of services. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

#define SVC "/api/v1/namespaces/default/services"

static void pods_need_an_account(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(
		f, PODS,
		"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"), "pods \"p\" is forbidden: error looking up service account "
						   "default/default: serviceaccount \"default\" not found");
	api_default_account(f);
	a = api_post(
		f, PODS,
		"{\"metadata\":{\"generateName\":\"p-\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	assert_int_equal(a->status, 201);
	assert_int_equal(strlen(api_str(a, "metadata.name")), 7);
	assert_string_equal(api_str(a, "status.phase"), "Pending");
	assert_string_equal(api_str(a, "status.qosClass"), "BestEffort");
	assert_string_equal(api_str(a, "spec.serviceAccountName"), "default");
	assert_string_equal(api_str(a, "spec.containers.0.volumeMounts.0.mountPath"),
			    "/var/run/secrets/kubernetes.io/serviceaccount");
	_cleanup_free_ char *name = xstrdup(api_str(a, "metadata.name"));
	_cleanup_free_ char *path = xasprintf(PODS "/%s", name);
	a = api_call(f, f->admin, "DELETE", path, NULL, NULL); /* no node: at once */
	assert_string_equal(api_str(a, "kind"), "Pod");
	assert_int_equal(api_get(f, path)->status, 404);
}

static void services_get_addresses(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_post(
		f, SVC, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *ip = xstrdup(api_str(a, "spec.clusterIP")),
			    *port = xstrdup(api_str(a, "spec.ports.0.nodePort"));
	assert_true(str_starts(ip, "10.96."));
	assert_in_range(atoi(port), 30000, 32767);
	_cleanup_free_ char *same = xasprintf(
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":80}]}}", ip);
	a = api_post(f, SVC, same);
	assert_int_equal(a->status, 422);
	assert_non_null(strstr(api_str(a, "message"), "provided IP is already allocated"));
	_cleanup_free_ char *same_port = xasprintf(
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":%s}]}}",
		port);
	a = api_post(f, SVC, same_port);
	assert_int_equal(a->status, 422);
	assert_non_null(strstr(api_str(a, "message"), "provided port is already allocated"));
	a = api_post(
		f, SVC,
		"{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"10.97.0.1\",\"ports\":[{\"port\":80}]}}");
	assert_int_equal(a->status, 422);
	/* an update keeps both; another type returns the port, deletion the address */
	a = api_call(f, f->admin, "PUT", SVC "/s", NULL,
		     "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");
	assert_string_equal(api_str(a, "spec.clusterIP"), ip);
	assert_string_equal(api_str(a, "spec.ports.0.nodePort"), port);
	a = api_call(f, f->admin, "PATCH", SVC "/s", "Content-Type: application/merge-patch+json",
		     "{\"spec\":{\"type\":\"ClusterIP\"}}");
	assert_string_equal(api_str(a, "spec.ports.0.nodePort"), "");
	assert_int_equal(api_post(f, SVC, same_port)->status, 201);
	api_call(f, f->admin, "DELETE", SVC "/t", NULL, NULL);
	api_call(f, f->admin, "DELETE", SVC "/s", NULL, NULL);
	assert_int_equal(api_post(f, SVC, same)->status, 201);
	api_call(f, f->admin, "DELETE", SVC "/t", NULL, NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(pods_need_an_account),
	cmocka_unit_test(services_get_addresses),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
