/* All faults of an object at once, from what the tables say; then each schema's own rules. */
#include <inttypes.h>

#include "lib/api/api_internal.h"
#include "lib/api/json.h"
#include "lib/core/map.h"
#include <errno.h>

static void add_at(struct err *err, const struct path *at, const char *type, const char *message)
{
	_cleanup_free_ char *field = path_str(at);
	err_add_cause(err, type, field, "%s", message);
}

static void add_required(struct err *err, const struct path *at)
{
	add_at(err, at, "FieldValueRequired", "Required value");
}

static void add_invalid(struct err *err, const struct path *at, const json_t *v, const char *why)
{
	_cleanup_free_ char *quoted = value_quoted(v);
	_cleanup_free_ char *message = xasprintf("Invalid value: %s: %s", quoted, why);
	add_at(err, at, "FieldValueInvalid", message);
}

static void add_duplicate(struct err *err, const struct path *at, const json_t *v)
{
	_cleanup_free_ char *quoted = value_quoted(v);
	_cleanup_free_ char *message = xasprintf("Duplicate value: %s", quoted);
	add_at(err, at, "FieldValueDuplicate", message);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_unsupported(struct err *err, const struct path *at, const json_t *v, const char *const *one_of)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	_cleanup_free_ char *quoted = value_quoted(v);
	size_t n = 0;

	while (one_of[n])
		n++;
	_cleanup_free_ const char **sorted = NEW_N(const char *, n + 1);
	memcpy(sorted, one_of, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_text);
	buf_addf(&b, "Unsupported value: %s: supported values: ", quoted);
	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s\"%s\"", i ? ", " : "", sorted[i]);
	add_at(err, at, "FieldValueNotSupported", b.data);
}

static bool is_one_of(const char *s, const char *const *one_of)
{
	for (; *one_of; one_of++) {
		if (strcmp(s, *one_of) == 0)
			return true;
	}
	return false;
}

static void check_string(const struct schema_field *f, const json_t *v, const struct path *at, struct err *err)
{
	const char *s = json_string_value(v);

	if (!*s && f->shape == SCHEMA_ONE)
		return; /* absent, as far as rules go; whether that may be was asked before */
	if (f->one_of && !is_one_of(s, f->one_of)) {
		add_unsupported(err, at, v, f->one_of);
		return;
	}
	if (f->shape == SCHEMA_MAP) /* there the format is the keys' */
		return;
	const char *why = f->format == FMT_PORT_NUMBER ? schema_format_check(FMT_PORT_NAME, s)
						       : schema_format_check(f->format, s);
	if (why)
		add_invalid(err, at, v, why);
}

static void check_number(const struct schema_field *f, const json_t *v, const struct path *at, struct err *err)
{
	double d = json_number_value(v);
	bool has_min = f->has_min, has_max = f->has_max;
	int64_t min = f->min, max = f->max;
	char why[100];

	if (f->format == FMT_PORT_NUMBER && !has_min && !has_max) {
		has_min = has_max = true;
		min = 1;
		max = 65535;
	}
	if ((!has_min || d >= (double)min) && (!has_max || d <= (double)max))
		return;
	if (has_min && has_max)
		snprintf(why, sizeof(why), "must be between %" PRId64 " and %" PRId64 ", inclusive", min, max);
	else if (has_min)
		snprintf(why, sizeof(why), "must be greater than or equal to %" PRId64, min);
	else
		snprintf(why, sizeof(why), "must be less than or equal to %" PRId64, max);
	add_invalid(err, at, v, why);
}

static void validate_object(const struct schema *s, const json_t *obj, const json_t *old, const struct path *at,
			    struct err *err);

static void validate_one(const struct schema_field *f, const json_t *v, const json_t *old, const struct path *at,
			 struct err *err)
{
	if (json_is_object(v) && f->type == SCHEMA_OBJECT)
		validate_object(f->of, v, json_is_object(old) ? old : NULL, at, err);
	else if (json_is_string(v))
		check_string(f, v, at, err);
	else if (json_is_number(v))
		check_number(f, v, at, err);
}

