#include "runtime/container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/core/file.h"
#include "runtime/console.h"
#include "runtime/hooks.h"
#include "runtime/resources.h"
#include "runtime/rootfs.h"

#define SECCOMP_ANNOTATION "dev.mini.seccomp"

int64_t wall_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void container_done(struct container *c)
{
	process_done(&c->process);
	spec_done(&c->spec);
	seccomp_filter_free(c->filter);
	oci_state_done(&c->state);
	closep(&c->dir_fd);
	closep(&c->sync_fd);
	closep(&c->init_sync_fd);
	closep(&c->start_fd);
	closep(&c->console_fd);
	*c = CONTAINER_INIT;
}

int container_lock(const struct runtime_global *g, const char *id, int *ret_fd, struct err *err)
{
	if (!oci_id_valid(id))
		return err_set(err, -EINVAL, "container id %.110s is not valid", id);
	_cleanup_free_ char *dir = xasprintf("%s/%s", g->root, id);
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(err, -ENOENT, "container %s does not exist", id)
				       : err_errno(err, "%s", dir);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(err, "lock %s", dir);
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int container_spec(const struct oci_state *st, struct spec *ret, struct err *err)
{
	return spec_load(st->bundle, ret, err);
}

int container_filter(const struct runtime_global *g, const struct spec *s, uint64_t bounding,
		     struct seccomp_filter **ret, struct err *err)
{
	_cleanup_free_ char *cache = xasprintf("%s/.seccomp", g->root);
	json_t *j = json_at(s->json, "linux.seccomp");
	const char *named = spec_annotation(s, SECCOMP_ANNOTATION);
	*ret = NULL;
	if (json_is_object(j))
		return seccomp_from_json(j, cache, ret, err);
	if (!named || streq(named, "unconfined"))
		return 0;
	if (!streq(named, "default"))
		return err_set(err, -EINVAL, "config.json: annotation %s is neither default nor unconfined",
			       SECCOMP_ANNOTATION);
	return seccomp_default(bounding, cache, ret, err);
}

/* ---- create ---- */

static int choose_group(struct container *c, struct err *err)
{
	const char *path = c->spec.cgroup_path;
	int r = cgroup_fs_open(CGROUP_ROOT, &c->fs, err);
	if (r < 0)
		return r;
	if (c->global->systemd_cgroup)
		return err_set(err, -ENOTSUP,
			       "systemd as control group manager is not supported: use cgroupfs "
			       "(podman --cgroup-manager=cgroupfs)");
	if (str_empty(path))
		c->state.cgroup = xasprintf("/minirun-%s", c->state.id);
	else
		c->state.cgroup = xasprintf("%s%s", path[0] == '/' ? "" : "/", path);
	if (!cgroup_path_valid(c->state.cgroup))
		return err_set(err, -EINVAL, "config.json: linux.cgroupsPath %.200s is not valid", path);
	c->group = c->state.cgroup;
	return 0;
}

static int load(struct container *c, const char *id, struct err *err)
{
	int r;
	if ((r = spec_load(c->options->bundle, &c->spec, err)) < 0 ||
	    (r = process_parse(json_object_get(c->spec.json, "process"), &c->process, err)) < 0)
		return r;
	snprintf(c->state.id, sizeof(c->state.id), "%s", id);
	c->state.bundle = xstrdup(c->spec.bundle);
	c->state.created_us = wall_us();
	if ((r = choose_group(c, err)) < 0)
		return r;
	if ((r = container_filter(c->global, &c->spec, c->process.caps.bounding, &c->filter, err)) < 0)
		return r;
	c->process.filter = c->filter;
	c->process.preserve_fds = c->options->preserve_fds;
	bool has_console = c->options->console_socket || c->options->console_fd >= 0;
	if (c->process.terminal && !has_console)
		return err_set(err, -EINVAL, "config.json: process.terminal needs --console-socket");
	if (!c->process.terminal && c->options->console_socket)
		return err_set(err, -EINVAL, "--console-socket is given, but process.terminal is not set");
	if (!c->process.terminal)
		return 0;
	c->console_fd = c->options->console_fd >= 0 ? fcntl(c->options->console_fd, F_DUPFD_CLOEXEC, 3)
						    : console_connect(c->options->console_socket, err);
	return c->console_fd < 0 ? c->console_fd : 0;
}

/* The id is ours while we hold its folder's lock, and once state.json is there. A folder without it is a shim's that called us, or what a crash left. */
static int claim(struct container *c, struct err *err)
{
	int r = mkdir_p(c->global->root, 0700, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *dir = xasprintf("%s/%s", c->global->root, c->state.id);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_errno(err, "%s", dir);
	if ((r = container_lock(c->global, c->state.id, &c->dir_fd, err)) < 0)
		return r;
	if (faccessat(c->dir_fd, "state.json", F_OK, 0) == 0)
		return err_set(err, -EEXIST, "container %s exists already", c->state.id);
	return 0;
}

static int record_creating(struct container *c, struct err *err)
{
	c->state.status = OCI_CREATING;
	return oci_state_write(c->global->root, &c->state, err);
}

static int listen_for_start(struct container *c, struct err *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	/* by descriptor: ROOT may be longer than a socket's name can be */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/start.sock", c->dir_fd);
	c->start_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	(void)!unlinkat(c->dir_fd, "start.sock", 0);
	if (c->start_fd < 0 || bind(c->start_fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(c->start_fd, 4) < 0)
		return err_errno(err, "start socket of %s", c->state.id);
	return 0;
}

static int write_map(pid_t pid, const char *file, json_t *maps, struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *e;
	json_array_foreach(maps, i, e)
		buf_addf(&b, "%lld %lld %lld\n", (long long)json_integer_value(json_object_get(e, "containerID")),
			 (long long)json_integer_value(json_object_get(e, "hostID")),
			 (long long)json_integer_value(json_object_get(e, "size")));
	if (b.len == 0)
		return err_set(err, -EINVAL, "config.json: a user namespace needs linux.uidMappings and gidMappings");
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)pid, file);
	return file_write(path, b.data, err);
}

static int map_ids(const struct container *c, struct err *err)
{
	if (!(c->spec.new_ns & CLONE_NEWUSER))
		return 0;
	int r = write_map(c->state.init.pid, "uid_map", json_at(c->spec.json, "linux.uidMappings"), err);
	return r < 0 ? r : write_map(c->state.init.pid, "gid_map", json_at(c->spec.json, "linux.gidMappings"), err);
}

static int join_pid_namespace(const struct spec *s, struct err *err)
{
	for (unsigned i = 0; i < s->n_join; i++) {
		if (s->join[i].flag != CLONE_NEWPID)
			continue;
		_cleanup_close_ int fd = open(s->join[i].path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWPID) < 0)
			return err_errno(err, "can't join namespace %s", s->join[i].path);
	}
	return 0;
}

