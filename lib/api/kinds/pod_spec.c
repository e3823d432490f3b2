/* The pod's spec and template: scheduling wishes, DNS, security, and the containers and volumes by reference. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field sysctl_fields[] = {
	STR("name", 1, REQ),
	STR("value", 2, KEEP_ZERO),
	END,
};
static SCHEMA(sysctl, "api.core.v1.Sysctl");

static const struct schema_field pod_security_context_fields[] = {
	OBJ("seLinuxOptions", 1, &schema_se_linux_options),
	OBJ("windowsOptions", 8, &schema_windows_security_context_options),
	I64P("runAsUser", 2, BETWEEN(0, 2147483647)),
	I64P("runAsGroup", 6, BETWEEN(0, 2147483647)),
	BOOLP("runAsNonRoot", 3),
	LIST_I64("supplementalGroups", 4, ATOMIC),
	STRP("supplementalGroupsPolicy", 12, ENUM("Merge", "Strict")),
	I64P("fsGroup", 5, BETWEEN(0, 2147483647)),
	LIST_OBJ("sysctls", 7, &schema_sysctl, ATOMIC),
	STRP("fsGroupChangePolicy", 9, ENUM("OnRootMismatch", "Always")),
	OBJ("seccompProfile", 10, &schema_seccomp_profile),
	OBJ("appArmorProfile", 11, &schema_app_armor_profile),
	STRP("seLinuxChangePolicy", 13),
	END,
};
static SCHEMA(pod_security_context, "api.core.v1.PodSecurityContext");

static const struct schema_field node_selector_requirement_fields[] = {
	STR("key", 1, REQ),
	STR("operator", 2, REQ, ENUM("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")),
	LIST_STR("values", 3, ATOMIC),
	END,
};
static SCHEMA(node_selector_requirement, "api.core.v1.NodeSelectorRequirement",
	      .check = pod_spec__check_node_requirement);

static const struct schema_field node_selector_term_fields[] = {
	LIST_OBJ("matchExpressions", 1, &schema_node_selector_requirement, ATOMIC),
	LIST_OBJ("matchFields", 2, &schema_node_selector_requirement, ATOMIC),
	END,
};
static SCHEMA(node_selector_term, "api.core.v1.NodeSelectorTerm");

static const struct schema_field node_selector_fields[] = {
	LIST_OBJ("nodeSelectorTerms", 1, &schema_node_selector_term, FLAGS(SCHEMA_REQUIRED | SCHEMA_ATOMIC)),
	END,
};
static SCHEMA(node_selector, "api.core.v1.NodeSelector");

static const struct schema_field preferred_scheduling_term_fields[] = {
	I32("weight", 1, KEEP_ZERO, BETWEEN(1, 100)),
	OBJ("preference", 2, &schema_node_selector_term, REQ),
	END,
};
static SCHEMA(preferred_scheduling_term, "api.core.v1.PreferredSchedulingTerm");

static const struct schema_field node_affinity_fields[] = {
	OBJ("requiredDuringSchedulingIgnoredDuringExecution", 1, &schema_node_selector),
	LIST_OBJ("preferredDuringSchedulingIgnoredDuringExecution", 2, &schema_preferred_scheduling_term, ATOMIC),
	END,
};
static SCHEMA(node_affinity, "api.core.v1.NodeAffinity");

static const struct schema_field pod_affinity_term_fields[] = {
	OBJ("labelSelector", 1, &schema_label_selector),
	LIST_STR("namespaces", 2, ATOMIC),
	STR("topologyKey", 3, REQ, IS(QUALIFIED_NAME)),
	OBJ("namespaceSelector", 4, &schema_label_selector),
	LIST_STR("matchLabelKeys", 5, ATOMIC),
	LIST_STR("mismatchLabelKeys", 6, ATOMIC),
	END,
};
static SCHEMA(pod_affinity_term, "api.core.v1.PodAffinityTerm");

static const struct schema_field weighted_pod_affinity_term_fields[] = {
	I32("weight", 1, KEEP_ZERO, BETWEEN(1, 100)),
	OBJ("podAffinityTerm", 2, &schema_pod_affinity_term, REQ),
	END,
};
static SCHEMA(weighted_pod_affinity_term, "api.core.v1.WeightedPodAffinityTerm");

static const struct schema_field pod_affinity_fields[] = {
	LIST_OBJ("requiredDuringSchedulingIgnoredDuringExecution", 1, &schema_pod_affinity_term, ATOMIC),
	LIST_OBJ("preferredDuringSchedulingIgnoredDuringExecution", 2, &schema_weighted_pod_affinity_term, ATOMIC),
	END,
};
static SCHEMA(pod_affinity, "api.core.v1.PodAffinity");

static const struct schema_field pod_anti_affinity_fields[] = {
	LIST_OBJ("requiredDuringSchedulingIgnoredDuringExecution", 1, &schema_pod_affinity_term, ATOMIC),
	LIST_OBJ("preferredDuringSchedulingIgnoredDuringExecution", 2, &schema_weighted_pod_affinity_term, ATOMIC),
	END,
};
static SCHEMA(pod_anti_affinity, "api.core.v1.PodAntiAffinity");

static const struct schema_field affinity_fields[] = {
	OBJ("nodeAffinity", 1, &schema_node_affinity),
	OBJ("podAffinity", 2, &schema_pod_affinity),
	OBJ("podAntiAffinity", 3, &schema_pod_anti_affinity),
	END,
};
static SCHEMA(affinity, "api.core.v1.Affinity");

static const struct schema_field toleration_fields[] = {
	STR("key", 1, IS(QUALIFIED_NAME)),
	STR("operator", 2, ENUM("Equal", "Exists")),
	STR("value", 3),
	STR("effect", 4, ENUM("NoSchedule", "PreferNoSchedule", "NoExecute")),
	I64P("tolerationSeconds", 5),
	END,
};
static SCHEMA(toleration, "api.core.v1.Toleration", .check = pod_spec__check_toleration);

static const struct schema_field host_alias_fields[] = {
	STR("ip", 1, REQ, IS(IP)),
	LIST_STR("hostnames", 2, ATOMIC, IS(DNS_SUBDOMAIN)),
	END,
};
static SCHEMA(host_alias, "api.core.v1.HostAlias");

static const struct schema_field pod_dns_config_option_fields[] = {
	STR("name", 1, REQ),
	STRP("value", 2),
	END,
};
static SCHEMA(pod_dns_config_option, "api.core.v1.PodDNSConfigOption");

static const struct schema_field pod_dns_config_fields[] = {
	LIST_STR("nameservers", 1, ATOMIC),
	LIST_STR("searches", 2, ATOMIC),
	LIST_OBJ("options", 3, &schema_pod_dns_config_option, ATOMIC),
	END,
};
static SCHEMA(pod_dns_config, "api.core.v1.PodDNSConfig");

static const struct schema_field pod_readiness_gate_fields[] = {
	STR("conditionType", 1, REQ, IS(QUALIFIED_NAME)),
	END,
};
static SCHEMA(pod_readiness_gate, "api.core.v1.PodReadinessGate");

static const struct schema_field topology_spread_constraint_fields[] = {
	I32("maxSkew", 1, KEEP_ZERO, AT_LEAST(1)),
	STR("topologyKey", 2, REQ, IS(QUALIFIED_NAME)),
	STR("whenUnsatisfiable", 3, REQ, ENUM("DoNotSchedule", "ScheduleAnyway")),
	OBJ("labelSelector", 4, &schema_label_selector),
	I32P("minDomains", 5, AT_LEAST(1)),
	STRP("nodeAffinityPolicy", 6, ENUM("Honor", "Ignore")),
	STRP("nodeTaintsPolicy", 7, ENUM("Honor", "Ignore")),
	LIST_STR("matchLabelKeys", 8, ATOMIC),
	END,
};
static SCHEMA(topology_spread_constraint, "api.core.v1.TopologySpreadConstraint");

static const struct schema_field pod_os_fields[] = {
	STR("name", 1, REQ, ENUM("linux", "windows")),
	END,
};
static SCHEMA(pod_os, "api.core.v1.PodOS");

static const struct schema_field pod_scheduling_gate_fields[] = {
	STR("name", 1, REQ, IS(QUALIFIED_NAME)),
	END,
};
static SCHEMA(pod_scheduling_gate, "api.core.v1.PodSchedulingGate");

static const struct schema_field pod_resource_claim_fields[] = {
	STR("name", 1, REQ, IS(DNS_LABEL)),
	STRP("resourceClaimName", 3),
	STRP("resourceClaimTemplateName", 4),
	END,
};
static SCHEMA(pod_resource_claim, "api.core.v1.PodResourceClaim");

static const struct schema_field pod_spec_fields[] = {
	LIST_OBJ("volumes", 1, &schema_volume, KEYED_AND("name", SCHEMA_REPLACE_KEYS),
	    DOC("Directories that containers may mount.")),
	LIST_OBJ("initContainers", 20, &schema_container, KEYED("name"),
	    DOC("Run one after another, to the end, before the containers start.")),
	LIST_OBJ("containers", 2, &schema_container, KEYED_AND("name", SCHEMA_REQUIRED),
	    DOC("Run side by side; at least one.")),
	LIST_OBJ("ephemeralContainers", 34, &schema_ephemeral_container, KEYED("name")),
	STR("restartPolicy", 3, DFLT_STR("Always"), ENUM("Always", "OnFailure", "Never"),
	    DOC("Whether containers that end are started again: Always, OnFailure or Never.")),
	I64P("terminationGracePeriodSeconds", 4, DFLT("30"), AT_LEAST(0),
	    DOC("Seconds between asking the processes to end and killing them.")),
	I64P("activeDeadlineSeconds", 5, BETWEEN(1, 2147483647),
	    DOC("Seconds the pod may be active before it is failed.")),
	STR("dnsPolicy", 6, DFLT_STR("ClusterFirst"),
	    ENUM("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"), DOC("Where names are looked up.")),
	MAP_STR("nodeSelector", 7, ATOMIC, DOC("Labels that the node must have.")),
	STR("serviceAccountName", 8, IS(DNS_SUBDOMAIN), DOC("The identity the pod runs under.")),
	STR("serviceAccount", 9, DOC("Old name of serviceAccountName.")),
	BOOLP("automountServiceAccountToken", 21, DOC("Whether the identity's token is mounted.")),
	STR("nodeName", 10, IS(DNS_SUBDOMAIN), DOC("The node it runs on; set by the scheduler.")),
	BOOL("hostNetwork", 11, DOC("Use the node's network instead of one of its own.")),
	BOOL("hostPID", 12, DOC("See the node's processes.")),
	BOOL("hostIPC", 13, DOC("Share the node's IPC.")),
	BOOLP("shareProcessNamespace", 27),
	OBJ("securityContext", 14, &schema_pod_security_context, DFLT("{}"),
	    DOC("User, groups and rights for all containers.")),
	LIST_OBJ("imagePullSecrets", 15, &schema_local_object_reference, MERGED("name"),
	    DOC("Secrets to fetch images with.")),
	STR("hostname", 16, IS(DNS_LABEL), DOC("Name of the pod as it sees itself.")),
	STR("subdomain", 17, IS(DNS_LABEL)),
	OBJ("affinity", 18, &schema_affinity, DOC("Wishes about nodes and about other pods near or far.")),
	STR("schedulerName", 19, DFLT_STR("default-scheduler"), DOC("Who finds a node for it.")),
	LIST_OBJ("tolerations", 22, &schema_toleration, ATOMIC, DOC("Taints of nodes that are put up with.")),
	LIST_OBJ("hostAliases", 23, &schema_host_alias, MERGED("ip"),
	    DOC("Lines added to /etc/hosts.")),
	STR("priorityClassName", 24, DOC("How important it is, by name.")),
	I32P("priority", 25),
	OBJ("dnsConfig", 26, &schema_pod_dns_config, DOC("Additions to what dnsPolicy gives.")),
	LIST_OBJ("readinessGates", 28, &schema_pod_readiness_gate, ATOMIC,
	    DOC("Conditions that must be true too before it is ready.")),
	STRP("runtimeClassName", 29),
	BOOLP("enableServiceLinks", 30, DOC("Whether services appear in the environment.")),
	STRP("preemptionPolicy", 31, ENUM("PreemptLowerPriority", "Never")),
	MAP_QTY("overhead", 32),
	LIST_OBJ("topologySpreadConstraints", 33, &schema_topology_spread_constraint,
	    FLAGS(SCHEMA_MERGE | SCHEMA_LIST_MAP), .merge_key = "topologyKey", .keys = "topologyKey whenUnsatisfiable",
	    DOC("How evenly alike pods are spread.")),
	BOOLP("setHostnameAsFQDN", 35),
	OBJ("os", 36, &schema_pod_os),
	BOOLP("hostUsers", 37),
	LIST_OBJ("schedulingGates", 38, &schema_pod_scheduling_gate, KEYED("name"),
	    DOC("While any is left, no node is looked for.")),
	LIST_OBJ("resourceClaims", 39, &schema_pod_resource_claim, KEYED_AND("name", SCHEMA_REPLACE_KEYS)),
	OBJ("resources", 40, &schema_resource_requirements),
	END,
};
SCHEMA(pod_spec, "api.core.v1.PodSpec", .doc = "What a pod should be.", .dflt = pod_spec__default,
       .check = pod_spec__check);

static const struct schema_field pod_template_spec_fields[] = {
	OBJ("metadata", 1, &schema_object_meta),
	OBJ("spec", 2, &schema_pod_spec),
	END,
};
SCHEMA(pod_template_spec, "api.core.v1.PodTemplateSpec", .doc = "What pods are made from.",
       .check = pod_template__check);
