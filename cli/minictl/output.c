#include "cli/minictl/output.h"

#include <ctype.h>
#include <errno.h>

#include "cli/minictl/jsonpath.h"
#include "cli/minictl/table.h"

int output_parse(const char *text, struct output *ret, struct err *err)
{
	static const struct {
		const char *word;
		enum output_form form;
	} words[] = {{"wide", OUT_WIDE}, {"yaml", OUT_YAML}, {"json", OUT_JSON}, {"name", OUT_NAME}};
	ret->form = OUT_DEFAULT;
	if (str_empty(text))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (streq(text, words[i].word)) {
			ret->form = words[i].form;
			return 0;
		}
	}
	if (str_starts(text, "jsonpath=") || str_starts(text, "jsonpath-as-json=")) {
		ret->form = OUT_JSONPATH;
		ret->arg = strchr(text, '=') + 1;
		return 0;
	}
	if (str_starts(text, "custom-columns=")) {
		ret->form = OUT_COLUMNS;
		ret->arg = strchr(text, '=') + 1;
		return 0;
	}
	return ctl_usage(err,
			 "unable to match a printer suitable for the output format \"%s\", allowed formats are: "
			 "custom-columns,json,jsonpath,name,wide,yaml",
			 text);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *json_sorted(const json_t *j)
{
	size_t i, n = 0;
	const char *key;
	json_t *v;
	if (json_is_array(j)) {
		json_t *out = json_array();
		json_array_foreach(j, i, v) json_array_append_new(out, json_sorted(v));
		return out;
	}
	if (!json_is_object(j))
		return json_incref((json_t *)(uintptr_t)j);
	_cleanup_free_ const char **keys = NEW_N(const char *, json_object_size(j) + 1);
	json_object_foreach((json_t *)(uintptr_t)j, key, v) keys[n++] = key;
	qsort(keys, n, sizeof(*keys), by_key);
	json_t *out = json_object();
	for (i = 0; i < n; i++)
		json_object_set_new(out, keys[i], json_sorted(json_object_get(j, keys[i])));
	return out;
}

json_t *list_of(json_t *items)
{
	return json_make("{s:s, s:O, s:s, s:{s:s}}", "apiVersion", "v1", "items", items, "kind", "List", "metadata",
			 "resourceVersion", "");
}

void put_type(const struct kind *k, json_t *obj)
{
	if (json_object_get(obj, "kind"))
		return;
	_cleanup_free_ char *api = kind_api_version(k);
	json_put_str(obj, "apiVersion", api);
	json_put_str(obj, "kind", k->kind);
}

static json_t *items_of(const json_t *obj)
{
	json_t *items = json_object_get(obj, "items");
	return str_ends(json_get_str(obj, "kind", ""), "List") && json_is_array(items) ? items : NULL;
}

