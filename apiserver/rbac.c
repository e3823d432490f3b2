#include "apiserver/rbac.h"

#include "lib/api/selector.h"

#define GRANT_MAX 5000u /* verbs times resources of what a user grants: each is looked for in the user's own rules */

/* Roles and bindings as they came; "ns/name" or "name". Trees are kept: they are few. */
struct rbac {
	struct map roles, cluster_roles, bindings, cluster_bindings;
	struct map subjects; /* "u:NAME", "g:NAME" -> struct grant_list; rebuilt when dirty */
	bool dirty;
};

/* One binding as seen from one subject. */
struct grant {
	const char *ns;     /* "" everywhere; borrowed */
	const json_t *role; /* of a Role or ClusterRole; borrowed */
};
struct grant_list {
	struct grant *grants;
	size_t n, cap;
};

static void tree_free(void *p)
{
	json_decref(p);
}

static void grants_free(void *p)
{
	struct grant_list *l = p;
	free(l->grants);
	free(l);
}

struct rbac *rbac_new(void)
{
	struct rbac *r = NEW(struct rbac);
	r->roles.free_value = r->cluster_roles.free_value = tree_free;
	r->bindings.free_value = r->cluster_bindings.free_value = tree_free;
	r->subjects.free_value = grants_free;
	return r;
}

void rbac_free(struct rbac *r)
{
	if (!r)
		return;
	map_done(&r->subjects);
	map_done(&r->roles);
	map_done(&r->cluster_roles);
	map_done(&r->bindings);
	map_done(&r->cluster_bindings);
	free(r);
}

void rbac_put(struct rbac *r, const struct kind *k, const char *ns, const char *name, const json_t *tree)
{
	struct map *m = streq(k->plural, "roles")                 ? &r->roles
			: streq(k->plural, "clusterroles")        ? &r->cluster_roles
			: streq(k->plural, "rolebindings")        ? &r->bindings
			: streq(k->plural, "clusterrolebindings") ? &r->cluster_bindings
								  : NULL;
	if (!m)
		return;
	_cleanup_free_ char *key = xasprintf("%s%s%s", ns, *ns ? "/" : "", name);
	if (tree)
		map_set(m, key, json_incref((json_t *)tree));
	else
		map_del(m, key);
	r->dirty = true;
}

/* ---- compiling ---- */

static void grant_to(struct rbac *r, const char *kind, const char *name, struct grant g)
{
	_cleanup_free_ char *key = xasprintf("%s:%s", kind, name);
	struct grant_list *l = map_get(&r->subjects, key);
	if (!l) {
		l = NEW(struct grant_list);
		map_set(&r->subjects, key, l);
	}
	GROW(l->grants, l->cap, l->n + 1);
	l->grants[l->n++] = g;
}

static const json_t *role_of(struct rbac *r, const json_t *binding, const char *ns)
{
	const json_t *ref = json_object_get(binding, "roleRef");
	const char *name = json_get_str(ref, "name", "");
	if (streq(json_get_str(ref, "kind", ""), "ClusterRole"))
		return map_get(&r->cluster_roles, name);
	_cleanup_free_ char *key = xasprintf("%s/%s", ns, name);
	return *ns ? map_get(&r->roles, key) : NULL;
}

static void compile_binding(struct rbac *r, const json_t *binding)
{
	const char *ns = meta_ns(binding);
	const json_t *role = role_of(r, binding, ns);
	if (!role)
		return;
	size_t i;
	json_t *s;
	json_array_foreach(json_object_get(binding, "subjects"), i, s)
	{
		const char *kind = json_get_str(s, "kind", ""), *name = json_get_str(s, "name", "");
		struct grant g = {ns, role};
		if (streq(kind, "User")) {
			grant_to(r, "u", name, g);
		} else if (streq(kind, "Group")) {
			grant_to(r, "g", name, g);
		} else if (streq(kind, "ServiceAccount")) {
			_cleanup_free_ char *user =
				xasprintf("system:serviceaccount:%s:%s", json_get_str(s, "namespace", ns), name);
			grant_to(r, "u", user, g);
		}
	}
}

static void compile(struct rbac *r)
{
	map_clear(&r->subjects);
	MAP_EACH (&r->cluster_bindings, e)
		compile_binding(r, e->value);
	MAP_EACH (&r->bindings, e)
		compile_binding(r, e->value);
	r->dirty = false;
}

/* ---- rules ---- */

static bool list_has(const json_t *list, const char *want)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);
		if (s && (streq(s, "*") || streq(s, want)))
			return true;
	}
	return false;
}

/* "pods", "pods/log", "*", "*" + "/scale". */
static bool resource_matches(const json_t *list, const char *resource, const char *sub)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);
		if (!s)
			continue;
		if (streq(s, "*"))
			return true;
		const char *slash = strchr(s, '/');
		size_t len = slash ? (size_t)(slash - s) : strlen(s);
		bool any = len == 1 && s[0] == '*';
		if (!any && (strlen(resource) != len || strncmp(s, resource, len) != 0))
			continue;
		if (slash ? streq(slash + 1, sub) : !*sub)
			return true;
	}
	return false;
}

