/* minictl config: looks at and changes the kubeconfig file. */
#include <errno.h>
#include <sys/stat.h>

#include "cli/minictl/table.h"
#include "cli/minictl/verbs.h"
#include "lib/core/file.h"

#define CONFIG_MAX (1u << 20)

static int load(struct ctl *c, json_t **ret, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	_cleanup_json_ json_t *docs = NULL;
	const char *path = ctl_config_path(c);
	if (!file_exists(path)) {
		if (c->kubeconfig)
			return ctl_usage(err, "stat %s: no such file or directory", path);
		*ret = json_make("{s:s, s:n, s:n, s:s, s:s, s:{}, s:n}", "apiVersion", "v1", "clusters", "contexts",
				 "current-context", "", "kind", "Config", "preferences", "users");
		return 0;
	}
	int rc = file_read(path, CONFIG_MAX, &text, err);
	if (rc == 0)
		rc = yaml_parse_all(buf_str(&text), text.len, path, &docs, err);
	if (rc < 0) {
		err->reason = ERR_NONE;
		return rc;
	}
	if (!json_is_object(json_array_get(docs, 0)))
		return ctl_usage(err, "%s: not a kubeconfig", path);
	*ret = json_incref(json_array_get(docs, 0));
	return 0;
}

static int save(struct ctl *c, const json_t *doc, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	yaml_write(&text, doc);
	return file_write_atomic(ctl_config_path(c), buf_str(&text), text.len, 0600, err);
}

static json_t *named(const json_t *doc, const char *list, const char *name)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(doc, list), i, e)
	{
		if (streq(json_get_str(e, "name", ""), name))
			return e;
	}
	return NULL;
}

static const char *current(const struct ctl *c, const json_t *doc)
{
	return c->context ? c->context : json_get_str(doc, "current-context", "");
}

/* ---- view ---- */

static void hide(json_t *doc)
{
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(doc, "clusters"), i, e)
	{
		json_t *cluster = json_object_get(e, "cluster");
		if (json_object_get(cluster, "certificate-authority-data"))
			json_put_str(cluster, "certificate-authority-data", "DATA+OMITTED");
	}
	json_array_foreach(json_object_get(doc, "users"), i, e)
	{
		json_t *user = json_object_get(e, "user");
		static const char *const omitted[] = {"client-certificate-data", "client-key-data"};
		for (size_t k = 0; k < ARRAY_LEN(omitted); k++) {
			if (json_object_get(user, omitted[k]))
				json_put_str(user, omitted[k], "DATA+OMITTED");
		}
		if (json_object_get(user, "token"))
			json_put_str(user, "token", "REDACTED");
		if (json_object_get(user, "password"))
			json_put_str(user, "password", "REDACTED");
	}
}

static void keep_only(json_t *doc, const char *list, const char *name)
{
	json_t *found = named(doc, list, name), *one = json_array();
	if (found)
		json_array_append(one, found);
	json_put(doc, list, one);
}

static int minify(const struct ctl *c, json_t *doc, struct err *err)
{
	const char *name = keepf("%s", current(c, doc));
	const json_t *ctx = json_object_get(named(doc, "contexts", name), "context");
	if (!ctx)
		return ctl_usage(err, "cannot locate context %s", name);
	keep_only(doc, "clusters", keepf("%s", json_get_str(ctx, "cluster", "")));
	keep_only(doc, "users", keepf("%s", json_get_str(ctx, "user", "")));
	keep_only(doc, "contexts", name);
	json_put_str(doc, "current-context", name);
	return 0;
}

int verb_config_view(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool raw = false, small = false, flatten = false;
	const char *form = NULL;
	const struct opt opts[] = {
		{"raw", 0, OPT_BOOL, &raw, NULL, "with keys and certificates"},
		{"minify", 0, OPT_BOOL, &small, NULL, "only what the current context needs"},
		{"flatten", 0, OPT_BOOL, &flatten, NULL, NULL},
		{"output", 'o', OPT_STR, &form, NULL, "yaml, json, jsonpath=..."},
		OPTS_END,
	};
	struct args args = {0};
	struct output out = {0};
	_cleanup_json_ json_t *doc = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = output_parse(form ? form : "yaml", &out, err);
	if (rc == 0)
		rc = load(c, &doc, err);
	if (rc == 0 && small)
		rc = minify(c, doc, err);
	if (rc < 0)
		return rc;
	if (!raw)
		hide(doc);
	return output_print(&out, doc, err);
}

