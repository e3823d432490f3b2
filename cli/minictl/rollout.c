/* minictl rollout: status, history, undo, restart, pause, resume of Deployments. */
#include <errno.h>
#include <time.h>

#include "cli/minictl/describe.h"
#include "cli/minictl/rollout.h"
#include "cli/minictl/verbs.h"

#define REVISION "deployment.kubernetes.io/revision"

static int deployment_only(const struct item *it, const char *what, struct err *err)
{
	if (streq(it->kind->kind, "Deployment"))
		return 0;
	const char *q = streq(what, "status viewer") ? "" : "\"";
	return ctl_usage(err, "no %s has been implemented for %s%s%s", what, q, it->kind->kind, q);
}

static int parse_items(struct ctl *c, const struct opt *opts, int argc, char **argv, const struct choose *ch,
		       struct items *ret, struct err *err)
{
	struct args args = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return rc;
	if (args.pos.n == 0 && ch->input.files.n == 0)
		return ctl_usage(err, "required resource not specified");
	rc = choose_items(c, ch, &args.pos, ret, err);
	return rc < 0 ? rc : ctl_connect(c, err);
}

/* ---- status ---- */

bool rollout_status_text(const json_t *d, char *ret, size_t size, bool *ret_failed)
{
	const json_t *spec = json_object_get(d, "spec"), *status = json_object_get(d, "status");
	const char *name = meta_name(d);
	long long wanted = json_get_int(spec, "replicas", 1), all = json_get_int(status, "replicas", 0),
		  updated = json_get_int(status, "updatedReplicas", 0),
		  available = json_get_int(status, "availableReplicas", 0);
	size_t i;
	json_t *cond;
	*ret_failed = false;
	if (meta_generation(d) > json_get_int(status, "observedGeneration", 0)) {
		snprintf(ret, size, "Waiting for deployment spec update to be observed...\n");
		return false;
	}
	json_array_foreach(json_object_get(status, "conditions"), i, cond)
	{
		if (!streq(json_get_str(cond, "type", ""), "Progressing") ||
		    !streq(json_get_str(cond, "reason", ""), "ProgressDeadlineExceeded"))
			continue;
		snprintf(ret, size, "deployment \"%s\" exceeded its progress deadline", name);
		*ret_failed = true;
		return true;
	}
	if (updated < wanted)
		snprintf(
			ret, size,
			"Waiting for deployment \"%s\" rollout to finish: %lld out of %lld new replicas have been updated...\n",
			name, updated, wanted);
	else if (all > updated)
		snprintf(
			ret, size,
			"Waiting for deployment \"%s\" rollout to finish: %lld old replicas are pending termination...\n",
			name, all - updated);
	else if (available < updated)
		snprintf(
			ret, size,
			"Waiting for deployment \"%s\" rollout to finish: %lld of %lld updated replicas are available...\n",
			name, available, updated);
	else
		return snprintf(ret, size, "deployment \"%s\" successfully rolled out\n", name) > 0;
	return false;
}

struct follow {
	char last[512];
	bool done, failed, gone;
	int64_t revision; /* --revision: 0 for whatever is newest */
	bool superseded;
};

static void look(struct follow *f, const json_t *d)
{
	char text[512];
	int64_t revision = 0;
	parse_i64(meta_annotation(d, REVISION) ? meta_annotation(d, REVISION) : "", &revision);
	if (f->revision && revision > f->revision) {
		f->superseded = true;
		snprintf(f->last, sizeof(f->last),
			 "desired revision (%lld) is different from the running revision (%lld)",
			 (long long)f->revision, (long long)revision);
		return;
	}
	f->done = rollout_status_text(d, text, sizeof(text), &f->failed);
	if (!f->failed && !streq(text, f->last)) {
		fputs(text, stdout);
		fflush(stdout);
	}
	snprintf(f->last, sizeof(f->last), "%s", text);
}

static bool on_event(void *arg, const char *type, json_t *obj)
{
	struct follow *f = arg;
	if (streq(type, "DELETED"))
		return f->gone = true;
	look(f, obj);
	return f->done || f->superseded;
}

static int status_one(struct ctl *c, const struct item *it, int64_t revision, bool watch, uint64_t deadline_ms,
		      struct err *err)
{
	struct follow f = {.revision = revision};
	const char *path =
		with_query(path_of(it->kind, it->ns, NULL, NULL), "fieldSelector", keepf("metadata.name=%s", it->name));
	do {
		_cleanup_json_ json_t *list = NULL, *d = NULL;
		int rc = get_item(c, it, &d, err); /* its error is the one to show when it is not there */
		if (rc == 0)
			rc = rest_get(c, path, &list, err);
		if (rc < 0)
			return rc;
		const json_t *now = json_array_get(json_object_get(list, "items"), 0);
		look(&f, now ? now : d);
		if (f.done || f.superseded || !watch)
			break;
		rc = rest_watch(c, path, NULL, json_get_str(json_object_get(list, "metadata"), "resourceVersion", ""),
				deadline_ms, on_event, &f, err);
		if (rc < 0)
			return rc;
	} while (!f.done && !f.gone && !f.superseded);
	if (f.failed || f.superseded)
		return err_set(err, -EIO, "%s", f.last);
	return f.gone ? err_set(err, -ENOENT, "object has been deleted") : 0;
}

