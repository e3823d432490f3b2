/* Bodies of subresources: Scale, Binding, Eviction, TokenRequest. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field binding_fields[] = {
	OBJECT_HEAD,
	OBJ("target", 2, &schema_object_reference, REQ),
	END,
};
SCHEMA(binding, "api.core.v1.Binding", .check = binding__check);

static const struct schema_field scale_spec_fields[] = {
	I32("replicas", 1, AT_LEAST(0)),
	END,
};
static SCHEMA(scale_spec, "api.autoscaling.v1.ScaleSpec");

static const struct schema_field scale_status_fields[] = {
	I32("replicas", 1, KEEP_ZERO),
	STR("selector", 2),
	END,
};
static SCHEMA(scale_status, "api.autoscaling.v1.ScaleStatus");

static const struct schema_field scale_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_scale_spec),
	OBJ("status", 3, &schema_scale_status),
	END,
};
SCHEMA(scale, "api.autoscaling.v1.Scale");

static const struct schema_field bound_object_reference_fields[] = {
	STR("kind", 1),
	STR("apiVersion", 2),
	STR("name", 3),
	STR("uid", 4),
	END,
};
static SCHEMA(bound_object_reference, "api.authentication.v1.BoundObjectReference");

static const struct schema_field token_request_spec_fields[] = {
	LIST_STR("audiences", 1, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	I64P("expirationSeconds", 4, DFLT("3600")),
	OBJ("boundObjectRef", 3, &schema_bound_object_reference),
	END,
};
static SCHEMA(token_request_spec, "api.authentication.v1.TokenRequestSpec", .check = token_request__check_spec);

static const struct schema_field token_request_status_fields[] = {
	STR("token", 1),
	TIME("expirationTimestamp", 2),
	END,
};
static SCHEMA(token_request_status, "api.authentication.v1.TokenRequestStatus");

static const struct schema_field token_request_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_token_request_spec, REQ),
	OBJ("status", 3, &schema_token_request_status),
	END,
};
SCHEMA(token_request, "api.authentication.v1.TokenRequest");

static const struct schema_field eviction_fields[] = {
	OBJECT_HEAD,
	OBJ("deleteOptions", 2, &schema_delete_options),
	END,
};
SCHEMA(eviction, "api.policy.v1.Eviction");
