#include "tests/support/raft/cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/check.h"

uint64_t cluster_random(struct cluster *c, uint64_t below)
{
	c->rng = c->rng * 6364136223846793005ull + 1442695040888963407ull;
	return (c->rng >> 33) % below;
}

static void *grow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return p;
	*cap = need * 2;
	p = realloc(p, *cap * size);
	if (!p)
		abort();
	return p;
}

struct node *cluster_node(struct cluster *c, uint64_t id)
{
	struct node *n = &c->nodes[(id - 1) % NODES_MAX];
	return n->id == id ? n : NULL;
}

static size_t slot(uint64_t id)
{
	return (size_t)((id - 1) % NODES_MAX);
}

static struct entry entry_of(const struct raft_entry *e)
{
	struct entry r = {.term = e->term, .type = e->type, .len = e->len};
	if (e->len > sizeof(r.data))
		abort();
	if (e->len)
		memcpy(r.data, e->data, e->len);
	return r;
}

static struct raft_entry raft_entry_of(const struct entry *e, uint64_t index)
{
	return (struct raft_entry){.term = e->term, .index = index, .type = e->type, .len = e->len, .data = e->data};
}

/* ---- disk ---- */

static int read_entries(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	struct node *n = arg;
	int got = 0;
	for (; lo < hi && (size_t)got < max; lo++, got++) {
		if (lo <= n->base || lo > n->base + n->n_log)
			return -ENOENT;
		struct entry *copy = malloc(sizeof(*copy));
		if (!copy)
			abort();
		*copy = n->log[lo - n->base - 1];
		n->arena = grow(n->arena, &n->cap_arena, n->n_arena + 1, sizeof(*n->arena));
		n->arena[n->n_arena++] = copy;
		ret[got] = raft_entry_of(copy, lo);
	}
	return got;
}

static void free_arena(struct node *n)
{
	while (n->n_arena)
		free(n->arena[--n->n_arena]);
}

static int read_term(void *arg, uint64_t index, uint64_t *ret)
{
	struct node *n = arg;
	if (index == n->base) {
		*ret = n->base_term;
		return 0;
	}
	if (index < n->base || index > n->base + n->n_log)
		return -ENOENT;
	*ret = n->log[index - n->base - 1].term;
	return 0;
}

static void reset_log(struct node *n, uint64_t index, uint64_t term)
{
	n->n_log = 0;
	n->base = index;
	n->base_term = term;
}

static void cut_log(struct node *n, uint64_t index)
{
	if (index <= n->base)
		return;
	size_t gone = (size_t)(index - n->base);
	n->base_term = n->log[gone - 1].term;
	memmove(n->log, n->log + gone, (n->n_log - gone) * sizeof(*n->log));
	n->n_log -= gone;
	n->base = index;
}

static void write_entry(struct cluster *c, struct node *n, const struct raft_entry *e)
{
	size_t at = (size_t)(e->index - n->base - 1);
	struct entry x = entry_of(e);
	check_written(c, n, e, at ? n->log[at - 1].term : n->base_term, at < n->n_log);
	n->log = grow(n->log, &n->cap_log, at + 1, sizeof(struct entry));
	n->n_log = at;
	n->log[n->n_log++] = x;
}

void cluster_compact(struct cluster *c, size_t i, uint64_t index)
{
	struct node *n = &c->nodes[i];
	uint64_t term;
	struct raft_status st;
	raft_get_status(n->raft, &st);
	if (index > st.applied || index <= n->base || read_term(n, index, &term))
		return;
	raft_compact(n->raft, index, term);
	cut_log(n, index);
}

/* ---- life ---- */

void cluster_start(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	uint64_t term = 0;
	if (read_term(n, n->n_applied, &term) || term != n->applied_term)
		reset_log(n, n->n_applied, n->applied_term);
	struct raft_config config = {
		.id = n->id,
		.members = n->membership.members,
		.n_members = n->membership.n_members,
		.old_members = n->membership.old,
		.n_old_members = n->membership.n_old,
		.hard_state = n->hs,
		.first_index = n->base + 1,
		.last_index = n->base + n->n_log,
		.base_term = n->base_term,
		.applied = n->n_applied,
		.election_ticks = 10,
		.heartbeat_ticks = 2,
		.max_inflight_bytes = c->max_inflight ? c->max_inflight : 4096,
		.max_message_bytes = c->max_message ? c->max_message : 256,
		.seed = c->seed * 31 + n->term + (uint64_t)c->starts++ * 7919,
		.pre_vote = c->mixed ? cluster_random(c, 2) != 0 : c->pre_vote,
		.check_quorum = c->check_quorum,
		.read_entries = read_entries,
		.read_term = read_term,
		.arg = n,
	};
	if (n->in.index > n->n_applied && n->in.id)
		config.partial = (struct raft_partial){
			.id = n->in.id, .index = n->in.index, .term = n->in.term, .offset = n->in.len};
	if (raft_new(&config, &n->raft))
		abort();
	free_arena(n);
	n->up = true;
	n->led_term = 0;
	n->out = n->install = false;
	n->state = RAFT_FOLLOWER;
	n->n_wanted = 0;
}

