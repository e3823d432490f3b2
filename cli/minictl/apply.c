/* minictl apply, create -f, replace: objects of files into the cluster, one line each; a fault of one leaves the rest. */
#include "cli/minictl/apply.h"

#include <errno.h>

#include "cli/minictl/verbs.h"

struct apply {
	struct ctl *c;
	struct input_opts input;
	struct output out;
	struct change change;
	const char *output, *dry_text, *validate, *selector;
	bool save_config, force, server_side, overwrite;
	const char *doing; /* for messages: "creating" */
	json_t *results;   /* for -o yaml and json: one document in the end */
};

static int done(struct apply *a, const struct item *it, const json_t *obj, const char *verb, struct err *err)
{
	if (a->out.form == OUT_DEFAULT || a->out.form == OUT_WIDE || a->out.form == OUT_NAME)
		return output_done(&a->out, it->kind, obj, keepf("%s%s", verb, dry_run_words(a->change.dry)), err);
	json_array_append(a->results, (json_t *)(uintptr_t)obj);
	return 0;
}

/* ---- apply ---- */

static int apply_create(struct apply *a, const struct item *it, const json_t *modified, struct err *err)
{
	_cleanup_json_ json_t *made = NULL;
	a->doing = "creating";
	if (a->change.dry == DRY_CLIENT)
		return done(a, it, modified, "created", err);
	int rc = change_create(a->c, &a->change, it->kind, it->ns, modified, &made, err);
	return rc < 0 ? rc : done(a, it, made, "created", err);
}

static void warn_unrecorded(const struct item *it)
{
	fflush(stdout);
	fprintf(stderr,
		"Warning: resource %s/%s is missing the %s annotation which is required by minictl apply. minictl apply "
		"should only be used on resources created declaratively by either minictl create --save-config or minictl "
		"apply. The missing annotation will be patched automatically.\n",
		it->kind->plural, it->name, LAST_APPLIED);
}

static int apply_existing(struct apply *a, const struct item *it, const json_t *modified, json_t *current,
			  struct err *err)
{
	_cleanup_json_ json_t *patch = NULL, *got = NULL;
	bool recorded;
	a->doing = "patching";
	int rc = apply_patch(it->kind->schema, modified, current, &patch, &recorded, err);
	if (rc < 0)
		return rc;
	if (!recorded)
		warn_unrecorded(it);
	if (json_object_size(patch) == 0)
		return done(a, it, current, "unchanged", err);
	if (a->change.dry == DRY_CLIENT)
		return done(a, it, current, "configured", err);
	rc = change_patch(a->c, &a->change, it, NULL, STRATEGIC_PATCH, patch, &got, err);
	return rc < 0 ? rc : done(a, it, got, "configured", err);
}

/* Somebody else may create it between the look and the creation, or change it between the look and the patch. */
static int apply_one(struct apply *a, const struct item *it, struct err *err)
{
	_cleanup_json_ json_t *modified = apply_modified(it->obj);
	int rc = 0;
	if (str_empty(it->name))
		return ctl_usage(err, "resource name may not be empty");
	for (int tries = 0; tries < 5; tries++) {
		_cleanup_json_ json_t *current = NULL;
		err_done(err);
		a->doing = "retrieving current configuration of the objects in";
		rc = get_item(a->c, it, &current, err);
		if (rc < 0 && err->reason != ERR_NOT_FOUND)
			return rc;
		bool there = rc == 0;
		err_done(err);
		rc = there ? apply_existing(a, it, modified, current, err) : apply_create(a, it, modified, err);
		if (rc == 0 || err->reason != (there ? ERR_CONFLICT : ERR_ALREADY_EXISTS))
			return rc;
	}
	return rc;
}

/* ---- create, replace ---- */

static int create_one(struct apply *a, const struct item *it, struct err *err)
{
	_cleanup_json_ json_t *obj = a->save_config ? apply_modified(it->obj) : json_incref(it->obj), *made = NULL;
	if (a->change.dry == DRY_CLIENT)
		return done(a, it, obj, "created", err);
	int rc = change_create(a->c, &a->change, it->kind, it->ns, obj, &made, err);
	return rc < 0 ? rc : done(a, it, made, "created", err);
}

static int replace_one(struct apply *a, const struct item *it, struct err *err)
{
	_cleanup_json_ json_t *got = NULL;
	if (a->change.dry == DRY_CLIENT)
		return done(a, it, it->obj, "replaced", err);
	if (a->force) {
		struct err gone = ERR_INIT;
		if (delete_and_wait(a->c, it, 0, &gone) < 0 && gone.reason != ERR_NOT_FOUND)
			return err_move(err, &gone);
		err_done(&gone);
		int rc = change_create(a->c, &a->change, it->kind, it->ns, it->obj, &got, err);
		return rc < 0 ? rc : done(a, it, got, "replaced", err);
	}
	_cleanup_json_ json_t *obj = json_clone(it->obj), *current = NULL;
	if (!meta_uid(obj)[0] && !json_path(obj, "metadata", "resourceVersion", NULL)) {
		/* what upstream's client fills in: the version it saw a moment ago */
		int rc = get_item(a->c, it, &current, err);
		if (rc < 0)
			return rc;
		json_t *meta = json_object_get(obj, "metadata");
		json_put_str(meta, "resourceVersion",
			     json_get_str(json_object_get(current, "metadata"), "resourceVersion", NULL));
	}
	int rc = change_update(a->c, &a->change, it, obj, &got, err);
	return rc < 0 ? rc : done(a, it, got, "replaced", err);
}