/* What a long list is looked up in, where a short one is searched: its elements by what they go by. */
#define SHORT_LIST 32

static char *element_text(const json_t *v, const char *keys)
{
	struct buf b = BUF_INIT;

	if (!keys)
		json_write(&b, v);
	for (const char *p = keys; p && *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		const json_t *k = json_object_getn(v, p, n);
		if (k)
			json_write(&b, k);
		buf_addc(&b, ',');
		p += n;
	}
	return buf_steal(&b);
}

static void index_elements(struct map *m, const json_t *list, const char *keys)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		_cleanup_free_ char *text = element_text(json_array_get(list, i), keys);
		if (!map_has(m, text))
			map_set(m, text, json_array_get(list, i));
	}
}

/* An element's counterpart in the old list: by its keys, or by its merge key, else by its place. */
static const json_t *old_element(const struct schema_field *f, const json_t *old, struct map *by_keys, const json_t *v,
				 size_t at)
{
	const char *keys = f->keys ? f->keys : f->merge_key;

	if (f->type != SCHEMA_OBJECT || !keys)
		return json_array_get(old, at);
	if (json_array_size(old) > SHORT_LIST) {
		if (!by_keys->count)
			index_elements(by_keys, old, keys);
		_cleanup_free_ char *text = element_text(v, keys);
		return map_get(by_keys, text);
	}
	for (size_t i = 0; i < json_array_size(old); i++) {
		const json_t *o = json_array_get(old, i);
		if (list_keys_equal(o, v, keys))
			return o;
	}
	return NULL;
}

static bool seen_before(const struct schema_field *f, const json_t *list, struct map *seen, size_t at)
{
	json_t *v = json_array_get(list, at);

	if (json_array_size(list) > SHORT_LIST) {
		_cleanup_free_ char *text = element_text(v, f->type == SCHEMA_OBJECT ? f->keys : NULL);
		bool known = map_has(seen, text);
		if (!known)
			map_set(seen, text, v);
		return known;
	}
	for (size_t i = 0; i < at; i++) {
		const json_t *u = json_array_get(list, i);
		if (f->type == SCHEMA_OBJECT && f->keys ? list_keys_equal(u, v, f->keys) : json_equal(u, v))
			return true;
	}
	return false;
}

static void check_duplicate(const struct schema_field *f, const json_t *list, struct map *seen, size_t i,
			    const struct path *here, struct err *err)
{
	const json_t *v = json_array_get(list, i);

	if (!(f->flags & (SCHEMA_SET | SCHEMA_LIST_MAP)) || !seen_before(f, list, seen, i))
		return;
	if (f->keys && !strchr(f->keys, ' ')) {
		/* one key: the fault is in that member */
		const json_t *key = json_object_get(v, f->keys);
		struct path member = {.up = here, .name = f->keys};
		if (key)
			add_duplicate(err, &member, key);
	} else {
		add_duplicate(err, here, v);
	}
}

static void validate_list(const struct schema_field *f, const json_t *list, const json_t *old, const struct path *at,
			  struct err *err)
{
	size_t n = json_array_size(list);
	_cleanup_map_ struct map by_keys = MAP_INIT, seen = MAP_INIT;

	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(list, i);
		struct path here = {.up = at, .index = i};
		validate_one(f, v, old ? old_element(f, old, &by_keys, v, i) : NULL, &here, err);
		check_duplicate(f, list, &seen, i, &here, err);
	}
}

static void validate_map(const struct schema_field *f, const json_t *map, const json_t *old, const struct path *at,
			 struct err *err)
{
	json_t *m = (json_t *)map;

	for (void *it = json_object_iter(m); it; it = json_object_iter_next(m, it)) {
		const char *key = json_object_iter_key(it);
		struct path here = {.up = at, .key = key};
		const char *why = schema_format_check(f->format, key);
		if (why) {
			json_t *name = json_string_nocheck(key);
			add_invalid(err, f->format == FMT_QUALIFIED_NAME ? at : &here, name, why);
			json_decref(name);
		}
		validate_one(f, json_object_iter_value(it), json_object_get(old, key), &here, err);
	}
}

