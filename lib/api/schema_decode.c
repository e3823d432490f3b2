/* Types, as upstream's decoder sees them: wrong ones are errors in its words, null is absence, unknown fields go, and so do
 * empty values that upstream cannot tell from none. */
#include <inttypes.h>
#include <math.h>

#include "lib/api/api_internal.h"
#include "lib/api/quantity.h"

#define UNKNOWN_MAX 100

struct decoder {
	json_t *unknown; /* may be NULL */
	struct err *err;
};

static const char *json_word(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_TRUE:
	case JSON_FALSE:
		return "bool";
	case JSON_NULL:
		return "null";
	default:
		return "number";
	}
}

static char *scalar_go_type(const struct schema_field *f)
{
	switch (f->type) {
	case SCHEMA_INT32:
		return xstrdup("int32");
	case SCHEMA_INT64:
		return xstrdup("int64");
	case SCHEMA_BOOL:
		return xstrdup("bool");
	case SCHEMA_DOUBLE:
		return xstrdup("float64");
	case SCHEMA_QUANTITY:
		return xstrdup("resource.Quantity");
	case SCHEMA_INT_OR_STRING:
		return xstrdup("intstr.IntOrString");
	case SCHEMA_TIME:
		return xstrdup("v1.Time");
	case SCHEMA_MICRO_TIME:
		return xstrdup("v1.MicroTime");
	case SCHEMA_BYTES:
		return xstrdup("[]uint8");
	case SCHEMA_OBJECT:
		return xstrdup(schema_go_type(f->of));
	default:
		return xstrdup("string");
	}
}

static char *go_type(const struct schema_field *f, bool element)
{
	char *one = scalar_go_type(f);
	if (element || f->shape == SCHEMA_ONE)
		return one;
	char *all = xasprintf(f->shape == SCHEMA_LIST ? "[]%s" : "map[string]%s", one);
	free(one);
	return all;
}

/* The dotted names only: upstream's decoder does not say which element of a list it was in. */
static void add_names(struct buf *out, const struct path *p)
{
	if (!p)
		return;
	add_names(out, p->up);
	if (p->name)
		buf_addf(out, "%s%s", out->len ? "." : "", p->name);
}

static int type_error(struct decoder *d, const struct schema *s, const struct schema_field *f, bool element,
		      const struct path *at, const json_t *v)
{
	_cleanup_buf_ struct buf names = BUF_INIT;
	_cleanup_free_ char *type = go_type(f, element);
	_cleanup_free_ char *number = json_is_number(v) && f->type != SCHEMA_STRING ? value_quoted(v) : NULL;

	add_names(&names, at);
	return err_status(d->err, ERR_BAD_REQUEST,
			  "json: cannot unmarshal %s%s%s into Go struct field %s.%s of type %s", json_word(v),
			  number ? " " : "", number ? number : "", schema_short_name(s), buf_str(&names), type);
}

static int decode_object(struct decoder *d, const struct schema *s, json_t *obj, const struct path *at);

static int decode_string(struct decoder *d, const struct schema_field *f, const char *text)
{
	int64_t us;

	switch (f->type) {
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		if (*text && time_parse_us(text, &us))
			return err_status(d->err, ERR_BAD_REQUEST,
					  "parsing time \"%s\" as \"%s\": cannot parse \"%s\" as \"2006\"", text,
					  f->type == SCHEMA_TIME ? "2006-01-02T15:04:05Z07:00"
								 : "2006-01-02T15:04:05.000000Z07:00",
					  text);
		return 0;
	case SCHEMA_BYTES: {
		_cleanup_free_ uint8_t *data = NULL;
		size_t len;
		if (base64_decode(text, strlen(text), &data, &len))
			return err_status(d->err, ERR_BAD_REQUEST, "illegal base64 data in field %s", f->name);
		return 0;
	}
	default:
		return 0;
	}
}

/* Quantities become text in canonical form, here as in upstream's decoder. */
static int decode_quantity(struct decoder *d, const json_t *v, json_t **ret_replace)
{
	struct quantity q;
	char text[64];
	_cleanup_free_ char *number = json_is_string(v) ? NULL : value_quoted(v);
	const char *s = number ? number : json_string_value(v);

	int rc = quantity_parse(*s ? s : "0", &q, d->err);
	if (rc)
		return rc;
	quantity_str(&q, text);
	if (number || strcmp(text, s) != 0)
		*ret_replace = json_string_nocheck(text);
	return 0;
}

static bool whole_in_range(const json_t *v, enum schema_type type)
{
	if (!json_is_integer(v))
		return false;
	json_int_t n = json_integer_value(v);
	return type == SCHEMA_INT64 || (n >= INT32_MIN && n <= INT32_MAX);
}

/* Is the value of a type that the field takes? */
static bool type_fits(const struct schema_field *f, const json_t *v)
{
	switch (f->type) {
	case SCHEMA_INT32:
	case SCHEMA_INT64:
		return whole_in_range(v, f->type);
	case SCHEMA_BOOL:
		return json_is_boolean(v);
	case SCHEMA_DOUBLE:
		return json_is_number(v);
	case SCHEMA_QUANTITY:
		return json_is_string(v) || json_is_number(v);
	case SCHEMA_INT_OR_STRING:
		return json_is_string(v) || whole_in_range(v, SCHEMA_INT32);
	case SCHEMA_OBJECT:
		return json_is_object(v);
	case SCHEMA_ANY:
		return true;
	default:
		return json_is_string(v);
	}
}

