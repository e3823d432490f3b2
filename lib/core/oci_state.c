#include "lib/core/oci_state.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>

#include "lib/core/file.h"

#define FILE_MAX (64 * 1024)

static const char *const status_names[] = {"creating", "created", "running", "stopped"};

const char *oci_status_str(enum oci_status s)
{
	return (unsigned)s < ARRAY_LEN(status_names) ? status_names[s] : "unknown";
}

bool oci_id_valid(const char *id)
{
	size_t n = id ? strlen(id) : 0;
	if (n < 1 || n > 100 || id[0] == '.')
		return false;
	for (const char *p = id; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		      strchr("_+.-", *p)))
			return false;
	return true;
}

static int path_of(const char *root, const char *id, const char *file, char **ret, struct err *err)
{
	if (!oci_id_valid(id))
		return err_set(err, -EINVAL, "container id %.110s is not valid", id ? id : "(none)");
	*ret = xasprintf("%s/%s/%s", root, id, file);
	return 0;
}

#define _cleanup_json_ _cleanup_(json_decrefp)

/* One of our files as a JSON object of a version we understand. */
static int read_object(const char *root, const char *id, const char *file, json_t **ret, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	int r = path_of(root, id, file, &path, err);
	if (r < 0)
		return r;
	_cleanup_buf_ struct buf b = BUF_INIT;
	r = file_read(path, FILE_MAX, &b, err);
	if (r == -ENOENT)
		return err_set(err, -ENOENT, "container %s: no %s", id, file);
	if (r == -EFBIG)
		return err_set(err, -EPROTO, "%s is larger than %d bytes", path, FILE_MAX);
	if (r < 0)
		return r;
	json_error_t je;
	_cleanup_json_ json_t *j = json_loadb(buf_str(&b), b.len, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(j))
		return err_set(err, -EPROTO, "%s is not a JSON object: %s", path, j ? "wrong type" : je.text);
	json_int_t version = json_integer_value(json_object_get(j, "miniVersion"));
	if (version < 1 || version > OCI_STATE_VERSION)
		return err_set(err, -EPROTO, "%s has version %lld, this program understands %d", path,
			       (long long)version, OCI_STATE_VERSION);
	*ret = STEAL(j);
	return 0;
}

static int write_object(const char *root, const char *id, const char *file, json_t *j, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	int r = path_of(root, id, file, &path, err);
	if (r < 0)
		return r;
	char *text = json_dumps(j, JSON_COMPACT);
	MUST(text);
	size_t n = strlen(text);
	r = n > FILE_MAX ? err_set(err, -EFBIG, "%s would be larger than %d bytes", path, FILE_MAX)
			 : file_write_fleeting(path, text, n, 0600, err);
	free(text);
	return r;
}

static json_t *proc_json(const struct proc_id *p)
{
	return json_pack("{s:i,s:I,s:s}", "pid", (int)p->pid, "startTime", (json_int_t)p->start_time, "bootId",
			 p->boot_id);
}

static const char *str_member(json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));
	return s ? s : "";
}

static int proc_parse(json_t *j, struct proc_id *ret)
{
	json_int_t pid = json_integer_value(json_object_get(j, "pid"));
	json_int_t start = json_integer_value(json_object_get(j, "startTime"));
	const char *boot = str_member(j, "bootId");
	if (pid < 0 || pid > INT32_MAX || start < 0 || strlen(boot) >= sizeof(ret->boot_id))
		return -EPROTO;
	ret->pid = (pid_t)pid;
	ret->start_time = (uint64_t)start;
	strcpy(ret->boot_id, boot);
	return 0;
}

static int status_parse(const char *s, enum oci_status *ret)
{
	for (unsigned i = 0; i < ARRAY_LEN(status_names); i++)
		if (streq(s, status_names[i])) {
			*ret = (enum oci_status)i;
			return 0;
		}
	return -EPROTO;
}

