/* Walks over the tables: finding fields, filling in defaults. */
#include "lib/api/schema.h"

#include "lib/api/api_internal.h"

const struct schema_field *schema_field(const struct schema *s, const char *name)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		if (f->flags & SCHEMA_INLINE) {
			const struct schema_field *inner = schema_field(f->of, name);
			if (inner)
				return inner;
		} else if (strcmp(f->name, name) == 0) {
			return f;
		}
	}
	return NULL;
}

const char *schema_short_name(const struct schema *s)
{
	const char *dot = strrchr(s->name, '.');
	return dot ? dot + 1 : s->name;
}

const char *schema_go_type(const struct schema *s)
{
	const char *p = schema_short_name(s);
	if (p == s->name)
		return p;
	for (p--; p > s->name && p[-1] != '.'; p--)
		;
	return p;
}

/* Defaults are a word, a number or a string without escapes nearly always. */
static json_t *value_of_default(const char *text)
{
	size_t len = strlen(text);
	json_t *v = NULL;
	int64_t n;

	if (*text == '"' && !strchr(text, '\\'))
		return json_stringn_nocheck(text + 1, len - 2);
	if (parse_i64(text, &n) == 0)
		return json_integer(n);
	MUST(json_parse(text, len, &v, NULL) == 0); /* the tables are ours */
	return v;
}

static void default_value(const struct schema_field *f, json_t *v)
{
	json_t *item;

	if (f->shape == SCHEMA_ONE) {
		schema_default(f->of, v);
	} else if (f->shape == SCHEMA_LIST) {
		size_t i;
		json_array_foreach(v, i, item) schema_default(f->of, item);
	} else {
		const char *key;
		json_object_foreach(v, key, item) schema_default(f->of, item);
	}
}

static void default_fields(const struct schema_field *f, json_t *obj)
{
	for (; f->name; f++) {
		if (f->flags & SCHEMA_INLINE) {
			default_fields(f->of->fields, obj);
			if (f->of->dflt)
				f->of->dflt(obj);
			continue;
		}
		json_t *v = json_object_get(obj, f->name);
		if (!v && f->dflt) {
			v = value_of_default(f->dflt);
			json_put(obj, f->name, v);
		}
		if (v && f->type == SCHEMA_OBJECT)
			default_value(f, v);
	}
}

void schema_default(const struct schema *s, json_t *obj)
{
	if (!json_is_object(obj))
		return;
	default_fields(s->fields, obj);
	if (s->dflt)
		s->dflt(obj);
}

bool schema__is_left_out(const struct schema_field *f, const json_t *v)
{
	if (f->flags & (SCHEMA_POINTER | SCHEMA_REQUIRED | SCHEMA_NON_EMPTY))
		return false;
	if (f->shape == SCHEMA_LIST)
		return json_is_array(v) && json_array_size(v) == 0;
	if (f->shape == SCHEMA_MAP)
		return json_is_object(v) && json_object_size(v) == 0;
	switch (f->type) {
	case SCHEMA_STRING:
	case SCHEMA_BYTES:
		return json_is_string(v) && json_string_length(v) == 0;
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_DOUBLE:
		return json_is_number(v) && json_number_value(v) == 0;
	case SCHEMA_BOOL:
		return json_is_false(v);
	default:
		return false;
	}
}
