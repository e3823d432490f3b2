/* What clients ask first: groups, resources, OpenAPI. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

static void discovery(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_get(f, "/apis");
	assert_string_equal(api_str(a, "kind"), "APIGroupList");
	assert_string_equal(api_str(api_get(f, "/apis/apps"), "preferredVersion.groupVersion"), "apps/v1");
	assert_string_equal(api_str(api_get(f, "/apis/apps/v1"), "groupVersion"), "apps/v1");
	a = api_call(f, f->admin, "GET", "/apis",
		     "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
		     NULL);
	assert_string_equal(api_str(a, "apiVersion"), "apidiscovery.k8s.io/v2");
	assert_string_equal(a->content_type, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
	assert_int_equal(api_get(f, "/apis/none")->status, 404);
	assert_non_null(strstr(buf_str(&api_get(f, "/readyz?verbose")->body), "readyz check passed"));
	assert_int_equal(api_get(f, "/livez/ping")->status, 200);
	a = api_get(f, "/livez/nothing");
	assert_int_equal(a->status, 404);
	assert_true(json_is_object(json_object_get(a->json, "details")));
}

static void openapi(void **state)
{
	struct api *f = *state;
	struct api_answer *a = api_get(f, "/openapi/v3");
	assert_int_equal(a->status, 200);
	assert_non_null(strstr(buf_str(&a->body), "/openapi/v3/apis/apps/v1?hash="));
	a = api_get(f, "/openapi/v3/apis/apps/v1");
	assert_true(str_starts(api_str(a, "openapi"), "3."));
	a = api_call(f, f->admin, "GET", "/openapi/v2",
		     "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf", NULL);
	assert_int_equal(a->status, 200);
	assert_string_equal(a->content_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
	assert_int_equal(api_get(f, "/openapi/v3/apis/none/v1")->status, 404);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(discovery),
	cmocka_unit_test(openapi),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
