#include <getopt.h>

#include "runtime/cmd.h"

int cmd_delete(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	static const struct option opts[] = {{"force", no_argument, NULL, 'f'}, {0}};
	bool force = false;
	const char *id;
	int c, r;
	while ((c = getopt_long(argc, argv, "+f", opts, NULL)) != -1) {
		if (c != 'f')
			return cmd_usage(err, "delete");
		force = true;
	}
	if ((r = cmd_one_id(argc, argv, &id, err)) < 0)
		return r;
	return container_delete(g, id, force, err);
}
