/* A server whose disk is damaged is given up, and another one takes its place: what the command line does for a member
 * that the others still know. */
#ifndef MINI_TESTS_SIM_REPAIR_H
#define MINI_TESTS_SIM_REPAIR_H

#include "tests/sim/server.h"

struct sim_repair {
	struct sim_server *servers, *lost, *spare; /* lost: NULL until one is */
	size_t n_servers;
	bool busy, plain, done;
	uint64_t next_us;
};
void repair_init(struct sim_repair *r, struct sim_server *servers, size_t n);
bool repair_may(const struct sim_repair *r);                  /* there is a spare one, and nobody is lost yet */
void repair_lose(struct sim_repair *r, struct sim_server *s); /* it never comes back */
void repair_run(struct sim_repair *r);                        /* at each step */

#endif
