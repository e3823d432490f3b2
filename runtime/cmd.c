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

int cmd_parse_create(int argc, char **argv, bool run, struct cmd_create_args *ret, struct err *err)
{
	static const struct option opts[] = {{"bundle", required_argument, NULL, 'b'},
					     {"pid-file", required_argument, NULL, 'p'},
					     {"console-socket", required_argument, NULL, 'c'},
					     {"no-new-keyring", no_argument, NULL, 'k'},
					     {"preserve-fds", required_argument, NULL, 'f'},
					     {"no-pivot", no_argument, NULL, 'n'},
					     {"detach", no_argument, NULL, 'd'},
					     {"keep", no_argument, NULL, 'K'},
					     {0}};
	struct cmd_create_args a = {.o = {.bundle = ".", .console_fd = -1, .start = run}};
	int c, r;
	while ((c = getopt_long(argc, argv, "+b:d", opts, NULL)) != -1) {
		switch (c) {
		case 'b':
			a.o.bundle = optarg;
			break;
		case 'p':
			a.o.pid_file = optarg;
			break;
		case 'c':
			a.o.console_socket = optarg;
			break;
		case 'k':
			a.o.no_new_keyring = true;
			break;
		case 'f':
			if ((r = cmd_parse_count(optarg, &a.o.preserve_fds, err)) < 0)
				return r;
			break;
		case 'n': /* we always pivot: it works wherever our mounts do */
			break;
		case 'd':
			a.detach = true;
			break;
		case 'K':
			a.keep = true;
			break;
		default:
			return cmd_usage(err, argv[0]);
		}
	}
	if (!run && (a.detach || a.keep))
		return cmd_usage(err, argv[0]);
	if ((r = cmd_one_id(argc, argv, &a.id, err)) < 0)
		return r;
	*ret = a;
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
