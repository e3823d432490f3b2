/* Endpoints: the older form of a Service's addresses, one object a Service, for clients that still read it. */
#include "controllers/targets.h"

#define ENDPOINTS_MAGIC    0xc017e9d1u
#define ADDRESSES_MAX      1000
#define ANNOTATION_OVERFUL "endpoints.kubernetes.io/over-capacity"

struct endpoints_controller {
	struct controller base;
	uint32_t magic;
	struct informer *endpoints;
};

static json_t *subset_for(json_t *subsets, const struct target *t)
{
	size_t i;
	json_t *s;
	json_array_foreach(subsets, i, s)
	{
		json_t *ports = json_object_get(s, "ports");
		if (ports ? json_equal(ports, t->ports) : !json_array_size(t->ports))
			return s;
	}
	s = json_object();
	if (json_array_size(t->ports))
		json_put(s, "ports", json_incref(t->ports));
	json_array_append_new(subsets, s);
	return s;
}

static json_t *make_subsets(const struct targets *t, const char *service, bool *ret_overful)
{
	json_t *subsets = json_array();
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++) {
		const struct target *e = &t->v[i];
		if (e->terminating && !t->publish_not_ready)
			continue;
		if (n++ == ADDRESSES_MAX) {
			*ret_overful = true;
			break;
		}
		json_t *address = json_make("{s:s, s:o}", "ip", e->info->ip, "targetRef", target_ref(e));
		if (*e->info->node)
			json_put_str(address, "nodeName", e->info->node);
		if (*target_hostname(e, service))
			json_put_str(address, "hostname", target_hostname(e, service));
		json_t *subset = subset_for(subsets, e);
		json_array_append_new(json_need_array(subset, e->ready ? "addresses" : "notReadyAddresses"), address);
	}
	return subsets;
}

static void write_endpoints(struct endpoints_controller *c, struct reconcile *r, struct object *service,
			    json_t *labels_new, json_t *subsets_new, bool overful)
{
	_cleanup_json_ json_t *labels = labels_new, *subsets = subsets_new;
	struct object *have = informer_find(c->endpoints, service->ns, service->name);
	_cleanup_json_ json_t *tree = have ? object_edit(have) : NULL;
	if (!tree)
		tree = json_make("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "Endpoints", "metadata",
				 "name", service->name, "namespace", service->ns);
	_cleanup_json_ json_t *before = json_deep_copy(tree);
	json_t *meta = json_object_get(tree, "metadata");
	json_put(meta, "labels", json_object_size(labels) ? json_incref(labels) : NULL);
	json_put(tree, "subsets", json_array_size(subsets) ? json_incref(subsets) : NULL);
	if (overful)
		json_put_str(json_need_object(meta, "annotations"), ANNOTATION_OVERFUL, "truncated");
	else
		json_object_del(json_object_get(meta, "annotations"), ANNOTATION_OVERFUL);
	if (have && json_equal(before, tree))
		return;
	struct client_request req = {.verb = have ? CLIENT_UPDATE : CLIENT_CREATE,
				     .kind = informer_kind(c->endpoints),
				     .ns = service->ns,
				     .name = service->name,
				     .body = tree,
				     .grace_period_s = -1};
	reconcile_do(r, &req, c->endpoints, NULL, NULL);
}

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

static int endpoints_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct endpoints_controller *c = arg;
	MAGIC_CHECK(c, ENDPOINTS_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *service = informer_find(c->base.all->services, ns, name);
	if (!service) {
		struct object *left = informer_find(c->endpoints, ns, name);
		if (!left)
			return 0;
		struct client_request req = request_for(CLIENT_DELETE, left);
		req.precondition_uid = left->uid;
		reconcile_do(r, &req, c->endpoints, fine_when_gone, NULL);
		return 0;
	}
	struct service_info *info = informer_extract(c->base.all->services, service);
	if (!info->selector || info->external_name)
		return 0;
	_cleanup_json_ json_t *tree = object_tree(service);
	struct targets targets;
	targets_find(c->base.all, service, tree, &targets);
	bool overful = false;
	json_t *subsets = make_subsets(&targets, service->name, &overful);
	write_endpoints(c, r, service, targets_labels(&targets, tree), subsets, overful);
	targets_done(&targets);
	return 0;
}

static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct endpoints_controller *c = arg;
	MAGIC_CHECK(c, ENDPOINTS_MAGIC);
	targets_on_pod(c->base.all, c->base.queue, inf, old_obj, new_obj);
}

/* Somebody deleted ours, or we just made it: look (a look that changes nothing costs nothing). */
static void on_endpoints(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct endpoints_controller *c = arg;
	MAGIC_CHECK(c, ENDPOINTS_MAGIC);
	(void)inf;
	if (!new_obj && informer_find(c->base.all->services, old_obj->ns, old_obj->name))
		reconciler_add_object(c->base.queue, old_obj);
}

static void endpoints_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *endpoints_controller_new(struct controllers *all)
{
	struct endpoints_controller *c = NEW(struct endpoints_controller);
	c->magic = ENDPOINTS_MAGIC;
	c->base.all = all;
	c->base.free = endpoints_free;
	struct reconciler_config config = {.name = "endpoint", .reconcile = endpoints_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	c->endpoints = informer_get(all->informers, kind_by_kind("", "v1", "Endpoints"), NULL, NULL, NULL);
	informer_add_handler(all->services, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(all->pods, &(struct informer_handler){on_pod, c});
	informer_add_handler(c->endpoints, &(struct informer_handler){on_endpoints, c});
	return &c->base;
}
