/* The leader brings raft's configuration to what is wished, one change at a time:
 *
 *   wished, not in it -> learner -> caught up, and heard of -> voter        a witness is one at once
 *   wished to be none, or a learner -> out, or a learner; the leader itself last, after it has handed over
 *
 * No step is made that would leave the new voters without a majority that answers. */
#include <errno.h>

#include "store/engine.h"

#define HEARD_US       1000000u
#define CLOSE          1024u /* entries: so near, the rest comes while it is made a voter */
#define HAND_OVER_US   500000u
#define HAND_OVERS_MAX 10u

static void heard_forget(struct engine *e, const struct raft_membership *now)
{
	size_t left = 0;
	for (size_t i = 0; i < e->n_heard; i++)
		if (roster__in(now, e->heard[i].id))
			e->heard[left++] = e->heard[i];
	e->n_heard = left;
}

void wishes__heard(struct engine *e, uint64_t id)
{
	for (size_t i = 0; i < e->n_heard; i++)
		if (e->heard[i].id == id) {
			e->heard[i].at_us = env_now_us(e->env);
			return;
		}
	struct raft_membership now;
	raft_get_membership(e->raft, &now);
	if (!roster__in(&now, id))
		return;
	heard_forget(e, &now);
	if (e->n_heard == ARRAY_LEN(e->heard))
		return;
	e->heard[e->n_heard].id = id;
	e->heard[e->n_heard++].at_us = env_now_us(e->env);
}

bool wishes__active(const struct engine *e, uint64_t id)
{
	if (id == e->member)
		return true;
	for (size_t i = 0; i < e->n_heard; i++)
		if (e->heard[i].id == id)
			return env_now_us(e->env) - e->heard[i].at_us < HEARD_US;
	return false;
}

static enum store_role wish_of(const struct engine *e, const struct raft_member *m)
{
	const struct store_state_member *row = roster__find(e, m->id);
	if (!row)
		return m->role == RAFT_WITNESS   ? STORE_ROLE_WITNESS
		       : m->role == RAFT_LEARNER ? STORE_ROLE_LEARNER
						 : STORE_ROLE_VOTER;
	return row->removed ? STORE_ROLE_NONE : row->m.wish;
}

static bool caught_up(const struct engine *e, uint64_t id)
{
	struct raft_status rs;
	struct raft_peer p;
	raft_get_status(e->raft, &rs);
	return wishes__active(e, id) && raft_get_progress(e->raft, id, &p) == 0 && p.state == RAFT_REPLICATE &&
	       p.match && p.match + CLOSE >= rs.last_index && p.match >= e->conf_index;
}

/* ---- plans ---- */

struct plan {
	struct raft_member members[RAFT_MEMBERS_MAX];
	size_t n;
	bool differs, self_leaves;
};

static void put(struct plan *p, uint64_t id, enum raft_role role)
{
	if (p->n < RAFT_MEMBERS_MAX)
		p->members[p->n++] = (struct raft_member){.id = id, .role = role};
}

static void keep(struct plan *p, const struct engine *e, const struct raft_member *m, bool only_more)
{
	enum store_role wish = wish_of(e, m);
	enum raft_role role = m->role;
	bool less = role == RAFT_VOTER && wish != STORE_ROLE_VOTER;
	if (m->id == e->member && (less || wish == STORE_ROLE_NONE)) {
		p->self_leaves = true;
		put(p, m->id, role);
		return;
	}
	if (role == RAFT_LEARNER && wish == STORE_ROLE_VOTER && caught_up(e, m->id))
		role = RAFT_VOTER;
	else if (less && wish == STORE_ROLE_LEARNER && !only_more)
		role = RAFT_LEARNER;
	if (wish == STORE_ROLE_NONE && !only_more)
		p->differs = true;
	else
		put(p, m->id, role);
	p->differs = p->differs || role != m->role;
}

static bool majority_answers(const struct engine *e, const struct plan *p)
{
	size_t voters = 0, active = 0;
	for (size_t i = 0; i < p->n; i++) {
		if (p->members[i].role == RAFT_LEARNER)
			continue;
		voters++;
		active += wishes__active(e, p->members[i].id);
	}
	return active > voters / 2;
}

/* A witness votes at once, and nobody has heard of it yet: it waits until the others are enough without it. */
static void add(struct plan *p, const struct engine *e, const struct store_member *m)
{
	if (p->n == RAFT_MEMBERS_MAX)
		return;
	put(p, m->id, m->wish == STORE_ROLE_WITNESS ? RAFT_WITNESS : RAFT_LEARNER);
	if (m->wish == STORE_ROLE_WITNESS && !majority_answers(e, p))
		p->n--;
	else
		p->differs = true;
}

