/* OpenAPI documents from the tables: v3 for one group version, v2 for all kinds. What kubectl reads in them: the
 * definitions with their patch strategies and group-version-kinds, and the query parameters of PATCH operations. */
#include "lib/api/openapi_internal.h"
#include "lib/core/map.h"

#define PREFIX "io.k8s."

struct writer {
	bool v3;
	struct map definitions; /* name -> json_t */
};

static json_t *definition_of(struct writer *w, const struct schema *s);

/* ---- types ---- */

/* Upstream's named types that are no struct of ours. */
static const struct {
	enum schema_type type;
	const char *name, *format;
} named[] = {
	{SCHEMA_QUANTITY, "apimachinery.pkg.api.resource.Quantity", NULL},
	{SCHEMA_INT_OR_STRING, "apimachinery.pkg.util.intstr.IntOrString", "int-or-string"},
	{SCHEMA_TIME, "apimachinery.pkg.apis.meta.v1.Time", "date-time"},
	{SCHEMA_MICRO_TIME, "apimachinery.pkg.apis.meta.v1.MicroTime", "date-time"},
	{SCHEMA_DURATION, "apimachinery.pkg.apis.meta.v1.Duration", NULL},
};

static json_t *plain(const char *type, const char *format)
{
	json_t *t = json_object();
	if (type)
		json_put_str(t, "type", type);
	if (format)
		json_put_str(t, "format", format);
	return t;
}

/* v3 wants the reference in an allOf, so that it can have siblings; v2's readers take siblings as they are. */
static json_t *reference(const struct writer *w, const char *name, bool alone)
{
	_cleanup_free_ char *to = xasprintf("%s" PREFIX "%s", w->v3 ? "#/components/schemas/" : "#/definitions/", name);
	if (w->v3 && !alone)
		return json_make("{s:[{s:s}]}", "allOf", "$ref", to);
	return json_make("{s:s}", "$ref", to);
}

static void define(struct writer *w, const char *name, json_t *definition_new)
{
	_cleanup_free_ char *full = xasprintf(PREFIX "%s", name);
	map_set(&w->definitions, full, definition_new);
}

static bool is_defined(struct writer *w, const char *name)
{
	_cleanup_free_ char *full = xasprintf(PREFIX "%s", name);
	return map_has(&w->definitions, full);
}

static json_t *named_type(struct writer *w, enum schema_type type, bool alone)
{
	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		if (named[i].type != type)
			continue;
		if (!is_defined(w, named[i].name))
			define(w, named[i].name, plain("string", named[i].format));
		return reference(w, named[i].name, alone);
	}
	return plain(NULL, NULL);
}

static json_t *one_type(struct writer *w, const struct schema_field *f, bool alone)
{
	switch (f->type) {
	case SCHEMA_STRING:
		return plain("string", NULL);
	case SCHEMA_INT32:
		return plain("integer", "int32");
	case SCHEMA_INT64:
		return plain("integer", "int64");
	case SCHEMA_BOOL:
		return plain("boolean", NULL);
	case SCHEMA_DOUBLE:
		return plain("number", "double");
	case SCHEMA_BYTES:
		return plain("string", "byte");
	case SCHEMA_ANY:
		return f->shape == SCHEMA_ONE ? plain("object", NULL) : plain(NULL, NULL);
	case SCHEMA_OBJECT:
		if (!is_defined(w, f->of->name)) {
			define(w, f->of->name, json_null()); /* a type may hold itself */
			define(w, f->of->name, definition_of(w, f->of));
		}
		return reference(w, f->of->name, alone);
	default:
		return named_type(w, f->type, alone);
	}
}

/* ---- members ---- */

static void add_enum(json_t *t, const struct schema_field *f)
{
	if (!f->one_of || f->shape != SCHEMA_ONE)
		return;
	for (const char *const *s = f->one_of; *s; s++)
		json_array_append_new(json_need_array(t, "enum"), json_string_nocheck(*s));
}

