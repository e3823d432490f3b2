/* Rules of one container that its own fields decide: environment, probes, hooks, resources, security. */

#include "lib/api/kinds/check_pod.h"
#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"
#include "lib/api/quantity.h"
#include "lib/api/schema.h"

/* ---- environment ---- */

static const char *const env_sources[] = {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"};

void container__check_env(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	if (member_set(obj, "valueFrom") && *json_get_str(obj, "value", ""))
		fault_invalid(err, at(path, "valueFrom"), "", "may not be specified when `value` is not empty");
}

static bool has_subscript(const char *field, const char *of)
{
	size_t n = strlen(of), len = strlen(field);
	return strncmp(field, of, n) == 0 && str_starts(field + n, "['") && len > n + 4 && str_ends(field, "']");
}

static void check_field_ref(const json_t *ref, const char *path, struct err *err)
{
	static const char *const known[] = {
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
	const char *field = json_get_str(ref, "fieldPath", "");

	if (!*field || has_subscript(field, "metadata.labels") || has_subscript(field, "metadata.annotations"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (streq(field, known[i]))
			return;
	fault_unsupported(err, at(path, "fieldRef.fieldPath"), field,
			  "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
			  "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", "
			  "\"status.podIPs\"");
}

void container__check_resource_ref(const json_t *ref, const char *path, struct err *err)
{
	const char *name = json_get_str(ref, "resource", "");
	const char *of = str_starts(name, "limits.") ? name + 7 : str_starts(name, "requests.") ? name + 9 : "";

	if (!*name || streq(of, "cpu") || streq(of, "memory") || streq(of, "ephemeral-storage") ||
	    str_starts(of, "hugepages-"))
		return;
	fault_unsupported(err, at(path, "resourceFieldRef.resource"), name,
			  "\"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", "
			  "\"requests.ephemeral-storage\", \"requests.memory\"");
}

void container__check_env_source(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(env_sources); i++)
		n += member_set(obj, env_sources[i]);
	if (n == 0)
		fault_invalid(
			err, at_self(path), "",
			"must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
	else if (n > 1)
		fault_invalid(err, at_self(path), "", "may not have more than one field specified at a time");
	if (member_set(obj, "fieldRef"))
		check_field_ref(json_object_get(obj, "fieldRef"), path, err);
	if (member_set(obj, "resourceFieldRef"))
		container__check_resource_ref(json_object_get(obj, "resourceFieldRef"), path, err);
	for (size_t i = 2; i < ARRAY_LEN(env_sources); i++)
		if (member_set(obj, env_sources[i]) && !*json_get_str(json_object_get(obj, env_sources[i]), "name", ""))
			fault_required(err, at(path, "%s.name", env_sources[i]), NULL);
}

void container__check_env_from(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	static const char *const sources[] = {"configMapRef", "secretRef"};
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		if (!member_set(obj, sources[i]))
			continue;
		n++;
		if (!*json_get_str(json_object_get(obj, sources[i]), "name", ""))
			fault_required(err, at(path, "%s.name", sources[i]), NULL);
	}
	if (n == 0)
		fault_invalid(err, at_self(path), "", "must specify one of: `configMapRef` or `secretRef`");
	else if (n > 1)
		fault_invalid(err, at_self(path), "", "may not have more than one field specified at a time");
}

/* ---- probes and hooks ---- */

/* Exactly one of the handlers. */
static void check_handler(const json_t *obj, const char *path, const char *const *handlers, struct err *err)
{
	int n = 0;

	for (; *handlers; handlers++)
		if (member_set(obj, *handlers) && n++)
			fault_forbidden(err, at(path, "%s", *handlers), "may not specify more than 1 handler type");
	if (!n)
		fault_required(err, at_self(path), "must specify a handler type");
}

void container__check_probe(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	static const char *const handlers[] = {"exec", "httpGet", "tcpSocket", "grpc", NULL};
	check_handler(obj, path, handlers, err);
}

void container__check_lifecycle(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	static const char *const handlers[] = {"exec", "httpGet", "tcpSocket", "sleep", NULL};
	static const char *const hooks[] = {"postStart", "preStop"};

	for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
		if (member_set(obj, hooks[i]))
			check_handler(json_object_get(obj, hooks[i]), at(path, "%s", hooks[i]).s, handlers, err);
}

/* ---- resources ---- */

static bool get_quantity(const json_t *list, const char *name, struct quantity *ret, char text[64])
{
	const json_t *v = json_object_get(list, name);

	if (json_is_integer(v))
		snprintf(text, 64, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else
		snprintf(text, 64, "%s", json_is_string(v) ? json_string_value(v) : "");
	return v && quantity_parse(text, ret, NULL) == 0;
}

static bool is_standard_resource(const char *name)
{
	return streq(name, "cpu") || streq(name, "memory") || streq(name, "ephemeral-storage") ||
	       str_starts(name, "hugepages-");
}

/* Resources of others' naming are whole things: none is promised twice. */
static bool may_overcommit(const char *name)
{
	return strchr(name, '/') ? str_starts(name, "kubernetes.io/") : !str_starts(name, "hugepages-");
}

static void check_resource_list(const json_t *list, struct at where, struct err *err)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)list, name, v)
	{
		struct quantity q;
		char text[64];

		if (!strchr(name, '/') && !is_standard_resource(name)) {
			fault_invalid(err, at(where.s, "[%s]", name), name,
				      "must be a standard resource type or fully qualified");
			fault_invalid(err, at(where.s, "[%s]", name), name,
				      "must be a standard resource for containers");
		}
		if (!get_quantity(list, name, &q, text))
			continue;
		if (q.nano < 0)
			fault_invalid(err, at(where.s, "[%s]", name), text, "must be greater than or equal to 0");
		if (!may_overcommit(name) && q.nano % 1000000000 != 0)
			fault_invalid(err, at(where.s, "[%s]", name), text, "must be an integer");
	}
}

static void check_request(const json_t *requests, const json_t *limits, const char *name, const char *path,
			  struct err *err)
{
	struct quantity request, limit;
	char request_text[64], limit_text[64], why[400];
	bool loose = may_overcommit(name);

	if (!get_quantity(requests, name, &request, request_text))
		return;
	if (!get_quantity(limits, name, &limit, limit_text)) {
		if (!loose)
			fault_required(err, at(path, "limits"), "Limit must be set for non overcommitable resources");
		return;
	}
	int cmp = quantity_cmp(&request, &limit);
	if (loose ? cmp <= 0 : cmp == 0)
		return;
	snprintf(why, sizeof(why), "must be %s to %.200s limit of %s", loose ? "less than or equal" : "equal", name,
		 limit_text);
	fault_invalid(err, at(path, "requests"), request_text, why);
}

void resources__check(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	const json_t *limits = json_object_get(obj, "limits"), *requests = json_object_get(obj, "requests");
	const char *name;
	json_t *v;

	check_resource_list(limits, at(path, "limits"), err);
	check_resource_list(requests, at(path, "requests"), err);
	json_object_foreach((json_t *)requests, name, v) check_request(requests, limits, name, path, err);
}

/* ---- the container ---- */

void container__check_security(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	const json_t *caps = json_path(obj, "capabilities", "add", NULL), *c;
	bool sys_admin = false;

	for (size_t i = 0; (c = json_array_get(caps, i)); i++)
		sys_admin = sys_admin || streq(json_string_value(c), "CAP_SYS_ADMIN");
	if (!member_set(obj, "allowPrivilegeEscalation") || json_get_bool(obj, "allowPrivilegeEscalation", false))
		return;
	if (json_get_bool(obj, "privileged", false))
		fault_invalid_raw(err, at_self(path), "{}",
				  "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
	if (sys_admin)
		fault_invalid_raw(
			err, at_self(path), "{}",
			"cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
}

static void check_image(const json_t *obj, const char *path, struct err *err)
{
	const char *image = json_get_str(obj, "image", "");
	size_t n = strlen(image);

	if (!n)
		fault_required(err, at(path, "image"), NULL);
	else if (strchr(" \t\r\n", image[0]) || strchr(" \t\r\n", image[n - 1]))
		fault_invalid(err, at(path, "image"), image, "must not have leading or trailing whitespace");
}

static void check_port_names(const json_t *ports, const char *path, struct err *err)
{
	_cleanup_map_ struct map seen = MAP_INIT;
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p)
	{
		const char *name = json_get_str(p, "name", "");
		if (*name && seen_twice(&seen, name))
			fault_duplicate(err, at(path, "ports[%zu].name", i), name);
	}
}

static void check_thresholds(const json_t *obj, const char *path, struct err *err)
{
	static const char *const probes[] = {"livenessProbe", "startupProbe"};

	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		int64_t n = json_get_int(json_object_get(obj, probes[i]), "successThreshold", 1);
		if (n > 1)
			fault_invalid_int(err, at(path, "%s.successThreshold", probes[i]), n, "must be 1");
	}
}

static void check_propagation(const json_t *obj, const char *path, struct err *err)
{
	size_t i;
	json_t *m;

	if (json_get_bool(json_object_get(obj, "securityContext"), "privileged", false))
		return;
	json_array_foreach(json_object_get(obj, "volumeMounts"), i, m)
	{
		if (streq(json_get_str(m, "mountPropagation", ""), "Bidirectional"))
			fault_forbidden(err, at(path, "volumeMounts[%zu].mountPropagation", i),
					"Bidirectional mount propagation is available only to privileged containers");
	}
}

void container__check(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	check_image(obj, path, err);
	check_port_names(json_object_get(obj, "ports"), path, err);
	check_thresholds(obj, path, err);
	check_propagation(obj, path, err);
	if (member_set(json_object_get(obj, "readinessProbe"), "terminationGracePeriodSeconds"))
		fault_invalid_int(
			err, at(path, "readinessProbe.terminationGracePeriodSeconds"),
			json_get_int(json_object_get(obj, "readinessProbe"), "terminationGracePeriodSeconds", 0),
			"must not be set for readinessProbes");
}
