/* Rules of services, endpoints and endpoint slices. Whether an address or a node port is free is the API server's. */

#include <arpa/inet.h>

#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/kinds/kinds.h"
#include "lib/api/schema.h"
#include "lib/core/map.h"

static bool type_is(const json_t *spec, const char *type)
{
	return streq(json_get_str(spec, "type", ""), type);
}

static bool is_headless(const json_t *spec)
{
	return streq(json_get_str(spec, "clusterIP", ""), "None");
}

static void check_node_port(const json_t *spec, const json_t *ports, size_t i, const char *path, struct err *err)
{
	const json_t *p = json_array_get(ports, i);
	int64_t node_port = json_get_int(p, "nodePort", 0);
	const char *protocol = json_get_str(p, "protocol", "");

	if (!node_port)
		return;
	if (type_is(spec, "ClusterIP"))
		fault_forbidden(err, at(path, "nodePort"), "may not be used when `type` is 'ClusterIP'");
	for (size_t j = 0; j < i; j++) {
		const json_t *o = json_array_get(ports, j);
		if (json_get_int(o, "nodePort", 0) != node_port || !streq(json_get_str(o, "protocol", ""), protocol))
			continue;
		err_add_cause(
			err, "FieldValueDuplicate", at(path, "nodePort").s,
			"Duplicate value: core.ServicePort{Name:\"\", Protocol:\"%s\", AppProtocol:(*string)(nil), "
			"Port:0, TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:%lld}",
			protocol, (long long)node_port);
		return;
	}
}

/* Two ports with the same number and protocol are found by the table. */
static void check_ports(const json_t *spec, const char *path, struct err *err)
{
	const json_t *ports = json_object_get(spec, "ports");
	size_t n = json_array_size(ports);

	if (!n && !is_headless(spec) && !type_is(spec, "ExternalName"))
		fault_required(err, at(path, "ports"), NULL);
	if (n > SERVICE_PORTS_MAX) {
		err_add_cause(err, "FieldValueTooMany", at(path, "ports").s,
			      "Too many: %zu: must have at most %d items", n, SERVICE_PORTS_MAX);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const json_t *p = json_array_get(ports, i);
		const char *name = json_get_str(p, "name", "");
		struct at here = at(path, "ports[%zu]", i);

		if (!*name && n > 1)
			fault_required(err, at(here.s, "name"), NULL);
		for (size_t j = 0; *name && j < i; j++) {
			if (streq(name, json_get_str(json_array_get(ports, j), "name", ""))) {
				fault_duplicate(err, at(here.s, "name"), name);
				break;
			}
		}
		check_node_port(spec, ports, i, here.s, err);
	}
}

static void check_cluster_ip(const json_t *spec, const char *path, struct err *err)
{
	const char *ip = json_get_str(spec, "clusterIP", "");
	const char *why = NULL;

	if (!*ip)
		return;
	if (type_is(spec, "ExternalName")) {
		fault_forbidden(err, at(path, "clusterIPs"), "may not be set when `type` is 'ExternalName'");
		return;
	}
	if (is_headless(spec)) {
		if (type_is(spec, "NodePort"))
			fault_invalid(err, at(path, "clusterIPs[0]"), ip,
				      "may not be set to 'None' for NodePort services");
		else if (type_is(spec, "LoadBalancer"))
			fault_invalid(err, at(path, "clusterIPs[0]"), ip,
				      "may not be set to 'None' for LoadBalancer services");
		return;
	}
	if ((why = schema_format_check(FMT_IP, ip)))
		fault_invalid(err, at(path, "clusterIPs[0]"), ip, why);
}

