/* One seed, one life of a store: phase one with faults, phase two without, then everything that was seen is judged. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "store/cluster.h"
#include "tests/sim/clients.h"
#include "tests/sim/ledger.h"
#include "tests/sim/net.h"
#include "tests/sim/operator.h"
#include "tests/sim/plan.h"
#include "tests/sim/points.h"
#include "tests/sim/repair.h"

struct sim sim;

void sim_trace_bytes(const void *data, size_t len)
{
	sim.hash = (sim.hash ^ hash64(data, len)) * 0x100000001b3ull;
}

void sim_trace(const char *fmt, ...)
{
	char line[1400];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sim_trace_bytes(line, MIN((size_t)n, sizeof(line) - 1));
	sim_trace_bytes(&sim.now_us, sizeof(sim.now_us));
	sim.events++;
	if (sim.verbose)
		fprintf(stderr, "%10" PRIu64 " %s\n", sim.now_us, line);
}

void sim_violation(const char *fmt, ...)
{
	va_list ap;
	fflush(stderr);
	printf("seed %" PRIu64 " hash %016" PRIx64 " VIOLATION at %" PRIu64 " us: ", sim.seed, sim.hash, sim.now_us);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

/* ---- the faults of one life ---- */

static struct sim_server servers[SIM_DISKS];
static size_t n_servers;
static struct sim_operator operator;
static struct sim_repair repair;
static struct sim_net net;

static void set_faults(struct sim_server *s, const struct plan *p)
{
	s->disk.p_sync_error = p ? p->p_sync_error : 0;
	s->disk.p_write_error = p ? p->p_write_error : 0;
	s->disk.p_read_error = p ? p->p_read_error : 0;
	if (!p) {
		s->disk.capacity = 0;
		s->point_in = 0;
	}
}

static struct sim_server *rotten; /* it lives with a flipped bit, in a place that was not read at its start */
static struct sim_flip rot;

static bool may_lose(const struct sim_server *s)
{
	return repair_may(&repair) && (!rotten || rotten == s);
}

/* Damage must be told, never be taken for the end of the log, nor be believed; then it is undone (restored from
 * elsewhere), or the server is given up. */
static void start_damaged(struct sim_server *s, const struct plan *p)
{
	struct sim_flip flip;
	_cleanup_err_ struct err err = ERR_INIT;
	bool state = rand_chance(&sim.rand, 500000);
	if (!(state ? sim_disk_flip_state : sim_disk_flip)(&s->disk, &flip))
		return;
	int rc = sim_server_start(s, &err);
	s->disk.flips++;
	if (rc == 0 && state && may_lose(s) && rand_chance(&sim.rand, 500000)) {
		rotten = s; /* whatever reads it notices, sooner or later */
		rot = flip;
		rot.node->refs++;
		return;
	}
	if (rc == 0) { /* it was in bytes that mean nothing: then nothing may be lost */
		sim_disk_unflip(&flip);
		return;
	}
	if (rc != -EUCLEAN && rc != -ESTALE && !s->disk.dead)
		sim_violation("a damaged %s is refused with %d: %s", state ? "state" : "log", rc, err.message);
	s->disk.noticed++;
	sim_disk_restart(&s->disk, false);
	sim_disk_unflip(&flip);
	if (rc == -EUCLEAN && may_lose(s) && rand_chance(&sim.rand, p->p_lose))
		repair_lose(&repair, s);
}

static void start(struct sim_server *s, const struct plan *p)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (p && rand_chance(&sim.rand, p->p_flip)) {
		set_faults(s, NULL);
		start_damaged(s, p);
	}
	if (s->store || s->out)
		return;
	/* a start is a time to crash in, too */
	if (p && rand_chance(&sim.rand, p->p_io_crash * 100))
		s->disk.crash_in = rand_between(&sim.rand, 1, 40);
	if (p && rand_chance(&sim.rand, p->p_point * 40))
		points_arm(s);
	int rc = sim_server_start(s, &err);
	bool faults = s->disk.p_read_error || s->disk.p_write_error || s->disk.p_sync_error || s->disk.capacity ||
		      s->point_failed;
	if (rc == -ESTALE) {
		sim_server_removed(s);
		sim_disk_restart(&s->disk, false);
		return;
	}
	if (rc == -EUCLEAN && s == rotten) {
		s->disk.noticed++;
		sim_disk_restart(&s->disk, false);
		repair_lose(&repair, s);
		return;
	}
	if (rc && !s->disk.dead && !faults)
		sim_violation("server %u does not start: %s", s->id, err.message);
	if (rc) {
		bool power = p && rand_chance(&sim.rand, p->power);
		points_died(s, power);
		sim_disk_restart(&s->disk, power);
		s->restart_at = sim.now_us + rand_below(&sim.rand, 100000);
		set_faults(s, NULL); /* or it never comes back */
		return;
	}
	set_faults(s, p);
}

