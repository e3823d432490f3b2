/* The shim: a container's parent. It outlives everything above it, and is kept small: what creates the container is a
 * forked child, so none of that work's memory stays here. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/core/file.h"
#include "runtime/cmd.h"
#include "runtime/console.h"
#include "runtime/shim_attach.h"
#include "runtime/shim_log.h"

struct shim {
	const struct runtime_global *global;
	const char *id, *bundle, *cgroup_self;
	bool tty, with_stdin;
	struct attach attach;
	struct shim_log log;
	struct shim_stream streams[2];
	int signal_fd;
	int console_fd; /* the terminal's master comes from here */
	struct cgroup_fs fs;
	pid_t init;
	int status; /* of init, once reaped */
	bool exited;
};

static int parse_options(int argc, char **argv, struct shim *s, struct err *err)
{
	static const struct option opts[] = {
		{"bundle", required_argument, NULL, 'b'},      {"log-path", required_argument, NULL, 'l'},
		{"cgroup-self", required_argument, NULL, 'c'}, {"stdin", no_argument, NULL, 'i'},
		{"stdin-once", no_argument, NULL, 'o'},        {0}};
	int c;
	while ((c = getopt_long(argc, argv, "+b:", opts, NULL)) != -1) {
		switch (c) {
		case 'b':
			s->bundle = optarg;
			break;
		case 'l':
			s->log.path = optarg;
			break;
		case 'c':
			s->cgroup_self = optarg;
			break;
		case 'o':
			s->attach.once = true;
			s->with_stdin = true;
			break;
		case 'i':
			s->with_stdin = true;
			break;
		default:
			return cmd_usage(err, "shim");
		}
	}
	if (s->cgroup_self && !cgroup_path_valid(s->cgroup_self))
		return err_set(err, -EINVAL, "--cgroup-self %s is not valid", s->cgroup_self);
	int r = cmd_one_id(argc, argv, &s->id, err);
	if (r == 0 && !oci_id_valid(s->id))
		r = err_set(err, -EINVAL, "container id %.110s is not valid", s->id);
	return r;
}

/* shim.json, in a folder that must not be a container's already. */
static int claim(const struct shim *s, struct err *err)
{
	struct proc_id self;
	int r;
	_cleanup_free_ char *dir = xasprintf("%s/%s", s->global->root, s->id);
	_cleanup_free_ char *state = xasprintf("%s/state.json", dir);
	if ((r = mkdir_p(dir, 0700, err)) < 0)
		return r;
	_cleanup_close_ int lock = -1;
	if ((r = container_lock(s->global, s->id, &lock, err)) < 0)
		return r;
	if (file_exists(state))
		return err_set(err, -EEXIST, "container %s exists already", s->id);
	if ((r = proc_identify(getpid(), &self, err)) < 0)
		return r;
	return oci_shim_write(s->global->root, s->id, &self, err);
}

/* Out of the caller's session and group: what ends the agent must not end us. */
static int detach(const struct shim *s, struct err *err)
{
	if (setsid() < 0)
		return err_errno(err, "setsid");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return err_errno(err, "prctl(PR_SET_CHILD_SUBREAPER)");
	prctl(PR_SET_NAME, "minirun-shim");
	if (chdir("/") < 0)
		return err_errno(err, "chdir");
	umask(0022);
	return s->cgroup_self ? cgroup_enter_self_v1(&s->fs, s->cgroup_self, err) : 0;
}

struct create_fds {
	int in;       /* the container's, or -1: nothing to be read */
	int out, err; /* the container's, or -1 with a terminal */
	int console;  /* to send the terminal to */
	int report;   /* the error's text */
};

/* The forked creator: its stdio becomes the container's. */
static void create_child(const struct shim *s, const struct create_fds *fds)
{
	_cleanup_err_ struct err err = ERR_INIT;
	struct create_options o = {.bundle = s->bundle, .console_fd = fds->console};
	struct container c = CONTAINER_INIT;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fds->in >= 0)
		dup2(fds->in, 0);
	if (fds->out >= 0) {
		dup2(fds->out, 1);
		dup2(fds->err, 2);
	}
	if (container_create(&c, s->global, &o, s->id, &err) == 0)
		_exit(0);
	(void)!write(fds->report, err.message, strlen(err.message));
	_exit(1);
}

static bool wants_tty(const struct shim *s)
{
	struct spec spec = {0};
	if (spec_load(s->bundle, &spec, NULL) < 0)
		return false; /* create says why */
	bool tty = json_bool_at(spec.json, "process.terminal");
	spec_done(&spec);
	return tty;
}

