/* minictl get: tables from the server, or objects in the form asked for; once, or as they change. */
#include <errno.h>

#include "cli/minictl/jsonpath.h"
#include "cli/minictl/output.h"
#include "cli/minictl/rest.h"
#include "cli/minictl/verbs.h"
#include "cli/minictl/view.h"

struct get {
	struct ctl *c;
	struct output out;
	struct items items;
	struct input_opts input;
	const char *selector, *fields, *sort_by, *output, *raw, *subresource;
	struct strings label_columns;
	bool all_ns, watch, watch_only, show_labels, show_kind, no_headers, ignore_missing, watch_events;
	bool many_kinds;
	struct view view;
	const struct kind *view_kind;
	bool printed;   /* a table, so that the next one gets a blank line before it */
	size_t n_found; /* objects */
};

static bool as_table(const struct get *g)
{
	return g->out.form == OUT_DEFAULT || g->out.form == OUT_WIDE;
}

static char *get_path(struct get *g, const struct item *it)
{
	const char *ns = g->all_ns ? "" : it->ns;
	char *path = path_of(it->kind, ns, it->name, it->name ? g->subresource : NULL);
	if (!it->name) {
		path = with_query(path, "labelSelector", g->selector);
		path = with_query(path, "fieldSelector", g->fields);
	}
	return path;
}

/* ---- tables ---- */

struct sort_row {
	json_t *row, *key;
	size_t i;
};

static int sort_cmp(const void *pa, const void *pb)
{
	const struct sort_row *a = pa, *b = pb;
	int c = 0;
	if (json_is_number(a->key) && json_is_number(b->key)) {
		double x = json_number_value(a->key), y = json_number_value(b->key);
		c = x < y ? -1 : x > y;
	} else if (json_is_string(a->key) && json_is_string(b->key)) {
		c = strcmp(json_string_value(a->key), json_string_value(b->key));
	} else if (a->key || b->key) {
		c = (a->key != NULL) - (b->key != NULL);
	}
	return c ? c : (a->i > b->i) - (a->i < b->i);
}

/* Sorts rows (or items) by a path into the object. */
static int sort_rows(struct get *g, json_t *rows, const char *member, struct err *err)
{
	size_t n = json_array_size(rows);
	_cleanup_free_ struct sort_row *v = NEW_N(struct sort_row, n + 1);
	_cleanup_json_ json_t *held = json_array();
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *values = json_array();
		json_t *row = json_array_get(rows, i), *obj = member ? json_object_get(row, member) : row;
		int rc = jsonpath_values(g->sort_by, obj, values, err);
		if (rc < 0)
			return rc;
		json_array_append(held, values);
		v[i] = (struct sort_row){json_incref(row), json_array_get(values, 0), i};
	}
	qsort(v, n, sizeof(*v), sort_cmp);
	json_array_clear(rows);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, v[i].row);
	return 0;
}

static void view_for(struct get *g, const struct kind *k)
{
	if (g->view_kind == k)
		return;
	if (g->view_kind)
		view_done(&g->view);
	if (g->printed)
		putchar('\n');
	g->view_kind = k;
	g->view = (struct view){
		.wide = g->out.form == OUT_WIDE,
		.with_ns = g->all_ns && k->namespaced,
		.with_labels = g->show_labels,
		.no_headers = g->no_headers,
		.with_events = g->watch_events,
		.label_columns = g->label_columns,
		.prefix = g->many_kinds || g->show_kind ? keepf("%s/", kind_word(k)) : NULL,
	};
}

static int print_table(struct get *g, const struct item *it, json_t *table, struct err *err)
{
	json_t *rows = json_object_get(table, "rows");
	if (!streq(json_get_str(table, "kind", ""), "Table"))
		return err_set(err, -EPROTO, "the server sent no table");
	if (json_array_size(rows) == 0)
		return 0;
	int rc = g->sort_by ? sort_rows(g, rows, "object", err) : 0;
	if (rc < 0)
		return rc;
	g->n_found += json_array_size(rows);
	view_for(g, it->kind);
	view_print(&g->view, table, g->watch_events ? "ADDED" : NULL);
	g->printed = true;
	return 0;
}

static int fetch(struct get *g, const struct item *it, json_t **ret, struct err *err)
{
	const char *path = get_path(g, it), *accept = as_table(g) ? ACCEPT_TABLE : NULL;
	if (as_table(g) && g->sort_by)
		path = with_query(path, "includeObject", "Object");
	return it->name ? rest(g->c, "GET", path, accept, NULL, NULL, ret, err)
			: rest_list(g->c, path, accept, ret, err);
}

