/* Who changes the membership: adds servers that wait, promotes, demotes, removes and replaces members, moves the leader,
 * through whichever server is up. A server is a member once: whoever is out stays out. */
#ifndef MINI_TESTS_SIM_OPERATOR_H
#define MINI_TESTS_SIM_OPERATOR_H

#include "tests/sim/server.h"

struct sim_operator {
	struct sim_server *servers;
	size_t n_servers, n_first; /* those that are members from the first day on */
	uint64_t p_change;         /* per million and millisecond */
	bool busy;                 /* one change at a time is asked for */
	uint64_t changes, refused, unknown;
};

void operator_init(struct sim_operator *o, struct sim_server *servers, size_t n, size_t n_first, uint64_t p_change);
void operator_run(struct sim_operator *o);    /* at each step of phase one */
void operator_settle(struct sim_operator *o); /* at each step of phase two: whoever was asked for is added */
/* All is quiet: asks who belongs. A step later operator_check() holds it against what was asked for. */
void operator_ask(struct sim_operator *o);
void operator_check(struct sim_operator *o);   /* and every server is in, or out */
void operator_compare(struct sim_operator *o); /* members that can be asked say the same of all */

#endif
