#include <getopt.h>
#include <sys/file.h>

#include "runtime/cmd.h"

int cmd_run(const struct runtime_global *g, int argc, char **argv, struct err *err)
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
	struct create_options o = {.bundle = ".", .console_fd = -1, .start = true};
	bool detach = false, keep = false;
	const char *id;
	int c, r;
	while ((c = getopt_long(argc, argv, "+b:d", opts, NULL)) != -1) {
		switch (c) {
		case 'b':
			o.bundle = optarg;
			break;
		case 'p':
			o.pid_file = optarg;
			break;
		case 'c':
			o.console_socket = optarg;
			break;
		case 'k':
			o.no_new_keyring = true;
			break;
		case 'f':
			if ((r = cmd_parse_count(optarg, &o.preserve_fds, err)) < 0)
				return r;
			break;
		case 'n':
			break;
		case 'd':
			detach = true;
			break;
		case 'K':
			keep = true;
			break;
		default:
			return cmd_usage(err, "run");
		}
	}
	if ((r = cmd_one_id(argc, argv, &id, err)) < 0)
		return r;
	_cleanup_container_ struct container ct = CONTAINER_INIT;
	if ((r = container_create(&ct, g, &o, id, err)) < 0 || detach)
		return r;
	(void)flock(ct.dir_fd, LOCK_UN); /* others may look, kill and delete while it runs */
	int code = cmd_wait_child(ct.state.init.pid);
	(void)flock(ct.dir_fd, LOCK_EX);
	r = keep ? 0 : container_finish(&ct, err);
	return r < 0 ? r : code;
}
