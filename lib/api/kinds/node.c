/* Node: taints, addresses, capacity and what the machine runs. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field taint_fields[] = {
	STR("key", 1, REQ, IS(QUALIFIED_NAME)),
	STR("value", 2, IS(LABEL_VALUE)),
	STR("effect", 3, REQ, ENUM("NoSchedule", "PreferNoSchedule", "NoExecute")),
	TIME("timeAdded", 4),
	END,
};
static SCHEMA(taint, "api.core.v1.Taint");

static const struct schema_field config_map_node_config_source_fields[] = {
	STR("namespace", 1),
	STR("name", 2),
	STR("uid", 3),
	STR("resourceVersion", 4),
	STR("kubeletConfigKey", 5),
	END,
};
static SCHEMA(config_map_node_config_source, "api.core.v1.ConfigMapNodeConfigSource");

static const struct schema_field node_config_source_fields[] = {
	OBJ("configMap", 2, &schema_config_map_node_config_source),
	END,
};
static SCHEMA(node_config_source, "api.core.v1.NodeConfigSource");

static const struct schema_field node_spec_fields[] = {
	STR("podCIDR", 1, IS(CIDR), DOC("Addresses for its pods.")),
	LIST_STR("podCIDRs", 7, FLAGS(SCHEMA_MERGE | SCHEMA_SET), IS(CIDR)),
	STR("providerID", 3),
	BOOL("unschedulable", 4, DOC("Whether new pods are kept away.")),
	LIST_OBJ("taints", 5, &schema_taint, ATOMIC, DOC("Keep pods away that do not tolerate them.")),
	OBJ("configSource", 6, &schema_node_config_source),
	STR("externalID", 2),
	END,
};
static SCHEMA(node_spec, "api.core.v1.NodeSpec");

static const struct schema_field node_condition_fields[] = {
	STR("type", 1, REQ),
	STR("status", 2, REQ, ENUM("True", "False", "Unknown")),
	TIME("lastHeartbeatTime", 3),
	TIME("lastTransitionTime", 4),
	STR("reason", 5),
	STR("message", 6),
	END,
};
static SCHEMA(node_condition, "api.core.v1.NodeCondition");

static const struct schema_field node_address_fields[] = {
	STR("type", 1, REQ),
	STR("address", 2, REQ),
	END,
};
static SCHEMA(node_address, "api.core.v1.NodeAddress");

static const struct schema_field daemon_endpoint_fields[] = {
	I32("Port", 1, KEEP_ZERO),
	END,
};
static SCHEMA(daemon_endpoint, "api.core.v1.DaemonEndpoint");

static const struct schema_field node_daemon_endpoints_fields[] = {
	OBJ("kubeletEndpoint", 1, &schema_daemon_endpoint),
	END,
};
static SCHEMA(node_daemon_endpoints, "api.core.v1.NodeDaemonEndpoints");

static const struct schema_field node_system_info_fields[] = {
	STR("machineID", 1, KEEP_ZERO),
	STR("systemUUID", 2, KEEP_ZERO),
	STR("bootID", 3, KEEP_ZERO),
	STR("kernelVersion", 4, KEEP_ZERO),
	STR("osImage", 5, KEEP_ZERO),
	STR("containerRuntimeVersion", 6, KEEP_ZERO),
	STR("kubeletVersion", 7, KEEP_ZERO),
	STR("kubeProxyVersion", 8, KEEP_ZERO),
	STR("operatingSystem", 9, KEEP_ZERO),
	STR("architecture", 10, KEEP_ZERO),
	END,
};
static SCHEMA(node_system_info, "api.core.v1.NodeSystemInfo");

static const struct schema_field container_image_fields[] = {
	LIST_STR("names", 1, ATOMIC),
	I64("sizeBytes", 2),
	END,
};
static SCHEMA(container_image, "api.core.v1.ContainerImage");

static const struct schema_field attached_volume_fields[] = {
	STR("name", 1),
	STR("devicePath", 2),
	END,
};
static SCHEMA(attached_volume, "api.core.v1.AttachedVolume");

static const struct schema_field node_config_status_fields[] = {
	OBJ("assigned", 1, &schema_node_config_source),
	OBJ("active", 2, &schema_node_config_source),
	OBJ("lastKnownGood", 3, &schema_node_config_source),
	STR("error", 4),
	END,
};
static SCHEMA(node_config_status, "api.core.v1.NodeConfigStatus");

static const struct schema_field node_runtime_handler_features_fields[] = {
	BOOLP("recursiveReadOnlyMounts", 1),
	BOOLP("userNamespaces", 2),
	END,
};
static SCHEMA(node_runtime_handler_features, "api.core.v1.NodeRuntimeHandlerFeatures");

static const struct schema_field node_runtime_handler_fields[] = {
	STR("name", 1),
	OBJ("features", 2, &schema_node_runtime_handler_features),
	END,
};
static SCHEMA(node_runtime_handler, "api.core.v1.NodeRuntimeHandler");

static const struct schema_field node_features_fields[] = {
	BOOLP("supplementalGroupsPolicy", 1),
	END,
};
static SCHEMA(node_features, "api.core.v1.NodeFeatures");

static const struct schema_field node_status_fields[] = {
	MAP_QTY("capacity", 1),
	MAP_QTY("allocatable", 2),
	STR("phase", 3),
	LIST_OBJ("conditions", 4, &schema_node_condition, KEYED("type")),
	LIST_OBJ("addresses", 5, &schema_node_address, MERGED("type")),
	OBJ("daemonEndpoints", 6, &schema_node_daemon_endpoints),
	OBJ("nodeInfo", 7, &schema_node_system_info),
	LIST_OBJ("images", 8, &schema_container_image, ATOMIC),
	LIST_STR("volumesInUse", 9, ATOMIC),
	LIST_OBJ("volumesAttached", 10, &schema_attached_volume, ATOMIC),
	OBJ("config", 11, &schema_node_config_status),
	LIST_OBJ("runtimeHandlers", 12, &schema_node_runtime_handler, ATOMIC),
	OBJ("features", 13, &schema_node_features),
	END,
};
static SCHEMA(node_status, "api.core.v1.NodeStatus");

static const struct schema_field node_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_node_spec, DFLT("{}")),
	OBJ("status", 3, &schema_node_status, DFLT("{}")),
	END,
};
SCHEMA(node, "api.core.v1.Node", .doc = "A machine that runs pods.", .dflt = node__default, .check = node__check);
