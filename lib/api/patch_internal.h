/* Shared by the two halves of strategic merge: applying a patch and making one. */
#ifndef MINI_API_PATCH_INTERNAL_H
#define MINI_API_PATCH_INTERNAL_H

#include "lib/api/patch.h"
#include "lib/core/map.h"

#define PATCH_DIRECTIVE     "$patch"
#define PATCH_RETAIN_KEYS   "$retainKeys"
#define PATCH_ELEMENT_ORDER "$setElementOrder/"
#define PATCH_DELETE_LIST   "$deleteFromPrimitiveList/"

/* How a member is merged. No schema, or an unknown member: objects merge, lists are replaced. */
struct patch_rule {
	const struct schema *of;
	bool merge_list;       /* lists are merged: by key, or as sets of scalars if merge_key is NULL */
	const char *merge_key; /* of the elements */
	bool retain_keys;
};
struct patch_rule patch_rule_for(const struct schema *s, const char *name);

/* Do these two elements mean the same one? By key, or by value where key is NULL. */
bool patch_same_element(const json_t *a, const json_t *b, const char *key);
/* Where in the list such an element is, or -1. */
ssize_t patch_index_of(const json_t *list, const json_t *v, const char *key);

/* Where elements are in a list, for lists that a stranger makes long: each is looked up, not searched. */
struct patch_index {
	struct map first; /* what an element goes by -> the first index of such + 1 */
	const char *key;  /* NULL: their values */
};
#define _cleanup_patch_index_ __attribute__((cleanup(patch_index_done)))
void patch_index_make(struct patch_index *idx, const json_t *list /* or NULL */, const char *key);
/* Another element; one that is known already stays where it is. */
void patch_index_add(struct patch_index *idx, const json_t *v, size_t at);
ssize_t patch_index_find(const struct patch_index *idx, const json_t *v); /* -1: none */
void patch_index_done(struct patch_index *idx);

#endif
