#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/core/buf.h"
#include "lib/core/file.h"
#include "nodeagent/runtime_local_priv.h"

#define REQUEST_MAX (4 * 1024 * 1024)
#define CODE_LOST   255

char *local_bundle(const struct runtime_local *rl, const char *id)
{
	return xasprintf("%s/%s", rl->bundles, id);
}

int local_request_read(const struct runtime_local *rl, const char *id, json_t **ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/mini.json", rl->bundles, id);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = file_read(path, REQUEST_MAX, &b, err);
	if (r < 0)
		return r;
	json_error_t je;
	json_t *j = json_loadb(buf_str(&b), b.len, 0, &je);
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(err, -EPROTO, "%s is damaged: %s", path, je.text);
	}
	*ret = j;
	return 0;
}

static int64_t made_us(const struct runtime_local *rl, const char *id)
{
	_cleanup_free_ char *path = local_bundle(rl, id);
	struct stat st;
	return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000 : 0;
}

int local_look(const struct runtime_local *rl, const char *id, struct runtime_container *ret, struct err *err)
{
	struct oci_state st = {0};
	struct oci_exit ex;
	struct runtime_container c = {0};
	json_t *request = NULL;
	int r = local_request_read(rl, id, &request, err);
	if (r < 0)
		return r;
	snprintf(c.id, sizeof(c.id), "%s", id);
	c.is_sandbox = streq(json_string_value(json_object_get(request, "kind")), "sandbox");
	json_decref(request);
	/* a bundle whose container was never (or only half) made: to be created again, or removed */
	if (oci_state_read(rl->root, id, &st, NULL) < 0 || st.status == OCI_CREATING) {
		oci_state_done(&st);
		c.status = RUNTIME_UNKNOWN;
		c.created_us = made_us(rl, id);
		*ret = c;
		return 0;
	}
	c.created_us = st.created_us;
	c.started_us = st.started_us;
	c.status = st.status == OCI_CREATED ? RUNTIME_CREATED : RUNTIME_RUNNING;
	c.pid = (int)st.init.pid;
	if (st.status == OCI_STOPPED) {
		c.status = RUNTIME_EXITED;
		c.pid = 0;
		bool known = oci_exit_read(rl->root, id, &ex, NULL) == 0;
		c.exit_code = known ? ex.code : CODE_LOST;
		c.signal = known ? ex.signal : 0;
		c.oom_killed = known && ex.oom_killed;
		c.finished_us = known ? ex.finished_us : st.created_us;
	}
	oci_state_done(&st);
	*ret = c;
	return 0;
}

static bool in_sandbox(const struct runtime_local *rl, const char *id, const char *sandbox)
{
	json_t *request = NULL;
	if (local_request_read(rl, id, &request, NULL) < 0)
		return false;
	bool in = streq(json_string_value(json_object_get(request, "sandbox")), sandbox);
	json_decref(request);
	return in;
}

char **local_ids(const struct runtime_local *rl, const char *sandbox)
{
	char **ids = NULL;
	size_t n = 0, cap = 0;
	DIR *d = opendir(rl->bundles);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (!oci_id_valid(e->d_name) || (sandbox && !in_sandbox(rl, e->d_name, sandbox)))
			continue;
		GROW(ids, cap, n + 2);
		ids[n++] = xstrdup(e->d_name);
	}
	if (d)
		closedir(d);
	if (!ids)
		ids = NEW_N(char *, 1);
	ids[n] = NULL;
	return ids;
}

void local_ids_free(char **ids)
{
	for (char **p = ids; p && *p; p++)
		free(*p);
	free(ids);
}

/* posix_spawn, not fork: a copy of this process's page tables would hold up the loop. */
static int spawn(const struct runtime_local *rl, const char *const *args, int err_fd, pid_t *ret, struct err *err)
{
	const char *argv[32] = {rl->minirun, "--root", rl->root};
	size_t n = 3;
	for (; *args; args++) {
		MUST(n < ARRAY_LEN(argv) - 1);
		argv[n++] = *args;
	}
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, err_fd, 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	int r = posix_spawn(ret, rl->minirun, &fa, &attr, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return r ? err_set(err, -r, "can't run %s: %s", rl->minirun, strerror(r)) : 0;
}

int local_minirun(const struct runtime_local *rl, const char *const *args, struct err *err)
{
	int fds[2], status;
	pid_t pid;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	int r = spawn(rl, args, fds[1], &pid, err);
	close(fds[1]);
	char text[1024];
	size_t len = 0;
	for (ssize_t n; r == 0 && (n = read(fds[0], text + len, sizeof(text) - 1 - len)) != 0;) {
		if (n > 0)
			len += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	close(fds[0]);
	if (r < 0)
		return r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, "wait for minirun");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	text[len] = 0;
	text[strcspn(text, "\n")] = 0;
	const char *message = str_starts(text, "minirun: ") ? text + 9 : text;
	if (!*message)
		return err_set(err, -EIO, "minirun %s ended with status %d and no word", args[0], status);
	return err_set(err, -EIO, "%s", message);
}

int local_end_fd(const struct runtime_local *rl, const char *id, int *ret_fd, struct err *err)
{
	struct proc_id shim;
	struct oci_state st = {0};
	if (oci_shim_read(rl->root, id, &shim, NULL) == 0 && proc_alive(&shim) && proc_open(&shim, ret_fd, NULL) == 0)
		return 0;
	int r = oci_state_read(rl->root, id, &st, err);
	if (r < 0)
		return r == -ENOENT ? err_set(err, -ESRCH, "container %s is gone", id) : r;
	bool up = st.status == OCI_CREATED || st.status == OCI_RUNNING;
	r = up ? proc_open(&st.init, ret_fd, err) : err_set(err, -ESRCH, "container %s has ended", id);
	oci_state_done(&st);
	return r;
}

void local_note_lost(const struct runtime_local *rl, const char *id)
{
	struct oci_state st = {0};
	struct oci_exit ex;
	struct proc_id shim;
	struct timespec now;
	if (oci_state_read(rl->root, id, &st, NULL) < 0)
		return;
	bool shim_lives = oci_shim_read(rl->root, id, &shim, NULL) == 0 && proc_alive(&shim);
	if (st.status == OCI_STOPPED && !shim_lives && oci_exit_read(rl->root, id, &ex, NULL) == -ENOENT) {
		clock_gettime(CLOCK_REALTIME, &now);
		ex = (struct oci_exit){.code = CODE_LOST, .started_us = st.started_us};
		ex.finished_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
		ex.oom_killed = !str_empty(st.cgroup) && cgroup_oom_kills(&rl->fs, st.cgroup) > 0;
		(void)oci_exit_write(rl->root, id, &ex, NULL);
	}
	oci_state_done(&st);
}
