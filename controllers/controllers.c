#include "controllers/targets.h"

#define CONTROLLERS_MAGIC 0xc0170011u

static void index_orphans(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	if (!meta_controller(tree) && !meta_deleting(tree))
		emit(ctx, obj->ns);
}

static struct informer *get(struct controllers *c, const char *group, const char *kind)
{
	return informer_get(c->informers, kind_by_kind(group, "v1", kind), NULL, NULL, NULL);
}

static void make_informers(struct controllers *c)
{
	c->informers = informer_set_new(c->client);
	c->namespaces = get(c, "", "Namespace");
	c->nodes = get(c, "", "Node");
	c->deployments = get(c, "apps", "Deployment");
	informer_add_index(c->deployments, "owner", informer_index_owner);
	c->replicasets = get(c, "apps", "ReplicaSet");
	informer_set_extract(c->replicasets, rs_info_make, rs_info_drop);
	informer_add_index(c->replicasets, "owner", informer_index_owner);
	c->services = get(c, "", "Service");
	informer_set_extract(c->services, service_info_make, service_info_drop);
	c->pods = get(c, "", "Pod");
	informer_set_extract(c->pods, pod_info_make, pod_info_drop);
	informer_add_index(c->pods, PODS_BY_OWNER, informer_index_owner);
	informer_add_index(c->pods, PODS_BY_NODE, informer_index_node);
	informer_add_index(c->pods, PODS_BY_ORPHANS, index_orphans);
}

static void run(struct controllers *c, bool on)
{
	c->running = on;
	for (unsigned i = 0; i < c->n; i++) {
		struct controller *k = c->list[i];
		if (k->queue && on)
			reconciler_run(k->queue);
		else if (k->queue)
			reconciler_pause(k->queue);
		if (k->run)
			k->run(k, on);
	}
}

static void on_ready(struct controllers *c)
{
	if (leader_holds(c->leader) && informer_set_synced(c->informers) && !c->running)
		run(c, true);
}

static void on_synced(void *arg)
{
	struct controllers *c = arg;
	MAGIC_CHECK(c, CONTROLLERS_MAGIC);
	on_ready(c);
}

static void on_leading(void *arg)
{
	struct controllers *c = arg;
	MAGIC_CHECK(c, CONTROLLERS_MAGIC);
	on_ready(c);
}

static void on_lost(void *arg)
{
	struct controllers *c = arg;
	MAGIC_CHECK(c, CONTROLLERS_MAGIC);
	run(c, false);
}

struct controllers *controllers_new(struct client *client, const struct controllers_config *config)
{
	static struct controller *(*const makers[])(struct controllers *) = {
		namespace_controller_new,
		serviceaccount_controller_new,
		rootca_controller_new,
		tokencleaner_controller_new,
		nodeipam_controller_new,
		nodelifecycle_controller_new,
		podgc_controller_new,
		clusterroleaggregation_controller_new,
		deployment_controller_new,
		replicaset_controller_new,
		endpoints_controller_new,
		endpointslice_controller_new,
		endpointslicemirroring_controller_new,
		gc_controller_new,
	};
	struct controllers *c = NEW(struct controllers);
	c->magic = CONTROLLERS_MAGIC;
	c->client = client;
	c->env = client->env;
	c->cluster_cidr = config->cluster_cidr ? xstrdup(config->cluster_cidr) : NULL;
	c->ca_pem = config->ca_pem ? xstrdup(config->ca_pem) : NULL;
	c->identity = xstrdup(config->identity);
	c->node_monitor_grace_s = config->node_monitor_grace_s ? config->node_monitor_grace_s : 40;
	c->eviction_toleration_s = config->eviction_toleration_s ? config->eviction_toleration_s : 300;
	make_informers(c);
	for (size_t i = 0; i < ARRAY_LEN(makers); i++)
		c->list[c->n++] = makers[i](c);
	struct leader_config lease = {.lease = "kube-controller-manager",
				      .identity = c->identity,
				      .started = on_leading,
				      .stopped = on_lost,
				      .arg = c};
	c->leader = leader_new(client, &lease);
	return c;
}

void controllers_start(struct controllers *c)
{
	informer_set_on_synced(c->informers, on_synced, c);
	informer_set_start(c->informers);
	leader_start(c->leader);
}

bool controllers_idle(const struct controllers *c)
{
	if (!c->running || !informer_set_synced(c->informers))
		return false;
	for (unsigned i = 0; i < c->n; i++)
		if (c->list[i]->queue && !reconciler_idle(c->list[i]->queue))
			return false;
	return true;
}

void controllers_free(struct controllers *c)
{
	if (!c)
		return;
	leader_free(c->leader);
	for (unsigned i = c->n; i-- > 0;)
		c->list[i]->free(c->list[i]);
	informer_set_free(c->informers);
	free(c->cluster_cidr);
	free(c->ca_pem);
	free(c->identity);
	free(c);
}
