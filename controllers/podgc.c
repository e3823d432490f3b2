/* Pods whose node is gone from the API: nobody else can remove them any more. */
#include "controllers/internal.h"

#define PODGC_MAGIC   0xc017b0dcu
#define QUARANTINE_US 40000000ull /* a node that is registered anew keeps its pods */

struct podgc_controller {
	struct controller base;
	uint32_t magic;
};

struct podgc_run {
	struct podgc_controller *c;
	struct reconcile *r;
	struct object *pod;
};

static void run_free(void *p)
{
	struct podgc_run *run = p;
	object_unref(run->pod);
	free(run);
}

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

static void remove_pod(struct podgc_run *run)
{
	struct client_request req = request_for(CLIENT_DELETE, run->pod);
	req.grace_period_s = 0;
	req.precondition_uid = run->pod->uid;
	reconcile_do(run->r, &req, run->c->base.all->pods, fine_when_gone, NULL);
}

static bool on_node(void *arg, const struct client_response *resp)
{
	if (resp->err->code == -ENOENT)
		remove_pod(arg);
	return resp->err->code == -ENOENT;
}

static int podgc_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct podgc_controller *c = arg;
	MAGIC_CHECK(c, PODGC_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *pod = informer_find(c->base.all->pods, ns, name);
	struct pod_info *p = pod ? pod_info(c->base.all, pod) : NULL;
	if (!p || !*p->node || informer_find(c->base.all->nodes, "", p->node))
		return 0;
	struct podgc_run *run = NEW(struct podgc_run);
	reconcile_defer(r, run_free, run);
	*run = (struct podgc_run){c, r, object_ref(pod)};
	/* The copy may be late: ask. */
	struct client_request req = {
		.verb = CLIENT_GET, .kind = informer_kind(c->base.all->nodes), .name = p->node, .grace_period_s = -1};
	reconcile_do(r, &req, NULL, on_node, run);
	return 0;
}

static void quarantine(struct podgc_controller *c, struct object *pod)
{
	_cleanup_free_ char *key = xasprintf("%s/%s", pod->ns, pod->name);
	reconciler_add_after(c->base.queue, key, QUARANTINE_US);
}

static void on_node_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct podgc_controller *c = arg;
	MAGIC_CHECK(c, PODGC_MAGIC);
	(void)inf;
	if (new_obj)
		return;
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_by_index(c->base.all->pods, PODS_BY_NODE, old_obj->name, &v);
	for (size_t i = 0; i < n; i++)
		quarantine(c, v[i]);
}

static void on_pod_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct podgc_controller *c = arg;
	MAGIC_CHECK(c, PODGC_MAGIC);
	struct pod_info *o = old_obj ? informer_extract(inf, old_obj) : NULL;
	struct pod_info *n = new_obj ? informer_extract(inf, new_obj) : NULL;
	if (n && *n->node && (!o || !*o->node) && !informer_find(c->base.all->nodes, "", n->node))
		quarantine(c, new_obj);
}

static void podgc_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *podgc_controller_new(struct controllers *all)
{
	struct podgc_controller *c = NEW(struct podgc_controller);
	c->magic = PODGC_MAGIC;
	c->base.all = all;
	c->base.free = podgc_free;
	struct reconciler_config config = {.name = "pod_garbage_collector", .reconcile = podgc_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	informer_add_handler(all->nodes, &(struct informer_handler){on_node_change, c});
	informer_add_handler(all->pods, &(struct informer_handler){on_pod_change, c});
	return &c->base;
}