/* ---- what they share ---- */

static int prepare(struct apply *a, struct err *err)
{
	int rc = output_parse(a->output, &a->out, err);
	if (rc == 0)
		rc = dry_run_parse(a->dry_text, &a->change.dry, err);
	if (rc == 0)
		rc = validate_parse(a->validate, &a->change.validation, err);
	return rc;
}

static bool fatal(const struct err *err)
{
	return err->reason == ERR_NONE || err->reason == ERR_UNAUTHORIZED;
}

static int print_results(struct apply *a, struct err *err)
{
	size_t n = json_array_size(a->results);
	if (n == 0)
		return 0;
	if (n == 1)
		return output_print(&a->out, json_array_get(a->results, 0), err);
	_cleanup_json_ json_t *list = list_of(a->results);
	return output_print(&a->out, list, err);
}

static int run_all(struct apply *a, const char *doing, int (*one)(struct apply *, const struct item *, struct err *),
		   struct err *err)
{
	_cleanup_items_ struct items items = {0};
	int rc = prepare(a, err);
	if (rc == 0 && a->input.files.n == 0)
		rc = ctl_usage(err, "must specify one of -f and -k");
	if (rc == 0)
		rc = input_read(a->c, &a->input, &items, err);
	if (rc == 0 && items.n && a->change.dry != DRY_CLIENT)
		rc = ctl_connect(a->c, err);
	if (rc < 0)
		return rc;
	a->doing = doing;
	a->results = keep_json(json_array());
	for (size_t i = 0; i < items.n; i++) {
		struct err e = ERR_INIT;
		if (one(a, &items.v[i], &e) == 0)
			continue;
		bool stop = fatal(&e) && e.code != -EINVAL;
		ctl_fail(a->c, &e, keepf("error when %s \"%s\"", a->doing, items.v[i].source));
		err_done(&e);
		if (stop)
			break;
	}
	rc = print_results(a, err);
	return rc < 0 ? rc : a->c->failures > 0;
}

/* What a verb of this file is: its words, and what it does with one object. Without `refusal` it takes names, as upstream's
 * replace does, and leaves them. */
struct apply_verb {
	const char *doing;
	const char *refusal[2]; /* around a name that has no place here */
	int (*one)(struct apply *, const struct item *, struct err *);
};

static int run_verb(struct apply *a, const struct apply_verb *v, const struct opt *opts, int argc, char **argv,
		    struct err *err)
{
	struct args args = {0};
	int rc = args_parse(a->c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n && v->refusal[0])
		return ctl_usage(err, "%s%s%s", v->refusal[0], args.pos.items[0], v->refusal[1]);
	return run_all(a, v->doing, v->one, err);
}

#define CHANGE_OPTS(a)                                                                                                 \
	INPUT_OPTS(&(a)->input),                                                                                       \
		{"output", 'o', OPT_STR, &(a)->output, NULL, "print the objects: yaml, json, name, ..."},              \
		{"dry-run", 0, OPT_STR, &(a)->dry_text, "unchanged", "none, client or server: change nothing"},        \
		{"validate", 0, OPT_STR, &(a)->validate, "strict", "strict, warn or ignore unknown fields"},           \
	{                                                                                                              \
		"field-manager", 0, OPT_STR, &(a)->change.manager, NULL, "the name the change goes by"                 \
	}

int verb_apply(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct apply a = {.c = c, .change.manager = "kubectl-client-side-apply", .overwrite = true};
	bool wait = false;
	const struct opt opts[] = {
		CHANGE_OPTS(&a),
		{"overwrite", 0, OPT_BOOL, &a.overwrite, NULL, NULL},
		{"wait", 0, OPT_BOOL, &wait, NULL, NULL},
		{"server-side", 0, OPT_REFUSE, NULL, NULL, "this version applies on the client's side only"},
		{"prune", 0, OPT_REFUSE, NULL, NULL, "delete what is no longer wanted with minictl delete"},
		OPTS_END,
	};
	static const struct apply_verb verb = {
		"applying", {"Unexpected args: [", "]\nSee 'minictl apply -h' for help and examples"}, apply_one};
	return run_verb(&a, &verb, opts, argc, argv, err);
}

int verb_create(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct apply a = {.c = c, .change.manager = "kubectl-create"};
	const struct opt opts[] = {
		CHANGE_OPTS(&a),
		{"save-config", 0, OPT_BOOL, &a.save_config, NULL, "record the object for later applies"},
		OPTS_END,
	};
	static const struct apply_verb verb = {
		"creating", {"minictl create makes no \"", "\" from words; use create -f FILE"}, create_one};
	return run_verb(&a, &verb, opts, argc, argv, err);
}

int verb_replace(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct apply a = {.c = c, .change.manager = "kubectl-replace"};
	const struct opt opts[] = {
		CHANGE_OPTS(&a),
		{"force", 0, OPT_BOOL, &a.force, NULL, "delete it and create it anew"},
		OPTS_END,
	};
	static const struct apply_verb verb = {"replacing", {NULL, NULL}, replace_one};
	return run_verb(&a, &verb, opts, argc, argv, err);
}
