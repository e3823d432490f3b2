/* Pod: what the node's agent reports. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field pod_condition_fields[] = {
	STR("type", 1, REQ),
	STR("status", 2, REQ, ENUM("True", "False", "Unknown")),
	TIME("lastProbeTime", 3),
	TIME("lastTransitionTime", 4),
	STR("reason", 5),
	STR("message", 6),
	END,
};
static SCHEMA(pod_condition, "api.core.v1.PodCondition");

static const struct schema_field host_ip_fields[] = {
	STR("ip", 1),
	END,
};
static SCHEMA(host_ip, "api.core.v1.HostIP");

static const struct schema_field pod_ip_fields[] = {
	STR("ip", 1),
	END,
};
static SCHEMA(pod_ip, "api.core.v1.PodIP");

static const struct schema_field container_state_waiting_fields[] = {
	STR("reason", 1),
	STR("message", 2),
	END,
};
static SCHEMA(container_state_waiting, "api.core.v1.ContainerStateWaiting");

static const struct schema_field container_state_running_fields[] = {
	TIME("startedAt", 1),
	END,
};
static SCHEMA(container_state_running, "api.core.v1.ContainerStateRunning");

static const struct schema_field container_state_terminated_fields[] = {
	I32("exitCode", 1, KEEP_ZERO),
	I32("signal", 2),
	STR("reason", 3),
	STR("message", 4),
	TIME("startedAt", 5),
	TIME("finishedAt", 6),
	STR("containerID", 7),
	END,
};
static SCHEMA(container_state_terminated, "api.core.v1.ContainerStateTerminated");

static const struct schema_field container_state_fields[] = {
	OBJ("waiting", 1, &schema_container_state_waiting),
	OBJ("running", 2, &schema_container_state_running),
	OBJ("terminated", 3, &schema_container_state_terminated),
	END,
};
static SCHEMA(container_state, "api.core.v1.ContainerState");

static const struct schema_field volume_mount_status_fields[] = {
	STR("name", 1),
	STR("mountPath", 2),
	BOOL("readOnly", 3),
	STRP("recursiveReadOnly", 4),
	END,
};
static SCHEMA(volume_mount_status, "api.core.v1.VolumeMountStatus");

static const struct schema_field linux_container_user_fields[] = {
	I64("uid", 1, KEEP_ZERO),
	I64("gid", 2, KEEP_ZERO),
	LIST_I64("supplementalGroups", 3, ATOMIC),
	END,
};
static SCHEMA(linux_container_user, "api.core.v1.LinuxContainerUser");

static const struct schema_field container_user_fields[] = {
	OBJ("linux", 1, &schema_linux_container_user),
	END,
};
static SCHEMA(container_user, "api.core.v1.ContainerUser");

static const struct schema_field resource_health_fields[] = {
	STR("resourceID", 1),
	STR("health", 2),
	END,
};
static SCHEMA(resource_health, "api.core.v1.ResourceHealth");

static const struct schema_field resource_status_fields[] = {
	STR("name", 1),
	LIST_OBJ("resources", 2, &schema_resource_health, FLAGS(SCHEMA_LIST_MAP), .keys = "resourceID"),
	END,
};
static SCHEMA(resource_status, "api.core.v1.ResourceStatus");

static const struct schema_field container_status_fields[] = {
	STR("name", 1),
	OBJ("state", 2, &schema_container_state),
	OBJ("lastState", 3, &schema_container_state),
	BOOL("ready", 4, KEEP_ZERO),
	I32("restartCount", 5, KEEP_ZERO),
	STR("image", 6, KEEP_ZERO),
	STR("imageID", 7, KEEP_ZERO),
	STR("containerID", 8),
	BOOLP("started", 9),
	MAP_QTY("allocatedResources", 10),
	OBJ("resources", 11, &schema_resource_requirements),
	LIST_OBJ("volumeMounts", 12, &schema_volume_mount_status, KEYED("mountPath")),
	OBJ("user", 13, &schema_container_user),
	LIST_OBJ("allocatedResourcesStatus", 14, &schema_resource_status, KEYED("name")),
	END,
};
static SCHEMA(container_status, "api.core.v1.ContainerStatus");

static const struct schema_field pod_resource_claim_status_fields[] = {
	STR("name", 1),
	STRP("resourceClaimName", 2),
	END,
};
static SCHEMA(pod_resource_claim_status, "api.core.v1.PodResourceClaimStatus");

static const struct schema_field pod_status_fields[] = {
	STR("phase", 1, ENUM("Pending", "Running", "Succeeded", "Failed", "Unknown")),
	LIST_OBJ("conditions", 2, &schema_pod_condition, KEYED("type")),
	STR("message", 3),
	STR("reason", 4),
	STR("nominatedNodeName", 11),
	STR("hostIP", 5),
	LIST_OBJ("hostIPs", 16, &schema_host_ip, FLAGS(SCHEMA_MERGE | SCHEMA_ATOMIC), .merge_key = "ip"),
	STR("podIP", 6),
	LIST_OBJ("podIPs", 12, &schema_pod_ip, KEYED("ip")),
	TIME("startTime", 7),
	LIST_OBJ("initContainerStatuses", 10, &schema_container_status, ATOMIC),
	LIST_OBJ("containerStatuses", 8, &schema_container_status, ATOMIC),
	STR("qosClass", 9),
	LIST_OBJ("ephemeralContainerStatuses", 13, &schema_container_status, ATOMIC),
	STR("resize", 14),
	LIST_OBJ("resourceClaimStatuses", 15, &schema_pod_resource_claim_status,
	    KEYED_AND("name", SCHEMA_REPLACE_KEYS)),
	END,
};
static SCHEMA(pod_status, "api.core.v1.PodStatus", .doc = "What a pod is, as its node last reported.");

static const struct schema_field pod_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_pod_spec, DOC("What the pod should be.")),
	OBJ("status", 3, &schema_pod_status, DOC("What it is; written by its node.")),
	END,
};
SCHEMA(pod, "api.core.v1.Pod", .doc = "A group of containers that run together on one node.", .dflt = pod__default,
       .check = pod__check);
