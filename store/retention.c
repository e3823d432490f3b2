/* How much history is kept: revisions that are too old are compacted, and the oldest ones where they take too much room in
 * the state. The leader proposes it; every member keeps count, for it may lead one day. What was kept when this process
 * began is of no known age and size: it goes with the first compaction. */
#include "store/engine.h"

#define SIZE_SAMPLES 8u /* to a limit: so exact is the bound */

static void proposed(void *arg, _unused_ const struct err *err, _unused_ uint64_t value)
{
	struct engine *e = arg;
	e->compacting = false;
}

static void compact(struct engine *e, uint64_t upto)
{
	e->compact_upto = MAX(e->compact_upto, upto);
	if (e->compact_upto <= e->mvcc.compacted || e->compacting || !e->recovered || !replica__leads(e) ||
	    call__admit(e, 1, NULL))
		return;
	struct call *c = call__new(e, CALL_NUMBER, e);
	c->cb.number = proposed;
	store_cmd_number(&c->cmd, CMD_COMPACT, e->compact_upto);
	e->compacting = true;
	call__submit(e, c);
}

/* ---- by age ---- */

static void take_sample(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, compact_timer);
	uint64_t now = env_now_us(e->env), upto = 0;
	env_timer_start(e->env, t, MAX(e->history_us / 10, (uint64_t)100000));
	size_t old = 0;
	while (old < e->n_samples && e->samples[old].at_us + e->history_us <= now)
		upto = e->samples[old++].rev;
	memmove(e->samples, e->samples + old, (e->n_samples - old) * sizeof(e->samples[0]));
	e->n_samples -= old;
	if (e->n_samples < ARRAY_LEN(e->samples)) {
		e->samples[e->n_samples].at_us = now;
		e->samples[e->n_samples++].rev = e->mvcc.rev;
	}
	compact(e, upto);
}

/* ---- by size ---- */

/* Each place says how much had been written when its revision was the last. */
void retention__grew(struct engine *e, size_t bytes)
{
	uint64_t limit = e->history_disk_bytes, upto = 0;
	e->history_written += bytes;
	if (!limit)
		return;
	size_t n = e->n_sizes, old = 0;
	while (old < n && e->history_written - e->sizes_of[old].bytes > limit)
		upto = e->sizes_of[old++].rev;
	memmove(e->sizes_of, e->sizes_of + old, (n - old) * sizeof(e->sizes_of[0]));
	n = e->n_sizes -= old;
	uint64_t last = n ? e->sizes_of[n - 1].bytes : 0;
	if (n < ARRAY_LEN(e->sizes_of) && (!n || e->history_written - last >= limit / SIZE_SAMPLES)) {
		e->sizes_of[n].bytes = e->history_written;
		e->sizes_of[e->n_sizes++].rev = e->mvcc.rev;
	}
	if (upto)
		compact(e, upto);
}

void retention__start(struct engine *e)
{
	e->compact_timer.fn = take_sample;
	env_timer_start(e->env, &e->compact_timer, 0);
}

void retention__stop(struct engine *e)
{
	env_timer_stop(e->env, &e->compact_timer);
}
