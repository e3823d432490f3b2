/* YAML streams to JSON values: libyaml's events, composed here, so that aliases, nesting and size are bounded. */
#include <yaml.h>

#include "lib/api/api_internal.h"
#include "lib/api/yaml_internal.h"
#include "lib/core/map.h"

/* Expanding aliases may not make a text unfold without end. */
#define NODES_MAX 1000000

struct yaml_reader {
	yaml_parser_t parser;
	const char *file;
	struct map anchors; /* name -> json_t */
	struct map sizes;   /* name -> number of nodes, as a pointer-sized integer */
	size_t nodes, nodes_max;
	unsigned depth;
	struct err *err;
};

static int fail_at(struct yaml_reader *r, yaml_mark_t mark, const char *what)
{
	if (r->file)
		return err_status(r->err, ERR_BAD_REQUEST, "%s:%zu: %s", r->file, mark.line + 1, what);
	return err_status(r->err, ERR_BAD_REQUEST, "yaml: line %zu: %s", mark.line + 1, what);
}

static int next_event(struct yaml_reader *r, yaml_event_t *ret)
{
	if (yaml_parser_parse(&r->parser, ret))
		return 0;
	const char *what = r->parser.problem ? r->parser.problem : "not YAML";
	yaml_mark_t mark = r->parser.problem_mark;
	if (mark.line == 0 && mark.column == 0)
		mark = r->parser.mark;
	if (r->parser.context) {
		_cleanup_free_ char *both = xasprintf("%s, %s", r->parser.context, what);
		return fail_at(r, mark, both);
	}
	return fail_at(r, mark, what);
}

static int count_nodes(struct yaml_reader *r, yaml_mark_t mark, size_t n)
{
	r->nodes += n;
	if (r->nodes > r->nodes_max)
		return fail_at(r, mark, "document contains excessive aliasing");
	return 0;
}

static int read_scalar(struct yaml_reader *r, const yaml_event_t *e, json_t **ret)
{
	const char *s = (const char *)e->data.scalar.value, *tag = (const char *)e->data.scalar.tag;
	size_t len = e->data.scalar.length;

	if (strlen(s) != len)
		return fail_at(r, e->start_mark, "NUL in a string is not supported");
	if (tag && strcmp(tag, YAML_NULL_TAG) != 0 && strcmp(tag, YAML_BOOL_TAG) != 0 &&
	    strcmp(tag, YAML_INT_TAG) != 0 && strcmp(tag, YAML_FLOAT_TAG) != 0) {
		if (strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "tag:yaml.org,2002:binary") != 0 &&
		    strcmp(tag, "!") != 0)
			return fail_at(r, e->start_mark, "unknown tag");
		*ret = json_stringn_nocheck(s, len);
		return 0;
	}
	if (!tag && e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
		*ret = json_stringn_nocheck(s, len);
		return 0;
	}
	bool unsupported;
	json_t *v = yaml_plain_value(s, &unsupported);
	if (unsupported)
		return fail_at(r, e->start_mark, "infinite numbers and NaN have no JSON form");
	*ret = v;
	return 0;
}

static int read_node(struct yaml_reader *r, yaml_event_t *e, json_t **ret);

static int read_next(struct yaml_reader *r, json_t **ret)
{
	yaml_event_t e;
	int rc = next_event(r, &e);
	if (rc)
		return rc;
	rc = read_node(r, &e, ret);
	yaml_event_delete(&e);
	return rc;
}

static int read_sequence(struct yaml_reader *r, json_t **ret)
{
	_cleanup_json_ json_t *list = json_array();

	for (;;) {
		yaml_event_t e;
		int rc = next_event(r, &e);
		if (rc)
			return rc;
		if (e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			*ret = STEAL(list);
			return 0;
		}
		json_t *v = NULL;
		rc = read_node(r, &e, &v);
		yaml_event_delete(&e);
		if (rc)
			return rc;
		json_array_append_new(list, v);
	}
}

/* A key as JSON has it: a string. Numbers and words become their text. */
static char *key_text(const json_t *key)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (json_is_string(key))
		return xstrdup(json_string_value(key));
	if (json_is_null(key) || json_is_object(key) || json_is_array(key))
		return NULL;
	json_write(&b, key);
	return buf_steal(&b);
}

/* `<<`: members of the merged mapping that are not there already. */
static int merge_into(struct yaml_reader *r, yaml_mark_t mark, json_t *merged, const json_t *from)
{
	if (json_is_object(from)) {
		json_object_update_missing(merged, (json_t *)from);
		return 0;
	}
	if (!json_is_array(from))
		return fail_at(r, mark, "map merge requires map or sequence of maps as the value");
	for (size_t i = 0; i < json_array_size(from); i++) {
		if (!json_is_object(json_array_get(from, i)))
			return fail_at(r, mark, "map merge requires map or sequence of maps as the value");
		json_object_update_missing(merged, json_array_get(from, i));
	}
	return 0;
}

static int read_pair(struct yaml_reader *r, yaml_event_t *key_event, json_t *map, json_t *merged)
{
	_cleanup_json_ json_t *key = NULL, *value = NULL;
	yaml_mark_t mark = key_event->start_mark;
	bool merge = key_event->type == YAML_SCALAR_EVENT && key_event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		     strcmp((const char *)key_event->data.scalar.value, "<<") == 0;

	int rc = read_node(r, key_event, &key);
	if (rc)
		return rc;
	rc = read_next(r, &value);
	if (rc)
		return rc;
	if (merge)
		return merge_into(r, mark, merged, value);
	_cleanup_free_ char *name = key_text(key);
	if (!name)
		return fail_at(r, mark, "a mapping key must be a word");
	if (json_object_get(map, name)) {
		_cleanup_free_ char *what = xasprintf("key \"%s\" already set in map", name);
		return fail_at(r, mark, what);
	}
	json_put(map, name, STEAL(value));
	return 0;
}

