#include <sys/file.h>

#include "runtime/cmd.h"

int cmd_run(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	struct cmd_create_args a;
	int r = cmd_parse_create(argc, argv, true, &a, err);
	if (r < 0)
		return r;
	_cleanup_container_ struct container ct = CONTAINER_INIT;
	if ((r = container_create(&ct, g, &a.o, a.id, err)) < 0 || a.detach)
		return r;
	(void)flock(ct.dir_fd, LOCK_UN); /* others may look, kill and delete while it runs */
	int code = cmd_wait_child(ct.state.init.pid);
	(void)flock(ct.dir_fd, LOCK_EX);
	r = a.keep ? 0 : container_finish(&ct, err);
	return r < 0 ? r : code;
}
