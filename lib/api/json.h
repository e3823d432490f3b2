/* JSON and YAML text in, JSON text out, and short paths into trees. Trees are jansson's.
 *
 * Reading is bounded (bytes, depth, nodes), finds duplicate keys, and says line and column. Writing keeps numbers as
 * they were meant: 0.1 stays 0.1. Pure.
 */
#ifndef MINI_API_JSON_H
#define MINI_API_JSON_H

#include <jansson.h>

#include "lib/core/buf.h"
#include "lib/core/err.h"

#define JSON_MAX_DEPTH 512        /* objects and arrays inside each other */
#define JSON_MAX_BYTES (3u << 20) /* a request body */

static inline void json_unrefp(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(json_unrefp)))

/* Parse one JSON value; of duplicate members the last one wins, as upstream. Invalid UTF-8 and NUL in strings are
 * refused. Errors: BAD_REQUEST with "line L, column C: ...". Returns a new reference. The size of the text is the
 * caller's to bound (JSON_MAX_BYTES for requests); depth and what it can unfold to in memory are bounded here. */
int json_parse(const char *text, size_t len, json_t **ret, struct err *err);
/* The same; `duplicate field "spec.x"` is appended as a string to ret_dups (may be NULL) for each duplicate member:
 * strict field validation wants them. */
int json_parse_dups(const char *text, size_t len, json_t **ret, json_t *ret_dups, struct err *err);

/* Parse a YAML (or JSON) stream of documents, each turned into a JSON value; empty documents are skipped. Aliases are
 * expanded with a bound on the total number of nodes (an alias bomb is an error). `file` names the input in messages
 * (NULL: none). The caller owns the array. */
int yaml_parse_all(const char *text, size_t len, const char *file, json_t **ret_array, struct err *err);

/* Compact JSON. Real numbers are written with the fewest digits that read back the same. */
void json_write(struct buf *out, const json_t *j);
/* Indented by `indent` spaces, keys in the given order (kubectl -o json uses 4). */
void json_write_pretty(struct buf *out, const json_t *j, int indent);
/* YAML as `kubectl -o yaml` prints it: keys sorted, block style. */
void yaml_write(struct buf *out, const json_t *j);

/* A deep copy. (jansson's own looks for cycles, at ten times the cost; trees here have none.) New reference. */
json_t *json_clone(const json_t *j);

/* Walk down object members: json_path(t, "spec", "template", "metadata", NULL). NULL when any step is missing. */
json_t *json_path(const json_t *j, ...) __attribute__((sentinel));
/* Leaf readers; the default when missing, null or of another type. Strings are borrowed from the tree. */
const char *json_get_str(const json_t *obj, const char *key, const char *dflt);
int64_t json_get_int(const json_t *obj, const char *key, int64_t dflt);
bool json_get_bool(const json_t *obj, const char *key, bool dflt);
/* The member, made (as an empty object/array) if missing. Borrowed. */
json_t *json_need_object(json_t *obj, const char *key);
json_t *json_need_array(json_t *obj, const char *key);
/* Set and take the reference; NULL value: delete the member. */
void json_put(json_t *obj, const char *key, json_t *value_new);
void json_put_str(json_t *obj, const char *key, const char *s); /* NULL: delete */
void json_put_int(json_t *obj, const char *key, int64_t v);
void json_put_bool(json_t *obj, const char *key, bool v);
/* Build a small tree from printf-like JSON; aborts on a malformed template, so for constants only:
 * json_make("{s:s, s:i}", "a", x, "b", 1) is json_pack with the abort. */
json_t *json_make(const char *fmt, ...);

#endif
