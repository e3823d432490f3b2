#include "controllers/targets.h"

#define LABEL_HEADLESS "service.kubernetes.io/headless"

void *service_info_make(struct object *obj, const json_t *tree)
{
	(void)obj;
	struct service_info *s = NEW(struct service_info);
	const json_t *spec = json_object_get(tree, "spec"), *selector = json_object_get(spec, "selector");
	if (json_object_size(selector))
		s->selector = selector_from_map(selector);
	s->external_name = !strcmp(json_get_str(spec, "type", ""), "ExternalName");
	return s;
}

void service_info_drop(void *info)
{
	struct service_info *s = info;
	selector_free(s->selector);
	free(s);
}

/* The number a service port means on this pod; 0 when the pod has no port of that name. */
static int resolve_port(const struct pod_info *p, const json_t *port, const char *protocol)
{
	const json_t *target = json_object_get(port, "targetPort");
	int own = (int)json_get_int(port, "port", 0);
	if (!target || json_is_null(target))
		return own;
	if (json_is_integer(target))
		return json_integer_value(target) ? (int)json_integer_value(target) : own;
	const char *name = json_string_value(target);
	if (str_empty(name))
		return own;
	for (unsigned i = 0; i < p->n_ports; i++)
		if (!strcmp(p->ports[i].name, name) && !strcmp(p->ports[i].protocol, protocol))
			return p->ports[i].port;
	return 0;
}

static json_t *resolve_ports(const struct pod_info *p, const json_t *service_ports)
{
	json_t *out = json_array();
	size_t i;
	json_t *port;
	json_array_foreach((json_t *)service_ports, i, port)
	{
		const char *protocol = json_get_str(port, "protocol", "TCP");
		int number = resolve_port(p, port, protocol);
		if (!number)
			continue;
		json_t *e = json_make("{s:i, s:s}", "port", number, "protocol", protocol);
		const char *name = json_get_str(port, "name", "");
		if (*name)
			json_put_str(e, "name", name);
		json_put_str(e, "appProtocol", json_get_str(port, "appProtocol", NULL));
		json_array_append_new(out, e);
	}
	return out;
}

void targets_find(struct controllers *c, struct object *service, const json_t *tree, struct targets *ret)
{
	const json_t *spec = json_object_get(tree, "spec");
	struct service_info *info = informer_extract(c->services, service);
	*ret = (struct targets){
		.headless = !strcmp(json_get_str(spec, "clusterIP", ""), "None"),
		.publish_not_ready = json_get_bool(spec, "publishNotReadyAddresses", false),
	};
	_cleanup_free_ struct object **pods = NULL;
	size_t n = informer_list(c->pods, service->ns, &pods);
	ret->v = NEW_N(struct target, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct pod_info *p = pod_info(c, pods[i]);
		if (!*p->ip || p->phase == POD_SUCCEEDED || p->phase == POD_FAILED ||
		    !selector_matches(info->selector, p->labels))
			continue;
		struct target *t = &ret->v[ret->n++];
		t->pod = pods[i];
		t->info = p;
		t->ports = resolve_ports(p, json_object_get(spec, "ports"));
		t->ports_key = json_dumps(t->ports, JSON_COMPACT);
		t->terminating = p->deleting;
		t->serving = p->ready;
		t->ready = ret->publish_not_ready || (p->ready && !p->deleting);
	}
}

void targets_done(struct targets *t)
{
	for (size_t i = 0; i < t->n; i++) {
		json_decref(t->v[i].ports);
		free(t->v[i].ports_key);
	}
	free(t->v);
	*t = (struct targets){0};
}

json_t *target_ref(const struct target *t)
{
	return json_make("{s:s, s:s, s:s, s:s}", "kind", "Pod", "namespace", t->pod->ns, "name", t->pod->name, "uid",
			 t->pod->uid);
}

const char *target_hostname(const struct target *t, const char *service)
{
	return !strcmp(t->info->subdomain, service) ? t->info->hostname : "";
}

/* What endpoints say of a pod; a change of anything else concerns nobody here. */
static bool same_for_endpoints(const struct pod_info *a, const struct pod_info *b)
{
	bool gone_a = a->phase == POD_SUCCEEDED || a->phase == POD_FAILED;
	bool gone_b = b->phase == POD_SUCCEEDED || b->phase == POD_FAILED;
	return a->ready == b->ready && a->deleting == b->deleting && gone_a == gone_b && !strcmp(a->ip, b->ip) &&
	       !strcmp(a->node, b->node) && labels_equal(a->labels, b->labels);
}

void targets_on_pod(struct controllers *c, struct reconciler *queue, struct informer *pods, struct object *old_obj,
		    struct object *new_obj)
{
	struct pod_info *o = old_obj ? informer_extract(pods, old_obj) : NULL;
	struct pod_info *n = new_obj ? informer_extract(pods, new_obj) : NULL;
	if (o && n && same_for_endpoints(o, n))
		return;
	struct object *pod = new_obj ? new_obj : old_obj;
	if (!pod)
		return;
	_cleanup_free_ struct object **v = NULL;
	size_t count = informer_list(c->services, pod->ns, &v);
	for (size_t i = 0; i < count; i++) {
		struct service_info *info = informer_extract(c->services, v[i]);
		if (!info->selector || info->external_name)
			continue;
		if ((o && selector_matches(info->selector, o->labels)) ||
		    (n && selector_matches(info->selector, n->labels)))
			reconciler_add_object(queue, v[i]);
	}
}

json_t *targets_labels(const struct targets *t, const json_t *service_tree)
{
	json_t *labels = json_deep_copy(json_path(service_tree, "metadata", "labels", NULL));
	if (!labels)
		labels = json_object();
	if (t->headless)
		json_put_str(labels, LABEL_HEADLESS, "");
	else
		json_object_del(labels, LABEL_HEADLESS);
	return labels;
}

json_t *ports_normal(const json_t *ports)
{
	json_t *out = json_array();
	size_t i;
	json_t *p;
	json_array_foreach((json_t *)ports, i, p)
	{
		json_t *e = json_make("{s:s, s:I, s:s}", "name", json_get_str(p, "name", ""), "port",
				      (json_int_t)json_get_int(p, "port", 0), "protocol",
				      json_get_str(p, "protocol", "TCP"));
		json_put_str(e, "appProtocol", json_get_str(p, "appProtocol", NULL));
		json_array_append_new(out, e);
	}
	return out;
}
