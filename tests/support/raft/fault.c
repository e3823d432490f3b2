#include "tests/support/raft/fault.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/cluster.h"

#define TURNS       2000
#define QUIET_TURNS 1500
#define SLOTS       8

/* Each seed has its own: most bugs show where one kind of trouble is frequent and others are absent. */
struct mood {
	uint64_t crash, cut, isolate, hold, campaign; /* of 200 in a turn */
	uint64_t split;
	uint64_t flaky;                    /* of 200, while they write: the first two lose power and are back at once */
	bool changing;                     /* members */
	uint64_t heal, down, slow, change; /* one in so many */
	uint64_t loss, doubled, late;      /* percent of messages */
};

static const struct mood calm = {.heal = 1, .down = 1, .slow = 3, .change = 30, .late = 25};

static uint64_t maybe(struct cluster *c, uint64_t most)
{
	return cluster_random(c, 3) ? cluster_random(c, most + 1) : 0;
}

static struct mood draw(struct cluster *c)
{
	return (struct mood){.crash = maybe(c, 12),
			     .cut = maybe(c, 20),
			     .isolate = maybe(c, 12),
			     .hold = maybe(c, 30),
			     .campaign = maybe(c, 20),
			     .heal = 20 + cluster_random(c, 60),
			     .down = 5 + cluster_random(c, 60),
			     .slow = 1 + cluster_random(c, 3),
			     .split = maybe(c, 6),
			     .change = 7 + cluster_random(c, 12),
			     .loss = maybe(c, 30),
			     .doubled = maybe(c, 20),
			     .late = 10 + cluster_random(c, 70)};
}

/* Servers that reboot in the middle of writes, campaign against each other and come back at once. */
static struct mood restless(struct cluster *c)
{
	c->pre_vote = c->mixed = false;
	c->check_quorum = cluster_random(c, 2);
	c->slow_disk = 10 + (unsigned)cluster_random(c, 60);
	return (struct mood){.split = cluster_random(c, 5),
			     .flaky = 5 + cluster_random(c, 60),
			     .crash = 1 + cluster_random(c, 12),
			     .cut = maybe(c, 10),
			     .isolate = cluster_random(c, 10),
			     .hold = cluster_random(c, 20),
			     .campaign = cluster_random(c, 20),
			     .heal = 10 + cluster_random(c, 30),
			     .down = 1 + cluster_random(c, 10),
			     .slow = 1 + cluster_random(c, 3),
			     .change = 30,
			     .loss = cluster_random(c, 10),
			     .doubled = cluster_random(c, 10),
			     .late = 10 + cluster_random(c, 50)};
}

/* Nothing but elections, and power that fails in the middle of them. */
static struct mood stormy(struct cluster *c)
{
	c->pre_vote = c->mixed = c->check_quorum = false;
	c->slow_disk = 30 + (unsigned)cluster_random(c, 60);
	return (struct mood){.flaky = 40 + cluster_random(c, 60),
			     .campaign = 5 + cluster_random(c, 60),
			     .hold = cluster_random(c, 20),
			     .heal = 1,
			     .down = 1,
			     .slow = 6,
			     .change = 100,
			     .late = 20 + cluster_random(c, 40)};
}

/* The cluster falls in two and heals, again and again, while members come and go. */
static struct mood torn_apart(struct cluster *c)
{
	c->check_quorum = c->mixed = false;
	c->slow_disk = 0;
	return (struct mood){.split = 3 + cluster_random(c, 10),
			     .isolate = cluster_random(c, 6),
			     .campaign = cluster_random(c, 4),
			     .crash = cluster_random(c, 3),
			     .heal = 30 + cluster_random(c, 60),
			     .down = 10,
			     .slow = 2,
			     .change = 7 + cluster_random(c, 8),
			     .late = 10 + cluster_random(c, 30)};
}

static struct mood mood_of(struct cluster *c, uint64_t seed)
{
	switch (seed % 8) {
	case 0:
	case 6:
		return restless(c);
	case 4:
		return stormy(c);
	case 7:
		return torn_apart(c);
	default:
		return draw(c);
	}
}

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

