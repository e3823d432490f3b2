/* What the API server remembers about stored bytes, hung at the blob itself: what selectors ask
 * for (labels and the kind's selectable fields), taken from the bytes once. Freed with the blob. Also a
 * small table of objects lately written or read, found by their bytes, so that a tree at hand is not parsed again. */
#ifndef MINI_APISERVER_TAG_H
#define MINI_APISERVER_TAG_H

#include "apiserver/server.h"
#include "lib/api/selector.h"

/* Both selectors may be NULL. */
bool tag_matches(struct apiserver *a, const struct resource *res, struct blob *b, const struct selector *labels,
		 const struct field_selector *fields);
/* The bytes with the version spliced in, appended. */
void tag_write(const struct resource *res, struct blob *b, uint64_t rv, struct buf *out);

struct recent *recent_new(void);
void recent_free(struct recent *rc);
void recent_put(struct recent *rc, struct object *o);
/* The object of these bytes and this version; made if there is none at hand. New reference, or NULL when the bytes are
 * not an object. */
struct object *recent_object(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv);

#endif