static void init_node(struct cluster *c, size_t i, uint64_t id, bool witness)
{
	struct node *n = &c->nodes[i];
	free(n->log);
	free(n->arena);
	memset(n, 0, sizeof(*n));
	n->id = id;
	n->witness = witness;
}

void cluster_add(struct cluster *c, bool witness)
{
	init_node(c, c->n, c->n + 1, witness);
	cluster_start(c, c->n++);
}

void cluster_init(struct cluster *c, size_t voters, size_t learners, size_t witnesses, uint64_t seed)
{
	memset(c, 0, sizeof(*c));
	c->n = voters + learners + witnesses;
	c->seed = c->rng = seed;
	c->pre_vote = c->check_quorum = true;
	c->first.n_members = c->n;
	for (size_t i = 0; i < c->n; i++) {
		enum raft_role role = i < voters ? RAFT_VOTER : i < voters + learners ? RAFT_LEARNER : RAFT_WITNESS;
		c->first.members[i] = (struct raft_member){.id = i + 1, .role = role};
		init_node(c, i, i + 1, role == RAFT_WITNESS);
	}
	c->membership = c->first;
	for (size_t i = 0; i < c->n; i++) {
		c->nodes[i].membership = c->first;
		cluster_start(c, i);
	}
}

/* What was being written is torn: some of it may be there. */
static void tear(struct cluster *c, struct node *n)
{
	if (cluster_random(c, 2))
		n->hs = n->rd.hard_state;
	size_t some = (size_t)cluster_random(c, n->rd.n_entries + 1);
	for (size_t i = 0; i < some; i++)
		write_entry(c, n, &n->rd.entries[i]);
}

void cluster_crash(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	if (n->out && c->torn)
		tear(c, n);
	raft_free(n->raft);
	free_arena(n);
	n->raft = NULL;
	n->up = n->out = false;
}

void cluster_recycle(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	if (n->up)
		cluster_crash(c, i);
	init_node(c, i, n->id + NODES_MAX, cluster_random(c, 4) == 0);
	cluster_start(c, i);
}

void cluster_done(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++) {
		raft_free(c->nodes[i].raft);
		free_arena(&c->nodes[i]);
		free(c->nodes[i].log);
		free(c->nodes[i].arena);
	}
	for (size_t i = 0; i < c->n_net; i++)
		free(c->net[i]);
	free(c->net);
}

/* ---- network ---- */

static void post(struct cluster *c, const struct raft_msg *m)
{
	struct node *to = cluster_node(c, m->to);
	if (!to || !to->up || c->cut[slot(m->from)][slot(m->to)])
		return;
	struct packet *p = calloc(1, sizeof(*p) + m->n_entries * sizeof(struct entry) + m->len);
	if (!p)
		abort();
	p->msg = *m;
	for (size_t i = 0; i < m->n_entries; i++)
		p->entries[i] = entry_of(&m->entries[i]);
	if (m->len)
		memcpy(p->entries + m->n_entries, m->data, m->len);
	p->msg.data = p->entries + m->n_entries;
	p->msg.entries = NULL;
	if (m->membership) {
		p->membership = *m->membership;
		p->msg.membership = &p->membership;
	}
	c->net = grow(c->net, &c->cap_net, c->n_net + 1, sizeof(struct packet *));
	c->net[c->n_net++] = p;
}

static void send_messages(struct cluster *c, struct node *n, bool after_sync)
{
	for (size_t i = 0; i < n->rd.n_messages; i++)
		if (n->rd.messages[i].after_sync == after_sync)
			post(c, &n->rd.messages[i]);
}

