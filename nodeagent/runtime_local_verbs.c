/* The verbs, as they run in the pool: each looks at the disk first, so that doing one twice is doing it once. */
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "lib/core/file.h"
#include "nodeagent/runtime_local_priv.h"

#define STOP_SANDBOX_MS 10000

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

static void image_donep(struct image_info *i)
{
	image_info_done(i);
}
static void json_clear(json_t **j)
{
	json_decref(*j);
}

/* True when it exists and was made to the end; half-made things of an earlier try are cleaned away. */
static int exists_already(struct local_op *op, bool *ret, struct oci_state *st, struct err *err)
{
	int r = oci_state_read(op->rl->root, op->id, st, err);
	*ret = r == 0 && st->status != OCI_CREATING;
	if (*ret || (r < 0 && r != -ENOENT && r != -EPROTO))
		return *ret ? 0 : r;
	oci_state_done(st);
	const char *const args[] = {"delete", "--force", op->id, NULL};
	return local_minirun(op->rl, args, err);
}

static int write_json(const char *dir, const char *file, json_t *j, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, file);
	char *dump = json_dumps(j, JSON_COMPACT);
	if (!dump)
		return err_set(err, -EINVAL, "%s: not valid UTF-8", path);
	int r = file_write_replace(path, dump, strlen(dump), 0600, err);
	free(dump);
	return r;
}

static int make_bundle(struct local_op *op, json_t *spec, struct err *err)
{
	static const char *const dirs[] = {"rootfs", "upper", "work"};
	_cleanup_free_ char *bundle = local_bundle(op->rl, op->id);
	int r;
	for (unsigned i = 0; i < ARRAY_LEN(dirs); i++) {
		_cleanup_free_ char *dir = xasprintf("%s/%s", bundle, dirs[i]);
		if ((r = mkdir_p(dir, 0755, err)) < 0)
			return r;
	}
	/* mini.json first: it is what makes the container known, and so removable */
	if ((r = write_json(bundle, "mini.json", op->request, err)) < 0)
		return r;
	return write_json(bundle, "config.json", spec, err);
}

static int run_shim(struct local_op *op, struct err *err)
{
	_cleanup_free_ char *bundle = local_bundle(op->rl, op->id);
	const char *log = text(op->request, "logPath");
	const char *args[12] = {"shim", "--bundle", bundle, "--cgroup-self", op->rl->cgroup_shims};
	size_t n = 5;
	if (*log) {
		_cleanup_free_ char *copy = xstrdup(log);
		int r = mkdir_p(dirname(copy), 0755, err);
		if (r < 0)
			return r;
		args[n++] = "--log-path";
		args[n++] = log;
	}
	if (json_is_true(json_object_get(op->request, "stdin")))
		args[n++] = json_is_true(json_object_get(op->request, "stdinOnce")) ? "--stdin-once" : "--stdin";
	args[n++] = op->id;
	args[n] = NULL;
	return local_minirun(op->rl, args, err);
}

static int start(struct local_op *op, struct err *err)
{
	const char *const args[] = {"start", op->id, NULL};
	return local_minirun(op->rl, args, err);
}

int local_run_sandbox(struct local_op *op, struct err *err)
{
	_cleanup_(oci_state_done) struct oci_state st = {0};
	_cleanup_(json_clear) json_t *spec = NULL;
	bool exists;
	int r = exists_already(op, &exists, &st, err);
	if (r < 0)
		return r;
	if (exists && st.status == OCI_STOPPED)
		return err_set(err, -EEXIST, "sandbox %s exists and has ended", op->id);
	if (!exists && ((r = local_spec(op->rl, op->request, NULL, NULL, 0, &spec, err)) < 0 ||
			(r = make_bundle(op, spec, err)) < 0 || (r = run_shim(op, err)) < 0))
		return r;
	if ((!exists || st.status == OCI_CREATED) && (r = start(op, err)) < 0)
		return r;
	(void)local_end_fd(op->rl, op->id, &op->watch_fd, NULL);
	return 0;
}

/* The sandbox's request and its living pause. */
static int find_sandbox(struct local_op *op, json_t **ret, int *ret_pid, struct err *err)
{
	const char *id = text(op->request, "sandbox");
	_cleanup_(oci_state_done) struct oci_state st = {0};
	int r = local_request_read(op->rl, id, ret, err);
	if (r < 0)
		return err_set(err, -ENOENT, "sandbox %s does not exist", id);
	if ((r = oci_state_read(op->rl->root, id, &st, err)) < 0)
		return r;
	if (st.status != OCI_RUNNING)
		return err_set(err, -ESRCH, "sandbox %s is not running", id);
	*ret_pid = (int)st.init.pid;
	return 0;
}

