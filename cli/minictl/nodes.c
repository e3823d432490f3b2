/* Verbs for nodes: cordon, uncordon, drain, taint. */
#include <errno.h>

#include "cli/minictl/verbs.h"

static int node_items(struct ctl *c, const struct strings *names, const char *selector, struct items *ret,
		      struct err *err)
{
	struct strings words = {0};
	if (names->n == 0 && !selector)
		return ctl_usage(err, "USAGE: minictl %s", c->command->usage);
	strings_add(&words, "nodes");
	for (size_t i = 0; i < names->n; i++)
		strings_add(&words, str_starts(names->items[i], "node/") ? names->items[i] + 5 : names->items[i]);
	struct choose ch = {.selector = selector};
	return choose_items(c, &ch, &words, ret, err);
}

/* ---- cordon ---- */

static int set_unschedulable(struct ctl *c, const struct item *it, bool off, struct err *err)
{
	_cleanup_json_ json_t *node = NULL, *got = NULL,
			      *patch = off ? json_make("{s:{s:b}}", "spec", "unschedulable", 1)
					   : json_make("{s:{s:n}}", "spec", "unschedulable");
	int rc = get_item(c, it, &node, err);
	if (rc < 0)
		return rc;
	const char *word = off ? "cordoned" : "uncordoned";
	if (json_get_bool(json_object_get(node, "spec"), "unschedulable", false) == off) {
		printf("%s already %s\n", item_word(it->kind, it->name), word);
		return 0;
	}
	struct change ch = {.manager = off ? "kubectl-cordon" : "kubectl-uncordon"};
	rc = change_patch(c, &ch, it, NULL, STRATEGIC_PATCH, patch, &got, err);
	if (rc == 0)
		printf("%s %s\n", item_word(it->kind, it->name), word);
	return rc;
}

static int cordon(struct ctl *c, int argc, char **argv, bool off, struct err *err)
{
	const char *selector = NULL;
	const struct opt opts[] = {{"selector", 'l', OPT_STR, &selector, NULL, "all that have these labels"}, OPTS_END};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = node_items(c, &args.pos, selector, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++)
		rc = set_unschedulable(c, &items.v[i], off, err);
	return rc;
}

int verb_cordon(struct ctl *c, int argc, char **argv, struct err *err)
{
	return cordon(c, argc, argv, true, err);
}

int verb_uncordon(struct ctl *c, int argc, char **argv, struct err *err)
{
	return cordon(c, argc, argv, false, err);
}

/* ---- drain ---- */

struct drain {
	struct ctl *c;
	bool ignore_daemonsets, delete_emptydir, force, disable_eviction;
	int64_t grace_s;
	const char *pod_selector, *selector, *timeout;
	uint64_t deadline_ms;
};

static bool uses_emptydir(const json_t *pod)
{
	size_t i;
	json_t *v;
	json_array_foreach(json_path(pod, "spec", "volumes", NULL), i, v)
	{
		if (json_object_get(v, "emptyDir"))
			return true;
	}
	return false;
}

/* NULL: to be evicted; "" : to be left alone; else why not. */
static const char *objection(const struct drain *d, const json_t *pod)
{
	const json_t *owner = meta_controller(pod);
	const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
	if (meta_annotation(pod, "kubernetes.io/config.mirror"))
		return "";
	if (streq(phase, "Succeeded") || streq(phase, "Failed"))
		return NULL;
	if (streq(json_get_str(owner, "kind", ""), "DaemonSet"))
		return d->ignore_daemonsets
			       ? ""
			       : "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
	if (!d->delete_emptydir && uses_emptydir(pod))
		return "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
	if (!owner && !d->force)
		return "cannot delete Pods that declare no controller (use --force to override)";
	return NULL;
}

