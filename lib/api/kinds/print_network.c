/* Columns of services and of what stands behind them. */

#include "lib/api/kinds/print.h"

const struct kind_column service_columns[] = {
	COLUMN_NAME,
	COLUMN("Type", "string", "How the service is exposed."),
	COLUMN("Cluster-IP", "string", "Its address inside the cluster."),
	COLUMN("External-IP", "string", "Its addresses outside."),
	COLUMN("Port(s)", "string", "Port, node port and protocol of each."),
	COLUMN_AGE,
	COLUMN_WIDE("Selector", "string", "Which pods stand behind it."),
	COLUMNS_END,
};

static void cell_external(json_t *cells, const json_t *obj, const json_t *spec, const char *type)
{
	const json_t *ips = json_object_get(spec, "externalIPs");
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *v;

	if (streq(type, "ExternalName")) {
		cell_str(cells, json_get_str(spec, "externalName", ""));
		return;
	}
	if (streq(type, "LoadBalancer")) {
		json_array_foreach(json_path(obj, "status", "loadBalancer", "ingress", NULL), i, v)
		{
			const char *at = json_get_str(v, "ip", json_get_str(v, "hostname", ""));
			buf_addf(&b, "%s%s", b.len ? "," : "", at);
		}
	}
	json_array_foreach(ips, i, v)
		buf_addf(&b, "%s%s", b.len ? "," : "", json_is_string(v) ? json_string_value(v) : "");
	cell_str(cells, b.len ? b.data : streq(type, "LoadBalancer") ? "<pending>" : "<none>");
}

static void cell_service_ports(json_t *cells, const json_t *ports)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p)
	{
		int64_t node_port = json_get_int(p, "nodePort", 0);
		buf_addf(&b, "%s%lld", i ? "," : "", (long long)json_get_int(p, "port", 0));
		if (node_port)
			buf_addf(&b, ":%lld", (long long)node_port);
		buf_addf(&b, "/%s", json_get_str(p, "protocol", ""));
	}
	cell_or_none(cells, buf_str(&b));
}

void service__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *spec = json_object_get(obj, "spec");
	const char *type = json_get_str(spec, "type", "");

	cell_name(cells, obj);
	cell_str(cells, type);
	cell_or_none(cells, json_get_str(spec, "clusterIP", ""));
	cell_external(cells, obj, spec, type);
	cell_service_ports(cells, json_object_get(spec, "ports"));
	cell_age(cells, obj, now_s);
	cell_labels(cells, json_object_get(spec, "selector"));
}

const struct kind_column endpoints_columns[] = {
	COLUMN_NAME,
	COLUMN("Endpoints", "string", "Addresses and ports of ready pods."),
	COLUMN_AGE,
	COLUMNS_END,
};

static void add_endpoints(struct short_list *l, const json_t *subset)
{
	const json_t *addresses = json_object_get(subset, "addresses"), *ports = json_object_get(subset, "ports");
	size_t i, n = json_array_size(ports);
	json_t *a;

	for (size_t p = 0; p < MAX(n, 1u); p++) {
		json_array_foreach(addresses, i, a)
		{
			const char *ip = json_get_str(a, "ip", "");
			int64_t port = json_get_int(json_array_get(ports, p), "port", 0);
			_cleanup_free_ char *at =
				n == 0 ? xstrdup(ip)
				       : xasprintf(strchr(ip, ':') ? "[%s]:%lld" : "%s:%lld", ip, (long long)port);
			short_list_add(l, at);
		}
	}
}

void endpoints__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	struct short_list l = {0};
	size_t i;
	json_t *subset;

	cell_name(cells, obj);
	json_array_foreach(json_object_get(obj, "subsets"), i, subset) add_endpoints(&l, subset);
	short_list_cell(&l, "<none>", cells);
	cell_age(cells, obj, now_s);
}

const struct kind_column endpoint_slice_columns[] = {
	COLUMN_NAME,
	COLUMN("AddressType", "string", "What its addresses are."),
	COLUMN("Ports", "string", "Ports of every endpoint in it."),
	COLUMN("Endpoints", "string", "Addresses."),
	COLUMN_AGE,
	COLUMNS_END,
};

void endpoint_slice__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	struct short_list ports = {0}, addresses = {0};
	size_t i, j;
	json_t *p, *e, *a;

	cell_name(cells, obj);
	cell_str(cells, json_get_str(obj, "addressType", ""));
	json_array_foreach(json_object_get(obj, "ports"), i, p)
	{
		char number[32];
		int64_t port = json_get_int(p, "port", 0);
		snprintf(number, sizeof(number), "%lld", (long long)port);
		short_list_add(&ports, port ? number : json_get_str(p, "name", "*"));
	}
	short_list_cell(&ports, "<unset>", cells);
	json_array_foreach(json_object_get(obj, "endpoints"), i, e)
		json_array_foreach(json_object_get(e, "addresses"), j, a)
			short_list_add(&addresses, json_is_string(a) ? json_string_value(a) : "");
	short_list_cell(&addresses, "<unset>", cells);
	cell_age(cells, obj, now_s);
}
