#include "cli/minictl/view.h"

#include <ctype.h>

#include "cli/minictl/jsonpath.h"

static void header(struct view *v, const json_t *defs)
{
	if (v->no_headers)
		return;
	if (v->with_events)
		table_cell(&v->table, "EVENT");
	if (v->with_ns)
		table_cell(&v->table, "NAMESPACE");
	for (unsigned i = 0; i < v->n_columns; i++) {
		_cleanup_free_ char *name = xstrdup(json_get_str(json_array_get(defs, v->columns[i]), "name", ""));
		for (char *p = name; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		table_cell(&v->table, name);
	}
	for (size_t i = 0; i < v->label_columns.n; i++) {
		const char *key = v->label_columns.items[i], *slash = strrchr(key, '/');
		_cleanup_free_ char *name = xstrdup(slash ? slash + 1 : key);
		for (char *p = name; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		table_cell(&v->table, name);
	}
	if (v->with_labels)
		table_cell(&v->table, "LABELS");
}

static void begin(struct view *v, const json_t *table)
{
	const json_t *defs = json_object_get(table, "columnDefinitions");
	size_t i;
	json_t *d;
	if (v->begun || json_array_size(defs) == 0)
		return;
	v->begun = true;
	v->columns = NEW_N(unsigned, json_array_size(defs));
	json_array_foreach(defs, i, d)
	{
		if (v->wide || json_get_int(d, "priority", 0) == 0)
			v->columns[v->n_columns++] = (unsigned)i;
	}
	table_init(&v->table,
		   v->n_columns + v->with_ns + v->with_labels + v->with_events + (unsigned)v->label_columns.n);
	header(v, defs);
}

static void labels_cell(struct table *t, const json_t *labels)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	_cleanup_free_ const char **keys = NEW_N(const char *, json_object_size(labels) + 1);
	size_t n = 0;
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)labels, key, value)
	{
		size_t at = n++;
		for (; at > 0 && strcmp(keys[at - 1], key) > 0; at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
	for (size_t i = 0; i < n; i++)
		buf_addf(&text, "%s%s=%s", i ? "," : "", keys[i], json_get_str(labels, keys[i], ""));
	table_cell(t, n ? buf_str(&text) : "<none>");
}

static void row(struct view *v, const json_t *r, const char *event)
{
	const json_t *meta = json_path(r, "object", "metadata", NULL), *cells = json_object_get(r, "cells");
	if (v->with_events)
		table_cell(&v->table, event ? event : "ADDED");
	if (v->with_ns)
		table_cell(&v->table, json_get_str(meta, "namespace", ""));
	for (unsigned i = 0; i < v->n_columns; i++) {
		const json_t *cell = json_array_get(cells, v->columns[i]);
		_cleanup_buf_ struct buf text = BUF_INIT;
		if (i == 0 && v->prefix)
			buf_adds(&text, v->prefix);
		if (!cell || json_is_null(cell))
			buf_adds(&text, "<none>");
		else
			jsonpath_text(&text, cell);
		table_cell(&v->table, buf_str(&text));
	}
	const json_t *labels = json_object_get(meta, "labels");
	for (size_t i = 0; i < v->label_columns.n; i++)
		table_cell(&v->table, json_get_str(labels, v->label_columns.items[i], ""));
	if (v->with_labels)
		labels_cell(&v->table, labels);
}

void view_print(struct view *v, const json_t *table, const char *event)
{
	size_t i;
	json_t *r;
	begin(v, table);
	if (!v->begun)
		return;
	json_array_foreach(json_object_get(table, "rows"), i, r) row(v, r, event);
	_cleanup_buf_ struct buf out = BUF_INIT;
	table_print(&v->table, &out);
	fwrite(buf_str(&out), 1, out.len, stdout);
	fflush(stdout);
}

void view_done(struct view *v)
{
	free(v->columns);
	if (v->begun)
		table_done(&v->table);
	v->columns = NULL;
	v->begun = false;
	v->n_columns = 0;
}
