/* What the files of lib/api share among themselves: field paths on the stack, and a few helpers. */
#ifndef MINI_API_INTERNAL_H
#define MINI_API_INTERNAL_H

#include "lib/api/schema.h"
#include "lib/core/utf8.h"

/* Where a walker is, as a chain of stack frames; rendered only when something is to be said about it. */
struct path {
	const struct path *up;
	const char *name; /* a member; NULL: an element of a list or a map entry */
	const char *key;  /* map entry: [key] */
	size_t index;     /* list element: [index] */
};

/* "spec.containers[0].image"; caller frees. The head itself counts unless it is empty (zeroed, no parent). */
char *path_str(const struct path *p);
void path_add(struct buf *out, const struct path *p);

/* A JSON string, quoted and escaped. */
void json_write_string(struct buf *out, const char *s, size_t len);

/* "v1.PodSpec" and "PodSpec" of "api.core.v1.PodSpec". */
const char *schema_go_type(const struct schema *s);
const char *schema_short_name(const struct schema *s);

/* Is it an empty value that Go's omitempty leaves out: "", 0, false, [] or {} of a member that is neither required, nor
 * held by pointer, nor written always? Such a value means the same as none. */
bool schema__is_left_out(const struct schema_field *f, const json_t *v);

/* A JSON value as messages quote it: strings in quotes, the rest as JSON, cut at some 200 bytes. Caller frees. */
char *value_quoted(const json_t *v);

/* The members `keys` (space-separated) name, equal in both. */
bool list_keys_equal(const json_t *a, const json_t *b, const char *keys);

#endif
