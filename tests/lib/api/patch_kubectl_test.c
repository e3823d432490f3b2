/* Strategic merge beside kubectl's own: `kubectl patch --local` needs no server. Skipped where there is no kubectl. */
#include <unistd.h>

#include "lib/api/patch.h"
#include "lib/core/file.h"
#include "lib/core/proc.h"
#include "tests/lib/api/test_support.h"

static const char deployment[] =
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"w\",\"namespace\":\"d\",\"finalizers\":["
	"\"x/a\",\"x/b\",\"x/c\"],\"labels\":{\"l\":\"1\"}},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"strategy\":{\"type\":"
	"\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
	"\"containers\":[{\"name\":\"a\",\"image\":\"1\",\"args\":[\"x\"],\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":"
	"\"2\"}],\"ports\":[{\"containerPort\":80}]},{\"name\":\"b\",\"image\":\"2\"},{\"name\":\"c\",\"image\":\"3\",\"ports\":["
	"{\"containerPort\":53,\"protocol\":\"UDP\"},{\"containerPort\":53,\"protocol\":\"TCP\"},{\"containerPort\":9}]}],\"volumes\":[{\"name\":"
	"\"v\",\"emptyDir\":{}}],\"tolerations\":[{\"key\":\"k\"}]}}}}";

#define POD(x) "{\"spec\":{\"template\":{\"spec\":{" x "}}}}"

static const char *const patches[] = {
	POD("\"containers\":[{\"name\":\"b\",\"image\":\"9\"}]"),
	POD("\"containers\":[{\"name\":\"d\",\"image\":\"9\"},{\"name\":\"c\",\"image\":\"8\"}]"),
	POD("\"containers\":[{\"name\":\"b\",\"$patch\":\"delete\"}]"),
	POD("\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"z\",\"image\":\"0\"}]"),
	POD("\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"n\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"n\","
	    "\"image\":\"n\"}]"),
	POD("\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]"),
	POD("\"containers\":[{\"name\":\"a\",\"args\":[\"y\"],\"env\":[{\"name\":\"C\",\"value\":\"3\"},{\"name\":\"A\",\"value\":null}],"
	    "\"ports\":[{\"containerPort\":81},{\"containerPort\":80,\"name\":\"p\"}]}]"),
	POD("\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":53,\"name\":\"dns\"}]}]"),
	POD("\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":53,\"$patch\":\"delete\"}]}]"),
	POD("\"containers\":[{\"name\":\"c\",\"$setElementOrder/ports\":[{\"containerPort\":8},{\"containerPort\":53},{\"containerPort\":53}],"
	    "\"ports\":[{\"containerPort\":8},{\"containerPort\":53,\"name\":\"x\"},{\"containerPort\":53,\"name\":\"y\"},{"
	    "\"containerPort\":9,\"$patch\":\"delete\"}]}]"),
	POD("\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"hostPath\"],\"hostPath\":{\"path\":\"/x\"}}]"),
	POD("\"volumes\":[{\"name\":\"u\",\"emptyDir\":{}},{\"name\":\"v\",\"$patch\":\"delete\"}]"),
	POD("\"tolerations\":[{\"key\":\"j\"}],\"nodeSelector\":{\"a\":\"b\",\"c\":null}"),
	POD("\"containers\":null"),
	"{\"metadata\":{\"finalizers\":[\"x/d\",\"x/a\"]}}",
	"{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"x/b\"]}}",
	("{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"x/a\"],\"$setElementOrder/finalizers\":[\"x/d\",\"x/c\",\"x/b\"],"
	 "\"finalizers\":[\"x/d\"]}}"),
	"{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"m\":\"2\"}}}",
	"{\"metadata\":{\"labels\":{\"l\":null,\"m\":\"2\"}}}",
	"{\"spec\":{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"Recreate\"}}}",
	"{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"10%\"}}}}",
};

static char *file;

static int setup(void **state)
{
	(void)state;
	file = xasprintf("/tmp/mini-patch-%d.json", (int)getpid());
	return file_write_replace(file, deployment, sizeof(deployment) - 1, 0600, NULL);
}

static int teardown(void **state)
{
	(void)state;
	unlink(file);
	free(file);
	return 0;
}

/* kubectl prints the typed object: members that it always prints, and that we leave out, say nothing. */
static void drop_noise(json_t *obj)
{
	json_put(obj, "status", NULL);
	json_put(json_need_object(obj, "metadata"), "creationTimestamp", NULL);
	json_t *template = json_path(obj, "spec", "template", NULL);
	json_put(json_need_object(template, "metadata"), "creationTimestamp", NULL);
	size_t i;
	json_t *c;
	json_array_foreach(json_path(template, "spec", "containers", NULL), i, c) json_put(c, "resources", NULL);
	if (!json_is_array(json_path(template, "spec", "containers", NULL)))
		json_put(json_object_get(template, "spec"), "containers", NULL);
	json_put(json_object_get(template, "spec"), "creationTimestamp", NULL);
}

static bool run_kubectl(const char *patch, json_t **ret)
{
	const char *const argv[] = {"kubectl", "patch", "--local", "--type=strategic", "-f", file, "-p", patch,
				    "-o",      "json",  NULL};
	struct buf out = BUF_INIT, complaint = BUF_INIT;
	int status = -1;

	int rc = proc_run(argv, NULL, &out, &complaint, &status, NULL);
	bool missing = rc || status == 127;
	if (!missing && status == 0)
		*ret = J(out.data);
	else if (!missing)
		fail_msg("kubectl: %s", buf_str(&complaint));
	buf_done(&out);
	buf_done(&complaint);
	return !missing;
}

static void test_like_kubectl(void **state)
{
	(void)state;
	const struct kind *k = kind_by_word("deployments.apps");
	for (size_t i = 0; i < ARRAY_LEN(patches); i++) {
		json_t *want = NULL, *got = NULL, *doc = J(deployment), *patch = J(patches[i]);
		if (!run_kubectl(patches[i], &want)) {
			json_decref(doc);
			json_decref(patch);
			print_message("# skipped: there is no kubectl\n");
			skip();
		}
		assert_int_equal(patch_strategic(k->schema, doc, patch, &got, NULL), 0);
		drop_noise(want);
		drop_noise(got);
		if (!json_equal(got, want)) {
			char *a = text_of(got), *b = text_of(want);
			fail_msg("%s\ngot  %s\nwant %s", patches[i], a, b);
		}
		json_decref(want);
		json_decref(got);
		json_decref(doc);
		json_decref(patch);
	}
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_like_kubectl)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