static int wait_create(pid_t pid, int report_fd, struct err *err)
{
	char text[1024];
	size_t n = 0;
	ssize_t got;
	while ((got = read(report_fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, "wait for create");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, -EIO, "%s", n ? text : "create ended without a word");
}

static int pipe_pair(int ret[2], struct err *err)
{
	if (pipe2(ret, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	return 0;
}

/* One descriptor to read it, and one more for who is attached. */
static int receive_terminal(struct shim *s, struct err *err)
{
	int fd = console_receive(s->console_fd, err);
	if (fd < 0)
		return fd;
	s->streams[0].fd = fd;
	s->attach.master_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->attach.master_fd < 0)
		return err_errno(err, "terminal");
	s->attach.line = &s->streams[0];
	s->attach.in_fd = s->with_stdin ? s->attach.master_fd : -1;
	return 0;
}

static int create(struct shim *s, struct err *err)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, errp[2] = {-1, -1}, report[2], console[2] = {-1, -1}, r;
	s->tty = wants_tty(s);
	if ((r = pipe_pair(report, err)) < 0)
		return r;
	if (s->tty) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0)
			return err_errno(err, "console");
	} else if ((r = pipe_pair(out, err)) < 0 || (r = pipe_pair(errp, err)) < 0 ||
		   (s->with_stdin && (r = pipe_pair(in, err)) < 0)) {
		return r;
	}
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "fork");
	if (pid == 0) {
		struct create_fds fds = {
			.in = in[0], .out = out[1], .err = errp[1], .console = console[1], .report = report[1]};
		create_child(s, &fds);
	}
	close(report[1]);
	closep(&in[0]);
	closep(&out[1]);
	closep(&errp[1]);
	closep(&console[1]);
	s->streams[0].fd = out[0];
	s->streams[1].fd = errp[0];
	s->console_fd = console[0];
	s->attach.in_fd = in[1];
	r = wait_create(pid, report[0], err);
	close(report[0]);
	return r == 0 && s->tty ? receive_terminal(s, err) : r;
}

static int find_init(struct shim *s, struct err *err)
{
	struct oci_state st = {0};
	int r = oci_state_read(s->global->root, s->id, &st, err);
	if (r < 0)
		return r;
	s->init = st.init.pid;
	oci_state_done(&st);
	for (unsigned i = 0; i < ARRAY_LEN(s->streams); i++)
		if (s->streams[i].fd >= 0)
			(void)fcntl(s->streams[i].fd, F_SETFL, O_NONBLOCK);
	if (s->attach.in_fd >= 0)
		(void)fcntl(s->attach.in_fd, F_SETFL, O_NONBLOCK);
	return attach_listen(&s->attach, s->global->root, s->id, err);
}

static void reap(struct shim *s)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->init) {
			s->status = status;
			s->exited = true;
		}
}

