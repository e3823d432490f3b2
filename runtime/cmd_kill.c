#include <errno.h>
#include <getopt.h>
#include <signal.h>

#include "runtime/cmd.h"

static int parse_signal(const char *s, int *ret)
{
	uint64_t n;
	if (parse_u64(s, &n) == 0) {
		if (n == 0 || n > (uint64_t)SIGRTMAX)
			return -EINVAL;
		*ret = (int)n;
		return 0;
	}
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);
		if (name && strcasecmp(name, s) == 0) {
			*ret = i;
			return 0;
		}
	}
	bool min = strncasecmp(s, "RTMIN+", 6) == 0, max = strncasecmp(s, "RTMAX-", 6) == 0;
	if ((min || max) && parse_u64(s + 6, &n) == 0 && n <= (uint64_t)(SIGRTMAX - SIGRTMIN)) {
		*ret = min ? SIGRTMIN + (int)n : SIGRTMAX - (int)n;
		return 0;
	}
	return -EINVAL;
}

int cmd_kill(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	static const struct option opts[] = {{"all", no_argument, NULL, 'a'}, {0}};
	bool all = false;
	int c, sig = SIGTERM;
	while ((c = getopt_long(argc, argv, "+a", opts, NULL)) != -1) {
		if (c != 'a')
			return cmd_usage(err, "kill");
		all = true;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return err_set(err, -EINVAL, "kill takes a container id and a signal");
	if (argc - optind == 2 && parse_signal(argv[optind + 1], &sig) < 0)
		return err_set(err, -EINVAL, "%s is not a signal", argv[optind + 1]);
	return container_kill(g, argv[optind], sig, all, err);
}
