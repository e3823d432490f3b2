/* minid: the cluster's daemons. `server` is a control plane, `agent` a node, `demo` both in one process on this host. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "cli/lock.h"
#include "cli/roles.h"
#include "cli/token.h"
#include "cli/usage.h"
#include "lib/core/failpoint.h"
#include "lib/core/log.h"
#include "version.h"

static int help(const char *verb, FILE *to)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	usage_text(verb, &text);
	fputs(buf_str(&text), to);
	return to == stdout ? 0 : 2;
}

static int completion(int argc, char **argv)
{
	_cleanup_buf_ struct buf text = BUF_INIT;
	if (argc != 3 || !streq(argv[2], "bash")) {
		fprintf(stderr, "minid: completion is for bash: source <(minid completion bash)\n");
		return 2;
	}
	usage_completion(&text);
	fputs(buf_str(&text), stdout);
	return 0;
}

static int fail(const struct err *err)
{
	fprintf(stderr, "minid: %s\n", err->message);
	return 1;
}

/* Many pods are many files: take what the hard limit gives. */
static void raise_limits(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* `su` leaves root without the folders where modprobe and iptables-restore are. */
static void complete_path(void)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *whole = xasprintf("%s:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
					       str_empty(path) ? "/usr/local/bin" : path);
	setenv("PATH", whole, 1);
}

/* The child goes on; the parent waits for its word ("r" when it is ready, else what went wrong) and ends with its fate. */
static int detach(const struct options *o, int *ret_report, struct err *err)
{
	int fds[2];
	_cleanup_free_ char *log = xasprintf("%s/minid.log", o->dir);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "fork");
	if (pid > 0) {
		char word[1024];
		int status = 1;
		close(fds[1]);
		ssize_t n = read(fds[0], word, sizeof(word));
		if (n == 1) {
			printf("mini is ready: export KUBECONFIG=%s/admin.kubeconfig\n", o->dir);
			fflush(stdout);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (n > 1)
			fprintf(stderr, "minid: %.*s\n", (int)n, word);
		else
			fprintf(stderr, "minid: it did not start; its last words are in %s\n", log);
		_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
	}
	close(fds[0]);
	setsid();
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (null < 0 || out < 0)
		return err_errno(err, "open %s", log);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	*ret_report = fds[1];
	return 0;
}

/* A control plane has DIR's server lock, a node its agent lock; a demo, and whoever forgets everything, both. */
static int take_locks(enum role role, const struct options *o, struct lock locks[2], struct err *err)
{
	bool server = o->reset || role != ROLE_AGENT, agent = o->reset || role != ROLE_SERVER;
	int r = server ? lock_take(&locks[0], o->dir, "server", err) : 0;
	return r < 0 || !agent ? r : lock_take(&locks[1], o->dir, "agent", err);
}

static int run(enum role role, const struct options *o)
{
	struct err err = ERR_INIT;
	int report = -1;
	struct lock locks[2] = {{.fd = -1}, {.fd = -1}};
	if (role_check(role, o, &err) < 0 || take_locks(role, o, locks, &err) < 0)
		return fail(&err);
	if (o->reset)
		return role_reset(o, &err) < 0 ? fail(&err) : 0;
	if (o->detach && detach(o, &report, &err) < 0)
		return fail(&err);
	for (int i = 0; i < 2; i++)
		if (locks[i].fd >= 0 && lock_sign(&locks[i], &err) < 0) {
			if (report >= 0)
				dprintf(report, "%s", err.message);
			return fail(&err);
		}
	int r = role_run(role, o, report, &err);
	if (r < 0)
		fail(&err);
	err_done(&err);
	lock_release(&locks[0]);
	lock_release(&locks[1]);
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		enum role role;
	} roles[] = {{"demo", ROLE_DEMO}, {"server", ROLE_SERVER}, {"agent", ROLE_AGENT}};
	const char *verb = argc > 1 ? argv[1] : "";
	static struct options o; /* what is in it lives as long as the process */
	struct err err = ERR_INIT;
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i++) {
		if (streq(verb, "help"))
			return help(argc > 2 ? argv[2] : "", stdout);
		if (streq(argv[i], "--help") || streq(argv[i], "-h"))
			return help(verb, stdout);
	}
	if (streq(verb, "version") || streq(verb, "--version")) {
		printf("minid %s (%s)\n", MINI_VERSION, MINI_COMMIT);
		return 0;
	}
	if (!*verb)
		return help("", stderr);
	if (streq(verb, "completion"))
		return completion(argc, argv);
	if (!usage_has(verb, "--dir")) {
		fprintf(stderr, "minid: unknown command \"%s\"; minid --help lists them\n", verb);
		return 2;
	}
	bool token = streq(verb, "token");
	if (options_parse(verb, argc - 2, argv + 2, token ? 2 : 0, &o, &err) < 0 ||
	    (token && token_check(&o, &err) < 0) || failpoints_from_env(&err) < 0) {
		fail(&err);
		return 2;
	}
	log_set_json(o.log_json);
	if (o.verbose)
		log_set_level(LOG_DEBUG);
	if (token)
		return token_main(&o);
	raise_limits();
	complete_path();
	if (streq(verb, "stop"))
		return lock_stop(o.dir, &err) < 0 ? fail(&err) : 0;
	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		if (streq(verb, roles[i].name))
			return run(roles[i].role, &o);
	return 2;
}
