/* What every object carries: ObjectMeta, label selectors, conditions; and the meta kinds of requests and answers. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field owner_reference_fields[] = {
	STR("apiVersion", 5),
	STR("kind", 1),
	STR("name", 3),
	STR("uid", 4),
	BOOLP("controller", 6),
	BOOLP("blockOwnerDeletion", 7),
	END,
};
static SCHEMA(owner_reference, "apimachinery.pkg.apis.meta.v1.OwnerReference");

static const struct schema_field managed_fields_entry_fields[] = {
	STR("manager", 1),
	STR("operation", 2),
	STR("apiVersion", 3),
	TIME("time", 4),
	STR("fieldsType", 6),
	ANY("fieldsV1", 7),
	STR("subresource", 8),
	END,
};
static SCHEMA(managed_fields_entry, "apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry");

static const struct schema_field object_meta_fields[] = {
	STR("name", 1, DOC("Unique among its kind, in its namespace if it has one; cannot change.")),
	STR("generateName", 2, DOC("The beginning of a name that the server completes, where no name is given.")),
	STR("namespace", 3, DOC("The room the name is unique in; cannot change.")),
	STR("selfLink", 4),
	STR("uid", 5, DOC("Unique in time and space; set by the server.")),
	STR("resourceVersion", 6, DOC("Changes with every write; send it back to be told of conflicts.")),
	I64("generation", 7, DOC("Counts changes of the wish; set by the server.")),
	TIME("creationTimestamp", 8, DOC("When the object was made; set by the server.")),
	TIME("deletionTimestamp", 9,
	    DOC("When the object will be gone; set by the server once deletion is asked for.")),
	I64P("deletionGracePeriodSeconds", 10, DOC("Seconds it may take to end in good order.")),
	MAP_STR("labels", 11, DOC("Names and values to choose objects by.")),
	MAP_STR("annotations", 12, DOC("Names and values for tools; never chosen by.")),
	LIST_OBJ("ownerReferences", 13, &schema_owner_reference, KEYED("uid"),
	    DOC("Objects this one belongs to; it goes when they are all gone.")),
	LIST_STR("finalizers", 14, FLAGS(SCHEMA_MERGE | SCHEMA_SET), DOC("Who must agree before the object goes.")),
	LIST_OBJ("managedFields", 17, &schema_managed_fields_entry, ATOMIC, DOC("Who set which field.")),
	END,
};
SCHEMA(object_meta, "apimachinery.pkg.apis.meta.v1.ObjectMeta", .doc = "What every object carries.");

static const struct schema_field label_selector_requirement_fields[] = {
	STR("key", 1, REQ, IS(QUALIFIED_NAME)),
	STR("operator", 2, REQ),
	LIST_STR("values", 3, ATOMIC),
	END,
};
SCHEMA(label_selector_requirement, "apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement");

static const struct schema_field label_selector_fields[] = {
	MAP_STR("matchLabels", 1, DOC("Labels and the values they must have.")),
	LIST_OBJ("matchExpressions", 2, &schema_label_selector_requirement, ATOMIC,
	    DOC("Further conditions on labels.")),
	END,
};
SCHEMA(label_selector, "apimachinery.pkg.apis.meta.v1.LabelSelector",
       .doc = "Chooses objects by their labels; all parts must match.", .check = label_selector__check);

static const struct schema_field condition_fields[] = {
	STR("type", 1, REQ),
	STR("status", 2, REQ, ENUM("True", "False", "Unknown")),
	I64("observedGeneration", 3),
	TIME("lastTransitionTime", 4),
	STR("reason", 5, REQ),
	STR("message", 6),
	END,
};
SCHEMA(condition, "apimachinery.pkg.apis.meta.v1.Condition");

static const struct schema_field preconditions_fields[] = {
	STRP("uid", 1),
	STRP("resourceVersion", 2),
	END,
};
static SCHEMA(preconditions, "apimachinery.pkg.apis.meta.v1.Preconditions");

static const struct schema_field delete_options_fields[] = {
	TYPE_META,
	I64P("gracePeriodSeconds", 1, AT_LEAST(0), DOC("Seconds to end in good order; 0 is at once.")),
	OBJ("preconditions", 2, &schema_preconditions),
	BOOLP("orphanDependents", 3),
	STRP("propagationPolicy", 4, ENUM("Orphan", "Background", "Foreground"),
	    DOC("What becomes of what it owns: Orphan, Background or Foreground.")),
	LIST_STR("dryRun", 5, ATOMIC),
	BOOLP("ignoreStoreReadErrorWithClusterBreakingPotential", 6),
	END,
};
SCHEMA(delete_options, "apimachinery.pkg.apis.meta.v1.DeleteOptions", .doc = "How to delete.");

static const struct schema_field list_meta_fields[] = {
	STR("selfLink", 1),
	STR("resourceVersion", 2),
	STR("continue", 3),
	I64P("remainingItemCount", 4),
	END,
};
SCHEMA(list_meta, "apimachinery.pkg.apis.meta.v1.ListMeta");

static const struct schema_field status_cause_fields[] = {
	STR("reason", 1),
	STR("message", 2),
	STR("field", 3),
	END,
};
static SCHEMA(status_cause, "apimachinery.pkg.apis.meta.v1.StatusCause");

static const struct schema_field status_details_fields[] = {
	STR("name", 1),
	STR("group", 2),
	STR("kind", 3),
	STR("uid", 6),
	LIST_OBJ("causes", 4, &schema_status_cause, ATOMIC),
	I32("retryAfterSeconds", 5),
	END,
};
static SCHEMA(status_details, "apimachinery.pkg.apis.meta.v1.StatusDetails");

static const struct schema_field status_fields[] = {
	TYPE_META,
	OBJ("metadata", 1, &schema_list_meta),
	STR("status", 2),
	STR("message", 3),
	STR("reason", 4),
	OBJ("details", 5, &schema_status_details),
	I32("code", 6),
	END,
};
SCHEMA(status, "apimachinery.pkg.apis.meta.v1.Status");
