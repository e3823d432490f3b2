#include <getopt.h>

#include "runtime/cmd.h"

int cmd_create(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	static const struct option opts[] = {{"bundle", required_argument, NULL, 'b'},
					     {"pid-file", required_argument, NULL, 'p'},
					     {"console-socket", required_argument, NULL, 'c'},
					     {"no-new-keyring", no_argument, NULL, 'k'},
					     {"preserve-fds", required_argument, NULL, 'f'},
					     {"no-pivot", no_argument, NULL, 'n'},
					     {0}};
	struct create_options o = {.bundle = ".", .console_fd = -1};
	const char *id;
	int c, r;
	while ((c = getopt_long(argc, argv, "+b:", opts, NULL)) != -1) {
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
		case 'n': /* we always pivot: it works wherever our mounts do */
			break;
		default:
			return cmd_usage(err, "create");
		}
	}
	if ((r = cmd_one_id(argc, argv, &id, err)) < 0)
		return r;
	_cleanup_container_ struct container ct = CONTAINER_INIT;
	return container_create(&ct, g, &o, id, err);
}
