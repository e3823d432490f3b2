#include "controllers/gc_graph.h"

static void owners_free(struct gc_node *n)
{
	for (unsigned i = 0; i < n->n_owners; i++) {
		free(n->owners[i].uid);
		free(n->owners[i].api_version);
		free(n->owners[i].kind);
		free(n->owners[i].name);
	}
	free(n->owners);
	n->owners = NULL;
	n->n_owners = 0;
}

static void node_free(struct gc_node *n)
{
	owners_free(n);
	free(n->dependents);
	free(n->uid);
	free(n->ns);
	free(n->name);
	free(n);
}

void gc_graph_done(struct gc_graph *g)
{
	MAP_EACH (&g->nodes, e)
		node_free(e->value);
	map_done(&g->nodes);
}

struct gc_node *gc_find(const struct gc_graph *g, const char *uid)
{
	return map_get(&g->nodes, uid);
}

static struct gc_node *need(struct gc_graph *g, const char *uid)
{
	struct gc_node *n = gc_find(g, uid);
	if (!n) {
		n = NEW(struct gc_node);
		n->uid = xstrdup(uid);
		map_set(&g->nodes, uid, n);
	}
	return n;
}

static void drop_if_unused(struct gc_graph *g, struct gc_node *n)
{
	if (n->observed || n->n_dependents)
		return;
	map_del(&g->nodes, n->uid);
	node_free(n);
}

static void unlink_owners(struct gc_graph *g, struct gc_node *n)
{
	for (unsigned i = 0; i < n->n_owners; i++) {
		struct gc_node *owner = gc_find(g, n->owners[i].uid);
		for (unsigned j = 0; owner && j < owner->n_dependents; j++) {
			if (owner->dependents[j] != n)
				continue;
			/* in order, so that nothing depends on how the array was edited */
			memmove(owner->dependents + j, owner->dependents + j + 1,
				(owner->n_dependents - j - 1) * sizeof(*owner->dependents));
			owner->n_dependents--;
			break;
		}
		if (owner && owner != n)
			drop_if_unused(g, owner);
	}
	owners_free(n);
}

static void link_owners(struct gc_graph *g, struct gc_node *n, const json_t *refs)
{
	size_t i, cap = 0;
	json_t *ref;
	json_array_foreach((json_t *)refs, i, ref)
	{
		const char *uid = json_get_str(ref, "uid", "");
		if (!*uid)
			continue;
		GROW(n->owners, cap, n->n_owners + 1);
		n->owners[n->n_owners++] = (struct gc_owner){
			.uid = xstrdup(uid),
			.api_version = xstrdup(json_get_str(ref, "apiVersion", "")),
			.kind = xstrdup(json_get_str(ref, "kind", "")),
			.name = xstrdup(json_get_str(ref, "name", "")),
			.block = json_get_bool(ref, "blockOwnerDeletion", false),
		};
		struct gc_node *owner = need(g, uid);
		GROW(owner->dependents, owner->cap_dependents, owner->n_dependents + 1);
		owner->dependents[owner->n_dependents++] = n;
	}
}

static bool same_owners(const struct gc_node *n, const json_t *refs)
{
	if (json_array_size(refs) != n->n_owners)
		return false;
	for (unsigned i = 0; i < n->n_owners; i++) {
		const json_t *ref = json_array_get(refs, i);
		if (strcmp(json_get_str(ref, "uid", ""), n->owners[i].uid) != 0 ||
		    json_get_bool(ref, "blockOwnerDeletion", false) != n->owners[i].block)
			return false;
	}
	return true;
}

static bool has_finalizer(const json_t *meta, const char *name)
{
	size_t i;
	json_t *f;
	json_array_foreach(json_object_get(meta, "finalizers"), i, f)
	{
		if (streq(json_string_value(f), name))
			return true;
	}
	return false;
}

struct gc_node *gc_observe(struct gc_graph *g, struct object *obj, struct informer *inf, bool *ret_owners_changed)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	const json_t *meta = json_object_get(tree, "metadata"), *refs = json_object_get(meta, "ownerReferences");
	struct gc_node *n = need(g, obj->uid);
	bool changed = !n->observed || !same_owners(n, refs);
	if (!n->observed) {
		n->observed = true;
		n->kind = informer_kind(inf);
		n->inf = inf;
		n->ns = xstrdup(obj->ns);
		n->name = xstrdup(obj->name);
	}
	if (changed) {
		unlink_owners(g, n);
		link_owners(g, n, refs);
	}
	n->deleting = meta_deleting(tree);
	n->foreground = has_finalizer(meta, "foregroundDeletion");
	n->orphan = has_finalizer(meta, "orphan");
	if (ret_owners_changed)
		*ret_owners_changed = changed;
	return n;
}

void gc_forget(struct gc_graph *g, const char *uid)
{
	struct gc_node *n = gc_find(g, uid);
	if (!n)
		return;
	n->observed = false;
	unlink_owners(g, n);
	free(STEAL(n->ns));
	free(STEAL(n->name));
	n->deleting = n->foreground = n->orphan = false;
	drop_if_unused(g, n);
}