pid_t clone_process(uint64_t flags, int cgroup_fd)
{
	struct clone_args a = {.flags = flags, .exit_signal = SIGCHLD};
	if (cgroup_fd >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cgroup_fd;
	}
	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

static int spawn_init(struct container *c, struct err *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, "socketpair");
	c->sync_fd = pair[0];
	c->init_sync_fd = pair[1];
	_cleanup_close_ int cgroup_fd = -1;
	int r;
	if ((r = join_pid_namespace(&c->spec, err)) < 0 ||
	    (r = cgroup_open_unified(&c->fs, c->group, &cgroup_fd, err)) < 0)
		return r;
	pid_t pid = clone_process(c->spec.new_ns & (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUSER), cgroup_fd);
	if (pid < 0)
		return err_errno(err, "can't clone the container's init");
	if (pid == 0)
		init_main(c);
	closep(&c->init_sync_fd);
	c->init_sync_fd = -1;
	closep(&c->start_fd);
	c->start_fd = -1;
	return proc_identify(pid, &c->state.init, err);
}

/* What init says next; its hooks are run in our namespaces when it asks. */
static int await_ready(struct container *c, struct err *err)
{
	for (;;) {
		int kind, r = sync_receive(c->sync_fd, &kind, err);
		if (r < 0 || kind == SYNC_READY)
			return r;
		if (kind == 0)
			return err_set(err, -EIO, "the container's init ended before it was ready");
		if (kind == SYNC_HOOKS && ((r = hooks_run(&c->spec, "prestart", &c->state, err)) < 0 ||
					   (r = hooks_run(&c->spec, "createRuntime", &c->state, err)) < 0))
			return r;
		if (sync_send(c->sync_fd, SYNC_GO, NULL) < 0)
			return err_set(err, -EIO, "the container's init is gone");
	}
}

/* Where init is born in a control group of its own, that must be on record first. Elsewhere it has made nothing yet that
 * outlives us, and namespaces take it longer than the record takes us: both at once. */
static int record_and_spawn(struct container *c, struct err *err)
{
	bool early = c->fs.unified < 0;
	int r = early ? 0 : record_creating(c, err);
	if (r < 0 || (r = spawn_init(c, err)) < 0)
		return r;
	return early ? record_creating(c, err) : 0;
}

