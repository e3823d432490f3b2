/* What the server sets or keeps when an object itself is written (never for writes to its subresources):
 * the status is not its writer's to say, and what was once allocated is kept when a later write leaves it out. */

#include "lib/api/kinds/kinds.h"
#include "lib/api/kinds/pod_qos.h"

/* The status of `old`; `fresh` (a new reference, or NULL) on create. */
static void keep_status(json_t *obj, const json_t *old, json_t *fresh)
{
	json_t *status = old ? json_incref(json_object_get(old, "status")) : json_incref(fresh);

	json_decref(fresh);
	json_put(obj, "status", status ? json_deep_copy(status) : NULL);
	json_decref(status);
}

void pod__prepare(json_t *obj, const json_t *old)
{
	keep_status(obj, old, old ? NULL : json_make("{s:s, s:s}", "phase", "Pending", "qosClass", pod_qos(obj)));
	if (!old && json_array_size(json_path(obj, "spec", "schedulingGates", NULL)))
		json_put(json_object_get(obj, "status"), "conditions",
			 json_make("[{s:s, s:s, s:s, s:s, s:n, s:n}]", "type", "PodScheduled", "status", "False",
				   "reason", "SchedulingGated", "message",
				   "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime",
				   "lastTransitionTime"));
}

/* An agent registers its node together with what it knows of it, so create keeps the status. */
void node__prepare(json_t *obj, const json_t *old)
{
	json_t *spec = json_need_object(obj, "spec");
	const char *cidr = json_get_str(spec, "podCIDR", "");

	if (old)
		keep_status(obj, old, NULL);
	if (*cidr && !json_object_get(spec, "podCIDRs"))
		json_put(spec, "podCIDRs", json_make("[s]", cidr));
}

void namespace__prepare(json_t *obj, const json_t *old)
{
	json_t *spec = json_need_object(obj, "spec"), *finalizers, *f;
	size_t i;
	bool found = false;

	keep_status(obj, old, old ? NULL : json_make("{s:s}", "phase", "Active"));
	if (old) {
		json_t *kept = json_path(old, "spec", "finalizers", NULL);
		json_put(spec, "finalizers", kept ? json_deep_copy(kept) : NULL);
		return;
	}
	finalizers = json_need_array(spec, "finalizers");
	json_array_foreach(finalizers, i, f) found = found || streq(json_string_value(f), "kubernetes");
	if (!found)
		json_array_append_new(finalizers, json_string("kubernetes"));
}

void deployment__prepare(json_t *obj, const json_t *old)
{
	keep_status(obj, old, old ? NULL : json_object());
}

void replica_set__prepare(json_t *obj, const json_t *old)
{
	keep_status(obj, old, old ? NULL : json_make("{s:i}", "replicas", 0));
}

/* ---- Service ---- */

static bool has_cluster_ip(const json_t *spec)
{
	return !streq(json_get_str(spec, "type", ""), "ExternalName");
}

static bool has_node_ports(const json_t *spec)
{
	const char *type = json_get_str(spec, "type", "");
	return streq(type, "NodePort") || streq(type, "LoadBalancer");
}

static json_t *port_of(const json_t *ports, const json_t *like)
{
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p) if (json_get_int(p, "port", 0) == json_get_int(like, "port", 0) &&
					    streq(json_get_str(p, "protocol", "TCP"),
						  json_get_str(like, "protocol", "TCP"))) return p;
	return NULL;
}

static bool node_port_used(const json_t *ports, int64_t node_port, const char *protocol)
{
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p) if (json_get_int(p, "nodePort", 0) == node_port &&
					    streq(json_get_str(p, "protocol", "TCP"), protocol)) return true;
	return false;
}

static void keep_node_ports(json_t *spec, const json_t *old_spec)
{
	json_t *ports = json_object_get(spec, "ports"), *p;
	size_t i;

	json_array_foreach(ports, i, p)
	{
		const json_t *was = port_of(json_object_get(old_spec, "ports"), p);
		int64_t node_port = json_get_int(was, "nodePort", 0);
		if (node_port && !json_get_int(p, "nodePort", 0) &&
		    !node_port_used(ports, node_port, json_get_str(p, "protocol", "TCP")))
			json_put_int(p, "nodePort", node_port);
	}
}

