/* The life of nodes: silent for too long -> Ready Unknown -> tainted, its pods not ready -> evicted after a while.
 *
 * A node speaks through its Lease (or its status). Only when it spoke last, by our clock, is kept here: a Lease's
 * renewal queues nothing, the next look is due when the node would have been silent for the whole grace period.
 */
#include "controllers/nodelifecycle.h"

#define NODELIFE_MAGIC 0xc01701feu
#define LEASE_NS       "kube-node-lease"

struct nodelifecycle_controller {
	struct controller base;
	uint32_t magic;
	struct informer *leases;
	struct event_recorder *events;
	struct map heard; /* node name -> struct heard */
};

struct heard {
	uint64_t at_us;
	char ready[16]; /* status of Ready as last seen */
};

static struct heard *heard_of(struct nodelifecycle_controller *c, const char *node)
{
	struct heard *h = map_get(&c->heard, node);
	if (!h) {
		h = NEW(struct heard);
		h->at_us = env_now_us(c->base.all->env);
		map_set(&c->heard, node, h);
	}
	return h;
}

static json_t *find_condition(json_t *status, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(status, "conditions"), i, c)
	{
		if (!strcmp(json_get_str(c, "type", ""), type))
			return c;
	}
	return NULL;
}

/* ---- a silent node: its conditions are unknown ---- */

static bool set_unknown(json_t *status, const char *type, const char *now)
{
	json_t *cond = find_condition(status, type);
	if (cond && !strcmp(json_get_str(cond, "status", ""), "Unknown"))
		return false;
	if (!cond) {
		cond = json_make("{s:s, s:s}", "type", type, "lastHeartbeatTime", now);
		json_array_append_new(json_need_array(status, "conditions"), cond);
		json_put_str(cond, "reason", "NodeStatusNeverUpdated");
		json_put_str(cond, "message", "Kubelet never posted node status.");
	} else {
		json_put_str(cond, "reason", "NodeStatusUnknown");
		json_put_str(cond, "message", "Kubelet stopped posting node status.");
	}
	json_put_str(cond, "status", "Unknown");
	json_put_str(cond, "lastTransitionTime", now);
	return true;
}

static bool write_unknown(struct nodelifecycle_controller *c, struct reconcile *r, struct object *node,
			  const json_t *tree)
{
	static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
	_cleanup_json_ json_t *next = json_deep_copy(tree);
	json_t *status = json_need_object(next, "status");
	char now[32];
	time_format_s(env_wall_s(c->base.all->env), now);
	bool changed = false;
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		changed |= set_unknown(status, types[i], now);
	if (!changed)
		return false;
	struct client_request req = request_for(CLIENT_UPDATE, node);
	req.subresource = "status";
	req.body = next;
	reconcile_do(r, &req, c->base.all->nodes, NULL, NULL);
	event_record(c->events, node, false, "NodeNotReady", "Node %s status is now: NodeNotReady", node->name);
	return true;
}

/* ---- its pods ---- */

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

/* Nobody can say that they are ready: their endpoints must go. */
static void write_not_ready(struct nodelifecycle_controller *c, struct reconcile *r, struct object *pod)
{
	_cleanup_json_ json_t *tree = object_edit(pod);
	json_t *ready = find_condition(json_object_get(tree, "status"), "Ready");
	if (!ready)
		return;
	char now[32];
	json_put_str(ready, "status", "False");
	json_put_str(ready, "lastTransitionTime", time_format_s(env_wall_s(c->base.all->env), now));
	struct client_request req = request_for(CLIENT_UPDATE, pod);
	req.subresource = "status";
	req.body = tree;
	reconcile_do(r, &req, c->base.all->pods, fine_when_gone, NULL);
	event_record(c->events, pod, true, "NodeNotReady", "Node is not ready");
}

static void evict(struct nodelifecycle_controller *c, struct reconcile *r, struct object *pod)
{
	event_record(c->events, pod, false, "TaintManagerEviction", "Marking for deletion Pod %s/%s", pod->ns,
		     pod->name);
	struct client_request req = request_for(CLIENT_DELETE, pod);
	req.precondition_uid = pod->uid;
	reconcile_do(r, &req, c->base.all->pods, fine_when_gone, NULL);
}

static void look_at_pods(struct nodelifecycle_controller *c, struct reconcile *r, struct object *node,
			 const json_t *tree, bool ready)
{
	struct controllers *all = c->base.all;
	int64_t now_s = env_wall_s(all->env), soonest = INT64_MAX;
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_by_index(all->pods, PODS_BY_NODE, node->name, &v);
	for (size_t i = 0; i < n; i++) {
		struct pod_info *p = pod_info(all, v[i]);
		if (p->deleting)
			continue;
		int64_t due = node_taints_eviction_s(tree, p, all->eviction_toleration_s);
		if (due <= now_s)
			evict(c, r, v[i]);
		else if (!ready && p->ready)
			write_not_ready(c, r, v[i]);
		if (due > now_s)
			soonest = MIN(soonest, due);
	}
	if (soonest != INT64_MAX)
		reconcile_again_after(r, (uint64_t)(soonest - now_s) * 1000000u);
}

