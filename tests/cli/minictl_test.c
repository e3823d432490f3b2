#include "tests/support/tap.h"

#include <errno.h>

#include "cli/minictl/apply.h"
#include "cli/minictl/args.h"
#include "cli/minictl/input.h"
#include "cli/minictl/output.h"
#include "cli/minictl/rollout.h"
#include "cli/minictl/table.h"
#include "cli/minictl/tabs.h"
#include "cli/minictl/view.h"

/* The program's own are in main.c, which tests do not link. */
const struct command commands[] = {{NULL, NULL, NULL, NULL, NULL}};
void help_command(const struct command *cmd, FILE *out)
{
	(void)cmd;
	(void)out;
}

static int teardown(void **state)
{
	(void)state;
	keep_done();
	return 0;
}

/* ---- options ---- */

struct given {
	struct ctl c;
	const char *text, *bare;
	bool yes, in;
	int64_t n;
	struct strings list, array;
	struct args args;
	struct err err;
};

static int parse(struct given *g, const char **argv)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	const struct opt opts[] = {
		{"text", 'o', OPT_STR, &g->text, NULL, "x"},   {"bare", 0, OPT_STR, &g->bare, "alone", "x"},
		{"yes", 'y', OPT_BOOL, &g->yes, NULL, "x"},    {"in", 'i', OPT_BOOL, &g->in, NULL, "x"},
		{"num", 0, OPT_INT, &g->n, NULL, "x"},         {"list", 'f', OPT_LIST, &g->list, NULL, "x"},
		{"array", 0, OPT_ARRAY, &g->array, NULL, "x"}, {"later", 0, OPT_REFUSE, NULL, NULL, "because"},
		{NULL, 0, OPT_BOOL, NULL, NULL, NULL},
	};
	return args_parse(&g->c, opts, argc, (char **)(uintptr_t)argv, &g->args, &g->err);
}
#define PARSE(g, ...) parse(g, (const char *[]){__VA_ARGS__, NULL})

static void test_options(void **state)
{
	(void)state;
	struct given g = {0};
	assert_int_equal(PARSE(&g, "a", "-oyaml", "-yi", "--num", "-3", "--list=x,y", "-f", "z", "--array", "p,q", "b",
			       "-n", "ns", "--", "-o", "c"),
			 0);
	assert_string_equal(g.text, "yaml");
	assert_true(g.yes && g.in);
	assert_int_equal(g.n, -3);
	assert_int_equal(g.list.n, 3);
	assert_string_equal(g.list.items[2], "z");
	assert_int_equal(g.array.n, 1);
	assert_string_equal(g.c.ns, "ns");
	assert_int_equal(g.args.pos.n, 2);
	assert_string_equal(g.args.pos.items[1], "b");
	assert_int_equal(g.args.after.n, 2);
	assert_true(g.args.dashes);

	struct given h = {.yes = true};
	assert_int_equal(PARSE(&h, "--bare", "x", "--yes=false", "-o=json", "-"), 0);
	assert_string_equal(h.bare, "alone");
	assert_int_equal(h.args.pos.n, 2); /* x and - */
	assert_false(h.yes);
	assert_string_equal(h.text, "json");
}

static void fails_with(const char **argv, const char *why)
{
	struct given g = {0};
	assert_true(parse(&g, argv) < 0);
	assert_non_null(strstr(g.err.message, why));
}

static void test_bad_options(void **state)
{
	(void)state;
	fails_with((const char *[]){"--nope", NULL}, "unknown flag: --nope");
	fails_with((const char *[]){"-z", NULL}, "unknown shorthand flag: 'z' in -z");
	fails_with((const char *[]){"--text", NULL}, "flag needs an argument: --text");
	fails_with((const char *[]){"-o", NULL}, "flag needs an argument: 'o' in -o");
	fails_with((const char *[]){"--num=x", NULL}, "invalid argument \"x\"");
	fails_with((const char *[]){"--yes=maybe", NULL}, "invalid argument \"maybe\"");
	fails_with((const char *[]){"--later", NULL}, "not supported by minictl: because");
}

static void test_durations(void **state)
{
	(void)state;
	int64_t ms = -1;
	assert_int_equal(duration_parse("1h2m3s", &ms), 0);
	assert_int_equal(ms, 3723000);
	assert_int_equal(duration_parse("1.5s", &ms), 0);
	assert_int_equal(ms, 1500);
	assert_int_equal(duration_parse("20", &ms), 0);
	assert_int_equal(ms, 20000);
	assert_int_equal(duration_parse("250ms", &ms), 0);
	assert_int_equal(ms, 250);
	assert_true(duration_parse("", &ms) < 0 && duration_parse("1x", &ms) < 0 && duration_parse("1m5", &ms) < 0);
	assert_true(duration_parse("-1s", &ms) < 0 && duration_parse("inf", &ms) < 0);
	assert_int_equal(ms, 250);
}

