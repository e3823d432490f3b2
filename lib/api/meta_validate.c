/* Rules of metadata, common to all kinds (apimachinery's api/validation). */
#include "lib/api/api_internal.h"
#include <errno.h>

#define ANNOTATIONS_MAX (256u << 10)

static void add_invalid(struct err *err, const char *field, const json_t *v, const char *why)
{
	_cleanup_free_ char *quoted = value_quoted(v);
	err_add_cause(err, "FieldValueInvalid", field, "Invalid value: %s: %s", quoted, why);
}

static void check_key(struct err *err, const char *field, const char *key)
{
	const char *why = schema_format_check(FMT_QUALIFIED_NAME, key);
	if (!why)
		return;
	json_t *v = json_string_nocheck(key);
	add_invalid(err, field, v, why);
	json_decref(v);
}

void meta_validate_labels(const json_t *labels, const char *path, struct err *err)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)labels, key, v)
	{
		check_key(err, path, key);
		const char *why = json_is_string(v) ? schema_format_check(FMT_LABEL_VALUE, json_string_value(v)) : NULL;
		if (why)
			add_invalid(err, path, v, why);
	}
}

/* Annotation keys are compared in lower case. */
static void check_annotation_key(struct err *err, const char *field, const char *key)
{
	_cleanup_free_ char *lower = xstrdup(key);
	for (char *p = lower; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 32);
	}
	check_key(err, field, lower);
}

void meta_validate_annotations(const json_t *annotations, const char *path, struct err *err)
{
	const char *key;
	json_t *v;
	size_t total = 0;

	json_object_foreach((json_t *)annotations, key, v)
	{
		check_annotation_key(err, path, key);
		total += strlen(key) + json_string_length(v);
	}
	if (total > ANNOTATIONS_MAX)
		err_add_cause(err, "FieldValueTooLong", path, "Too long: may not be more than %u bytes",
			      ANNOTATIONS_MAX);
}

/* The first part of a generated name, which may end in what a whole name may not. */
static void check_generate_name(const struct kind *k, const json_t *meta, struct err *err)
{
	const char *prefix = json_get_str(meta, "generateName", "");
	size_t n = strlen(prefix);
	if (!n || k->name_format == FMT_NONE)
		return;
	_cleanup_free_ char *as_name = xstrdup(prefix);
	if (n > 1 && as_name[n - 1] == '-')
		as_name[n - 1] = 'a';
	const char *why = schema_format_check(k->name_format, as_name);
	if (why)
		add_invalid(err, "metadata.generateName", json_object_get(meta, "generateName"), why);
}

static void check_name(const struct kind *k, const json_t *meta, struct err *err)
{
	const char *name = json_get_str(meta, "name", "");

	if (!*name) {
		err_add_cause(err, "FieldValueRequired", "metadata.name",
			      "Required value: name or generateName is required");
		return;
	}
	const char *why = schema_format_check(k->name_format, name);
	if (!why && k->name_format == FMT_NONE)
		why = schema_format_check(FMT_PATH_SEGMENT, name);
	if (why)
		add_invalid(err, "metadata.name", json_object_get(meta, "name"), why);
}

static void check_namespace(const struct kind *k, const json_t *meta, struct err *err)
{
	const char *ns = json_get_str(meta, "namespace", "");

	if (!k->namespaced) {
		if (*ns)
			err_add_cause(err, "FieldValueForbidden", "metadata.namespace",
				      "Forbidden: not allowed on this type");
		return;
	}
	if (!*ns) {
		err_add_cause(err, "FieldValueRequired", "metadata.namespace", "Required value");
		return;
	}
	const char *why = schema_format_check(FMT_DNS_LABEL, ns);
	if (why)
		add_invalid(err, "metadata.namespace", json_object_get(meta, "namespace"), why);
}