static bool path_matches(const json_t *urls, const char *path)
{
	size_t i;
	json_t *v;
	json_array_foreach(urls, i, v)
	{
		const char *s = json_string_value(v);
		size_t len = s ? strlen(s) : 0;
		if (!s)
			continue;
		if (streq(s, path) || (len && s[len - 1] == '*' && strncmp(s, path, len - 1) == 0))
			return true;
	}
	return false;
}

static bool rule_allows(const json_t *rule, const struct authz_query *q)
{
	if (!list_has(json_object_get(rule, "verbs"), q->verb))
		return false;
	if (q->path)
		return path_matches(json_object_get(rule, "nonResourceURLs"), q->path);
	const json_t *names = json_object_get(rule, "resourceNames");
	if (json_array_size(names) > 0) {
		size_t i;
		json_t *v;
		bool named = false;
		json_array_foreach(names, i, v) named = named || (*q->name && streq(json_string_value(v), q->name));
		if (!named)
			return false;
	}
	return list_has(json_object_get(rule, "apiGroups"), q->group) &&
	       resource_matches(json_object_get(rule, "resources"), q->resource, q->subresource);
}

/* Walks the rules of a role, those of what it aggregates included, until fn says stop. */
typedef bool (*rule_fn)(const json_t *rule, void *arg);

/* An aggregated role's own rules are what the controller gathered; until it has, they are looked for here. */
static bool rules_each(struct rbac *r, const json_t *role, rule_fn fn, void *arg, int depth)
{
	size_t i, j;
	json_t *rule, *sel;
	json_array_foreach(json_object_get(role, "rules"), i, rule)
	{
		if (fn(rule, arg))
			return true;
	}
	if (depth > 4 || json_array_size(json_object_get(role, "rules")))
		return false;
	json_array_foreach(json_path(role, "aggregationRule", "clusterRoleSelectors", NULL), j, sel)
	{
		_cleanup_selector_ struct selector *s = NULL;
		if (selector_from_json(sel, &s, NULL) < 0)
			continue;
		MAP_EACH (&r->cluster_roles, e) {
			const json_t *other = e->value;
			if (other == role || !selector_matches(s, json_path(other, "metadata", "labels", NULL)))
				continue;
			if (rules_each(r, other, fn, arg, depth + 1))
				return true;
		}
	}
	return false;
}

/* All rules of a user in a namespace. */
static bool user_rules(struct rbac *r, const struct user *u, const char *ns, rule_fn fn, void *arg)
{
	if (r->dirty)
		compile(r);
	for (size_t i = 0; i <= u->n_groups; i++) {
		_cleanup_free_ char *key = xasprintf("%s:%s", i ? "g" : "u", i ? u->groups[i - 1] : u->name);
		const struct grant_list *l = map_get(&r->subjects, key);
		for (size_t j = 0; l && j < l->n; j++) {
			if (*l->grants[j].ns && !streq(l->grants[j].ns, ns))
				continue;
			if (rules_each(r, l->grants[j].role, fn, arg, 0))
				return true;
		}
	}
	return false;
}

static bool allows(const json_t *rule, void *arg)
{
	return rule_allows(rule, arg);
}

bool rbac_allowed(struct rbac *r, const struct user *u, const struct authz_query *q)
{
	return user_rules(r, u, q->path ? "" : q->ns, allows, (void *)q);
}

struct collect {
	json_t *resource, *nonresource;
};

static bool collect_rule(const json_t *rule, void *arg)
{
	struct collect *c = arg;
	json_t *to = json_object_get(rule, "nonResourceURLs") ? c->nonresource : c->resource;
	json_array_append(to, (json_t *)rule);
	return false;
}

void rbac_rules_of(struct rbac *r, const struct user *u, const char *ns, json_t *ret_resource, json_t *ret_nonresource)
{
	struct collect c = {ret_resource, ret_nonresource};
	user_rules(r, u, ns, collect_rule, &c);
}

/* ---- no escalation ---- */

/* Every single right of a rule must be held by some rule of the user's. */
struct cover {
	struct rbac *rbac;
	const struct user *user;
	const char *ns;
	const json_t *missing;
};

static const char *str_at(const json_t *list, size_t i)
{
	const char *s = json_string_value(json_array_get(list, i));
	return s ? s : "";
}

/* "*" of a rule is held only by "*": the query asks for the star itself, as a name nobody else has. */
static bool holds_resource(struct cover *c, const json_t *rule, const char *verb, const char *group, const char *res)
{
	char resource[300];
	snprintf(resource, sizeof(resource), "%s", res);
	char *slash = strchr(resource, '/');
	if (slash)
		*slash = 0;
	const json_t *names = json_object_get(rule, "resourceNames");
	size_t n = json_array_size(names);
	for (size_t i = 0; i < MAX(n, 1u); i++) {
		struct authz_query q = {.verb = verb,
					.group = group,
					.resource = resource,
					.subresource = slash ? slash + 1 : "",
					.ns = c->ns,
					.name = n ? str_at(names, i) : ""};
		if (!rbac_allowed(c->rbac, c->user, &q))
			return false;
	}
	return true;
}

