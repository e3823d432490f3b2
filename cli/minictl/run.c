/* minictl run: a pod made from words, and with -i, -t or --attach a session in it. */
#include <errno.h>

#include "cli/minictl/attach.h"
#include "cli/minictl/output.h"

struct run {
	struct ctl *c;
	const char *name, *image, *restart, *labels, *dry_text, *output, *pull_policy, *timeout;
	struct strings env;
	int64_t port, grace_s;
	struct remote_io io;
	bool attach, rm, command, leave_open, quiet;
	struct args args;
	struct output out;
	struct change change;
	struct item it;
};

/* ---- the pod ---- */

static int add_labels(const struct run *r, json_t *meta, struct err *err)
{
	struct strings pairs = {0};
	if (!r->labels) {
		json_object_set_new(meta, "labels", json_make("{s:s}", "run", r->name));
		return 0;
	}
	strings_split(&pairs, r->labels);
	for (size_t i = 0; i < pairs.n; i++) {
		const char *eq = strchr(pairs.items[i], '=');
		if (!eq || eq == pairs.items[i])
			return ctl_usage(err, "unexpected label spec: %s", pairs.items[i]);
		json_put_str(json_need_object(meta, "labels"),
			     keepf("%.*s", (int)(eq - pairs.items[i]), pairs.items[i]), eq + 1);
	}
	return 0;
}

static int add_env(const struct run *r, json_t *ct, struct err *err)
{
	for (size_t i = 0; i < r->env.n; i++) {
		const char *eq = strchr(r->env.items[i], '=');
		if (!eq || eq == r->env.items[i])
			return ctl_usage(err, "invalid env: %s", r->env.items[i]);
		json_array_append_new(json_need_array(ct, "env"),
				      json_make("{s:s, s:s}", "name",
						keepf("%.*s", (int)(eq - r->env.items[i]), r->env.items[i]), "value",
						eq + 1));
	}
	return 0;
}

static json_t *container(const struct run *r)
{
	json_t *ct = json_make("{s:s, s:s, s:{}}", "name", r->name, "image", r->image, "resources");
	const struct strings *words = r->args.after.n ? &r->args.after : &r->args.pos;
	for (size_t i = words == &r->args.pos ? 1 : 0; i < words->n; i++)
		json_array_append_new(json_need_array(ct, r->command ? "command" : "args"),
				      json_string(words->items[i]));
	if (r->port > 0)
		json_array_append_new(json_need_array(ct, "ports"),
				      json_make("{s:I}", "containerPort", (json_int_t)r->port));
	if (r->pull_policy)
		json_put_str(ct, "imagePullPolicy", r->pull_policy);
	if (r->io.in) {
		json_object_set_new(ct, "stdin", json_true());
		if (!r->leave_open)
			json_object_set_new(ct, "stdinOnce", json_true());
	}
	if (r->io.tty)
		json_object_set_new(ct, "tty", json_true());
	return ct;
}

static int pod_of(const struct run *r, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *pod =
		json_make("{s:{s:s}, s:{s:[o], s:s, s:s}}", "metadata", "name", r->name, "spec", "containers",
			  container(r), "restartPolicy", r->restart, "dnsPolicy", "ClusterFirst");
	int rc = add_labels(r, json_object_get(pod, "metadata"), err);
	if (rc == 0)
		rc = add_env(r, json_array_get(json_path(pod, "spec", "containers", NULL), 0), err);
	if (rc < 0)
		return rc;
	put_type(r->it.kind, pod);
	if (r->change.dry != DRY_CLIENT || r->c->ns)
		json_put_str(json_object_get(pod, "metadata"), "namespace", ctl_ns(r->c));
	*ret = STEAL(pod);
	return 0;
}

/* ---- the session ---- */

static bool is_over(const json_t *pod)
{
	const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
	return streq(phase, "Succeeded") || streq(phase, "Failed");
}

static bool is_begun(const json_t *pod)
{
	return is_over(pod) || streq(json_get_str(json_object_get(pod, "status"), "phase", ""), "Running");
}

struct awaited {
	bool (*is)(const json_t *pod);
	json_t *pod; /* as it was then; NULL: it is gone */
};

