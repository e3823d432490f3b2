/* Deployment and ReplicaSet. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field rolling_update_deployment_fields[] = {
	INT_OR_STR("maxUnavailable", 1, DOC("How many pods, or what share, may be missing meanwhile.")),
	INT_OR_STR("maxSurge", 2, DOC("How many pods, or what share, may be there in excess meanwhile.")),
	END,
};
static SCHEMA(rolling_update_deployment, "api.apps.v1.RollingUpdateDeployment");

static const struct schema_field deployment_strategy_fields[] = {
	STR("type", 1, DFLT_STR("RollingUpdate"), ENUM("Recreate", "RollingUpdate"),
	    DOC("RollingUpdate, or Recreate: all old pods go first.")),
	OBJ("rollingUpdate", 2, &schema_rolling_update_deployment),
	END,
};
static SCHEMA(deployment_strategy, "api.apps.v1.DeploymentStrategy", .dflt = deployment__default_strategy);

static const struct schema_field deployment_spec_fields[] = {
	I32P("replicas", 1, DFLT("1"), AT_LEAST(0), DOC("How many pods.")),
	OBJ("selector", 2, &schema_label_selector, REQ,
	    DOC("Which pods are its own; must match the template and cannot change.")),
	OBJ("template", 3, &schema_pod_template_spec, REQ, DOC("What pods are made from.")),
	OBJ("strategy", 4, &schema_deployment_strategy, FLAGS(SCHEMA_REPLACE_KEYS), DFLT("{}"),
	    DOC("How old pods give way to new ones.")),
	I32("minReadySeconds", 5, AT_LEAST(0), DOC("Seconds a new pod must be ready before it counts.")),
	I32P("revisionHistoryLimit", 6, DFLT("10"), AT_LEAST(0),
	    DOC("How many old replica sets are kept to go back to.")),
	BOOL("paused", 7, DOC("While true, changes of the template are not rolled out.")),
	I32P("progressDeadlineSeconds", 9, DFLT("600"), AT_LEAST(0),
	    DOC("Seconds without progress after which a rollout is called failed.")),
	END,
};
static SCHEMA(deployment_spec, "api.apps.v1.DeploymentSpec", .doc = "What a Deployment should keep running.",
	      .check = deployment__check_spec);

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
	OBJ("spec", 2, &schema_deployment_spec, REQ, DOC("What to keep running.")),
	OBJ("status", 3, &schema_deployment_status, DFLT("{}"), DOC("What runs; written by the controller.")),
	END,
};
SCHEMA(deployment, "api.apps.v1.Deployment",
       .doc = "Keeps a number of alike pods running and rolls out changes to them.");

static const struct schema_field replica_set_spec_fields[] = {
	I32P("replicas", 1, DFLT("1"), AT_LEAST(0), DOC("How many pods.")),
	I32("minReadySeconds", 4, AT_LEAST(0), DOC("Seconds a new pod must be ready before it counts.")),
	OBJ("selector", 2, &schema_label_selector, REQ, DOC("Which pods are its own; cannot change.")),
	OBJ("template", 3, &schema_pod_template_spec, REQ, DOC("What pods are made from.")),
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
	I32("replicas", 1, KEEP_ZERO, DFLT("0"), AT_LEAST(0)),
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
SCHEMA(replica_set, "api.apps.v1.ReplicaSet", .doc = "Keeps a number of alike pods running.");
