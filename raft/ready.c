/* Outputs: what the driver is to write, send, apply; collected once per ready, so that everything that gathered
 * meanwhile shares one write and one message. */
#include "raft/internal.h"

#include <string.h>

#define APPLY_MAX       1024u
#define APPLY_BYTES_MAX (8u << 20)
#define SEND_MAX        512u
#define KEEP_MAX        2048u /* applied entries in memory; or as many as may be in flight, in bytes */

/* How much of the log a member may be sent. A witness that knows of an entry refuses every candidate without it; if only
 * the leader had its data, losing the leader would leave nobody to elect. So a witness lags behind the best of the other
 * full voters, unless none of them answers: then it has what the leader has on its own disk. A leader that is to leave
 * goes nowhere without them. */
static uint64_t sendable(const struct raft *r, const struct raft_progress *p)
{
	if (p->role != RAFT_WITNESS || RAFT_HAS_BUG(WITNESS_AHEAD))
		return r->log.last;
	uint64_t best = 0;
	bool stays = false, others = false;
	for (size_t i = 0; i < r->n_members; i++) {
		const struct raft_progress *q = &r->members[i];
		if (!q->voter || q->role != RAFT_VOTER)
			continue;
		if (q->id == r->config.id) {
			stays = true;
			continue;
		}
		others = others || q->recent_active;
		if (q->match > best)
			best = q->match;
	}
	return stays && !others ? r->log.stable : best;
}

bool raft__peer_has_work(const struct raft *r, const struct raft_progress *p)
{
	if (r->state != RAFT_LEADER || p->id == r->config.id || !raft_progress__may_send(p, &r->config))
		return false;
	if (p->leaving && p->match >= raft__conf(r)->index && p->sent_commit >= raft__conf(r)->index)
		return false;
	return p->want_append || p->next <= sendable(r, p) || p->sent_commit < r->log.commit;
}

static uint64_t appliable(const struct raft *r)
{
	return r->log.commit < r->log.stable ? r->log.commit : r->log.stable;
}

/* The commit index that may be written: what it covers is on disk already, so no crash leaves it covering other
 * entries that a torn write failed to replace. */
static uint64_t safe_commit(const struct raft *r)
{
	return RAFT_HAS_BUG(COMMIT_UNSYNCED) ? r->log.commit : appliable(r);
}

static bool hard_state_changed(const struct raft *r)
{
	return r->term != r->durable.term || r->vote != r->durable.vote || safe_commit(r) != r->durable.commit;
}

static bool may_apply(const struct raft *r)
{
	return !r->installing && appliable(r) > r->log.applied;
}

bool raft_has_ready(const struct raft *r)
{
	if (r->out)
		return false;
	if (r->n_msgs || r->n_reads || r->n_chunks || r->n_fates || r->log.stable < r->log.last || may_apply(r) ||
	    r->term != r->durable.term || r->vote != r->durable.vote || r->told_leader != r->leader ||
	    r->told_state != r->state)
		return true;
	for (size_t i = 0; i < r->n_members; i++)
		if (raft__peer_has_work(r, &r->members[i]) || raft__snapshot_wanted(r, &r->members[i]))
			return true;
	return false;
}

static struct raft_msg *out_msg(struct raft *r)
{
	r->out_msgs = raft__grow(r->out_msgs, &r->cap_out_msgs, r->ready.n_messages + 1, sizeof(*r->out_msgs));
	struct raft_msg *m = &r->out_msgs[r->ready.n_messages++];
	memset(m, 0, sizeof(*m));
	return m;
}

/* A witness gets entries without their data. */
static size_t lighten(struct raft_entry *e, const struct raft_progress *p)
{
	if (p->role == RAFT_WITNESS && e->type == RAFT_ENTRY_NORMAL) {
		e->len = 0;
		e->data = NULL;
	}
	return e->len + 32;
}