static bool on_event(void *arg, const char *type, json_t *obj)
{
	struct awaited *w = arg;
	if (streq(type, "DELETED"))
		return true;
	if (!w->is(obj))
		return false;
	w->pod = keep_json(json_incref(obj));
	return true;
}

static int await_pod(struct run *r, bool (*is)(const json_t *), uint64_t deadline_ms, json_t **ret, struct err *err)
{
	struct awaited w = {.is = is};
	const char *path = with_query(path_of(r->it.kind, r->it.ns, NULL, NULL), "fieldSelector",
				      keepf("metadata.name=%s", r->name));
	int rc;
	do {
		err_done(err);
		rc = rest_watch(r->c, path, NULL, NULL, deadline_ms, on_event, &w, err);
	} while (rc == 0 || (rc < 0 && (err->reason == ERR_GONE || err->reason == ERR_EXPIRED)));
	if (rc < 0)
		return rc;
	if (!w.pod)
		return err_status(err, ERR_NOT_FOUND, "pods \"%s\" not found", r->name);
	*ret = w.pod;
	return 0;
}

/* What it said, for who came too late to hear it. */
static int print_log(struct run *r, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	int rc = rest_text(r->c, path_of(r->it.kind, r->it.ns, r->name, "log"), "*/*", &text, err);
	if (rc == 0)
		fwrite(buf_str(&text), 1, text.len, stdout);
	return rc;
}

/* The exit code of a pod that is not started again; 0 for one that is. */
static int end_of(struct run *r, struct err *err)
{
	json_t *pod = NULL;
	if (streq(r->restart, "Always")) {
		if (r->io.in && r->leave_open && !r->rm)
			fprintf(stderr,
				"Session ended, resume using 'minictl attach %s -c %s -i%s' command when the pod is running\n",
				r->name, r->name, r->io.tty ? " -t" : "");
		return 0;
	}
	int rc = await_pod(r, is_over, 0, &pod, err);
	if (rc < 0)
		return rc;
	const json_t *status = json_array_get(json_path(pod, "status", "containerStatuses", NULL), 0);
	const json_t *ended = json_path(status, "state", "terminated", NULL);
	int code = (int)json_get_int(ended, "exitCode", 0);
	if (code)
		fprintf(stderr, "pod %s/%s terminated (%s)\n", r->it.ns, r->name, json_get_str(ended, "reason", ""));
	return code;
}

static int session(struct run *r, bool *ret_reading, struct err *err)
{
	uint64_t deadline_ms = 0;
	json_t *pod = NULL;
	int rc = deadline_parse(r->timeout, 60000, &deadline_ms, err);
	if (rc == 0)
		rc = await_pod(r, is_begun, deadline_ms, &pod, err);
	if (rc < 0)
		return rc;
	if (is_over(pod)) {
		rc = print_log(r, err);
	} else {
		rc = attach_to(r->c, &r->it, pod, r->name, r->io, r->quiet, ret_reading, err);
		_cleanup_err_ struct err ignored = ERR_INIT;
		/* it may have ended between the look and the call */
		if (rc < 0 && await_pod(r, is_over, ctl_now_ms() + 5000, &pod, &ignored) == 0) {
			err_done(err);
			rc = print_log(r, err);
		}
	}
	return rc < 0 ? rc : end_of(r, err);
}

static int remove_pod(struct run *r, struct err *err)
{
	int rc = delete_and_wait(r->c, &r->it, r->grace_s, err);
	if (rc == 0 && !r->quiet)
		printf("pod \"%s\" deleted\n", r->name);
	return rc;
}

/* ---- the verb ---- */