/* ---- words ---- */

static int words(struct ctl *c, struct items *items, struct err *err, const char **w)
{
	struct strings s = {0};
	for (; *w; w++)
		strings_add(&s, *w);
	return input_words(c, &s, items, err);
}

static void test_words(void **state)
{
	(void)state;
	struct ctl c = {.ns = "ns"};
	_cleanup_items_ struct items a = {0}, b = {0}, all = {0};
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(words(&c, &a, &err, (const char *[]){"po,deploy", "x", "y", NULL}), 0);
	assert_int_equal(a.n, 4);
	assert_string_equal(a.v[0].kind->kind, "Pod");
	assert_string_equal(a.v[3].name, "y");
	assert_string_equal(a.v[3].ns, "ns");
	assert_int_equal(words(&c, &b, &err, (const char *[]){"pod/x", "node/n", NULL}), 0);
	assert_string_equal(b.v[1].ns, "");
	assert_int_equal(words(&c, &all, &err, (const char *[]){"all", NULL}), 0);
	assert_true(all.n >= 4);
	assert_null(all.v[0].name);
	assert_true(words(&c, &a, &err, (const char *[]){"nosuch", NULL}) < 0);
	assert_string_equal(err.message, "the server doesn't have a resource type \"nosuch\"");
	assert_true(words(&c, &a, &err, (const char *[]){"pod/x", "y", NULL}) < 0);
	assert_true(words(&c, &a, &err, (const char *[]){"pod/x/y", NULL}) < 0);
	assert_string_equal(item_word(kind_by_word("deploy"), "web"), "deployment.apps/web");
	assert_string_equal(item_word(kind_by_word("po"), "x"), "pod/x");
}

/* ---- columns ---- */

static void test_table(void **state)
{
	(void)state;
	static const char *const cells[] = {"NAME", "A", "B", "x", "longer", "a\nb", "\xc3\xa4\xc3\xb6", "", "c"};
	struct table t;
	_cleanup_buf_ struct buf out = BUF_INIT;
	table_init(&t, 3);
	for (size_t i = 0; i < ARRAY_LEN(cells); i++)
		table_cell(&t, cells[i]);
	table_print(&t, &out);
	assert_string_equal(buf_str(&out),
			    "NAME   A        B\nx      longer   a...\n\xc3\xa4\xc3\xb6              c\n");
	/* rows that come later keep the widths */
	buf_clear(&out);
	table_cell(&t, "y");
	table_cell(&t, "b");
	table_cell(&t, "d");
	table_print(&t, &out);
	assert_string_equal(buf_str(&out), "y      b        d\n");
	table_done(&t);
}

static void test_tabs(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf out = BUF_INIT;
	tabs_align("Name:\tx\nLabels:\ta=b\n\tc=d\nEvents:\n  T\tReason\tM\n  Warn\tR\tlong message\n", 2, &out);
	assert_string_equal(
		buf_str(&out),
		"Name:    x\nLabels:  a=b\n         c=d\nEvents:\n  T     Reason  M\n  Warn  R       long message\n");
}

static void test_view(void **state)
{
	(void)state;
	static const char text[] =
		"{\"kind\":\"Table\",\"columnDefinitions\":[{\"name\":\"Name\",\"priority\":0},{\"name\":\"Node\",\"priority\":1}],"
		"\"rows\":[{\"cells\":[\"a\",7],\"object\":{\"metadata\":{\"namespace\":\"d\",\"labels\":{\"z\":\"1\",\"b\":\"2\"}}}}]}";
	_cleanup_json_ json_t *table = NULL;
	assert_int_equal(json_parse(text, sizeof(text) - 1, &table, NULL), 0);
	struct view v = {.with_ns = true, .with_labels = true, .prefix = "pod/"};
	view_print(&v, table, NULL);
	assert_int_equal(v.n_columns, 1);
	assert_int_equal(v.table.columns, 3);
	view_done(&v);
}

/* ---- apply ---- */

static json_t *tree(const char *text)
{
	json_t *j = NULL;
	assert_int_equal(json_parse(text, strlen(text), &j, NULL), 0);
	return j;
}

