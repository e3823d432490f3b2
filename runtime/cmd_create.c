#include "runtime/cmd.h"

int cmd_create(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	struct cmd_create_args a;
	int r = cmd_parse_create(argc, argv, false, &a, err);
	if (r < 0)
		return r;
	_cleanup_container_ struct container ct = CONTAINER_INIT;
	return container_create(&ct, g, &a.o, a.id, err);
}