static void add_list_type(json_t *t, const struct schema_field *f)
{
	if (f->shape != SCHEMA_LIST)
		return;
	if (f->flags & SCHEMA_LIST_MAP && f->keys) {
		json_t *keys = json_need_array(t, "x-kubernetes-list-map-keys");
		for (const char *p = f->keys; *p;) {
			size_t n = strcspn(p, " ");
			json_array_append_new(keys, json_stringn_nocheck(p, n));
			p += n;
			p += strspn(p, " ");
		}
		json_put_str(t, "x-kubernetes-list-type", "map");
	} else {
		json_put_str(t, "x-kubernetes-list-type", f->flags & SCHEMA_SET ? "set" : "atomic");
	}
}

static void add_patch_strategy(json_t *t, const struct schema_field *f)
{
	bool merge = f->flags & SCHEMA_MERGE, retain = f->flags & SCHEMA_REPLACE_KEYS;

	if (merge && f->merge_key)
		json_put_str(t, "x-kubernetes-patch-merge-key", f->merge_key);
	if (merge || retain)
		json_put_str(t, "x-kubernetes-patch-strategy",
			     merge && retain ? "merge,retainKeys"
			     : merge         ? "merge"
					     : "retainKeys");
}

static json_t *member(struct writer *w, const struct schema_field *f)
{
	json_t *t;

	if (f->shape == SCHEMA_ONE) {
		t = one_type(w, f, false);
	} else {
		const char *inner = f->shape == SCHEMA_LIST ? "items" : "additionalProperties";
		t = plain(f->shape == SCHEMA_LIST ? "array" : "object", NULL);
		json_put(t, inner, one_type(w, f, true));
	}
	json_put_str(t, "description", f->doc ? f->doc : "");
	add_enum(t, f);
	add_list_type(t, f);
	if (f->flags & SCHEMA_ATOMIC && f->shape != SCHEMA_LIST)
		json_put_str(t, "x-kubernetes-map-type", "atomic");
	add_patch_strategy(t, f);
	return t;
}

static void add_members(struct writer *w, const struct schema *s, json_t *definition)
{
	json_t *properties = json_need_object(definition, "properties");

	for (const struct schema_field *f = s->fields; f->name; f++) {
		if (f->flags & SCHEMA_INLINE) {
			add_members(w, f->of, definition);
			continue;
		}
		json_put(properties, f->name, member(w, f));
		if (f->flags & SCHEMA_REQUIRED)
			json_array_append_new(json_need_array(definition, "required"), json_string_nocheck(f->name));
	}
}

static json_t *definition_of(struct writer *w, const struct schema *s)
{
	json_t *d = plain("object", NULL);

	json_put_str(d, "description", s->doc ? s->doc : "");
	add_members(w, s, d);
	return d;
}

/* ---- operations ---- */

static json_t *gvk_of(const struct kind *k)
{
	return json_make("{s:s, s:s, s:s}", "group", k->group, "kind", k->kind, "version", k->version);
}

static json_t *query(const struct writer *w, const char *name, const char *type, const char *doc)
{
	json_t *p = json_make("{s:s, s:s, s:s}", "name", name, "in", "query", "description", doc);
	if (w->v3)
		json_put(p, "schema", json_make("{s:s}", "type", type));
	else
		json_put_str(p, "type", type);
	return p;
}