static int evict(struct drain *d, const struct item *pod, struct err *err)
{
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "policy/v1", "kind",
						"Eviction", "metadata", "name", pod->name, "namespace", pod->ns);
	if (d->grace_s >= 0)
		json_put_int(json_need_object(body, "deleteOptions"), "gracePeriodSeconds", d->grace_s);
	printf("evicting pod %s/%s\n", pod->ns, pod->name);
	fflush(stdout);
	int rc = 0;
	if (!d->disable_eviction)
		rc = rest(d->c, "POST", path_of(pod->kind, pod->ns, pod->name, "eviction"), NULL, NULL, body, NULL,
			  err);
	if (d->disable_eviction ||
	    (rc < 0 && (err->reason == ERR_METHOD_NOT_ALLOWED || strstr(err->message, "requested resource")))) {
		err_done(err); /* a server without evictions */
		_cleanup_json_ json_t *options = json_make("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
		if (d->grace_s >= 0)
			json_put_int(options, "gracePeriodSeconds", d->grace_s);
		rc = rest(d->c, "DELETE", path_of(pod->kind, pod->ns, pod->name, NULL), NULL, NULL, options, NULL, err);
	}
	if (rc < 0 && err->reason == ERR_NOT_FOUND) {
		err_done(err);
		rc = 0;
	}
	return rc;
}

static int drain_node(struct drain *d, const struct item *node, struct err *err)
{
	const struct kind *pod = kind_by_kind("", "v1", "Pod");
	_cleanup_json_ json_t *list = NULL;
	_cleanup_items_ struct items pods = {0};
	char *path = with_query(path_of(pod, "", NULL, NULL), "fieldSelector", keepf("spec.nodeName=%s", node->name));
	int rc = set_unschedulable(d->c, node, true, err);
	if (rc == 0)
		rc = rest_list(d->c, with_query(path, "labelSelector", d->pod_selector), NULL, &list, err);
	if (rc < 0)
		return rc;
	size_t i;
	json_t *p;
	_cleanup_buf_ struct buf wrong = BUF_INIT;
	json_array_foreach(json_object_get(list, "items"), i, p)
	{
		const char *why = objection(d, p);
		if (why && *why)
			buf_addf(&wrong, "%s%s: %s/%s", wrong.len ? ", " : "", why, meta_ns(p), meta_name(p));
		else if (!why)
			items_add(&pods,
				  (struct item){
					  .kind = pod, .ns = meta_ns(p), .name = meta_name(p), .source = meta_uid(p)});
	}
	if (wrong.len)
		return ctl_usage(err, "unable to drain node \"%s\" due to error: %.800s, continuing command...",
				 node->name, buf_str(&wrong));
	for (i = 0; rc == 0 && i < pods.n; i++)
		rc = evict(d, &pods.v[i], err);
	for (i = 0; rc == 0 && i < pods.n; i++) {
		rc = wait_gone(d->c, &pods.v[i], pods.v[i].source, d->deadline_ms, err);
		if (rc == 0)
			printf("pod/%s evicted\n", pods.v[i].name);
	}
	if (rc == 0)
		printf("%s drained\n", item_word(node->kind, node->name));
	return rc;
}