int local_create_container(struct local_op *op, struct err *err)
{
	_cleanup_(oci_state_done) struct oci_state st = {0};
	_cleanup_(json_clear) json_t *spec = NULL, *sandbox = NULL;
	_cleanup_(image_donep) struct image_info image = {0};
	bool exists;
	int sandbox_pid = 0, r = exists_already(op, &exists, &st, err);
	if (r < 0)
		return r;
	if (!exists) {
		if ((r = find_sandbox(op, &sandbox, &sandbox_pid, err)) < 0 ||
		    (r = image_find(op->rl->images, text(op->request, "image"), &image, err)) < 0)
			return r;
		/* for the stop signal, later: the image may be gone by then */
		json_t *config = json_loads(image.config, 0, NULL);
		const char *sig = text(json_object_get(config, "config"), "StopSignal");
		if (*sig && !*text(op->request, "stopSignal"))
			json_object_set_new(op->request, "stopSignal", json_string(sig));
		json_decref(config);
		if ((r = local_spec(op->rl, op->request, &image, sandbox, sandbox_pid, &spec, err)) < 0 ||
		    (r = make_bundle(op, spec, err)) < 0 || (r = run_shim(op, err)) < 0)
			return r;
	}
	(void)local_end_fd(op->rl, op->id, &op->watch_fd, NULL);
	return 0;
}

int local_start_container(struct local_op *op, struct err *err)
{
	_cleanup_(oci_state_done) struct oci_state st = {0};
	int r = oci_state_read(op->rl->root, op->id, &st, err);
	if (r < 0)
		return r;
	/* started before, by us or by the one before us; how it went is for list to say */
	if (st.status == OCI_RUNNING || (st.status == OCI_STOPPED && st.started_us))
		return 0;
	return start(op, err);
}

int local_remove_container(struct local_op *op, struct err *err)
{
	_cleanup_free_ char *bundle = local_bundle(op->rl, op->id);
	const char *const args[] = {"delete", "--force", op->id, NULL};
	int r = local_minirun(op->rl, args, err);
	return r < 0 ? r : rm_rf(bundle, err);
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* SIGKILL, the wait, and whatever else is left in its control group. */
static int kill_and_wait(struct runtime_local *rl, const char *id, uint64_t deadline_ms, struct err *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_(oci_state_done) struct oci_state st = {0};
	if (oci_state_read(rl->root, id, &st, NULL) < 0)
		return 0;
	(void)local_end_fd(rl, id, &fd, NULL);
	if (st.init.pid > 0)
		(void)proc_kill(&st.init, SIGKILL, NULL, NULL);
	if (!str_empty(st.cgroup))
		(void)cgroup_kill(&rl->fs, st.cgroup, SIGKILL, NULL);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	for (int r = 0; fd >= 0 && r <= 0;) {
		uint64_t now = now_ms();
		if (now >= deadline_ms)
			return err_set(err, -ETIMEDOUT, "container %s does not end", id);
		r = poll(&p, 1, (int)(deadline_ms - now));
	}
	local_note_lost(rl, id);
	return 0;
}

int local_stop_sandbox(struct local_op *op, struct err *err)
{
	uint64_t deadline = now_ms() + STOP_SANDBOX_MS;
	char **ids = local_ids(op->rl, op->id);
	int r = 0;
	for (char **id = ids; *id && r == 0; id++)
		r = kill_and_wait(op->rl, *id, deadline, err);
	local_ids_free(ids);
	return r < 0 ? r : kill_and_wait(op->rl, op->id, deadline, err);
}

int local_remove_sandbox(struct local_op *op, struct err *err)
{
	char **ids = local_ids(op->rl, op->id), own[sizeof(op->id)];
	int r = 0;
	snprintf(own, sizeof(own), "%s", op->id);
	for (char **id = ids; *id && r == 0; id++) {
		snprintf(op->id, sizeof(op->id), "%s", *id);
		r = local_remove_container(op, err);
	}
	local_ids_free(ids);
	snprintf(op->id, sizeof(op->id), "%s", own);
	return r < 0 ? r : local_remove_container(op, err);
}