static void keep_allocated(json_t *spec, const json_t *old_spec)
{
	const json_t *ips = json_object_get(old_spec, "clusterIPs");

	if (has_cluster_ip(spec) && has_cluster_ip(old_spec)) {
		if (!*json_get_str(spec, "clusterIP", "") && !json_array_size(json_object_get(spec, "clusterIPs"))) {
			const char *ip = json_get_str(old_spec, "clusterIP", "");
			json_put_str(spec, "clusterIP", *ip ? ip : NULL);
			json_put(spec, "clusterIPs", ips ? json_deep_copy(ips) : NULL);
		}
	}
	if (has_node_ports(spec) && has_node_ports(old_spec))
		keep_node_ports(spec, old_spec);
	if (!json_get_int(spec, "healthCheckNodePort", 0) && json_get_int(old_spec, "healthCheckNodePort", 0) &&
	    streq(json_get_str(spec, "type", ""), "LoadBalancer") &&
	    streq(json_get_str(spec, "externalTrafficPolicy", ""), "Local"))
		json_put_int(spec, "healthCheckNodePort", json_get_int(old_spec, "healthCheckNodePort", 0));
}

static bool same_member(const json_t *a, const json_t *b, const char *name)
{
	const json_t *x = json_object_get(a, name), *y = json_object_get(b, name);
	return x == y || (x && y && json_equal((json_t *)x, (json_t *)y));
}

/* A change of type drops what only the old type had, unless the same write changes it too. */
static void drop_of_old_type(json_t *spec, const json_t *old_spec)
{
	json_t *p;
	size_t i;

	if (has_cluster_ip(old_spec) && !has_cluster_ip(spec)) {
		if (same_member(spec, old_spec, "clusterIP")) {
			json_put(spec, "clusterIP", NULL);
			json_put(spec, "clusterIPs", NULL);
		}
		static const char *const alike[] = {"ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"};
		for (i = 0; i < ARRAY_LEN(alike); i++)
			if (same_member(spec, old_spec, alike[i]))
				json_put(spec, alike[i], NULL);
	}
	if (!has_node_ports(old_spec) || has_node_ports(spec))
		return;
	json_array_foreach(json_object_get(spec, "ports"), i, p)
	{
		const json_t *was = port_of(json_object_get(old_spec, "ports"), p);
		if (was && same_member(p, was, "nodePort"))
			json_put(p, "nodePort", NULL);
	}
	if (same_member(spec, old_spec, "externalTrafficPolicy") &&
	    !json_array_size(json_object_get(spec, "externalIPs")))
		json_put(spec, "externalTrafficPolicy", NULL);
	if (same_member(spec, old_spec, "allocateLoadBalancerNodePorts"))
		json_put(spec, "allocateLoadBalancerNodePorts", NULL);
	if (same_member(spec, old_spec, "healthCheckNodePort"))
		json_put(spec, "healthCheckNodePort", NULL);
}

/* clusterIP and the first of clusterIPs say the same: writers that know only one of them change only that one. */
static void join_cluster_ips(json_t *spec, const json_t *old_spec)
{
	const char *ip = json_get_str(spec, "clusterIP", "");
	const json_t *ips = json_object_get(spec, "clusterIPs");
	const char *first = json_string_value(json_array_get(ips, 0));

	if (*ip && !json_array_size(ips))
		json_put(spec, "clusterIPs", json_make("[s]", ip));
	else if (!*ip && first && (!old_spec || !*json_get_str(old_spec, "clusterIP", "")))
		json_put_str(spec, "clusterIP", first);
	else if (*ip && first && !streq(ip, first) && old_spec && same_member(spec, old_spec, "clusterIPs"))
		json_put(spec, "clusterIPs", json_make("[s]", ip));
}

void service__prepare(json_t *obj, const json_t *old)
{
	json_t *spec = json_object_get(obj, "spec");
	const json_t *old_spec = json_object_get(old, "spec");

	keep_status(obj, old, old ? NULL : json_make("{s:{}}", "loadBalancer"));
	if (!json_is_object(spec))
		return;
	if (old_spec && json_array_size(json_object_get(spec, "ports")) <= SERVICE_PORTS_MAX) {
		drop_of_old_type(spec, old_spec);
		keep_allocated(spec, old_spec);
	}
	join_cluster_ips(spec, old_spec);
}