static void operate(struct cluster *c, const struct mood *mood)
{
	size_t l = (size_t)cluster_random(c, c->n), leader = leader_of(c);
	if (leader != SIZE_MAX && cluster_random(c, 2))
		l = leader;
	struct node *n = &c->nodes[l];
	if (!n->up)
		return;
	switch (cluster_random(c, mood->change)) {
	case 0:
	case 1: {
		struct raft_membership m;
		raft_get_membership(n->raft, &m);
		if (!m.n_members || !mood->changing)
			break;
		one_change(c, &m);
		for (uint64_t more = cluster_random(c, 5); more > 1; more--)
			one_change(c, &m);
		cluster_change(c, l, m.members, m.n_members);
		break;
	}
	case 2:
		if (cluster_random(c, 3) == 0)
			raft_transfer(n->raft, c->nodes[cluster_random(c, c->n)].id);
		break;
	case 4:
		if (!n->out && n->n_applied > n->base && cluster_random(c, 3) == 0)
			cluster_compact(c, l, n->base + 1 + cluster_random(c, n->n_applied - n->base));
		break;
	case 5:
	case 6:
		for (l = 0; l < c->n; l++)
			if (c->nodes[l].removed && cluster_random(c, 4) == 0)
				cluster_recycle(c, l);
		break;
	default:
		break;
	}
}

/* ---- what happens to them ---- */

static void isolate(struct cluster *c, size_t i, bool only_in)
{
	for (size_t k = 0; k < c->n; k++) {
		c->cut[k][i] = true;
		c->cut[i][k] = c->cut[i][k] || !only_in;
	}
}

static void split(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++)
		for (size_t k = 0; k < c->n; k++)
			c->cut[i][k] = (c->seed >> i ^ c->n_committed >> i ^ c->seed >> k ^ c->n_committed >> k) & 1;
}

static void one_fault(struct cluster *c, const struct mood *mood)
{
	size_t i = (size_t)cluster_random(c, c->n), k = (size_t)cluster_random(c, c->n), l = leader_of(c);
	if (l != SIZE_MAX && cluster_random(c, 2))
		i = l; /* it is where things happen */
	uint64_t dice = cluster_random(c, 200);
	if (c->slow_disk && dice < mood->crash) /* in the middle of a write */
		for (size_t k2 = 0; k2 < c->n; k2++)
			if (c->nodes[k2].up && c->nodes[k2].out && cluster_random(c, 2))
				i = k2;
	if (dice < mood->crash && c->nodes[i].up) {
		cluster_crash(c, i);
		if (cluster_random(c, 2))
			cluster_start(c, i);
	}
	dice = cluster_random(c, 200);
	if (dice < mood->cut)
		c->cut[i][k] = true;
	dice = cluster_random(c, 200);
	if (dice < mood->isolate && cluster_random(c, 2))
		memset(c->cut, 0, sizeof(c->cut)); /* another one's turn */
	if (dice < mood->isolate)
		isolate(c, i, cluster_random(c, 3) == 0);
	if (dice >= 200 - mood->split)
		split(c);
	if (cluster_random(c, mood->heal) == 0)
		memset(c->cut, 0, sizeof(c->cut));
	dice = cluster_random(c, 200);
	if (dice < mood->hold)
		c->nodes[i].held = !c->nodes[i].held;
	dice = cluster_random(c, 200);
	for (uint64_t at_once = 2; dice < mood->campaign && at_once; at_once--, k = (k + 1) % c->n)
		if (c->nodes[k].up)
			raft_campaign(c->nodes[k].raft);
	for (i = 0; i < 2; i++)
		if (c->nodes[i].up && c->nodes[i].out && cluster_random(c, 200) < mood->flaky) {
			cluster_crash(c, i);
			cluster_start(c, i);
		}
	for (i = 0; i < c->n; i++)
		if (!c->nodes[i].up && cluster_random(c, mood->down) == 0)
			cluster_start(c, i);
}