static void nothing_found(struct get *g)
{
	const struct kind *k = g->items.v[0].kind;
	if (g->ignore_missing || g->c->failures)
		return;
	fflush(stdout);
	if (g->all_ns || !k->namespaced)
		fputs("No resources found\n", stderr);
	else
		fprintf(stderr, "No resources found in %s namespace.\n", ctl_ns(g->c));
}

/* A failure of one item is told, and the others follow. */
static bool tell(struct get *g, struct err *err)
{
	if (!(err->reason == ERR_NOT_FOUND && g->ignore_missing))
		ctl_fail(g->c, err, NULL);
	bool goes_on = err->reason != ERR_NONE && err->reason != ERR_UNAUTHORIZED;
	err_done(err);
	return goes_on;
}

static int get_tables(struct get *g, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < g->items.n; i++) {
		_cleanup_json_ json_t *table = NULL;
		struct err one = ERR_INIT;
		int rc = fetch(g, &g->items.v[i], &table, &one);
		if (rc == 0)
			rc = print_table(g, &g->items.v[i], table, &one);
		if (rc < 0 && !tell(g, &one))
			return 1;
	}
	if (g->n_found == 0)
		nothing_found(g);
	return g->c->failures > 0;
}

/* ---- objects ---- */

static int get_objects(struct get *g, struct err *err)
{
	_cleanup_json_ json_t *all = json_array();
	bool single = g->items.n == 1 && g->items.v[0].name;
	for (size_t i = 0; i < g->items.n; i++) {
		_cleanup_json_ json_t *got = NULL;
		struct err one = ERR_INIT;
		if (fetch(g, &g->items.v[i], &got, &one) < 0) {
			if (!tell(g, &one))
				return 1;
			continue;
		}
		if (g->items.v[i].name) {
			json_array_append(all, got);
			continue;
		}
		size_t k;
		json_t *o;
		json_array_foreach(json_object_get(got, "items"), k, o)
		{
			put_type(g->items.v[i].kind, o);
			json_array_append(all, o);
		}
	}
	if (g->sort_by && sort_rows(g, all, NULL, err) < 0)
		return -EINVAL;
	if (single && json_array_size(all) == 0)
		return g->c->failures > 0;
	_cleanup_json_ json_t *doc = single ? json_incref(json_array_get(all, 0)) : list_of(all);
	int rc = output_print(&g->out, doc, err);
	return rc < 0 ? rc : g->c->failures > 0;
}

/* ---- watching ---- */

struct get_watch {
	struct get *g;
	const struct item *it;
	struct err err;
};

static bool on_event(void *arg, const char *type, json_t *obj)
{
	struct get_watch *w = arg;
	if (as_table(w->g)) {
		view_for(w->g, w->it->kind);
		view_print(&w->g->view, obj, w->g->watch_events ? type : NULL);
		return ferror(stdout);
	}
	if (w->g->out.form == OUT_YAML)
		puts("---");
	int rc = output_print(&w->g->out, obj, &w->err);
	if (w->g->out.form == OUT_JSONPATH)
		putchar('\n');
	fflush(stdout);
	return rc < 0 || ferror(stdout);
}

static int get_watch(struct get *g, struct err *err)
{
	if (g->items.n != 1)
		return ctl_usage(err, "you may only specify a single resource type (or one name) with --watch");
	struct item it = g->items.v[0];
	if (it.name) {
		g->fields = keepf("metadata.name=%s", it.name);
		_cleanup_json_ json_t *there = NULL;
		int rc = g->watch_only ? 0 : rest_get(g->c, path_of(it.kind, it.ns, it.name, NULL), &there, err);
		if (rc < 0)
			return rc;
		it.name = NULL;
	}
	_cleanup_json_ json_t *list = NULL;
	int rc = fetch(g, &it, &list, err);
	if (rc < 0)
		return rc;
	if (!g->watch_only && as_table(g))
		rc = print_table(g, &it, list, err);
	struct get_watch w = {.g = g, .it = &it};
	size_t i;
	json_t *o;
	if (!g->watch_only && !as_table(g)) {
		json_array_foreach(json_object_get(list, "items"), i, o)
		{
			put_type(it.kind, o);
			if (on_event(&w, "ADDED", o))
				break;
		}
	}
	const char *rv = json_get_str(json_object_get(list, "metadata"), "resourceVersion", "");
	if (rc == 0 && !w.err.code)
		rc = rest_watch(g->c, get_path(g, &it), as_table(g) ? ACCEPT_TABLE : NULL, rv, 0, on_event, &w, err);
	return w.err.code ? err_move(err, &w.err) : MIN(rc, 0);
}

/* ---- the verb ---- */