void cluster_deliver(struct cluster *c, size_t i, enum fortune fortune)
{
	struct packet *p = c->net[i];
	if (fortune != DOUBLE) {
		memmove(c->net + i, c->net + i + 1, (c->n_net - i - 1) * sizeof(*c->net));
		c->n_net--;
	}
	struct raft_msg m = p->msg;
	struct node *to = cluster_node(c, m.to);
	if (fortune != LOSE && to && to->up && !c->cut[slot(m.from)][slot(m.to)]) {
		struct raft_entry entries[512];
		for (size_t k = 0; k < m.n_entries; k++)
			entries[k] = raft_entry_of(&p->entries[k], m.index + 1 + k);
		m.entries = entries;
		check_describe(c, &m);
		if (raft_step(to->raft, &m))
			check_broken(c, "a message was refused");
		check_state(c, to);
	}
	if (fortune != DOUBLE)
		free(p);
}

/* ---- snapshots ---- */

static void make_snapshot(struct cluster *c, struct node *n)
{
	struct snapshot *s = &n->out_snapshot;
	s->id = ++c->n_snapshots;
	s->index = n->n_applied;
	s->term = n->applied_term;
	s->membership = n->membership;
	s->len = 24 + s->id % 5 * 20;
	for (size_t i = 0; i < s->len; i++)
		s->bytes[i] = (uint8_t)(s->id * 31 + i);
}

static void serve_wanted(struct cluster *c, struct node *n)
{
	size_t chunk = c->chunk ? c->chunk : 16;
	for (size_t i = 0; i < n->n_wanted; i++) {
		struct raft_chunk_wanted w = n->wanted[i];
		struct snapshot *s = &n->out_snapshot;
		if (!n->membership.n_members) {
			raft_chunk_failed(n->raft, w.peer);
			continue;
		}
		if (!w.id || w.id != s->id || s->index < w.at_least) {
			if (!s->id || s->index < w.at_least || cluster_random(c, 4) == 0)
				make_snapshot(c, n);
			w.offset = 0;
		}
		size_t len = s->len - w.offset < chunk ? s->len - w.offset : chunk;
		int rc = raft_send_chunk(n->raft, w.peer,
					 &(struct raft_chunk){.id = s->id,
							      .index = s->index,
							      .term = s->term,
							      .membership = &s->membership,
							      .offset = w.offset,
							      .len = len,
							      .data = s->bytes + w.offset,
							      .last = w.offset + len == s->len});
		if (rc && rc != -EAGAIN)
			check_broken(c, "%" PRIu64 " refuses a piece of a snapshot", n->id);
	}
	n->n_wanted = 0;
}

static void write_chunk(struct cluster *c, struct node *n, const struct raft_chunk *k)
{
	if (k->offset == 0)
		n->in = (struct snapshot){
			.id = k->id, .index = k->index, .term = k->term, .membership = *k->membership};
	if (k->id != n->in.id || k->index != n->in.index || k->offset > n->in.len ||
	    k->offset + k->len > SNAPSHOT_MAX) {
		check_broken(c, "%" PRIu64 " gets a piece of a snapshot that does not fit", n->id);
		return;
	}
	if (k->len)
		memcpy(n->in.bytes + k->offset, k->data, k->len);
	n->in.len = k->offset + k->len;
	n->install = k->last;
}

static void install(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	struct snapshot *s = &n->in;
	n->install = false;
	bool unlucky = cluster_random(c, 100) < c->bad_luck;
	if (unlucky && cluster_random(c, 2)) {
		raft_restore_failed(n->raft);
		s->id = s->index = 0;
		return;
	}
	check_install(c, n, s);
	n->n_applied = s->index;
	n->applied_term = s->term;
	n->membership = s->membership;
	c->n_installed++;
	if (unlucky) {
		cluster_crash(c, i); /* the state moved, the log did not */
		return;
	}
	int rc = raft_restore(n->raft, s->index, s->term, &s->membership);
	if (rc == 1)
		reset_log(n, s->index, s->term);
	else if (rc == 0)
		cut_log(n, s->index);
	else
		check_broken(c, "%" PRIu64 " may not install a snapshot: %d", n->id, rc);
	s->id = s->index = 0;
}

/* ---- readies ---- */

