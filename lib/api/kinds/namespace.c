/* Namespace. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field namespace_spec_fields[] = {
	LIST_STR("finalizers", 1, ATOMIC),
	END,
};
static SCHEMA(namespace_spec, "api.core.v1.NamespaceSpec");

static const struct schema_field namespace_condition_fields[] = {
	STR("type", 1),
	STR("status", 2),
	TIME("lastTransitionTime", 4),
	STR("reason", 5),
	STR("message", 6),
	END,
};
static SCHEMA(namespace_condition, "api.core.v1.NamespaceCondition");

static const struct schema_field namespace_status_fields[] = {
	STR("phase", 1, ENUM("Active", "Terminating")),
	LIST_OBJ("conditions", 2, &schema_namespace_condition, KEYED("type")),
	END,
};
static SCHEMA(namespace_status, "api.core.v1.NamespaceStatus");

static const struct schema_field namespace_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_namespace_spec, DFLT("{}")),
	OBJ("status", 3, &schema_namespace_status, DFLT("{}")),
	END,
};
SCHEMA(namespace, "api.core.v1.Namespace", .doc = "A room for names, rights and quotas.", .dflt = namespace__default,
       .check = namespace__check);
