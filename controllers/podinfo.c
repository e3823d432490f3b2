#include "controllers/internal.h"

static char *copy(const json_t *obj, const char *key)
{
	return xstrdup(json_get_str(obj, key, ""));
}

static enum pod_phase phase_of(const char *s)
{
	if (!strcmp(s, "Running"))
		return POD_RUNNING;
	if (!strcmp(s, "Succeeded"))
		return POD_SUCCEEDED;
	if (!strcmp(s, "Failed"))
		return POD_FAILED;
	return !strcmp(s, "Unknown") ? POD_UNKNOWN : POD_PENDING;
}

static void read_status(struct pod_info *p, const json_t *status)
{
	p->phase = phase_of(json_get_str(status, "phase", ""));
	p->ip = copy(status, "podIP");
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(status, "conditions"), i, e)
	{
		if (strcmp(json_get_str(e, "type", ""), "Ready") != 0)
			continue;
		p->ready_known = true;
		p->ready = !strcmp(json_get_str(e, "status", ""), "True");
		p->ready_since_s = json_time_s(e, "lastTransitionTime");
	}
	json_array_foreach(json_object_get(status, "containerStatuses"), i, e)
	{
		int n = (int)json_get_int(e, "restartCount", 0);
		p->restarts = MAX(p->restarts, n);
	}
}

static void read_ports(struct pod_info *p, const json_t *spec)
{
	size_t i, j, cap = 0;
	json_t *container, *port;
	json_array_foreach(json_object_get(spec, "containers"), i, container)
	{
		json_array_foreach(json_object_get(container, "ports"), j, port)
		{
			if (!*json_get_str(port, "name", ""))
				continue;
			GROW(p->ports, cap, p->n_ports + 1);
			p->ports[p->n_ports++] = (struct pod_port){
				.name = copy(port, "name"),
				.protocol = xstrdup(json_get_str(port, "protocol", "TCP")),
				.port = (int)json_get_int(port, "containerPort", 0),
			};
		}
	}
}

static void read_tolerations(struct pod_info *p, const json_t *spec)
{
	size_t i, cap = 0;
	json_t *t;
	json_array_foreach(json_object_get(spec, "tolerations"), i, t)
	{
		GROW(p->tolerations, cap, p->n_tolerations + 1);
		p->tolerations[p->n_tolerations++] = (struct pod_toleration){
			.key = copy(t, "key"),
			.op = copy(t, "operator"),
			.value = copy(t, "value"),
			.effect = copy(t, "effect"),
			.seconds = json_get_int(t, "tolerationSeconds", -1),
		};
	}
}

static void read_owner(const json_t *tree, char **ret_uid, char **ret_kind, char **ret_name)
{
	const json_t *owner = meta_controller(tree);
	*ret_uid = copy(owner, "uid");
	*ret_kind = copy(owner, "kind");
	*ret_name = copy(owner, "name");
}

void *pod_info_make(struct object *obj, const json_t *tree)
{
	(void)obj;
	struct pod_info *p = NEW(struct pod_info);
	const json_t *meta = json_object_get(tree, "metadata"), *spec = json_object_get(tree, "spec");
	p->created_s = json_time_s(meta, "creationTimestamp");
	p->deleting = meta_deleting(tree);
	p->deletion_s = json_time_s(meta, "deletionTimestamp");
	p->deletion_grace_s = json_get_int(meta, "deletionGracePeriodSeconds", 0);
	const char *cost = meta_annotation(tree, "controller.kubernetes.io/pod-deletion-cost");
	int64_t n;
	if (cost && parse_i64(cost, &n) == 0 && n >= INT32_MIN && n <= INT32_MAX)
		p->deletion_cost = (int)n;
	p->labels = json_incref(json_object_get(meta, "labels"));
	p->node = copy(spec, "nodeName");
	p->hostname = copy(spec, "hostname");
	p->subdomain = copy(spec, "subdomain");
	p->host_network = json_get_bool(spec, "hostNetwork", false);
	read_owner(tree, &p->owner_uid, &p->owner_kind, &p->owner_name);
	read_status(p, json_object_get(tree, "status"));
	read_ports(p, spec);
	read_tolerations(p, spec);
	return p;
}

void pod_info_drop(void *info)
{
	struct pod_info *p = info;
	for (unsigned i = 0; i < p->n_ports; i++) {
		free(p->ports[i].name);
		free(p->ports[i].protocol);
	}
	for (unsigned i = 0; i < p->n_tolerations; i++) {
		free(p->tolerations[i].key);
		free(p->tolerations[i].op);
		free(p->tolerations[i].value);
		free(p->tolerations[i].effect);
	}
	free(p->ports);
	free(p->tolerations);
	free(p->node);
	free(p->ip);
	free(p->hostname);
	free(p->subdomain);
	free(p->owner_uid);
	free(p->owner_kind);
	free(p->owner_name);
	json_decref(p->labels);
	free(p);
}

bool pod_available(const struct pod_info *p, int64_t min_ready_s, int64_t now_s, int64_t *ret_wait_s)
{
	if (ret_wait_s)
		*ret_wait_s = 0;
	if (!p->ready)
		return false;
	if (min_ready_s == 0 || p->ready_since_s + min_ready_s < now_s)
		return true;
	/* Seconds are all a condition has: the whole of the last one must have passed. */
	if (ret_wait_s)
		*ret_wait_s = p->ready_since_s + min_ready_s + 1 - now_s;
	return false;
}

void *rs_info_make(struct object *obj, const json_t *tree)
{
	(void)obj;
	struct rs_info *r = NEW(struct rs_info);
	/* A selector that cannot be read matches nothing: the API server does not let one in. */
	if (selector_from_json(json_path(tree, "spec", "selector", NULL), &r->selector, NULL) < 0)
		r->selector = selector_from_map(NULL);
	r->labels = json_incref(json_path(tree, "metadata", "labels", NULL));
	r->deleting = meta_deleting(tree);
	read_owner(tree, &r->owner_uid, &r->owner_kind, &r->owner_name);
	return r;
}

void rs_info_drop(void *info)
{
	struct rs_info *r = info;
	selector_free(r->selector);
	json_decref(r->labels);
	free(r->owner_uid);
	free(r->owner_kind);
	free(r->owner_name);
	free(r);
}
