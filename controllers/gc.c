/* Garbage collection by owner references. Keys are uids.
 *
 *   not deleting: all owners gone            -> delete it (owners are asked for by GET before they count as gone)
 *                 some owner stays           -> drop the references to those that are gone
 *                 owner waits for its own    -> delete it too (foreground when it has dependents)
 *   deleting, finalizer foregroundDeletion   -> delete dependents; none blocks any more: drop the finalizer
 *   deleting, finalizer orphan               -> drop the reference from every dependent, then the finalizer
 */
#include "controllers/gc_graph.h"

#define GC_MAGIC 0xc0170c0cu

struct gc_controller {
	struct controller base;
	uint32_t magic;
	struct gc_graph graph;
};

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

static struct client_request request_on(enum client_verb verb, const struct gc_node *n)
{
	return (struct client_request){
		.verb = verb, .kind = n->kind, .ns = n->ns, .name = n->name, .grace_period_s = -1};
}

static void delete_node(struct reconcile *r, const struct gc_node *n, const char *propagation)
{
	struct client_request req = request_on(CLIENT_DELETE, n);
	req.precondition_uid = n->uid;
	req.propagation = propagation;
	reconcile_do(r, &req, n->inf, fine_when_gone, NULL);
}

/* False: it is gone from our copy, nothing was submitted. */
static bool drop_reference(struct reconcile *r, const struct gc_node *n, const char *const *uids, size_t n_uids,
			   reconcile_cb cb, void *arg)
{
	struct object *obj = informer_find(n->inf, n->ns, n->name);
	if (!obj || strcmp(obj->uid, n->uid) != 0)
		return false;
	_cleanup_json_ json_t *tree = object_tree(obj);
	json_t *left = json_array(), *ref;
	size_t i;
	json_array_foreach(json_path(tree, "metadata", "ownerReferences", NULL), i, ref)
	{
		bool drop = false;
		for (size_t j = 0; j < n_uids; j++)
			drop = drop || !strcmp(json_get_str(ref, "uid", ""), uids[j]);
		if (!drop)
			json_array_append(left, ref);
	}
	char rv[24];
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)obj->rv);
	_cleanup_json_ json_t *patch = json_make("{s:{s:o, s:s, s:s}}", "metadata", "ownerReferences", left, "uid",
						 n->uid, "resourceVersion", rv);
	struct client_request req = request_on(CLIENT_PATCH, n);
	req.patch = CLIENT_PATCH_MERGE;
	req.body = patch;
	reconcile_do(r, &req, n->inf, cb, arg);
	return true;
}

static void drop_finalizer(struct reconcile *r, const struct gc_node *n, const char *name)
{
	struct object *obj = informer_find(n->inf, n->ns, n->name);
	if (!obj || strcmp(obj->uid, n->uid) != 0)
		return;
	_cleanup_json_ json_t *tree = object_tree(obj);
	json_t *left = json_array(), *f;
	size_t i;
	json_array_foreach(json_path(tree, "metadata", "finalizers", NULL), i, f)
	{
		if (!streq(json_string_value(f), name))
			json_array_append(left, f);
	}
	char rv[24];
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)obj->rv);
	_cleanup_json_ json_t *patch =
		json_make("{s:{s:o, s:s}}", "metadata", "finalizers", left, "resourceVersion", rv);
	struct client_request req = request_on(CLIENT_PATCH, n);
	req.patch = CLIENT_PATCH_MERGE;
	req.body = patch;
	reconcile_do(r, &req, n->inf, fine_when_gone, NULL);
}

/* ---- an owner on its way out ---- */

static bool blocks(const struct gc_node *dependent, const char *owner_uid)
{
	for (unsigned i = 0; i < dependent->n_owners; i++)
		if (dependent->owners[i].block && !strcmp(dependent->owners[i].uid, owner_uid))
			return true;
	return false;
}

static void finish_foreground(struct gc_controller *c, struct reconcile *r, const struct gc_node *n)
{
	bool blocked = false;
	for (unsigned i = 0; i < n->n_dependents; i++) {
		struct gc_node *d = n->dependents[i];
		if (!d->observed)
			continue;
		blocked |= blocks(d, n->uid);
		if (!d->deleting)
			reconciler_add(c->base.queue, d->uid);
	}
	if (!blocked)
		drop_finalizer(r, n, "foregroundDeletion");
}