static bool send_append(struct raft *r, struct raft_progress *p, size_t *n_sends)
{
	uint64_t prev_term;
	if (p->next <= r->log.base || raft_log__term(&r->log, p->next - 1, &prev_term)) {
		raft__snapshot_begin(r, p);
		return false;
	}
	int n = 0;
	size_t bytes = 0;
	uint64_t last = sendable(r, p);
	if (p->next <= last) {
		/* offsets, not pointers: the array moves while it grows */
		r->out_sends = raft__grow(r->out_sends, &r->cap_out_sends, *n_sends + SEND_MAX, sizeof(*r->out_sends));
		n = raft_log__slice(&r->log, p->next, last + 1, r->config.max_message_bytes, r->out_sends + *n_sends,
				    SEND_MAX);
		if (n <= 0)
			return false;
		for (int i = 0; i < n; i++)
			bytes += lighten(&r->out_sends[*n_sends + (size_t)i], p);
	}
	struct raft_msg *m = out_msg(r);
	m->type = RAFT_MSG_APPEND;
	m->index = p->next - 1;
	m->log_term = prev_term;
	m->commit = r->log.commit;
	m->n_entries = (size_t)n;
	m->reject_hint = *n_sends; /* where its entries start, until the array stands still */
	*n_sends += (size_t)n;
	p->sent_commit = r->log.commit;
	raft_progress__sent(p, p->next - 1 + (uint64_t)n, bytes);
	return true;
}

static void collect_messages(struct raft *r)
{
	struct raft_ready *rd = &r->ready;
	size_t n_sends = 0;
	bool term_durable = r->term == r->durable.term && r->vote == r->durable.vote;
	for (size_t i = 0; i < r->n_members; i++) {
		struct raft_progress *p = &r->members[i];
		while (raft__peer_has_work(r, p)) {
			size_t before = rd->n_messages;
			bool sent = send_append(r, p, &n_sends);
			for (size_t k = before; k < rd->n_messages; k++) {
				r->out_msgs[k].from = r->config.id;
				r->out_msgs[k].to = p->id;
				r->out_msgs[k].term = r->term;
				r->out_msgs[k].after_sync = !term_durable;
			}
			if (!sent)
				break;
		}
	}
	for (size_t i = 0; i < rd->n_messages; i++)
		if (r->out_msgs[i].type == RAFT_MSG_APPEND) {
			r->out_msgs[i].entries = r->out_sends + r->out_msgs[i].reject_hint;
			r->out_msgs[i].reject_hint = 0;
		}
	for (size_t i = 0; i < r->n_msgs; i++) {
		*out_msg(r) = r->msgs[i].msg;
		raft_log__bury(&r->log, r->msgs[i].own);
	}
	r->n_msgs = 0;
	rd->messages = r->out_msgs;
}

static void collect_entries(struct raft *r)
{
	struct raft_log *l = &r->log;
	struct raft_ready *rd = &r->ready;
	size_t n = (size_t)(l->last - l->stable);
	if (n) {
		r->out_entries = raft__grow(r->out_entries, &r->cap_out_entries, n, sizeof(*r->out_entries));
		int got = raft_log__slice(l, l->stable + 1, l->last + 1, SIZE_MAX, r->out_entries, n);
		RAFT_MUST(got == (int)n);
	}
	rd->entries = r->out_entries;
	rd->n_entries = n;
	uint64_t upto = appliable(r);
	n = (size_t)(upto - l->applied);
	if (!may_apply(r))
		n = 0;
	if (n > APPLY_MAX)
		n = APPLY_MAX;
	if (n) {
		r->out_committed = raft__grow(r->out_committed, &r->cap_out_committed, n, sizeof(*r->out_committed));
		int got = raft_log__slice(l, l->applied + 1, l->applied + 1 + n, APPLY_BYTES_MAX, r->out_committed, n);
		n = got > 0 ? (size_t)got : 0; /* unreadable: the driver has reported it by then */
	}
	rd->committed = r->out_committed;
	rd->n_committed = n;
}

