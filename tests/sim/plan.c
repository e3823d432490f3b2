#include "tests/sim/plan.h"

#include "lib/core/failpoint.h"
#include "tests/sim/sim.h"

static uint64_t sometimes(uint64_t chance, uint64_t lo, uint64_t hi)
{
	return rand_chance(&sim.rand, chance) ? rand_between(&sim.rand, lo, hi) : 0;
}

/* A run that looks at one failpoint is to get there. */
static void aim(struct plan *p)
{
	const char *name = failpoint_name((enum failpoint)sim.point);
	p->p_point = 20000;
	p->power = 500000; /* both ways of dying are to be seen */
	if (str_starts(name, "snapshot.") || str_starts(name, "log.reset.")) {
		p->p_lag = 3000;
		p->n_first = 3;
		p->length_us = 8000000;
		p->p_point = 1000000; /* always one, and little else that could keep it from that */
		p->p_crash = p->p_io_crash = p->p_partition = p->p_loss = p->p_full = p->p_flip = p->p_change =
			p->p_take = p->p_flip_copy = 0;
		p->p_sync_error = p->p_write_error = p->p_read_error = 0;
	} else if (streq(name, "replica.full")) {
		p->p_full = 5000;
		p->p_point = 200000;
	} else if (streq(name, "replica.config")) {
		p->p_change = 5000;
		p->p_point = 100000;
	}
}

void plan_make(struct plan *p)
{
	static const size_t sizes[] = {1, 1, 1, 3, 3, 5};
	*p = (struct plan){
		.length_us = 500000 * rand_between(&sim.rand, 4, 16),
		.p_crash = sometimes(600000, 100, 2000),
		.p_io_crash = sometimes(800000, 200, 3000),
		.p_point = sometimes(700000, 500, 5000),
		.power = rand_chance(&sim.rand, 700000) ? 800000 : rand_below(&sim.rand, 1000000),
		.p_full = sometimes(300000, 50, 500),
		.p_jump = sometimes(300000, 50, 1000),
		.p_close = sometimes(300000, 50, 500),
		.p_flip = sometimes(400000, 100000, 600000),
		.p_flip_copy = sometimes(400000, 1000, 30000),
		.p_sync_error = sometimes(300000, 100, 3000),
		.p_write_error = sometimes(200000, 10, 500),
		.p_read_error = sometimes(200000, 10, 500),
		.p_change = sometimes(500000, 500, 5000),
		.p_take = sometimes(500000, 1000, 30000),
		.p_lag = sometimes(400000, 300, 3000),
		.p_lose = sometimes(500000, 300000, 1000000),
		.p_partition = sometimes(600000, 100, 3000),
		.p_heal = rand_between(&sim.rand, 300, 5000),
		.p_loss = sometimes(600000, 1000, 300000),
		.p_double = sometimes(500000, 1000, 200000),
		.p_break = sometimes(500000, 500, 20000),
		.delay_us = 100ull << rand_below(&sim.rand, 9),
		.n_first = sizes[rand_below(&sim.rand, ARRAY_LEN(sizes))],
	};
	if (sim.point >= 0)
		aim(p);
	/* who is lost for good is one too few to count on, if others are taken out as well */
	if (p->p_change || p->n_first < 3 || !p->p_flip)
		p->p_lose = 0;
	p->n_spare = p->p_change ? rand_between(&sim.rand, 1, SIM_DISKS - 5) : p->p_lose ? 1 : 0;
}

void plan_configure(const struct plan *p, struct sim_server *s)
{
	s->lane_us = rand_chance(&sim.rand, 200000) ? 0 : 100ull << rand_below(&sim.rand, 9);
	s->drift_percent = (unsigned)rand_between(&sim.rand, 96, 104);
	s->wall_jumps = rand_chance(&sim.rand, 300000);
	s->config.history_us = rand_chance(&sim.rand, 500000) ? 0 : 1000000 * rand_between(&sim.rand, 1, 4);
	s->config.history_bytes = rand_chance(&sim.rand, 500000) ? 0 : 1000ull << rand_below(&sim.rand, 6);
	s->config.read_back = true;
	s->config.sizes = (struct store_sizes){
		.log_segment = 16384ull << (p->p_lag ? 0 : rand_below(&sim.rand, 4)),
		.state_bytes = 500ull << rand_below(&sim.rand, p->p_lag ? 4 : 8),
		.state_us = 50000ull << rand_below(&sim.rand, p->p_lag ? 3 : 6),
		.checkpoint = 8192ull << (p->p_lag ? 0 : rand_below(&sim.rand, 6)),
		.log_keep = p->p_lag || rand_chance(&sim.rand, 500000) ? 1 : 32768ull << rand_below(&sim.rand, 4),
		.snapshot_piece = 512ull << rand_below(&sim.rand, 8),
		.snapshot_idle_us = 100000ull << rand_below(&sim.rand, 6)};
}