static void add_body(const struct writer *w, json_t *op, const struct kind *k, bool patch)
{
	static const char *const patch_types[] = {
		"application/json-patch+json",
		"application/merge-patch+json",
		"application/strategic-merge-patch+json",
	};
	const char *const any = "*/*";
	size_t n = patch ? ARRAY_LEN(patch_types) : 1;

	if (!w->v3) {
		json_t *schema = patch ? plain("object", NULL) : reference(w, k->schema->name, true);
		json_array_append_new(json_need_array(op, "parameters"),
				      json_make("{s:s, s:s, s:b, s:o}", "name", "body", "in", "body", "required", 1,
						"schema", schema));
		for (size_t i = 0; i < n; i++)
			json_array_append_new(json_need_array(op, "consumes"),
					      json_string_nocheck(patch ? patch_types[i] : any));
		return;
	}
	json_t *body = json_need_object(op, "requestBody"), *content = json_need_object(body, "content");
	for (size_t i = 0; i < n; i++)
		json_put(content, patch ? patch_types[i] : any,
			 json_make("{s:o}", "schema",
				   patch ? plain("object", NULL) : reference(w, k->schema->name, true)));
	json_put_bool(body, "required", true);
}

static json_t *of_schema(struct writer *w, const struct schema *s)
{
	const struct schema_field top = {.name = "", .type = SCHEMA_OBJECT, .of = s};
	return one_type(w, &top, true);
}

/* What may be said of a deletion, in the query or in a body. */
static void add_delete_options(struct writer *w, json_t *op)
{
	json_t *schema = of_schema(w, &schema_delete_options), *parameters = json_need_array(op, "parameters");

	json_array_append_new(parameters,
			      query(w, "gracePeriodSeconds", "integer", "Seconds to end in good order; 0 is at once."));
	json_array_append_new(parameters, query(w, "orphanDependents", "boolean", "Leave what it owns."));
	json_array_append_new(parameters, query(w, "propagationPolicy", "string",
						"What becomes of what it owns: Orphan, Background or Foreground."));
	if (w->v3)
		json_put(op, "requestBody", json_make("{s:{s:{s:o}}}", "content", "*/*", "schema", schema));
	else
		json_array_append_new(parameters,
				      json_make("{s:s, s:s, s:o}", "name", "body", "in", "body", "schema", schema));
}

static json_t *response(struct writer *w, const struct kind *k, const char *action)
{
	json_t *schema = streq(action, "list")     ? plain("object", NULL)
			 : streq(action, "delete") ? of_schema(w, &schema_status)
						   : reference(w, k->schema->name, true);

	if (w->v3)
		return json_make("{s:{s:s, s:{s:{s:o}}}}", "200", "description", "OK", "content", "application/json",
				 "schema", schema);
	return json_make("{s:{s:s, s:o}}", "200", "description", "OK", "schema", schema);
}

static void add_operation(struct writer *w, json_t *path, const char *method, const char *action, const struct kind *k)
{
	_cleanup_free_ char *id = xasprintf("%s_%s_%s_%s", action, *k->group ? k->group : "core", k->version, k->kind);
	json_t *op = json_need_object(path, method);
	bool writes = !streq(method, "get") && !streq(method, "delete"), patch = streq(method, "patch");

	json_put_str(op, "operationId", id);
	if (!streq(method, "get")) {
		json_t *parameters = json_need_array(op, "parameters");
		json_array_append_new(parameters, query(w, "dryRun", "string", "All: nothing is stored."));
		if (writes) {
			json_array_append_new(parameters, query(w, "fieldManager", "string", "Who makes this change."));
			json_array_append_new(parameters, query(w, "fieldValidation", "string",
								"What to do with unknown and duplicate fields: Ignore, "
								"Warn or Strict."));
		}
		if (patch)
			json_array_append_new(parameters,
					      query(w, "force", "boolean", "Take over fields others manage."));
	}
	if (writes)
		add_body(w, op, k, patch);
	if (streq(action, "delete"))
		add_delete_options(w, op);
	json_put(op, "responses", response(w, k, action));
	json_put_str(op, "x-kubernetes-action", action);
	json_put(op, "x-kubernetes-group-version-kind", gvk_of(k));
}

static json_t *path_parameter(const struct writer *w, const char *name)
{
	json_t *p = json_make("{s:s, s:s, s:b}", "name", name, "in", "path", "required", 1);
	if (w->v3)
		json_put(p, "schema", plain("string", NULL));
	else
		json_put_str(p, "type", "string");
	return p;
}