/* ---- contexts ---- */

int verb_config_current_context(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	_cleanup_json_ json_t *doc = NULL;
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = load(c, &doc, err);
	if (rc < 0)
		return rc;
	const char *name = json_get_str(doc, "current-context", "");
	if (!*name)
		return ctl_usage(err, "current-context is not set");
	puts(name);
	return 0;
}

int verb_config_get_contexts(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool no_headers = false;
	const char *form = NULL;
	const struct opt opts[] = {
		{"no-headers", 0, OPT_BOOL, &no_headers, NULL, "without the line of column names"},
		{"output", 'o', OPT_STR, &form, NULL, "name"},
		OPTS_END,
	};
	static const char *const names[] = {"CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"};
	struct args args = {0};
	_cleanup_json_ json_t *doc = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = load(c, &doc, err);
	if (rc < 0)
		return rc;
	struct table t;
	_cleanup_buf_ struct buf text = BUF_INIT;
	table_init(&t, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names) && !no_headers; i++)
		table_cell(&t, names[i]);
	for (size_t i = 0; i < args.pos.n; i++) {
		struct err e = ERR_INIT;
		if (named(doc, "contexts", args.pos.items[i]))
			continue;
		ctl_usage(&e, "context %s not found", args.pos.items[i]);
		ctl_fail(c, &e, NULL);
	}
	size_t i;
	json_t *e;
	json_array_foreach(json_object_get(doc, "contexts"), i, e)
	{
		const char *name = json_get_str(e, "name", "");
		const json_t *ctx = json_object_get(e, "context");
		bool wanted = args.pos.n == 0;
		for (size_t k = 0; k < args.pos.n; k++)
			wanted = wanted || streq(args.pos.items[k], name);
		if (!wanted)
			continue;
		if (streq(form, "name"))
			puts(name);
		table_cell(&t, streq(name, current(c, doc)) ? "*" : "");
		table_cell(&t, name);
		table_cell(&t, json_get_str(ctx, "cluster", ""));
		table_cell(&t, json_get_str(ctx, "user", ""));
		table_cell(&t, json_get_str(ctx, "namespace", ""));
	}
	table_print(&t, &text);
	table_done(&t);
	if (!streq(form, "name"))
		fputs(buf_str(&text), stdout);
	return c->failures > 0;
}

int verb_config_use_context(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct args args = {0};
	_cleanup_json_ json_t *doc = NULL;
	int rc = args_parse(c, NULL, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1)
		return ctl_usage(err, "Unexpected args: exactly one context name is needed");
	rc = load(c, &doc, err);
	if (rc < 0)
		return rc;
	if (!named(doc, "contexts", args.pos.items[0]))
		return ctl_usage(err, "no context exists with the name: \"%s\"", args.pos.items[0]);
	json_put_str(doc, "current-context", args.pos.items[0]);
	rc = save(c, doc, err);
	if (rc == 0)
		printf("Switched to context \"%s\".\n", args.pos.items[0]);
	return rc;
}

int verb_config_set_context(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool the_current = false;
	const struct opt opts[] = {{"current", 0, OPT_BOOL, &the_current, NULL, "change the current context"},
				   OPTS_END};
	struct args args = {0};
	_cleanup_json_ json_t *doc = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != (the_current ? 0 : 1))
		return ctl_usage(err, "you must specify a non-empty context name or --current");
	rc = load(c, &doc, err);
	if (rc < 0)
		return rc;
	const char *name = the_current ? keepf("%s", json_get_str(doc, "current-context", "")) : args.pos.items[0];
	if (!*name)
		return ctl_usage(err, "no current context is set");
	json_t *entry = named(doc, "contexts", name);
	bool made = !entry;
	if (made) {
		if (!json_is_array(json_object_get(doc, "contexts")))
			json_put(doc, "contexts", json_array());
		entry = json_make("{s:s, s:{s:s, s:s}}", "name", name, "context", "cluster", "", "user", "");
		json_array_append_new(json_object_get(doc, "contexts"), entry);
	}
	json_t *ctx = json_need_object(entry, "context");
	if (c->cluster)
		json_put_str(ctx, "cluster", c->cluster);
	if (c->user)
		json_put_str(ctx, "user", c->user);
	if (c->ns)
		json_put_str(ctx, "namespace", c->ns);
	rc = save(c, doc, err);
	if (rc == 0)
		printf("Context \"%s\" %s.\n", name, made ? "created" : "modified");
	return rc;
}
