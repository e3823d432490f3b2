/* The OpenAPI v2 document in gnostic's protobuf: the tree, member by member. Field numbers are those of
 * google/gnostic's openapiv2/OpenAPIv2.proto. Maps are lists of {1: name, 2: value} there. */
#include "lib/api/openapi_internal.h"

typedef void encode_fn(struct buf *out, const json_t *v);

static void put_varint(struct buf *out, uint64_t v)
{
	while (v >= 0x80) {
		buf_addc(out, (char)(v | 0x80));
		v >>= 7;
	}
	buf_addc(out, (char)v);
}

static void put_bytes(struct buf *out, unsigned field, const void *data, size_t len)
{
	put_varint(out, field << 3 | 2);
	put_varint(out, len);
	buf_add(out, data, len);
}

static void put_string(struct buf *out, unsigned field, const json_t *v)
{
	if (json_is_string(v))
		put_bytes(out, field, json_string_value(v), json_string_length(v));
}

static void put_true(struct buf *out, unsigned field, const json_t *v)
{
	if (!json_is_true(v))
		return;
	put_varint(out, field << 3);
	put_varint(out, 1);
}

static void put_strings(struct buf *out, unsigned field, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		put_string(out, field, json_array_get(list, i));
}

static void put_message(struct buf *out, unsigned field, const json_t *v, encode_fn *fn)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!v)
		return;
	fn(&b, v);
	put_bytes(out, field, buf_str(&b), b.len);
}

static void put_messages(struct buf *out, unsigned field, const json_t *list, encode_fn *fn)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		put_message(out, field, json_array_get(list, i), fn);
}

static void put_named(struct buf *out, unsigned field, const char *name, const json_t *v, encode_fn *fn)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	put_bytes(&b, 1, name, strlen(name));
	put_message(&b, 2, v, fn);
	put_bytes(out, field, b.data, b.len);
}

static void put_map(struct buf *out, unsigned field, const json_t *map, encode_fn *fn)
{
	json_t *m = (json_t *)map;
	for (void *it = json_object_iter(m); it; it = json_object_iter_next(m, it))
		put_named(out, field, json_object_iter_key(it), json_object_iter_value(it), fn);
}

/* Any {2: yaml}: JSON is YAML. */
static void any(struct buf *out, const json_t *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_write(&b, v);
	put_bytes(out, 2, b.data, b.len);
}

static void put_extensions(struct buf *out, unsigned field, const json_t *v)
{
	json_t *m = (json_t *)v;
	for (void *it = json_object_iter(m); it; it = json_object_iter_next(m, it)) {
		const char *key = json_object_iter_key(it);
		if (str_starts(key, "x-"))
			put_named(out, field, key, json_object_iter_value(it), any);
	}
}

static void type_item(struct buf *out, const json_t *v)
{
	put_string(out, 1, v);
}

static void schema(struct buf *out, const json_t *v);

/* ItemsItem, AdditionalPropertiesItem and SchemaItem: {1: schema} */
static void schema_item(struct buf *out, const json_t *v)
{
	put_message(out, 1, v, schema);
}

static void properties(struct buf *out, const json_t *v)
{
	put_map(out, 1, v, schema);
}

static void schema(struct buf *out, const json_t *v)
{
	put_string(out, 1, json_object_get(v, "$ref"));
	put_string(out, 2, json_object_get(v, "format"));
	put_string(out, 4, json_object_get(v, "description"));
	put_strings(out, 19, json_object_get(v, "required"));
	put_messages(out, 20, json_object_get(v, "enum"), any);
	put_message(out, 21, json_object_get(v, "additionalProperties"), schema_item);
	put_message(out, 22, json_object_get(v, "type"), type_item);
	put_message(out, 23, json_object_get(v, "items"), schema_item);
	put_message(out, 25, json_object_get(v, "properties"), properties);
	put_extensions(out, 31, v);
}

static void body_parameter(struct buf *out, const json_t *v)
{
	put_string(out, 2, json_object_get(v, "name"));
	put_string(out, 3, json_object_get(v, "in"));
	put_true(out, 4, json_object_get(v, "required"));
	put_message(out, 5, json_object_get(v, "schema"), schema);
}

/* QueryParameterSubSchema and PathParameterSubSchema differ from `type` on. */
static void in_url(struct buf *out, const json_t *v, unsigned type_field)
{
	put_true(out, 1, json_object_get(v, "required"));
	put_string(out, 2, json_object_get(v, "in"));
	put_string(out, 3, json_object_get(v, "description"));
	put_string(out, 4, json_object_get(v, "name"));
	put_string(out, type_field, json_object_get(v, "type"));
}

static void query_parameter(struct buf *out, const json_t *v)
{
	in_url(out, v, 6);
}

static void path_parameter(struct buf *out, const json_t *v)
{
	in_url(out, v, 5);
}

static void non_body_parameter(struct buf *out, const json_t *v)
{
	if (streq(json_get_str(v, "in", ""), "path"))
		put_message(out, 4, v, path_parameter);
	else
		put_message(out, 3, v, query_parameter);
}

static void parameter(struct buf *out, const json_t *v)
{
	if (streq(json_get_str(v, "in", ""), "body"))
		put_message(out, 1, v, body_parameter);
	else
		put_message(out, 2, v, non_body_parameter);
}

static void parameters_item(struct buf *out, const json_t *v)
{
	put_message(out, 1, v, parameter);
}

static void response(struct buf *out, const json_t *v)
{
	put_string(out, 1, json_object_get(v, "description"));
	put_message(out, 2, json_object_get(v, "schema"), schema_item);
}

static void response_value(struct buf *out, const json_t *v)
{
	put_message(out, 1, v, response);
}

static void responses(struct buf *out, const json_t *v)
{
	put_map(out, 1, v, response_value);
}

static void operation(struct buf *out, const json_t *v)
{
	put_string(out, 5, json_object_get(v, "operationId"));
	put_strings(out, 7, json_object_get(v, "consumes"));
	put_messages(out, 8, json_object_get(v, "parameters"), parameters_item);
	put_message(out, 9, json_object_get(v, "responses"), responses);
	put_extensions(out, 13, v);
}

static void path_item(struct buf *out, const json_t *v)
{
	put_message(out, 2, json_object_get(v, "get"), operation);
	put_message(out, 3, json_object_get(v, "put"), operation);
	put_message(out, 4, json_object_get(v, "post"), operation);
	put_message(out, 5, json_object_get(v, "delete"), operation);
	put_message(out, 8, json_object_get(v, "patch"), operation);
	put_messages(out, 9, json_object_get(v, "parameters"), parameters_item);
}

static void paths(struct buf *out, const json_t *v)
{
	put_map(out, 2, v, path_item);
}

static void info(struct buf *out, const json_t *v)
{
	put_string(out, 1, json_object_get(v, "title"));
	put_string(out, 2, json_object_get(v, "version"));
}

void openapi_v2_write_pb(struct buf *out)
{
	json_t *doc = openapi_v2_tree();

	put_string(out, 1, json_object_get(doc, "swagger"));
	put_message(out, 2, json_object_get(doc, "info"), info);
	put_message(out, 8, json_object_get(doc, "paths"), paths);
	put_message(out, 9, json_object_get(doc, "definitions"), properties);
	json_decref(doc);
}