static bool is_empty(const json_t *v)
{
	return (json_is_string(v) && json_string_length(v) == 0) || (json_is_array(v) && json_array_size(v) == 0);
}

static bool is_empty_map(const struct schema_field *f, const json_t *v)
{
	return f->shape == SCHEMA_MAP && json_object_size(v) == 0;
}

static void validate_field(const struct schema_field *f, const json_t *v, const json_t *old, const struct path *at,
			   struct err *err)
{
	bool missing = !v || json_is_null(v);

	if (f->flags & SCHEMA_REQUIRED && (missing || is_empty(v) || is_empty_map(f, v))) {
		add_required(err, at);
		return;
	}
	if (f->flags & SCHEMA_NON_EMPTY && !missing && (is_empty(v) || is_empty_map(f, v))) {
		add_required(err, at);
		return;
	}
	if (f->flags & SCHEMA_IMMUTABLE && old && !is_empty(old) && !json_is_null(old) &&
	    !json_equal(old, missing ? NULL : v)) {
		add_invalid(err, at, v, "field is immutable");
		return;
	}
	if (missing)
		return;
	if (f->shape == SCHEMA_LIST && json_is_array(v))
		validate_list(f, v, json_is_array(old) ? old : NULL, at, err);
	else if (f->shape == SCHEMA_MAP && json_is_object(v))
		validate_map(f, v, json_is_object(old) ? old : NULL, at, err);
	else
		validate_one(f, v, old, at, err);
}

static void run_check(const struct schema *s, const json_t *obj, const json_t *old, const struct path *at,
		      struct err *err)
{
	if (!s->check)
		return;
	_cleanup_free_ char *where = path_str(at);
	s->check(obj, old, where, err);
}

static void validate_object(const struct schema *s, const json_t *obj, const json_t *old, const struct path *at,
			    struct err *err)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		struct path here = {.up = at, .name = f->name};
		if (f->flags & SCHEMA_INLINE)
			validate_object(f->of, obj, old, at, err);
		else
			validate_field(f, json_object_get(obj, f->name), json_object_get(old, f->name), &here, err);
	}
	run_check(s, obj, old, at, err);
}

int schema_validate(const struct schema *s, const json_t *obj, const json_t *old, struct err *err)
{
	const struct path top = {0};
	struct err own = ERR_INIT, *e = err ? err : &own;
	int before = e->n_causes;

	validate_object(s, obj, old, &top, e);
	int found = e->n_causes - before;
	err_done(&own);
	return found ? -EINVAL : 0;
}

void schema_invalid_message(struct err *err, const struct kind *k, const char *name)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int kept = err->causes ? MIN(err->n_causes, ERR_CAUSES_MAX) : 0;

	if (k)
		buf_addf(&b, "%s%s%s \"%s\" is invalid: ", k->kind, *k->group ? "." : "", k->group, name);
	else
		buf_addf(&b, "\"%s\" is invalid: ", name);
	if (kept == 0)
		buf_adds(&b, err->message);
	if (kept > 1)
		buf_addc(&b, '[');
	for (int i = 0; i < kept; i++) {
		const struct err_cause *c = &err->causes[i];
		buf_addf(&b, "%s%s: %s", i ? ", " : "", c->field, c->message);
	}
	if (err->n_causes > kept)
		buf_addf(&b, ", and %d more", err->n_causes - kept);
	if (kept > 1)
		buf_addc(&b, ']');
	snprintf(err->message, sizeof(err->message), "%s", b.data);
	snprintf(err->group, sizeof(err->group), "%s", k ? k->group : "");
	snprintf(err->kind, sizeof(err->kind), "%s", k ? k->kind : "");
	snprintf(err->name, sizeof(err->name), "%s", name);
}
