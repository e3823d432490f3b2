/* A container's environment: services first, then envFrom, then env, later ones winning; and $(NAME) expansion. */
#include <ctype.h>

#include "lib/api/quantity.h"
#include "nodeagent/pod.h"

#define ENV_MAX 4096 /* variables of one container */

static void env_set(struct env_list *l, const char *name, char *value_owned)
{
	for (size_t i = 0; i < l->n; i++) {
		if (streq(l->vars[i].name, name)) {
			free((char *)l->vars[i].value);
			l->vars[i].value = value_owned;
			return;
		}
	}
	if (l->n >= ENV_MAX) {
		free(value_owned);
		return;
	}
	GROW(l->vars, l->cap, l->n + 2);
	l->vars[l->n++] = (struct runtime_env_var){xstrdup(name), value_owned};
	l->vars[l->n] = (struct runtime_env_var){0};
}

void env_list_done(struct env_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free((char *)l->vars[i].name);
		free((char *)l->vars[i].value);
	}
	free(l->vars);
	*l = (struct env_list){0};
}

static const char *env_find(const struct env_list *l, const char *name, size_t len)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strlen(l->vars[i].name) == len && memcmp(l->vars[i].name, name, len) == 0)
			return l->vars[i].value;
	}
	return NULL;
}

char *pod_env_expand(const char *text, const struct env_list *l)
{
	struct buf out = BUF_INIT;
	for (const char *s = text; *s;) {
		const char *end;
		if (s[0] == '$' && s[1] == '$') {
			buf_addc(&out, '$');
			s += 2;
		} else if (s[0] == '$' && s[1] == '(' && (end = strchr(s, ')'))) {
			const char *value = env_find(l, s + 2, (size_t)(end - s) - 2);
			if (value)
				buf_adds(&out, value);
			else /* an unknown one stays as it is written */
				buf_add(&out, s, (size_t)(end - s) + 1);
			s = end + 1;
		} else {
			buf_addc(&out, *s++);
		}
	}
	return buf_steal(&out);
}

/* ---- services ---- */

static char *env_name(const char *s)
{
	char *out = xstrdup(s);
	for (char *p = out; *p; p++)
		*p = *p == '-' || *p == '.' ? '_' : (char)toupper((unsigned char)*p);
	return out;
}

static void service_vars(struct env_list *l, const json_t *svc)
{
	const char *ip = json_get_str(json_object_get(svc, "spec"), "clusterIP", "");
	if (!*ip || streq(ip, "None"))
		return;
	_cleanup_free_ char *prefix = env_name(meta_name(svc));
	char name[400];
	size_t i;
	json_t *port;
	json_array_foreach(json_path(svc, "spec", "ports", NULL), i, port)
	{
		int64_t num = json_get_int(port, "port", 0);
		const char *proto = json_get_str(port, "protocol", "TCP");
		const char *port_name = json_get_str(port, "name", "");
		_cleanup_free_ char *lower = xstrdup(proto);
		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (i == 0) {
			snprintf(name, sizeof(name), "%s_SERVICE_HOST", prefix);
			env_set(l, name, xstrdup(ip));
			snprintf(name, sizeof(name), "%s_SERVICE_PORT", prefix);
			env_set(l, name, xasprintf("%lld", (long long)num));
			snprintf(name, sizeof(name), "%s_PORT", prefix);
			env_set(l, name, xasprintf("%s://%s:%lld", lower, ip, (long long)num));
		}
		if (*port_name) {
			_cleanup_free_ char *upper = env_name(port_name);
			snprintf(name, sizeof(name), "%s_SERVICE_PORT_%s", prefix, upper);
			env_set(l, name, xasprintf("%lld", (long long)num));
		}
		snprintf(name, sizeof(name), "%s_PORT_%lld_%s", prefix, (long long)num, proto);
		env_set(l, name, xasprintf("%s://%s:%lld", lower, ip, (long long)num));
		size_t base = strlen(name);
		snprintf(name + base, sizeof(name) - base, "_PROTO");
		env_set(l, name, xstrdup(lower));
		snprintf(name + base, sizeof(name) - base, "_PORT");
		env_set(l, name, xasprintf("%lld", (long long)num));
		snprintf(name + base, sizeof(name) - base, "_ADDR");
		env_set(l, name, xstrdup(ip));
	}
}

static void services_env(struct pod *p, const json_t *spec, struct env_list *l)
{
	struct informer *inf = p->n->services_informer;
	struct object *api = informer_find(inf, "default", "kubernetes");
	if (api) {
		_cleanup_json_ json_t *tree = object_tree(api);
		service_vars(l, tree);
	}
	if (!json_get_bool(spec, "enableServiceLinks", true))
		return;
	_cleanup_free_ struct object **list = NULL;
	size_t n = informer_list(inf, p->ns, &list);
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *tree = object_tree(list[i]);
		service_vars(l, tree);
	}
}

