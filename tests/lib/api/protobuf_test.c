#include "lib/api/schema.h"
#include "lib/core/file.h"
#include "tests/lib/api/test_support.h"

/* Bodies that kubectl 1.32 sent, and what the same commands print with --dry-run=client -o json. */
static void decodes(const char *file, const char *want)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	json_t *tree = NULL;
	char path[128];
	snprintf(path, sizeof(path), "tests/lib/api/data/%s.pb", file);
	if (file_read(path, 1 << 20, &b, &err) || protobuf_decode((uint8_t *)b.data, b.len, &tree, &err))
		fail_msg("%s: %s", file, err.message);
	assert_json_equal(tree, J(want));
	/* no prefix of it does harm */
	for (size_t n = 0; n < b.len; n++) {
		json_t *part = NULL;
		if (protobuf_decode((uint8_t *)b.data, n, &part, NULL) == 0)
			json_decref(part);
	}
	buf_done(&b);
}

static void test_kubectl_bodies(void **state)
{
	(void)state;
	decodes("deployments",
		"{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\","
		"\"labels\":{\"app\":\"web\"}},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"
		"\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"nginx\","
		"\"image\":\"nginx:1\",\"ports\":[{\"containerPort\":80}],\"resources\":{}}]}},\"strategy\":{}},\"status\":{}}");
	decodes("configmaps",
		"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\",\"namespace\":"
		"\"default\"},\"data\":{\"a\":\"b\",\"empty\":\"\"}}");
	decodes("namespaces",
		"{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"ns1\"},\"spec\":{},"
		"\"status\":{}}");
	decodes("secrets",
		"{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\",\"namespace\":\"default\"},"
		"\"data\":{\"k\":\"dg==\"}}");
	decodes("services",
		"{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"svc\",\"namespace\":\"default\",\"labels\":"
		"{\"app\":\"svc\"}},\"spec\":{\"ports\":[{\"name\":\"80-8080\",\"protocol\":\"TCP\",\"port\":80,\"targetPort\":"
		"8080}],\"selector\":{\"app\":\"svc\"},\"type\":\"ClusterIP\"},\"status\":{\"loadBalancer\":{}}}");
	decodes("serviceaccounts", "{\"kind\":\"ServiceAccount\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"sa\","
				   "\"namespace\":\"default\"}}");
	decodes("rolebindings",
		"{\"kind\":\"RoleBinding\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{\"name\":\"rb\","
		"\"namespace\":\"default\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\","
		"\"name\":\"u\"}],\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":"
		"\"view\"}}");
	decodes("selfsubjectaccessreviews",
		"{\"kind\":\"SelfSubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"metadata\":{},\"spec\":"
		"{\"resourceAttributes\":{\"namespace\":\"default\",\"verb\":\"get\",\"resource\":\"pods\"}},\"status\":"
		"{\"allowed\":false}}");
	decodes("token",
		"{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\":{},\"spec\":"
		"{},\"status\":{}}");
}

/* "k8s\0", TypeMeta {v1, Pod}, raw */
static int pod_of(const char *raw, size_t len, json_t **ret, struct err *err)
{
	struct buf b = BUF_INIT;
	buf_add(&b, "k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12", 16);
	buf_addc(&b, (char)len);
	buf_add(&b, raw, len);
	int rc = protobuf_decode((const uint8_t *)b.data, b.len, ret, err);
	buf_done(&b);
	return rc;
}
#define POD(raw) pod_of(raw, sizeof(raw) - 1, &tree, &err)

static void test_presence(void **state)
{
	(void)state;
	json_t *tree = NULL;
	struct err err = ERR_INIT;
	/* spec { terminationGracePeriodSeconds (a pointer): 0, nodeName: "", hostNetwork: false } */
	assert_int_equal(POD("\x12\x06\x20\x00\x52\x00\x58\x00"), 0);
	assert_json_equal(tree,
			  J("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":{\"terminationGracePeriodSeconds\":0}}"));
	/* metadata { creationTimestamp {}, deletionTimestamp { seconds: 1 } } */
	assert_int_equal(POD("\x0a\x06\x42\x00\x4a\x02\x08\x01"), 0);
	assert_json_equal(tree, J("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"deletionTimestamp\":"
				  "\"1970-01-01T00:00:01Z\"}}"));
}

static void test_refused(void **state)
{
	(void)state;
	json_t *tree = NULL;
	struct err err = ERR_INIT;
	assert_true(POD("\x12\x05\x20") < 0);
	assert_true(POD("\x12\x02\x20") < 0);
	assert_true(POD("\x12\x02\x22\x00") < 0); /* terminationGracePeriodSeconds as bytes */
	assert_true(POD("\x12\x03\x52\x01\xff") < 0);
	assert_true(POD("\x07") < 0);
	assert_true(POD("\x00\x00") < 0);
	assert_true(protobuf_decode((const uint8_t *)"{}", 2, &tree, &err) < 0);
	assert_true(protobuf_decode((const uint8_t *)"k8s\0\x0a\x05\x12\x03Zap", 11, &tree, &err) < 0);
	assert_string_equal(err.message, "no kind \"Zap\" is registered for version \"\"");
	assert_null(tree);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kubectl_bodies),
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