/* A null inside a list or map is the zero value of its type. */
static json_t *zero_value(const struct schema_field *f)
{
	switch (f->type) {
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_DOUBLE:
	case SCHEMA_INT_OR_STRING:
		return json_integer(0);
	case SCHEMA_BOOL:
		return json_false();
	case SCHEMA_QUANTITY:
		return json_string("0");
	case SCHEMA_OBJECT:
		return json_object();
	case SCHEMA_ANY:
		return json_null();
	default:
		return json_string("");
	}
}

static int decode_one(struct decoder *d, const struct schema *s, const struct schema_field *f, bool element,
		      const struct path *at, json_t *v, json_t **ret_replace)
{
	if (json_is_null(v)) {
		*ret_replace = zero_value(f);
		return 0;
	}
	if (!type_fits(f, v))
		return type_error(d, s, f, element, at, v);
	if (f->type == SCHEMA_OBJECT)
		return decode_object(d, f->of, v, at);
	if (f->type == SCHEMA_QUANTITY)
		return decode_quantity(d, v, ret_replace);
	return json_is_string(v) ? decode_string(d, f, json_string_value(v)) : 0;
}

static int decode_list(struct decoder *d, const struct schema *s, const struct schema_field *f, const struct path *at,
		       json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct path here = {.up = at, .index = i};
		json_t *replace = NULL;
		int rc = decode_one(d, s, f, true, &here, json_array_get(list, i), &replace);
		if (rc)
			return rc;
		if (replace)
			json_array_set_new(list, i, replace);
	}
	return 0;
}

static int decode_map(struct decoder *d, const struct schema *s, const struct schema_field *f, const struct path *at,
		      json_t *map)
{
	for (void *it = json_object_iter(map); it; it = json_object_iter_next(map, it)) {
		struct path here = {.up = at, .key = json_object_iter_key(it)};
		json_t *replace = NULL;
		int rc = decode_one(d, s, f, true, &here, json_object_iter_value(it), &replace);
		if (rc)
			return rc;
		if (replace)
			json_object_iter_set_new(map, it, replace);
	}
	return 0;
}

static void report_unknown(struct decoder *d, const struct path *here)
{
	if (!d->unknown || json_array_size(d->unknown) >= UNKNOWN_MAX)
		return;
	_cleanup_free_ char *where = path_str(here);
	_cleanup_free_ char *text = xasprintf("unknown field \"%s\"", where);
	json_array_append_new(d->unknown, json_string_nocheck(text));
}

static int decode_field(struct decoder *d, const struct schema *s, const struct schema_field *f, const struct path *at,
			json_t *v, json_t **ret_replace)
{
	if (f->shape == SCHEMA_ONE)
		return decode_one(d, s, f, false, at, v, ret_replace);
	if (f->shape == SCHEMA_LIST)
		return json_is_array(v) ? decode_list(d, s, f, at, v) : type_error(d, s, f, false, at, v);
	return json_is_object(v) ? decode_map(d, s, f, at, v) : type_error(d, s, f, false, at, v);
}

/* The schema whose own table has the field: the name that errors give. */
static const struct schema_field *find_field(const struct schema *s, const char *name, const struct schema **ret_owner)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		if (f->flags & SCHEMA_INLINE) {
			const struct schema_field *inner = find_field(f->of, name, ret_owner);
			if (inner)
				return inner;
		} else if (strcmp(f->name, name) == 0) {
			*ret_owner = s;
			return f;
		}
	}
	return NULL;
}

static int decode_object(struct decoder *d, const struct schema *s, json_t *obj, const struct path *at)
{
	void *tmp;
	const char *key;
	json_t *v;

	json_object_foreach_safe(obj, tmp, key, v)
	{
		struct path here = {.up = at, .name = key};
		const struct schema *owner = s;
		const struct schema_field *f = find_field(s, key, &owner);
		if (!f) {
			report_unknown(d, &here);
			json_object_del(obj, key);
			continue;
		}
		if (json_is_null(v)) {
			json_object_del(obj, key);
			continue;
		}
		json_t *replace = NULL;
		int rc = decode_field(d, owner, f, &here, v, &replace);
		if (rc)
			return rc;
		if (replace)
			json_put(obj, f->name, replace);
		else if (schema__is_left_out(f, v))
			json_object_del(obj, key);
	}
	return 0;
}

int schema_decode(const struct schema *s, json_t *obj, json_t *ret_unknown, struct err *err)
{
	struct decoder d = {.unknown = ret_unknown, .err = err};
	const struct path top = {0};

	if (!json_is_object(obj))
		return err_status(err, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type %s",
				  obj ? json_word(obj) : "nothing", schema_go_type(s));
	return decode_object(&d, s, obj, &top);
}
