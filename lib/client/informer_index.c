#include "lib/client/informer_priv.h"

static void bucket_free(void *p)
{
	struct informer_items *b = p;
	free(b->v);
	free(b);
}

void informer_add_index(struct informer *inf, const char *index, informer_index_fn fn)
{
	for (unsigned i = 0; i < inf->n_index; i++)
		if (streq(inf->index[i].name, index)) {
			MUST(inf->index[i].fn == fn);
			return;
		}
	MUST(inf->n_index < INFORMER_INDEX_MAX && !inf->items.n);
	struct informer_index *ix = &inf->index[inf->n_index++];
	ix->name = xstrdup(index);
	ix->fn = fn;
	ix->buckets.free_value = bucket_free;
}

static void collect(void *ctx, const char *key)
{
	struct informer_keys *k = ctx;
	for (unsigned i = 0; i < k->n; i++)
		if (!strcmp(k->keys[i], key))
			return;
	GROW(k->keys, k->cap, k->n + 1);
	k->keys[k->n++] = xstrdup(key);
}

void informer__index_add(struct informer *inf, struct informer_item *item)
{
	for (unsigned i = 0; i < inf->n_index; i++) {
		struct informer_keys *k = &item->keys[i];
		inf->index[i].fn(item->obj, collect, k);
		for (unsigned j = 0; j < k->n; j++) {
			struct informer_items *b = map_get(&inf->index[i].buckets, k->keys[j]);
			if (!b) {
				b = NEW(struct informer_items);
				map_set(&inf->index[i].buckets, k->keys[j], b);
			}
			informer__insert(b, item);
		}
	}
}

void informer__index_remove(struct informer *inf, struct informer_item *item)
{
	for (unsigned i = 0; i < inf->n_index; i++) {
		struct informer_keys *k = &item->keys[i];
		for (unsigned j = 0; j < k->n; j++) {
			struct informer_items *b = map_get(&inf->index[i].buckets, k->keys[j]);
			informer__take_out(b, item);
			if (!b->n)
				map_del(&inf->index[i].buckets, k->keys[j]);
			free(k->keys[j]);
		}
		free(k->keys);
		*k = (struct informer_keys){0};
	}
}

size_t informer_by_index(const struct informer *inf, const char *index, const char *key, struct object ***ret)
{
	const struct informer_items *b = NULL;
	for (unsigned i = 0; i < inf->n_index; i++)
		if (streq(inf->index[i].name, index))
			b = map_get(&inf->index[i].buckets, key);
	size_t n = b ? b->n : 0;
	struct object **v = NEW_N(struct object *, n + 1);
	for (size_t i = 0; i < n; i++)
		v[i] = b->v[i]->obj;
	*ret = v;
	return n;
}

void informer_index_owner(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	const json_t *owner = meta_controller(tree);
	const char *uid = owner ? json_get_str(owner, "uid", "") : "";
	if (*uid)
		emit(ctx, uid);
}

void informer_index_node(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	const json_t *spec = json_path(tree, "spec", NULL);
	const char *node = spec ? json_get_str(spec, "nodeName", "") : "";
	if (*node)
		emit(ctx, node);
}