static bool somebody_lags(void)
{
	for (size_t i = 0; i < n_servers; i++)
		if (!servers[i].store && !servers[i].waits && !servers[i].out &&
		    servers[i].restart_at > sim.now_us + 300000)
			return true;
	return false;
}

static void disturb(struct sim_server *s, const struct plan *p)
{
	if (rand_chance(&sim.rand, p->p_crash))
		s->disk.dead = true;
	if (s->store && rand_chance(&sim.rand, p->p_flip_copy) && sim_disk_flip_copy(&s->disk))
		s->disk.flips++;
	if (sim_server_takes(s) && rand_chance(&sim.rand, p->p_take))
		s->disk.dead = true;
	if (!s->disk.crash_in && rand_chance(&sim.rand, p->p_io_crash))
		s->disk.crash_in = rand_between(&sim.rand, 1, 200);
	if (rand_chance(&sim.rand, p->p_point))
		points_arm(s);
	if (rand_chance(&sim.rand, p->p_full))
		s->disk.capacity = s->disk.capacity ? 0 : s->disk.used + rand_below(&sim.rand, 100000);
	if (s->store && rand_chance(&sim.rand, p->p_jump)) {
		sim_trace("server %u clock jumps", s->id);
		ledger_clock_jumped();
		sim_server_run(s, rand_between(&sim.rand, 1000, 8000000));
	}
	if (s->store && !s->disk.dead && rand_chance(&sim.rand, p->p_close)) {
		sim_server_close(s);
		s->restart_at = sim.now_us + rand_below(&sim.rand, 300000);
	}
	if (s->store && !s->disk.dead && n_servers > 1 && rand_chance(&sim.rand, p->p_lag) && !somebody_lags()) {
		sim_server_close(s);
		s->restart_at = sim.now_us + rand_between(&sim.rand, 500000, 2500000);
	}
}

static void turn(struct sim_server *s, const struct plan *p, struct sim_users *u)
{
	if (s->store && s->disk.dead) {
		sim_server_crash(s, rand_chance(&sim.rand, p ? p->power : 1000000));
		s->restart_at = sim.now_us + rand_below(&sim.rand, 300000);
	}
	if (s->out && s->store)
		sim_server_close(s);
	if (s->out || s->waits)
		return;
	if (!s->store && sim.now_us >= s->restart_at) {
		start(s, p);
		if (sim_server_alive(s))
			users_read_all(u, s, n_servers > 1, false);
	}
	if (p)
		disturb(s, p);
}

/* ---- what members say of themselves ---- */

static uint64_t leader_of[100000]; /* by term */
static uint64_t rev_of[400000];    /* by applied index */

static void on_status(void *arg, _unused_ const struct err *err, const struct store_status *st)
{
	struct sim_server *s = arg;
	if (!st || !sim_server_alive(s))
		return;
	if (sim.verbose && sim.now_us % 500000 < 10000)
		fprintf(stderr,
			"# server %u: term %" PRIu64 ", index %" PRIu64 ", applied %" PRIu64 ", revision %" PRIu64
			", leader %" PRIu64 "\n",
			s->id, st->raft_term, st->raft_index, st->applied_index, st->rev, st->leader_id);
	s->leads = st->is_leader && st->has_quorum;
	if (n_servers > 1 && st->is_leader && st->raft_term < ARRAY_LEN(leader_of)) {
		uint64_t *leader = &leader_of[st->raft_term];
		if (*leader && *leader != st->member_id)
			sim_violation("term %" PRIu64 " has two leaders, %" PRIu64 " and %" PRIu64, st->raft_term,
				      *leader, st->member_id);
		*leader = st->member_id;
	}
	if (st->applied_index < ARRAY_LEN(rev_of) && s->wish != STORE_ROLE_WITNESS) {
		uint64_t *rev = &rev_of[st->applied_index];
		if (*rev && *rev != st->rev)
			sim_violation("at index %" PRIu64 " one member is at revision %" PRIu64 ", another at %" PRIu64,
				      st->applied_index, *rev, st->rev);
		*rev = st->rev;
	}
}

