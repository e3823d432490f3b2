#include "lib/api/schema.h"
#include "tests/lib/api/test_support.h"

#define DEPLOYMENT(spec)                                                                                               \
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},"       \
	"\"spec\":{" spec "}}"
#define GOOD                                                                                                           \
	"\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},"          \
	"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static const struct kind *deployment(void)
{
	const struct kind *k = kind_by_kind("apps", "v1", "Deployment");
	assert_non_null(k);
	return k;
}

static void test_kinds(void **state)
{
	(void)state;
	assert_ptr_equal(kind_by_api_version("apps/v1", "Deployment"), deployment());
	assert_ptr_equal(kind_by_resource("apps", "v1", "deployments"), deployment());
	assert_string_equal(kind_by_api_version("v1", "Pod")->plural, "pods");
	assert_null(kind_by_api_version("apps/v1", "Pod"));
	assert_null(kind_by_api_version("apps", "Deployment"));
	static const char *const words[] = {"deploy",           "deployments", "deployment",         "Deployment",
					    "deployments.apps", "deploy.apps", "deployments.v1.apps"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_ptr_equal(kind_by_word(words[i]), deployment());
	assert_string_equal(kind_by_word("po")->kind, "Pod");
	assert_null(kind_by_word("pods.apps"));
	assert_null(kind_by_word(""));
	char *v = kind_api_version(deployment()), *r = kind_resource(deployment());
	assert_string_equal(v, "apps/v1");
	assert_string_equal(r, "deployments.apps");
	free(v);
	free(r);
}

static void decode_fails(const char *text, const char *message)
{
	json_t *obj = J(text);
	struct err err = ERR_INIT;
	assert_true(schema_decode(deployment()->schema, obj, NULL, &err) < 0);
	assert_int_equal(err.reason, ERR_BAD_REQUEST);
	assert_string_equal(err.message, message);
	json_decref(obj);
}

static void test_decode_types(void **state)
{
	(void)state;
	decode_fails(DEPLOYMENT("\"replicas\":\"x\""),
		     "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
	decode_fails(
		DEPLOYMENT("\"replicas\":3000000000"),
		"json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type "
		"int32");
	decode_fails(
		DEPLOYMENT("\"replicas\":1.5"),
		"json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32");
	decode_fails(DEPLOYMENT("\"paused\":\"yes\""),
		     "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool");
	decode_fails(DEPLOYMENT("\"template\":{\"spec\":{\"containers\":{}}}"),
		     "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type "
		     "[]v1.Container");
	decode_fails(
		DEPLOYMENT("\"template\":{\"spec\":{\"containers\":[{\"image\":5}]}}"),
		"json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.image of "
		"type string");
	decode_fails(
		DEPLOYMENT("\"template\":{\"metadata\":{\"labels\":{\"a\":1}}}"),
		"json: cannot unmarshal number into Go struct field ObjectMeta.spec.template.metadata.labels of type "
		"string");
	decode_fails("{\"spec\":[]}",
		     "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec");
	decode_fails("{\"metadata\":{\"creationTimestamp\":\"x\"}}",
		     "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"");
}

static void test_decode_presence(void **state)
{
	(void)state;
	json_t *obj =
		J(DEPLOYMENT("\"replicas\":null,\"foo\":1,\"paused\":false,\"template\":{\"spec\":{\"containers\":["
			     "{\"name\":\"c\",\"bar\":2,\"resources\":{\"limits\":{\"cpu\":0.1,\"memory\":\"1024Mi\"}}"
			     ",\"command\":[null]}]}}"));
	json_t *unknown = json_array();
	struct err err = ERR_INIT;
	if (schema_decode(deployment()->schema, obj, unknown, &err))
		fail_msg("%s", err.message);
	assert_json_equal(unknown, J("[\"unknown field \\\"spec.foo\\\"\","
				     "\"unknown field \\\"spec.template.spec.containers[0].bar\\\"\"]"));
	assert_json_equal(obj, J(DEPLOYMENT("\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\","
					    "\"resources\":{\"limits\":{\"cpu\":\"100m\",\"memory\":\"1Gi\"}},"
					    "\"command\":[\"\"]}]}}")));
}

/* What Go's omitempty would drop means the same as nothing; what was meant stays. */
static void test_decode_empty(void **state)
{
	(void)state;
	json_t *obj =
		J(DEPLOYMENT("\"replicas\":0,\"paused\":false,\"minReadySeconds\":0,\"template\":{\"metadata\":{"
			     "\"labels\":{},\"annotations\":{}},\"spec\":{\"restartPolicy\":\"\",\"hostNetwork\":"
			     "false,\"automountServiceAccountToken\":false,\"nodeSelector\":{},\"tolerations\":[],"
			     "\"securityContext\":{},\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"medium\":\"\"}}],"
			     "\"containers\":[{\"name\":\"c\",\"command\":[],\"args\":[\"\"],\"env\":[{\"name\":\"E\","
			     "\"value\":\"\"}],\"livenessProbe\":{\"periodSeconds\":0,\"httpGet\":{\"port\":80,"
			     "\"httpHeaders\":[{\"name\":\"H\",\"value\":\"\"}]}}}]}}"));
	assert_int_equal(schema_decode(deployment()->schema, obj, NULL, NULL), 0);
	assert_json_equal(
		obj, J(DEPLOYMENT("\"replicas\":0,\"template\":{\"metadata\":{},\"spec\":{"
				  "\"automountServiceAccountToken\":false,\"securityContext\":{},"
				  "\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}],\"containers\":[{"
				  "\"name\":\"c\",\"args\":[\"\"],\"env\":[{\"name\":\"E\"}],\"livenessProbe\":{"
				  "\"httpGet\":{\"port\":80,\"httpHeaders\":[{\"name\":\"H\",\"value\":\"\"}]}}}]}}")));
	static const struct {
		const char *kind, *in, *out;
	} rows[] = {
		/* no omitempty upstream: printed as given */
		{"roles", "{\"rules\":[]}", NULL},
		{"roles", "{\"rules\":[{\"verbs\":[],\"resources\":[]}]}", "{\"rules\":[{\"verbs\":[]}]}"},
		{"endpointslices", "{\"endpoints\":[],\"ports\":[]}", NULL},
		{"pods",
		 "{\"status\":{\"phase\":\"\",\"containerStatuses\":[{\"ready\":false,\"restartCount\":0,\"imageID\":\"\","
		 "\"started\":false,\"containerID\":\"\"}]}}",
		 "{\"status\":{\"containerStatuses\":[{\"ready\":false,\"restartCount\":0,\"imageID\":\"\",\"started\":false}]}}"},
		/* values of maps are nobody's members */
		{"configmaps", "{\"data\":{\"a\":\"\"}}", NULL},
		{"configmaps", "{\"data\":{},\"immutable\":false}", "{\"immutable\":false}"},
		{"services", "{\"spec\":{\"selector\":{},\"ports\":[{\"port\":0,\"nodePort\":0}]}}",
		 "{\"spec\":{\"ports\":[{\"port\":0}]}}"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *o = J(rows[i].in);
		assert_int_equal(schema_decode(kind_by_word(rows[i].kind)->schema, o, NULL, NULL), 0);
		assert_json_equal(o, J(rows[i].out ? rows[i].out : rows[i].in));
	}
}

static void test_defaults(void **state)
{
	(void)state;
	json_t *obj = J(DEPLOYMENT(GOOD));
	schema_default(deployment()->schema, obj);
	json_t *spec = json_object_get(obj, "spec");
	assert_int_equal(json_get_int(spec, "replicas", -1), 1);
	assert_int_equal(json_get_int(spec, "progressDeadlineSeconds", -1), 600);
	assert_string_equal(json_get_str(json_path(spec, "strategy", "rollingUpdate", NULL), "maxSurge", ""), "25%");
	json_t *pod = json_path(spec, "template", "spec", NULL);
	assert_string_equal(json_get_str(pod, "restartPolicy", ""), "Always");
	json_t *c = json_array_get(json_object_get(pod, "containers"), 0);
	assert_string_equal(json_get_str(c, "imagePullPolicy", ""), "Always");
	assert_null(json_object_get(c, "livenessProbe")); /* defaults inside do not bring it about */
	/* again: nothing moves */
	json_t *copy = json_deep_copy(obj);
	schema_default(deployment()->schema, obj);
	assert_json_equal(obj, copy);
}

static void assert_cause(const struct err *err, const char *type, const char *field, const char *message)
{
	for (int i = 0; i < err->n_causes; i++) {
		if (streq(err->causes[i].field, field) && streq(err->causes[i].message, message)) {
			assert_string_equal(err->causes[i].type, type);
			return;
		}
	}
	for (int i = 0; i < err->n_causes; i++)
		print_message("# %s: %s\n", err->causes[i].field, err->causes[i].message);
	fail_msg("no such cause: %s: %s", field, message);
}

static void test_validate(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	json_t *obj = J(DEPLOYMENT(GOOD));
	schema_default(deployment()->schema, obj);
	if (schema_validate(deployment()->schema, obj, NULL, &err))
		fail_msg("%s", err.message);
	json_t *spec = json_object_get(obj, "spec");
	json_put_int(spec, "replicas", -1);
	json_t *pod = json_path(spec, "template", "spec", NULL);
	json_put_str(pod, "dnsPolicy", "Never");
	json_t *list = json_object_get(pod, "containers");
	json_array_append_new(list, json_deep_copy(json_array_get(list, 0)));
	json_array_append_new(list, J("{\"name\":\"Bad_Name\"}"));
	assert_true(schema_validate(deployment()->schema, obj, NULL, &err) < 0);
	assert_int_equal(err.reason, ERR_INVALID);
	assert_cause(&err, "FieldValueInvalid", "spec.replicas",
		     "Invalid value: -1: must be greater than or equal to 0");
	assert_cause(&err, "FieldValueNotSupported", "spec.template.spec.dnsPolicy",
		     "Unsupported value: \"Never\": supported values: \"ClusterFirst\", \"ClusterFirstWithHostNet\", "
		     "\"Default\", \"None\"");
	assert_cause(&err, "FieldValueDuplicate", "spec.template.spec.containers[1].name", "Duplicate value: \"c\"");
	assert_cause(&err, "FieldValueInvalid", "spec.template.spec.containers[2].name",
		     "Invalid value: \"Bad_Name\": a lowercase RFC 1123 label must consist of lower case alphanumeric "
		     "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
		     "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
	json_decref(obj);
	err_done(&err);
}

static void test_required(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	json_t *obj = J("{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"spec\":{\"replicas\":-1}}");
	assert_true(schema_validate(deployment()->schema, obj, NULL, &err) < 0);
	assert_cause(&err, "FieldValueRequired", "spec.selector", "Required value");
	schema_invalid_message(&err, deployment(), "x");
	assert_true(str_starts(err.message,
			       "Deployment.apps \"x\" is invalid: [spec.replicas: Invalid value: -1: must be "
			       "greater than or equal to 0, spec.selector: Required value, "));
	assert_true(str_ends(err.message, "]"));
	assert_string_equal(err.kind, "Deployment");
	assert_string_equal(err.group, "apps");
	json_decref(obj);
	err_done(&err);
}

static void test_messages(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	err_add_cause(&err, "FieldValueRequired", "a", "Required value");
	schema_invalid_message(&err, kind_by_word("pods"), "p");
	assert_string_equal(err.message, "Pod \"p\" is invalid: a: Required value");
	for (int i = 0; i < 40; i++)
		err_add_cause(&err, "FieldValueRequired", "b", "Required value");
	schema_invalid_message(&err, kind_by_word("pods"), "p");
	assert_true(str_ends(err.message, ", and 9 more]"));
	err_done(&err);
}

static void test_immutable(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	static const struct schema_field item_fields[] = {
		{.name = "k", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED},
		{.name = "v", .type = SCHEMA_INT32, .flags = SCHEMA_IMMUTABLE},
		{.name = NULL},
	};
	static const struct schema item = {.name = "t.Item", .fields = item_fields};
	static const struct schema_field fields[] = {
		{.name = "l",
		 .type = SCHEMA_OBJECT,
		 .shape = SCHEMA_LIST,
		 .of = &item,
		 .flags = SCHEMA_LIST_MAP,
		 .keys = "k"},
		{.name = "s", .type = SCHEMA_STRING, .shape = SCHEMA_LIST, .flags = SCHEMA_SET},
		{.name = NULL},
	};
	static const struct schema top = {.name = "t.Top", .fields = fields};
	json_t *old = J("{\"l\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":2}]}");
	json_t *moved = J("{\"l\":[{\"k\":\"b\",\"v\":2},{\"k\":\"c\",\"v\":9},{\"k\":\"a\",\"v\":1}]}");
	assert_int_equal(schema_validate(&top, moved, old, &err), 0);
	json_t *changed = J("{\"l\":[{\"k\":\"b\",\"v\":3},{\"k\":\"a\"}],\"s\":[\"x\",\"y\",\"x\"]}");
	assert_true(schema_validate(&top, changed, old, &err) < 0);
	assert_int_equal(err.n_causes, 3);
	assert_cause(&err, "FieldValueInvalid", "l[0].v", "Invalid value: 3: field is immutable");
	assert_cause(&err, "FieldValueInvalid", "l[1].v", "Invalid value: null: field is immutable");
	assert_cause(&err, "FieldValueDuplicate", "s[2]", "Duplicate value: \"x\"");
	json_decref(old);
	json_decref(moved);
	json_decref(changed);
	err_done(&err);
	/* a long list is looked up in, not searched: searching these would take minutes */
	json_t *was = json_object(), *is = json_object();
	for (int i = 0; i < 20000; i++) {
		char k[16];
		snprintf(k, sizeof(k), "k%d", i);
		json_array_append_new(json_need_array(was, "l"), json_make("{s:s, s:i}", "k", k, "v", i));
		json_array_insert_new(json_need_array(is, "l"), 0, json_make("{s:s, s:i}", "k", k, "v", i));
	}
	assert_int_equal(schema_validate(&top, is, was, &err), 0);
	json_put_int(json_array_get(json_object_get(is, "l"), 7), "v", -1);
	json_array_append_new(json_object_get(is, "l"), json_make("{s:s, s:i}", "k", "k5", "v", 5));
	assert_true(schema_validate(&top, is, was, &err) < 0);
	assert_int_equal(err.n_causes, 2);
	assert_cause(&err, "FieldValueInvalid", "l[7].v", "Invalid value: -1: field is immutable");
	assert_cause(&err, "FieldValueDuplicate", "l[20000].k", "Duplicate value: \"k5\"");
	json_decref(was);
	json_decref(is);
	err_done(&err);
}

static void test_meta_rules(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	json_t *obj =
		J("{\"metadata\":{\"name\":\"Bad\",\"namespace\":\"d\",\"labels\":{\"a b\":\"x\",\"c\":\"-\"},"
		  "\"annotations\":{\"UPPER/x\":\"1\",\"/x\":\"\"},\"finalizers\":[\"x\"],\"ownerReferences\":[{}]}}");
	assert_true(meta_validate(deployment(), obj, NULL, &err) < 0);
	assert_cause(
		&err, "FieldValueInvalid", "metadata.name",
		"Invalid value: \"Bad\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
		"characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "
		"regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
	assert_cause(&err, "FieldValueInvalid", "metadata.annotations",
		     "Invalid value: \"/x\": prefix part must be non-empty");
	assert_cause(&err, "FieldValueInvalid", "metadata.finalizers[0]",
		     "Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified");
	assert_cause(&err, "FieldValueInvalid", "metadata.ownerReferences.uid",
		     "Invalid value: \"\": uid must not be empty");
	err_done(&err);
	json_t *old = J("{\"metadata\":{\"name\":\"Bad\",\"namespace\":\"d\",\"uid\":\"1\"}}");
	json_t *new = J("{\"metadata\":{\"name\":\"Bad\",\"namespace\":\"d\",\"uid\":\"2\"}}");
	assert_true(meta_validate(deployment(), new, old, &err) < 0);
	assert_int_equal(err.n_causes, 1);
	assert_cause(&err, "FieldValueInvalid", "metadata.uid", "Invalid value: \"2\": field is immutable");
	err_done(&err);
	json_decref(obj);
	json_decref(old);
	json_decref(new);
}

static void test_formats(void **state)
{
	(void)state;
	static const struct {
		enum schema_format f;
		const char *good[6], *bad[8];
	} cases[] = {
		{FMT_DNS_LABEL, {"a", "a-1", "0"}, {"-a", "a-", "a.b", "A", ""}},
		{FMT_DNS_SUBDOMAIN, {"a.b", "1.a-b"}, {"a..b", ".a", "a.", "a_b", ""}},
		{FMT_DNS1035_LABEL, {"a", "a-1"}, {"1a", "a.", ""}},
		{FMT_QUALIFIED_NAME, {"a", "A_b.c", "x.io/a"}, {"", "/a", "x/", "a/b/c", "X/a", "a b", ".a"}},
		{FMT_LABEL_VALUE, {"", "a", "A.b_c"}, {"-", "a b", ".a"}},
		{FMT_IP, {"1.2.3.4", "::1"}, {"1.2.3", "x", "1.2.3.4/8"}},
		{FMT_CIDR, {"10.0.0.0/8", "::/0"}, {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "x/8", "10.0.0.0/-1"}},
		{FMT_PORT_NAME, {"http", "a-1"}, {"", "1", "a--b", "-a", "a-", "A", "abcdefghijklmnop"}},
		{FMT_ENV_NAME, {"A", "a.b", "1 x"}, {"", "a=b", "a\n"}},
		{FMT_CONFIG_KEY, {"a.txt", "_a", ".a"}, {"", ".", "..", "..a", "a/b"}},
		{FMT_PATH_SEGMENT, {"system:node", "A b"}, {".", "..", "a/b", "a%"}},
		{FMT_ABSOLUTE_PATH, {"/a"}, {"a"}},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t n = 0; n < 6 && cases[i].good[n]; n++) {
			if (schema_format_check(cases[i].f, cases[i].good[n]))
				fail_msg("%d: \"%s\" refused", (int)cases[i].f, cases[i].good[n]);
		}
		for (size_t n = 0; n < 8 && cases[i].bad[n]; n++) {
			if (!schema_format_check(cases[i].f, cases[i].bad[n]))
				fail_msg("%d: \"%s\" taken", (int)cases[i].f, cases[i].bad[n]);
		}
	}
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),           cmocka_unit_test(test_decode_types),
		cmocka_unit_test(test_decode_presence), cmocka_unit_test(test_decode_empty),
		cmocka_unit_test(test_defaults),        cmocka_unit_test(test_validate),
		cmocka_unit_test(test_required),        cmocka_unit_test(test_messages),
		cmocka_unit_test(test_immutable),       cmocka_unit_test(test_meta_rules),
		cmocka_unit_test(test_formats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