int verb_rollout_status(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	const char *timeout = NULL;
	int64_t revision = 0;
	bool watch = true;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"watch", 'w', OPT_BOOL, &watch, NULL, "follow it to its end (default true)"},
		{"timeout", 0, OPT_STR, &timeout, NULL, "how long to wait; 0: until it is done"},
		{"revision", 0, OPT_INT, &revision, NULL, "this revision, not a newer one"},
		OPTS_END,
	};
	_cleanup_items_ struct items items = {0};
	uint64_t deadline_ms = 0;
	int rc = parse_items(c, opts, argc, argv, &ch, &items, err);
	if (rc)
		return MIN(rc, 0);
	rc = deadline_parse(timeout, 0, &deadline_ms, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = deployment_only(&items.v[i], "status viewer", err);
		if (rc == 0)
			rc = status_one(c, &items.v[i], revision, watch, deadline_ms, err);
	}
	return rc;
}

/* ---- revisions ---- */

static int64_t revision_of(const json_t *rs)
{
	int64_t n = 0;
	const char *text = meta_annotation(rs, REVISION);
	return text && parse_i64(text, &n) == 0 ? n : 0;
}

/* Its ReplicaSets, by revision, oldest first. New array. */
static int replica_sets(struct ctl *c, const struct item *it, json_t **ret, json_t **ret_deployment, struct err *err)
{
	_cleanup_json_ json_t *d = NULL, *list = NULL, *mine = json_array();
	int rc = get_item(c, it, &d, err);
	if (rc == 0)
		rc = rest_list(c,
			       with_query(path_of(kind_by_kind("apps", "v1", "ReplicaSet"), it->ns, NULL, NULL),
					  "labelSelector", selector_of(d)),
			       NULL, &list, err);
	if (rc < 0)
		return rc;
	size_t i;
	json_t *rs;
	json_array_foreach(json_object_get(list, "items"), i, rs)
	{
		if (!streq(json_get_str(meta_controller(rs), "uid", ""), meta_uid(d)))
			continue;
		size_t at = 0;
		while (at < json_array_size(mine) && revision_of(json_array_get(mine, at)) < revision_of(rs))
			at++;
		json_array_insert(mine, at, rs);
	}
	*ret = STEAL(mine);
	*ret_deployment = STEAL(d);
	return 0;
}

static json_t *with_revision(json_t *sets, int64_t revision)
{
	size_t i;
	json_t *rs;
	json_array_foreach(sets, i, rs)
	{
		if (revision_of(rs) == revision)
			return rs;
	}
	return NULL;
}

static int history_one(struct ctl *c, const struct item *it, int64_t revision, struct err *err)
{
	_cleanup_json_ json_t *sets = NULL, *d = NULL;
	int rc = replica_sets(c, it, &sets, &d, err);
	if (rc < 0)
		return rc;
	if (revision) {
		json_t *rs = with_revision(sets, revision);
		if (!rs)
			return ctl_usage(err, "unable to find the specified revision");
		printf("%s with revision #%lld\n", item_word(it->kind, it->name), (long long)revision);
		struct describer words = {.c = c};
		put_pod_template(&words, json_path(rs, "spec", "template", NULL));
		fputs(buf_str(&words.out), stdout);
		buf_done(&words.out);
		return 0;
	}
	printf("%s \nREVISION  CHANGE-CAUSE\n", item_word(it->kind, it->name));
	size_t i;
	json_t *rs;
	json_array_foreach(sets, i, rs)
	{
		const char *cause = meta_annotation(rs, "kubernetes.io/change-cause");
		printf("%-9lld %s\n", (long long)revision_of(rs), cause ? cause : "<none>");
	}
	putchar('\n');
	return 0;
}

int verb_rollout_history(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	int64_t revision = 0;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"revision", 0, OPT_INT, &revision, NULL, "show this revision in detail"},
		OPTS_END,
	};
	_cleanup_items_ struct items items = {0};
	int rc = parse_items(c, opts, argc, argv, &ch, &items, err);
	if (rc)
		return MIN(rc, 0);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = deployment_only(&items.v[i], "history viewer", err);
		if (rc == 0)
			rc = history_one(c, &items.v[i], revision, err);
	}
	return rc;
}

/* The template of a revision, without the label the controller adds. New reference. */
static json_t *template_of(const json_t *rs)
{
	json_t *t = json_clone(json_path(rs, "spec", "template", NULL));
	json_t *labels = json_path(t, "metadata", "labels", NULL);
	if (labels)
		json_object_del(labels, "pod-template-hash");
	return t;
}