/* No fault that is simulated here may make them differ. */
static void on_members(void *arg, _unused_ const struct err *err, const struct store_members *m)
{
	struct sim_server *s = arg;
	if (m && m->n_alarms && sim_server_alive(s) && !rotten)
		sim_violation("server %u says: %s", s->id, m->alarms[0]);
}

static void run(struct sim_users *u, const struct plan *p, uint64_t us)
{
	unsigned at = 0;
	for (uint64_t end = sim.now_us + us; sim.now_us < end;) {
		if (p && n_servers > 1 && rand_chance(&sim.rand, p->p_partition))
			net_partition(&net);
		if (p && n_servers > 1 && rand_chance(&sim.rand, p->p_heal))
			net_heal(&net);
		if (p && n_servers > 1 && rand_chance(&sim.rand, p->p_break))
			net_break(&net);
		for (size_t i = 0; i < n_servers; i++)
			turn(&servers[i], p, u);
		net_deliver(&net);
		users_run(u);
		if (p)
			operator_run(&operator);
		else
			operator_settle(&operator);
		repair_run(&repair);
		struct sim_server *s = &servers[at++ % n_servers];
		if (n_servers > 1 && at % 20 < n_servers && sim_server_alive(s) && s->wish != STORE_ROLE_WITNESS)
			users_read_all(u, s, true, false); /* what each of them holds, at its revision */
		if (sim_server_alive(s)) {
			s->store->engine->status(s->store, on_status, s);
			store_members(s->store, true, on_members, s);
		}
		for (size_t i = 0; i < n_servers; i++)
			sim_server_run(&servers[i], 1000);
		sim.now_us += 1000;
	}
}

static void set_up(const struct plan *plan)
{
	n_servers = plan->n_first + plan->n_spare;
	for (unsigned i = 0; i < n_servers; i++) {
		sim_server_init(&servers[i], i);
		plan_configure(plan, &servers[i]);
	}
	operator_init(&operator, servers, n_servers, plan->n_first, plan->p_change);
	repair_init(&repair, servers, plan->p_lose ? n_servers : 0);
	if (n_servers == 1)
		return;
	net_init(&net, servers, n_servers, plan->n_first);
	net.p_loss = plan->p_loss;
	net.p_double = plan->p_double;
	net.delay_us = plan->delay_us;
}

static void no_more_faults(void)
{
	if (rot.node) {
		sim_disk_unflip(&rot);
		sim_vnode_unref(STEAL(rot.node));
	}
	for (size_t i = 0; i < n_servers; i++) {
		set_faults(&servers[i], NULL);
		servers[i].disk.crash_in = 0;
		servers[i].lane_us = MIN(servers[i].lane_us, (uint64_t)10000);
	}
	net_heal(&net);
	net.p_loss = net.p_double = 0;
	net.delay_us = MIN(net.delay_us, (uint64_t)10000);
}

