/* EndpointSlices from Endpoints that somebody wrote by hand, for a Service without a selector: slices are what proxies
 * read. One slice for each set of ports and each family of addresses. */
#include "controllers/targets.h"

#define MIRROR_MAGIC     0xc0175f1du
#define ENDPOINTS_MAX    1000 /* a slice has no more, and neither has a subset that is mirrored */
#define LABEL_SERVICE    "kubernetes.io/service-name"
#define LABEL_MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define LABEL_SKIP       "endpointslice.kubernetes.io/skip-mirror"
#define MANAGER          "endpointslicemirroring-controller.k8s.io"

struct mirroring_controller {
	struct controller base;
	uint32_t magic;
	struct informer *endpoints, *slices;
};

static json_t *make_endpoint(const json_t *address, bool ready)
{
	json_t *e = json_make("{s:[s], s:{s:b}}", "addresses", json_get_str(address, "ip", ""), "conditions", "ready",
			      (int)ready);
	json_t *ref = json_object_get(address, "targetRef");
	if (ref)
		json_put(e, "targetRef", json_incref(ref));
	json_put_str(e, "nodeName", json_get_str(address, "nodeName", NULL));
	json_put_str(e, "hostname", json_get_str(address, "hostname", NULL));
	return e;
}

/* The wished slice with these ports and this kind of addresses, begun when there is none yet. */
static json_t *slice_for(json_t *wished, const json_t *ports, const char *family)
{
	size_t i;
	json_t *s;
	json_array_foreach(wished, i, s)
	{
		if (streq(json_get_str(s, "addressType", ""), family) && json_equal(json_object_get(s, "ports"), ports))
			return s;
	}
	s = json_make("{s:s, s:O, s:[]}", "addressType", family, "ports", ports, "endpoints");
	json_array_append_new(wished, s);
	return s;
}

static void add_subset(json_t *wished, const json_t *subset)
{
	static const char *const lists[] = {"addresses", "notReadyAddresses"};
	_cleanup_json_ json_t *ports = ports_normal(json_object_get(subset, "ports"));
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *a;
		json_array_foreach(json_object_get(subset, lists[l]), i, a)
		{
			const char *family = strchr(json_get_str(a, "ip", ""), ':') ? "IPv6" : "IPv4";
			json_t *list = json_object_get(slice_for(wished, ports, family), "endpoints");
			if (json_array_size(list) < ENDPOINTS_MAX)
				json_array_append_new(list, make_endpoint(a, l == 0));
		}
	}
}

/* What the slices are to be: none where the Endpoints are gone, not to be mirrored, or made by a controller. */
static json_t *wished_slices(struct mirroring_controller *c, struct object *endpoints, const json_t *tree)
{
	json_t *wished = json_array();
	struct object *service =
		endpoints ? informer_find(c->base.all->services, endpoints->ns, endpoints->name) : NULL;
	struct service_info *info = service ? informer_extract(c->base.all->services, service) : NULL;
	if (!info || info->selector || streq(meta_label(tree, LABEL_SKIP), "true") || meta_deleting(tree))
		return wished;
	size_t i;
	json_t *s;
	json_array_foreach(json_object_get(tree, "subsets"), i, s) add_subset(wished, s);
	return wished;
}

static json_t *slice_labels(const json_t *endpoints_tree, const char *service)
{
	json_t *from = json_path(endpoints_tree, "metadata", "labels", NULL);
	json_t *labels = from ? json_deep_copy(from) : json_object();
	json_put_str(labels, LABEL_SERVICE, service);
	json_put_str(labels, LABEL_MANAGED_BY, MANAGER);
	return labels;
}

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT;
}

static void update_slice(struct mirroring_controller *c, struct reconcile *r, struct object *have, const json_t *wish,
			 json_t *labels)
{
	_cleanup_json_ json_t *tree = object_edit(have);
	json_t *was = json_object_get(tree, "endpoints"), *is = json_object_get(wish, "endpoints");
	if (json_equal(was, is) && labels_equal(json_path(tree, "metadata", "labels", NULL), labels))
		return;
	json_put(tree, "endpoints", json_incref(is));
	json_put(json_object_get(tree, "metadata"), "labels", json_incref(labels));
	struct client_request req = request_for(CLIENT_UPDATE, have);
	req.body = tree;
	reconcile_do(r, &req, c->slices, NULL, NULL);
}

