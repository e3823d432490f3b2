/* Rules of a pod's spec that concern more than one of its parts. */

#include "lib/api/kinds/check_pod.h"

#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/schema.h"
#include "lib/core/map.h"

/* What only sidecars among the init containers may have. */
static void check_init(const json_t *c, const char *path, struct err *err)
{
	static const char *const running_only[] = {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};

	if (streq(json_get_str(c, "restartPolicy", ""), "Always"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(running_only); i++)
		if (member_set(c, running_only[i]))
			fault_forbidden(err, at(path, "%s", running_only[i]),
					"may not be set for init containers without restartPolicy=Always");
}

static void check_host_ports(const json_t *c, const char *path, struct err *err)
{
	size_t i;
	json_t *p;

	json_array_foreach(json_object_get(c, "ports"), i, p)
	{
		int64_t host = json_get_int(p, "hostPort", 0);
		/* a template may leave it out: its pods get it by default */
		if (host && host != json_get_int(p, "containerPort", 0))
			fault_invalid_int(err, at(path, "ports[%zu].hostPort", i), host,
					  "must match `containerPort` when `hostNetwork` is true");
	}
}

/* Names of init containers and containers are one space; within each list the table looks already. */
static void check_names_apart(const json_t *init, const json_t *containers, const char *path, struct err *err)
{
	_cleanup_map_ struct map names = MAP_INIT;
	size_t i;
	json_t *c;

	json_array_foreach(containers, i, c) seen_twice(&names, json_get_str(c, "name", ""));
	json_array_foreach(init, i, c)
	{
		const char *name = json_get_str(c, "name", "");
		if (*name && map_has(&names, name))
			fault_duplicate(err, at(path, "initContainers[%zu].name", i), name);
	}
}

static void check_containers(const json_t *spec, const char *path, struct err *err)
{
	const json_t *containers = json_object_get(spec, "containers"), *init = json_object_get(spec, "initContainers");
	_cleanup_map_ struct map volumes = MAP_INIT;
	bool host_network = json_get_bool(spec, "hostNetwork", false);
	size_t i;
	json_t *c, *v;

	json_array_foreach(json_object_get(spec, "volumes"), i, v) map_set(&volumes, json_get_str(v, "name", ""), v);
	json_array_foreach(containers, i, c)
	{
		struct at here = at(path, "containers[%zu]", i);
		volume__check_mounts(c, &volumes, here.s, err);
		if (host_network)
			check_host_ports(c, here.s, err);
		if (member_set(c, "restartPolicy"))
			fault_forbidden(err, at(here.s, "restartPolicy"), "may not be set for non-init containers");
	}
	json_array_foreach(init, i, c)
	{
		struct at here = at(path, "initContainers[%zu]", i);
		volume__check_mounts(c, &volumes, here.s, err);
		if (host_network)
			check_host_ports(c, here.s, err);
		check_init(c, here.s, err);
	}
	check_names_apart(init, containers, path, err);
}

/* Two containers of one pod cannot have the same port of the host. */
static void check_port_conflicts(const json_t *containers, const char *path, struct err *err)
{
	_cleanup_map_ struct map taken = MAP_INIT;
	size_t i, j;
	json_t *c, *p;

	json_array_foreach(containers, i, c)
	{
		json_array_foreach(json_object_get(c, "ports"), j, p)
		{
			int64_t port = json_get_int(p, "hostPort", 0);
			if (!port)
				continue;
			_cleanup_free_ char *key = xasprintf("%s/%s/%lld", json_get_str(p, "protocol", "TCP"),
							     json_get_str(p, "hostIP", ""), (long long)port);
			if (map_has(&taken, key))
				fault_duplicate(err, at(path, "containers[%zu].ports[%zu].hostPort", i, j), key);
			else
				map_set(&taken, key, c);
		}
	}
}

static void check_dns(const json_t *spec, const char *path, struct err *err)
{
	const json_t *config = json_object_get(spec, "dnsConfig"), *servers = json_object_get(config, "nameservers");

	if (streq(json_get_str(spec, "dnsPolicy", ""), "None")) {
		if (!json_is_object(config))
			fault_required(err, at(path, "dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None");
		else if (!json_array_size(servers))
			fault_required(err, at(path, "dnsConfig.nameservers"),
				       "must provide at least one DNS nameserver when `dnsPolicy` is None");
	}
	if (json_array_size(servers) > 3)
		fault_invalid_raw(err, at(path, "dnsConfig.nameservers"), "[]",
				  "must not have more than 3 nameservers");
	for (size_t i = 0; i < json_array_size(servers); i++) {
		const char *ip = json_string_value(json_array_get(servers, i));
		const char *why = ip ? schema_format_check(FMT_IP, ip) : NULL;
		if (why)
			fault_invalid(err, at(path, "dnsConfig.nameservers[%zu]", i), ip, why);
	}
}

static void check_spread(const json_t *spec, const char *path, struct err *err)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(spec, "topologySpreadConstraints"), i,
			   c) if (member_set(c, "minDomains") &&
				  !streq(json_get_str(c, "whenUnsatisfiable", ""), "DoNotSchedule"))
		fault_invalid_int(err, at(path, "topologySpreadConstraints[%zu].minDomains", i),
				  json_get_int(c, "minDomains", 0),
				  "can only use minDomains if whenUnsatisfiable=DoNotSchedule");
}

