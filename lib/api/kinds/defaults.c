/* Defaults that follow from other fields. Each runs after the tables' defaults of its object, and may run again. */

#include "lib/api/kinds/hooks.h"

#include "lib/core/util.h"

/* ---- pods ---- */

/* Whether an image names no tag, or the tag that moves: then a node asks the registry every time. */
static bool image_moves(const char *image)
{
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image;
	const char *digest = strchr(name, '@'), *colon = strchr(name, ':');

	if (digest && colon > digest)
		colon = NULL; /* the one inside the digest */
	if (!colon)
		return !digest;
	size_t len = digest ? (size_t)(digest - colon) - 1 : strlen(colon + 1);
	return len == strlen("latest") && strncmp(colon + 1, "latest", len) == 0;
}

void container__default(json_t *obj)
{
	if (!*json_get_str(obj, "imagePullPolicy", ""))
		json_put_str(obj, "imagePullPolicy",
			     image_moves(json_get_str(obj, "image", "")) ? "Always" : "IfNotPresent");
}

void volume__default(json_t *obj)
{
	const char *key;
	json_t *v;

	json_object_foreach(obj, key, v) if (!streq(key, "name") && !json_is_null(v)) return;
	json_put(obj, "emptyDir", json_object());
}

/* serviceAccount is the old name of serviceAccountName; readers of either are served. */
void pod_spec__default(json_t *obj)
{
	const char *name = json_get_str(obj, "serviceAccountName", "");

	if (!*name)
		name = json_get_str(obj, "serviceAccount", "");
	if (!*name)
		return;
	_cleanup_free_ char *copy = xstrdup(name);
	json_put_str(obj, "serviceAccountName", copy);
	json_put_str(obj, "serviceAccount", copy);
}

/* A limit without a request asks for as much as it allows. */
static void requests_from_limits(json_t *resources)
{
	json_t *limits = json_object_get(resources, "limits"), *requests, *v;
	const char *name;

	if (!json_object_size(limits))
		return;
	requests = json_need_object(resources, "requests");
	json_object_foreach(limits, name, v) if (!json_object_get(requests, name))
		json_object_set_new(requests, name, json_deep_copy(v));
}

static void default_containers(json_t *containers, bool host_network)
{
	size_t i, j;
	json_t *c, *p;

	json_array_foreach(containers, i, c)
	{
		json_t *resources = json_object_get(c, "resources");
		if (json_is_object(resources))
			requests_from_limits(resources);
		if (!host_network)
			continue;
		json_array_foreach(json_object_get(c, "ports"), j, p) if (!json_get_int(p, "hostPort", 0))
			json_put_int(p, "hostPort", json_get_int(p, "containerPort", 0));
	}
}

/* What a pod gets but a template does not. */
void pod__default(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec");

	if (!json_is_object(spec))
		return;
	if (!json_is_boolean(json_object_get(spec, "enableServiceLinks")))
		json_put_bool(spec, "enableServiceLinks", true);
	bool host_network = json_get_bool(spec, "hostNetwork", false);
	default_containers(json_object_get(spec, "containers"), host_network);
	default_containers(json_object_get(spec, "initContainers"), host_network);
}

/* ---- nodes, namespaces, secrets ---- */

void node__default(json_t *obj)
{
	json_t *status = json_object_get(obj, "status"), *capacity = json_object_get(status, "capacity");

	if (capacity && !json_object_get(status, "allocatable"))
		json_put(status, "allocatable", json_deep_copy(capacity));
}

void namespace__default(json_t *obj)
{
	json_t *meta = json_object_get(obj, "metadata");
	const char *name = json_get_str(meta, "name", "");

	if (*name)
		json_put_str(json_need_object(meta, "labels"), "kubernetes.io/metadata.name", name);
}

/* stringData is for writing only: it goes into data and is not kept. */
void secret__default(json_t *obj)
{
	json_t *plain = json_object_get(obj, "stringData"), *v;
	const char *key;

	if (json_is_object(plain) && json_object_size(plain)) {
		json_t *data = json_need_object(obj, "data");
		json_object_foreach(plain, key, v)
		{
			_cleanup_free_ char *text = base64_encode(json_string_value(v), json_string_length(v));
			json_put_str(data, key, text);
		}
	}
	json_put(obj, "stringData", NULL);
}

/* ---- services ---- */

static bool type_is(const json_t *spec, const char *type)
{
	return streq(json_get_str(spec, "type", ""), type);
}

void service__default_port(json_t *obj)
{
	json_t *target = json_object_get(obj, "targetPort");
	bool unset = !target || json_is_null(target) || (json_is_integer(target) && !json_integer_value(target)) ||
		     (json_is_string(target) && !*json_string_value(target));

	if (unset && json_get_int(obj, "port", 0))
		json_put_int(obj, "targetPort", json_get_int(obj, "port", 0));
}

/* The addresses themselves are allocated by the API server; their family is known here, as there is only one. */
static void default_families(json_t *spec)
{
	if (!json_object_get(spec, "ipFamilies"))
		json_put(spec, "ipFamilies", json_make("[s]", "IPv4"));
	if (!json_object_get(spec, "ipFamilyPolicy"))
		json_put_str(spec, "ipFamilyPolicy", "SingleStack");
}

void service__default_spec(json_t *obj)
{
	bool external = type_is(obj, "NodePort") || type_is(obj, "LoadBalancer") ||
			(type_is(obj, "ClusterIP") && json_array_size(json_object_get(obj, "externalIPs")));

	if (type_is(obj, "ExternalName"))
		return;
	if (external && !*json_get_str(obj, "externalTrafficPolicy", ""))
		json_put_str(obj, "externalTrafficPolicy", "Cluster");
	if (!json_object_get(obj, "internalTrafficPolicy"))
		json_put_str(obj, "internalTrafficPolicy", "Cluster");
	if (type_is(obj, "LoadBalancer") && !json_object_get(obj, "allocateLoadBalancerNodePorts"))
		json_put_bool(obj, "allocateLoadBalancerNodePorts", true);
	if (streq(json_get_str(obj, "sessionAffinity", ""), "ClientIP")) {
		json_t *client = json_need_object(json_need_object(obj, "sessionAffinityConfig"), "clientIP");
		if (!json_object_get(client, "timeoutSeconds"))
			json_put_int(client, "timeoutSeconds", 10800);
	}
	default_families(obj);
}

/* ---- workloads, roles ---- */

void deployment__default_strategy(json_t *obj)
{
	if (!type_is(obj, "RollingUpdate"))
		return;
	json_t *rolling = json_need_object(obj, "rollingUpdate");
	if (!json_object_get(rolling, "maxUnavailable"))
		json_put_str(rolling, "maxUnavailable", "25%");
	if (!json_object_get(rolling, "maxSurge"))
		json_put_str(rolling, "maxSurge", "25%");
}

void rbac__default_binding(json_t *obj)
{
	json_t *ref = json_object_get(obj, "roleRef"), *s;
	size_t i;

	if (json_is_object(ref) && !*json_get_str(ref, "apiGroup", ""))
		json_put_str(ref, "apiGroup", "rbac.authorization.k8s.io");
	json_array_foreach(json_object_get(obj, "subjects"), i, s)
	{
		const char *kind = json_get_str(s, "kind", "");
		if (!*json_get_str(s, "apiGroup", "") && (streq(kind, "User") || streq(kind, "Group")))
			json_put_str(s, "apiGroup", "rbac.authorization.k8s.io");
	}
}
