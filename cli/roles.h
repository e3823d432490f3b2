/* What a minid process is, and its life from start to stop: the one place that wires the parts together. */
#ifndef MINI_CLI_ROLES_H
#define MINI_CLI_ROLES_H

#include "cli/options.h"

enum role { ROLE_DEMO, ROLE_SERVER, ROLE_AGENT };

/* Can this host play it? Asked before anything is changed. */
int role_check(enum role role, const struct options *o, struct err *err);
/* Runs until SIGTERM or SIGINT. `report`: a pipe that gets one byte when it is ready, or -1. */
int role_run(enum role role, const struct options *o, int report, struct err *err);
/* Forget the state in DIR and undo what an earlier run left on the host. */
int role_reset(const struct options *o, struct err *err);

#endif
