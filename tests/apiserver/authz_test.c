/* Who may do what, and as whom. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static void rbac_decides(void **state)
{
	struct api *f = *state;
	struct http_client *joe = api_client(f, "joe", "devs");
	struct api_answer *a = api_call(f, joe, "GET", CM, NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_string_equal(api_str(a, "message"),
			    "configmaps is forbidden: User \"joe\" cannot list resource \"configmaps\" in "
			    "API group \"\" in the namespace \"default\"");
	a = api_post(
		f, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
		"{\"metadata\":{\"name\":\"devs\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
		"\"name\":\"edit\"},\"subjects\":[{\"kind\":\"Group\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"devs\"}]}");
	assert_int_equal(a->status, 201);
	assert_int_equal(api_call(f, joe, "GET", CM, NULL, NULL)->status, 200); /* view, aggregated into edit */
	assert_int_equal(api_call(f, joe, "GET", "/api/v1/configmaps", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, joe, "GET", "/api/v1/namespaces/kube-system/configmaps", NULL, NULL)->status, 403);
	a = api_call(
		f, joe, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", NULL,
		"{\"spec\":{\"resourceAttributes\":{\"namespace\":\"default\",\"verb\":\"delete\",\"resource\":\"pods\"}}}");
	assert_int_equal(a->status, 201);
	assert_string_equal(api_str(a, "status.allowed"), "true");
	/* no escalation: edit does not hold roles at all, and may not hand out what it lacks */
	a = api_call(
		f, joe, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL,
		"{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"*\"]}]}");
	assert_int_equal(a->status, 403);
	api_post(
		f, "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
		"{\"metadata\":{\"name\":\"joe-admin\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
		"\"name\":\"admin\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"joe\"}]}");
	a = api_call(
		f, joe, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL,
		"{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"nodes\"],\"verbs\":[\"*\"]}]}");
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "is attempting to grant RBAC permissions not currently held"));
	a = api_call(
		f, joe, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", NULL,
		"{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\"]}]}");
	assert_int_equal(a->status, 201);
	/* what grants nothing needs no right to grant: taking away a finalizer, whatever the role holds */
#define ROLES "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
	a = api_post(f, ROLES,
		     "{\"metadata\":{\"name\":\"big\",\"finalizers\":[\"a.b/c\"]},\"rules\":[{\"apiGroups\":[\"\"],"
		     "\"resources\":[\"nodes\"],\"verbs\":[\"*\"]}]}");
	assert_int_equal(a->status, 201);
	a = api_call(f, joe, "PATCH", ROLES "/big", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"finalizers\":null}}");
	assert_int_equal(a->status, 200);
	a = api_call(f, joe, "PATCH", ROLES "/big", "Content-Type: application/merge-patch+json",
		     "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
	assert_int_equal(a->status, 403);
	/* nor may a role of two long lists hold the server up */
	_cleanup_buf_ struct buf many = BUF_INIT;
	buf_adds(&many, "{\"metadata\":{\"name\":\"many\"},\"rules\":[{\"apiGroups\":[\"\"],\"verbs\":[\"get\"");
	for (int i = 0; i < 5000; i++)
		buf_adds(&many, ",\"get\"");
	buf_adds(&many, "],\"resources\":[\"pods\"");
	for (int i = 0; i < 5000; i++)
		buf_adds(&many, ",\"pods\"");
	buf_adds(&many, "]}]}");
	a = api_call(f, joe, "POST", ROLES, NULL, buf_str(&many));
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "more than 5000 rights"));
	http_client_free(joe);
	/* nobody at all */
	a = api_call(f, f->anonymous, "GET", CM, NULL, NULL);
	assert_int_equal(a->status, 403);
	assert_non_null(strstr(api_str(a, "message"), "User \"system:anonymous\" cannot list"));
	assert_int_equal(api_call(f, f->anonymous, "GET", "/version", NULL, NULL)->status, 200);
	assert_int_equal(api_call(f, f->anonymous, "GET", "/readyz", NULL, NULL)->status, 200);
	assert_int_equal(api_call(f, f->anonymous, "GET", "/metrics", NULL, NULL)->status, 403);
	assert_int_equal(api_call(f, f->anonymous, "GET", CM, "Authorization: Bearer nonsense", NULL)->status, 401);
}

static void impersonation(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_call(f, f->admin, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
					"Impersonate-User: kim\nImpersonate-Group: g1", "{}");
	assert_string_equal(api_str(a, "status.userInfo.username"), "kim");
	assert_string_equal(api_str(a, "status.userInfo.groups.0"), "g1");
	a = api_call(f, f->anonymous, "GET", "/version", "Impersonate-User: kim", NULL);
	assert_int_equal(a->status, 403);
}

static void tokens(void **state)
{
	struct api *f = *state;
	api_default_account(f);
	struct api_answer *a = api_post(f, "/api/v1/namespaces/default/serviceaccounts/default/token",
					"{\"spec\":{\"expirationSeconds\":600}}");
	assert_int_equal(a->status, 201);
	_cleanup_free_ char *bearer = xasprintf("Authorization: Bearer %s", api_str(a, "status.token"));
	for (int i = 0; i < 2; i++) { /* verified, then remembered */
		a = api_call(f, f->anonymous, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bearer,
			     "{}");
		assert_int_equal(a->status, 201);
		assert_string_equal(api_str(a, "status.userInfo.username"), "system:serviceaccount:default:default");
	}
	/* a token dies with its account, though one of the same name follows */
	api_call(f, f->admin, "DELETE", "/api/v1/namespaces/default/serviceaccounts/default", NULL, NULL);
	api_default_account(f);
	a = api_call(f, f->anonymous, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bearer, "{}");
	assert_int_equal(a->status, 401);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(rbac_decides),
	cmocka_unit_test(impersonation),
	cmocka_unit_test(tokens),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
