/* The container's first process, from clone to exec: it makes its own world and tells its creator how it went. */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/core/file.h"
#include "runtime/console.h"
#include "runtime/container.h"
#include "runtime/hooks.h"
#include "runtime/mounts.h"
#include "runtime/rootfs.h"

/* The creator's word. Without a creator there is nothing to wait for: an init nobody has recorded must not live. */
static int await(struct container *c)
{
	int kind = 0;
	if (sync_receive(c->init_sync_fd, &kind, NULL) < 0 || kind == 0)
		_exit(1);
	return kind;
}

static void tell(struct container *c, enum sync_kind kind)
{
	if (sync_send(c->init_sync_fd, kind, NULL) < 0)
		_exit(1);
}

static int join_namespaces(const struct spec *s, struct err *err)
{
	for (unsigned i = 0; i < s->n_join; i++) {
		if (s->join[i].flag == CLONE_NEWPID)
			continue; /* joined by the creator: it takes effect on children */
		_cleanup_close_ int fd = open(s->join[i].path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, s->join[i].flag) < 0)
			return err_errno(err, "can't join namespace %s", s->join[i].path);
	}
	return 0;
}

static int set_names(const struct spec *s, struct err *err)
{
	if (!str_empty(s->hostname) && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return err_errno(err, "hostname %s", s->hostname);
	if (!str_empty(s->domainname) && setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return err_errno(err, "domainname %s", s->domainname);
	return 0;
}

/* Only what belongs to a namespace of the container's own; anything else would change the host. */
static bool sysctl_is_namespaced(const struct spec *s, const char *name)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
					  "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
	bool net = (s->new_ns & CLONE_NEWNET) || spec_joins(s, CLONE_NEWNET);
	bool has_ipc = (s->new_ns & CLONE_NEWIPC) || spec_joins(s, CLONE_NEWIPC);
	if (str_starts(name, "net."))
		return net;
	if (str_starts(name, "fs.mqueue."))
		return has_ipc;
	for (unsigned i = 0; i < ARRAY_LEN(ipc); i++)
		if (streq(name, ipc[i]))
			return has_ipc;
	return streq(name, "kernel.domainname") && (s->new_ns & CLONE_NEWUTS);
}

static int set_sysctls(const struct spec *s, struct err *err)
{
	const char *key;
	json_t *v;
	json_object_foreach(json_at(s->json, "linux.sysctl"), key, v)
	{
		_cleanup_free_ char *name = xstrdup(key);
		bool slashes = strchr(name, '/') && !strchr(name, '.');
		for (char *p = name; slashes && *p; p++)
			*p = *p == '/' ? '.' : *p;
		if (!json_is_string(v) || strstr(name, "..") || strchr(name, '/') || !sysctl_is_namespaced(s, name))
			return err_set(err, -EINVAL, "sysctl %.100s is not in a namespace of the container", key);
		_cleanup_free_ char *path = xasprintf("/proc/sys/%s", name);
		for (char *p = path + 10; *p; p++)
			*p = *p == '.' ? '/' : *p;
		int r = file_write(path, json_string_value(v), err);
		if (r < 0)
			return err_prefix(err, "sysctl %s", key);
	}
	return 0;
}

/* The session keyring of whoever called us is not the container's to read. */
static int new_keyring(const struct container *c, struct err *err)
{
	if (c->options->no_new_keyring)
		return 0;
	_cleanup_free_ char *name = xasprintf("_ses.%s", c->state.id);
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS && errno != EDQUOT &&
	    errno != EPERM)
		return err_errno(err, "session keyring");
	return 0;
}

static int be_root_of_user_namespace(const struct spec *s, struct err *err)
{
	if (!(s->new_ns & CLONE_NEWUSER))
		return 0;
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return err_errno(err, "the user namespace maps no root");
	return 0;
}