/* only_more: nobody leaves. */
static void make_plan(struct plan *p, const struct engine *e, const struct raft_membership *now, bool only_more)
{
	*p = (struct plan){0};
	for (size_t i = 0; i < now->n_members; i++)
		keep(p, e, &now->members[i], only_more);
	for (size_t i = 0; i < e->n_rows; i++) {
		const struct store_state_member *row = &e->rows[i];
		if (!row->removed && row->m.wish != STORE_ROLE_NONE && !roster__in(now, row->m.id))
			add(p, e, &row->m);
	}
}

/* Witnesses apply nothing else, so the change brings them everybody's row. */
static int change(struct engine *e, const struct plan *p)
{
	struct store_member rows[STORE_MEMBERS_MAX];
	size_t n = 0;
	bool witnesses = false;
	for (size_t i = 0; i < p->n; i++) {
		const struct store_state_member *row = roster__find(e, p->members[i].id);
		witnesses = witnesses || p->members[i].role == RAFT_WITNESS;
		if (row && n < STORE_MEMBERS_MAX)
			rows[n++] = row->m;
	}
	struct store_cmd cmd = {0};
	if (witnesses)
		store_cmd_roster(&cmd, rows, n, e->level);
	uint64_t index, term;
	int rc = raft_change_members(e->raft, p->members, p->n, cmd.bytes.data, cmd.bytes.len, &index, &term);
	store_cmd_done(&cmd);
	return rc;
}

/* ---- handing over ---- */

static uint64_t furthest(const struct engine *e, const struct raft_membership *now)
{
	uint64_t best = 0, match = 0;
	for (size_t i = 0; i < now->n_members; i++) {
		const struct raft_member *m = &now->members[i];
		struct raft_peer p;
		if (m->id == e->member || m->role != RAFT_VOTER || wish_of(e, m) != STORE_ROLE_VOTER ||
		    !wishes__active(e, m->id) || raft_get_progress(e->raft, m->id, &p))
			continue;
		if (p.match >= match) {
			match = p.match;
			best = m->id;
		}
	}
	return best;
}

static void hand_over(struct engine *e, const struct raft_membership *now)
{
	uint64_t us = env_now_us(e->env), to = furthest(e, now);
	if (!to || us < e->hand_over_us)
		return;
	e->hand_over_us = us + HAND_OVER_US;
	if (e->hand_overs++ < HAND_OVERS_MAX) {
		raft_transfer(e->raft, to);
		return;
	}
	/* nobody takes it: raft steps down once it is out */
	struct plan p = {0};
	for (size_t i = 0; i < now->n_members; i++) {
		enum store_role wish = wish_of(e, &now->members[i]);
		if (now->members[i].id != e->member)
			put(&p, now->members[i].id, now->members[i].role);
		else if (wish == STORE_ROLE_LEARNER)
			put(&p, e->member, RAFT_LEARNER);
	}
	if (majority_answers(e, &p))
		change(e, &p);
}

static void move(struct engine *e, const struct raft_membership *now)
{
	e->move_due = false;
	uint64_t to = e->move_to ? e->move_to : furthest(e, now);
	if (to && to != e->member)
		raft_transfer(e->raft, to);
}

/* Learners that are to be more have to catch up first, and witnesses to wait for others. */
static bool pending(const struct engine *e, const struct raft_membership *now)
{
	for (size_t i = 0; i < now->n_members; i++)
		if (now->members[i].role == RAFT_LEARNER && wish_of(e, &now->members[i]) == STORE_ROLE_VOTER)
			return true;
	for (size_t i = 0; i < e->n_rows; i++)
		if (!e->rows[i].removed && e->rows[i].m.wish != STORE_ROLE_NONE && !roster__in(now, e->rows[i].m.id))
			return true;
	return false;
}

void wishes__pursue(struct engine *e)
{
	struct raft_status rs;
	struct raft_membership now;
	struct plan p;
	if (!e->wishes_due)
		return;
	raft_get_status(e->raft, &rs);
	if (rs.state != RAFT_LEADER) {
		e->wishes_due = e->move_due = false; /* whoever comes to lead looks anew */
		e->hand_overs = 0;
		return;
	}
	/* what earlier leaders left comes first: by older rows a voter would be made a learner again */
	if (e->failed || rs.joint || !e->recovered || e->applied_term != rs.term || e->witness)
		return;
	level__pursue(e);
	raft_get_membership(e->raft, &now);
	if (e->move_due)
		move(e, &now);
	make_plan(&p, e, &now, false);
	if (p.differs && (!majority_answers(e, &p) || change(e, &p) == -EINVAL)) {
		make_plan(&p, e, &now, true);
		if (p.differs && majority_answers(e, &p))
			change(e, &p);
	} else if (!p.differs && p.self_leaves) {
		hand_over(e, &now);
	} else if (!p.differs && !pending(e, &now)) {
		e->wishes_due = false;
	}
}
