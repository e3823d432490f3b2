#include "tests/support/raft/fault.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/cluster.h"

#define TURNS       1000
#define QUIET_TURNS 1500
#define SLOTS       8

static size_t leader_of(struct cluster *c)
{
	size_t best = SIZE_MAX;
	for (size_t i = 0; i < c->n; i++)
		if (c->nodes[i].up && c->nodes[i].state == RAFT_LEADER &&
		    (best == SIZE_MAX || c->nodes[i].term > c->nodes[best].term))
			best = i;
	return best;
}

/* ---- what operators do ---- */

static bool has(const struct raft_membership *m, uint64_t id)
{
	for (size_t i = 0; i < m->n_members; i++)
		if (m->members[i].id == id)
			return true;
	return false;
}

static void add_somebody(struct cluster *c, struct raft_membership *m)
{
	if (m->n_members >= 6)
		return;
	for (size_t i = 0; i < c->n; i++) {
		const struct node *n = &c->nodes[i];
		if (has(m, n->id) || n->removed || has(&c->membership, n->id))
			continue;
		enum raft_role role = n->witness ? RAFT_WITNESS : cluster_random(c, 3) ? RAFT_VOTER : RAFT_LEARNER;
		m->members[m->n_members++] = (struct raft_member){.id = n->id, .role = role};
		return;
	}
}

static void one_change(struct cluster *c, struct raft_membership *m)
{
	size_t at = (size_t)cluster_random(c, m->n_members);
	struct raft_member *x = &m->members[at];
	switch (cluster_random(c, 5)) {
	case 0:
	case 1:
		add_somebody(c, m);
		break;
	case 2:
		if (x->role != RAFT_WITNESS)
			x->role = x->role == RAFT_VOTER ? RAFT_LEARNER : RAFT_VOTER;
		break;
	default:
		if (m->n_members > 2)
			*x = m->members[--m->n_members];
		break;
	}
}

static void operate(struct cluster *c)
{
	size_t l = (size_t)cluster_random(c, c->n);
	struct node *n = &c->nodes[l];
	if (!n->up)
		return;
	switch (cluster_random(c, 30)) {
	case 0:
	case 1: {
		struct raft_membership m;
		raft_get_membership(n->raft, &m);
		if (!m.n_members)
			break;
		one_change(c, &m);
		if (cluster_random(c, 2))
			one_change(c, &m);
		cluster_change(c, l, m.members, m.n_members);
		break;
	}
	case 2:
		raft_transfer(n->raft, c->nodes[cluster_random(c, c->n)].id);
		break;
	case 3:
	case 4:
		if (!n->out && n->n_applied > n->base)
			cluster_compact(c, l, n->base + 1 + cluster_random(c, n->n_applied - n->base));
		break;
	case 5:
		if (n->removed && cluster_random(c, 4) == 0)
			cluster_recycle(c, l);
		break;
	default:
		break;
	}
}

/* ---- what happens to them ---- */

static void one_fault(struct cluster *c)
{
	size_t i = (size_t)cluster_random(c, c->n), k = (size_t)cluster_random(c, c->n);
	switch (cluster_random(c, 80)) {
	case 0:
	case 1:
		if (c->nodes[i].up)
			cluster_crash(c, i);
		break;
	case 2:
	case 3:
		c->cut[i][k] = true;
		break;
	case 4:
		for (k = 0; k < c->n; k++)
			c->cut[i][k] = c->cut[k][i] = true;
		break;
	case 5:
	case 6:
		memset(c->cut, 0, sizeof(c->cut));
		break;
	case 7:
	case 8:
		c->nodes[i].held = !c->nodes[i].held;
		break;
	default:
		break;
	}
	for (i = 0; i < c->n; i++)
		if (!c->nodes[i].up && cluster_random(c, 20) == 0)
			cluster_start(c, i);
}

static void turn(struct cluster *c, unsigned loss, unsigned doubled)
{
	for (size_t i = 0; i < c->n; i++) {
		struct node *n = &c->nodes[i];
		if (n->up && cluster_random(c, 3) == 0)
			raft_tick(n->raft);
		cluster_process(c, i);
		if (n->out && (!n->held || cluster_random(c, 10) == 0))
			cluster_finish(c, i);
	}
	for (size_t k = c->n_net; k && !c->broken[0]; k--) {
		size_t at = (size_t)cluster_random(c, c->n_net); /* any order */
		if (cluster_random(c, 4) == 0)
			continue; /* later */
		uint64_t luck = cluster_random(c, 100);
		cluster_deliver(c, at, luck < loss ? LOSE : luck < loss + doubled ? DOUBLE : DELIVER);
	}
}

static void clients(struct cluster *c)
{
	cluster_propose(c, (size_t)cluster_random(c, c->n), NULL);
	if (cluster_random(c, 3) == 0)
		cluster_forward(c, (size_t)cluster_random(c, c->n), NULL);
	cluster_read(c, (size_t)cluster_random(c, c->n));
}

/* Faults are over: a majority of every configuration is there, and so everyone in the last one agrees in the end. */
static bool converge(struct cluster *c)
{
	memset(c->cut, 0, sizeof(c->cut));
	c->bad_luck = 0;
	for (size_t i = 0; i < c->n; i++) {
		c->nodes[i].held = false;
		if (!c->nodes[i].up)
			cluster_start(c, i);
	}
	uint64_t last = 0;
	for (int t = 0; t < QUIET_TURNS && !c->broken[0]; t++) {
		turn(c, 0, 0);
		size_t l = leader_of(c);
		if (t >= 300 && t % 100 == 0 && l != SIZE_MAX && !last && cluster_propose(c, l, NULL) == 0)
			last = c->n_proposals;
		if (last && !c->happened[last - 1])
			last = t % 100 == 99 ? 0 : last; /* refused or lost with its leader: another */
		bool agreed = last && c->happened[last - 1];
		for (size_t i = 0; i < c->n; i++)
			agreed = agreed &&
				 (!has(&c->membership, c->nodes[i].id) || c->nodes[i].n_applied == c->n_committed);
		if (agreed)
			return true;
	}
	return false;
}

bool fault_run(uint64_t seed, struct fault_sums *sums, char *why, size_t why_len)
{
	struct cluster *c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	size_t voters = seed % 3 == 0 ? 5 : seed % 3 == 1 ? 3 : 2;
	cluster_init(c, voters, seed % 2, seed % 3 == 2 || seed % 5 == 0, seed);
	bool changing = seed % 4 != 0;
	while (changing && c->n < SLOTS)
		cluster_add(c, c->n % 3 == 1);
	c->torn = true;
	c->bad_luck = 20;
	for (int t = 0; t < TURNS && !c->broken[0]; t++) {
		one_fault(c);
		if (changing || cluster_random(c, 4) == 0)
			operate(c);
		turn(c, (unsigned)(seed % 30), 4);
		clients(c);
	}
	bool ok = converge(c);
	cluster_check_fates(c);
	if (c->broken[0] || !ok) {
		snprintf(why, why_len, "%s (%zu committed)", c->broken[0] ? c->broken : "no agreement", c->n_committed);
		ok = false;
	}
	*sums = (struct fault_sums){.committed = sums->committed + c->n_committed,
				    .reads = sums->reads + c->n_served,
				    .installed = sums->installed + c->n_installed,
				    .changes = sums->changes + c->n_changes,
				    .forwarded = sums->forwarded + c->n_forwarded};
	cluster_done(c);
	free(c);
	return ok;
}
