#include "runtime/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/wait.h>

int cmd_usage(struct err *err, const char *verb)
{
	return err_set(err, -EINVAL, "wrong arguments to %s: see minirun --help", verb);
}

int cmd_one_id(int argc, char **argv, const char **ret, struct err *err)
{
	if (optind != argc - 1)
		return err_set(err, -EINVAL, "%s takes one container id", argv[0]);
	*ret = argv[optind];
	return 0;
}

int cmd_parse_count(const char *s, int *ret, struct err *err)
{
	uint64_t v;
	if (parse_u64(s, &v) < 0 || v > 1000)
		return err_set(err, -EINVAL, "%s is not a number of file descriptors", s);
	*ret = (int)v;
	return 0;
}

int cmd_wait_child(pid_t pid)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		int status, sig;
		pid_t got;
		while ((got = waitpid(-1, &status, WNOHANG)) > 0)
			if (got == pid)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (got < 0 && errno == ECHILD)
			return 255;
		sig = sigwaitinfo(&all, NULL);
		if (sig > 0 && sig != SIGCHLD && sig != SIGPIPE)
			(void)kill(pid, sig);
	}
}