static void collect_snapshots(struct raft *r)
{
	struct raft_ready *rd = &r->ready;
	r->out_chunks = raft__grow(r->out_chunks, &r->cap_out_chunks, r->n_chunks + 1, sizeof(*r->out_chunks));
	for (size_t i = 0; i < r->n_chunks; i++) {
		r->out_chunks[i] = r->chunks[i];
		raft_log__bury(&r->log, r->chunks[i].membership); /* the bytes are behind it */
	}
	rd->chunks = r->out_chunks;
	rd->n_chunks = r->n_chunks;
	r->n_chunks = 0;
	r->out_wanted = raft__grow(r->out_wanted, &r->cap_out_wanted, r->n_members + 1, sizeof(*r->out_wanted));
	for (size_t i = 0; i < r->n_members; i++) {
		struct raft_progress *p = &r->members[i];
		if (!raft__snapshot_wanted(r, p))
			continue;
		p->snap_asked = true;
		r->out_wanted[rd->n_wanted++] = (struct raft_chunk_wanted){
			.peer = p->id, .at_least = r->log.base, .id = p->snap_id, .offset = p->snap_offset};
	}
	rd->wanted = r->out_wanted;
}

static void collect_fates(struct raft *r)
{
	struct raft_ready *rd = &r->ready;
	r->out_fates = raft__grow(r->out_fates, &r->cap_out_fates, r->n_fates + 1, sizeof(*r->out_fates));
	if (r->n_fates)
		memcpy(r->out_fates, r->fates, r->n_fates * sizeof(*r->fates));
	rd->fates = r->out_fates;
	rd->n_fates = r->n_fates;
	r->n_fates = 0;
}

void raft_get_ready(struct raft *r, struct raft_ready *ret)
{
	RAFT_MUST(!r->out);
	r->out = true;
	memset(&r->ready, 0, sizeof(r->ready));
	struct raft_ready *rd = &r->ready;
	rd->hard_state_changed = hard_state_changed(r);
	rd->hard_state = (struct raft_hard_state){.term = r->term, .vote = r->vote, .commit = safe_commit(r)};
	collect_entries(r);
	collect_messages(r);
	r->out_reads = raft__grow(r->out_reads, &r->cap_out_reads, r->n_reads + 1, sizeof(*r->out_reads));
	if (r->n_reads)
		memcpy(r->out_reads, r->reads, r->n_reads * sizeof(*r->reads));
	rd->reads = r->out_reads;
	rd->n_reads = r->n_reads;
	r->n_reads = 0;
	collect_snapshots(r);
	collect_fates(r);
	rd->must_sync =
		rd->n_entries > 0 || rd->n_chunks > 0 || r->term != r->durable.term || r->vote != r->durable.vote;
	rd->leader = r->told_leader = r->leader;
	rd->state = r->told_state = r->state;
	*ret = *rd;
}

/* Nothing before this may be sent again from memory: with followers keep what they still lack, in bounds. */
static void trim(struct raft *r)
{
	struct raft_log *l = &r->log;
	uint64_t keep = r->n_members > 1 ? KEEP_MAX : 0;
	raft_log__trim(l, l->applied > keep ? l->applied - keep : 0);
	while (l->n && l->bytes > r->config.max_inflight_bytes && l->offset <= l->applied && l->offset <= l->stable)
		raft_log__trim(l, l->offset);
}

void raft_advance(struct raft *r)
{
	RAFT_MUST(r->out);
	r->out = false;
	struct raft_ready *rd = &r->ready;
	r->durable = rd->hard_state;
	if (rd->n_entries) {
		/* a tail that was replaced meanwhile is not what was written */
		const struct raft_entry *e = &rd->entries[rd->n_entries - 1];
		for (size_t n = rd->n_entries; n && !raft_log__matches(&r->log, e->index, e->term); n--)
			e = &rd->entries[n - 1];
		if (raft_log__matches(&r->log, e->index, e->term) && e->index > r->log.stable)
			r->log.stable = e->index;
	}
	if (rd->n_committed) {
		r->log.applied = rd->committed[rd->n_committed - 1].index;
		raft__conf_applied(r);
	}
	raft_log__exhume(&r->log);
	trim(r);
	raft_log__exhume(&r->log);
	struct raft_progress *self = raft__self(r);
	if (r->state == RAFT_LEADER && self && raft_progress__acked(self, r->log.stable))
		raft__maybe_commit(r);
}
