/* Rules of label selectors, deployments and replica sets. */

#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/schema.h"
#include "lib/api/selector.h"

static void check_expression(const json_t *e, const char *path, struct err *err)
{
	const char *op = json_get_str(e, "operator", "");
	const json_t *values = json_object_get(e, "values");
	size_t i;
	json_t *v;

	if (streq(op, "In") || streq(op, "NotIn")) {
		if (!json_array_size(values))
			fault_required(err, at(path, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (streq(op, "Exists") || streq(op, "DoesNotExist")) {
		if (json_array_size(values))
			fault_forbidden(err, at(path, "values"),
					"may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	} else if (*op) {
		fault_invalid(err, at(path, "operator"), op, "not a valid selector operator");
	}
	json_array_foreach(values, i, v)
	{
		const char *why = json_is_string(v) ? schema_format_check(FMT_LABEL_VALUE, json_string_value(v)) : NULL;
		if (why)
			fault_invalid(err, at(path, "values[%zu]", i), json_string_value(v), why);
	}
}

void label_selector__check(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	size_t i;
	json_t *e;

	meta_validate_labels(json_object_get(obj, "matchLabels"), at(path, "matchLabels").s, err);
	json_array_foreach(json_object_get(obj, "matchExpressions"), i, e)
		check_expression(e, at(path, "matchExpressions[%zu]", i).s, err);
}

static void check_selector(const json_t *spec, const json_t *old, const char *path, struct err *err)
{
	const json_t *selector = json_object_get(spec, "selector");
	const json_t *labels = json_path(spec, "template", "metadata", "labels", NULL);
	_cleanup_selector_ struct selector *parsed = NULL;
	_cleanup_free_ char *printed = go_label_selector(selector);

	if (!json_is_object(selector))
		return; /* said by the table */
	if (old && !member_same(spec, old, "selector"))
		fault_invalid_raw(err, at(path, "selector"), printed, "field is immutable");
	if (!json_object_size(json_object_get(selector, "matchLabels")) &&
	    !json_array_size(json_object_get(selector, "matchExpressions"))) {
		fault_invalid_raw(err, at(path, "selector"), printed, "empty selector is invalid for deployment");
		return;
	}
	if (selector_from_json(selector, &parsed, NULL)) {
		fault_invalid_raw(err, at(path, "selector"), printed, "invalid label selector");
	} else if (!selector_matches(parsed, labels)) {
		_cleanup_free_ char *map = go_string_map(labels);
		fault_invalid_raw(err, at(path, "template.metadata.labels"), map,
				  "`selector` does not match template `labels`");
	}
}

static void check_template(const json_t *spec, const char *path, struct err *err)
{
	const json_t *pod = json_path(spec, "template", "spec", NULL);
	const char *policy = json_get_str(pod, "restartPolicy", "Always");

	if (streq(policy, "OnFailure") || streq(policy, "Never"))
		fault_unsupported(err, at(path, "template.spec.restartPolicy"), policy, "\"Always\"");
	if (member_set(pod, "activeDeadlineSeconds"))
		fault_forbidden(err, at(path, "template.spec.activeDeadlineSeconds"),
				"activeDeadlineSeconds in ReplicaSet is not Supported");
	if (json_array_size(json_object_get(pod, "ephemeralContainers")))
		fault_forbidden(err, at(path, "template.spec.ephemeralContainers"),
				"ephemeral containers not allowed in pod template");
}

/* What a rollout may hold back or add: a count or a share of the replicas. Returns whether it is surely zero. */
static bool check_share(const json_t *rolling, const char *name, bool at_most_all, const char *path, struct err *err)
{
	const json_t *v = json_object_get(rolling, name);
	int64_t n;

	if (json_is_integer(v)) {
		if (json_integer_value(v) < 0)
			fault_invalid_int(err, at(path, "%s", name), json_integer_value(v),
					  "must be greater than or equal to 0");
		return json_integer_value(v) == 0;
	}
	const char *text = json_is_string(v) ? json_string_value(v) : "0%";
	_cleanup_free_ char *digits = xstrdup(text);
	size_t len = strlen(digits);

	if (!len || digits[len - 1] != '%' || (digits[len - 1] = 0, parse_i64(digits, &n)) || n < 0) {
		fault_invalid(err, at(path, "%s", name), text,
			      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  "
			      "or '93%', regex used for validation is '[0-9]+%')");
		return false;
	}
	if (at_most_all && n > 100)
		fault_invalid(err, at(path, "%s", name), text, "must not be greater than 100%");
	return n == 0;
}

static void check_strategy(const json_t *strategy, const char *path, struct err *err)
{
	const json_t *rolling = json_object_get(strategy, "rollingUpdate");
	const char *type = json_get_str(strategy, "type", "");

	if (streq(type, "Recreate") && json_is_object(rolling)) {
		fault_forbidden(err, at(path, "rollingUpdate"),
				"may not be specified when strategy `type` is 'Recreate'");
		return;
	}
	if (!streq(type, "RollingUpdate"))
		return;
	if (!json_is_object(rolling)) {
		fault_required(err, at(path, "rollingUpdate"), "this should be defaulted and never be nil");
		return;
	}
	_cleanup_free_ char *here = xasprintf("%s.rollingUpdate", path);
	bool none_down = check_share(rolling, "maxUnavailable", true, here, err);
	bool none_more = check_share(rolling, "maxSurge", false, here, err);
	const json_t *v = json_object_get(rolling, "maxUnavailable");

	if (none_down && none_more && json_is_integer(v))
		fault_invalid_int(err, at(here, "maxUnavailable"), 0, "may not be 0 when `maxSurge` is 0");
	else if (none_down && none_more)
		fault_invalid(err, at(here, "maxUnavailable"), json_is_string(v) ? json_string_value(v) : "",
			      "may not be 0 when `maxSurge` is 0");
}

void deployment__check_spec(const json_t *obj, const json_t *old, const char *path, struct err *err)
{
	int64_t deadline = json_get_int(obj, "progressDeadlineSeconds", 600);

	check_selector(obj, old, path, err);
	check_template(obj, path, err);
	check_strategy(json_object_get(obj, "strategy"), at(path, "strategy").s, err);
	if (deadline >= 0 && deadline <= json_get_int(obj, "minReadySeconds", 0))
		fault_invalid_int(err, at(path, "progressDeadlineSeconds"), deadline,
				  "must be greater than minReadySeconds");
}

void replica_set__check_spec(const json_t *obj, const json_t *old, const char *path, struct err *err)
{
	check_selector(obj, old, path, err);
	check_template(obj, path, err);
}
