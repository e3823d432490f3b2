/* What of a pod may change once it is made. */

#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/kinds/same.h"
#include "lib/api/kinds/tables.h"

static void drop_images(json_t *spec, const char *list)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(spec, list), i, c) json_object_del(c, "image");
}

/* The spec without what may change. */
static json_t *fixed_part(const json_t *spec)
{
	json_t *fixed = json_deep_copy(spec);

	drop_images(fixed, "containers");
	drop_images(fixed, "initContainers");
	json_object_del(fixed, "activeDeadlineSeconds");
	json_object_del(fixed, "tolerations");
	json_object_del(fixed, "schedulingGates"); /* has rules of its own */
	return fixed;
}

/* A toleration without its tolerationSeconds, as one text. */
static char *toleration_key(const json_t *t)
{
	return xasprintf("%s\n%s\n%s\n%s", json_get_str(t, "key", ""), json_get_str(t, "operator", ""),
			 json_get_str(t, "value", ""), json_get_str(t, "effect", ""));
}

static void check_tolerations(const json_t *spec, const json_t *old, const char *path, struct err *err)
{
	_cleanup_map_ struct map kept = MAP_INIT;
	size_t i;
	json_t *t;

	json_array_foreach(json_object_get(spec, "tolerations"), i, t)
	{
		_cleanup_free_ char *key = toleration_key(t);
		seen_twice(&kept, key);
	}
	json_array_foreach(json_object_get(old, "tolerations"), i, t)
	{
		_cleanup_free_ char *key = toleration_key(t);
		if (map_has(&kept, key))
			continue;
		fault_forbidden(err, at(path, "tolerations"),
				"existing toleration can not be modified except its tolerationSeconds");
		return;
	}
}

static void check_deadline(const json_t *spec, const json_t *old, const char *path, struct err *err)
{
	int64_t was = json_get_int(old, "activeDeadlineSeconds", 0);
	int64_t is = json_get_int(spec, "activeDeadlineSeconds", 0);

	if (!was)
		return;
	if (!member_set(spec, "activeDeadlineSeconds"))
		fault_invalid_raw(err, at(path, "activeDeadlineSeconds"), "null",
				  "must not update from a positive integer to nil value");
	else if (is > was)
		fault_invalid_int(err, at(path, "activeDeadlineSeconds"), is,
				  "must be less than or equal to previous value");
}

static void check_gates(const json_t *spec, const json_t *old, const char *path, struct err *err)
{
	_cleanup_map_ struct map known = MAP_INIT;
	size_t i;
	json_t *gate;

	json_array_foreach(json_object_get(old, "schedulingGates"), i, gate)
		seen_twice(&known, json_get_str(gate, "name", ""));
	json_array_foreach(json_object_get(spec, "schedulingGates"), i,
			   gate) if (!map_has(&known, json_get_str(gate, "name", "")))
		fault_forbidden(err, at(path, "schedulingGates[%zu].name", i),
				"only deletion is allowed, but found new scheduling gate");
}

static bool same_length(const json_t *spec, const json_t *old, const char *list, const char *path, struct err *err)
{
	if (json_array_size(json_object_get(spec, list)) == json_array_size(json_object_get(old, list)))
		return true;
	fault_forbidden(err, at(path, "%s", list), "pod updates may not add or remove containers");
	return false;
}

static void check_update(const json_t *spec, const json_t *old, struct err *err)
{
	if (json_equal(spec, old))
		return; /* by far the most writes: the status changed */
	if (!same_length(spec, old, "containers", "spec", err) ||
	    !same_length(spec, old, "initContainers", "spec", err))
		return;
	check_deadline(spec, old, "spec", err);
	check_tolerations(spec, old, "spec", err);
	check_gates(spec, old, "spec", err);

	json_t *a = fixed_part(spec), *b = fixed_part(old);
	if (json_get_int(old, "terminationGracePeriodSeconds", 0) < 0 &&
	    json_get_int(spec, "terminationGracePeriodSeconds", 0) == 1)
		json_put(b, "terminationGracePeriodSeconds", json_integer(1));
	if (!object_same(&schema_pod_spec, a, b))
		fault_forbidden(err, at_self("spec"),
				"pod updates may not change fields other than `spec.containers[*].image`,"
				"`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
				"(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
				"(allow it to be set to 1 if it was previously negative)");
	json_decref(a);
	json_decref(b);
}

void pod__check(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	const json_t *spec = json_object_get(obj, "spec");

	if (old)
		check_update(spec, json_object_get(old, "spec"), err);
	else if (json_array_size(json_object_get(spec, "ephemeralContainers")))
		fault_forbidden(err, at("spec", "ephemeralContainers"), "cannot be set on create");
}
