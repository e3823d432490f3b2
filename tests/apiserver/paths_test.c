#include "tests/support/tap.h"

#include "apiserver/request.h"

static const struct {
	const char *path;
	bool resource;
	const char *group, *version, *plural, *ns, *name, *sub;
} cases[] = {
	{"/", false, "", "", "", "", "", ""},
	{"/version", false, "", "", "", "", "", ""},
	{"/api", false, "", "", "", "", "", ""},
	{"/api/v1", false, "", "", "", "", "", ""},
	{"/apis/apps/v1/", false, "", "", "", "", "", ""},
	{"/api/v1/nodes", true, "", "v1", "nodes", "", "", ""},
	{"/api/v1/nodes/n/status", true, "", "v1", "nodes", "", "n", "status"},
	{"/api/v1/namespaces", true, "", "v1", "namespaces", "", "", ""},
	{"/api/v1/namespaces/a", true, "", "v1", "namespaces", "a", "a", ""},
	{"/api/v1/namespaces/a/finalize", true, "", "v1", "namespaces", "a", "a", "finalize"},
	{"/api/v1/namespaces/a/pods", true, "", "v1", "pods", "a", "", ""},
	{"/api/v1/namespaces/a/pods/p/log", true, "", "v1", "pods", "a", "p", "log"},
	{"//api//v1/namespaces/a/pods/", true, "", "v1", "pods", "a", "", ""},
	{"/apis/apps/v1/deployments", true, "apps", "v1", "deployments", "", "", ""},
	{"/apis/apps/v1/namespaces/a/deployments/d/scale", true, "apps", "v1", "deployments", "a", "d", "scale"},
	{"/api/v1/namespaces/a/pods/p/x/y", true, "", "v1", "pods", "a", "p", "*unknown*"},
};

static void paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct route r;
		route_parse(cases[i].path, &r);
		assert_int_equal(r.is_resource, cases[i].resource);
		assert_string_equal(r.path, cases[i].path);
		if (r.is_resource) {
			assert_string_equal(r.group, cases[i].group);
			assert_string_equal(r.version, cases[i].version);
			assert_string_equal(r.plural, cases[i].plural);
			assert_string_equal(r.ns, cases[i].ns);
			assert_string_equal(r.name, cases[i].name);
			assert_string_equal(r.subresource, cases[i].sub);
		}
		route_done(&r);
	}
}

static void legacy_watch(void **state)
{
	(void)state;
	struct route r;
	route_parse("/api/v1/watch/namespaces/a/pods", &r);
	assert_true(r.legacy_watch);
	assert_string_equal(r.plural, "pods");
	assert_string_equal(r.ns, "a");
	route_done(&r);
}

static void name_known_later(void **state)
{
	(void)state;
	struct request r = {0};
	route_parse("/api/v1/namespaces/a/pods", &r.route);
	route_set_name(&r, "one");
	route_set_name(&r, "another");
	assert_string_equal(r.route.name, "another");
	assert_string_equal(r.route.ns, "a");
	assert_string_equal(r.route.plural, "pods");
	assert_string_equal(r.route.path, "/api/v1/namespaces/a/pods");
	route_done(&r.route);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(paths),
	cmocka_unit_test(legacy_watch),
	cmocka_unit_test(name_known_later),
};
RUN_TESTS(tests)
