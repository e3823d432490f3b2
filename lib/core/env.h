/* The world as code on floors 2 and 3 may see it: clocks, randomness, timers, the loop, and work beside the loop.
 *
 * Seam 1. libuv implements it (env_uv.h); the simulator does too (env_sim.h, virtual time, lanes run inline), so the
 * same code runs in both, byte for byte. Everything here is called on the loop's thread, except the `work` function of
 * an env_work, which runs on its lane. No callback fires inside the call that asked for it.
 */
#ifndef MINI_CORE_ENV_H
#define MINI_CORE_ENV_H

#include "lib/core/list.h"
#include "lib/core/util.h"

struct env;

/* A timer lives inside its owner. Zeroed is valid and idle. After env_timer_stop() it never fires; memory may go at
 * once. Firing: the timer is idle again before fn is called, so fn may start it anew or free its owner. */
struct env_timer {
	void (*fn)(struct env_timer *);
	uint64_t due_us;
	uint64_t seq;    /* ties fire in start order */
	unsigned heap_i; /* 0 when idle */
};

/* Something to be called in the next turn of the loop. Idle when not posted. */
struct env_post {
	void (*fn)(struct env_post *);
	struct list node;
	bool posted;
};

/* Where work runs. LOG and STATE are one thread each, first in first out: the store's log and state writers;
 * STATE has a lower priority.
 * POOL is a few threads, no order. */
enum env_lane { ENV_LANE_POOL, ENV_LANE_LOG, ENV_LANE_STATE, ENV_LANE_COUNT };

/* A piece of work: `work` runs on the lane and touches only what it was handed; `done` runs on the loop, always, also
 * at shutdown (env drains its lanes). The memory is the caller's until `done`. */
struct env_work {
	void (*work)(struct env_work *);
	void (*done)(struct env_work *);
	struct list node;
	enum env_lane lane;
};

struct env_ops {
	uint64_t (*now_us)(struct env *); /* monotonic, cached per loop turn */
	int64_t (*wall_us)(struct env *); /* microseconds since the epoch */
	void (*random)(struct env *, void *buf, size_t len);
	void (*wake)(struct env *); /* timers or posts changed: run env_turn() soon */
	void (*submit)(struct env *, struct env_work *);
};

struct env {
	const struct env_ops *ops;
	/* timers: a binary heap ordered by (due_us, seq), element 0 unused; shared by all implementations */
	struct env_timer **heap;
	unsigned n_heap, cap_heap;
	uint64_t next_seq;
	struct list posts;
};

static inline uint64_t env_now_us(struct env *e)
{
	return e->ops->now_us(e);
}
static inline uint64_t env_now_ms(struct env *e)
{
	return e->ops->now_us(e) / 1000;
}
static inline int64_t env_wall_us(struct env *e)
{
	return e->ops->wall_us(e);
}
static inline int64_t env_wall_s(struct env *e)
{
	return e->ops->wall_us(e) / 1000000;
}
static inline void env_random(struct env *e, void *buf, size_t len)
{
	e->ops->random(e, buf, len);
}
uint64_t env_random_u64(struct env *e);
uint64_t env_random_below(struct env *e, uint64_t n); /* uniform in [0, n), n > 0 */

/* (Re)arm: fires once, delay_us from now (0: next turn). */
void env_timer_start(struct env *e, struct env_timer *t, uint64_t delay_us);
void env_timer_stop(struct env *e, struct env_timer *t); /* idle timers too */
static inline bool env_timer_active(const struct env_timer *t)
{
	return t->heap_i != 0;
}

void env_post(struct env *e, struct env_post *p); /* posting twice before it ran: once */
void env_post_cancel(struct env *e, struct env_post *p);

static inline void env_submit(struct env *e, struct env_work *w)
{
	e->ops->submit(e, w);
}

/* For implementations. */
void env_init(struct env *e, const struct env_ops *ops);
void env_fini(struct env *e);
/* Run posts and due timers once. Returns microseconds until the next timer, 0 if posts wait, UINT64_MAX if idle. */
uint64_t env_turn(struct env *e);

#endif