static int undo_one(struct ctl *c, const struct item *it, int64_t revision, const char *dry_words, enum dry_run dry,
		    struct err *err)
{
	_cleanup_json_ json_t *sets = NULL, *d = NULL;
	int rc = replica_sets(c, it, &sets, &d, err);
	if (rc < 0)
		return rc;
	if (json_get_bool(json_object_get(d, "spec"), "paused", false))
		return ctl_usage(
			err,
			"you cannot rollback a paused deployment; resume it first with 'minictl rollout resume' and try again");
	size_t n = json_array_size(sets);
	json_t *rs = revision ? with_revision(sets, revision) : n >= 2 ? json_array_get(sets, n - 2) : NULL;
	if (!rs && revision)
		return ctl_usage(err, "unable to find specified revision %lld in history", (long long)revision);
	if (!rs)
		return ctl_usage(err, "no rollout history found for deployment \"%s\"", it->name);
	_cleanup_json_ json_t *template_obj = template_of(rs), *got = NULL;
	if (json_equal(template_obj, json_path(d, "spec", "template", NULL))) {
		printf("%s skipped rollback (current template already matches revision %lld)\n",
		       item_word(it->kind, it->name), (long long)revision_of(rs));
		return 0;
	}
	_cleanup_json_ json_t *patch =
		json_make("[{s:s, s:s, s:O}]", "op", "replace", "path", "/spec/template", "value", template_obj);
	struct change ch = {.manager = "kubectl-rollout", .dry = dry};
	if (dry != DRY_CLIENT)
		rc = change_patch(c, &ch, it, NULL, JSON_PATCH, patch, &got, err);
	if (rc == 0)
		printf("%s rolled back%s\n", item_word(it->kind, it->name), dry_words);
	return rc;
}

int verb_rollout_undo(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct choose ch = {0};
	int64_t revision = 0;
	const char *dry_text = NULL;
	enum dry_run dry = DRY_NONE;
	const struct opt opts[] = {
		CHOOSE_OPTS(&ch),
		{"to-revision", 0, OPT_INT, &revision, NULL, "the revision to go back to; 0: the one before"},
		{"dry-run", 0, OPT_STR, &dry_text, "unchanged", "none, client or server"},
		OPTS_END,
	};
	_cleanup_items_ struct items items = {0};
	int rc = parse_items(c, opts, argc, argv, &ch, &items, err);
	if (rc)
		return MIN(rc, 0);
	rc = dry_run_parse(dry_text, &dry, err);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = deployment_only(&items.v[i], "rollbacker", err);
		if (rc == 0)
			rc = undo_one(c, &items.v[i], revision, dry_run_words(dry), dry, err);
	}
	return rc;
}

/* ---- restart, pause, resume ---- */

static int patched(struct ctl *c, int argc, char **argv, const char *verb,
		   json_t *(*patch_for)(const json_t *d, const char **ret_skip), struct err *err)
{
	struct choose ch = {0};
	const struct opt opts[] = {CHOOSE_OPTS(&ch), OPTS_END};
	_cleanup_items_ struct items items = {0};
	int rc = parse_items(c, opts, argc, argv, &ch, &items, err);
	if (rc)
		return MIN(rc, 0);
	for (size_t i = 0; i < items.n; i++) {
		_cleanup_json_ json_t *d = NULL, *patch = NULL, *got = NULL;
		const char *skip = NULL;
		const struct item *it = &items.v[i];
		struct change change = {.manager = "kubectl-rollout"};
		rc = deployment_only(it, verb, err);
		if (rc == 0)
			rc = get_item(c, it, &d, err);
		if (rc < 0)
			return rc;
		patch = patch_for(d, &skip);
		if (skip)
			return ctl_usage(err, "%s \"%s\" %s", (char *)keep(kind_resource(it->kind)), it->name, skip);
		rc = change_patch(c, &change, it, NULL, STRATEGIC_PATCH, patch, &got, err);
		if (rc < 0)
			return rc;
		printf("%s %s\n", item_word(it->kind, it->name), verb);
	}
	return 0;
}

static json_t *patch_restart(const json_t *d, const char **ret_skip)
{
	char now[32];
	if (json_get_bool(json_object_get(d, "spec"), "paused", false))
		*ret_skip = "can't restart paused deployment (run rollout resume first)";
	return json_make("{s:{s:{s:{s:{s:s}}}}}", "spec", "template", "metadata", "annotations",
			 "kubectl.kubernetes.io/restartedAt", time_format_s(time(NULL), now));
}

static json_t *patch_pause(const json_t *d, const char **ret_skip)
{
	if (json_get_bool(json_object_get(d, "spec"), "paused", false))
		*ret_skip = "is already paused";
	return json_make("{s:{s:b}}", "spec", "paused", 1);
}

static json_t *patch_resume(const json_t *d, const char **ret_skip)
{
	if (!json_get_bool(json_object_get(d, "spec"), "paused", false))
		*ret_skip = "is not paused";
	return json_make("{s:{s:n}}", "spec", "paused");
}

int verb_rollout_restart(struct ctl *c, int argc, char **argv, struct err *err)
{
	return patched(c, argc, argv, "restarted", patch_restart, err);
}

int verb_rollout_pause(struct ctl *c, int argc, char **argv, struct err *err)
{
	return patched(c, argc, argv, "paused", patch_pause, err);
}

int verb_rollout_resume(struct ctl *c, int argc, char **argv, struct err *err)
{
	return patched(c, argc, argv, "resumed", patch_resume, err);
}