/* ---- fields of the pod ---- */

static char *map_lines(const json_t *map)
{
	struct buf out = BUF_INIT;
	struct map sorted = MAP_INIT;
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)map, key, v) map_set(&sorted, key, v);
	_cleanup_free_ struct map_entry **list = map_sorted(&sorted);
	for (uint32_t i = 0; i < sorted.count; i++) {
		_cleanup_json_ json_t *text = json_incref(list[i]->value);
		if (i)
			buf_addc(&out, '\n');
		buf_addf(&out, "%s=", list[i]->key);
		json_write(&out, text);
	}
	map_done(&sorted);
	return buf_steal(&out);
}

/* metadata.labels['key'] */
static bool subscript(const char *path, const char *prefix, char ret_key[400])
{
	size_t n = strlen(prefix), len = strlen(path);
	if (!str_starts(path, prefix) || len < n + 4 || path[n] != '[' || path[len - 1] != ']')
		return false;
	if (path[n + 1] != '\'' || path[len - 2] != '\'')
		return false;
	snprintf(ret_key, 400, "%.*s", (int)(len - n - 4), path + n + 2);
	return true;
}

char *pod_field(struct pod *p, const json_t *t, const char *path, struct err *err)
{
	char key[400];
	const char *v = NULL;
	if (streq(path, "metadata.name"))
		v = p->name;
	else if (streq(path, "metadata.namespace"))
		v = p->ns;
	else if (streq(path, "metadata.uid"))
		v = p->uid;
	else if (streq(path, "metadata.labels"))
		return map_lines(json_path(t, "metadata", "labels", NULL));
	else if (streq(path, "metadata.annotations"))
		return map_lines(json_path(t, "metadata", "annotations", NULL));
	else if (subscript(path, "metadata.labels", key))
		v = meta_label(t, key) ? meta_label(t, key) : "";
	else if (subscript(path, "metadata.annotations", key))
		v = meta_annotation(t, key) ? meta_annotation(t, key) : "";
	else if (streq(path, "spec.nodeName"))
		v = p->n->node_name;
	else if (streq(path, "spec.serviceAccountName"))
		v = json_get_str(json_object_get(t, "spec"), "serviceAccountName", "default");
	else if (streq(path, "status.hostIP") || streq(path, "status.hostIPs"))
		v = p->n->node_ip;
	else if (streq(path, "status.podIP") || streq(path, "status.podIPs"))
		v = p->ip;
	if (v)
		return xstrdup(v);
	err_set(err, -EINVAL, "unsupported fieldPath: %s", path);
	return NULL;
}

char *pod_resource_field(struct nodeagent *n, const json_t *cspec, const char *resource, const char *divisor,
			 struct err *err)
{
	const char *dot = strchr(resource, '.');
	const char *which = str_starts(resource, "limits.") ? "limits" : "requests";
	if (!dot || (!str_starts(resource, "limits.") && !str_starts(resource, "requests."))) {
		err_set(err, -EINVAL, "unsupported container resource : %s", resource);
		return NULL;
	}
	const char *name = dot + 1;
	bool cpu = streq(name, "cpu");
	int64_t v = container_resource(cspec, which, name);
	if (v < 0 && streq(which, "limits")) /* no limit: what the node has */
		v = cpu ? n->cpu_milli : streq(name, "memory") ? n->memory_bytes : n->disk_bytes;
	v = MAX(v, 0);
	int64_t div = 0;
	if (!str_empty(divisor) && !streq(divisor, "0"))
		div = cpu ? quantity_milli_of(divisor, 0) : quantity_value_of(divisor, 0);
	if (div <= 0)
		div = cpu ? 1000 : 1;
	return xasprintf("%lld", (long long)((v + div - 1) / div));
}

/* ---- env and envFrom ---- */

/* The object behind a reference: 0 with *ret_obj (NULL: absent but optional), -EAGAIN while it loads. */
static int ref_object(struct pod *p, const struct kind *kind, const char *name, bool optional, struct object **ret_obj,
		      struct err *err)
{
	const char *word = kind == p->n->kind_secret ? "secret" : "configmap";
	for (size_t i = 0; i < p->n_refs; i++) {
		struct ref *r = p->refs[i];
		if (r->kind != kind || !streq(r->name, name))
			continue;
		if (r->state == REF_LOADING)
			return -EAGAIN;
		if (r->state == REF_FAILED)
			return err_set(err, -EIO, "%s", r->problem);
		if (r->state == REF_ABSENT && !optional)
			return err_set(err, -ENOENT, "%s \"%s\" not found", word, name);
		*ret_obj = r->state == REF_FOUND ? r->obj : NULL;
		return 0;
	}
	return -EAGAIN;
}

