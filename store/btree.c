#include "store/btree.h"

#define FAN 32u

struct btree_node {
	bool leaf;
	unsigned n;
	uint64_t live; /* in the whole subtree */
	union {
		struct {
			struct btree_item *items[FAN];
			struct btree_node *prev, *next;
		};
		struct {
			struct btree_node *kids[FAN];
			char *seps[FAN]; /* seps[i] <= all names in kids[i]; seps[0] is unused */
		};
	};
};

static void node_free(struct btree_node *node)
{
	if (!node->leaf)
		for (unsigned i = 1; i < node->n; i++)
			free(node->seps[i]);
	free(node);
}

static void subtree_free(struct btree_node *node)
{
	if (!node)
		return;
	if (!node->leaf)
		for (unsigned i = 0; i < node->n; i++)
			subtree_free(node->kids[i]);
	node_free(node);
}

void btree_done(struct btree *t)
{
	subtree_free(t->root);
	*t = (struct btree){0};
}

static unsigned kid_of(const struct btree_node *node, const char *name)
{
	unsigned lo = 0, hi = node->n; /* seps[lo] <= name < seps[hi] */
	while (hi - lo > 1) {
		unsigned mid = (lo + hi) / 2;
		if (strcmp(node->seps[mid], name) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

static unsigned slot_of(const struct btree_node *leaf, const char *name) /* the first item >= name */
{
	unsigned lo = 0, hi = leaf->n;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (strcmp(leaf->items[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct btree_item *btree_seek(const struct btree *t, const char *name, struct btree_iter *it)
{
	struct btree_node *node = t->root;
	it->leaf = NULL;
	if (!node)
		return NULL;
	while (!node->leaf)
		node = node->kids[kid_of(node, name)];
	it->leaf = node;
	it->pos = slot_of(node, name);
	if (it->pos < node->n)
		return node->items[it->pos];
	return btree_next(it);
}

struct btree_item *btree_next(struct btree_iter *it)
{
	if (!it->leaf)
		return NULL;
	if (it->pos + 1 < it->leaf->n)
		return it->leaf->items[++it->pos];
	it->leaf = it->leaf->next;
	it->pos = 0;
	return it->leaf ? it->leaf->items[0] : NULL;
}

struct btree_item *btree_get(const struct btree *t, const char *name)
{
	struct btree_iter it;
	struct btree_item *item = btree_seek(t, name, &it);
	return item && strcmp(item->name, name) == 0 ? item : NULL;
}

uint64_t btree_rank(const struct btree *t, const char *name)
{
	const struct btree_node *node = t->root;
	if (!node)
		return 0;
	if (!name)
		return node->live;
	uint64_t rank = 0;
	while (!node->leaf) {
		unsigned k = kid_of(node, name);
		for (unsigned i = 0; i < k; i++)
			rank += node->kids[i]->live;
		node = node->kids[k];
	}
	unsigned slot = slot_of(node, name);
	for (unsigned i = 0; i < slot; i++)
		rank += node->items[i]->live;
	return rank;
}

void btree_set_live(struct btree *t, struct btree_item *item, bool live)
{
	if (item->live == live)
		return;
	item->live = live;
	struct btree_node *node = t->root;
	for (;;) {
		node->live += live ? 1u : -(uint64_t)1;
		if (node->leaf)
			return;
		node = node->kids[kid_of(node, item->name)];
	}
}

static void recount(struct btree_node *node)
{
	node->live = 0;
	for (unsigned i = 0; i < node->n; i++)
		node->live += node->leaf ? node->items[i]->live : node->kids[i]->live;
}

/* Split a full node; the right half comes back with the smallest name that may be in it. A leaf that grows at its end
 * (keys written in order) keeps all but the last item, so that ordered loading fills the leaves. */
static struct btree_node *split(struct btree_node *node, unsigned at, char **ret_sep)
{
	struct btree_node *right = NEW(struct btree_node);
	right->leaf = node->leaf;
	right->n = node->n - at;
	if (node->leaf) {
		memcpy(right->items, node->items + at, right->n * sizeof(node->items[0]));
		right->next = node->next;
		right->prev = node;
		if (right->next)
			right->next->prev = right;
		node->next = right;
		*ret_sep = xstrdup(right->items[0]->name);
	} else {
		memcpy(right->kids, node->kids + at, right->n * sizeof(node->kids[0]));
		memcpy(right->seps + 1, node->seps + at + 1, (right->n - 1) * sizeof(node->seps[0]));
		*ret_sep = node->seps[at];
	}
	node->n = at;
	recount(node);
	recount(right);
	return right;
}

static struct btree_node *insert(struct btree_node *node, struct btree_item *item, char **ret_sep)
{
	node->live += item->live;
	if (node->leaf) {
		unsigned slot = slot_of(node, item->name);
		memmove(node->items + slot + 1, node->items + slot, (node->n - slot) * sizeof(node->items[0]));
		node->items[slot] = item;
		node->n++;
		if (node->n < FAN)
			return NULL;
		return split(node, slot == FAN - 1 && !node->next ? FAN - 1 : FAN / 2, ret_sep);
	}
	unsigned k = kid_of(node, item->name);
	char *sep = NULL;
	struct btree_node *right = insert(node->kids[k], item, &sep);
	if (!right)
		return NULL;
	memmove(node->kids + k + 2, node->kids + k + 1, (node->n - k - 1) * sizeof(node->kids[0]));
	memmove(node->seps + k + 2, node->seps + k + 1, (node->n - k - 1) * sizeof(node->seps[0]));
	node->kids[k + 1] = right;
	node->seps[k + 1] = sep;
	node->n++;
	return node->n < FAN ? NULL : split(node, k + 1 == FAN - 1 ? FAN - 2 : FAN / 2, ret_sep);
}

void btree_insert(struct btree *t, struct btree_item *item)
{
	if (!t->root) {
		t->root = NEW(struct btree_node);
		t->root->leaf = true;
	}
	char *sep = NULL;
	struct btree_node *right = insert(t->root, item, &sep);
	if (right) {
		struct btree_node *root = NEW(struct btree_node);
		root->n = 2;
		root->kids[0] = t->root;
		root->kids[1] = right;
		root->seps[1] = sep;
		recount(root);
		t->root = root;
	}
	t->n_items++;
}

/* True when the node became empty and was freed. Nodes are not merged: what is deleted here mostly comes back. */
static bool remove_from(struct btree_node *node, struct btree_item *item)
{
	node->live -= item->live;
	if (node->leaf) {
		unsigned slot = slot_of(node, item->name);
		MUST(slot < node->n && node->items[slot] == item);
		node->n--;
		memmove(node->items + slot, node->items + slot + 1, (node->n - slot) * sizeof(node->items[0]));
		if (node->n)
			return false;
		if (node->prev)
			node->prev->next = node->next;
		if (node->next)
			node->next->prev = node->prev;
		node_free(node);
		return true;
	}
	unsigned k = kid_of(node, item->name);
	if (!remove_from(node->kids[k], item))
		return false;
	if (node->n == 1) {
		node->n = 0;
		node_free(node);
		return true;
	}
	free(node->seps[k ? k : 1]); /* without kid 0, kid 1 takes over the open lower end */
	unsigned s = k ? k : 1;
	memmove(node->seps + s, node->seps + s + 1, (node->n - s - 1) * sizeof(node->seps[0]));
	memmove(node->kids + k, node->kids + k + 1, (node->n - k - 1) * sizeof(node->kids[0]));
	node->n--;
	return false;
}

void btree_remove(struct btree *t, struct btree_item *item)
{
	if (remove_from(t->root, item))
		t->root = NULL;
	while (t->root && !t->root->leaf && t->root->n == 1) {
		struct btree_node *kid = t->root->kids[0];
		node_free(t->root);
		t->root = kid;
	}
	t->n_items--;
}
