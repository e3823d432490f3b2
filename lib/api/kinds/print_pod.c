/* Columns of pods, and of what makes pods. */

#include "lib/api/kinds/pod_text.h"
#include "lib/api/kinds/print.h"

const struct kind_column pod_columns[] = {
	COLUMN_NAME,
	COLUMN("Ready", "string", "How many of the pod's containers are ready."),
	COLUMN("Status", "string", "What the pod is doing, or what keeps it from running."),
	COLUMN("Restarts", "string", "How often its containers were restarted, and when last."),
	COLUMN_AGE,
	COLUMN_WIDE("IP", "string", "The pod's address."),
	COLUMN_WIDE("Node", "string", "The node it runs on."),
	COLUMN_WIDE("Nominated Node", "string", "The node where room is being made for it."),
	COLUMN_WIDE("Readiness Gates", "string", "How many of the conditions it waits for are true."),
	COLUMNS_END,
};

static bool gate_open(const json_t *status, const char *type)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(status, "conditions"), i,
			   c) if (streq(json_get_str(c, "type", ""), type)) return streq(json_get_str(c, "status", ""),
											 "True");
	return false;
}

static void cell_gates(json_t *cells, const json_t *spec, const json_t *status)
{
	const json_t *gates = json_object_get(spec, "readinessGates");
	char text[48] = "<none>";
	size_t i, open = 0;
	json_t *g;

	json_array_foreach(gates, i, g) open += gate_open(status, json_get_str(g, "conditionType", ""));
	if (i)
		snprintf(text, sizeof(text), "%zu/%zu", open, i);
	cell_str(cells, text);
}

void pod__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status");
	const json_t *ip = json_array_get(json_object_get(status, "podIPs"), 0);
	struct pod_text t;

	pod_format_status(obj, now_s, &t);
	cell_name(cells, obj);
	cell_str(cells, t.ready);
	cell_str(cells, t.status);
	cell_str(cells, t.restarts);
	cell_age(cells, obj, now_s);
	cell_or_none(cells, json_get_str(ip, "ip", json_get_str(status, "podIP", "")));
	cell_or_none(cells, json_get_str(spec, "nodeName", ""));
	cell_or_none(cells, json_get_str(status, "nominatedNodeName", ""));
	cell_gates(cells, spec, status);
}

#define COLUMNS_TEMPLATE                                                                                               \
	COLUMN_WIDE("Containers", "string", "Names of the containers in the template."),                               \
		COLUMN_WIDE("Images", "string", "Images of the containers in the template."),                          \
		COLUMN_WIDE("Selector", "string", "Which pods are counted.")

static void cells_template(json_t *cells, const json_t *spec)
{
	const json_t *containers = json_path(spec, "template", "spec", "containers", NULL);

	cell_members(cells, containers, "name");
	cell_members(cells, containers, "image");
	cell_selector(cells, json_object_get(spec, "selector"));
}

const struct kind_column deployment_columns[] = {
	COLUMN_NAME,
	COLUMN("Ready", "string", "Ready pods of those wanted."),
	COLUMN("Up-to-date", "string", "Pods made from the present template."),
	COLUMN("Available", "string", "Pods ready for at least minReadySeconds."),
	COLUMN_AGE,
	COLUMNS_TEMPLATE,
	COLUMNS_END,
};

void deployment__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status");
	char ready[48];

	snprintf(ready, sizeof(ready), "%lld/%lld", (long long)json_get_int(status, "readyReplicas", 0),
		 (long long)json_get_int(spec, "replicas", 0));
	cell_name(cells, obj);
	cell_str(cells, ready);
	cell_int(cells, json_get_int(status, "updatedReplicas", 0));
	cell_int(cells, json_get_int(status, "availableReplicas", 0));
	cell_age(cells, obj, now_s);
	cells_template(cells, spec);
}

const struct kind_column replica_set_columns[] = {
	COLUMN_NAME,
	COLUMN("Desired", "integer", "Pods wanted."),
	COLUMN("Current", "integer", "Pods there are."),
	COLUMN("Ready", "integer", "Pods that are ready."),
	COLUMN_AGE,
	COLUMNS_TEMPLATE,
	COLUMNS_END,
};

void replica_set__cells(const json_t *obj, int64_t now_s, json_t *cells)
{
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status");

	cell_name(cells, obj);
	cell_int(cells, json_get_int(spec, "replicas", 0));
	cell_int(cells, json_get_int(status, "replicas", 0));
	cell_int(cells, json_get_int(status, "readyReplicas", 0));
	cell_age(cells, obj, now_s);
	cells_template(cells, spec);
}
