#include "apiserver/discovery.h"

#include "lib/net/http.h"

/* Rendered answers by path and form, made on first use. */
struct discovery {
	struct map blobs; /* "PATH" or "PATH;vN" -> struct blob */
};

static void blob_free(void *p)
{
	blob_unref(p);
}

void discovery_free(struct discovery *d)
{
	if (!d)
		return;
	map_done(&d->blobs);
	free(d);
}

static const struct {
	unsigned flag;
	const char *name;
} verbs[] = {{VERB_CREATE, "create"}, {VERB_DELETE, "delete"}, {VERB_DELETECOLLECTION, "deletecollection"},
	     {VERB_GET, "get"},       {VERB_LIST, "list"},     {VERB_PATCH, "patch"},
	     {VERB_UPDATE, "update"}, {VERB_WATCH, "watch"}};

static json_t *verb_list(unsigned mask)
{
	json_t *list = json_array();
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (mask & verbs[i].flag)
			json_array_append_new(list, json_string(verbs[i].name));
	return list;
}

static const struct {
	unsigned flag;
	const char *name, *group, *version, *kind; /* NULL: the parent's */
	unsigned verbs;
} subresources[] = {
	{KIND_SUB_ATTACH, "attach", "", "v1", "PodAttachOptions", VERB_CREATE | VERB_GET},
	{KIND_SUB_BINDING, "binding", "", "v1", "Binding", VERB_CREATE},
	{KIND_SUB_EVICTION, "eviction", "policy", "v1", "Eviction", VERB_CREATE},
	{KIND_SUB_EXEC, "exec", "", "v1", "PodExecOptions", VERB_CREATE | VERB_GET},
	{KIND_SUB_FINALIZE, "finalize", NULL, NULL, NULL, VERB_UPDATE},
	{KIND_SUB_LOG, "log", NULL, NULL, NULL, VERB_GET},
	{KIND_SUB_PORTFORWARD, "portforward", "", "v1", "PodPortForwardOptions", VERB_CREATE | VERB_GET},
	{KIND_SUB_SCALE, "scale", "autoscaling", "v1", "Scale", VERB_GET | VERB_PATCH | VERB_UPDATE},
	{KIND_SUB_STATUS, "status", NULL, NULL, NULL, VERB_GET | VERB_PATCH | VERB_UPDATE},
	{KIND_SUB_TOKEN, "token", "authentication.k8s.io", "v1", "TokenRequest", VERB_CREATE},
};

static json_t *string_list(const char *const *list)
{
	json_t *j = json_array();
	for (; list && *list; list++)
		json_array_append_new(j, json_string(*list));
	return j;
}

static bool in_version(const struct kind *k, const char *group, const char *version)
{
	return streq(k->group, group) && streq(k->version, version);
}

/* ---- the plain form: APIResourceList ---- */

static void add_plain(json_t *list, const struct kind *k)
{
	json_t *r = json_make("{s:s, s:s, s:b, s:s, s:o}", "name", k->plural, "singularName", k->singular, "namespaced",
			      k->namespaced, "kind", k->kind, "verbs", verb_list(k->verbs));
	if (k->short_names)
		json_put(r, "shortNames", string_list(k->short_names));
	if (k->categories)
		json_put(r, "categories", string_list(k->categories));
	json_array_append_new(list, r);
	for (size_t i = 0; i < ARRAY_LEN(subresources); i++) {
		if (!(k->subresources & subresources[i].flag))
			continue;
		_cleanup_free_ char *name = xasprintf("%s/%s", k->plural, subresources[i].name);
		r = json_make("{s:s, s:s, s:b, s:s, s:o}", "name", name, "singularName", "", "namespaced",
			      k->namespaced, "kind", subresources[i].kind ? subresources[i].kind : k->kind, "verbs",
			      verb_list(subresources[i].verbs));
		if (subresources[i].group) {
			json_put_str(r, "group", *subresources[i].group ? subresources[i].group : NULL);
			json_put_str(r, "version", subresources[i].version);
		}
		json_array_append_new(list, r);
	}
}

