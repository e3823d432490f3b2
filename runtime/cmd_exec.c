#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "runtime/cmd.h"
#include "runtime/console.h"
#include "runtime/relay.h"

#define ENV_MAX     256
#define PROCESS_MAX (1024 * 1024)

struct exec_options {
	const char *id, *process_file, *pid_file, *console_socket, *cwd, *user;
	const char *env[ENV_MAX];
	unsigned n_env;
	bool tty, detach, no_new_privs;
	int preserve_fds, control_fd;
	char **args;
};

struct exec {
	const struct runtime_global *global;
	struct exec_options o;
	struct oci_state state;
	struct spec spec;
	struct cgroup_fs fs;
	json_t *json; /* the process object */
	struct process process;
	struct seccomp_filter *filter;
	int pidfd, console_fd; /* the child's end: the terminal is sent there */
	int master_fd;         /* ours, when we are the one who serves the terminal */
};

static void exec_done(struct exec *e)
{
	process_done(&e->process);
	json_decref(e->json);
	spec_done(&e->spec);
	oci_state_done(&e->state);
	seccomp_filter_free(e->filter);
	closep(&e->pidfd);
	closep(&e->console_fd);
	closep(&e->master_fd);
}

static int parse_options(int argc, char **argv, struct exec_options *o, struct err *err)
{
	static const struct option opts[] = {{"process", required_argument, NULL, 'p'},
					     {"pid-file", required_argument, NULL, 'P'},
					     {"cwd", required_argument, NULL, 'w'},
					     {"console-socket", required_argument, NULL, 'c'},
					     {"env", required_argument, NULL, 'e'},
					     {"user", required_argument, NULL, 'u'},
					     {"tty", no_argument, NULL, 't'},
					     {"detach", no_argument, NULL, 'd'},
					     {"no-new-privs", no_argument, NULL, 'n'},
					     {"preserve-fds", required_argument, NULL, 'f'},
					     {"ignore-paused", no_argument, NULL, 'i'},
					     {"control-fd", required_argument, NULL, 'C'},
					     {0}};
	int c, r;
	while ((c = getopt_long(argc, argv, "+p:e:u:td", opts, NULL)) != -1) {
		switch (c) {
		case 'p':
			o->process_file = optarg;
			break;
		case 'P':
			o->pid_file = optarg;
			break;
		case 'w':
			o->cwd = optarg;
			break;
		case 'c':
			o->console_socket = optarg;
			break;
		case 'e':
			if (o->n_env == ENV_MAX)
				return err_set(err, -E2BIG, "more than %d --env", ENV_MAX);
			o->env[o->n_env++] = optarg;
			break;
		case 'u':
			o->user = optarg;
			break;
		case 't':
			o->tty = true;
			break;
		case 'd':
			o->detach = true;
			break;
		case 'n':
			o->no_new_privs = true;
			break;
		case 'f':
			if ((r = cmd_parse_count(optarg, &o->preserve_fds, err)) < 0)
				return r;
			break;
		case 'C':
			if ((r = cmd_parse_count(optarg, &o->control_fd, err)) < 0)
				return r;
			break;
		case 'i':
			break;
		default:
			return cmd_usage(err, "exec");
		}
	}
	if (optind >= argc)
		return err_set(err, -EINVAL, "exec takes a container id and a command");
	o->id = argv[optind];
	o->args = argv + optind + 1;
	if (!o->args[0] == !o->process_file)
		return err_set(err, -EINVAL, "exec takes a command or --process");
	return 0;
}

