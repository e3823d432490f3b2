/* Rules of roles, bindings and reviews. */

#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/schema.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static void check_rule(const json_t *rule, bool namespaced, const char *path, struct err *err)
{
	size_t urls = json_array_size(json_object_get(rule, "nonResourceURLs"));

	if (!json_array_size(json_object_get(rule, "verbs")))
		fault_required(err, at(path, "verbs"), "verbs must contain at least one value");
	if (urls) {
		_cleanup_free_ char *list = go_string_list(json_object_get(rule, "nonResourceURLs"));
		if (namespaced)
			fault_invalid_raw(err, at(path, "nonResourceURLs"), list,
					  "namespaced rules cannot apply to non-resource URLs");
		if (json_array_size(json_object_get(rule, "apiGroups")) ||
		    json_array_size(json_object_get(rule, "resources")) ||
		    json_array_size(json_object_get(rule, "resourceNames")))
			fault_invalid_raw(err, at(path, "nonResourceURLs"), list,
					  "rules cannot apply to both regular resources and non-resource URLs");
		return;
	}
	if (!json_array_size(json_object_get(rule, "apiGroups")))
		fault_required(err, at(path, "apiGroups"), "resource rules must supply at least one api group");
	if (!json_array_size(json_object_get(rule, "resources")))
		fault_required(err, at(path, "resources"), "resource rules must supply at least one resource");
}

static void check_rules(const json_t *obj, bool namespaced, struct err *err)
{
	size_t i;
	json_t *rule;

	json_array_foreach(json_object_get(obj, "rules"), i, rule)
		check_rule(rule, namespaced, at("", "rules[%zu]", i).s, err);
}

void rbac__check_role(const json_t *obj, _unused_ const json_t *old, _unused_ const char *path, struct err *err)
{
	check_rules(obj, true, err);
}

void rbac__check_cluster_role(const json_t *obj, _unused_ const json_t *old, _unused_ const char *path, struct err *err)
{
	const json_t *aggregation = json_object_get(obj, "aggregationRule");

	check_rules(obj, false, err);
	if (json_is_object(aggregation) && !json_array_size(json_object_get(aggregation, "clusterRoleSelectors")))
		fault_required(err, at_self("aggregationRule.clusterRoleSelectors"),
			       "at least one clusterRoleSelector required if aggregationRule is non-nil");
}

/* ---- bindings ---- */

static void check_account(const json_t *subject, bool namespaced, const char *path, struct err *err)
{
	const char *name = json_get_str(subject, "name", ""), *group = json_get_str(subject, "apiGroup", "");
	const char *why = *name ? schema_format_check(FMT_DNS_SUBDOMAIN, name) : NULL;

	if (why)
		fault_invalid(err, at(path, "name"), name, why);
	if (*group)
		fault_unsupported(err, at(path, "apiGroup"), group, "\"\"");
	if (!namespaced && !*json_get_str(subject, "namespace", ""))
		fault_required(err, at(path, "namespace"), NULL);
}

static void check_subject(const json_t *subject, bool namespaced, const char *path, struct err *err)
{
	const char *kind = json_get_str(subject, "kind", ""), *group = json_get_str(subject, "apiGroup", "");

	if (streq(kind, "ServiceAccount"))
		check_account(subject, namespaced, path, err);
	else if (!streq(kind, "User") && !streq(kind, "Group"))
		fault_unsupported(err, at(path, "kind"), kind, "\"ServiceAccount\", \"User\", \"Group\"");
	else if (!streq(group, RBAC_GROUP))
		fault_unsupported(err, at(path, "apiGroup"), group, "\"" RBAC_GROUP "\"");
}

static void check_ref(const json_t *ref, bool namespaced, struct err *err)
{
	const char *group = json_get_str(ref, "apiGroup", ""), *kind = json_get_str(ref, "kind", "");
	const char *name = json_get_str(ref, "name", "");
	const char *why = *name ? schema_format_check(FMT_PATH_SEGMENT, name) : NULL;

	if (!json_is_object(ref))
		return; /* said by the table */
	if (!streq(group, RBAC_GROUP))
		fault_unsupported(err, at_self("roleRef.apiGroup"), group, "\"" RBAC_GROUP "\"");
	if (!streq(kind, "ClusterRole") && !(namespaced && streq(kind, "Role")))
		fault_unsupported(err, at_self("roleRef.kind"), kind,
				  namespaced ? "\"Role\", \"ClusterRole\"" : "\"ClusterRole\"");
	if (why)
		fault_invalid(err, at_self("roleRef.name"), name, why);
}

static void check_binding(const json_t *obj, const json_t *old, bool namespaced, struct err *err)
{
	const json_t *ref = json_object_get(obj, "roleRef");
	size_t i;
	json_t *s;

	check_ref(ref, namespaced, err);
	json_array_foreach(json_object_get(obj, "subjects"), i, s)
		check_subject(s, namespaced, at("", "subjects[%zu]", i).s, err);
	if (old && !member_same(obj, old, "roleRef")) {
		_cleanup_free_ char *printed = xasprintf("rbac.RoleRef{APIGroup:\"%s\", Kind:\"%s\", Name:\"%s\"}",
							 json_get_str(ref, "apiGroup", ""),
							 json_get_str(ref, "kind", ""), json_get_str(ref, "name", ""));
		fault_invalid_raw(err, at_self("roleRef"), printed, "cannot change roleRef");
	}
}

void rbac__check_role_binding(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	check_binding(obj, old, true, err);
}

void rbac__check_cluster_role_binding(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	check_binding(obj, old, false, err);
}

/* ---- reviews ---- */

void review__check_attributes(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	bool resource = member_set(obj, "resourceAttributes"), url = member_set(obj, "nonResourceAttributes");

	if (resource && url)
		fault_invalid_raw(err, at(path, "nonResourceAttributes"), "{}",
				  "cannot be specified in combination with resourceAttributes");
	else if (!resource && !url)
		fault_invalid_raw(err, at(path, "resourceAttributes"), "null",
				  "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

void review__check_subject(const json_t *obj, const json_t *old, const char *path, struct err *err)
{
	review__check_attributes(obj, old, path, err);
	if (!*json_get_str(obj, "user", "") && !json_array_size(json_object_get(obj, "groups")))
		fault_invalid(err, at(path, "user"), "", "at least one of user or group must be specified");
}

void review__check_rules(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	if (!*json_get_str(obj, "namespace", ""))
		fault_required(err, at(path, "namespace"), "namespace is required");
}

void review__check_token(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	if (!*json_get_str(obj, "token", ""))
		fault_required(err, at(path, "token"), NULL);
}
