/* Raft under random faults: messages lost, doubled, late; links cut one way; nodes crashing in the middle of a write;
 * members coming and going, leadership handed over, logs compacted so that snapshots are needed. Everything is decided
 * by the seed. The cluster checks all along what must hold; afterwards faults stop and everyone must agree. */
#ifndef MINI_TESTS_SUPPORT_RAFT_FAULT_H
#define MINI_TESTS_SUPPORT_RAFT_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault_sums {
	uint64_t committed, reads, installed, changes, forwarded;
};
/* True when all held; else why says what did not. Adds to sums. */
bool fault_run(uint64_t seed, struct fault_sums *sums, char *why, size_t why_len);

#endif
