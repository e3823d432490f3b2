/* minictl create role, clusterrole, rolebinding, clusterrolebinding, token. */
#include <errno.h>

#include "cli/minictl/verbs.h"

struct rbac {
	struct ctl *c;
	const char *output, *dry_text, *name, *role, *clusterrole;
	struct strings verbs, resources, names, urls, users, groups, accounts;
};

static int send_object(struct rbac *r, const char *kind, json_t *obj, struct err *err)
{
	_cleanup_json_ json_t *mine = obj, *made = NULL;
	const struct kind *k = kind_by_kind("rbac.authorization.k8s.io", "v1", kind);
	struct output out = {0};
	struct change change = {.manager = "kubectl-create", .validation = "Strict"};
	int rc = output_parse(r->output, &out, err);
	if (rc == 0)
		rc = dry_run_parse(r->dry_text, &change.dry, err);
	if (rc < 0)
		return rc;
	put_type(k, mine);
	json_put_str(json_need_object(mine, "metadata"), "name", r->name);
	if (k->namespaced && (change.dry != DRY_CLIENT || r->c->ns))
		json_put_str(json_need_object(mine, "metadata"), "namespace", ctl_ns(r->c));
	if (change.dry != DRY_CLIENT)
		rc = change_create(r->c, &change, k, ctl_ns(r->c), mine, &made, err);
	if (rc < 0)
		return create_failed(k, err);
	return output_done(&out, k, made ? made : mine, keepf("created%s", dry_run_words(change.dry)), err);
}

static json_t *array_of(const struct strings *s)
{
	json_t *a = json_array();
	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(a, json_string(s->items[i]));
	return a;
}

/* "deployments.apps/scale": plural, group and subresource; words known to us may be short. */
static void resource_of(const char *text, const char **ret_group, const char **ret_resource)
{
	const char *slash = strchr(text, '/');
	const char *word = keepf("%.*s", (int)(slash ? slash - text : (ptrdiff_t)strlen(text)), text);
	const struct kind *k = kind_by_word(word);
	const char *dot = strchr(word, '.');
	*ret_group = k ? k->group : dot ? dot + 1 : "";
	const char *plural = k ? k->plural : keepf("%.*s", (int)strcspn(word, "."), word);
	*ret_resource = keepf("%s%s", plural, slash ? slash : "");
}

/* One rule for each group, as upstream. */
static json_t *rules_of(const struct rbac *r)
{
	json_t *rules = json_array();
	for (size_t i = 0; i < r->resources.n; i++) {
		const char *group, *resource;
		resource_of(r->resources.items[i], &group, &resource);
		json_t *rule = NULL, *e;
		size_t k;
		json_array_foreach(rules, k, e)
		{
			if (streq(json_string_value(json_array_get(json_object_get(e, "apiGroups"), 0)), group))
				rule = e;
		}
		if (!rule) {
			rule = json_make("{s:[s], s:[], s:o}", "apiGroups", group, "resources", "verbs",
					 array_of(&r->verbs));
			if (r->names.n)
				json_put(rule, "resourceNames", array_of(&r->names));
			json_array_append_new(rules, rule);
		}
		json_array_append_new(json_object_get(rule, "resources"), json_string(resource));
	}
	if (r->urls.n)
		json_array_append_new(rules, json_make("{s:o, s:o}", "nonResourceURLs", array_of(&r->urls), "verbs",
						       array_of(&r->verbs)));
	return rules;
}

static int role(struct ctl *c, int argc, char **argv, const char *kind, struct err *err)
{
	struct rbac r = {.c = c};
	const struct opt opts[] = {
		{"verb", 0, OPT_LIST, &r.verbs, NULL, "what it allows: get, list, watch, create, ..."},
		{"resource", 0, OPT_LIST, &r.resources, NULL, "on what: pods, deployments.apps, pods/log"},
		{"resource-name", 0, OPT_LIST, &r.names, NULL, "only those of this name"},
		{"non-resource-url", 0, OPT_LIST, &r.urls, NULL, "clusterrole: on these paths"},
		{"output", 'o', OPT_STR, &r.output, NULL, "print the object: yaml, json, name, ..."},
		{"dry-run", 0, OPT_STR, &r.dry_text, "unchanged", "none, client or server: make nothing"},
		OPTS_END,
	};
	struct args args = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1)
		return ctl_usage(err, "exactly one NAME is required, got %zu", args.pos.n);
	if (r.verbs.n == 0)
		return ctl_usage(err, "at least one verb must be specified");
	if (r.resources.n == 0 && r.urls.n == 0)
		return ctl_usage(err, "at least one resource must be specified");
	r.name = args.pos.items[0];
	return send_object(&r, kind, json_make("{s:{}, s:o}", "metadata", "rules", rules_of(&r)), err);
}