struct gc_orphaning {
	struct reconcile *r;
	struct gc_controller *c;
	char uid[64];
	unsigned left;
	bool failed;
};

static bool on_orphaned(void *arg, const struct client_response *resp)
{
	struct gc_orphaning *o = arg;
	bool gone = resp->err->code == -ENOENT;
	o->failed |= resp->err->code && !gone;
	if (--o->left == 0 && !o->failed) {
		struct gc_node *n = gc_find(&o->c->graph, o->uid);
		if (n && n->observed)
			drop_finalizer(o->r, n, "orphan");
	}
	return gone;
}

static void finish_orphaning(struct gc_controller *c, struct reconcile *r, const struct gc_node *n)
{
	struct gc_orphaning *o = reconcile_alloc(r, sizeof(*o));
	o->r = r;
	o->c = c;
	snprintf(o->uid, sizeof(o->uid), "%s", n->uid);
	const char *uids[] = {n->uid};
	for (unsigned i = 0; i < n->n_dependents; i++)
		if (n->dependents[i]->observed)
			o->left += drop_reference(r, n->dependents[i], uids, 1, on_orphaned, o);
	if (!o->left)
		drop_finalizer(r, n, "orphan");
}

/* ---- something with owners ---- */

enum owner_state { OWNER_STAYS, OWNER_WAITING, OWNER_ABSENT };

struct gc_judgement {
	struct gc_controller *c;
	struct reconcile *r;
	char uid[64];
	unsigned asking, n;
	struct gc_asked {
		struct gc_judgement *j;
		char uid[64];
		enum owner_state state;
	} owners[];
};

static void judge(struct gc_judgement *j)
{
	const struct gc_node *n = gc_find(&j->c->graph, j->uid);
	if (!n || !n->observed || n->deleting)
		return;
	unsigned count[3] = {0};
	_cleanup_free_ const char **drop = NEW_N(const char *, j->n + 1);
	size_t n_drop = 0;
	for (unsigned i = 0; i < j->n; i++) {
		count[j->owners[i].state]++;
		if (j->owners[i].state != OWNER_STAYS)
			drop[n_drop++] = j->owners[i].uid;
	}
	if (count[OWNER_STAYS]) {
		if (n_drop)
			drop_reference(j->r, n, drop, n_drop, fine_when_gone, NULL);
	} else if (count[OWNER_WAITING] && n->n_dependents) {
		delete_node(j->r, n, "Foreground");
	} else {
		delete_node(j->r, n, n->orphan ? "Orphan" : n->foreground ? "Foreground" : "Background");
	}
}

static bool on_owner(void *arg, const struct client_response *resp)
{
	struct gc_asked *a = arg;
	if (resp->err->code == -ENOENT || (resp->object && strcmp(resp->object->uid, a->uid) != 0))
		a->state = OWNER_ABSENT;
	if (--a->j->asking == 0)
		judge(a->j);
	return resp->err->code == -ENOENT;
}

/* Not in our graph: perhaps our copy of that kind is late, so ask. Kinds we do not know count as staying. */
static void ask(struct gc_judgement *j, struct gc_asked *a, const struct gc_node *n, const struct gc_owner *owner)
{
	const struct kind *k = kind_by_api_version(owner->api_version, owner->kind);
	if (!k || !(k->verbs & VERB_GET))
		return;
	if (k->namespaced && !*n->ns) /* a cluster's object cannot be owned by a namespace's */
		return;
	j->asking++;
	struct client_request req = {.verb = CLIENT_GET,
				     .kind = k,
				     .ns = k->namespaced ? n->ns : NULL,
				     .name = owner->name,
				     .grace_period_s = -1};
	reconcile_do(j->r, &req, NULL, on_owner, a);
}