static int each(const json_t *obj, int (*fn)(const json_t *obj, void *arg, struct err *err), void *arg, struct err *err)
{
	json_t *items = items_of(obj), *o;
	size_t i;
	if (!items)
		return fn(obj, arg, err);
	json_array_foreach(items, i, o)
	{
		int rc = fn(o, arg, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int print_name(const json_t *obj, void *arg, struct err *err)
{
	(void)arg;
	(void)err;
	const char *api = json_get_str(obj, "apiVersion", ""), *slash = strchr(api, '/');
	char kind[128];
	snprintf(kind, sizeof(kind), "%s", json_get_str(obj, "kind", ""));
	for (char *p = kind; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	printf("%s%s%.*s/%s\n", kind, slash ? "." : "", slash ? (int)(slash - api) : 0, api, meta_name(obj));
	return 0;
}

static int print_text(const struct output *o, const json_t *obj, struct err *err)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_json_ json_t *sorted = json_sorted(obj);
	(void)err;
	if (!o->managed_fields && json_object_get(json_object_get(sorted, "metadata"), "managedFields"))
		json_object_del(json_object_get(sorted, "metadata"), "managedFields");
	if (o->form == OUT_YAML) {
		yaml_write(&out, sorted);
	} else {
		json_write_pretty(&out, sorted, 4);
		buf_addc(&out, '\n');
	}
	fwrite(buf_str(&out), 1, out.len, stdout);
	return 0;
}

/* ---- custom-columns=NAME:.metadata.name,... ---- */

struct columns {
	struct strings paths;
	struct table table;
};

static int print_row(const json_t *obj, void *arg, struct err *err)
{
	struct columns *cols = arg;
	for (size_t i = 0; i < cols->paths.n; i++) {
		_cleanup_json_ json_t *values = json_array();
		_cleanup_buf_ struct buf text = BUF_INIT;
		int rc = jsonpath_values(cols->paths.items[i], obj, values, err);
		if (rc < 0)
			return rc;
		size_t k;
		json_t *v;
		json_array_foreach(values, k, v)
		{
			if (k)
				buf_addc(&text, ',');
			jsonpath_text(&text, v);
		}
		table_cell(&cols->table, json_array_size(values) ? buf_str(&text) : "<none>");
	}
	return 0;
}

/* Commas inside brackets and parentheses do not separate. */
static int columns_parse(const char *spec, struct strings *names, struct strings *paths, struct err *err)
{
	while (*spec) {
		size_t n = 0;
		for (int deep = 0; spec[n] && (spec[n] != ',' || deep); n++)
			deep += (spec[n] == '[' || spec[n] == '(') - (spec[n] == ']' || spec[n] == ')');
		const char *colon = memchr(spec, ':', n);
		if (!colon)
			return ctl_usage(err,
					 "unexpected custom-columns spec: %.*s, expected <header>:<json-path-expr>",
					 (int)n, spec);
		strings_add(names, keepf("%.*s", (int)(colon - spec), spec));
		strings_add(paths, keepf("%.*s", (int)(spec + n - colon - 1), colon + 1));
		spec += n + (spec[n] == ',');
	}
	return names->n ? 0 : ctl_usage(err, "custom-columns format specified but no custom columns given");
}

static int print_columns(const struct output *o, const json_t *obj, struct err *err)
{
	struct strings names = {0};
	struct columns cols = {0};
	int rc = columns_parse(o->arg, &names, &cols.paths, err);
	if (rc < 0)
		return rc;
	_cleanup_buf_ struct buf out = BUF_INIT;
	table_init(&cols.table, (unsigned)names.n);
	for (size_t i = 0; i < names.n && !o->no_headers; i++)
		table_cell(&cols.table, names.items[i]);
	rc = each(obj, print_row, &cols, err);
	if (rc == 0) {
		table_print(&cols.table, &out);
		fwrite(buf_str(&out), 1, out.len, stdout);
	}
	table_done(&cols.table);
	return rc;
}

static int print_jsonpath(const struct output *o, const json_t *obj, struct err *err)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	int rc = jsonpath_print(o->arg, obj, &out, err);
	if (rc == 0)
		fwrite(buf_str(&out), 1, out.len, stdout);
	return rc;
}

int output_print(const struct output *o, const json_t *obj, struct err *err)
{
	switch (o->form) {
	case OUT_NAME:
		return each(obj, print_name, NULL, err);
	case OUT_JSONPATH:
		return print_jsonpath(o, obj, err);
	case OUT_COLUMNS:
		return print_columns(o, obj, err);
	case OUT_YAML:
	case OUT_JSON:
	case OUT_DEFAULT:
	case OUT_WIDE:
		break;
	}
	return print_text(o, obj, err);
}

int output_done(const struct output *o, const struct kind *k, const json_t *obj, const char *verb, struct err *err)
{
	if (o->form != OUT_DEFAULT && o->form != OUT_WIDE)
		return output_print(o, obj, err);
	printf("%s %s\n", item_word(k, meta_name(obj)), verb);
	return 0;
}
