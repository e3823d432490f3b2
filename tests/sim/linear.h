/* Is a history of one register linearizable? Wing and Gong's search with Lowe's memory of what was tried (as porcupine
 * does it): operations overlap in time; is there an order, each at some moment between its call and its answer, in which
 * a single register would have answered the same? */
#ifndef MINI_TESTS_SIM_LINEAR_H
#define MINI_TESTS_SIM_LINEAR_H

#include "lib/core/util.h"

#define LIN_UNKNOWN UINT64_MAX /* as `ret`: never answered; it may have happened at any time after its call, or not */

struct lin_op {
	uint64_t call, ret; /* moments; all different */
	bool sees;          /* it was answered with (or, unanswered, only acts on) this value */
	uint64_t seen;      /* 0: the register was empty */
	bool writes;
	uint64_t value;
};
enum lin_result { LIN_OK, LIN_BAD, LIN_UNDECIDED /* the search grew too large */ };

/* The register is empty at first. */
enum lin_result lin_check(const struct lin_op *ops, size_t n);

#endif