static void check_finalizers(const json_t *finalizers, const json_t *meta, const json_t *old, struct err *err)
{
	size_t i;
	json_t *v;

	json_array_foreach(finalizers, i, v)
	{
		const char *s = json_string_value(v);
		const char *why = s ? schema_format_check(FMT_QUALIFIED_NAME, s) : NULL;
		char field[64];
		snprintf(field, sizeof(field), "metadata.finalizers[%zu]", i);
		if (why) {
			add_invalid(err, "metadata.finalizers", v, why);
		} else if (s && !strchr(s, '/') && !streq(s, "orphan") && !streq(s, "foregroundDeletion") &&
			   !streq(s, "kubernetes")) {
			add_invalid(err, field, v,
				    "name is neither a standard finalizer name nor is it fully qualified");
		}
	}
	/* once deletion has begun, finalizers can only go */
	if (!old || !json_get_str(meta, "deletionTimestamp", NULL))
		return;
	const json_t *before = json_object_get(old, "finalizers");
	json_array_foreach(finalizers, i, v)
	{
		bool known = false;
		for (size_t n = 0; n < json_array_size(before) && !known; n++)
			known = json_equal(json_array_get(before, n), v);
		if (!known) {
			_cleanup_free_ char *quoted = value_quoted(v);
			err_add_cause(err, "FieldValueForbidden", "metadata.finalizers",
				      "Forbidden: no new finalizers can be added if the object is being deleted, found "
				      "new finalizers []string{%s}",
				      quoted);
		}
	}
}

static void check_owner_references(const json_t *refs, struct err *err)
{
	static const char *const needed[] = {"apiVersion", "kind", "name", "uid"};
	size_t i;
	json_t *ref;
	int controllers = 0;

	json_array_foreach(refs, i, ref)
	{
		const char *version = json_get_str(ref, "apiVersion", ""), *slash = strchr(version, '/');
		bool no_version = !*version || (slash && (!slash[1] || strchr(slash + 1, '/')));
		for (size_t n = 0; n < ARRAY_LEN(needed); n++) {
			char field[96];
			const char *value = json_get_str(ref, needed[n], "");
			snprintf(field, sizeof(field), "metadata.ownerReferences.%s", needed[n]);
			if (n == 0 ? no_version : !*value)
				err_add_cause(err, "FieldValueInvalid", field,
					      "Invalid value: \"%.200s\": %s must not be empty", value,
					      n == 0 ? "version" : needed[n]);
		}
		if (streq(version, "v1") && streq(json_get_str(ref, "kind", ""), "Event"))
			err_add_cause(err, "FieldValueInvalid", "metadata.ownerReferences",
				      "Invalid value: \"Event\": /v1, Kind=Event is disallowed from being an owner");
		controllers += json_get_bool(ref, "controller", false);
	}
	if (controllers > 1)
		err_add_cause(err, "FieldValueInvalid", "metadata.ownerReferences",
			      "Invalid value: %d references with controller set to true: Only one reference can have "
			      "Controller set to true",
			      controllers);
}

static void check_immutable(const json_t *meta, const json_t *old, struct err *err)
{
	static const char *const fields[] = {
		"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const json_t *was = json_object_get(old, fields[i]), *is = json_object_get(meta, fields[i]);
		char field[64];
		snprintf(field, sizeof(field), "metadata.%s", fields[i]);
		if ((was || is) && !json_equal(was, is))
			add_invalid(err, field, is, "field is immutable");
	}
	if (json_get_int(meta, "generation", 0) < json_get_int(old, "generation", 0))
		add_invalid(err, "metadata.generation", json_object_get(meta, "generation"), "must not be decremented");
}

int meta_validate(const struct kind *k, const json_t *obj, const json_t *old, struct err *err)
{
	struct err own = ERR_INIT, *e = err ? err : &own;
	int before = e->n_causes;
	const json_t *meta = json_object_get(obj, "metadata"), *old_meta = json_object_get(old, "metadata");

	if (old_meta) {
		check_immutable(meta, old_meta, e);
	} else {
		check_generate_name(k, meta, e);
		check_name(k, meta, e);
		check_namespace(k, meta, e);
	}
	if (json_get_int(meta, "generation", 0) < 0)
		add_invalid(e, "metadata.generation", json_object_get(meta, "generation"),
			    "must be greater than or equal to 0");
	meta_validate_labels(json_object_get(meta, "labels"), "metadata.labels", e);
	meta_validate_annotations(json_object_get(meta, "annotations"), "metadata.annotations", e);
	check_finalizers(json_object_get(meta, "finalizers"), meta, old_meta, e);
	check_owner_references(json_object_get(meta, "ownerReferences"), e);
	int found = e->n_causes - before;
	err_done(&own);
	return found ? -EINVAL : 0;
}
