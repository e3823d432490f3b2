#include "tests/sim/repair.h"

#include <errno.h>

#include "store/cluster.h"
#include "tests/sim/sim.h"

struct asked {
	struct sim_repair *repair;
	struct sim_server *at;
	unsigned life;
};

void repair_init(struct sim_repair *r, struct sim_server *servers, size_t n)
{
	*r = (struct sim_repair){.servers = servers, .n_servers = n};
	for (size_t i = 0; i < n; i++)
		if (servers[i].waits && !servers[i].asked)
			r->spare = &servers[i];
}

bool repair_may(const struct sim_repair *r)
{
	return !r->lost && r->spare;
}

void repair_lose(struct sim_repair *r, struct sim_server *s)
{
	sim_trace("server %u is given up, %u comes instead", s->id, r->spare->id);
	r->lost = s;
	s->out = s->wished_out = true;
	r->spare->asked = true;
	r->spare->wish = STORE_ROLE_VOTER;
}

static void answered(void *arg, const struct err *err, _unused_ uint64_t value)
{
	struct asked *a = arg;
	struct sim_repair *r = a->repair;
	bool alive = sim_server_alive(a->at) && a->at->life == a->life;
	int code = err ? err->code : 0;
	r->busy = false;
	r->next_us = sim.now_us + 200000;
	sim_trace("replacement through %u: %d", a->at->id, code);
	if (alive && code == 0)
		r->done = r->spare->added = true;
	else if (alive && code == -ENOENT) /* the lost one is out already: an answer was lost */
		r->plain = true;
	if (alive && (code == 0 || code == -ECANCELED || code == -ETIMEDOUT) && r->spare->waits) {
		r->spare->waits = false;
		r->spare->restart_at = sim.now_us + rand_below(&sim.rand, 500000);
	}
	free(a);
}

void repair_run(struct sim_repair *r)
{
	if (!r->lost || r->done || r->busy || sim.now_us < r->next_us)
		return;
	struct sim_server *at = &r->servers[rand_below(&sim.rand, r->n_servers)];
	if (at == r->spare || !sim_server_alive(at))
		return;
	struct asked *a = NEW(struct asked);
	*a = (struct asked){.repair = r, .at = at, .life = at->life};
	struct store_member m = {.id = r->spare->id + 1, .wish = STORE_ROLE_VOTER};
	snprintf(m.name, sizeof(m.name), "s%u", r->spare->id);
	r->busy = true;
	store_member_add(at->store, &m, r->plain ? 0 : r->lost->id + 1, answered, a);
}
