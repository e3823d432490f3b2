/* Answers held against a real kube-apiserver's: one row a request, made one after the other. */
#include "tests/support/tap.h"

#include "tests/support/apiserver/api.h"

#define CMS   "/api/v1/namespaces/default/configmaps"
#define PODS  "/api/v1/namespaces/default/pods"
#define DEPS  "/apis/apps/v1/namespaces/default/deployments"
#define SARS  "/apis/authorization.k8s.io/v1/subjectaccessreviews"
#define MERGE "Content-Type: application/merge-patch+json"

struct row {
	const char *method, *target, *headers, *body;
	int status;
	const char *path, *value; /* a string of the answer */
};

static void run(struct api *f, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		struct api_answer *a = api_call(f, f->admin, r->method, r->target, r->headers, r->body);
		if (a->status != r->status || (r->path && !streq(api_str(a, r->path), r->value)))
			fail_msg("%s %s %s:\n%d %s\nwanted %d %s", r->method, r->target, r->body ? r->body : "",
				 a->status, a->body.data, r->status, r->value ? r->value : "");
	}
}

static void options(void **state)
{
	static const struct row rows[] = {
		{"GET", CMS "?limit=-1", NULL, NULL, 200, NULL, NULL},
		{"GET", CMS "?limit=x", NULL, NULL, 400, "message", "strconv.ParseInt: parsing \"x\": invalid syntax"},
		{"GET", CMS "?resourceVersion=99999999", NULL, NULL, 504, "details.causes.0.reason",
		 "ResourceVersionTooLarge"},
		{"GET", CMS "?resourceVersionMatch=Exact", NULL, NULL, 422, "message",
		 "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is "
		 "forbidden unless resourceVersion is provided"},
		{"POST", CMS "?dryRun=foo", NULL, "{\"metadata\":{\"name\":\"x\"}}", 422, "message",
		 "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"foo\"}: supported "
		 "values: \"All\""},
		{"GET", CMS "?fieldSelector=data.x%3D1", NULL, NULL, 400, "message",
		 "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""},
		{"GET", PODS "?fieldSelector=spec.x%3D1", NULL, NULL, 400, "message",
		 "field label not supported: spec.x"},
		{"GET", CMS "?labelSelector=a%3D%3D%3Db", NULL, NULL, 400, "message",
		 "unable to parse requirement: found '=', expected: identifier"},
		/* a field that is left out is its zero */
		{"POST", "/api/v1/nodes", NULL, "{\"metadata\":{\"name\":\"fs\"}}", 201, NULL, NULL},
		{"GET", "/api/v1/nodes?fieldSelector=spec.unschedulable%3Dfalse,metadata.name%3Dfs", NULL, NULL, 200,
		 "items.0.metadata.name", "fs"},
		{"GET", "/api/v1/nodes?fieldSelector=spec.unschedulable%3Dtrue", NULL, NULL, 200,
		 "items.0.metadata.name", ""},
		{"DELETE", "/api/v1/nodes/fs", NULL, NULL, 200, NULL, NULL},
	};
	run(*state, rows, ARRAY_LEN(rows));
}

static void identity(void **state)
{
	static const struct row rows[] = {
		{"POST", CMS, NULL, "{\"metadata\":{\"name\":\"a\"}}", 201, NULL, NULL},
		{"PUT", CMS "/a", NULL, "{\"data\":{}}", 400, "message",
		 "the name of the object (a based on URL) was undeterminable: name must be provided"},
		{"PUT", CMS "/a", NULL, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}", 400, "message",
		 "the namespace of the object (b) does not match the namespace on the request (default)"},
		{"PATCH", CMS "/a", MERGE, "{\"metadata\":{\"namespace\":\"b\"}}", 400, "message",
		 "the namespace of the object (b) does not match the namespace on the request (default)"},
		{"PATCH", CMS "/a", MERGE, "{\"kind\":\"Pod\"}", 422, "reason", "Invalid"},
		{"PATCH", CMS "/a", MERGE, "{\"data\":{\"k\":\"v\"}}", 200, "data.k", "v"},
		{"DELETE", CMS "/a", NULL, "{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}", 422,
		 "reason", "Invalid"},
		{"DELETE", CMS "/a", NULL, "{\"gracePeriodSeconds\":-5}", 200, NULL, NULL},
		{"POST", CMS, NULL, "{\"metadata\":{\"generateName\":\"A_\"}}", 422, "details.causes.0.field",
		 "metadata.generateName"},
		{"POST", CMS, NULL, "{\"metadata\":{\"generateName\":\"a-\"}}", 201, NULL, NULL},
		{"POST", CMS, NULL,
		 "{\"metadata\":{\"name\":\"o\",\"ownerReferences\":[{\"apiVersion\":\"a/b/c\",\"kind\":\"K\",\"name\":"
		 "\"n\",\"uid\":\"u\"}]}}",
		 422, "message",
		 "ConfigMap \"o\" is invalid: metadata.ownerReferences.apiVersion: Invalid value: \"a/b/c\": version "
		 "must not be empty"},
	};
	run(*state, rows, ARRAY_LEN(rows));
}

