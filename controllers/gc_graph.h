/* Who owns whom: every object of every listed kind by uid, with its owners and dependents. Private to controllers/. */
#ifndef MINI_CONTROLLERS_GC_GRAPH_H
#define MINI_CONTROLLERS_GC_GRAPH_H

#include "controllers/internal.h"

struct gc_owner {
	char *uid, *api_version, *kind, *name;
	bool block;
};

struct gc_node {
	char *uid;
	bool observed; /* seen in a copy; else only named as an owner */
	const struct kind *kind;
	struct informer *inf;
	char *ns, *name;
	struct gc_owner *owners;
	unsigned n_owners;
	bool deleting, foreground, orphan; /* the last two: finalizers */
	struct gc_node **dependents;
	unsigned n_dependents, cap_dependents;
};

struct gc_graph {
	struct map nodes; /* by uid */
};

void gc_graph_done(struct gc_graph *g);
struct gc_node *gc_find(const struct gc_graph *g, const char *uid);
/* Take over what the object says now. *ret_owners_changed, if not NULL. */
struct gc_node *gc_observe(struct gc_graph *g, struct object *obj, struct informer *inf, bool *ret_owners_changed);
/* The object is gone; its node stays while dependents name it. */
void gc_forget(struct gc_graph *g, const char *uid);

#endif