static int bring_up(struct container *c, struct err *err)
{
	int r;
	if ((!c->options->start && (r = listen_for_start(c, err)) < 0) || (r = record_and_spawn(c, err)) < 0)
		return r;
	json_t *linux_ = json_object_get(c->spec.json, "linux");
	if ((r = cgroup_make(&c->fs, c->group, err)) < 0 ||
	    (r = resources_apply(&c->fs, c->group, json_object_get(linux_, "resources"),
				 json_object_get(linux_, "devices"), err)) < 0 ||
	    (r = map_ids(c, err)) < 0)
		return r;
	if (sync_send(c->sync_fd, SYNC_GO, NULL) < 0)
		return err_set(err, -EIO, "the container's init is gone");
	return await_ready(c, err);
}

static int write_pid(const struct container *c, struct err *err)
{
	char pid[16];
	if (!c->options->pid_file)
		return 0;
	snprintf(pid, sizeof(pid), "%d", (int)c->state.init.pid);
	return file_write_replace(c->options->pid_file, pid, strlen(pid), 0644, err);
}

/* A created container may be started only once it is on record. One that starts at once has had "creating" there, by
 * which all of it can be found and removed: it does not wait for the rest. */
static int commit(struct container *c, struct err *err)
{
	bool start = c->options->start;
	int r, kind;
	c->state.status = start ? OCI_RUNNING : OCI_CREATED;
	c->state.started_us = start ? wall_us() : 0;
	if ((r = oci_state_write(c->global->root, &c->state, err)) < 0 || (r = write_pid(c, err)) < 0)
		return r;
	if (!start)
		return sync_send(c->sync_fd, SYNC_COMMITTED, NULL) == 0
			       ? 0
			       : err_set(err, -EIO, "the container's init is gone");
	/* closed without a word: exec has happened */
	if ((r = sync_receive(c->sync_fd, &kind, err)) < 0)
		return r;
	return hooks_run(&c->spec, "poststart", &c->state, err);
}

/* A failed create leaves nothing, not even the id. */
static void abandon(struct container *c)
{
	if (c->state.init.pid > 0) {
		(void)proc_kill(&c->state.init, SIGKILL, NULL, NULL);
		(void)waitpid(c->state.init.pid, NULL, 0);
	}
	closep(&c->sync_fd);
	c->sync_fd = -1;
	(void)hooks_run(&c->spec, "poststop", &c->state, NULL);
	(void)cgroup_remove(&c->fs, c->group, 1000, NULL);
	_cleanup_free_ char *dir = xasprintf("%s/%s", c->global->root, c->state.id);
	(void)rm_rf(dir, NULL);
}

int container_create(struct container *c, const struct runtime_global *g, const struct create_options *o,
		     const char *id, struct err *err)
{
	*c = CONTAINER_INIT;
	c->global = g;
	c->options = o;
	if (!oci_id_valid(id))
		return err_set(err, -EINVAL, "container id %.110s is not valid", id);
	int r;
	if ((r = load(c, id, err)) < 0 || (r = claim(c, err)) < 0)
		return r;
	if ((r = bring_up(c, err)) < 0 || (r = commit(c, err)) < 0)
		abandon(c);
	return r;
}

/* ---- start ---- */

static int connect_start(int dir_fd)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/start.sock", dir_fd);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return STEAL_FD(fd);
}

int container_start(const struct runtime_global *g, const char *id, struct err *err)
{
	_cleanup_close_ int dir_fd = -1, fd = -1;
	_cleanup_(oci_state_done) struct oci_state st = {0};
	int r, kind;
	if ((r = container_lock(g, id, &dir_fd, err)) < 0 || (r = oci_state_read(g->root, id, &st, err)) < 0)
		return r;
	if (st.status != OCI_CREATED)
		return err_set(err, st.status == OCI_RUNNING ? -EALREADY : -ESRCH,
			       "container %s can't be started: it is %s", id, oci_status_str(st.status));
	/* before it runs: one that ends at once has ended later than this */
	st.started_us = wall_us();
	fd = connect_start(dir_fd);
	/* Nobody listens, but it lives: an earlier start came this far and died before it could write that down. */
	if (fd < 0 && fd != -ECONNREFUSED && fd != -ENOENT)
		return err_set(err, fd, "container %s: start socket: %s", id, strerror(-fd));
	if (fd >= 0 && (sync_send(fd, SYNC_START, NULL) < 0 || (r = sync_receive(fd, &kind, err)) < 0))
		return r < 0 ? r : err_set(err, -EIO, "container %s: its init is gone", id);
	st.status = OCI_RUNNING;
	(void)!unlinkat(dir_fd, "start.sock", 0);
	if ((r = oci_state_write(g->root, &st, err)) < 0)
		return r;
	__attribute__((cleanup(spec_done))) struct spec s = {0};
	/* the bundle is read only when somebody may have hooks in it */
	if (container_spec(&st, &s, NULL) < 0)
		return 0;
	return hooks_run(&s, "poststart", &st, err);
}

