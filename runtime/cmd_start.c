#include <getopt.h>

#include "runtime/cmd.h"

int cmd_start(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	const char *id;
	if (getopt_long(argc, argv, "+", (const struct option[]){{0}}, NULL) != -1)
		return cmd_usage(err, "start");
	int r = cmd_one_id(argc, argv, &id, err);
	return r < 0 ? r : container_start(g, id, err);
}