#define POD(more) "{\"metadata\":{\"name\":\"p\"},\"spec\":{" more "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define POD_C(more)                                                                                                    \
	"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{" more "\"name\":\"c\",\"image\":\"i\"}]}}"

static void pods(void **state)
{
	static const struct row rows[] = {
		{"POST", "/api/v1/namespaces/default/serviceaccounts", NULL, "{\"metadata\":{\"name\":\"default\"}}",
		 201, NULL, NULL},
		{"POST", PODS, NULL, POD("\"priorityClassName\":\"nope\","), 403, "message",
		 "pods \"p\" is forbidden: no PriorityClass with name nope was found"},
		{"POST", PODS, NULL, POD("\"priority\":5,"), 403, "reason", "Forbidden"},
		{"POST", PODS, NULL, POD("\"runtimeClassName\":\"nope\","), 403, "message",
		 "pods \"p\" is forbidden: pod rejected: RuntimeClass \"nope\" not found"},
		{"POST", PODS, NULL, POD_C("\"securityContext\":{\"runAsUser\":2147483648},"), 422, "message",
		 "Pod \"p\" is invalid: spec.containers[0].securityContext.runAsUser: Invalid value: 2147483648: must "
		 "be between 0 and 2147483647, inclusive"},
		{"POST", PODS "?dryRun=All", NULL,
		 POD_C("\"securityContext\":{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"SYS_"
		       "ADMIN\"]}},"),
		 201, NULL, NULL},
		{"POST", PODS, NULL, POD_C("\"resources\":{\"limits\":{\"a.b/c\":\"1500m\"}},"), 422,
		 "details.causes.0.message", "Invalid value: \"1500m\": must be an integer"},
		{"POST", PODS, NULL, POD("\"nodeSelector\":{\"a\":\"b\"},"), 201, "spec.tolerations.1.key",
		 "node.kubernetes.io/unreachable"},
		/* what admission adds comes back on an update */
		{"PATCH", PODS "/p", MERGE, "{\"spec\":{\"tolerations\":[{\"key\":\"q\",\"operator\":\"Exists\"}]}}",
		 200, "spec.tolerations.2.key", "node.kubernetes.io/unreachable"},
	};
	run(*state, rows, ARRAY_LEN(rows));
}

static void reviews_and_scales(void **state)
{
	static const struct row rows[] = {
		{"POST", SARS, NULL,
		 "{\"spec\":{\"user\":\"u\",\"nonResourceAttributes\":{\"path\":\"/\",\"verb\":\"get\"},"
		 "\"resourceAttributes\":{\"verb\":\"get\"}}}",
		 422, "details.causes.0.field", "spec.nonResourceAttributes"},
		{"POST", SARS, NULL, "{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\"}}}", 422,
		 "details.causes.0.field", "spec.user"},
		{"POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews", NULL,
		 "{\"spec\":{\"user\":\"u\",\"resourceAttributes\":{\"namespace\":\"x\",\"verb\":\"get\"}}}", 422,
		 "details.causes.0.field", "spec.resourceAttributes.namespace"},
		{"POST", DEPS, NULL,
		 "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
		 "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"
		 "}}}",
		 201, NULL, NULL},
		{"PUT", DEPS "/d/scale", NULL, "{\"metadata\":{\"name\":\"z\"},\"spec\":{\"replicas\":1}}", 400,
		 "message", "the name of the object (z) does not match the name on the URL (d)"},
		{"PUT", DEPS "/d/scale", NULL, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":-1}}", 422,
		 "details.kind", "Scale"},
	};
	run(*state, rows, ARRAY_LEN(rows));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(options),
	cmocka_unit_test(identity),
	cmocka_unit_test(pods),
	cmocka_unit_test(reviews_and_scales),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
