/* Service: a stable address in front of pods. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field service_account_token_projection_fields[] = {
	STR("audience", 1),
	I64P("expirationSeconds", 2, DFLT("3600"), BETWEEN(600, 4294967296)),
	STR("path", 3, REQ),
	END,
};
SCHEMA(service_account_token_projection, "api.core.v1.ServiceAccountTokenProjection");

static const struct schema_field service_port_fields[] = {
	STR("name", 1, IS(DNS_LABEL), DOC("Needed when there is more than one.")),
	STR("protocol", 2, DFLT_STR("TCP"), ENUM("TCP", "UDP", "SCTP"), DOC("TCP, UDP or SCTP.")),
	STRP("appProtocol", 6, IS(QUALIFIED_NAME)),
	I32("port", 3, FLAGS(SCHEMA_REQUIRED | SCHEMA_POINTER), IS(PORT_NUMBER), DOC("Port of the service.")),
	INT_OR_STR("targetPort", 4, IS(PORT_NUMBER), DOC("Number or name of the port of the pods.")),
	I32("nodePort", 5, BETWEEN(0, 65535), DOC("Port of every node that leads here.")),
	END,
};
static SCHEMA(service_port, "api.core.v1.ServicePort", .dflt = service__default_port);

static const struct schema_field client_ip_config_fields[] = {
	I32P("timeoutSeconds", 1, DFLT("10800"), BETWEEN(1, 86400)),
	END,
};
static SCHEMA(client_ip_config, "api.core.v1.ClientIPConfig");

static const struct schema_field session_affinity_config_fields[] = {
	OBJ("clientIP", 1, &schema_client_ip_config),
	END,
};
static SCHEMA(session_affinity_config, "api.core.v1.SessionAffinityConfig");

static const struct schema_field service_spec_fields[] = {
	LIST_OBJ("ports", 1, &schema_service_port, FLAGS(SCHEMA_MERGE | SCHEMA_LIST_MAP), .merge_key = "port",
	    .keys = "port protocol", DOC("Ports it listens on.")),
	MAP_STR("selector", 2, ATOMIC,
	    DOC("Labels of the pods behind it; without one, endpoints are written by hand.")),
	STR("clusterIP", 3, DOC("Its address inside the cluster; None for no address of its own.")),
	LIST_STR("clusterIPs", 18, ATOMIC),
	STR("type", 4, DFLT_STR("ClusterIP"), ENUM("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"),
	    DOC("ClusterIP, NodePort, LoadBalancer or ExternalName.")),
	LIST_STR("externalIPs", 5, ATOMIC, IS(IP), DOC("Further addresses at which nodes accept traffic for it.")),
	STR("sessionAffinity", 7, DFLT_STR("None"), ENUM("ClientIP", "None"),
	    DOC("ClientIP keeps a client with one pod.")),
	STR("loadBalancerIP", 8),
	LIST_STR("loadBalancerSourceRanges", 9, ATOMIC, IS(CIDR)),
	STR("externalName", 10, DOC("The name this service is another word for.")),
	STR("externalTrafficPolicy", 11, ENUM("Cluster", "Local"),
	    DOC("Local keeps outside traffic on the node it arrived at.")),
	I32("healthCheckNodePort", 12, BETWEEN(0, 65535)),
	BOOL("publishNotReadyAddresses", 13, DOC("Whether pods that are not ready are named too.")),
	OBJ("sessionAffinityConfig", 14, &schema_session_affinity_config),
	LIST_STR("ipFamilies", 19, ATOMIC, ENUM("IPv4", "IPv6")),
	STRP("ipFamilyPolicy", 17, ENUM("SingleStack", "PreferDualStack", "RequireDualStack")),
	BOOLP("allocateLoadBalancerNodePorts", 20),
	STRP("loadBalancerClass", 21),
	STRP("internalTrafficPolicy", 22, ENUM("Cluster", "Local"), DOC("Local keeps inside traffic on its node.")),
	STRP("trafficDistribution", 23),
	END,
};
static SCHEMA(service_spec, "api.core.v1.ServiceSpec", .doc = "How a service is reached and what stands behind it.",
	      .dflt = service__default_spec, .check = service__check_spec);

static const struct schema_field port_status_fields[] = {
	I32("port", 1),
	STR("protocol", 2),
	STRP("error", 3),
	END,
};
static SCHEMA(port_status, "api.core.v1.PortStatus");

static const struct schema_field load_balancer_ingress_fields[] = {
	STR("ip", 1, IS(IP)),
	STR("hostname", 2, IS(DNS_SUBDOMAIN)),
	STRP("ipMode", 3),
	LIST_OBJ("ports", 4, &schema_port_status, ATOMIC),
	END,
};
static SCHEMA(load_balancer_ingress, "api.core.v1.LoadBalancerIngress");

static const struct schema_field load_balancer_status_fields[] = {
	LIST_OBJ("ingress", 1, &schema_load_balancer_ingress, ATOMIC),
	END,
};
static SCHEMA(load_balancer_status, "api.core.v1.LoadBalancerStatus");

static const struct schema_field service_status_fields[] = {
	OBJ("loadBalancer", 1, &schema_load_balancer_status, DFLT("{}")),
	LIST_OBJ("conditions", 2, &schema_condition, KEYED("type")),
	END,
};
static SCHEMA(service_status, "api.core.v1.ServiceStatus");

static const struct schema_field service_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_service_spec, REQ, DOC("How it is reached and what stands behind it.")),
	OBJ("status", 3, &schema_service_status, DFLT("{}"), DOC("What was arranged outside of the cluster.")),
	END,
};
SCHEMA(service, "api.core.v1.Service", .doc = "One stable address and name in front of a set of pods.");