static int set_user(json_t *process, const char *user, struct err *err)
{
	uint64_t uid, gid = 0;
	_cleanup_free_ char *copy = xstrdup(user);
	char *group = strchr(copy, ':');
	if (group)
		*group++ = 0;
	if (parse_u64(copy, &uid) < 0 || (group && parse_u64(group, &gid) < 0) || uid > UINT32_MAX || gid > UINT32_MAX)
		return err_set(err, -EINVAL, "--user takes numbers: UID[:GID]");
	json_object_set_new(process, "user", json_pack("{s:I,s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid));
	return 0;
}

static bool has_variable(const json_t *env, const char *prefix)
{
	size_t i;
	json_t *e;
	json_array_foreach(env, i, e)
	{
		if (json_is_string(e) && str_starts(json_string_value(e), prefix))
			return true;
	}
	return false;
}

/* The container's own process object with what the caller wants to be different. */
static int process_from_options(struct exec *e, struct err *err)
{
	e->json = json_deep_copy(json_object_get(e->spec.json, "process"));
	if (!json_is_object(e->json))
		return err_set(err, -EINVAL, "config.json of %s has no process", e->o.id);
	json_t *args = json_array(), *env = json_object_get(e->json, "env");
	for (char **a = e->o.args; *a; a++)
		if (json_array_append_new(args, json_string(*a)) < 0)
			return err_set(err, -EINVAL, "an argument is not valid UTF-8");
	json_object_set_new(e->json, "args", args);
	if (!env)
		json_object_set_new(e->json, "env", env = json_array());
	for (unsigned i = 0; i < e->o.n_env; i++)
		json_array_append_new(env, json_string(e->o.env[i]));
	if (e->o.cwd)
		json_object_set_new(e->json, "cwd", json_string(e->o.cwd));
	json_object_set_new(e->json, "terminal", json_boolean(e->o.tty));
	if (e->o.tty && !has_variable(env, "TERM="))
		json_array_append_new(env, json_string("TERM=xterm"));
	if (e->o.no_new_privs)
		json_object_set_new(e->json, "noNewPrivileges", json_true());
	return e->o.user ? set_user(e->json, e->o.user, err) : 0;
}

static int process_from_file(struct exec *e, struct err *err)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_error_t je;
	int r = file_read(e->o.process_file, PROCESS_MAX, &b, err);
	if (r < 0)
		return r;
	e->json = json_loadb(buf_str(&b), b.len, 0, &je);
	if (!e->json)
		return err_set(err, -EINVAL, "%s:%d: %s", e->o.process_file, je.line, je.text);
	if (e->o.tty)
		json_object_set_new(e->json, "terminal", json_true());
	return 0;
}

/* The terminal is for who listens on the socket; without one we serve it ourselves, if we stay. */
static int open_console(struct exec *e, struct err *err)
{
	int pair[2];
	if (e->o.console_socket) {
		e->console_fd = console_connect(e->o.console_socket, err);
		return MIN(e->console_fd, 0);
	}
	if (e->o.detach)
		return err_set(err, -EINVAL, "a terminal needs --console-socket");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, "console");
	e->master_fd = pair[0];
	e->console_fd = pair[1];
	return 0;
}

static int serve_terminal(struct exec *e, pid_t pid, struct err *err)
{
	_cleanup_close_ int master = console_receive(e->master_fd, err);
	return master < 0 ? master : relay_terminal(pid, master, e->o.control_fd, err);
}

static int load(struct exec *e, struct err *err)
{
	int r = oci_state_read(e->global->root, e->o.id, &e->state, err);
	if (r < 0)
		return r;
	if (e->state.status != OCI_RUNNING && e->state.status != OCI_CREATED)
		return err_set(err, -ESRCH, "container %s is not running: it is %s", e->o.id,
			       oci_status_str(e->state.status));
	if ((r = proc_open(&e->state.init, &e->pidfd, err)) < 0 || (r = cgroup_fs_open(CGROUP_ROOT, &e->fs, err)) < 0 ||
	    (r = container_spec(&e->state, &e->spec, err)) < 0 ||
	    (r = (e->o.process_file ? process_from_file : process_from_options)(e, err)) < 0 ||
	    (r = process_parse(e->json, &e->process, err)) < 0 ||
	    (r = container_filter(e->global, &e->spec, e->process.caps.bounding, &e->filter, err)) < 0)
		return r;
	e->process.filter = e->filter;
	e->process.preserve_fds = e->o.preserve_fds;
	return e->process.terminal ? open_console(e, err) : 0;
}

