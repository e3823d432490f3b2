/* Roles and their bindings. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field policy_rule_fields[] = {
	LIST_STR("verbs", 1, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER), DOC("What may be done; * for all.")),
	LIST_STR("apiGroups", 2, ATOMIC, DOC("Groups of the resources; '' is the core.")),
	LIST_STR("resources", 3, ATOMIC, DOC("Which resources; * for all.")),
	LIST_STR("resourceNames", 4, ATOMIC, DOC("Only these, by name.")),
	LIST_STR("nonResourceURLs", 5, ATOMIC, DOC("Paths that are no resources.")),
	END,
};
static SCHEMA(policy_rule, "api.rbac.v1.PolicyRule");

static const struct schema_field role_fields[] = {
	OBJECT_HEAD,
	LIST_OBJ("rules", 2, &schema_policy_rule, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	END,
};
SCHEMA(role, "api.rbac.v1.Role", .doc = "Rights within one namespace.", .check = rbac__check_role);

static const struct schema_field aggregation_rule_fields[] = {
	LIST_OBJ("clusterRoleSelectors", 1, &schema_label_selector, ATOMIC),
	END,
};
static SCHEMA(aggregation_rule, "api.rbac.v1.AggregationRule");

static const struct schema_field cluster_role_fields[] = {
	OBJECT_HEAD,
	LIST_OBJ("rules", 2, &schema_policy_rule, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	OBJ("aggregationRule", 3, &schema_aggregation_rule),
	END,
};
SCHEMA(cluster_role, "api.rbac.v1.ClusterRole", .doc = "Rights in the whole cluster, or to be given within namespaces.",
       .check = rbac__check_cluster_role);

static const struct schema_field subject_fields[] = {
	STR("kind", 1),
	STR("apiGroup", 2),
	STR("name", 3, REQ),
	STR("namespace", 4),
	END,
};
static SCHEMA(subject, "api.rbac.v1.Subject");

static const struct schema_field role_ref_fields[] = {
	STR("apiGroup", 1),
	STR("kind", 2),
	STR("name", 3, REQ),
	END,
};
static SCHEMA(role_ref, "api.rbac.v1.RoleRef");

static const struct schema_field role_binding_fields[] = {
	OBJECT_HEAD,
	LIST_OBJ("subjects", 2, &schema_subject, ATOMIC),
	OBJ("roleRef", 3, &schema_role_ref, REQ),
	END,
};
SCHEMA(role_binding, "api.rbac.v1.RoleBinding", .doc = "Gives a role to subjects within one namespace.",
       .dflt = rbac__default_binding, .check = rbac__check_role_binding);

static const struct schema_field cluster_role_binding_fields[] = {
	OBJECT_HEAD,
	LIST_OBJ("subjects", 2, &schema_subject, ATOMIC),
	OBJ("roleRef", 3, &schema_role_ref, REQ),
	END,
};
SCHEMA(cluster_role_binding, "api.rbac.v1.ClusterRoleBinding", .doc = "Gives a cluster role to subjects everywhere.",
       .dflt = rbac__default_binding, .check = rbac__check_cluster_role_binding);
