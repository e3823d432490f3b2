/* minictl delete: asks for deletion, then waits until the objects are gone. */
#include <errno.h>

#include "cli/minictl/verbs.h"

struct del {
	struct ctl *c;
	struct choose choose;
	const char *cascade, *timeout, *output, *dry_text;
	enum dry_run dry;
	int64_t grace_s;
	bool now, force, wait, ignore_missing, interactive;
	uint64_t deadline_ms;
};

static json_t *options_of(int64_t grace_s, const char *propagation, bool dry)
{
	json_t *o = json_make("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
	if (grace_s >= 0)
		json_put_int(o, "gracePeriodSeconds", grace_s);
	if (propagation)
		json_put_str(o, "propagationPolicy", propagation);
	if (dry)
		json_array_append_new(json_need_array(o, "dryRun"), json_string("All"));
	return o;
}

/* The answer is the object while it lives on, or a Status with its uid. */
static const char *uid_of(const json_t *answer)
{
	if (streq(json_get_str(answer, "kind", ""), "Status"))
		return json_get_str(json_object_get(answer, "details"), "uid", "");
	return meta_uid(answer);
}

struct gone {
	const char *uid;
};

static bool on_event(void *arg, const char *type, json_t *obj)
{
	const struct gone *g = arg;
	/* another object under the name means that ours is gone too */
	return streq(type, "DELETED") || (*g->uid && !streq(meta_uid(obj), g->uid));
}

/* Looks, then watches from there; again when the server ends the watch. */
int wait_gone(struct ctl *c, const struct item *it, const char *uid, uint64_t deadline_ms, struct err *err)
{
	struct gone g = {.uid = uid};
	const char *path =
		with_query(path_of(it->kind, it->ns, NULL, NULL), "fieldSelector", keepf("metadata.name=%s", it->name));
	for (;;) {
		_cleanup_json_ json_t *list = NULL;
		int rc = rest_get(c, path, &list, err);
		if (rc < 0)
			return rc;
		const json_t *obj = json_array_get(json_object_get(list, "items"), 0);
		if (!obj || (*uid && !streq(meta_uid(obj), uid)))
			return 0;
		const char *rv = json_get_str(json_object_get(list, "metadata"), "resourceVersion", "");
		rc = rest_watch(c, path, NULL, rv, deadline_ms, on_event, &g, err);
		if (rc == 1)
			return 0;
		if (rc < 0 && err->reason != ERR_GONE && err->reason != ERR_EXPIRED)
			return rc;
		err_done(err);
	}
}

int delete_and_wait(struct ctl *c, const struct item *it, int64_t grace_s, struct err *err)
{
	_cleanup_json_ json_t *options = options_of(grace_s, "Background", false), *answer = NULL;
	int rc = rest(c, "DELETE", path_of(it->kind, it->ns, it->name, NULL), NULL, NULL, options, &answer, err);
	return rc < 0 ? rc : wait_gone(c, it, uid_of(answer), 0, err);
}

static void print_deleted(const struct del *d, const struct item *it)
{
	if (streq(d->output, "name"))
		printf("%s\n", item_word(it->kind, it->name));
	else
		printf("%s \"%s\" %sdeleted%s\n", kind_word(it->kind), it->name,
		       d->force && d->grace_s == 0 ? "force " : "", dry_run_words(d->dry));
	fflush(stdout);
}

static const char *propagation_of(const char *cascade)
{
	return streq(cascade, "foreground") ? "Foreground" : streq(cascade, "orphan") ? "Orphan" : "Background";
}

static int delete_one(struct del *d, const struct item *it, const char **ret_uid, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	*ret_uid = NULL;
	if (d->dry != DRY_CLIENT) {
		_cleanup_json_ json_t *options =
			options_of(d->grace_s, propagation_of(d->cascade), d->dry == DRY_SERVER);
		int rc = rest(d->c, "DELETE", path_of(it->kind, it->ns, it->name, NULL), NULL, NULL, options, &answer,
			      err);
		if (rc < 0)
			return rc;
		if (d->dry == DRY_NONE)
			*ret_uid = keepf("%s", uid_of(answer));
	} else {
		int rc = get_item(d->c, it, &answer, err);
		if (rc < 0)
			return rc;
	}
	print_deleted(d, it);
	return 0;
}

static int delete_all(struct del *d, const struct items *items)
{
	_cleanup_free_ const char **uids = NEW_N(const char *, items->n + 1);
	bool ignore = d->ignore_missing || (d->choose.all || d->choose.selector);
	for (size_t i = 0; i < items->n; i++) {
		struct err e = ERR_INIT;
		if (delete_one(d, &items->v[i], &uids[i], &e) < 0 && !(e.reason == ERR_NOT_FOUND && ignore)) {
			const char *source = items->v[i].source;
			ctl_fail(d->c, &e, source ? keepf("error when deleting \"%s\"", source) : NULL);
			bool stop = e.reason == ERR_NONE || e.reason == ERR_UNAUTHORIZED;
			err_done(&e);
			if (stop)
				return 1;
		}
		err_done(&e);
	}
	for (size_t i = 0; i < items->n && d->wait; i++) {
		struct err e = ERR_INIT;
		if (uids[i] && wait_gone(d->c, &items->v[i], uids[i], d->deadline_ms, &e) < 0) {
			if (e.code == -ETIMEDOUT)
				err_set(&e, -ETIMEDOUT, "timed out waiting for the condition on %s/%s",
					items->v[i].kind->plural, items->v[i].name);
			/* who may delete need not be allowed to look */
			if (e.reason != ERR_FORBIDDEN && e.reason != ERR_METHOD_NOT_ALLOWED)
				ctl_fail(d->c, &e, NULL);
		}
		err_done(&e);
	}
	return d->c->failures > 0;
}

static int check(struct del *d, bool grace_given, struct err *err)
{
	if (d->cascade && !streq(d->cascade, "background") && !streq(d->cascade, "foreground") &&
	    !streq(d->cascade, "orphan"))
		return ctl_usage(err,
				 "invalid cascade value (%s). Must be \"background\", \"foreground\", or \"orphan\"",
				 d->cascade);
	if (d->now && grace_given)
		return ctl_usage(err, "--now and --grace-period cannot be specified together");
	if (d->now)
		d->grace_s = 1;
	if (d->force && !grace_given && !d->now)
		d->grace_s = 0;
	if (d->grace_s == 0 && !d->force)
		d->grace_s = 1; /* as upstream: zero without force waits a second */
	if (d->force && d->grace_s > 0)
		return ctl_usage(err, "--force and --grace-period greater than 0 cannot be specified together");
	if (d->force && d->grace_s == 0)
		fputs("Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The "
		      "resource may continue to run on the cluster indefinitely.\n",
		      stderr);
	if (d->output && !streq(d->output, "name"))
		return ctl_usage(err, "unexpected -o output mode: %s. We only support '-o name'", d->output);
	int rc = dry_run_parse(d->dry_text, &d->dry, err);
	return rc < 0 ? rc : deadline_parse(d->timeout, 0, &d->deadline_ms, err);
}

int verb_delete(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct del d = {.c = c, .grace_s = -1, .wait = true};
	const struct opt opts[] = {
		CHOOSE_OPTS(&d.choose),
		{"grace-period", 0, OPT_INT, &d.grace_s, NULL, "seconds to end in; -1: the object's own"},
		{"now", 0, OPT_BOOL, &d.now, NULL, "one second to end in"},
		{"force", 0, OPT_BOOL, &d.force, NULL, "forget it at once"},
		{"cascade", 0, OPT_STR, &d.cascade, "background", "background, foreground or orphan"},
		{"wait", 0, OPT_BOOL, &d.wait, NULL, "wait until it is gone (default true)"},
		{"timeout", 0, OPT_STR, &d.timeout, NULL, "how long to wait; 0: until it is gone"},
		{"ignore-not-found", 0, OPT_BOOL, &d.ignore_missing, NULL, "what is not there is no error"},
		{"output", 'o', OPT_STR, &d.output, NULL, "name"},
		{"dry-run", 0, OPT_STR, &d.dry_text, "unchanged", "none, client or server"},
		{"interactive", 'i', OPT_REFUSE, NULL, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	_cleanup_items_ struct items items = {0};
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = check(&d, d.grace_s >= 0, err);
	if (rc == 0)
		rc = choose_items(c, &d.choose, &args.pos, &items, err);
	if (rc == 0 && items.n)
		rc = ctl_connect(c, err);
	if (rc < 0)
		return rc;
	if (items.n == 0) {
		if (!c->failures)
			puts("No resources found");
		return c->failures > 0;
	}
	return delete_all(&d, &items);
}
