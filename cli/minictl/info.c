/* What the server is and serves: cluster-info, api-resources, api-versions, auth, top. */
#include <errno.h>

#include "cli/minictl/table.h"
#include "cli/minictl/verbs.h"

/* ---- api-resources, api-versions ---- */

static bool verbs_contain(const json_t *verbs, const struct strings *wanted)
{
	for (size_t i = 0; i < wanted->n; i++) {
		size_t k;
		json_t *v;
		bool found = false;
		json_array_foreach(verbs, k, v) found = found || streq(json_string_value(v), wanted->items[i]);
		if (!found)
			return false;
	}
	return true;
}

struct listing {
	struct table table;
	struct strings verbs;
	const char *form, *namespaced, *group;
	bool group_given;
};

static void join(const json_t *list, struct buf *out)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) buf_addf(out, "%s%s", i ? "," : "", json_string_value(v));
}

static void list_resources(struct listing *l, const json_t *doc, const char *api_version)
{
	size_t i;
	json_t *r;
	const char *slash = strchr(api_version, '/');
	const char *group = slash ? keepf("%.*s", (int)(slash - api_version), api_version) : "";
	json_array_foreach(json_object_get(doc, "resources"), i, r)
	{
		const char *name = json_get_str(r, "name", "");
		bool namespaced = json_get_bool(r, "namespaced", false);
		_cleanup_buf_ struct buf shorts = BUF_INIT, verbs = BUF_INIT;
		if (strchr(name, '/') || !verbs_contain(json_object_get(r, "verbs"), &l->verbs))
			continue;
		if ((l->namespaced && streq(l->namespaced, "true") != namespaced) ||
		    (l->group_given && !streq(l->group, group)))
			continue;
		if (streq(l->form, "name")) {
			printf("%s%s%s\n", name, *group ? "." : "", group);
			continue;
		}
		join(json_object_get(r, "shortNames"), &shorts);
		join(json_object_get(r, "verbs"), &verbs);
		table_cell(&l->table, name);
		table_cell(&l->table, buf_str(&shorts));
		table_cell(&l->table, api_version);
		table_cell(&l->table, namespaced ? "true" : "false");
		table_cell(&l->table, json_get_str(r, "kind", ""));
		if (streq(l->form, "wide"))
			table_cell(&l->table, buf_str(&verbs));
	}
}

/* All group versions: core first, then each group's preferred one. */
static int group_versions(struct ctl *c, bool all, struct strings *ret, struct err *err)
{
	_cleanup_json_ json_t *groups = NULL;
	size_t i, k;
	json_t *g, *v;
	int rc = rest_get(c, "/apis", &groups, err);
	if (rc < 0)
		return rc;
	strings_add(ret, "v1");
	json_array_foreach(json_object_get(groups, "groups"), i, g)
	{
		if (!all) {
			strings_add(ret, keepf("%s", json_get_str(json_object_get(g, "preferredVersion"),
								  "groupVersion", "")));
			continue;
		}
		json_array_foreach(json_object_get(g, "versions"), k, v)
			strings_add(ret, keepf("%s", json_get_str(v, "groupVersion", "")));
	}
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int verb_api_resources(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct listing l = {0};
	bool no_headers = false;
	const struct opt opts[] = {
		{"output", 'o', OPT_STR, &l.form, NULL, "wide or name"},
		{"verbs", 0, OPT_LIST, &l.verbs, NULL, "only those with all these verbs"},
		{"namespaced", 0, OPT_STR, &l.namespaced, "true", "only those in namespaces (or =false: the others)"},
		{"api-group", 0, OPT_STR, &l.group, NULL, "only those of this group"},
		{"no-headers", 0, OPT_BOOL, &no_headers, NULL, "without the line of column names"},
		OPTS_END,
	};
	static const char *const names[] = {"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS"};
	struct args args = {0};
	struct strings versions = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	l.group_given = l.group != NULL;
	rc = group_versions(c, false, &versions, err);
	if (rc < 0)
		return rc;
	unsigned n = streq(l.form, "wide") ? 6 : 5;
	table_init(&l.table, n);
	for (unsigned i = 0; i < n && !no_headers; i++)
		table_cell(&l.table, names[i]);
	qsort(versions.items + 1, versions.n - 1, sizeof(*versions.items), by_text); /* core comes first */
	for (size_t i = 0; rc == 0 && i < versions.n; i++) {
		_cleanup_json_ json_t *doc = NULL;
		rc = rest_get(c, keepf("/%s/%s", i ? "apis" : "api", versions.items[i]), &doc, err);
		if (rc == 0)
			list_resources(&l, doc, versions.items[i]);
	}
	_cleanup_buf_ struct buf out = BUF_INIT;
	table_print(&l.table, &out);
	table_done(&l.table);
	if (rc == 0 && !streq(l.form, "name"))
		fputs(buf_str(&out), stdout);
	return rc;
}

int verb_api_versions(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	struct strings versions = {0};
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = group_versions(c, true, &versions, err);
	if (rc < 0)
		return rc;
	qsort(versions.items, versions.n, sizeof(*versions.items), by_text);
	for (size_t i = 0; i < versions.n; i++)
		puts(versions.items[i]);
	return 0;
}

int verb_cluster_info(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	_cleanup_json_ json_t *version = NULL;
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n)
		return ctl_usage(err, "cluster-info %s is not supported by this version of minictl", args.pos.items[0]);
	rc = rest_get(c, "/version", &version, err);
	if (rc == 0)
		printf("Kubernetes control plane is running at %s\n\nTo look closer, use 'minictl get nodes' and 'minictl get events -A'.\n",
		       c->config.server);
	return rc;
}

