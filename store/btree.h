/* The ordered index of keys: a B+tree that counts, so that a range is found, walked and counted without a full walk.
 * Same operations, same shape: nothing depends on pointers or seeds. Private to the store.
 *
 * Items are owned by the caller and must stay put while they are in. "Live" items are those that count (a deleted key
 * stays in for a while and doesn't).
 */
#ifndef MINI_STORE_BTREE_H
#define MINI_STORE_BTREE_H

#include "lib/core/util.h"

struct btree_item {
	bool live; /* change with btree_set_live() only */
	const char *name;
};
struct btree_node;
struct btree {
	struct btree_node *root; /* zeroed is valid and empty */
	size_t n_items;
};
struct btree_iter {
	struct btree_node *leaf;
	unsigned pos;
};

void btree_done(struct btree *t); /* the items are left alone */
struct btree_item *btree_get(const struct btree *t, const char *name);
void btree_insert(struct btree *t, struct btree_item *item); /* must not be there yet */
void btree_remove(struct btree *t, struct btree_item *item); /* must be there */
void btree_set_live(struct btree *t, struct btree_item *item, bool live);
/* The first item >= name; NULL at the end. The iterator is good until the tree changes. */
struct btree_item *btree_seek(const struct btree *t, const char *name, struct btree_iter *it);
struct btree_item *btree_next(struct btree_iter *it);
uint64_t btree_rank(const struct btree *t, const char *name); /* live items < name; NULL: all live items */

#endif
