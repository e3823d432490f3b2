#include "tests/support/tap.h"

#include "apiserver/http_front.h"

static const struct {
	const char *header;
	bool ok;
	enum answer_format format;
	bool yaml;
} accepts[] = {
	{NULL, true, FORMAT_JSON, false},
	{"*/*", true, FORMAT_JSON, false},
	{"application/json", true, FORMAT_JSON, false},
	{"application/yaml", true, FORMAT_JSON, true},
	{"text/html", false, FORMAT_JSON, false},
	{"text/html, application/json;q=0.9", true, FORMAT_JSON, false},
	{"application/vnd.kubernetes.protobuf,application/json", true, FORMAT_JSON, false},
	{"application/vnd.kubernetes.protobuf", false, FORMAT_JSON, false},
	{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", true, FORMAT_TABLE, false},
	{"application/json;as=Table;v=v2;g=meta.k8s.io,application/json", true, FORMAT_JSON, false},
	{"application/json;as=Nonsense;v=v1;g=meta.k8s.io", false, FORMAT_JSON, false},
	{"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", true, FORMAT_PARTIAL, false},
	{",;,=;;", false, FORMAT_JSON, false},
};

static void accept_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(accepts); i++) {
		struct accept a;
		assert_int_equal(accept_parse(accepts[i].header, &a), accepts[i].ok);
		if (!accepts[i].ok)
			continue;
		assert_int_equal(a.format, accepts[i].format);
		assert_int_equal(a.yaml, accepts[i].yaml);
	}
}

static void content_types(void **state)
{
	(void)state;
	enum body_format f;
	assert_true(content_type_parse(NULL, &f));
	assert_int_equal(f, BODY_JSON);
	assert_true(content_type_parse("application/json; charset=utf-8", &f));
	assert_int_equal(f, BODY_JSON);
	assert_true(content_type_parse("application/vnd.kubernetes.protobuf", &f));
	assert_int_equal(f, BODY_PROTOBUF);
	assert_true(content_type_parse("application/strategic-merge-patch+json", &f));
	assert_int_equal(f, BODY_PATCH_STRATEGIC);
	assert_false(content_type_parse("application/apply-patch+yaml", &f));
	assert_false(content_type_parse("text/plain", &f));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(accept_headers),
	cmocka_unit_test(content_types),
};
RUN_TESTS(tests)