static void look_at_owners(struct gc_controller *c, struct reconcile *r, const struct gc_node *n)
{
	struct gc_judgement *j = reconcile_alloc(r, sizeof(*j) + n->n_owners * sizeof(j->owners[0]));
	j->c = c;
	j->r = r;
	j->n = n->n_owners;
	snprintf(j->uid, sizeof(j->uid), "%s", n->uid);
	for (unsigned i = 0; i < n->n_owners; i++) {
		struct gc_asked *a = &j->owners[i];
		a->j = j;
		snprintf(a->uid, sizeof(a->uid), "%s", n->owners[i].uid);
		struct gc_node *owner = gc_find(&c->graph, n->owners[i].uid);
		if (owner && owner->observed)
			a->state = owner->deleting && owner->foreground ? OWNER_WAITING : OWNER_STAYS;
		else
			ask(j, a, n, &n->owners[i]);
	}
	if (!j->asking)
		judge(j);
}

static int gc_reconcile(void *arg, struct reconcile *r, const char *uid, struct err *err)
{
	struct gc_controller *c = arg;
	MAGIC_CHECK(c, GC_MAGIC);
	(void)err;
	struct gc_node *n = gc_find(&c->graph, uid);
	if (!n || !n->observed)
		return 0;
	if (n->deleting && n->orphan)
		finish_orphaning(c, r, n);
	else if (n->deleting && n->foreground)
		finish_foreground(c, r, n);
	else if (!n->deleting && n->n_owners)
		look_at_owners(c, r, n);
	return 0;
}

/* ---- what makes us look ---- */

static bool all_owners_known(const struct gc_controller *c, const struct gc_node *n)
{
	for (unsigned i = 0; i < n->n_owners; i++) {
		struct gc_node *owner = gc_find(&c->graph, n->owners[i].uid);
		if (!owner || !owner->observed || (owner->deleting && owner->foreground))
			return false;
	}
	return true;
}

static void on_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct gc_controller *c = arg;
	MAGIC_CHECK(c, GC_MAGIC);
	if (old_obj && (!new_obj || strcmp(old_obj->uid, new_obj->uid) != 0)) {
		struct gc_node *n = gc_find(&c->graph, old_obj->uid);
		if (n) {
			for (unsigned i = 0; i < n->n_dependents; i++)
				reconciler_add(c->base.queue, n->dependents[i]->uid);
			for (unsigned i = 0; i < n->n_owners; i++) {
				struct gc_node *owner = gc_find(&c->graph, n->owners[i].uid);
				if (owner && owner->deleting && owner->foreground)
					reconciler_add(c->base.queue, owner->uid);
			}
			gc_forget(&c->graph, old_obj->uid);
		}
	}
	if (!new_obj || !*new_obj->uid)
		return;
	bool owners_changed;
	struct gc_node *n = gc_observe(&c->graph, new_obj, inf, &owners_changed);
	if ((n->deleting && (n->foreground || n->orphan)) ||
	    (!n->deleting && owners_changed && n->n_owners && !all_owners_known(c, n)))
		reconciler_add(c->base.queue, n->uid);
	/* One that blocked its owner and no longer does. */
	for (unsigned i = 0; i < n->n_owners && old_obj; i++) {
		struct gc_node *owner = gc_find(&c->graph, n->owners[i].uid);
		if (owner && owner->deleting && owner->foreground)
			reconciler_add(c->base.queue, owner->uid);
	}
}

static void gc_free(struct controller *base)
{
	struct gc_controller *c = (struct gc_controller *)(void *)base;
	reconciler_free(base->queue);
	gc_graph_done(&c->graph);
	free(c);
}

struct controller *gc_controller_new(struct controllers *all)
{
	struct gc_controller *c = NEW(struct gc_controller);
	c->magic = GC_MAGIC;
	c->base.all = all;
	c->base.free = gc_free;
	struct reconciler_config config = {.name = "garbage_collector", .reconcile = gc_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	unsigned needed = VERB_LIST | VERB_WATCH | VERB_DELETE;
	for (size_t i = 0; kinds_all[i]; i++) {
		const struct kind *k = kinds_all[i];
		/* Events own nothing and belong to nobody; they go by themselves. */
		if ((k->verbs & needed) != needed || !strcmp(k->kind, "Event"))
			continue;
		struct informer *inf = informer_get(all->informers, k, NULL, NULL, NULL);
		informer_add_handler(inf, &(struct informer_handler){on_change, c});
	}
	return &c->base;
}