static int check(struct run *r, struct err *err)
{
	if (r->args.pos.n == 0)
		return ctl_usage(err, "NAME is required for run");
	r->name = r->args.pos.items[0];
	if (!r->image)
		return ctl_usage(err, "required flag(s) \"image\" not set");
	if (!streq(r->restart, "Always") && !streq(r->restart, "OnFailure") && !streq(r->restart, "Never"))
		return ctl_usage(err, "invalid restart policy: %s", r->restart);
	if (r->io.tty && !r->io.in)
		return ctl_usage(err, "-i/--stdin is required for containers with -t/--tty=true");
	r->attach = r->attach || r->io.in;
	if (r->rm && !r->attach)
		return ctl_usage(err, "--rm should only be used for attached containers");
	int rc = output_parse(r->output, &r->out, err);
	if (rc == 0)
		rc = dry_run_parse(r->dry_text, &r->change.dry, err);
	if (rc == 0 && r->attach && r->change.dry != DRY_NONE)
		return ctl_usage(err,
				 "--dry-run=%s can't be used with attached containers options (--attach, --stdin, "
				 "or --tty)",
				 r->dry_text);
	return rc;
}

static int create(struct run *r, struct err *err)
{
	_cleanup_json_ json_t *pod = NULL, *made = NULL;
	const char *done = keepf("created%s", dry_run_words(r->change.dry));
	r->change.manager = "kubectl-run";
	r->it = (struct item){.kind = kind_by_kind("", "v1", "Pod"), .ns = ctl_ns(r->c), .name = r->name};
	int rc = pod_of(r, &pod, err);
	if (rc < 0)
		return rc;
	if (r->change.dry == DRY_CLIENT)
		return output_done(&r->out, r->it.kind, pod, done, err);
	rc = change_create(r->c, &r->change, r->it.kind, r->it.ns, pod, &made, err);
	if (rc < 0)
		return create_failed(r->it.kind, err);
	return r->attach && !r->output ? 0 : output_done(&r->out, r->it.kind, made, done, err);
}

int verb_run(struct ctl *c, int argc, char **argv, struct err *err)
{
	struct run r = {.c = c, .restart = "Always", .grace_s = -1};
	bool reading = false;
	const struct opt opts[] = {
		{"image", 0, OPT_STR, &r.image, NULL, "the image"},
		{"image-pull-policy", 0, OPT_STR, &r.pull_policy, NULL, "Always, IfNotPresent or Never"},
		{"env", 0, OPT_ARRAY, &r.env, NULL, "NAME=VALUE"},
		{"labels", 'l', OPT_STR, &r.labels, NULL, "KEY=VALUE,..., in place of run=NAME"},
		{"port", 0, OPT_INT, &r.port, NULL, "the port the container listens on"},
		{"restart", 0, OPT_STR, &r.restart, NULL, "Always, OnFailure or Never"},
		{"command", 0, OPT_BOOL, &r.command, NULL, "what follows is the command, not its arguments"},
		{"stdin", 'i', OPT_BOOL, &r.io.in, NULL, "keep its stdin open, and attach to it"},
		{"tty", 't', OPT_BOOL, &r.io.tty, NULL, "give it a terminal: this one"},
		{"attach", 0, OPT_BOOL, &r.attach, NULL, "wait until it runs, and attach to it"},
		{"leave-stdin-open", 0, OPT_BOOL, &r.leave_open, NULL, "stdin does not end with the first session"},
		{"rm", 0, OPT_BOOL, &r.rm, NULL, "delete it at the session's end"},
		{"grace-period", 0, OPT_INT, &r.grace_s, NULL, "seconds, for --rm"},
		{"pod-running-timeout", 0, OPT_STR, &r.timeout, NULL, "how long to wait until it runs (1m0s)"},
		{"quiet", 'q', OPT_BOOL, &r.quiet, NULL, "print only what the container prints"},
		{"output", 'o', OPT_STR, &r.output, NULL, "print the object: yaml, json, name, ..."},
		{"dry-run", 0, OPT_STR, &r.dry_text, "unchanged", "none, client or server: make nothing"},
		OPTS_END,
	};
	_cleanup_err_ struct err removal = ERR_INIT;
	int rc = args_parse(c, opts, argc, argv, &r.args, err);
	if (rc)
		return MIN(rc, 0);
	if ((rc = check(&r, err)) < 0 || (rc = create(&r, err)) < 0 || !r.attach)
		return rc;
	rc = session(&r, &reading, err);
	if (r.rm && remove_pod(&r, &removal) < 0 && rc >= 0)
		rc = err_move(err, &removal);
	return remote_exit(c, rc, reading, err);
}