/* ---- auth ---- */

static int can_list(struct ctl *c, struct err *err)
{
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:{s:s}}", "apiVersion", "authorization.k8s.io/v1", "kind",
						"SelfSubjectRulesReview", "spec", "namespace", ctl_ns(c)),
			      *got = NULL;
	int rc = rest(c, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", NULL, NULL, body, &got, err);
	if (rc < 0)
		return rc;
	static const char *const names[] = {"Resources", "Non-Resource URLs", "Resource Names", "Verbs"};
	struct table t;
	size_t i, k;
	json_t *rule, *r;
	table_init(&t, ARRAY_LEN(names));
	for (i = 0; i < ARRAY_LEN(names); i++)
		table_cell(&t, names[i]);
	const json_t *status = json_object_get(got, "status");
	json_array_foreach(json_object_get(status, "resourceRules"), i, rule)
	{
		_cleanup_buf_ struct buf verbs = BUF_INIT, only = BUF_INIT;
		const char *group = json_string_value(json_array_get(json_object_get(rule, "apiGroups"), 0));
		join(json_object_get(rule, "verbs"), &verbs);
		join(json_object_get(rule, "resourceNames"), &only);
		json_array_foreach(json_object_get(rule, "resources"), k, r)
		{
			table_cell(&t, keepf("%s%s%s", json_string_value(r), str_empty(group) ? "" : ".",
					     str_empty(group) ? "" : group));
			table_cell(&t, "[]");
			table_cell(&t, keepf("[%s]", buf_str(&only)));
			table_cell(&t, keepf("[%s]", buf_str(&verbs)));
		}
	}
	json_array_foreach(json_object_get(status, "nonResourceRules"), i, rule)
	{
		_cleanup_buf_ struct buf verbs = BUF_INIT, urls = BUF_INIT;
		join(json_object_get(rule, "verbs"), &verbs);
		join(json_object_get(rule, "nonResourceURLs"), &urls);
		table_cell(&t, "");
		table_cell(&t, keepf("[%s]", buf_str(&urls)));
		table_cell(&t, "[]");
		table_cell(&t, keepf("[%s]", buf_str(&verbs)));
	}
	_cleanup_buf_ struct buf out = BUF_INIT;
	table_print(&t, &out);
	table_done(&t);
	fputs(buf_str(&out), stdout);
	return 0;
}

static json_t *can_attributes(struct ctl *c, const char *verb, const char *what, const char *name, const char *sub,
			      bool all_ns)
{
	const char *slash = strchr(what, '/');
	const char *word = slash ? keepf("%.*s", (int)(slash - what), what) : what;
	const struct kind *k = kind_by_word(word);
	const char *dot = strchr(word, '.');
	if (!k && !streq(word, "*"))
		fprintf(stderr, "Warning: the server doesn't have a resource type '%s'\n\n", word);
	if (k && !k->namespaced && !all_ns && c->ns)
		fprintf(stderr, "Warning: resource '%s' is not namespace scoped\n\n", k->plural);
	json_t *a = json_make("{s:s, s:s, s:s, s:s}", "verb", verb, "group",
			      k     ? k->group
			      : dot ? dot + 1
				    : "",
			      "resource", k ? k->plural : keepf("%.*s", (int)strcspn(word, "."), word), "namespace",
			      all_ns || (k && !k->namespaced) ? "" : ctl_ns(c));
	json_put_str(a, "name", slash ? slash + 1 : name);
	json_put_str(a, "subresource", sub);
	return a;
}