static json_t *resource_list(const char *group, const char *version)
{
	json_t *list = json_array();
	for (size_t i = 0; kinds_all[i]; i++)
		if (in_version(kinds_all[i], group, version))
			add_plain(list, kinds_all[i]);
	if (json_array_size(list) == 0) {
		json_decref(list);
		return NULL;
	}
	_cleanup_free_ char *gv = xasprintf("%s%s%s", group, *group ? "/" : "", version);
	return json_make("{s:s, s:s, s:s, s:o}", "kind", "APIResourceList", "apiVersion", "v1", "groupVersion", gv,
			 "resources", list);
}

/* Groups in the order of their first kind; the core group is not one of them. */
static json_t *group_of(const char *group)
{
	json_t *versions = json_array();
	for (size_t i = 0; kinds_all[i]; i++) {
		const struct kind *k = kinds_all[i];
		bool known = false;
		size_t j;
		json_t *v;
		json_array_foreach(versions, j, v) known |= streq(json_get_str(v, "version", ""), k->version);
		if (!streq(k->group, group) || known)
			continue;
		_cleanup_free_ char *gv = xasprintf("%s/%s", group, k->version);
		json_array_append_new(versions, json_make("{s:s, s:s}", "groupVersion", gv, "version", k->version));
	}
	if (json_array_size(versions) == 0) {
		json_decref(versions);
		return NULL;
	}
	return json_make("{s:s, s:o, s:O}", "name", group, "versions", versions, "preferredVersion",
			 json_array_get(versions, 0));
}

static json_t *group_names(void)
{
	json_t *names = json_array(), *v;
	for (size_t i = 0; kinds_all[i]; i++) {
		bool known = !*kinds_all[i]->group;
		size_t j;
		json_array_foreach(names, j, v) known |= streq(json_string_value(v), kinds_all[i]->group);
		if (!known)
			json_array_append_new(names, json_string(kinds_all[i]->group));
	}
	return names;
}

static json_t *group_list(void)
{
	_cleanup_json_ json_t *names = group_names();
	json_t *groups = json_array(), *v;
	size_t i;
	json_array_foreach(names, i, v) json_array_append_new(groups, group_of(json_string_value(v)));
	return json_make("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", groups);
}

static json_t *one_group(const char *group)
{
	json_t *g = *group ? group_of(group) : NULL;
	if (g) {
		json_put_str(g, "kind", "APIGroup");
		json_put_str(g, "apiVersion", "v1");
	}
	return g;
}

static json_t *core_versions(void)
{
	return json_make("{s:s, s:[s], s:[{s:s, s:s}]}", "kind", "APIVersions", "versions", "v1",
			 "serverAddressByClientCIDRs", "clientCIDR", "0.0.0.0/0", "serverAddress", "");
}

/* ---- the aggregated form: APIGroupDiscoveryList of apidiscovery.k8s.io ---- */

static json_t *response_kind(const struct kind *k, const char *group, const char *version, const char *kind)
{
	return json_make("{s:s, s:s, s:s}", "group", group ? group : k->group, "version",
			 version ? version : k->version, "kind", kind ? kind : k->kind);
}

static json_t *aggregated_resource(const struct kind *k)
{
	json_t *r = json_make("{s:s, s:o, s:s, s:s, s:o}", "resource", k->plural, "responseKind",
			      response_kind(k, NULL, NULL, NULL), "scope", k->namespaced ? "Namespaced" : "Cluster",
			      "singularResource", k->singular, "verbs", verb_list(k->verbs));
	if (k->short_names)
		json_put(r, "shortNames", string_list(k->short_names));
	if (k->categories)
		json_put(r, "categories", string_list(k->categories));
	for (size_t i = 0; i < ARRAY_LEN(subresources); i++) {
		if (!(k->subresources & subresources[i].flag))
			continue;
		json_array_append_new(json_need_array(r, "subresources"),
				      json_make("{s:s, s:o, s:o}", "subresource", subresources[i].name, "responseKind",
						response_kind(k, subresources[i].group, subresources[i].version,
							      subresources[i].kind),
						"verbs", verb_list(subresources[i].verbs)));
	}
	return r;
}