static void test_apply(void **state)
{
	(void)state;
	const struct kind *k = kind_by_word("deployment");
	_cleanup_json_ json_t *
		one = tree(
		       "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"w\",\"labels\":{\"a\":\"1\"}},"
		       "\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]}}},"
		       "\"status\":{\"replicas\":9}}"),
	       *two = tree("{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"w\"},"
			   "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:2\"}]}}}}"),
	       *first = apply_modified(one), *second = apply_modified(two), *patch = NULL, *none = NULL;
	const char *recorded = meta_annotation(first, "kubectl.kubernetes.io/last-applied-configuration");
	assert_string_equal(
		recorded,
		"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"annotations\":{},\"labels\":{\"a\":\"1\"},\"name\":\"w\"},"
		"\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"containers\":[{\"image\":\"i:1\",\"name\":\"c\"}]}}}}\n");
	bool had = false;
	struct err err = ERR_INIT;
	assert_int_equal(apply_patch(k->schema, first, first, &none, &had, &err), 0);
	assert_int_equal(json_object_size(none), 0);
	assert_true(had);
	/* what others set stays, what was applied before and is not any more goes */
	json_put_int(json_object_get(first, "spec"), "minReadySeconds", 5);
	assert_int_equal(apply_patch(k->schema, second, first, &patch, &had, &err), 0);
	assert_true(json_is_null(json_path(patch, "spec", "replicas", NULL)));
	assert_true(json_is_null(json_path(patch, "metadata", "labels", NULL)));
	assert_null(json_path(patch, "spec", "minReadySeconds", NULL));
	json_t *ct = json_array_get(json_path(patch, "spec", "template", "spec", "containers", NULL), 0);
	assert_string_equal(json_get_str(ct, "image", ""), "i:2");
	assert_string_equal(json_get_str(ct, "name", ""), "c");
}

/* ---- rollout ---- */

static void status_is(const char *text, const char *want, bool over, bool failed)
{
	_cleanup_json_ json_t *d = tree(text);
	char got[512];
	bool bad;
	assert_int_equal(rollout_status_text(d, got, sizeof(got), &bad), over);
	assert_string_equal(got, want);
	assert_int_equal(bad, failed);
}

#define DEPLOYMENT(status)                                                                                                       \
	"{\"metadata\":{\"name\":\"w\",\"generation\":2},\"spec\":{\"replicas\":3},\"status\":{\"observedGeneration\":2," status \
	"}}"

static void test_rollout_status(void **state)
{
	(void)state;
	status_is("{\"metadata\":{\"name\":\"w\",\"generation\":2},\"spec\":{},\"status\":{\"observedGeneration\":1}}",
		  "Waiting for deployment spec update to be observed...\n", false, false);
	status_is(DEPLOYMENT("\"updatedReplicas\":1"),
		  "Waiting for deployment \"w\" rollout to finish: 1 out of 3 new replicas have been updated...\n",
		  false, false);
	status_is(DEPLOYMENT("\"updatedReplicas\":3,\"replicas\":4"),
		  "Waiting for deployment \"w\" rollout to finish: 1 old replicas are pending termination...\n", false,
		  false);
	status_is(DEPLOYMENT("\"updatedReplicas\":3,\"replicas\":3,\"availableReplicas\":2"),
		  "Waiting for deployment \"w\" rollout to finish: 2 of 3 updated replicas are available...\n", false,
		  false);
	status_is(DEPLOYMENT("\"updatedReplicas\":3,\"replicas\":3,\"availableReplicas\":3"),
		  "deployment \"w\" successfully rolled out\n", true, false);
	status_is(DEPLOYMENT("\"conditions\":[{\"type\":\"Progressing\",\"reason\":\"ProgressDeadlineExceeded\"}]"),
		  "deployment \"w\" exceeded its progress deadline", true, true);
}

static void test_sorted(void **state)
{
	(void)state;
	_cleanup_json_ json_t *j = tree("{\"b\":{\"d\":1,\"c\":[{\"z\":1,\"a\":2}]},\"a\":null}"),
			      *sorted = json_sorted(j);
	_cleanup_buf_ struct buf out = BUF_INIT;
	json_write(&out, sorted);
	assert_string_equal(buf_str(&out), "{\"a\":null,\"b\":{\"c\":[{\"a\":2,\"z\":1}],\"d\":1}}");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_options, teardown),        cmocka_unit_test_teardown(test_bad_options, teardown),
	cmocka_unit_test_teardown(test_durations, teardown),      cmocka_unit_test_teardown(test_words, teardown),
	cmocka_unit_test_teardown(test_table, teardown),          cmocka_unit_test_teardown(test_tabs, teardown),
	cmocka_unit_test_teardown(test_view, teardown),           cmocka_unit_test_teardown(test_apply, teardown),
	cmocka_unit_test_teardown(test_rollout_status, teardown), cmocka_unit_test_teardown(test_sorted, teardown),
};
RUN_TESTS(tests)
