#include "lib/api/json.h"

#include <stdarg.h>

json_t *json_clone(const json_t *j)
{
	json_t *copy;

	switch (json_typeof(j)) {
	case JSON_OBJECT:
		copy = json_object();
		for (void *it = json_object_iter((json_t *)j); it; it = json_object_iter_next((json_t *)j, it))
			MUST(json_object_setn_new_nocheck(copy, json_object_iter_key(it), json_object_iter_key_len(it),
							  json_clone(json_object_iter_value(it))) == 0);
		return copy;
	case JSON_ARRAY:
		copy = json_array();
		for (size_t i = 0; i < json_array_size(j); i++)
			MUST(json_array_append_new(copy, json_clone(json_array_get(j, i))) == 0);
		return copy;
	case JSON_STRING:
		return json_stringn_nocheck(json_string_value(j), json_string_length(j));
	case JSON_INTEGER:
		return json_integer(json_integer_value(j));
	case JSON_REAL:
		return json_real(json_real_value(j));
	default:
		return (json_t *)j; /* true, false, null: there is one of each */
	}
}

json_t *json_path(const json_t *j, ...)
{
	va_list ap;
	const char *key;

	va_start(ap, j);
	while (j && (key = va_arg(ap, const char *)))
		j = json_object_get(j, key);
	va_end(ap);
	return (json_t *)j;
}

const char *json_get_str(const json_t *obj, const char *key, const char *dflt)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : dflt;
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t dflt)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool json_get_bool(const json_t *obj, const char *key, bool dflt)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_boolean(v) ? json_is_true(v) : dflt;
}

json_t *json_need_object(json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);
	if (json_is_object(v))
		return v;
	v = json_object();
	json_put(obj, key, v);
	return v;
}

json_t *json_need_array(json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);
	if (json_is_array(v))
		return v;
	v = json_array();
	json_put(obj, key, v);
	return v;
}

void json_put(json_t *obj, const char *key, json_t *value_new)
{
	if (!value_new)
		json_object_del(obj, key);
	else
		MUST(json_object_set_new_nocheck(obj, key, value_new) == 0);
}

void json_put_str(json_t *obj, const char *key, const char *s)
{
	json_put(obj, key, s ? json_string_nocheck(s) : NULL);
}

void json_put_int(json_t *obj, const char *key, int64_t v)
{
	json_put(obj, key, json_integer(v));
}

void json_put_bool(json_t *obj, const char *key, bool v)
{
	json_put(obj, key, json_boolean(v));
}

json_t *json_make(const char *fmt, ...)
{
	va_list ap;
	json_error_t e;

	va_start(ap, fmt);
	json_t *j = json_vpack_ex(&e, 0, fmt, ap);
	va_end(ap);
	MUST(j != NULL);
	return j;
}