static void report(const struct sim_users *u, const struct ledger_stats *st)
{
	uint64_t crashes = 0, stops = 0, io = 0, lost = 0, torn = 0, flips = 0, noticed = 0;
	for (size_t i = 0; i < n_servers; i++) {
		crashes += servers[i].crashes;
		stops += servers[i].fatals;
		io += servers[i].disk.io;
		lost += servers[i].disk.lost_writes;
		torn += servers[i].disk.torn_writes;
		flips += servers[i].disk.flips;
		noticed += servers[i].disk.noticed;
	}
	fprintf(stderr,
		"# %zu servers, %zu writes, %zu reads, %zu events, %zu watches, %zu revisions (%zu unknown), %" PRIu64
		" answers, %" PRIu64 " refused, %" PRIu64 " unknown, %" PRIu64 " compactions, %" PRIu64
		" lists, %" PRIu64 " crashes, %" PRIu64 " stops, %" PRIu64 " io, %" PRIu64 " writes lost, %" PRIu64
		" torn, %" PRIu64 " bits flipped, %" PRIu64 " noticed at a start, %" PRIu64 " messages, %" PRIu64
		" lost, %zu undecided, %" PRIu64 " member changes, %" PRIu64 " refused, %" PRIu64 " unknown, %s\n",
		n_servers, st->writes, st->reads, st->events, st->sessions, st->revisions, st->gaps, u->answered,
		u->refused, u->unknown, u->compactions, u->expired_watches, crashes, stops, io, lost, torn, flips,
		noticed, net.sent, net.lost, st->undecided, operator.changes, operator.refused, operator.unknown,
		!repair.lost  ? "nobody lost"
		: repair.done ? "one lost and replaced"
			      : "one lost");
}

static void read_all(struct sim_users *u, bool stale)
{
	for (size_t i = 0; i < n_servers; i++)
		if (servers[i].settled)
			users_read_all(u, &servers[i], stale, true);
}

/* The rest of an hour, in which nobody asks for anything. One server alone lives through it; several are shut down, since
 * their heartbeats would cost more than everything else: they come back with clocks that have gone on. */
static void sleep_until(struct sim_users *u, uint64_t us)
{
	uint64_t rest = us > sim.now_us ? us - sim.now_us : 0;
	for (size_t i = 0; i < n_servers; i++) {
		if (n_servers > 1 && sim_server_alive(&servers[i]))
			sim_server_close(&servers[i]);
		servers[i].restart_at = us;
	}
	/* in steps, so that what is seen on the way has its time */
	for (uint64_t step = 1000000; rest; rest -= MIN(rest, step)) {
		if (sim_server_alive(&servers[0]))
			sim_server_run(&servers[0], MIN(rest, step));
		sim.now_us += MIN(rest, step);
	}
	users_run(u);
}

/* A long life: each hour a few seconds of use and faults, a calm, and nothing. */
static void live_days(struct sim_users *u, const struct plan *plan)
{
	uint64_t begin = sim.now_us;
	for (uint64_t hour = 0; hour < 24 * sim.days; hour++) {
		for (size_t i = 0; i < n_servers; i++)
			set_faults(&servers[i], plan);
		net.p_loss = plan->p_loss;
		net.p_double = plan->p_double;
		u->budget = 40;
		run(u, plan, 1500000);
		no_more_faults();
		run(u, NULL, 1500000);
		sleep_until(u, begin + (hour + 1) * 3600000000ull);
	}
	u->budget = 1000;
}

void sim_live(void)
{
	struct sim_users users;
	struct plan plan;
	plan_make(&plan);
	set_up(&plan);
	users_init(&users, servers, n_servers);
	if (sim.days)
		live_days(&users, &plan);
	run(&users, &plan, plan.length_us);
	/* phase two: nothing fails any more */
	no_more_faults();
	run(&users, NULL, 2000000);
	users.quiet = true;
	run(&users, NULL, n_servers > 1 ? 12000000 : 6000000); /* longer than any lease, or any call's patience */
	if (!users_idle(&users))
		sim_violation("a call is not answered when all is quiet");
	operator_ask(&operator);
	run(&users, NULL, 1000000);
	operator_check(&operator);
	operator_compare(&operator);
	for (int stale = 0; stale < 2; stale++)
		read_all(&users, stale);
	run(&users, NULL, 3000000); /* who watched at one that is no member begins elsewhere */
	users_settle(&users);
	/* what is there is there, however it ends */
	for (size_t i = 0; i < n_servers; i++)
		servers[i].disk.dead = true;
	run(&users, NULL, 3000000);
	read_all(&users, false);
	run(&users, NULL, 1000000);
	struct ledger_stats st;
	ledger_check(&st);
	if (sim.verbose)
		report(&users, &st);
	if (st.writes == 0 && !users.unknown)
		sim_violation("nothing was written");
	for (size_t i = 0; i < n_servers; i++)
		sim_server_done(&servers[i]);
}
