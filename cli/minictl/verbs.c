#include "cli/minictl/verbs.h"

#include <errno.h>

#include "lib/api/selector.h"

int dry_run_parse(const char *text, enum dry_run *ret, struct err *err)
{
	if (!text || streq(text, "none") || streq(text, "false"))
		*ret = DRY_NONE;
	else if (streq(text, "client") || streq(text, "unchanged"))
		*ret = DRY_CLIENT;
	else if (streq(text, "server"))
		*ret = DRY_SERVER;
	else
		return ctl_usage(err, "Invalid dry-run value (%s). Must be \"none\", \"server\", or \"client\".", text);
	return 0;
}

const char *dry_run_words(enum dry_run d)
{
	return d == DRY_CLIENT ? " (dry run)" : d == DRY_SERVER ? " (server dry run)" : "";
}

int validate_parse(const char *text, const char **ret, struct err *err)
{
	if (!text || streq(text, "true") || streq(text, "strict"))
		*ret = "Strict";
	else if (streq(text, "warn"))
		*ret = "Warn";
	else if (streq(text, "false") || streq(text, "ignore"))
		*ret = "Ignore";
	else
		return ctl_usage(
			err,
			"invalid - validate option \"%s\"; must be one of: strict (or true), warn, ignore (or false)",
			text);
	return 0;
}

static char *change_query(const struct change *ch, char *path)
{
	path = with_query(path, "dryRun", ch->dry == DRY_SERVER ? "All" : NULL);
	path = with_query(path, "fieldManager", ch->manager);
	return with_query(path, "fieldValidation", ch->validation);
}

int change_create(struct ctl *c, const struct change *ch, const struct kind *k, const char *ns, const json_t *obj,
		  json_t **ret, struct err *err)
{
	return rest(c, "POST", change_query(ch, path_of(k, ns, NULL, NULL)), NULL, NULL, obj, ret, err);
}

/* As upstream: most generators put their own words before the server's and lose its reason. */
int create_failed(const struct kind *k, struct err *err)
{
	static const char *const bare[] = {"Namespace", "Role", "ClusterRole"};
	for (size_t i = 0; i < ARRAY_LEN(bare); i++) {
		if (streq(k->kind, bare[i]))
			return err->code;
	}
	if (err->reason != ERR_NONE) {
		err->reason = ERR_NONE;
		err_prefix(err, "failed to create %s", k->singular);
	}
	return err->code;
}

int change_update(struct ctl *c, const struct change *ch, const struct item *it, const json_t *obj, json_t **ret,
		  struct err *err)
{
	return rest(c, "PUT", change_query(ch, path_of(it->kind, it->ns, it->name, NULL)), NULL, NULL, obj, ret, err);
}

int change_patch(struct ctl *c, const struct change *ch, const struct item *it, const char *subresource,
		 const char *content_type, const json_t *patch, json_t **ret, struct err *err)
{
	char *path = change_query(ch, path_of(it->kind, it->ns, it->name, subresource));
	return rest(c, "PATCH", path, NULL, content_type, patch, ret, err);
}

const char *selector_of(const json_t *obj)
{
	_cleanup_selector_ struct selector *s = NULL;
	const json_t *sel = json_path(obj, "spec", "selector", NULL);
	if (!json_is_object(sel))
		return NULL;
	if (streq(json_get_str(obj, "kind", ""), "Service"))
		s = selector_from_map(sel);
	else if (selector_from_json(sel, &s, NULL) < 0)
		return NULL;
	return keep(selector_str(s));
}

int pods_of(struct ctl *c, const struct item *it, json_t **ret_pods, struct err *err)
{
	_cleanup_json_ json_t *obj = NULL, *list = NULL;
	int rc = get_item(c, it, &obj, err);
	if (rc < 0)
		return rc;
	if (streq(it->kind->kind, "Pod")) {
		*ret_pods = json_array();
		json_array_append(*ret_pods, obj);
		return 0;
	}
	const char *selector = selector_of(obj);
	if (!selector)
		return ctl_usage(err, "cannot attach to or read logs of a %s: it selects no pods", kind_word(it->kind));
	const struct kind *pod = kind_by_kind("", "v1", "Pod");
	rc = rest_list(c, with_query(path_of(pod, it->ns, NULL, NULL), "labelSelector", selector), NULL, &list, err);
	if (rc == 0)
		*ret_pods = json_incref(json_object_get(list, "items"));
	return rc;
}

static bool pod_ready(const json_t *pod)
{
	size_t i;
	json_t *cond;
	json_array_foreach(json_path(pod, "status", "conditions", NULL), i, cond)
	{
		if (streq(json_get_str(cond, "type", ""), "Ready"))
			return streq(json_get_str(cond, "status", ""), "True");
	}
	return false;
}

json_t *pod_best(json_t *pods)
{
	json_t *best = NULL, *p;
	size_t i;
	int best_score = -1;
	json_array_foreach(pods, i, p)
	{
		const char *phase = json_get_str(json_object_get(p, "status"), "phase", "");
		int score = pod_ready(p) ? 4 : streq(phase, "Running") ? 2 : 0;
		score += !meta_deleting(p);
		if (score > best_score) {
			best = p;
			best_score = score;
		}
	}
	return best;
}

/* A kind without names: what there is of it. */
static int expand(struct ctl *c, const struct choose *ch, const struct item *it, struct items *ret, struct err *err)
{
	json_t *list = NULL;
	char *path = path_of(it->kind, ch->all_ns ? "" : it->ns, NULL, NULL);
	path = with_query(with_query(path, "labelSelector", ch->selector), "fieldSelector", ch->fields);
	int rc = rest_list(c, path, NULL, &list, err);
	if (rc < 0)
		return rc;
	keep_json(list);
	size_t i;
	json_t *o;
	json_array_foreach(json_object_get(list, "items"), i, o)
	{
		put_type(it->kind, o);
		items_add(ret, (struct item){.kind = it->kind, .ns = meta_ns(o), .name = meta_name(o)});
	}
	return 0;
}

int choose_items(struct ctl *c, const struct choose *ch, const struct strings *words, struct items *ret,
		 struct err *err)
{
	if (ch->input.files.n) {
		if (words->n)
			return ctl_usage(
				err,
				"when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well");
		return input_read(c, &ch->input, ret, err);
	}
	_cleanup_items_ struct items named = {0};
	int rc = input_words(c, words, &named, err);
	for (size_t i = 0; rc == 0 && i < named.n; i++) {
		const struct item *it = &named.v[i];
		if (it->name && (ch->selector || ch->all || ch->fields))
			rc = ctl_usage(err, "%s",
				       ch->all ? "setting 'all' parameter but found a non empty selector."
					       : "name cannot be provided when a selector is specified");
		else if (it->name)
			items_add(ret, *it);
		else if (!ch->selector && !ch->all && !ch->fields)
			rc = ctl_usage(err, "resource(s) were provided, but no name was specified");
		else
			rc = expand(c, ch, it, ret, err);
	}
	return rc;
}

int deadline_parse(const char *timeout, int64_t dflt_ms, uint64_t *ret_deadline_ms, struct err *err)
{
	int64_t ms = dflt_ms;
	if (timeout && duration_parse(timeout, &ms) < 0)
		return ctl_usage(err, "invalid argument \"%s\" for \"--timeout\" flag: time: invalid duration \"%s\"",
				 timeout, timeout);
	*ret_deadline_ms = ms ? ctl_now_ms() + (uint64_t)ms : 0;
	return 0;
}
