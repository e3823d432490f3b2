/* env in virtual time: a seeded world for tests. Time moves only in env_sim_run_*(). Lanes run inline, at the next turn. */
#ifndef MINI_CORE_ENV_SIM_H
#define MINI_CORE_ENV_SIM_H

#include "lib/core/env.h"

struct env *env_sim_new(uint64_t seed, int64_t wall_start_us);
void env_sim_free(struct env *e);
/* Run posts, work and timers until nothing is due within `us`; time ends exactly `us` later. */
void env_sim_run_for(struct env *e, uint64_t us);
/* Run until `done(arg)` or at most `limit_us` of virtual time. True when done. */
bool env_sim_run_until(struct env *e, bool (*done)(void *), void *arg, uint64_t limit_us);

#endif
