#include "tests/sim/operator.h"

#include <errno.h>
#include <inttypes.h>

#include "store/cluster.h"
#include "tests/sim/sim.h"

#define SETTLE_US 200000u

struct change {
	struct sim_operator *operator;
	struct sim_server *at, *of; /* asked there; about that one or NULL */
	unsigned life;
	bool adds;
};

void operator_init(struct sim_operator *o, struct sim_server *servers, size_t n, size_t n_first, uint64_t p_change)
{
	*o = (struct sim_operator){.servers = servers, .n_servers = n, .n_first = n_first, .p_change = p_change};
	for (size_t i = 0; i < n; i++)
		servers[i].waits = i >= n_first;
}

/* It may start: what it is told, and when, is the leader's affair. */
static void bring_up(struct sim_server *s)
{
	if (!s->waits)
		return;
	s->waits = false;
	s->restart_at = sim.now_us + rand_below(&sim.rand, 500000);
}

static void answered(void *arg, const struct err *err, _unused_ uint64_t value)
{
	struct change *c = arg;
	struct sim_operator *o = c->operator;
	bool alive = sim_server_alive(c->at) && c->at->life == c->life;
	int code = err ? err->code : 0;
	o->busy = false;
	if (!alive || code == -ECANCELED || code == -ETIMEDOUT) {
		o->unknown++;
		if (c->adds)
			bring_up(c->of);
	} else {
		sim_trace("member change at %u: %d", c->at->id, code);
		o->changes += code == 0;
		o->refused += code != 0;
		if (c->adds && code == 0) {
			bring_up(c->of);
			c->of->added = true;
		} else if (c->adds && code == -ENOENT) {
			c->of->out = true; /* it was added, and removed before it was told of either */
		}
	}
	free(c);
}

static struct sim_server *pick(struct sim_operator *o, bool (*fits)(const struct sim_server *s))
{
	size_t from = (size_t)rand_below(&sim.rand, o->n_servers);
	for (size_t i = 0; i < o->n_servers; i++) {
		struct sim_server *s = &o->servers[(from + i) % o->n_servers];
		if (fits(s))
			return s;
	}
	return NULL;
}

static bool waits(const struct sim_server *s)
{
	return s->waits && !s->out;
}
static bool is_in(const struct sim_server *s)
{
	return !s->waits && !s->out && !s->wished_out;
}

static void add(struct sim_operator *o, struct sim_server *at, struct sim_server *who, struct sim_server *instead)
{
	struct change *c = NEW(struct change);
	*c = (struct change){.operator= o, .at = at, .of = who, .life = at->life, .adds = true};
	struct store_member m = {.id = who->id + 1, .wish = STORE_ROLE_VOTER};
	if (!who->asked) {
		who->wish = rand_chance(&sim.rand, 250000) ? STORE_ROLE_LEARNER : STORE_ROLE_VOTER;
		if (rand_chance(&sim.rand, 150000))
			who->wish = STORE_ROLE_WITNESS;
	}
	who->asked = true;
	m.wish = (enum store_role)who->wish;
	snprintf(m.name, sizeof(m.name), "s%u", who->id);
	if (instead)
		instead->wished_out = true;
	sim_trace("server %u is to be added (%u) through %u", who->id, who->wish, at->id);
	store_member_add(at->store, &m, instead ? instead->id + 1 : 0, answered, c);
}

static void change_member(struct sim_operator *o, struct sim_server *at, uint64_t what)
{
	struct sim_server *who = pick(o, is_in);
	if (!who)
		return;
	struct change *c = NEW(struct change);
	*c = (struct change){.operator= o, .at = at, .of = who, .life = at->life};
	o->busy = true;
	if (what == 0) {
		enum store_role wish = rand_chance(&sim.rand, 600000) ? STORE_ROLE_VOTER : STORE_ROLE_LEARNER;
		sim_trace("server %u is to be %u, through %u", who->id, (unsigned)wish, at->id);
		store_member_wish(at->store, who->id + 1, wish, answered, c);
	} else if (what == 1) {
		sim_trace("server %u is to leave, through %u", who->id, at->id);
		who->wished_out = true;
		store_member_wish(at->store, who->id + 1, STORE_ROLE_NONE, answered, c);
	} else {
		bool any = rand_chance(&sim.rand, 300000);
		sim_trace("the leadership is to go to %u, through %u", any ? 99 : who->id, at->id);
		store_move_leader(at->store, any ? 0 : who->id + 1, answered, c);
	}
}

static size_t count_in(const struct sim_operator *o)
{
	size_t n = 0;
	for (size_t i = 0; i < o->n_servers; i++)
		n += is_in(&o->servers[i]);
	return n;
}

