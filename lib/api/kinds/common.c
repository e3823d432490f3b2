/* References and selectors that several kinds share. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field key_to_path_fields[] = {
	STR("key", 1, REQ, IS(CONFIG_KEY)),
	STR("path", 2, REQ),
	I32P("mode", 3, BETWEEN(0, 0777)),
	END,
};
SCHEMA(key_to_path, "api.core.v1.KeyToPath");

static const struct schema_field local_object_reference_fields[] = {
	STR("name", 1),
	END,
};
SCHEMA(local_object_reference, "api.core.v1.LocalObjectReference");

static const struct schema_field object_field_selector_fields[] = {
	STR("apiVersion", 1, DFLT_STR("v1")),
	STR("fieldPath", 2, REQ),
	END,
};
SCHEMA(object_field_selector, "api.core.v1.ObjectFieldSelector");

static const struct schema_field resource_field_selector_fields[] = {
	STR("containerName", 1),
	STR("resource", 2, REQ),
	QTY("divisor", 3, DFLT_STR("0")),
	END,
};
SCHEMA(resource_field_selector, "api.core.v1.ResourceFieldSelector");

static const struct schema_field typed_local_object_reference_fields[] = {
	STRP("apiGroup", 1),
	STR("kind", 2, REQ),
	STR("name", 3, REQ),
	END,
};
SCHEMA(typed_local_object_reference, "api.core.v1.TypedLocalObjectReference");

static const struct schema_field typed_object_reference_fields[] = {
	STRP("apiGroup", 1),
	STR("kind", 2, REQ),
	STR("name", 3, REQ),
	STRP("namespace", 4),
	END,
};
SCHEMA(typed_object_reference, "api.core.v1.TypedObjectReference");

static const struct schema_field object_reference_fields[] = {
	STR("kind", 1),
	STR("namespace", 2),
	STR("name", 3),
	STR("uid", 4),
	STR("apiVersion", 5),
	STR("resourceVersion", 6),
	STR("fieldPath", 7),
	END,
};
SCHEMA(object_reference, "api.core.v1.ObjectReference");
