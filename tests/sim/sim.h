/* What the simulator's files share: the seed's randomness, the trace's hash, and how a violation is told. */
#ifndef MINI_TESTS_SIM_SIM_H
#define MINI_TESTS_SIM_SIM_H

#include "lib/core/util.h"

struct sim_rand {
	uint64_t x;
};
static inline uint64_t rand_u64(struct sim_rand *r)
{
	uint64_t z = (r->x += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}
static inline uint64_t rand_below(struct sim_rand *r, uint64_t n)
{
	return rand_u64(r) % n;
}
static inline uint64_t rand_between(struct sim_rand *r, uint64_t lo, uint64_t hi)
{
	return lo + rand_below(r, hi - lo + 1);
}
static inline bool rand_chance(struct sim_rand *r, uint64_t per_million)
{
	return rand_below(r, 1000000) < per_million;
}

/* The world of one seed. One at a time in a process. */
struct sim {
	uint64_t seed, now_us;
	struct sim_rand rand;  /* what happens */
	struct sim_rand disk;  /* what the disks do, apart so that a look at one stream does not shift the other */
	struct sim_rand salts; /* SQLite's own */
	uint64_t hash;         /* of everything that happened, in order */
	uint64_t events;
	bool verbose;
	uint64_t days; /* a long life: so many of virtual time before the rest */
	int point;     /* the failpoint that is looked at in this run; -1: any */
};
extern struct sim sim;

void sim_live(void); /* the whole life of the seed */

/* Something happened: it goes into the hash (and to stderr when verbose). */
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_trace_bytes(const void *data, size_t len);
/* A promise was broken: says so with the seed, and ends the run with failure. */
void sim_violation(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