void pod_spec__check(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	check_containers(obj, path, err);
	check_port_conflicts(json_object_get(obj, "containers"), path, err);
	check_dns(obj, path, err);
	check_spread(obj, path, err);
	meta_validate_labels(json_object_get(obj, "nodeSelector"), at(path, "nodeSelector").s, err);
	if (json_get_bool(obj, "shareProcessNamespace", false) && json_get_bool(obj, "hostPID", false))
		fault_invalid_raw(err, at(path, "shareProcessNamespace"), "true",
				  "ShareProcessNamespace and HostPID cannot both be enabled");
}

void pod_template__check(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	const json_t *meta = json_object_get(obj, "metadata");

	meta_validate_labels(json_object_get(meta, "labels"), at(path, "metadata.labels").s, err);
	meta_validate_annotations(json_object_get(meta, "annotations"), at(path, "metadata.annotations").s, err);
}

void pod_spec__check_node_requirement(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	const char *op = json_get_str(obj, "operator", "");
	size_t n = json_array_size(json_object_get(obj, "values"));

	if ((streq(op, "In") || streq(op, "NotIn")) && n == 0)
		fault_required(err, at(path, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
	else if ((streq(op, "Exists") || streq(op, "DoesNotExist")) && n > 0)
		fault_forbidden(err, at(path, "values"),
				"may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	else if ((streq(op, "Gt") || streq(op, "Lt")) && n != 1)
		fault_required(err, at(path, "values"),
			       "must be specified single value when `operator` is 'Lt' or 'Gt'");
}

void pod_spec__check_toleration(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	const char *key = json_get_str(obj, "key", ""), *op = json_get_str(obj, "operator", "");
	const char *value = json_get_str(obj, "value", ""), *effect = json_get_str(obj, "effect", "");
	bool exists = streq(op, "Exists");

	if (!*key && !exists)
		fault_invalid(err, at(path, "operator"), op,
			      "operator must be Exists when `key` is empty, which means \"match all values and all "
			      "keys\"");
	if (exists && *value)
		fault_invalid(err, at(path, "operator"), value, "value must be empty when `operator` is 'Exists'");
	const char *why = exists ? NULL : schema_format_check(FMT_LABEL_VALUE, value);
	if (why)
		fault_invalid(err, at(path, "operator"), value, why);
	if (member_set(obj, "tolerationSeconds") && !streq(effect, "NoExecute"))
		fault_invalid(err, at(path, "effect"), effect,
			      "effect must be 'NoExecute' when `tolerationSeconds` is set");
}