/* ---- the run: silent? -> taints -> pods ---- */

static int nodelifecycle_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct nodelifecycle_controller *c = arg;
	MAGIC_CHECK(c, NODELIFE_MAGIC);
	(void)err;
	struct object *node = informer_find(c->base.all->nodes, "", key);
	if (!node) {
		map_del(&c->heard, key);
		return 0;
	}
	_cleanup_json_ json_t *tree = object_tree(node);
	uint64_t grace_us = (uint64_t)c->base.all->node_monitor_grace_s * 1000000u;
	uint64_t silent_us = env_now_us(c->base.all->env) - heard_of(c, key)->at_us;
	if (silent_us < grace_us)
		reconcile_again_after(r, grace_us - silent_us + 1);
	else if (write_unknown(c, r, node, tree))
		return 0;
	_cleanup_json_ json_t *next = json_deep_copy(tree);
	if (node_taints_update(next, env_wall_s(c->base.all->env))) {
		struct client_request req = request_for(CLIENT_UPDATE, node);
		req.body = next;
		reconcile_do(r, &req, c->base.all->nodes, NULL, NULL);
		return 0;
	}
	json_t *cond = find_condition(json_object_get(tree, "status"), "Ready");
	look_at_pods(c, r, node, tree, !cond || !strcmp(json_get_str(cond, "status", ""), "True"));
	return 0;
}

/* ---- what makes us look ---- */

static void on_node(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct nodelifecycle_controller *c = arg;
	MAGIC_CHECK(c, NODELIFE_MAGIC);
	(void)inf;
	if (new_obj) {
		_cleanup_json_ json_t *tree = object_tree(new_obj);
		const json_t *cond = find_condition(json_object_get(tree, "status"), "Ready");
		const char *status = json_get_str(cond, "status", "");
		struct heard *h = heard_of(c, new_obj->name);
		/* What we wrote ourselves is no sign of life. */
		if (*status && strcmp(status, "Unknown") != 0 && (strcmp(status, h->ready) != 0 || old_obj))
			h->at_us = env_now_us(c->base.all->env);
		snprintf(h->ready, sizeof(h->ready), "%s", status);
	}
	reconciler_add_object(c->base.queue, new_obj ? new_obj : old_obj);
}

static void on_lease(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct nodelifecycle_controller *c = arg;
	MAGIC_CHECK(c, NODELIFE_MAGIC);
	(void)inf;
	(void)old_obj;
	if (new_obj && !strcmp(new_obj->ns, LEASE_NS) && map_has(&c->heard, new_obj->name))
		heard_of(c, new_obj->name)->at_us = env_now_us(c->base.all->env);
}

static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct nodelifecycle_controller *c = arg;
	MAGIC_CHECK(c, NODELIFE_MAGIC);
	struct pod_info *o = old_obj ? informer_extract(inf, old_obj) : NULL;
	struct pod_info *n = new_obj ? informer_extract(inf, new_obj) : NULL;
	/* New on its node: the node may have taints it does not put up with. */
	if (n && *n->node && (!o || !*o->node || o->n_tolerations != n->n_tolerations))
		reconciler_add(c->base.queue, n->node);
}

static void nodelifecycle_free(struct controller *base)
{
	struct nodelifecycle_controller *c = (struct nodelifecycle_controller *)(void *)base;
	reconciler_free(base->queue);
	event_recorder_free(c->events);
	map_done(&c->heard);
	free(c);
}

struct controller *nodelifecycle_controller_new(struct controllers *all)
{
	struct nodelifecycle_controller *c = NEW(struct nodelifecycle_controller);
	c->magic = NODELIFE_MAGIC;
	c->base.all = all;
	c->base.free = nodelifecycle_free;
	c->heard.free_value = free;
	c->events = event_recorder_new(all->client, "node-controller", NULL);
	struct reconciler_config config = {
		.name = "node_lifecycle_controller", .reconcile = nodelifecycle_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	c->leases = informer_get(all->informers, kind_by_kind("coordination.k8s.io", "v1", "Lease"), NULL, NULL, NULL);
	informer_add_handler(all->nodes, &(struct informer_handler){on_node, c});
	informer_add_handler(c->leases, &(struct informer_handler){on_lease, c});
	informer_add_handler(all->pods, &(struct informer_handler){on_pod, c});
	return &c->base;
}