void operator_run(struct sim_operator *o)
{
	if (!o->p_change || o->busy || !rand_chance(&sim.rand, o->p_change))
		return;
	struct sim_server *at = pick(o, sim_server_alive), *new = pick(o, waits);
	if (!at)
		return;
	uint64_t what = rand_below(&sim.rand, 10);
	if (what < 4 && new) {
		bool replaces = what == 0 && count_in(o) > 1;
		o->busy = true;
		add(o, at, new, replaces ? pick(o, is_in) : NULL);
	} else {
		change_member(o, at, what < 6 ? 0 : what < 8 && count_in(o) > 1 ? 1 : 2);
	}
}

void operator_settle(struct sim_operator *o)
{
	if (!o->p_change || o->busy || sim.now_us % SETTLE_US)
		return;
	struct sim_server *at = pick(o, sim_server_alive);
	for (size_t i = 0; i < o->n_servers && at; i++) {
		struct sim_server *s = &o->servers[i];
		if (!s->asked || s->added || s->out)
			continue;
		o->busy = true;
		add(o, at, s, NULL);
		return;
	}
}

/* ---- the end ---- */

static struct {
	bool answered;
	size_t n, leaders;
	bool in[SIM_DISKS];
	uint64_t view;
} found;

static void on_members(_unused_ void *arg, const struct err *err, const struct store_members *m)
{
	if (err)
		sim_violation("the members are not told when all is quiet: %s", err->message);
	found.answered = true;
	found.n = m->n;
	for (size_t i = 0; i < m->n; i++) {
		const struct store_member *x = &m->members[i];
		sim_trace("member %" PRIu64 " is %u, wished %u", x->id, (unsigned)x->role, (unsigned)x->wish);
		if (x->id == 0 || x->id > SIM_DISKS)
			sim_violation("a member that nobody made: %" PRIu64, x->id);
		/* a witness waits until there are others to be a majority with */
		if (x->role != x->wish && x->wish != STORE_ROLE_WITNESS)
			sim_violation("member %" PRIu64 " is %u when all is quiet, and wished to be %u", x->id,
				      (unsigned)x->role, (unsigned)x->wish);
		found.in[x->id - 1] = true;
		found.leaders += x->leader;
	}
}

/* All say the same of all: rows are decided alike. */
static void on_view(void *arg, const struct err *err, const struct store_members *m)
{
	struct sim_server *s = arg;
	if (err)
		sim_violation("server %u does not tell who belongs: %s", s->id, err->message);
	uint64_t hash = m->n;
	for (size_t i = 0; i < m->n; i++) {
		const struct store_member *x = &m->members[i];
		uint64_t what[] = {hash, x->id, (uint64_t)x->role, (uint64_t)x->wish, hash64(x->name, strlen(x->name))};
		hash = hash64(what, sizeof(what));
	}
	if (found.view && found.view != hash)
		sim_violation("server %u says something else of the members than another one", s->id);
	found.view = hash;
}

void operator_compare(struct sim_operator *o)
{
	for (size_t i = 0; i < o->n_servers && o->n_servers > 1; i++)
		if (o->servers[i].settled)
			store_members(o->servers[i].store, true, on_view, &o->servers[i]);
}

/* Never added, or removed while it was away, and so were all whom it knew: there is nobody whom it could ask. */
static void on_own_view(void *arg, _unused_ const struct err *err, const struct store_members *m)
{
	struct sim_server *s = arg;
	s->knows_nobody = m;
	for (size_t i = 0; m && i < m->n; i++)
		if (m->members[i].id != s->id + 1u && !(s - s->id)[m->members[i].id - 1].out)
			s->knows_nobody = false;
}

void operator_ask(struct sim_operator *o)
{
	if (o->n_servers == 1)
		return;
	memset(&found, 0, sizeof(found));
	for (size_t i = 0; i < o->n_servers; i++)
		if (sim_server_alive(&o->servers[i]))
			store_members(o->servers[i].store, true, on_own_view, &o->servers[i]);
	/* not one that is no member and has not heard of it: it could not say */
	for (int any = 0; any < 2; any++)
		for (size_t i = 0; i < o->n_servers; i++) {
			struct sim_server *s = &o->servers[i];
			if (!sim_server_alive(s) || s->wish == STORE_ROLE_WITNESS || (!any && !s->leads))
				continue;
			store_members(s->store, false, on_members, NULL);
			return;
		}
	sim_violation("nobody is up when all is quiet");
}

void operator_check(struct sim_operator *o)
{
	o->servers[0].settled = true;
	if (o->n_servers == 1)
		return;
	if (!found.answered || found.leaders != 1)
		sim_violation("%zu members, of which %zu lead, when all is quiet", found.n, found.leaders);
	for (size_t i = 0; i < o->n_servers; i++) {
		struct sim_server *s = &o->servers[i];
		if (found.in[i] && (s->out || !sim_server_alive(s)))
			sim_violation("server %u is a member, and not up", s->id);
		if (!found.in[i] && sim_server_alive(s) && s->knows_nobody)
			s->out = true;
		else if (!found.in[i] && sim_server_alive(s))
			sim_violation("server %u is no member any more, and has not stopped", s->id);
		s->settled = found.in[i] && s->wish != STORE_ROLE_WITNESS;
	}
}