static json_t *need_path(const struct writer *w, json_t *paths, const char *where, const struct kind *k, bool name)
{
	json_t *path = json_need_object(paths, where);

	if (k->namespaced)
		json_array_append_new(json_need_array(path, "parameters"), path_parameter(w, "namespace"));
	if (name)
		json_array_append_new(json_need_array(path, "parameters"), path_parameter(w, "name"));
	return path;
}

static void add_paths(struct writer *w, json_t *paths, const struct kind *k)
{
	static const struct {
		unsigned verb;
		bool item;
		const char *method, *action;
	} operations[] = {
		{VERB_LIST, false, "get", "list"},    {VERB_CREATE, false, "post", "post"},
		{VERB_GET, true, "get", "get"},       {VERB_UPDATE, true, "put", "put"},
		{VERB_PATCH, true, "patch", "patch"}, {VERB_DELETE, true, "delete", "delete"},
	};
	_cleanup_free_ char *all =
		xasprintf("/%s%s%s/%s/%s%s", *k->group ? "apis" : "api", *k->group ? "/" : "", k->group, k->version,
			  k->namespaced ? "namespaces/{namespace}/" : "", k->plural);
	_cleanup_free_ char *one = xasprintf("%s/{name}", all);
	json_t *at[2] = {NULL, NULL};

	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		if (!(k->verbs & operations[i].verb))
			continue;
		bool item = operations[i].item;
		if (!at[item])
			at[item] = need_path(w, paths, item ? one : all, k, item);
		add_operation(w, at[item], operations[i].method, operations[i].action, k);
	}
}

/* ---- documents ---- */

static void add_kind(struct writer *w, json_t *paths, const struct kind *k)
{
	const struct schema_field top = {.name = "", .type = SCHEMA_OBJECT, .of = k->schema};
	_cleanup_free_ char *full = xasprintf(PREFIX "%s", k->schema->name);

	json_decref(one_type(w, &top, true));
	json_array_append_new(json_need_array(map_get(&w->definitions, full), "x-kubernetes-group-version-kind"),
			      gvk_of(k));
	add_paths(w, paths, k);
}

static json_t *sorted_definitions(struct writer *w)
{
	json_t *all = json_object();
	struct map_entry **sorted = map_sorted(&w->definitions);

	for (uint32_t i = 0; i < w->definitions.count; i++)
		json_put(all, sorted[i]->key, sorted[i]->value);
	free(sorted);
	map_done(&w->definitions); /* the references have moved */
	return all;
}

/* group NULL: all kinds. */
static json_t *document(bool v3, const char *group, const char *version)
{
	struct writer w = {.v3 = v3};
	json_t *paths = json_object();

	for (const struct kind *const *k = kinds_all; *k; k++) {
		if (!group || (streq((*k)->group, group) && streq((*k)->version, version)))
			add_kind(&w, paths, *k);
	}
	json_t *definitions = sorted_definitions(&w);
	json_t *info = json_make("{s:s, s:s}", "title", "Kubernetes", "version", "v1.32.0");
	if (v3)
		return json_make("{s:s, s:o, s:o, s:{s:o}}", "openapi", "3.0.0", "info", info, "paths", paths,
				 "components", "schemas", definitions);
	return json_make("{s:s, s:o, s:o, s:o}", "swagger", "2.0", "info", info, "paths", paths, "definitions",
			 definitions);
}

json_t *openapi_v2_tree(void)
{
	return document(false, NULL, NULL);
}

void openapi_v3_write(struct buf *out, const char *group, const char *version)
{
	json_t *doc = document(true, group, version);
	json_write(out, doc);
	json_decref(doc);
}

void openapi_v2_write(struct buf *out)
{
	json_t *doc = openapi_v2_tree();
	json_write(out, doc);
	json_decref(doc);
}
