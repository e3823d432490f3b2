#include "lib/core/env_sim.h"

struct env_sim {
	struct env env;
	uint64_t now_us;
	int64_t wall_offset_us;
	uint64_t rng[2];
	struct list work; /* waiting to run, inline, at the next turn */
};

static struct env_sim *of(struct env *e)
{
	return CONTAINER_OF(e, struct env_sim, env);
}

static uint64_t op_now_us(struct env *e)
{
	return of(e)->now_us;
}

static int64_t op_wall_us(struct env *e)
{
	return (int64_t)of(e)->now_us + of(e)->wall_offset_us;
}

static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15ull);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* xorshift128+: quick, and the same everywhere. */
static uint64_t next(struct env_sim *s)
{
	uint64_t a = s->rng[0], b = s->rng[1];
	s->rng[0] = b;
	a ^= a << 23;
	s->rng[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return s->rng[1] + b;
}

static void op_random(struct env *e, void *buf, size_t len)
{
	for (char *p = buf; len;) {
		uint64_t v = next(of(e));
		size_t n = MIN(len, sizeof(v));
		memcpy(p, &v, n);
		p += n;
		len -= n;
	}
}

static void op_wake(struct env *e)
{
	(void)e;
}

static void op_submit(struct env *e, struct env_work *w)
{
	list_push(&of(e)->work, &w->node);
}

static const struct env_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.wake = op_wake,
	.submit = op_submit,
};

struct env *env_sim_new(uint64_t seed, int64_t wall_start_us)
{
	struct env_sim *s = NEW(struct env_sim);
	env_init(&s->env, &ops);
	list_init(&s->work);
	/* Not zero: a subtraction of a delay from "now" must not wrap in code under test by accident of the origin. */
	s->now_us = 1000000;
	s->wall_offset_us = wall_start_us - (int64_t)s->now_us;
	s->rng[0] = splitmix(&seed);
	s->rng[1] = splitmix(&seed);
	return &s->env;
}

/* One turn: work that waits, then posts and timers. Returns as env_turn does. */
static uint64_t turn(struct env_sim *s)
{
	struct list batch;
	list_init(&batch);
	for (struct list *n; (n = list_pop(&s->work));)
		list_push(&batch, n);
	for (struct list *n; (n = list_pop(&batch));) {
		struct env_work *w = LIST_ENTRY(n, struct env_work, node);
		w->work(w);
		w->done(w);
	}
	uint64_t wait = env_turn(&s->env);
	return list_empty(&s->work) ? wait : 0;
}

void env_sim_free(struct env *e)
{
	if (!e)
		return;
	struct env_sim *s = of(e);
	while (!list_empty(&s->work))
		turn(s);
	env_fini(e);
	free(s);
}

bool env_sim_run_until(struct env *e, bool (*done)(void *), void *arg, uint64_t limit_us)
{
	struct env_sim *s = of(e);
	uint64_t end = s->now_us + limit_us;
	for (;;) {
		uint64_t wait = turn(s);
		if (done && done(arg))
			return true;
		if (wait == 0)
			continue;
		if (wait == UINT64_MAX || wait > end - s->now_us) {
			s->now_us = end;
			return false;
		}
		s->now_us += wait;
	}
}

void env_sim_run_for(struct env *e, uint64_t us)
{
	env_sim_run_until(e, NULL, NULL, us);
}
