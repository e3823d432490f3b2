/* Objects: immutable once made, shared by reference, kept as serialized bytes with a bounded cache of parsed trees.
 *
 * The bytes are compact JSON without metadata.resourceVersion (known only at commit) and with metadata's members
 * right behind `"metadata":{`, so that the version is spliced in at rv_offset on the way out. One thread only.
 */
#ifndef MINI_API_OBJECT_H
#define MINI_API_OBJECT_H

#include "lib/api/json.h"
#include "lib/api/schema.h"
#include "lib/core/list.h"

struct object {
	unsigned refs;
	const struct kind *kind; /* NULL for objects that are no kind of ours (Status, lists) */
	struct blob *bytes;
	uint32_t rv_offset; /* where `"resourceVersion":"N",` goes (the comma is left out if metadata is empty) */
	uint64_t rv;        /* 0: none yet */
	const char *ns;     /* "" when cluster-scoped */
	const char *name;
	const char *uid; /* "" if none */
	char *idents;    /* memory of the three */
	json_t *tree;    /* cached, or NULL */
	struct list lru; /* in the tree cache */
};

struct object *object_ref(struct object *o);
void object_unref(struct object *o);
static inline void object_unrefp(struct object **o)
{
	object_unref(*o);
}
#define _cleanup_object_ __attribute__((cleanup(object_unrefp)))

/* Make an object from a tree (serialized now; the tree is kept as the cached one, so the caller must not change it
 * afterwards; a reference is taken). metadata.resourceVersion in the tree, if any, becomes rv. */
struct object *object_from_tree(const struct kind *k, json_t *tree);
/* Wrap stored bytes (a reference is taken): reads only the identifying members. -EPROTO when they are not an object. */
int object_from_bytes(const struct kind *k, struct blob *bytes, uint64_t rv, struct object **ret, struct err *err);
/* Parse JSON that came over the wire (with resourceVersion inside). The kind is found from apiVersion/kind. */
int object_parse(const char *text, size_t len, struct object **ret, struct err *err);

/* The parsed tree, with metadata.resourceVersion in it. New reference; never change it: object_edit() for that. */
json_t *object_tree(struct object *o);
/* A deep copy to change. New reference. */
json_t *object_edit(struct object *o);
/* JSON text with resourceVersion spliced in, appended. */
void object_write(struct buf *out, const struct object *o);
/* Bound of the tree cache, in number of trees (default 256). */
void object_cache_limit(unsigned trees);

/* Readers for trees that every reconciler needs. Borrowed; "" or 0 when missing. */
const char *meta_name(const json_t *obj);
const char *meta_ns(const json_t *obj);
const char *meta_uid(const json_t *obj);
const char *meta_label(const json_t *obj, const char *key);      /* NULL when absent */
const char *meta_annotation(const json_t *obj, const char *key); /* NULL when absent */
bool meta_deleting(const json_t *obj);                           /* deletionTimestamp is set */
int64_t meta_generation(const json_t *obj);
/* The owner reference with controller: true, or NULL. Borrowed. */
json_t *meta_controller(const json_t *obj);
/* A fresh ownerReferences array with `owner` as controller (blockOwnerDeletion true). New reference. */
json_t *meta_owned_by(struct object *owner);

/* A metav1.Status as JSON tree from an err, and back (as a client reads it). New reference. */
json_t *status_from_err(const struct err *err);
void err_from_status(const json_t *status, int http_code, struct err *ret);

#endif
