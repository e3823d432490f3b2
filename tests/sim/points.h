/* Failpoints in the simulator: a server dies at one, or one fails there; and which have been driven so far. */
#ifndef MINI_TESTS_SIM_POINTS_H
#define MINI_TESTS_SIM_POINTS_H

#include "lib/core/failpoint.h"
#include "tests/sim/server.h"

void points_share(void); /* before processes are forked: what they drive is counted together */
void points_begin(void);
void points_arm(struct sim_server *s); /* one of them, soon */
void points_died(struct sim_server *s, bool power);
bool points_driven(int p); /* a server has died there with its process, and one with its power */
void points_report(void);

#endif