int oci_state_read(const char *root, const char *id, struct oci_state *ret, struct err *err)
{
	_cleanup_json_ json_t *j = NULL;
	int r = read_object(root, id, "state.json", &j, err);
	if (r == -ENOENT)
		return err_set(err, -ENOENT, "container %s does not exist", id);
	if (r < 0)
		return r;
	struct oci_state st = {0};
	if (proc_parse(json_object_get(j, "init"), &st.init) < 0 ||
	    status_parse(str_member(j, "status"), &st.status) < 0)
		return err_set(err, -EPROTO, "%s/%s/state.json has no valid init or status", root, id);
	snprintf(st.id, sizeof(st.id), "%s", id);
	st.bundle = xstrdup(str_member(j, "bundle"));
	st.rootfs = xstrdup(str_member(j, "rootfs"));
	st.cgroup = xstrdup(str_member(j, "cgroup"));
	st.created_us = json_integer_value(json_object_get(j, "createdUs"));
	st.started_us = json_integer_value(json_object_get(j, "startedUs"));
	if ((st.status == OCI_CREATED || st.status == OCI_RUNNING) && !proc_alive(&st.init))
		st.status = OCI_STOPPED;
	*ret = st;
	return 0;
}

int oci_state_write(const char *root, const struct oci_state *st, struct err *err)
{
	_cleanup_json_ json_t *j = json_pack(
		"{s:i,s:s,s:s,s:o,s:s,s:s,s:s,s:I,s:I}", "miniVersion", OCI_STATE_VERSION, "id", st->id, "status",
		oci_status_str(st->status), "init", proc_json(&st->init), "bundle", st->bundle ? st->bundle : "",
		"rootfs", st->rootfs ? st->rootfs : "", "cgroup", st->cgroup ? st->cgroup : "", "createdUs",
		(json_int_t)st->created_us, "startedUs", (json_int_t)st->started_us);
	if (!j)
		return err_set(err, -EINVAL, "container %s: a path is not valid UTF-8", st->id);
	return write_object(root, st->id, "state.json", j, err);
}

void oci_state_done(struct oci_state *st)
{
	if (!st)
		return;
	free(st->bundle);
	free(st->rootfs);
	free(st->cgroup);
	*st = (struct oci_state){0};
}

int oci_exit_read(const char *root, const char *id, struct oci_exit *ret, struct err *err)
{
	_cleanup_json_ json_t *j = NULL;
	int r = read_object(root, id, "exit.json", &j, err);
	if (r < 0)
		return r;
	json_t *code = json_object_get(j, "code");
	json_int_t signal = json_integer_value(json_object_get(j, "signal"));
	if (!json_is_integer(code) || json_integer_value(code) < 0 || json_integer_value(code) > 255 || signal < 0 ||
	    signal > SIGRTMAX)
		return err_set(err, -EPROTO, "%s/%s/exit.json has no valid code or signal", root, id);
	*ret = (struct oci_exit){
		.code = (int)json_integer_value(code),
		.signal = (int)signal,
		.oom_killed = json_is_true(json_object_get(j, "oomKilled")),
		.started_us = json_integer_value(json_object_get(j, "startedUs")),
		.finished_us = json_integer_value(json_object_get(j, "finishedUs")),
	};
	return 0;
}

int oci_exit_write(const char *root, const char *id, const struct oci_exit *ex, struct err *err)
{
	_cleanup_json_ json_t *j = json_pack("{s:i,s:i,s:i,s:b,s:I,s:I}", "miniVersion", OCI_STATE_VERSION, "code",
					     ex->code, "signal", ex->signal, "oomKilled", ex->oom_killed, "startedUs",
					     (json_int_t)ex->started_us, "finishedUs", (json_int_t)ex->finished_us);
	MUST(j);
	return write_object(root, id, "exit.json", j, err);
}

int oci_shim_read(const char *root, const char *id, struct proc_id *ret, struct err *err)
{
	_cleanup_json_ json_t *j = NULL;
	int r = read_object(root, id, "shim.json", &j, err);
	if (r < 0)
		return r;
	struct proc_id p = {0};
	if (proc_parse(j, &p) < 0 || p.pid == 0)
		return err_set(err, -EPROTO, "%s/%s/shim.json names no process", root, id);
	*ret = p;
	return 0;
}

int oci_shim_write(const char *root, const char *id, const struct proc_id *shim, struct err *err)
{
	_cleanup_json_ json_t *j = proc_json(shim);
	MUST(j);
	json_object_set_new(j, "miniVersion", json_integer(OCI_STATE_VERSION));
	return write_object(root, id, "shim.json", j, err);
}
