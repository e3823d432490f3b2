/* What a seed decides of a life before it begins: its faults and how often they come, and how each store is set up. */
#ifndef MINI_TESTS_SIM_PLAN_H
#define MINI_TESTS_SIM_PLAN_H

#include "tests/sim/server.h"

struct plan {
	uint64_t length_us;
	uint64_t p_crash;    /* per million and millisecond, per server */
	uint64_t p_io_crash; /* a crash is armed for one of the next I/O points */
	uint64_t p_point;    /* ... or a crash or error for one of the next failpoints */
	uint64_t power;      /* per million: a crash loses power, not only the process */
	uint64_t p_full, p_jump, p_close, p_flip, p_flip_copy;
	uint64_t p_sync_error, p_write_error, p_read_error;
	uint64_t p_change; /* of the membership */
	uint64_t p_take;   /* a crash while a copy of the state comes in */
	uint64_t p_lag;    /* a member stays away for so long that the others drop what it lacks */
	uint64_t p_lose;   /* per million: a damaged disk is given up, and its server replaced; once in a life */
	uint64_t p_partition, p_heal, p_loss, p_double, p_break, delay_us;
	size_t n_first, n_spare; /* members from the first day on; servers that may join */
};

void plan_make(struct plan *p);
void plan_configure(const struct plan *p, struct sim_server *s);

#endif