/* A namespace that is ours already can't be joined if it is the user namespace. */
static bool other_user_namespace(pid_t pid)
{
	char path[64];
	struct stat a, b;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return stat(path, &a) == 0 && stat("/proc/self/ns/user", &b) == 0 && a.st_ino != b.st_ino;
}

static int enter(struct exec *e, struct err *err)
{
	int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP, r;
	bool user = other_user_namespace(e->state.init.pid);
	if (!str_empty(e->state.cgroup) && (r = cgroup_enter_self_v1(&e->fs, e->state.cgroup, err)) < 0)
		return r;
	if ((r = process_early(&e->process, err)) < 0)
		return r;
	if (setns(e->pidfd, flags | (user ? CLONE_NEWUSER : 0)) < 0)
		return err_errno(err, "can't enter container %s", e->o.id);
	if (user && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return err_errno(err, "can't become root of the container");
	if (setsid() < 0)
		return err_errno(err, "setsid");
	if (e->process.terminal &&
	    (r = console_setup(e->console_fd, e->process.uid, e->process.rows, e->process.cols, err)) < 0)
		return r;
	if ((r = process_enter_cwd(&e->process, err)) < 0 || (r = process_find(&e->process, err)) < 0)
		return r;
	return process_confine(&e->process, err);
}

static void exec_child(struct exec *e, int sync_fd)
{
	_cleanup_err_ struct err err = ERR_INIT;
	int kind = 0;
	close_range((unsigned)(3 + e->o.preserve_fds), ~0u, CLOSE_RANGE_CLOEXEC);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	for (int sig = 1; sig < _NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	if (enter(e, &err) == 0) {
		/* In the foreground the command ends with the one who waits for it, however that one ends. After
		 * the change of user, which would take the wish back. */
		if (!e->o.detach &&
		    (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || recv(sync_fd, &kind, 1, MSG_DONTWAIT) == 0))
			_exit(1);
		process_exec(&e->process, &err);
	}
	sync_send(sync_fd, SYNC_ERROR, &err);
	_exit(1);
}

static int spawn(struct exec *e, pid_t *ret_pid, struct err *err)
{
	_cleanup_close_ int cgroup_fd = -1;
	int pair[2], kind, r;
	if (!str_empty(e->state.cgroup) && (r = cgroup_open_unified(&e->fs, e->state.cgroup, &cgroup_fd, err)) < 0)
		return r;
	if (setns(e->pidfd, CLONE_NEWPID) < 0)
		return err_errno(err, "can't enter the pid namespace of %s", e->o.id);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, "socketpair");
	_cleanup_close_ int sync_fd = pair[0];
	pid_t pid = clone_process(0, cgroup_fd);
	if (pid == 0) {
		close(pair[0]);
		exec_child(e, pair[1]);
	}
	close(pair[1]);
	if (pid < 0)
		return err_errno(err, "fork");
	if ((r = sync_receive(sync_fd, &kind, err)) < 0) {
		kill(pid, SIGKILL);
		return r;
	}
	*ret_pid = pid;
	return 0;
}

int cmd_exec(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	_cleanup_(exec_done) struct exec e = {
		.global = g, .pidfd = -1, .console_fd = -1, .master_fd = -1, .o.control_fd = -1};
	pid_t pid = 0;
	int r;
	if ((r = parse_options(argc, argv, &e.o, err)) < 0 || (r = load(&e, err)) < 0 || (r = spawn(&e, &pid, err)) < 0)
		return r;
	if (e.o.pid_file) {
		char text[16];
		snprintf(text, sizeof(text), "%d", (int)pid);
		if ((r = file_write_replace(e.o.pid_file, text, strlen(text), 0644, err)) < 0)
			return r;
	}
	if (e.o.detach)
		return 0;
	return e.master_fd >= 0 ? serve_terminal(&e, pid, err) : cmd_wait_child(pid);
}