static void apply(struct cluster *c, struct node *n, const struct raft_entry *e)
{
	check_applied(c, n, e);
	n->n_applied = e->index;
	n->applied_term = e->term;
	if (e->type == RAFT_ENTRY_CONFIG && raft_membership_decode(e->data, e->len, &n->membership, NULL, NULL))
		check_broken(c, "%" PRIu64 " applies a configuration that is none", n->id);
}

void cluster_finish(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	if (!n->up || !n->out)
		return;
	n->hs = n->rd.hard_state;
	for (size_t k = 0; k < n->rd.n_entries; k++)
		write_entry(c, n, &n->rd.entries[k]);
	for (size_t k = 0; k < n->rd.n_chunks; k++)
		write_chunk(c, n, &n->rd.chunks[k]);
	n->led_term = n->rd.state == RAFT_LEADER ? n->hs.term : 0;
	send_messages(c, n, true);
	n->out = false;
	raft_advance(n->raft);
	free_arena(n);
	serve_wanted(c, n);
	if (n->install)
		install(c, i);
}

static void answers(struct cluster *c, struct node *n)
{
	for (size_t k = 0; k < n->rd.n_reads; k++)
		check_read(c, n, &n->rd.reads[k]);
	for (size_t k = 0; k < n->rd.n_fates; k++)
		check_fate(c, n, &n->rd.fates[k]);
	n->n_wanted = n->rd.n_wanted;
	if (n->n_wanted)
		memcpy(n->wanted, n->rd.wanted, n->n_wanted * sizeof(*n->wanted));
}

void cluster_process(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	while (n->up && !n->out && !c->broken[0] && raft_has_ready(n->raft)) {
		check_state(c, n);
		raft_get_ready(n->raft, &n->rd);
		n->out = true;
		send_messages(c, n, false);
		for (size_t k = 0; k < n->rd.n_committed; k++)
			apply(c, n, &n->rd.committed[k]);
		answers(c, n);
		if (n->rd.must_sync && (n->held || (c->slow_disk && cluster_random(c, 100) < c->slow_disk)))
			return;
		cluster_finish(c, i);
	}
	if (!n->up)
		return;
	check_state(c, n);
	check_leader(c, n);
	if (!n->out && !raft_has_ready(n->raft))
		check_membership(c, n);
}

void cluster_run(struct cluster *c, unsigned rounds)
{
	for (unsigned r = 0; r < rounds; r++) {
		for (size_t i = 0; i < c->n; i++)
			cluster_process(c, i);
		size_t n = c->n_net;
		if (!n)
			return;
		for (size_t i = 0; i < n; i++)
			cluster_deliver(c, 0, DELIVER);
	}
	for (size_t i = 0; i < c->n; i++)
		cluster_process(c, i);
}

/* ---- clients ---- */

static const char *fresh(struct cluster *c, char *buf, size_t len)
{
	snprintf(buf, len, "x%" PRIu64, c->n_proposals);
	return buf;
}

int cluster_propose(struct cluster *c, size_t i, const char *text)
{
	uint64_t index, term;
	char buf[24];
	if (!c->nodes[i].up || c->n_proposals + 1 >= COMMITTED_MAX)
		return -EAGAIN;
	if (!text)
		text = fresh(c, buf, sizeof(buf));
	int rc = raft_propose(c->nodes[i].raft, text, strlen(text), &index, &term);
	c->n_proposals += rc == 0;
	return rc;
}

int cluster_forward(struct cluster *c, size_t i, const char *text)
{
	char buf[24];
	if (!c->nodes[i].up || c->n_proposals + 1 >= COMMITTED_MAX)
		return -EAGAIN;
	if (!text)
		text = fresh(c, buf, sizeof(buf));
	int rc = raft_forward(c->nodes[i].raft, c->n_proposals + 1, text, strlen(text));
	c->n_proposals += rc == 0;
	c->n_forwarded += rc == 0;
	return rc;
}

int cluster_read(struct cluster *c, size_t i)
{
	if (!c->nodes[i].up || c->n_reads + 1 >= READS_MAX)
		return -EAGAIN;
	c->read_floor[++c->n_reads] = c->n_committed;
	return raft_read_index(c->nodes[i].raft, c->n_reads);
}

int cluster_change(struct cluster *c, size_t i, const struct raft_member *members, size_t n)
{
	uint64_t index, term;
	if (!c->nodes[i].up)
		return -EAGAIN;
	int rc = raft_change_members(c->nodes[i].raft, members, n, NULL, 0, &index, &term);
	c->n_changes += rc == 0;
	return rc;
}