/* An address, once given, stays, unless the type changes from or to ExternalName. */
static void check_cluster_ip_kept(const json_t *spec, const json_t *old, const char *path, struct err *err)
{
	const char *was = json_get_str(old, "clusterIP", ""), *is = json_get_str(spec, "clusterIP", "");

	if (!*was || streq(was, is) || type_is(old, "ExternalName") || type_is(spec, "ExternalName"))
		return;
	_cleanup_free_ char *list = go_string_list(json_object_get(spec, "clusterIPs"));
	fault_invalid_raw(err, at(path, "clusterIPs[0]"), list,
			  *is ? "may not change once set" : "primary clusterIP can not be unset");
}

static void check_external_name(const json_t *spec, const char *path, struct err *err)
{
	const char *name = json_get_str(spec, "externalName", "");
	_cleanup_free_ char *bare = xstrdup(name);
	size_t n = strlen(bare);

	if (n && bare[n - 1] == '.')
		bare[n - 1] = 0;
	if (!*bare) {
		fault_required(err, at(path, "externalName"), NULL);
		return;
	}
	const char *why = schema_format_check(FMT_DNS_SUBDOMAIN, bare);
	if (why)
		fault_invalid(err, at(path, "externalName"), name, why);
}

/* One family, IPv4: what wants both, or the other, is refused as by any cluster with one. */
static void check_families(const json_t *spec, const char *path, struct err *err)
{
	const json_t *families = json_object_get(spec, "ipFamilies");
	const char *policy = json_get_str(spec, "ipFamilyPolicy", "");

	if (streq(policy, "RequireDualStack"))
		fault_invalid(err, at(path, "ipFamilyPolicy"), policy,
			      "this cluster is not configured for dual-stack services");
	for (size_t i = 0; i < json_array_size(families); i++) {
		const char *family = json_string_value(json_array_get(families, i));
		if (family && streq(family, "IPv6"))
			fault_invalid(err, at(path, "ipFamilies[%zu]", i), family, "not configured on this cluster");
	}
}