/* ---- kill, delete ---- */

int container_kill(const struct runtime_global *g, const char *id, int sig, bool all, struct err *err)
{
	_cleanup_(oci_state_done) struct oci_state st = {0};
	int r = oci_state_read(g->root, id, &st, err);
	if (r < 0)
		return r;
	if (all && !str_empty(st.cgroup)) {
		struct cgroup_fs fs;
		if ((r = cgroup_fs_open(CGROUP_ROOT, &fs, err)) < 0)
			return r;
		return cgroup_kill(&fs, st.cgroup, sig, err);
	}
	bool gone = st.status == OCI_STOPPED || st.init.pid == 0;
	if (!gone && (r = proc_kill(&st.init, sig, &gone, err)) < 0)
		return r;
	return gone ? err_set(err, -ESRCH, "container %s is not running", id) : 0;
}

/* Until the kernel says it is gone; as a zombie it is (its parent reaps it in its own time). */
static int wait_gone(const struct proc_id *p, int timeout_ms, struct err *err)
{
	_cleanup_close_ int fd = -1;
	int r = proc_open(p, &fd, err);
	if (r == -ESRCH)
		return 0;
	if (r < 0)
		return r;
	struct pollfd pf = {.fd = fd, .events = POLLIN};
	while ((r = poll(&pf, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	return r > 0 ? 0 : err_set(err, -ETIMEDOUT, "process %d does not end", (int)p->pid);
}

static int stop_for_delete(struct oci_state *st, bool force, struct err *err)
{
	int r;
	if (st->status == OCI_STOPPED || st->init.pid == 0)
		return 0;
	if (!force && st->status != OCI_CREATING)
		return err_set(err, -EBUSY, "container %s is not stopped: it is %s (delete --force kills it)", st->id,
			       oci_status_str(st->status));
	if ((r = proc_kill(&st->init, SIGKILL, NULL, err)) < 0)
		return r;
	return wait_gone(&st->init, 10000, err);
}

/* A shim whose container ended writes its last words into the folder: they must not appear while it is being removed. */
static int wait_shim(const char *root, const char *id, struct err *err)
{
	struct proc_id shim;
	if (oci_shim_read(root, id, &shim, NULL) < 0 || shim.pid == getpid())
		return 0;
	return wait_gone(&shim, 10000, err);
}

int container_finish(struct container *c, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", c->global->root, c->state.id);
	int r = cgroup_remove(&c->fs, c->group, 5000, err);
	if (r < 0)
		return r;
	c->state.status = OCI_STOPPED;
	(void)hooks_run(&c->spec, "poststop", &c->state, NULL);
	/* nearly always there is just the one file */
	if (unlinkat(c->dir_fd, "state.json", 0) == 0 && rmdir(dir) == 0)
		return 0;
	return rm_rf(dir, err);
}

int container_delete(const struct runtime_global *g, const char *id, bool force, struct err *err)
{
	_cleanup_close_ int dir_fd = -1;
	_cleanup_(oci_state_done) struct oci_state st = {0};
	_cleanup_free_ char *dir = xasprintf("%s/%s", g->root, id);
	int r = container_lock(g, id, &dir_fd, err);
	if (r == -ENOENT && force)
		return 0;
	if (r < 0)
		return r;
	r = oci_state_read(g->root, id, &st, err);
	/* nothing was recorded, so nothing was made; a damaged state is cleaned by its folder alone */
	if ((r == -ENOENT || r == -EPROTO) && force)
		return rm_rf(dir, err);
	if (r < 0 || (r = stop_for_delete(&st, force, err)) < 0 || (r = wait_shim(g->root, id, err)) < 0)
		return r;
	if (!str_empty(st.cgroup)) {
		struct cgroup_fs fs;
		if ((r = cgroup_fs_open(CGROUP_ROOT, &fs, err)) < 0 ||
		    (r = cgroup_remove(&fs, st.cgroup, 5000, err)) < 0)
			return r;
	}
	__attribute__((cleanup(spec_done))) struct spec s = {0};
	st.status = OCI_STOPPED;
	/* a bundle that is gone has no hooks; a hook that fails must not keep the container */
	if (container_spec(&st, &s, NULL) == 0)
		(void)hooks_run(&s, "poststop", &st, NULL);
	return rm_rf(dir, err);
}