static bool rule_covered(struct cover *c, const json_t *rule)
{
	const json_t *verbs = json_object_get(rule, "verbs"), *urls = json_object_get(rule, "nonResourceURLs");
	const json_t *groups = json_object_get(rule, "apiGroups"), *res = json_object_get(rule, "resources");
	for (size_t v = 0; v < json_array_size(verbs); v++) {
		for (size_t u = 0; u < json_array_size(urls); u++) {
			struct authz_query q = {.verb = str_at(verbs, v), .path = str_at(urls, u)};
			if (!rbac_allowed(c->rbac, c->user, &q))
				return false;
		}
		for (size_t g = 0; g < json_array_size(groups); g++)
			for (size_t i = 0; i < json_array_size(res); i++)
				if (!holds_resource(c, rule, str_at(verbs, v), str_at(groups, g), str_at(res, i)))
					return false;
	}
	return true;
}

static bool uncovered(const json_t *rule, void *arg)
{
	struct cover *c = arg;
	if (rule_covered(c, rule))
		return false;
	c->missing = rule;
	return true;
}

static bool count_rights(const json_t *rule, void *arg)
{
	size_t *n = arg, names = json_array_size(json_object_get(rule, "resourceNames"));
	size_t resources = json_array_size(json_object_get(rule, "apiGroups")) *
			   json_array_size(json_object_get(rule, "resources")) * MAX(names, 1u);
	*n += json_array_size(json_object_get(rule, "verbs")) *
	      (json_array_size(json_object_get(rule, "nonResourceURLs")) + resources);
	return *n > GRANT_MAX;
}

/* What gathers rules from whatever comes to match can be had by those only who hold everything. */
static bool everything_covered(struct cover *c, const json_t *role)
{
	if (!json_object_get(role, "aggregationRule"))
		return true;
	_cleanup_json_ json_t *all = json_make("{s:[s], s:[s], s:[s], s:[s]}", "verbs", "*", "apiGroups", "*",
					       "resources", "*", "nonResourceURLs", "*");
	return rule_covered(c, all);
}

/* The garbage collector takes finalizers and owners away; that grants nothing. */
static bool same_but_for_collection(const json_t *tree, const json_t *old)
{
	static const char *const of_collection[] = {"finalizers", "ownerReferences", "resourceVersion"};
	_cleanup_json_ json_t *a = json_deep_copy(tree), *b = old ? json_deep_copy(old) : NULL;
	for (size_t i = 0; i < ARRAY_LEN(of_collection); i++) {
		json_object_del(json_object_get(a, "metadata"), of_collection[i]);
		json_object_del(json_object_get(b, "metadata"), of_collection[i]);
	}
	return b && json_equal(a, b);
}

int rbac_may_grant(struct request *r, const json_t *tree, const json_t *old)
{
	struct rbac *rbac = r->server->rbac;
	size_t rights = 0;
	if (!streq(r->kind->group, "rbac.authorization.k8s.io") || user_in_group(r->user, "system:masters") ||
	    same_but_for_collection(tree, old))
		return 0;
	bool binding = json_object_get(tree, "roleRef") != NULL;
	const json_t *ref = json_object_get(tree, "roleRef");
	const json_t *role = binding ? role_of(rbac, tree, r->route.ns) : tree;
	struct authz_query may = {.verb = binding ? "bind" : "escalate",
				  .group = r->kind->group,
				  .resource = !binding                                              ? r->kind->plural
					      : streq(json_get_str(ref, "kind", ""), "ClusterRole") ? "clusterroles"
												    : "roles",
				  .subresource = "",
				  .ns = r->route.ns,
				  .name = binding ? json_get_str(ref, "name", "") : r->route.name};
	if (rbac_allowed(rbac, r->user, &may))
		return 0;
	if (!role)
		return err_status(&r->err, ERR_NOT_FOUND, "%s.%s \"%s\" not found", may.resource, may.group, may.name);
	if (rules_each(rbac, role, count_rights, &rights, 0))
		return fail_forbidden(r,
				      "it holds more than %u rights, too many to look whether user \"%s\" holds each",
				      GRANT_MAX, r->user->name);
	struct cover c = {rbac, r->user, r->route.ns, NULL};
	if (!binding && !everything_covered(&c, role))
		return fail_forbidden(r, "must have cluster-admin privileges to use an aggregationRule");
	if (!rules_each(rbac, role, uncovered, &c, 0))
		return 0;
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, c.missing);
	return fail_forbidden(r, "user \"%s\" is attempting to grant RBAC permissions not currently held:\n%.500s",
			      r->user->name, buf_str(&text));
}
