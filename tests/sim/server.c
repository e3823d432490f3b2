#include "tests/sim/server.h"

#include <errno.h>

#include "lib/core/log.h"
#include "tests/sim/points.h"
#include "tests/sim/sim.h"

static struct sim_server *servers[SIM_DISKS];
struct sim_server *sim_server_current;

static void lane_next(struct sim_lane *l)
{
	struct sim_server *s = l->server;
	if (!list_empty(&l->queue) && !env_timer_active(&l->timer))
		env_timer_start(s->env, &l->timer, s->lane_us ? rand_below(&sim.disk, s->lane_us) / 2 : 0);
}

/* Work is done in the middle of its time: what it changes and what is told of it are two moments. */
static void lane_fire(struct env_timer *t)
{
	struct sim_lane *l = CONTAINER_OF(t, struct sim_lane, timer);
	struct env_work *w = LIST_ENTRY(l->queue.next, struct env_work, node);
	if (!l->ran) {
		w->work(w);
		l->ran = true;
	} else {
		list_del(&w->node);
		l->ran = false;
		w->done(w);
	}
	lane_next(l);
}

static void submit(struct env *env, struct env_work *w)
{
	struct sim_server *s = NULL;
	for (size_t i = 0; i < SIM_DISKS && !s; i++)
		if (servers[i] && servers[i]->env == env)
			s = servers[i];
	MUST(s);
	struct sim_lane *l = &s->lanes[w->lane];
	list_push(&l->queue, &w->node);
	lane_next(l);
}

void sim_server_removed(struct sim_server *s)
{
	if (!s->wished_out)
		sim_violation("server %u was removed, and nobody asked for that", s->id);
	s->out = true;
}

static void on_fatal(void *arg, const struct err *err)
{
	struct sim_server *s = arg;
	sim_trace("server %u stops: %s", s->id, err->message);
	s->fatal = true;
	s->fatals++;
	if (err->code == -ESTALE)
		sim_server_removed(s);
	s->disk.dead = true; /* in production the process ends here */
}

void sim_server_init(struct sim_server *s, unsigned id)
{
	*s = (struct sim_server){.id = id, .drift_percent = 100, .died_at = -1};
	sim_disk_init(&s->disk, id);
	snprintf(s->dir, sizeof(s->dir), "/s%u", id);
	s->config = (struct store_config){.dir = s->dir, .disk = &s->disk.disk, .on_fatal = on_fatal, .fatal_arg = s};
	servers[id] = s;
}

/* What the wall clock says at a start is anyone's guess: some are set back or ahead in between, by up to a week. */
static int64_t wall_us(const struct sim_server *s)
{
	int64_t off = s->wall_jumps ? (int64_t)rand_below(&sim.disk, 1209600000000) - 604800000000 : 0;
	return 1700000000000000 + (int64_t)sim.now_us + off;
}

static void new_env(struct sim_server *s)
{
	s->env = env_sim_new(rand_u64(&sim.disk), wall_us(s));
	s->env_ops = *s->env->ops;
	s->env_ops.submit = submit;
	s->env->ops = &s->env_ops;
	for (size_t i = 0; i < ENV_LANE_COUNT; i++) {
		s->lanes[i] = (struct sim_lane){.timer = {.fn = lane_fire}, .server = s};
		list_init(&s->lanes[i].queue);
	}
}

static void free_env(struct sim_server *s)
{
	env_sim_free(STEAL(s->env));
}

int sim_server_start(struct sim_server *s, struct err *err)
{
	s->life++;
	s->fatal = s->point_failed = false;
	s->died_at = -1;
	new_env(s);
	sim_server_current = s;
	int rc = store_open(s->env, &s->config, &s->store, err);
	sim_server_current = NULL;
	sim_trace("server %u start %d%s", s->id, rc, s->disk.dead ? ", died in it" : "");
	if (rc) {
		s->store = NULL;
		free_env(s);
	}
	return rc;
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}
static bool is_true(void *arg)
{
	return *(bool *)arg;
}

static void close_store(struct sim_server *s)
{
	bool closed = false;
	if (!s->store)
		return;
	sim_server_current = s;
	s->store->engine->close(s->store, set_true, &closed);
	if (!env_sim_run_until(s->env, is_true, &closed, 120000000))
		sim_violation("server %u does not close", s->id);
	sim_server_current = NULL;
	s->store = NULL;
	free_env(s);
}

void sim_server_crash(struct sim_server *s, bool power)
{
	points_died(s, power);
	sim_trace("server %u crash%s", s->id, power ? ", power lost" : "");
	s->crashes++;
	s->disk.dead = true;
	close_store(s);
	s->life++;
	sim_disk_restart(&s->disk, power);
}

void sim_server_close(struct sim_server *s)
{
	sim_trace("server %u close", s->id);
	close_store(s);
	s->life++;
	bool power = s->disk.dead && rand_chance(&sim.rand, 500000); /* it died in it */
	points_died(s, power);
	sim_disk_restart(&s->disk, power);
}

void sim_server_run(struct sim_server *s, uint64_t us)
{
	sim_server_current = s;
	if (s->store)
		env_sim_run_for(s->env, us * s->drift_percent / 100);
	sim_server_current = NULL;
}

bool sim_server_takes(struct sim_server *s)
{
	char path[32];
	snprintf(path, sizeof(path), "%s/store/incoming.head", s->dir);
	return s->store && sim_disk_find(&s->disk, path);
}

void sim_server_done(struct sim_server *s)
{
	s->disk.dead = true;
	close_store(s);
	sim_disk_done(&s->disk);
	servers[s->id] = NULL;
}