static void turn(struct cluster *c, const struct mood *mood)
{
	for (size_t i = 0; i < c->n; i++) {
		struct node *n = &c->nodes[i];
		if (n->up && cluster_random(c, mood->slow) == 0)
			raft_tick(n->raft);
		cluster_process(c, i);
		if (n->out && cluster_random(c, n->held ? 10 : c->slow_disk ? 3 : 1) == 0)
			cluster_finish(c, i);
	}
	for (size_t k = c->n_net; k && !c->broken[0]; k--) {
		size_t at = (size_t)cluster_random(c, c->n_net); /* any order */
		if (cluster_random(c, 100) < mood->late)
			continue;
		uint64_t luck = cluster_random(c, 100);
		cluster_deliver(c, at, luck < mood->loss ? LOSE : luck < mood->loss + mood->doubled ? DOUBLE : DELIVER);
	}
}

static void clients(struct cluster *c)
{
	cluster_propose(c, (size_t)cluster_random(c, c->n), NULL);
	if (cluster_random(c, 3) == 0)
		cluster_forward(c, (size_t)cluster_random(c, c->n), NULL);
	cluster_read(c, (size_t)cluster_random(c, c->n));
}

/* Faults are over, though one of an unchanging configuration may stay away: the others agree in the end. */
static bool converge(struct cluster *c, bool minority)
{
	size_t down = minority ? (size_t)cluster_random(c, c->n) : SIZE_MAX;
	c->slow_disk = 0;
	memset(c->cut, 0, sizeof(c->cut));
	c->bad_luck = 0;
	for (size_t i = 0; i < c->n; i++) {
		c->nodes[i].held = false;
		bool wanted = i != down && !c->nodes[i].removed; /* removed ones are stopped by their operator */
		if (c->nodes[i].up && !wanted)
			cluster_crash(c, i);
		if (!c->nodes[i].up && wanted)
			cluster_start(c, i);
	}
	uint64_t last = 0;
	for (int t = 0; t < QUIET_TURNS && !c->broken[0]; t++) {
		for (size_t i = 0; i < c->n; i++)
			if (c->nodes[i].removed && c->nodes[i].up)
				cluster_crash(c, i); /* without pre-vote and check-quorum it would disturb forever */
		turn(c, &calm);
		size_t l = leader_of(c);
		if (t >= 300 && t % 100 == 0 && l != SIZE_MAX && !last && cluster_propose(c, l, NULL) == 0)
			last = c->n_proposals;
		if (last && !c->happened[last - 1])
			last = t % 100 == 99 ? 0 : last; /* refused or lost with its leader: another */
		bool agreed = last && c->happened[last - 1];
		for (size_t i = 0; i < c->n; i++)
			agreed = agreed && (!c->nodes[i].up || !has(&c->membership, c->nodes[i].id) ||
					    c->nodes[i].n_applied == c->n_committed);
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
	size_t voters = seed % 5 == 0 ? 5 : seed % 5 == 4 ? 2 : 3;
	cluster_init(c, voters, seed % 3 == 1, seed % 5 == 4 || seed % 7 == 0, seed);
	c->pre_vote = cluster_random(c, 4) != 0;
	c->mixed = cluster_random(c, 4) == 0;
	c->max_message = cluster_random(c, 2) ? 1 : 0;
	c->slow_disk = cluster_random(c, 2) ? (unsigned)cluster_random(c, 100) : 0;
	c->check_quorum = cluster_random(c, 4) != 0;
	struct mood mood = mood_of(c, seed);
	for (size_t i = 0; i < c->n; i++) {
		cluster_crash(c, i);
		cluster_start(c, i);
	}
	bool changing = mood.changing = seed % 2 != 0;
	while (changing && c->n < SLOTS)
		cluster_add(c, c->n % 3 == 1);
	c->torn = true;
	c->bad_luck = 20;
	for (int t = 0; t < TURNS && !c->broken[0]; t++) {
		one_fault(c, &mood);
		operate(c, &mood);
		turn(c, &mood);
		clients(c);
	}
	bool ok = converge(c, !changing && voters > 2 && !c->nodes[c->n - 1].witness);
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
