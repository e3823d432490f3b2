/* Endpoints and EndpointSlice: which pods stand behind a service. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field endpoint_address_fields[] = {
	STR("ip", 1, REQ, IS(IP)),
	STR("hostname", 3, IS(DNS_LABEL)),
	STRP("nodeName", 4, IS(DNS_SUBDOMAIN)),
	OBJ("targetRef", 2, &schema_object_reference),
	END,
};
static SCHEMA(endpoint_address, "api.core.v1.EndpointAddress");

static const struct schema_field endpoint_port_fields[] = {
	STR("name", 1, IS(DNS_LABEL)),
	I32("port", 2, FLAGS(SCHEMA_REQUIRED | SCHEMA_POINTER), IS(PORT_NUMBER)),
	STR("protocol", 3, DFLT_STR("TCP"), ENUM("TCP", "UDP", "SCTP")),
	STRP("appProtocol", 4),
	END,
};
static SCHEMA(endpoint_port, "api.core.v1.EndpointPort");

static const struct schema_field endpoint_subset_fields[] = {
	LIST_OBJ("addresses", 1, &schema_endpoint_address, ATOMIC),
	LIST_OBJ("notReadyAddresses", 2, &schema_endpoint_address, ATOMIC),
	LIST_OBJ("ports", 3, &schema_endpoint_port, ATOMIC),
	END,
};
static SCHEMA(endpoint_subset, "api.core.v1.EndpointSubset", .check = endpoints__check_subset);

static const struct schema_field endpoints_fields[] = {
	OBJECT_HEAD,
	LIST_OBJ("subsets", 2, &schema_endpoint_subset, ATOMIC),
	END,
};
SCHEMA(endpoints, "api.core.v1.Endpoints", .doc = "Addresses behind a service, in one object.");

static const struct schema_field endpoint_conditions_fields[] = {
	BOOLP("ready", 1),
	BOOLP("serving", 2),
	BOOLP("terminating", 3),
	END,
};
static SCHEMA(endpoint_conditions, "api.discovery.v1.EndpointConditions");

static const struct schema_field for_zone_fields[] = {
	STR("name", 1),
	END,
};
static SCHEMA(for_zone, "api.discovery.v1.ForZone");

static const struct schema_field endpoint_hints_fields[] = {
	LIST_OBJ("forZones", 1, &schema_for_zone, ATOMIC),
	END,
};
static SCHEMA(endpoint_hints, "api.discovery.v1.EndpointHints");

static const struct schema_field endpoint_fields[] = {
	LIST_STR("addresses", 1, FLAGS(SCHEMA_SET | SCHEMA_POINTER)),
	OBJ("conditions", 2, &schema_endpoint_conditions, DFLT("{}")),
	STRP("hostname", 3, IS(DNS_LABEL)),
	OBJ("targetRef", 4, &schema_object_reference),
	MAP_STR("deprecatedTopology", 5),
	STRP("nodeName", 6, IS(DNS_SUBDOMAIN)),
	STRP("zone", 7),
	OBJ("hints", 8, &schema_endpoint_hints),
	END,
};
static SCHEMA(endpoint, "api.discovery.v1.Endpoint");

static const struct schema_field slice_port_fields[] = {
	STRP("name", 1, DFLT_STR("")),
	STRP("protocol", 2, DFLT_STR("TCP"), ENUM("TCP", "UDP", "SCTP")),
	I32P("port", 3, IS(PORT_NUMBER)),
	STRP("appProtocol", 4),
	END,
};
static SCHEMA(slice_port, "api.discovery.v1.EndpointPort");

static const struct schema_field endpoint_slice_fields[] = {
	OBJECT_HEAD,
	STR("addressType", 4, REQ, ENUM("FQDN", "IPv4", "IPv6")),
	LIST_OBJ("endpoints", 2, &schema_endpoint, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	LIST_OBJ("ports", 3, &schema_slice_port, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	END,
};
SCHEMA(endpoint_slice, "api.discovery.v1.EndpointSlice", .doc = "Addresses behind a service, a part of them.",
       .check = endpoint_slice__check);