static json_t *aggregated_group(const char *group)
{
	json_t *resources = json_array();
	const char *version = "v1";
	for (size_t i = 0; kinds_all[i]; i++) {
		if (!streq(kinds_all[i]->group, group))
			continue;
		version = kinds_all[i]->version;
		json_array_append_new(resources, aggregated_resource(kinds_all[i]));
	}
	json_t *g = json_make("{s:{s:n}, s:[{s:s, s:s, s:o}]}", "metadata", "creationTimestamp", "versions", "version",
			      version, "freshness", "Current", "resources", resources);
	if (*group)
		json_put_str(json_object_get(g, "metadata"), "name", group);
	return g;
}

static json_t *aggregated(bool core, const char *version)
{
	json_t *items = json_array(), *v;
	if (core) {
		json_array_append_new(items, aggregated_group(""));
	} else {
		_cleanup_json_ json_t *names = group_names();
		size_t i;
		json_array_foreach(names, i, v) json_array_append_new(items, aggregated_group(json_string_value(v)));
	}
	_cleanup_free_ char *gv = xasprintf("apidiscovery.k8s.io/%s", version);
	return json_make("{s:s, s:s, s:{}, s:o}", "kind", "APIGroupDiscoveryList", "apiVersion", gv, "metadata",
			 "items", items);
}

/* ---- answering ---- */

/* The tree for a path; NULL: no such thing. */
static json_t *render(const char *path, const char *form)
{
	bool api = streq(path, "/api"), apis = streq(path, "/apis");
	if ((api || apis) && *form)
		return aggregated(api, form);
	if (api)
		return core_versions();
	if (apis)
		return group_list();
	if (streq(path, "/api/v1"))
		return resource_list("", "v1");
	if (!str_starts(path, "/apis/"))
		return NULL;
	char text[320];
	snprintf(text, sizeof(text), "%s", path + strlen("/apis/"));
	char *slash = strchr(text, '/');
	if (!slash)
		return one_group(text);
	*slash = 0;
	return strchr(slash + 1, '/') || !*text ? NULL : resource_list(text, slash + 1);
}

static const char *wanted_form(const struct request *r)
{
	const char *accept = r->http ? http_header(r->http, "Accept") : NULL;
	if (!accept || !strstr(accept, "as=APIGroupDiscoveryList"))
		return "";
	/* of the two it asks for, the one it names first */
	const char *v2 = strstr(accept, "v=v2;"), *beta = strstr(accept, "v=v2beta1");
	if (v2 && (!beta || v2 < beta))
		return "v2";
	return beta ? "v2beta1" : "v2";
}

bool discovery_answer(struct request *r)
{
	char path[320];
	size_t len = strlen(r->route.path);
	if (len >= sizeof(path))
		return false;
	memcpy(path, r->route.path, len + 1);
	while (len > 1 && path[len - 1] == '/')
		path[--len] = 0;
	const char *form = streq(path, "/api") || streq(path, "/apis") ? wanted_form(r) : "";
	struct apiserver *a = r->server;
	if (!a->discovery) {
		a->discovery = NEW(struct discovery);
		a->discovery->blobs.free_value = blob_free;
	}
	_cleanup_free_ char *key = xasprintf("%s;%s", path, form);
	struct blob *b = map_get(&a->discovery->blobs, key);
	if (!b) {
		_cleanup_json_ json_t *tree = render(path, form);
		if (!tree)
			return false;
		_cleanup_buf_ struct buf text = BUF_INIT;
		json_write(&text, tree);
		b = blob_new(text.data, text.len);
		map_set(&a->discovery->blobs, key, b);
	}
	struct buf out = BUF_INIT;
	buf_add(&out, b->data, b->len);
	result_bytes(r, &out,
		     streq(form, "v2") ? "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
		     : streq(form, "v2beta1")
			     ? "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
			     : "application/json",
		     200);
	return true;
}
