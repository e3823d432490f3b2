#include "lib/api/kinds/same.h"

static bool is_zero(const struct schema_field *f, const json_t *v)
{
	if (!v || json_is_null(v))
		return true;
	if (json_is_array(v))
		return json_array_size(v) == 0;
	if (f->shape == SCHEMA_MAP)
		return json_object_size(v) == 0;
	if (f->flags & SCHEMA_POINTER || f->type == SCHEMA_OBJECT)
		return false;
	if (json_is_string(v))
		return json_string_length(v) == 0;
	return json_is_false(v) || (json_is_integer(v) && json_integer_value(v) == 0);
}

static bool list_same(const struct schema_field *f, const json_t *a, const json_t *b)
{
	size_t n = json_array_size(a);

	if (f->type != SCHEMA_OBJECT || n != json_array_size(b))
		return json_equal(a, b);
	for (size_t i = 0; i < n; i++)
		if (!object_same(f->of, json_array_get(a, i), json_array_get(b, i)))
			return false;
	return true;
}

static bool field_same(const struct schema_field *f, const json_t *a, const json_t *b)
{
	bool no_a = is_zero(f, a), no_b = is_zero(f, b);

	if (no_a || no_b)
		return no_a && no_b;
	if (f->shape == SCHEMA_LIST)
		return list_same(f, a, b);
	if (f->shape == SCHEMA_ONE && f->type == SCHEMA_OBJECT)
		return object_same(f->of, a, b);
	return json_equal(a, b);
}

bool object_same(const struct schema *s, const json_t *a, const json_t *b)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		if (f->flags & SCHEMA_INLINE ? !object_same(f->of, a, b)
					     : !field_same(f, json_object_get(a, f->name), json_object_get(b, f->name)))
			return false;
	}
	return true;
}
