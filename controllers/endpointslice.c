/* EndpointSlices: a Service's addresses in objects of at most 100, changed as little as can be.
 *
 * Targets with the same resolved ports share slices. An endpoint stays in the slice it is in; new ones fill slices
 * with room; what is left makes new slices; empty ones go (the last stays, so that "none" can be told from "not yet").
 */
#include "controllers/targets.h"

#define SLICE_MAGIC      0xc0175f1cu
#define SLICE_MAX        100
#define LABEL_SERVICE    "kubernetes.io/service-name"
#define LABEL_MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER          "endpointslice-controller.k8s.io"

struct endpointslice_controller {
	struct controller base;
	uint32_t magic;
	struct informer *slices;
};

/* A slice as it is and as it shall be. */
struct slice_plan {
	struct object *have; /* NULL: new */
	json_t *tree;        /* of have */
	json_t *ports;
	char *ports_key;
	json_t *endpoints; /* wished */
};

struct slices {
	struct slice_plan *v;
	size_t n, cap;
};

static void slices_done(struct slices *s)
{
	for (size_t i = 0; i < s->n; i++) {
		json_decref(s->v[i].tree);
		json_decref(s->v[i].ports);
		json_decref(s->v[i].endpoints);
		free(s->v[i].ports_key);
	}
	free(s->v);
}

static struct slice_plan *slices_add(struct slices *s, struct object *have, json_t *ports_new)
{
	GROW(s->v, s->cap, s->n + 1);
	struct slice_plan *p = &s->v[s->n++];
	*p = (struct slice_plan){.have = have, .tree = have ? object_tree(have) : NULL};
	p->ports = ports_new;
	p->ports_key = json_dumps(ports_new, JSON_COMPACT | JSON_SORT_KEYS);
	p->endpoints = json_array();
	return p;
}

static json_t *make_endpoint(struct endpointslice_controller *c, const struct target *t, const char *service)
{
	json_t *e = json_make("{s:[s], s:{s:b, s:b, s:b}, s:o}", "addresses", t->info->ip, "conditions", "ready",
			      (int)t->ready, "serving", (int)t->serving, "terminating", (int)t->terminating,
			      "targetRef", target_ref(t));
	if (*t->info->node)
		json_put_str(e, "nodeName", t->info->node);
	if (*target_hostname(t, service))
		json_put_str(e, "hostname", target_hostname(t, service));
	struct object *node = *t->info->node ? informer_find(c->base.all->nodes, "", t->info->node) : NULL;
	if (node) {
		_cleanup_json_ json_t *tree = object_tree(node);
		json_put_str(e, "zone", meta_label(tree, "topology.kubernetes.io/zone"));
	}
	return e;
}

/* Is this pod among the slice's present endpoints? */
static bool slice_has(const struct slice_plan *p, const char *uid)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(p->tree, "endpoints"), i, e)
	{
		if (!strcmp(json_get_str(json_object_get(e, "targetRef"), "uid", ""), uid))
			return true;
	}
	return false;
}

static void plan_target(struct endpointslice_controller *c, struct slices *s, const struct target *t,
			const char *service, bool stay)
{
	_cleanup_json_ json_t *ports = ports_normal(t->ports);
	char *key = json_dumps(ports, JSON_COMPACT | JSON_SORT_KEYS);
	struct slice_plan *to = NULL;
	for (size_t i = 0; i < s->n && !to; i++) {
		struct slice_plan *p = &s->v[i];
		bool fits = !strcmp(p->ports_key, key) && json_array_size(p->endpoints) < SLICE_MAX;
		if (fits && (!stay || slice_has(p, t->pod->uid)))
			to = p;
	}
	free(key);
	if (!to)
		to = slices_add(s, NULL, json_incref(ports));
	json_array_append_new(to->endpoints, make_endpoint(c, t, service));
}

static void plan_all(struct endpointslice_controller *c, struct slices *s, const struct targets *t, const char *service)
{
	_cleanup_free_ bool *stays = NEW_N(bool, t->n + 1);
	for (int pass = 0; pass < 2; pass++) {
		size_t had = s->n;
		for (size_t i = 0; i < t->n; i++) {
			if (strchr(t->v[i].info->ip, ':')) /* IPv4 only */
				continue;
			if (pass == 0)
				for (size_t j = 0; j < had && !stays[i]; j++) {
					_cleanup_json_ json_t *ports = ports_normal(t->v[i].ports);
					stays[i] = json_equal(s->v[j].ports, ports) &&
						   slice_has(&s->v[j], t->v[i].pod->uid);
				}
			if (stays[i] == (pass == 0))
				plan_target(c, s, &t->v[i], service, pass == 0);
		}
	}
}

/* ---- writing ---- */

static json_t *slice_labels(const struct targets *t, const json_t *service_tree, const char *service)
{
	json_t *labels = targets_labels(t, service_tree);
	json_put_str(labels, LABEL_SERVICE, service);
	json_put_str(labels, LABEL_MANAGED_BY, MANAGER);
	return labels;
}

static bool endpoints_equal(const json_t *a, const json_t *b)
{
	return json_array_size(a) == json_array_size(b) && (!json_array_size(a) || json_equal(a, b));
}

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

