/* Questions to the API server about identity and rights: created, answered, never stored. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field field_selector_requirement_fields[] = {
	STR("key", 1),
	STR("operator", 2),
	LIST_STR("values", 3),
	END,
};
static SCHEMA(field_selector_requirement, "apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement");

static const struct schema_field field_selector_attributes_fields[] = {
	STR("rawSelector", 1),
	LIST_OBJ("requirements", 2, &schema_field_selector_requirement),
	END,
};
static SCHEMA(field_selector_attributes, "api.authorization.v1.FieldSelectorAttributes");

static const struct schema_field label_selector_attributes_fields[] = {
	STR("rawSelector", 1),
	LIST_OBJ("requirements", 2, &schema_label_selector_requirement),
	END,
};
static SCHEMA(label_selector_attributes, "api.authorization.v1.LabelSelectorAttributes");

static const struct schema_field resource_attributes_fields[] = {
	STR("namespace", 1),
	STR("verb", 2),
	STR("group", 3),
	STR("version", 4),
	STR("resource", 5),
	STR("subresource", 6),
	STR("name", 7),
	OBJ("fieldSelector", 8, &schema_field_selector_attributes),
	OBJ("labelSelector", 9, &schema_label_selector_attributes),
	END,
};
static SCHEMA(resource_attributes, "api.authorization.v1.ResourceAttributes");

static const struct schema_field non_resource_attributes_fields[] = {
	STR("path", 1),
	STR("verb", 2),
	END,
};
static SCHEMA(non_resource_attributes, "api.authorization.v1.NonResourceAttributes");

static const struct schema_field self_subject_access_review_spec_fields[] = {
	OBJ("resourceAttributes", 1, &schema_resource_attributes),
	OBJ("nonResourceAttributes", 2, &schema_non_resource_attributes),
	END,
};
static SCHEMA(self_subject_access_review_spec, "api.authorization.v1.SelfSubjectAccessReviewSpec",
	      .check = review__check_attributes);

static const struct schema_field subject_access_review_status_fields[] = {
	BOOL("allowed", 1, KEEP_ZERO),
	BOOL("denied", 4),
	STR("reason", 2),
	STR("evaluationError", 3),
	END,
};
static SCHEMA(subject_access_review_status, "api.authorization.v1.SubjectAccessReviewStatus");

static const struct schema_field self_subject_access_review_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_self_subject_access_review_spec, REQ),
	OBJ("status", 3, &schema_subject_access_review_status),
	END,
};
SCHEMA(self_subject_access_review, "api.authorization.v1.SelfSubjectAccessReview");

static const struct schema_field subject_access_review_spec_fields[] = {
	OBJ("resourceAttributes", 1, &schema_resource_attributes),
	OBJ("nonResourceAttributes", 2, &schema_non_resource_attributes),
	STR("user", 3),
	LIST_STR("groups", 4, ATOMIC),
	MAP_ANY("extra", 0),
	STR("uid", 6),
	END,
};
static SCHEMA(subject_access_review_spec, "api.authorization.v1.SubjectAccessReviewSpec",
	      .check = review__check_subject);

static const struct schema_field subject_access_review_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_subject_access_review_spec, REQ),
	OBJ("status", 3, &schema_subject_access_review_status),
	END,
};
SCHEMA(subject_access_review, "api.authorization.v1.SubjectAccessReview");

static const struct schema_field local_subject_access_review_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_subject_access_review_spec, REQ),
	OBJ("status", 3, &schema_subject_access_review_status),
	END,
};
SCHEMA(local_subject_access_review, "api.authorization.v1.LocalSubjectAccessReview");

static const struct schema_field self_subject_rules_review_spec_fields[] = {
	STR("namespace", 1),
	END,
};
static SCHEMA(self_subject_rules_review_spec, "api.authorization.v1.SelfSubjectRulesReviewSpec",
	      .check = review__check_rules);

static const struct schema_field resource_rule_fields[] = {
	LIST_STR("verbs", 1, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	LIST_STR("apiGroups", 2, ATOMIC),
	LIST_STR("resources", 3, ATOMIC),
	LIST_STR("resourceNames", 4, ATOMIC),
	END,
};
static SCHEMA(resource_rule, "api.authorization.v1.ResourceRule");

static const struct schema_field non_resource_rule_fields[] = {
	LIST_STR("verbs", 1, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	LIST_STR("nonResourceURLs", 2, ATOMIC),
	END,
};
static SCHEMA(non_resource_rule, "api.authorization.v1.NonResourceRule");

static const struct schema_field subject_rules_review_status_fields[] = {
	LIST_OBJ("resourceRules", 1, &schema_resource_rule, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	LIST_OBJ("nonResourceRules", 2, &schema_non_resource_rule, FLAGS(SCHEMA_ATOMIC | SCHEMA_POINTER)),
	BOOL("incomplete", 3, KEEP_ZERO),
	STR("evaluationError", 4),
	END,
};
static SCHEMA(subject_rules_review_status, "api.authorization.v1.SubjectRulesReviewStatus");

static const struct schema_field self_subject_rules_review_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_self_subject_rules_review_spec, REQ),
	OBJ("status", 3, &schema_subject_rules_review_status),
	END,
};
SCHEMA(self_subject_rules_review, "api.authorization.v1.SelfSubjectRulesReview");

static const struct schema_field token_review_spec_fields[] = {
	STR("token", 1),
	LIST_STR("audiences", 2, ATOMIC),
	END,
};
static SCHEMA(token_review_spec, "api.authentication.v1.TokenReviewSpec", .check = review__check_token);

static const struct schema_field user_info_fields[] = {
	STR("username", 1),
	STR("uid", 2),
	LIST_STR("groups", 3, ATOMIC),
	MAP_ANY("extra", 0),
	END,
};
static SCHEMA(user_info, "api.authentication.v1.UserInfo");

static const struct schema_field token_review_status_fields[] = {
	BOOL("authenticated", 1),
	OBJ("user", 2, &schema_user_info),
	LIST_STR("audiences", 4, ATOMIC),
	STR("error", 3),
	END,
};
static SCHEMA(token_review_status, "api.authentication.v1.TokenReviewStatus");

static const struct schema_field token_review_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_token_review_spec, REQ),
	OBJ("status", 3, &schema_token_review_status),
	END,
};
SCHEMA(token_review, "api.authentication.v1.TokenReview");

static const struct schema_field self_subject_review_status_fields[] = {
	OBJ("userInfo", 1, &schema_user_info),
	END,
};
static SCHEMA(self_subject_review_status, "api.authentication.v1.SelfSubjectReviewStatus");

static const struct schema_field self_subject_review_fields[] = {
	OBJECT_HEAD,
	OBJ("status", 2, &schema_self_subject_review_status),
	END,
};
SCHEMA(self_subject_review, "api.authentication.v1.SelfSubjectReview");
