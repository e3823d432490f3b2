/* What attach and run share. */
#ifndef MINI_MINICTL_ATTACH_H
#define MINI_MINICTL_ATTACH_H

#include "cli/minictl/remote.h"
#include "cli/minictl/verbs.h"

/* To the process of a container, until it ends or lets go of us. container NULL: the pod's first. io: as asked for; what the
 * container has not is said and done without. *ret_reading: see remote_run. */
int attach_to(struct ctl *c, const struct item *it, const json_t *pod, const char *container, struct remote_io io,
	      bool quiet, bool *ret_reading, struct err *err);

#endif