static int read_words(struct get *g, const struct args *args, struct err *err)
{
	if (g->input.files.n) {
		int rc = input_read(g->c, &g->input, &g->items, err);
		return rc;
	}
	if (args->pos.n == 0) {
		fputs("You must specify the type of resource to get. Use \"minictl api-resources\" for a complete list of "
		      "supported resources.\n\n",
		      stderr);
		return ctl_usage(
			err, "Required resource not specified.\nUse \"minictl explain <resource>\" for a detailed "
			     "description of that resource (e.g. minictl explain pods).\nSee 'minictl get -h' for help "
			     "and examples");
	}
	int rc = input_words(g->c, &args->pos, &g->items, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < g->items.n; i++) {
		const struct item *it = &g->items.v[i];
		g->many_kinds = g->many_kinds || it->kind != g->items.v[0].kind;
		if (it->name && g->all_ns && it->kind->namespaced)
			return ctl_usage(err, "a resource cannot be retrieved by name across all namespaces");
		if (it->name && (g->selector || g->fields))
			return ctl_usage(err, "name cannot be provided when a selector is specified");
		if (it->kind->verbs == VERB_CREATE)
			return ctl_usage(err, "the server does not allow this method on the requested resource");
	}
	/* "all", or a comma: names carry their kind even when one kind alone turns up */
	g->many_kinds = g->many_kinds || strchr(args->pos.items[0], ',');
	return 0;
}

static int print_raw(struct get *g, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	int rc = rest_text(g->c, g->raw, "*/*", &text, err);
	if (rc == 0)
		fwrite(buf_str(&text), 1, text.len, stdout);
	return rc;
}

static int run(struct get *g, const struct args *args, struct err *err)
{
	int rc = output_parse(g->output, &g->out, err);
	if (rc < 0)
		return rc;
	g->out.no_headers = g->no_headers;
	if (g->raw)
		return print_raw(g, err);
	rc = read_words(g, args, err);
	if (rc < 0)
		return rc;
	if (g->items.n == 0)
		return 1;
	rc = ctl_connect(g->c, err);
	if (rc < 0)
		return rc;
	if (g->watch || g->watch_only)
		return get_watch(g, err);
	return as_table(g) ? get_tables(g, err) : get_objects(g, err);
}

int verb_get(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct get g = {.c = c};
	const char *ignored = NULL;
	const struct opt opts[] = {
		INPUT_OPTS(&g.input),
		{"output", 'o', OPT_STR, &g.output, NULL,
		 "wide, yaml, json, name, jsonpath=TEMPLATE, custom-columns=NAME:PATH,..."},
		{"selector", 'l', OPT_STR, &g.selector, NULL, "only what has these labels"},
		{"field-selector", 0, OPT_STR, &g.fields, NULL, "only what has these fields"},
		{"all-namespaces", 'A', OPT_BOOL, &g.all_ns, NULL, "in all namespaces"},
		{"watch", 'w', OPT_BOOL, &g.watch, NULL, "then print changes as they come"},
		{"watch-only", 0, OPT_BOOL, &g.watch_only, NULL, "print changes only"},
		{"output-watch-events", 0, OPT_BOOL, &g.watch_events, NULL, "with the kind of each change"},
		{"show-labels", 0, OPT_BOOL, &g.show_labels, NULL, "with a column of all labels"},
		{"label-columns", 'L', OPT_LIST, &g.label_columns, NULL, "with a column for each of these labels"},
		{"show-kind", 0, OPT_BOOL, &g.show_kind, NULL, "with the kind before names"},
		{"show-managed-fields", 0, OPT_BOOL, &g.out.managed_fields, NULL,
		 "with managedFields in yaml and json"},
		{"no-headers", 0, OPT_BOOL, &g.no_headers, NULL, "without the line of column names"},
		{"sort-by", 0, OPT_STR, &g.sort_by, NULL, "sort by the value at this path"},
		{"ignore-not-found", 0, OPT_BOOL, &g.ignore_missing, NULL, "what is not there is no error"},
		{"subresource", 0, OPT_STR, &g.subresource, NULL, "status or scale"},
		{"raw", 0, OPT_STR, &g.raw, NULL, "fetch this path of the server"},
		{"chunk-size", 0, OPT_STR, &ignored, NULL, NULL},
		{"template", 0, OPT_REFUSE, NULL, NULL, "use -o jsonpath=TEMPLATE"},
		{NULL, 0, OPT_BOOL, NULL, NULL, NULL},
	};
	struct args args = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc == 0)
		rc = run(&g, &args, err);
	else
		rc = MIN(rc, 0);
	if (g.view_kind)
		view_done(&g.view);
	items_done(&g.items);
	return rc;
}