static void write_slice(struct endpointslice_controller *c, struct reconcile *r, struct object *service,
			const struct slice_plan *p, json_t *labels)
{
	if (p->have && endpoints_equal(json_object_get(p->tree, "endpoints"), p->endpoints) &&
	    labels_equal(json_path(p->tree, "metadata", "labels", NULL), labels))
		return;
	_cleanup_json_ json_t *tree = NULL;
	struct client_request req;
	if (p->have) {
		tree = json_deep_copy(p->tree);
		req = request_for(CLIENT_UPDATE, p->have);
	} else {
		_cleanup_free_ char *prefix = xasprintf("%s-", service->name);
		tree = json_make("{s:s, s:s, s:{s:s, s:o}, s:s, s:O}", "apiVersion", "discovery.k8s.io/v1", "kind",
				 "EndpointSlice", "metadata", "generateName", prefix, "ownerReferences",
				 meta_owned_by(service), "addressType", "IPv4", "ports", p->ports);
		req = (struct client_request){.verb = CLIENT_CREATE,
					      .kind = informer_kind(c->slices),
					      .ns = service->ns,
					      .grace_period_s = -1};
	}
	json_put(json_object_get(tree, "metadata"), "labels", json_incref(labels));
	json_put(tree, "endpoints", json_incref(p->endpoints));
	req.body = tree;
	reconcile_do(r, &req, c->slices, NULL, NULL);
}

static void delete_slice(struct endpointslice_controller *c, struct reconcile *r, struct object *slice)
{
	struct client_request req = request_for(CLIENT_DELETE, slice);
	req.precondition_uid = slice->uid;
	reconcile_do(r, &req, c->slices, fine_when_gone, NULL);
}

static void write_all(struct endpointslice_controller *c, struct reconcile *r, struct object *service, struct slices *s,
		      json_t *labels)
{
	size_t full = 0;
	for (size_t i = 0; i < s->n; i++)
		full += json_array_size(s->v[i].endpoints) > 0;
	if (!s->n)
		slices_add(s, NULL, json_array());
	bool keep_empty = full == 0;
	for (size_t i = 0; i < s->n; i++) {
		struct slice_plan *p = &s->v[i];
		if (json_array_size(p->endpoints) || keep_empty) {
			keep_empty = keep_empty && json_array_size(p->endpoints) > 0;
			write_slice(c, r, service, p, labels);
		} else if (p->have) {
			delete_slice(c, r, p->have);
		}
	}
}

static void slices_read(struct endpointslice_controller *c, const char *key, struct slices *s)
{
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_by_index(c->slices, "service", key, &v);
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *tree = object_tree(v[i]);
		if (!meta_deleting(tree))
			slices_add(s, v[i], ports_normal(json_object_get(tree, "ports")));
	}
}

static int endpointslice_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct endpointslice_controller *c = arg;
	MAGIC_CHECK(c, SLICE_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *service = informer_find(c->base.all->services, ns, name);
	struct slices slices = {0};
	slices_read(c, key, &slices);
	struct service_info *info = service ? informer_extract(c->base.all->services, service) : NULL;
	if (!info || !info->selector || info->external_name) {
		/* No service: garbage collection would do it too, but routes should go now. */
		for (size_t i = 0; !info && i < slices.n; i++)
			delete_slice(c, r, slices.v[i].have);
		slices_done(&slices);
		return 0;
	}
	_cleanup_json_ json_t *tree = object_tree(service);
	struct targets targets;
	targets_find(c->base.all, service, tree, &targets);
	plan_all(c, &slices, &targets, service->name);
	_cleanup_json_ json_t *labels = slice_labels(&targets, tree, service->name);
	write_all(c, r, service, &slices, labels);
	targets_done(&targets);
	slices_done(&slices);
	return 0;
}

static void index_service(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	const char *service = meta_label(tree, LABEL_SERVICE);
	if (!service || !streq(meta_label(tree, LABEL_MANAGED_BY), MANAGER))
		return;
	_cleanup_free_ char *key = xasprintf("%s/%s", obj->ns, service);
	emit(ctx, key);
}

static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct endpointslice_controller *c = arg;
	MAGIC_CHECK(c, SLICE_MAGIC);
	targets_on_pod(c->base.all, c->base.queue, inf, old_obj, new_obj);
}

static void on_slice(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct endpointslice_controller *c = arg;
	MAGIC_CHECK(c, SLICE_MAGIC);
	(void)inf;
	_cleanup_json_ json_t *tree = object_tree(new_obj ? new_obj : old_obj);
	const char *service = meta_label(tree, LABEL_SERVICE);
	if (!service || !streq(meta_label(tree, LABEL_MANAGED_BY), MANAGER))
		return;
	_cleanup_free_ char *key = xasprintf("%s/%s", meta_ns(tree), service);
	reconciler_add(c->base.queue, key);
}

static void endpointslice_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *endpointslice_controller_new(struct controllers *all)
{
	struct endpointslice_controller *c = NEW(struct endpointslice_controller);
	c->magic = SLICE_MAGIC;
	c->base.all = all;
	c->base.free = endpointslice_free;
	struct reconciler_config config = {.name = "endpoint_slice", .reconcile = endpointslice_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	c->slices =
		informer_get(all->informers, kind_by_kind("discovery.k8s.io", "v1", "EndpointSlice"), NULL, NULL, NULL);
	informer_add_index(c->slices, "service", index_service);
	informer_add_handler(all->services, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(all->pods, &(struct informer_handler){on_pod, c});
	informer_add_handler(c->slices, &(struct informer_handler){on_slice, c});
	return &c->base;
}