static char *data_value(const json_t *tree, bool secret, const char *key)
{
	const char *plain = json_string_value(json_path(tree, "data", key, NULL));
	if (!secret)
		return plain ? xstrdup(plain) : NULL;
	uint8_t *raw = NULL;
	size_t len = 0;
	if (!plain || base64_decode(plain, strlen(plain), &raw, &len) < 0)
		return NULL;
	char *s = xstrndup((char *)raw, len);
	free(raw);
	return s;
}

static int env_from(struct pod *p, const json_t *source, struct env_list *l, struct err *err)
{
	const char *prefix = json_get_str(source, "prefix", "");
	bool secret = json_object_get(source, "secretRef") != NULL;
	const json_t *ref = json_object_get(source, secret ? "secretRef" : "configMapRef");
	struct object *obj = NULL;
	int rc = ref_object(p, secret ? p->n->kind_secret : p->n->kind_configmap, json_get_str(ref, "name", ""),
			    json_get_bool(ref, "optional", false), &obj, err);
	if (rc < 0 || !obj)
		return rc;
	_cleanup_json_ json_t *tree = object_tree(obj);
	const char *key;
	json_t *v;
	json_object_foreach(json_object_get(tree, "data"), key, v)
	{
		_cleanup_free_ char *name = xasprintf("%s%s", prefix, key);
		char *value = data_value(tree, secret, key);
		if (value && *name && !strchr(name, '='))
			env_set(l, name, value);
		else
			free(value);
	}
	return 0;
}

static int key_ref(struct pod *p, const json_t *sel, bool secret, char **ret, struct err *err)
{
	bool optional = json_get_bool(sel, "optional", false);
	const char *name = json_get_str(sel, "name", ""), *key = json_get_str(sel, "key", "");
	struct object *obj = NULL;
	int rc = ref_object(p, secret ? p->n->kind_secret : p->n->kind_configmap, name, optional, &obj, err);
	if (rc < 0 || !obj)
		return rc;
	_cleanup_json_ json_t *tree = object_tree(obj);
	*ret = data_value(tree, secret, key);
	if (!*ret && !optional)
		return err_set(err, -ENOENT, "couldn't find key %s in %s %s/%s", key, secret ? "Secret" : "ConfigMap",
			       p->ns, name);
	return 0;
}

static const json_t *spec_of(const json_t *pod_tree, const char *name)
{
	static const char *const lists[] = {"containers", "initContainers"};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach(json_path(pod_tree, "spec", lists[l], NULL), i, c)
		{
			if (streq(json_get_str(c, "name", ""), name))
				return c;
		}
	}
	return NULL;
}

/* *ret stays NULL when an optional source is absent: the variable is left out. */
static int value_from(struct pod *p, const json_t *tree, const json_t *cspec, const json_t *from, char **ret,
		      struct err *err)
{
	const json_t *sel;
	if ((sel = json_object_get(from, "fieldRef"))) {
		*ret = pod_field(p, tree, json_get_str(sel, "fieldPath", ""), err);
		return *ret ? 0 : -EINVAL;
	}
	if ((sel = json_object_get(from, "resourceFieldRef"))) {
		const char *other = json_get_str(sel, "containerName", "");
		const json_t *of = *other ? spec_of(tree, other) : cspec;
		*ret = pod_resource_field(p->n, of, json_get_str(sel, "resource", ""), json_get_str(sel, "divisor", ""),
					  err);
		return *ret ? 0 : -EINVAL;
	}
	if ((sel = json_object_get(from, "configMapKeyRef")))
		return key_ref(p, sel, false, ret, err);
	if ((sel = json_object_get(from, "secretKeyRef")))
		return key_ref(p, sel, true, ret, err);
	return 0;
}

int pod_env_make(struct pod_container *c, const json_t *tree, const json_t *cspec, struct env_list *ret,
		 struct err *err)
{
	struct pod *p = c->pod;
	env_set(ret, "HOSTNAME", p->host_network ? xstrdup(p->n->node_name) : pod_hostname(tree));
	services_env(p, json_object_get(tree, "spec"), ret);
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(cspec, "envFrom"), i, v)
	{
		int rc = env_from(p, v, ret, err);
		if (rc < 0)
			return rc;
	}
	json_array_foreach(json_object_get(cspec, "env"), i, v)
	{
		const char *name = json_get_str(v, "name", "");
		const json_t *from = json_object_get(v, "valueFrom");
		if (!from) {
			env_set(ret, name, pod_env_expand(json_get_str(v, "value", ""), ret));
			continue;
		}
		char *value = NULL;
		int rc = value_from(p, tree, cspec, from, &value, err);
		if (rc < 0)
			return rc;
		if (value)
			env_set(ret, name, value);
	}
	return 0;
}
