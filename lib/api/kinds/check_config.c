/* Rules of configuration, and of small kinds: config maps, secrets, events, leases, nodes, bindings, token requests. */

#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/quantity.h"

#define DATA_MAX (1u << 20)

static void fault_too_long(struct err *err, const char *field)
{
	err_add_cause(err, "FieldValueTooLong", field, "Too long: may not be more than %u bytes", DATA_MAX);
}

/* Of a list of members, those that an immutable object may not change. */
static void check_frozen(const json_t *obj, const json_t *old, const char *const *members, struct err *err)
{
	static const char why[] = "field is immutable when `immutable` is set";

	if (!json_get_bool(old, "immutable", false))
		return;
	if (!json_get_bool(obj, "immutable", false))
		fault_forbidden(err, at_self("immutable"), why);
	for (; *members; members++) {
		const json_t *a = json_object_get(obj, *members), *b = json_object_get(old, *members);
		if ((json_object_size(a) || json_object_size(b)) && !member_same(obj, old, *members))
			fault_forbidden(err, at_self(*members), why);
	}
}

/* Bytes a base64 text stands for. */
static size_t decoded_size(const json_t *v)
{
	size_t n = json_string_length(v), pad = 0;
	const char *s = json_string_value(v);

	while (n > pad && pad < 2 && s[n - pad - 1] == '=')
		pad++;
	return n / 4 * 3 - MIN(pad, n / 4 * 3);
}

void config_map__check(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	static const char *const frozen[] = {"data", "binaryData", NULL};
	json_t *data = json_object_get(obj, "data"), *binary = json_object_get(obj, "binaryData"), *v;
	size_t total = 0;
	const char *key;

	json_object_foreach(data, key, v)
	{
		total += json_string_length(v);
		if (json_object_get(binary, key))
			fault_invalid(err, at("data", "[%s]", key), key, "duplicate of key present in binaryData");
	}
	json_object_foreach(binary, key, v) total += decoded_size(v);
	if (total > DATA_MAX)
		fault_too_long(err, "");
	check_frozen(obj, old, frozen, err);
}

/* ---- secrets ---- */

static bool has_data(const json_t *obj, const char *key)
{
	return member_set(json_object_get(obj, "data"), key);
}

static void need_data(const json_t *obj, const char *key, struct err *err)
{
	if (!has_data(obj, key))
		fault_required(err, at("data", "[%s]", key), NULL);
}

/* The content of a docker configuration must be JSON; it is never shown. */
static void need_json(const json_t *obj, const char *key, struct err *err)
{
	const json_t *v = json_object_get(json_object_get(obj, "data"), key);
	_cleanup_free_ uint8_t *raw = NULL;
	_cleanup_json_ json_t *parsed = NULL;
	size_t len = 0;

	need_data(obj, key, err);
	if (!json_is_string(v) || base64_decode(json_string_value(v), json_string_length(v), &raw, &len))
		return;
	if (json_parse((const char *)raw, len, &parsed, NULL))
		fault_invalid(err, at("data", "[%s]", key), "<secret contents redacted>",
			      "invalid character in the content, which must be JSON");
}

static void check_secret_type(const json_t *obj, const char *type, struct err *err)
{
	if (streq(type, "kubernetes.io/service-account-token")) {
		const json_t *notes = json_path(obj, "metadata", "annotations", NULL);
		if (!*json_get_str(notes, "kubernetes.io/service-account.name", ""))
			fault_required(err, at("metadata.annotations", "[kubernetes.io/service-account.name]"), NULL);
	} else if (streq(type, "kubernetes.io/dockercfg")) {
		need_json(obj, ".dockercfg", err);
	} else if (streq(type, "kubernetes.io/dockerconfigjson")) {
		need_json(obj, ".dockerconfigjson", err);
	} else if (streq(type, "kubernetes.io/basic-auth")) {
		if (!has_data(obj, "username") && !has_data(obj, "password")) {
			need_data(obj, "username", err);
			need_data(obj, "password", err);
		}
	} else if (streq(type, "kubernetes.io/ssh-auth")) {
		need_data(obj, "ssh-privatekey", err);
	} else if (streq(type, "kubernetes.io/tls")) {
		need_data(obj, "tls.crt", err);
		need_data(obj, "tls.key", err);
	}
}

void secret__check(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	static const char *const frozen[] = {"data", NULL};
	size_t total = 0;
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(obj, "data"), key, v) total += decoded_size(v);
	if (total > DATA_MAX)
		fault_too_long(err, "data");
	check_secret_type(obj, json_get_str(obj, "type", ""), err);
	check_frozen(obj, old, frozen, err);
}

/* ---- events, leases, nodes ---- */

