/* Deployment and ReplicaSet. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field rolling_update_deployment_fields[] = {
	INT_OR_STR("maxUnavailable", 1),
	INT_OR_STR("maxSurge", 2),
	END,
};
static SCHEMA(rolling_update_deployment, "api.apps.v1.RollingUpdateDeployment");

static const struct schema_field deployment_strategy_fields[] = {
	STR("type", 1, DFLT_STR("RollingUpdate"), ENUM("Recreate", "RollingUpdate")),
	OBJ("rollingUpdate", 2, &schema_rolling_update_deployment),
	END,
};
static SCHEMA(deployment_strategy, "api.apps.v1.DeploymentStrategy", .dflt = deployment__default_strategy);

static const struct schema_field deployment_spec_fields[] = {
	I32P("replicas", 1, DFLT("1"), AT_LEAST(0)),
	OBJ("selector", 2, &schema_label_selector, REQ),
	OBJ("template", 3, &schema_pod_template_spec, REQ),
	OBJ("strategy", 4, &schema_deployment_strategy, FLAGS(SCHEMA_REPLACE_KEYS), DFLT("{}")),
	I32("minReadySeconds", 5, AT_LEAST(0)),
	I32P("revisionHistoryLimit", 6, DFLT("10"), AT_LEAST(0)),
	BOOL("paused", 7),
	I32P("progressDeadlineSeconds", 9, DFLT("600"), AT_LEAST(0)),
	END,
};
static SCHEMA(deployment_spec, "api.apps.v1.DeploymentSpec", .check = deployment__check_spec);

static const struct schema_field deployment_condition_fields[] = {
	STR("type", 1, REQ),
	STR("status", 2, REQ, ENUM("True", "False", "Unknown")),
	TIME("lastUpdateTime", 6),
	TIME("lastTransitionTime", 7),
	STR("reason", 4),
	STR("message", 5),
	END,
};
static SCHEMA(deployment_condition, "api.apps.v1.DeploymentCondition");

static const struct schema_field deployment_status_fields[] = {
	I64("observedGeneration", 1, AT_LEAST(0)),
	I32("replicas", 2, AT_LEAST(0)),
	I32("updatedReplicas", 3, AT_LEAST(0)),
	I32("readyReplicas", 7, AT_LEAST(0)),
	I32("availableReplicas", 4, AT_LEAST(0)),
	I32("unavailableReplicas", 5, AT_LEAST(0)),
	LIST_OBJ("conditions", 6, &schema_deployment_condition, KEYED("type")),
	I32P("collisionCount", 8, AT_LEAST(0)),
	END,
};
static SCHEMA(deployment_status, "api.apps.v1.DeploymentStatus");

static const struct schema_field deployment_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_deployment_spec, REQ),
	OBJ("status", 3, &schema_deployment_status, DFLT("{}")),
	END,
};
SCHEMA(deployment, "api.apps.v1.Deployment");

static const struct schema_field replica_set_spec_fields[] = {
	I32P("replicas", 1, DFLT("1"), AT_LEAST(0)),
	I32("minReadySeconds", 4, AT_LEAST(0)),
	OBJ("selector", 2, &schema_label_selector, REQ),
	OBJ("template", 3, &schema_pod_template_spec, REQ),
	END,
};
static SCHEMA(replica_set_spec, "api.apps.v1.ReplicaSetSpec", .check = replica_set__check_spec);

static const struct schema_field replica_set_condition_fields[] = {
	STR("type", 1, REQ),
	STR("status", 2, REQ, ENUM("True", "False", "Unknown")),
	TIME("lastTransitionTime", 3),
	STR("reason", 4),
	STR("message", 5),
	END,
};
static SCHEMA(replica_set_condition, "api.apps.v1.ReplicaSetCondition");

static const struct schema_field replica_set_status_fields[] = {
	I32("replicas", 1, DFLT("0"), AT_LEAST(0)),
	I32("fullyLabeledReplicas", 2, AT_LEAST(0)),
	I32("readyReplicas", 4, AT_LEAST(0)),
	I32("availableReplicas", 5, AT_LEAST(0)),
	I64("observedGeneration", 3, AT_LEAST(0)),
	LIST_OBJ("conditions", 6, &schema_replica_set_condition, KEYED("type")),
	END,
};
static SCHEMA(replica_set_status, "api.apps.v1.ReplicaSetStatus");

static const struct schema_field replica_set_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_replica_set_spec, REQ),
	OBJ("status", 3, &schema_replica_set_status, DFLT("{}")),
	END,
};
SCHEMA(replica_set, "api.apps.v1.ReplicaSet");