static void create_slice(struct mirroring_controller *c, struct reconcile *r, struct object *endpoints, json_t *wish,
			 json_t *labels)
{
	_cleanup_free_ char *prefix = xasprintf("%s-", endpoints->name);
	_cleanup_json_ json_t *tree = json_copy(wish);
	json_put_str(tree, "apiVersion", "discovery.k8s.io/v1");
	json_put_str(tree, "kind", "EndpointSlice");
	json_put(tree, "metadata",
		 json_make("{s:s, s:O, s:o}", "generateName", prefix, "labels", labels, "ownerReferences",
			   meta_owned_by(endpoints)));
	struct client_request req = {.verb = CLIENT_CREATE,
				     .kind = informer_kind(c->slices),
				     .ns = endpoints->ns,
				     .body = tree,
				     .grace_period_s = -1};
	reconcile_do(r, &req, c->slices, NULL, NULL);
}

static void delete_slice(struct mirroring_controller *c, struct reconcile *r, struct object *slice)
{
	struct client_request req = request_for(CLIENT_DELETE, slice);
	req.precondition_uid = slice->uid;
	reconcile_do(r, &req, c->slices, fine_when_gone, NULL);
}

/* Takes the wish that this slice answers out of the list; NULL: it answers none. */
static json_t *take_wish(json_t *wished, const json_t *slice)
{
	_cleanup_json_ json_t *ports = ports_normal(json_object_get(slice, "ports"));
	size_t i;
	json_t *w;
	json_array_foreach(wished, i, w)
	{
		if (!streq(json_get_str(w, "addressType", ""), json_get_str(slice, "addressType", "")) ||
		    !json_equal(json_object_get(w, "ports"), ports))
			continue;
		json_incref(w);
		json_array_remove(wished, i);
		return w;
	}
	return NULL;
}

static int mirror_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct mirroring_controller *c = arg;
	MAGIC_CHECK(c, MIRROR_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *endpoints = informer_find(c->endpoints, ns, name);
	_cleanup_json_ json_t *tree = endpoints ? object_tree(endpoints) : NULL;
	_cleanup_json_ json_t *wished = wished_slices(c, endpoints, tree), *labels = slice_labels(tree, name);
	_cleanup_free_ struct object **have = NULL;
	size_t n = informer_by_index(c->slices, "mirrored", key, &have);
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *slice = object_tree(have[i]);
		_cleanup_json_ json_t *wish = meta_deleting(slice) ? NULL : take_wish(wished, slice);
		if (wish)
			update_slice(c, r, have[i], wish, labels);
		else if (!meta_deleting(slice))
			delete_slice(c, r, have[i]);
	}
	if (!endpoints)
		return 0;
	size_t i;
	json_t *w;
	json_array_foreach(wished, i, w) create_slice(c, r, endpoints, w, labels);
	return 0;
}

/* "namespace/service" of a slice that is ours, else NULL. */
static char *key_of_slice(struct object *slice)
{
	_cleanup_json_ json_t *tree = object_tree(slice);
	const char *service = meta_label(tree, LABEL_SERVICE);
	return service && streq(meta_label(tree, LABEL_MANAGED_BY), MANAGER) ? xasprintf("%s/%s", slice->ns, service)
									     : NULL;
}

static void index_mirrored(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx)
{
	_cleanup_free_ char *key = key_of_slice(obj);
	if (key)
		emit(ctx, key);
}

static void on_slice(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct mirroring_controller *c = arg;
	MAGIC_CHECK(c, MIRROR_MAGIC);
	(void)inf;
	_cleanup_free_ char *key = key_of_slice(new_obj ? new_obj : old_obj);
	if (key)
		reconciler_add(c->base.queue, key);
}

static void mirroring_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *endpointslicemirroring_controller_new(struct controllers *all)
{
	struct mirroring_controller *c = NEW(struct mirroring_controller);
	c->magic = MIRROR_MAGIC;
	c->base.all = all;
	c->base.free = mirroring_free;
	struct reconciler_config config = {.name = "endpoint_slice_mirroring", .reconcile = mirror_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	c->endpoints = informer_get(all->informers, kind_by_kind("", "v1", "Endpoints"), NULL, NULL, NULL);
	c->slices =
		informer_get(all->informers, kind_by_kind("discovery.k8s.io", "v1", "EndpointSlice"), NULL, NULL, NULL);
	informer_add_index(c->slices, "mirrored", index_mirrored);
	informer_add_handler(all->services, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(c->endpoints, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(c->slices, &(struct informer_handler){on_slice, c});
	return &c->base;
}