static int read_mapping(struct yaml_reader *r, json_t **ret)
{
	_cleanup_json_ json_t *map = json_object(), *merged = json_object();

	for (;;) {
		yaml_event_t e;
		int rc = next_event(r, &e);
		if (rc)
			return rc;
		if (e.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&e);
			json_object_update_missing(map, merged);
			*ret = STEAL(map);
			return 0;
		}
		rc = read_pair(r, &e, map, merged);
		yaml_event_delete(&e);
		if (rc)
			return rc;
	}
}

/* An alias becomes a copy, so that no two places of a tree are one. */
static int read_alias(struct yaml_reader *r, const yaml_event_t *e, json_t **ret)
{
	const char *name = (const char *)e->data.alias.anchor;
	json_t *v = map_get(&r->anchors, name);

	if (!v) {
		_cleanup_free_ char *what = xasprintf("unknown anchor '%.60s' referenced", name);
		return fail_at(r, e->start_mark, what);
	}
	int rc = count_nodes(r, e->start_mark, (size_t)(uintptr_t)map_get(&r->sizes, name));
	if (rc)
		return rc;
	*ret = json_clone(v);
	return 0;
}

static void keep_anchor(struct yaml_reader *r, const yaml_char_t *anchor, json_t *v, size_t nodes)
{
	if (!anchor)
		return;
	json_t *old = map_set(&r->anchors, (const char *)anchor, json_incref(v));
	json_decref(old);
	map_set(&r->sizes, (const char *)anchor, (void *)(uintptr_t)nodes);
}

static int read_collection(struct yaml_reader *r, yaml_event_t *e, json_t **ret)
{
	if (r->depth >= JSON_MAX_DEPTH)
		return fail_at(r, e->start_mark, "nested too deeply");
	r->depth++;
	int rc = e->type == YAML_MAPPING_START_EVENT ? read_mapping(r, ret) : read_sequence(r, ret);
	r->depth--;
	return rc;
}

static int read_node(struct yaml_reader *r, yaml_event_t *e, json_t **ret)
{
	size_t before = r->nodes;
	json_t *v = NULL;
	const yaml_char_t *anchor;

	int rc = count_nodes(r, e->start_mark, 1);
	if (rc)
		return rc;
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return read_alias(r, e, ret);
	case YAML_SCALAR_EVENT:
		anchor = e->data.scalar.anchor;
		rc = read_scalar(r, e, &v);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = e->data.sequence_start.anchor;
		rc = read_collection(r, e, &v);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = e->data.mapping_start.anchor;
		rc = read_collection(r, e, &v);
		break;
	default:
		return fail_at(r, e->start_mark, "unexpected end");
	}
	if (rc)
		return rc;
	keep_anchor(r, anchor, v, r->nodes - before);
	*ret = v;
	return 0;
}

static void forget_anchors(struct yaml_reader *r)
{
	MAP_EACH (&r->anchors, a)
		json_decref(a->value);
	map_done(&r->anchors);
	map_done(&r->sizes);
}

/* One document's content, up to its end. */
static int read_document(struct yaml_reader *r, json_t *docs)
{
	json_t *v = NULL;
	yaml_event_t e;

	int rc = read_next(r, &v);
	forget_anchors(r);
	if (rc)
		return rc;
	if (json_is_null(v))
		json_decref(v);
	else
		json_array_append_new(docs, v);
	rc = next_event(r, &e); /* the document's end */
	if (!rc)
		yaml_event_delete(&e);
	return rc;
}

static int read_stream(struct yaml_reader *r, json_t *docs)
{
	for (;;) {
		yaml_event_t e;
		int rc = next_event(r, &e);
		if (rc)
			return rc;
		yaml_event_type_t type = e.type;
		yaml_event_delete(&e);
		if (type == YAML_STREAM_END_EVENT)
			return 0;
		if (type == YAML_DOCUMENT_START_EVENT) {
			rc = read_document(r, docs);
			if (rc)
				return rc;
		}
	}
}

/* libyaml keeps nesting on its own stack, without a bound and with a cost that grows with it: flow brackets that
 * cannot be fine are refused before it sees them. Brackets in strings only make the guess err when there are
 * thousands more opening than closing ones. */
static bool hopelessly_nested(const char *text, size_t len)
{
	size_t open = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '[' || text[i] == '{')
			open++;
		else if ((text[i] == ']' || text[i] == '}') && open)
			open--;
		if (open > 10000)
			return true;
	}
	return false;
}

int yaml_parse_all(const char *text, size_t len, const char *file, json_t **ret_array, struct err *err)
{
	_cleanup_json_ json_t *docs = json_array();
	struct yaml_reader r = {.file = file, .err = err, .nodes_max = MIN(NODES_MAX, len * 10 + 1000)};

	if (!utf8_valid(text, len) && (len < 2 || ((uint8_t)text[0] < 0xfe && (uint8_t)text[1] < 0xfe)))
		return fail_at(&r, (yaml_mark_t){0}, "invalid UTF-8");
	if (hopelessly_nested(text, len))
		return fail_at(&r, (yaml_mark_t){0}, "nested too deeply");
	MUST(yaml_parser_initialize(&r.parser));
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	int rc = read_stream(&r, docs);
	yaml_parser_delete(&r.parser);
	forget_anchors(&r);
	if (rc)
		return rc;
	*ret_array = STEAL(docs);
	return 0;
}