static int prepare_namespaces(struct container *c, struct err *err)
{
	const struct spec *s = &c->spec;
	/* Made here and not by clone: this costs a millisecond, in which the creator makes the control groups. */
	int later = (int)s->new_ns & (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
	bool user = s->new_ns & CLONE_NEWUSER;
	int r;
	if (!user && later && unshare(later) < 0)
		return err_errno(err, "can't make namespaces");
	await(c); /* the control groups are there, ids mapped */
	if ((r = cgroup_enter_self_v1(&c->fs, c->group, err)) < 0 || (r = be_root_of_user_namespace(s, err)) < 0)
		return r;
	if (user && later && unshare(later) < 0)
		return err_errno(err, "can't make namespaces");
	if ((r = join_namespaces(s, err)) < 0)
		return r;
	if ((s->new_ns & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(err, "can't make a cgroup namespace");
	if (hooks_any(s, "prestart") || hooks_any(s, "createRuntime")) {
		tell(c, SYNC_HOOKS);
		await(c);
	}
	return 0;
}

static int prepare_root(struct container *c, struct err *err)
{
	const struct spec *s = &c->spec;
	_cleanup_close_ int root_fd = -1;
	int r;
	if ((r = rootfs_attach(s, &root_fd, err)) < 0 || (r = mounts_make(s, root_fd, &c->fs, c->group, err)) < 0 ||
	    (r = rootfs_devices(s, root_fd, err)) < 0 || (r = mounts_hide(s, root_fd, err)) < 0 ||
	    (r = hooks_run(s, "createContainer", &c->state, err)) < 0)
		return r;
	return rootfs_enter(s, root_fd, err);
}

static int prepare(struct container *c, struct err *err)
{
	int r;
	umask(0);
	if (setsid() < 0)
		return err_errno(err, "setsid");
	if ((r = prepare_namespaces(c, err)) < 0 || (r = process_early(&c->process, err)) < 0 ||
	    (r = set_names(&c->spec, err)) < 0 || (r = set_sysctls(&c->spec, err)) < 0 ||
	    (r = new_keyring(c, err)) < 0 || (r = prepare_root(c, err)) < 0)
		return r;
	if (c->process.terminal &&
	    (r = console_setup(c->console_fd, c->process.uid, c->process.rows, c->process.cols, err)) < 0)
		return r;
	umask(0022);
	if ((r = process_enter_cwd(&c->process, err)) < 0)
		return r;
	return process_find(&c->process, err);
}

/* Where to say that exec failed: the one who started us. That is the creator where creating is starting: there is nothing
 * to wait for then but its death, which would have been noticed in telling. */
static int await_start(struct container *c)
{
	tell(c, SYNC_READY);
	if (c->options->start)
		return c->init_sync_fd;
	await(c);
	close(c->init_sync_fd);
	for (;;) {
		int fd = accept4(c->start_fd, NULL, NULL, SOCK_CLOEXEC), kind = 0;
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			_exit(1);
		}
		/* a starter that died before it said so has started nothing */
		if (sync_receive(fd, &kind, NULL) == 0 && kind == SYNC_START) {
			close(c->start_fd);
			return fd;
		}
		close(fd);
	}
}

static void reset_signals(void)
{
	sigset_t none;
	for (int sig = 1; sig < _NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Everything but what init needs and what the caller passes on. Not at exec but now: a copy of the creator's lock or of
 * its pipes would keep others waiting until the container is started. */
static void close_others(struct container *c)
{
	int keep[] = {2 + c->options->preserve_fds, c->init_sync_fd, c->start_fd, c->console_fd};
	for (unsigned i = 0; i < ARRAY_LEN(keep); i++)
		for (unsigned k = i; k > 0 && keep[k] < keep[k - 1]; k--) {
			int t = keep[k];
			keep[k] = keep[k - 1];
			keep[k - 1] = t;
		}
	unsigned from = (unsigned)(3 + c->options->preserve_fds);
	for (unsigned i = 0; i < ARRAY_LEN(keep); i++) {
		if (keep[i] < (int)from)
			continue;
		if (keep[i] > (int)from)
			close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	close_range(from, ~0u, 0);
	c->sync_fd = c->dir_fd = -1;
}

void init_main(struct container *c)
{
	_cleanup_err_ struct err err = ERR_INIT;
	reset_signals();
	close_others(c);
	/* Nobody in a joined pid namespace may look into us before exec. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (prepare(c, &err) < 0) {
		sync_send(c->init_sync_fd, SYNC_ERROR, &err);
		_exit(1);
	}
	int fd = await_start(c);
	if (hooks_run(&c->spec, "startContainer", &c->state, &err) == 0 && process_confine(&c->process, &err) == 0)
		process_exec(&c->process, &err);
	sync_send(fd, SYNC_ERROR, &err);
	_exit(err.code == -ENOENT ? 127 : 126);
}