static void on_signals(struct shim *s)
{
	struct signalfd_siginfo si;
	while (read(s->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			reap(s);
		else if (si.ssi_signo == SIGHUP)
			(void)shim_log_open(&s->log); /* on failure the old file stays */
	}
}

static void pass_on(void *arg, const struct shim_stream *st, const char *data, size_t len)
{
	struct shim *s = arg;
	attach_output(&s->attach, st == &s->streams[0] ? 1 : 2, data, len);
}

/* Until nobody attached holds the output up. */
static void wait_for_clients(struct shim *s)
{
	struct pollfd p[ATTACH_POLLS];
	int ms;
	while (attach_blocked(&s->attach, ATTACH_LAST_MS, &ms)) {
		attach_polls(&s->attach, p);
		if (poll(p, ATTACH_POLLS, ms) > 0)
			attach_handle(&s->attach, p);
	}
}

/* The last words: what the dead wrote is in the pipe. Who else holds its other end is not waited for. */
static void drain_rest(struct shim *s)
{
	for (unsigned i = 0; i < ARRAY_LEN(s->streams); i++) {
		struct shim_stream *st = &s->streams[i];
		struct pollfd p = {.fd = st->fd, .events = POLLIN};
		do
			wait_for_clients(s);
		while (st->fd >= 0 && poll(&p, 1, 0) > 0 && shim_log_drain(&s->log, st));
		shim_log_flush(&s->log, st);
	}
}

static int write_exit(const struct shim *s, struct err *err)
{
	_cleanup_(oci_state_done) struct oci_state st = {0};
	struct cgroup_fs fs;
	int r = oci_state_read(s->global->root, s->id, &st, err);
	if (r < 0)
		return r;
	struct oci_exit ex = {
		.code = WIFEXITED(s->status) ? WEXITSTATUS(s->status) : 128 + WTERMSIG(s->status),
		.signal = WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0,
		.started_us = st.started_us,
		.finished_us = wall_us(),
	};
	ex.oom_killed = !str_empty(st.cgroup) && cgroup_fs_open(CGROUP_ROOT, &fs, NULL) == 0 &&
			cgroup_oom_kills(&fs, st.cgroup) > 0;
	return oci_exit_write(s->global->root, s->id, &ex, err);
}

static int watch(struct shim *s, struct err *err)
{
	reap(s); /* it may have ended before the first signal could be seen */
	while (!s->exited) {
		int ms;
		bool blocked = attach_blocked(&s->attach, ATTACH_PATIENCE_MS, &ms);
		struct pollfd p[3 + ATTACH_POLLS] = {{.fd = s->signal_fd, .events = POLLIN},
						     {.fd = blocked ? -1 : s->streams[0].fd, .events = POLLIN},
						     {.fd = blocked ? -1 : s->streams[1].fd, .events = POLLIN}};
		attach_polls(&s->attach, p + 3);
		if (poll(p, ARRAY_LEN(p), ms) < 0) {
			if (errno != EINTR)
				return err_errno(err, "poll");
			continue;
		}
		if (p[0].revents)
			on_signals(s);
		attach_handle(&s->attach, p + 3);
		for (unsigned i = 0; i < 2; i++)
			if (p[i + 1].revents && !attach_blocked(&s->attach, ATTACH_PATIENCE_MS, &ms))
				shim_log_drain(&s->log, &s->streams[i]);
	}
	drain_rest(s);
	return write_exit(s, err);
}

/* Nothing the caller had open stays open here, or a pipe of the agent's would live as long as the container. */
static int open_stdio(int report_fd)
{
	if (report_fd > 3)
		close_range(3, (unsigned)report_fd - 1, 0);
	close_range((unsigned)report_fd + 1, ~0u, 0);
	int fd = open("/dev/null", O_RDWR);
	if (fd < 0)
		return -errno;
	for (int i = 0; i <= 2; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
	return 0;
}

/* The detached process. Its word to the caller is a text (the error), or the pipe closing empty. */
static void shim_main(struct shim *s, int report_fd)
{
	_cleanup_err_ struct err err = ERR_INIT;
	sigset_t mask;
	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGHUP);
	int r = open_stdio(report_fd);
	if (r < 0)
		err_set(&err, r, "/dev/null: %s", strerror(-r));
	if (r == 0 && (r = shim_log_open(&s->log)) < 0)
		err_set(&err, r, "log file %s: %s", s->log.path, strerror(-r));
	if (r == 0 && (s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		r = err_errno(&err, "signalfd");
	if (r < 0 || (r = detach(s, &err)) < 0 || (r = claim(s, &err)) < 0 || (r = create(s, &err)) < 0 ||
	    (r = find_init(s, &err)) < 0) {
		(void)!write(report_fd, err.message, strlen(err.message));
		if (r != -EEXIST)
			(void)container_delete(s->global, s->id, true, NULL);
		_exit(1);
	}
	(void)!write(report_fd, "", 1); /* one NUL: created */
	close(report_fd);
	_exit(watch(s, &err) < 0);
}

int cmd_shim(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	/* static and zero: the two line buffers are pages that stay untouched until there is output */
	static struct shim s;
	int report[2], r;
	s.global = g;
	s.bundle = ".";
	s.log.fd = s.console_fd = s.streams[0].fd = s.streams[1].fd = -1;
	s.streams[0].name = "stdout";
	s.streams[1].name = "stderr";
	attach_init(&s.attach);
	s.log.tee = pass_on;
	s.log.arg = &s;
	if ((r = parse_options(argc, argv, &s, err)) < 0)
		return r;
	_cleanup_free_ char *bundle = realpath(s.bundle, NULL);
	if (!bundle)
		return err_errno(err, "bundle %s", s.bundle);
	s.bundle = bundle;
	_cleanup_close_ int cgroup_fd = -1;
	if (s.cgroup_self &&
	    ((r = cgroup_fs_open(CGROUP_ROOT, &s.fs, err)) < 0 || (r = cgroup_make(&s.fs, s.cgroup_self, err)) < 0 ||
	     (r = cgroup_open_unified(&s.fs, s.cgroup_self, &cgroup_fd, err)) < 0))
		return r;
	if ((r = pipe_pair(report, err)) < 0)
		return r;
	pid_t pid = clone_process(0, cgroup_fd);
	if (pid < 0)
		return err_errno(err, "fork");
	if (pid == 0) {
		closep(&cgroup_fd);
		close(report[0]);
		shim_main(&s, report[1]);
	}
	close(report[1]);
	char text[1024];
	ssize_t n = read(report[0], text, sizeof(text) - 1);
	close(report[0]);
	if (n == 1 && text[0] == 0)
		return 0;
	text[MAX(n, 0)] = 0;
	return err_set(err, -EIO, "%s", n > 0 ? text : "the shim died");
}