void event__check(const json_t *obj, _unused_ const json_t *old, _unused_ const char *path, struct err *err)
{
	const char *ns = json_get_str(json_object_get(obj, "metadata"), "namespace", "");
	const char *about = json_get_str(json_object_get(obj, "involvedObject"), "namespace", "");

	/* Events about objects without a namespace are kept in "default". */
	if (*about ? !streq(ns, about) : *ns && !streq(ns, "default"))
		fault_invalid(err, at_self("involvedObject.namespace"), about, "does not match event.namespace");
}

void lease__check_spec(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	int64_t duration = json_get_int(obj, "leaseDurationSeconds", 1);
	int64_t transitions = json_get_int(obj, "leaseTransitions", 0);

	if (duration <= 0)
		fault_invalid_int(err, at(path, "leaseDurationSeconds"), duration, "must be greater than 0");
	if (transitions < 0)
		fault_invalid_int(err, at(path, "leaseTransitions"), transitions, "must be greater than or equal to 0");
}

static void check_amounts(const json_t *node, const char *list, struct err *err)
{
	const char *name;
	json_t *v;

	json_object_foreach(json_path(node, "status", list, NULL), name, v)
	{
		struct quantity q;
		const char *text = json_string_value(v);
		if (text && quantity_parse(text, &q, NULL) == 0 && q.nano < 0)
			fault_invalid(err, at("status", "%s.%s", list, name), text,
				      "must be greater than or equal to 0");
	}
}

/* The phase follows from whether the namespace is being deleted. */
void namespace__check(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	const char *phase = json_get_str(json_object_get(obj, "status"), "phase", "");
	bool deleting = member_set(json_object_get(obj, "metadata"), "deletionTimestamp");

	if (!old || member_same(json_object_get(obj, "status"), json_object_get(old, "status"), "phase"))
		return;
	if (!deleting && !streq(phase, "Active"))
		fault_invalid(err, at_self("status.Phase"), phase,
			      "may only be 'Active' if `deletionTimestamp` is empty");
	else if (deleting && !streq(phase, "Terminating"))
		fault_invalid(err, at_self("status.Phase"), phase,
			      "may only be 'Terminating' if `deletionTimestamp` is not empty");
}

void node__check(const json_t *obj, const json_t *old, _unused_ const char *path, struct err *err)
{
	const json_t *spec = json_object_get(obj, "spec"), *old_spec = json_object_get(old, "spec");
	const json_t *taints = json_object_get(spec, "taints");
	_cleanup_map_ struct map seen = MAP_INIT;
	size_t i;
	json_t *t;

	json_array_foreach(taints, i, t)
	{
		const char *key = json_get_str(t, "key", ""), *effect = json_get_str(t, "effect", "");
		_cleanup_free_ char *both = xasprintf("%s\n%s", key, effect);
		if (seen_twice(&seen, both))
			err_add_cause(err, "FieldValueDuplicate", at("spec", "taints[%zu]", i).s,
				      "Duplicate value: core.Taint{Key:\"%s\", Value:\"%s\", Effect:\"%s\", "
				      "TimeAdded:<nil>}",
				      key, json_get_str(t, "value", ""), effect);
	}
	check_amounts(obj, "capacity", err);
	check_amounts(obj, "allocatable", err);
	if (member_set(old_spec, "podCIDR") && !member_same(spec, old_spec, "podCIDR"))
		fault_forbidden(err, at_self("spec.podCIDRs"),
				"node updates may not change podCIDR except from \"\" to valid");
	if (member_set(old_spec, "providerID") && !member_same(spec, old_spec, "providerID"))
		fault_forbidden(err, at_self("spec.providerID"),
				"node updates may not change providerID except from \"\" to valid");
}

/* ---- bodies of subresources ---- */

void binding__check(const json_t *obj, _unused_ const json_t *old, _unused_ const char *path, struct err *err)
{
	const json_t *target = json_object_get(obj, "target");
	const char *kind = json_get_str(target, "kind", "");

	if (*kind && !streq(kind, "Node"))
		fault_unsupported(err, at_self("target.kind"), kind, "\"Node\", \"<empty>\"");
	if (!*json_get_str(target, "name", ""))
		fault_required(err, at_self("target.name"), NULL);
}

void token_request__check_spec(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	int64_t seconds = json_get_int(obj, "expirationSeconds", 3600);

	if (seconds < 600)
		fault_invalid_int(err, at(path, "expirationSeconds"), seconds,
				  "may not specify a duration less than 10 minutes");
	else if (seconds > INT64_C(1) << 32)
		fault_invalid_int(err, at(path, "expirationSeconds"), seconds,
				  "may not specify a duration larger than 2^32 seconds");
}