int verb_auth_can_i(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool list = false, all_ns = false, quiet = false;
	const char *sub = NULL;
	const struct opt opts[] = {
		{"list", 0, OPT_BOOL, &list, NULL, "all that one may"},
		{"all-namespaces", 'A', OPT_BOOL, &all_ns, NULL, "in all namespaces"},
		{"quiet", 'q', OPT_BOOL, &quiet, NULL, "only the exit code"},
		{"subresource", 0, OPT_STR, &sub, NULL, "such as log or status"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_json_ json_t *got = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (list)
		return can_list(c, err);
	if (args.pos.n < 2 || args.pos.n > 3)
		return ctl_usage(
			err,
			"you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'minictl auth can-i -h' "
			"for help and examples.");
	const char *verb = args.pos.items[0], *what = args.pos.items[1],
		   *name = args.pos.n > 2 ? args.pos.items[2] : NULL;
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:{}}", "apiVersion", "authorization.k8s.io/v1", "kind",
						"SelfSubjectAccessReview", "spec");
	json_t *spec = json_object_get(body, "spec");
	if (*what == '/')
		json_put(spec, "nonResourceAttributes", json_make("{s:s, s:s}", "path", what, "verb", verb));
	else
		json_put(spec, "resourceAttributes", can_attributes(c, verb, what, name, sub, all_ns));
	rc = rest(c, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", NULL, NULL, body, &got, err);
	if (rc < 0)
		return rc;
	bool yes = json_get_bool(json_object_get(got, "status"), "allowed", false);
	const char *reason = json_get_str(json_object_get(got, "status"), "reason", "");
	if (!quiet)
		printf("%s%s%s\n", yes ? "yes" : "no", *reason && !yes ? " - " : "", *reason && !yes ? reason : "");
	return yes ? 0 : 1;
}

int verb_auth_whoami(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *form = NULL;
	const struct opt opts[] = {{"output", 'o', OPT_STR, &form, NULL, "yaml or json"}, OPTS_END};
	struct args args = {0};
	struct output out = {0};
	_cleanup_json_ json_t *got = NULL, *body = json_make("{s:s, s:s}", "apiVersion", "authentication.k8s.io/v1",
							     "kind", "SelfSubjectReview");
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = output_parse(form, &out, err);
	if (rc == 0)
		rc = rest(c, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", NULL, NULL, body, &got, err);
	if (rc < 0)
		return rc;
	if (out.form != OUT_DEFAULT)
		return output_print(&out, got, err);
	const json_t *info = json_path(got, "status", "userInfo", NULL);
	_cleanup_buf_ struct buf groups = BUF_INIT, text = BUF_INIT;
	size_t i;
	json_t *g;
	json_array_foreach(json_object_get(info, "groups"), i, g)
		buf_addf(&groups, "%s%s", i ? " " : "", json_string_value(g));
	struct table t;
	table_init(&t, 2);
	const char *const cells[] = {"ATTRIBUTE", "VALUE", "Username", json_get_str(info, "username", ""),
				     "Groups",    NULL};
	for (i = 0; cells[i]; i++)
		table_cell(&t, cells[i]);
	table_cell(&t, keepf("[%s]", buf_str(&groups)));
	table_print(&t, &text);
	table_done(&t);
	fputs(buf_str(&text), stdout);
	return 0;
}

/* ---- top ---- */

int verb_top(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool all_ns = false;
	const struct opt opts[] = {{"all-namespaces", 'A', OPT_BOOL, &all_ns, NULL, "in all namespaces"}, OPTS_END};
	struct args args = {0};
	_cleanup_json_ json_t *list = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	const struct kind *k = args.pos.n ? kind_by_word(args.pos.items[0]) : NULL;
	if (!k || (!streq(k->kind, "Pod") && !streq(k->kind, "Node")))
		return ctl_usage(err, "top shows pods or nodes: minictl %s", c->command->usage);
	bool pods = streq(k->kind, "Pod");
	const char *ns = pods && !all_ns ? keepf("/namespaces/%s", ctl_ns(c)) : "";
	rc = rest_get(c, keepf("/apis/metrics.k8s.io/v1beta1%s/%s", ns, k->plural), &list, err);
	if (rc < 0 && err->reason == ERR_NOT_FOUND) {
		err_done(err);
		return ctl_usage(err, "Metrics API not available");
	}
	if (rc < 0)
		return rc;
	struct output out = {
		.form = OUT_COLUMNS,
		.arg = pods ? "NAME:.metadata.name,CPU:.containers[*].usage.cpu,MEMORY:.containers[*].usage.memory"
			    : "NAME:.metadata.name,CPU:.usage.cpu,MEMORY:.usage.memory"};
	return output_print(&out, list, err);
}