int verb_drain(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct drain d = {.c = c, .grace_s = -1};
	const struct opt opts[] = {
		{"ignore-daemonsets", 0, OPT_BOOL, &d.ignore_daemonsets, NULL, "leave the pods of DaemonSets"},
		{"delete-emptydir-data", 0, OPT_BOOL, &d.delete_emptydir, NULL, "also pods with emptyDir volumes"},
		{"force", 0, OPT_BOOL, &d.force, NULL, "also pods that nobody will make anew"},
		{"disable-eviction", 0, OPT_BOOL, &d.disable_eviction, NULL, "delete instead of evicting"},
		{"grace-period", 0, OPT_INT, &d.grace_s, NULL, "seconds to end in; -1: the pod's own"},
		{"pod-selector", 0, OPT_STR, &d.pod_selector, NULL, "only pods that have these labels"},
		{"selector", 'l', OPT_STR, &d.selector, NULL, "all nodes that have these labels"},
		{"timeout", 0, OPT_STR, &d.timeout, NULL, "how long to wait; 0: until it is done"},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = deadline_parse(d.timeout, 0, &d.deadline_ms, err);
	if (rc == 0)
		rc = node_items(c, &args.pos, d.selector, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++)
		rc = drain_node(&d, &items.v[i], err);
	return rc;
}

/* ---- taint ---- */

struct taint {
	const char *key, *value, *effect; /* effect NULL: all, when it is removed */
	bool remove;
};

/* key=value:Effect, key:Effect, key:Effect-, key- */
static int taint_parse(const char *text, struct taint *ret, struct err *err)
{
	size_t n = strlen(text);
	*ret = (struct taint){.remove = n && text[n - 1] == '-'};
	const char *all = keepf("%.*s", (int)(n - ret->remove), text), *colon = strrchr(all, ':'),
		   *eq = strchr(all, '=');
	size_t key_len = eq ? (size_t)(eq - all) : colon ? (size_t)(colon - all) : strlen(all);
	ret->key = keepf("%.*s", (int)key_len, all);
	ret->effect = colon ? colon + 1 : NULL;
	ret->value = eq ? keepf("%.*s", (int)((colon ? colon : all + strlen(all)) - eq - 1), eq + 1) : NULL;
	if (!ret->remove && !ret->effect)
		return ctl_usage(err, "invalid taint spec: %s", text);
	if (ret->effect && !streq(ret->effect, "NoSchedule") && !streq(ret->effect, "PreferNoSchedule") &&
	    !streq(ret->effect, "NoExecute"))
		return ctl_usage(err, "invalid taint effect: %s, unsupported taint effect", ret->effect);
	return 0;
}

static bool taint_is(const json_t *t, const struct taint *want)
{
	return streq(json_get_str(t, "key", ""), want->key) &&
	       (!want->effect || streq(json_get_str(t, "effect", ""), want->effect));
}

static int taint_node(struct ctl *c, const struct item *it, const struct taint *taints, size_t n, bool overwrite,
		      struct err *err)
{
	_cleanup_json_ json_t *node = NULL, *got = NULL;
	int rc = get_item(c, it, &node, err);
	if (rc < 0)
		return rc;
	json_t *now = json_path(node, "spec", "taints", NULL);
	_cleanup_json_ json_t *next = now ? json_clone(now) : json_array();
	bool added = false;
	for (size_t i = 0; i < n; i++) {
		bool found = false;
		for (size_t k = json_array_size(next); k-- > 0;) {
			if (!taint_is(json_array_get(next, k), &taints[i]))
				continue;
			found = true;
			json_array_remove(next, k);
		}
		if (taints[i].remove && !found)
			return ctl_usage(err, "taint \"%s%s%s\" not found", taints[i].key, taints[i].effect ? ":" : "",
					 taints[i].effect ? taints[i].effect : "");
		if (!taints[i].remove && found && !overwrite)
			return ctl_usage(err,
					 "node %s already has %s taint(s) with same effect(s) and --overwrite is false",
					 it->name, taints[i].key);
		if (taints[i].remove)
			continue;
		json_t *t = json_make("{s:s, s:s}", "key", taints[i].key, "effect", taints[i].effect);
		json_put_str(t, "value", taints[i].value);
		json_array_append_new(next, t);
		added = true;
	}
	_cleanup_json_ json_t *patch =
		json_make("{s:{s:s}, s:{s:o}}", "metadata", "resourceVersion",
			  json_get_str(json_object_get(node, "metadata"), "resourceVersion", ""), "spec", "taints",
			  json_array_size(next) ? json_incref(next) : json_null());
	struct change ch = {.manager = "kubectl-taint"};
	rc = change_patch(c, &ch, it, NULL, MERGE_PATCH, patch, &got, err);
	if (rc == 0)
		printf("%s %s\n", item_word(it->kind, it->name), added ? "tainted" : "untainted");
	return rc;
}

int verb_taint(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	bool overwrite = false;
	const struct opt opts[] = {
		{"selector", 'l', OPT_STR, &ch.selector, NULL, "all nodes that have these labels"},
		{"all", 0, OPT_BOOL, &ch.all, NULL, "all nodes"},
		{"overwrite", 0, OPT_BOOL, &overwrite, NULL, "change what is there already"},
		OPTS_END,
	};
	struct args args = {0};
	struct strings words = {0};
	struct taint taints[64];
	size_t n = 0, at = 0;
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	for (; at < args.pos.n && !strpbrk(args.pos.items[at], "=:") && !str_ends(args.pos.items[at], "-"); at++)
		strings_add(&words, args.pos.items[at]);
	for (; rc == 0 && at < args.pos.n && n < ARRAY_LEN(taints); at++)
		rc = taint_parse(args.pos.items[at], &taints[n++], err);
	if (rc == 0 && n == 0)
		rc = ctl_usage(err, "at least one taint update is required");
	if (rc == 0)
		rc = choose_items(c, &ch, &words, &items, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		if (!streq(items.v[i].kind->kind, "Node"))
			return ctl_usage(err, "invalid resource type %s, only node(s) is supported",
					 items.v[i].kind->plural);
		rc = taint_node(c, &items.v[i], taints, n, overwrite, err);
	}
	return rc;
}