void service__check_spec(const json_t *obj, const json_t *old, const char *path, struct err *err)
{
	const char *policy = json_get_str(obj, "externalTrafficPolicy", "");
	bool external = type_is(obj, "NodePort") || type_is(obj, "LoadBalancer") ||
			json_array_size(json_object_get(obj, "externalIPs"));

	check_ports(obj, path, err);
	check_cluster_ip(obj, path, err);
	check_families(obj, path, err);
	if (old)
		check_cluster_ip_kept(obj, old, path, err);
	if (type_is(obj, "ExternalName"))
		check_external_name(obj, path, err);
	if (streq(json_get_str(obj, "sessionAffinity", ""), "None") && member_set(obj, "sessionAffinityConfig"))
		fault_forbidden(err, at(path, "sessionAffinityConfig"),
				"must not be set when session affinity is None");
	if (*policy && !external)
		fault_invalid(err, at(path, "externalTrafficPolicy"), policy,
			      "may only be set for externally-accessible services");
	if (!type_is(obj, "LoadBalancer") && json_get_int(obj, "healthCheckNodePort", 0))
		fault_invalid_int(
			err, at(path, "healthCheckNodePort"), json_get_int(obj, "healthCheckNodePort", 0),
			"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
	meta_validate_labels(json_object_get(obj, "selector"), at(path, "selector").s, err);
}

/* ---- endpoints ---- */

/* Addresses that mean the node itself, or nothing that can be reached. */
static void check_reachable(const char *ip, struct at where, struct err *err)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, ip, &v4) == 1) {
		uint32_t a = ntohl(v4.s_addr);
		if (a == 0)
			fault_invalid(err, where, ip, "may not be unspecified (0.0.0.0 or ::)");
		if (a >> 24 == 127)
			fault_invalid(err, where, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
		if (a >> 16 == 0xa9fe)
			fault_invalid(err, where, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
		if (a >> 8 == 0xe00000)
			fault_invalid(err, where, ip,
				      "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
	} else if (inet_pton(AF_INET6, ip, &v6) == 1) {
		if (IN6_IS_ADDR_UNSPECIFIED(&v6))
			fault_invalid(err, where, ip, "may not be unspecified (0.0.0.0 or ::)");
		if (IN6_IS_ADDR_LOOPBACK(&v6))
			fault_invalid(err, where, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
		if (IN6_IS_ADDR_LINKLOCAL(&v6))
			fault_invalid(err, where, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	}
}

void endpoints__check_subset(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	static const char *const lists[] = {"addresses", "notReadyAddresses"};
	const json_t *ports = json_object_get(obj, "ports");
	size_t n = 0, i;
	json_t *v;

	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		json_array_foreach(json_object_get(obj, lists[l]), i, v)
			check_reachable(json_get_str(v, "ip", ""), at(path, "%s[%zu].ip", lists[l], i), err);
		n += json_array_size(json_object_get(obj, lists[l]));
	}
	if (!n)
		fault_required(err, at_self(path), "must specify `addresses` or `notReadyAddresses`");
	json_array_foreach(ports, i, v) if (json_array_size(ports) > 1 && !*json_get_str(v, "name", ""))
		fault_required(err, at(path, "ports[%zu].name", i), NULL);
}

static void check_slice_address(const char *type, const char *address, struct at where, struct err *err)
{
	uint8_t raw[16];
	const char *why = NULL;

	if (streq(type, "FQDN"))
		why = schema_format_check(FMT_DNS_SUBDOMAIN, address);
	else if (streq(type, "IPv4") && inet_pton(AF_INET, address, raw) != 1)
		why = "must be a valid IPv4 address";
	else if (streq(type, "IPv6") && inet_pton(AF_INET6, address, raw) != 1)
		why = "must be a valid IPv6 address";
	if (why)
		fault_invalid(err, where, address, why);
	else if (!streq(type, "FQDN"))
		check_reachable(address, where, err);
}

static void check_slice_endpoint(const char *type, const json_t *endpoint, const char *path, struct err *err)
{
	const json_t *addresses = json_object_get(endpoint, "addresses");
	size_t n = json_array_size(addresses);

	if (!n)
		fault_required(err, at(path, "addresses"), "must contain at least 1 address");
	else if (n > 100)
		err_add_cause(err, "FieldValueTooMany", at(path, "addresses").s,
			      "Too many: %zu: must have at most 100 items", n);
	for (size_t i = 0; i < n && i < 100; i++) {
		const char *a = json_string_value(json_array_get(addresses, i));
		check_slice_address(type, a ? a : "", at(path, "addresses[%zu]", i), err);
	}
}

static void check_slice_ports(const json_t *ports, struct err *err)
{
	_cleanup_map_ struct map names = MAP_INIT;
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p)
	{
		const char *name = json_get_str(p, "name", "");
		const char *why = *name ? schema_format_check(FMT_DNS_LABEL, name) : NULL;

		if (why)
			fault_invalid(err, at("", "ports[%zu].name", i), name, why);
		if (map_has(&names, name))
			fault_duplicate(err, at("", "ports[%zu].name", i), name);
		map_set(&names, name, p);
	}
}

void endpoint_slice__check(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	const json_t *endpoints = json_object_get(obj, "endpoints"), *ports = json_object_get(obj, "ports");
	const char *type = json_get_str(obj, "addressType", "");

	if (old && !member_same(obj, old, "addressType"))
		fault_invalid(err, at_self("addressType"), type, "field is immutable");
	if (json_array_size(endpoints) > 1000)
		err_add_cause(err, "FieldValueTooMany", "endpoints", "Too many: %zu: must have at most 1000 items",
			      json_array_size(endpoints));
	for (size_t i = 0; i < json_array_size(endpoints) && i < 1000; i++)
		check_slice_endpoint(type, json_array_get(endpoints, i), at("", "endpoints[%zu]", i).s, err);
	if (json_array_size(ports) > 20000)
		err_add_cause(err, "FieldValueTooMany", "ports", "Too many: %zu: must have at most 20000 items",
			      json_array_size(ports));
	else
		check_slice_ports(ports, err);
}
