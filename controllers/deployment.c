/* Deployments: roll a template out through ReplicaSets.
 *
 * Every run takes one step: own what is ours -> revisions -> (paused or resized: keep proportions | recreate | roll),
 * and writes the status; each write's event brings the next run. At most one write of the Deployment itself a run.
 * Source for names and rules: kubernetes.io/docs/concepts/workloads/controllers/deployment, upstream's
 * pkg/controller/deployment.
 */
#include "controllers/deployment.h"

static int deployment_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct deployment_controller *c = arg;
	MAGIC_CHECK(c, DEPLOYMENT_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *obj = informer_find(c->base.all->deployments, ns, name);
	if (!obj)
		return 0;
	struct rollout *ro = rollout_new(c, r, obj);
	if (meta_deleting(ro->tree)) {
		rollout_write_status(ro, false);
		return 0;
	}
	if (rollout_claim(ro) || rollout_sync_paused(ro))
		return 0;
	if (ro->newest && rollout_sync_revisions(ro))
		return 0;
	if (ro->paused || rollout_is_scaling(ro))
		rollout_resize(ro);
	else if (ro->recreate)
		rollout_recreate(ro);
	else
		rollout_rolling(ro);
	return 0;
}

/* ---- what makes us look ---- */

static void enqueue_named(struct deployment_controller *c, const char *ns, const struct rs_info *info)
{
	if (!info || strcmp(info->owner_kind, "Deployment") != 0)
		return;
	struct object *d = informer_find(c->base.all->deployments, ns, info->owner_name);
	if (d && !strcmp(d->uid, info->owner_uid))
		reconciler_add_object(c->base.queue, d);
}

static void enqueue_matching(struct deployment_controller *c, struct object *rs, const struct rs_info *info)
{
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_list(c->base.all->deployments, rs->ns, &v);
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *tree = object_tree(v[i]);
		_cleanup_selector_ struct selector *sel = NULL;
		if (selector_from_json(json_path(tree, "spec", "selector", NULL), &sel, NULL) == 0 &&
		    selector_matches(sel, info->labels))
			reconciler_add_object(c->base.queue, v[i]);
	}
}

static void on_replicaset(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct deployment_controller *c = arg;
	MAGIC_CHECK(c, DEPLOYMENT_MAGIC);
	struct rs_info *o = old_obj ? informer_extract(inf, old_obj) : NULL;
	struct rs_info *n = new_obj ? informer_extract(inf, new_obj) : NULL;
	if (o && (!n || strcmp(o->owner_uid, n->owner_uid) != 0))
		enqueue_named(c, old_obj->ns, o);
	if (!n)
		return;
	if (*n->owner_uid)
		enqueue_named(c, new_obj->ns, n);
	else if (!o || *o->owner_uid || !labels_equal(o->labels, n->labels))
		enqueue_matching(c, new_obj, n);
}

/* Recreate waits for the last old pod to be gone; nothing else of ours changes when it goes. */
static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct deployment_controller *c = arg;
	MAGIC_CHECK(c, DEPLOYMENT_MAGIC);
	if (new_obj || !old_obj)
		return;
	struct pod_info *p = informer_extract(inf, old_obj);
	struct informer *sets = c->base.all->replicasets;
	struct object *rs =
		!strcmp(p->owner_kind, "ReplicaSet") ? informer_find(sets, old_obj->ns, p->owner_name) : NULL;
	if (rs)
		enqueue_named(c, rs->ns, informer_extract(sets, rs));
}

static void deployment_free(struct controller *base)
{
	struct deployment_controller *c = (struct deployment_controller *)(void *)base;
	reconciler_free(base->queue);
	event_recorder_free(c->events);
	free(c);
}

struct controller *deployment_controller_new(struct controllers *all)
{
	struct deployment_controller *c = NEW(struct deployment_controller);
	c->magic = DEPLOYMENT_MAGIC;
	c->base.all = all;
	c->base.free = deployment_free;
	c->events = event_recorder_new(all->client, "deployment-controller", NULL);
	struct reconciler_config config = {.name = "deployment", .reconcile = deployment_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	informer_add_handler(all->deployments, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(all->replicasets, &(struct informer_handler){on_replicaset, c});
	informer_add_handler(all->pods, &(struct informer_handler){on_pod, c});
	return &c->base;
}