int verb_create_role(struct ctl *c, int argc, char **argv, struct err *err)
{
	return role(c, argc, argv, "Role", err);
}

int verb_create_clusterrole(struct ctl *c, int argc, char **argv, struct err *err)
{
	return role(c, argc, argv, "ClusterRole", err);
}

static int subjects_of(const struct rbac *r, json_t *out, struct err *err)
{
	const char *api = "rbac.authorization.k8s.io";
	for (size_t i = 0; i < r->users.n; i++)
		json_array_append_new(
			out, json_make("{s:s, s:s, s:s}", "apiGroup", api, "kind", "User", "name", r->users.items[i]));
	for (size_t i = 0; i < r->groups.n; i++)
		json_array_append_new(out, json_make("{s:s, s:s, s:s}", "apiGroup", api, "kind", "Group", "name",
						     r->groups.items[i]));
	for (size_t i = 0; i < r->accounts.n; i++) {
		const char *a = r->accounts.items[i], *colon = strchr(a, ':');
		if (!colon || colon == a || !colon[1])
			return ctl_usage(err, "serviceaccount must be <namespace>:<name>");
		json_array_append_new(out, json_make("{s:s, s:s, s:s}", "kind", "ServiceAccount", "name", colon + 1,
						     "namespace", keepf("%.*s", (int)(colon - a), a)));
	}
	return 0;
}

static int binding(struct ctl *c, int argc, char **argv, const char *kind, struct err *err)
{
	struct rbac r = {.c = c};
	const struct opt opts[] = {
		{"role", 0, OPT_STR, &r.role, NULL, "the Role"},
		{"clusterrole", 0, OPT_STR, &r.clusterrole, NULL, "the ClusterRole"},
		{"user", 0, OPT_LIST, &r.users, NULL, "who gets it: users"},
		{"group", 0, OPT_LIST, &r.groups, NULL, "groups"},
		{"serviceaccount", 0, OPT_LIST, &r.accounts, NULL, "NAMESPACE:NAME"},
		{"output", 'o', OPT_STR, &r.output, NULL, "print the object: yaml, json, name, ..."},
		{"dry-run", 0, OPT_STR, &r.dry_text, "unchanged", "none, client or server: make nothing"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_json_ json_t *subjects = json_array();
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1)
		return ctl_usage(err, "exactly one NAME is required, got %zu", args.pos.n);
	if (!r.role == !r.clusterrole)
		return ctl_usage(err, "exactly one of clusterrole or role must be specified");
	rc = subjects_of(&r, subjects, err);
	if (rc < 0)
		return rc;
	r.name = args.pos.items[0];
	return send_object(&r, kind,
			   json_make("{s:{}, s:{s:s, s:s, s:s}, s:O}", "metadata", "roleRef", "apiGroup",
				     "rbac.authorization.k8s.io", "kind", r.role ? "Role" : "ClusterRole", "name",
				     r.role ? r.role : r.clusterrole, "subjects", subjects),
			   err);
}

int verb_create_rolebinding(struct ctl *c, int argc, char **argv, struct err *err)
{
	return binding(c, argc, argv, "RoleBinding", err);
}

int verb_create_clusterrolebinding(struct ctl *c, int argc, char **argv, struct err *err)
{
	return binding(c, argc, argv, "ClusterRoleBinding", err);
}

int verb_create_token(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct strings audiences = {0};
	const char *duration = NULL;
	int64_t ms = 0;
	const struct opt opts[] = {
		{"audience", 0, OPT_LIST, &audiences, NULL, "whom the token is for"},
		{"duration", 0, OPT_STR, &duration, NULL, "how long it is good for"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_json_ json_t *got = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1)
		return ctl_usage(err, "exactly one NAME is required, got %zu", args.pos.n);
	if (duration && duration_parse(duration, &ms) < 0)
		return ctl_usage(err, "invalid argument \"%s\" for \"--duration\" flag", duration);
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:{}, s:{}}", "apiVersion", "authentication.k8s.io/v1",
						"kind", "TokenRequest", "metadata", "spec");
	json_t *spec = json_object_get(body, "spec");
	if (audiences.n)
		json_put(spec, "audiences", array_of(&audiences));
	if (duration)
		json_put_int(spec, "expirationSeconds", ms / 1000);
	rc = rest(c, "POST", path_of(kind_by_kind("", "v1", "ServiceAccount"), ctl_ns(c), args.pos.items[0], "token"),
		  NULL, NULL, body, &got, err);
	if (rc < 0) {
		err->reason = ERR_NONE;
		return err_prefix(err, "failed to create token");
	}
	puts(json_get_str(json_object_get(got, "status"), "token", ""));
	return 0;
}
