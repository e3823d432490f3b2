/* The core: which state a server is in and what each message does to it.
 *
 *                 timeout                 quorum of pre-votes            quorum of votes
 *   FOLLOWER ----------------> PRE_CANDIDATE -------------> CANDIDATE -------------------> LEADER
 *      ^                            |                           |                             |
 *      +--- leader found, or a higher term seen (all three); a leader also without a quorum --+
 *
 * Messages, and what their fields say (term is the sender's, but for pre-votes):
 *   APPEND          index, log_term: the entry before; entries; commit
 *   APPEND_RESP     index: highest entry known to match; or reject, index: the refused one, reject_hint: try here
 *   VOTE, PRE_VOTE  index, log_term: the candidate's last entry; context 1: leadership transfer
 *   HEARTBEAT       commit (never beyond what the peer is known to hold), context: reads to confirm
 *   SNAPSHOT        index, log_term: the leader's log begins after these; the driver does the streaming
 *   READ_INDEX      context: the asker's id; its RESP has index
 */
#include "raft/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct raft_progress *raft__member(struct raft *r, uint64_t id)
{
	for (size_t i = 0; i < r->n_members; i++)
		if (r->members[i].id == id)
			return &r->members[i];
	return NULL;
}

struct raft_progress *raft__self(struct raft *r)
{
	return raft__member(r, r->config.id);
}

bool raft__is_voter(const struct raft_progress *p)
{
	return p->role != RAFT_LEARNER;
}

size_t raft__n_voters(const struct raft *r)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n_members; i++)
		n += raft__is_voter(&r->members[i]);
	return n;
}

int raft_new(const struct raft_config *config, struct raft **ret)
{
	if (config->id == RAFT_NONE || config->first_index == 0 || config->election_ticks == 0 ||
	    config->heartbeat_ticks == 0 || config->heartbeat_ticks >= config->election_ticks ||
	    config->max_inflight_bytes == 0 || config->max_message_bytes == 0 ||
	    config->applied + 1 < config->first_index)
		return -EINVAL;
	for (size_t i = 0; i < config->n_members; i++)
		for (size_t k = 0; k < i; k++)
			if (config->members[i].id == config->members[k].id || config->members[i].id == RAFT_NONE)
				return -EINVAL;
	struct raft *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->config = *config;
	raft_log__init(&r->log, &r->config);
	if (r->log.applied > r->log.last) {
		free(r);
		return -EINVAL;
	}
	r->durable = config->hard_state;
	r->term = config->hard_state.term;
	r->vote = config->hard_state.vote;
	r->rng = config->seed ^ (config->id * 0x9e3779b97f4a7c15ull);
	if (!r->rng)
		r->rng = 1;
	r->n_members = config->n_members;
	r->members = calloc(config->n_members ? config->n_members : 1, sizeof(*r->members));
	RAFT_MUST(r->members);
	for (size_t i = 0; i < r->n_members; i++) {
		r->members[i].id = config->members[i].id;
		r->members[i].role = config->members[i].role;
	}
	r->config.members = NULL;
	r->state = RAFT_FOLLOWER;
	r->timeout = raft__random_timeout(r);
	*ret = r;
	return 0;
}

void raft_free(struct raft *r)
{
	if (!r)
		return;
	raft_log__done(&r->log);
	free(r->members);
	free(r->msgs);
	free(r->reads);
	free(r->waiting);
	free(r->out_entries);
	free(r->out_committed);
	free(r->out_sends);
	free(r->out_msgs);
	free(r->out_reads);
	free(r);
}

/* A message that speaks of a term or vote not yet on disk must not leave before it is. */
struct raft_msg *raft__send(struct raft *r, enum raft_msg_type type, uint64_t to)
{
	r->msgs = raft__grow(r->msgs, &r->cap_msgs, r->n_msgs + 1, sizeof(*r->msgs));
	struct raft_msg *m = &r->msgs[r->n_msgs++];
	memset(m, 0, sizeof(*m));
	m->type = type;
	m->from = r->config.id;
	m->to = to;
	m->term = r->term;
	m->after_sync = r->term != r->durable.term || r->vote != r->durable.vote;
	return m;
}

void raft__become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
	if (term > r->term) {
		r->term = term;
		r->vote = RAFT_NONE;
	}
	r->state = RAFT_FOLLOWER;
	r->leader = leader;
	r->election_elapsed = 0;
	r->timeout = raft__random_timeout(r);
	r->n_waiting = 0;
}

void raft__become_leader(struct raft *r)
{
	r->state = RAFT_LEADER;
	r->leader = r->config.id;
	r->election_elapsed = r->heartbeat_elapsed = 0;
	r->n_waiting = 0;
	r->read_context = 0;
	for (size_t i = 0; i < r->n_members; i++) {
		raft_progress__reset(&r->members[i], r->log.last + 1);
		r->members[i].recent_active = true;
	}
	raft__self(r)->match = r->log.stable;
	/* entries of earlier terms commit only through one of this term (dissertation 3.6.2) */
	raft_log__append(&r->log, r->term, RAFT_ENTRY_EMPTY, NULL, 0);
}

static int descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? 1 : x > y ? -1 : 0;
}

bool raft__maybe_commit(struct raft *r)
{
	uint64_t match[32];
	size_t n = 0, voters = raft__n_voters(r);
	if (r->state != RAFT_LEADER || voters == 0 || voters > 32)
		return false;
	for (size_t i = 0; i < r->n_members; i++)
		if (raft__is_voter(&r->members[i]))
			match[n++] = r->members[i].match;
	qsort(match, n, sizeof(match[0]), descending);
	uint64_t index = match[n / 2];
	if (index <= r->log.commit || !raft_log__matches(&r->log, index, r->term))
		return false;
	r->log.commit = index;
	raft__reads_committed(r);
	return true;
}

void raft__broadcast_heartbeat(struct raft *r)
{
	uint64_t context = r->n_waiting ? r->read_context : 0;
	for (size_t i = 0; i < r->n_members; i++) {
		struct raft_progress *p = &r->members[i];
		if (p->id == r->config.id)
			continue;
		struct raft_msg *m = raft__send(r, RAFT_MSG_HEARTBEAT, p->id);
		m->commit = p->match < r->log.commit ? p->match : r->log.commit;
		m->context = context;
	}
}

static void tick_leader(struct raft *r)
{
	if (++r->election_elapsed >= r->config.election_ticks) {
		r->election_elapsed = 0;
		bool quorum = raft__quorum_active(r);
		for (size_t i = 0; i < r->n_members; i++)
			r->members[i].recent_active = false;
		if (r->config.check_quorum && !quorum) {
			raft__become_follower(r, r->term, RAFT_NONE);
			return;
		}
	}
	if (++r->heartbeat_elapsed >= r->config.heartbeat_ticks) {
		r->heartbeat_elapsed = 0;
		raft__broadcast_heartbeat(r);
	}
}

void raft_tick(struct raft *r)
{
	if (r->state == RAFT_LEADER) {
		tick_leader(r);
		return;
	}
	if (++r->election_elapsed >= r->timeout)
		raft__campaign(r, r->config.pre_vote, false);
}

int raft_campaign(struct raft *r)
{
	struct raft_progress *self = raft__self(r);
	if (!self || self->role != RAFT_VOTER)
		return -EINVAL;
	if (r->state != RAFT_LEADER)
		raft__campaign(r, r->config.pre_vote && raft__n_voters(r) > 1, false);
	return 0;
}

int raft_propose(struct raft *r, const void *data, size_t len, uint64_t *ret_index, uint64_t *ret_term)
{
	if (r->state != RAFT_LEADER)
		return -EAGAIN;
	if (r->log.last - r->log.commit >= 1u << 16)
		return -EBUSY;
	raft_log__append(&r->log, r->term, RAFT_ENTRY_NORMAL, data, len);
	*ret_index = r->log.last;
	*ret_term = r->term;
	return 0;
}

static void step_append(struct raft *r, const struct raft_msg *m)
{
	struct raft_log *l = &r->log;
	struct raft_msg *a;
	if (m->index < l->commit) { /* an old one: what is committed matches by definition */
		a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
		a->index = l->commit;
		a->after_sync = true;
		return;
	}
	if (!raft_log__matches(l, m->index, m->log_term)) {
		a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
		a->reject = true;
		a->index = m->index;
		/* skip the whole of a conflicting term at once */
		uint64_t hint = m->index - 1 < l->last ? m->index - 1 : l->last, term = 0;
		while (hint > l->commit && raft_log__term(l, hint, &term) == 0 && term > m->log_term)
			hint--;
		a->reject_hint = hint;
		a->hint_term = term;
		return;
	}
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct raft_entry *e = &m->entries[i];
		if (e->index <= l->last) {
			if (raft_log__matches(l, e->index, e->term))
				continue;
			raft_log__truncate(l, e->index);
		}
		raft_log__append(l, e->term, e->type, e->data, e->len);
	}
	uint64_t last_new = m->index + m->n_entries;
	uint64_t commit = m->commit < last_new ? m->commit : last_new;
	if (commit > l->commit)
		l->commit = commit;
	a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
	a->index = last_new;
	a->after_sync = true; /* it promises that the entries are durable */
}

static void step_append_resp(struct raft *r, const struct raft_msg *m)
{
	struct raft_progress *p = raft__member(r, m->from);
	if (!p || m->index > r->log.last)
		return;
	p->recent_active = true;
	if (m->reject) {
		raft_progress__rejected(p, m->index, m->reject_hint);
		return;
	}
	bool moved = raft_progress__acked(p, m->index);
	if (p->state == RAFT_PROBE)
		raft_progress__become_replicate(p);
	else if (p->state == RAFT_SNAPSHOT && p->match >= p->pending_snapshot)
		raft_progress__become_replicate(p);
	if (moved)
		raft__maybe_commit(r);
}

static void step_heartbeat_resp(struct raft *r, const struct raft_msg *m)
{
	struct raft_progress *p = raft__member(r, m->from);
	if (!p)
		return;
	p->recent_active = true;
	if (p->state == RAFT_PROBE) {
		p->paused = false;
		p->want_append = true;
	} else if (p->state == RAFT_REPLICATE && p->match < r->log.last) {
		if (p->flight_n == RAFT_INFLIGHT_MAX || p->flight_bytes >= r->config.max_inflight_bytes)
			raft_progress__become_probe(p); /* it answers, yet nothing moves: the window was lost */
		else
			p->want_append = true;
	}
	if (m->context > p->read_ack) {
		p->read_ack = m->context;
		raft__reads_acked(r);
	}
}

static void step_leader(struct raft *r, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_APPEND_RESP:
		step_append_resp(r, m);
		break;
	case RAFT_MSG_HEARTBEAT_RESP:
		step_heartbeat_resp(r, m);
		break;
	case RAFT_MSG_READ_INDEX:
		raft__read_request(r, m->from, m->context);
		break;
	default:
		break;
	}
}

static void step_follower(struct raft *r, const struct raft_msg *m)
{
	switch (m->type) {
	case RAFT_MSG_APPEND:
	case RAFT_MSG_HEARTBEAT:
	case RAFT_MSG_SNAPSHOT:
		if (r->state != RAFT_FOLLOWER || r->leader != m->from)
			raft__become_follower(r, m->term, m->from);
		r->election_elapsed = 0;
		break;
	case RAFT_MSG_READ_INDEX_RESP:
		r->reads = raft__grow(r->reads, &r->cap_reads, r->n_reads + 1, sizeof(*r->reads));
		r->reads[r->n_reads++] = (struct raft_read){.id = m->context, .index = m->index};
		return;
	case RAFT_MSG_TIMEOUT_NOW:
		raft__campaign(r, false, true);
		return;
	default:
		return;
	}
	if (m->type == RAFT_MSG_APPEND) {
		step_append(r, m);
	} else if (m->type == RAFT_MSG_HEARTBEAT) {
		uint64_t commit = m->commit < r->log.last ? m->commit : r->log.last;
		if (commit > r->log.commit)
			r->log.commit = commit;
		raft__send(r, RAFT_MSG_HEARTBEAT_RESP, m->from)->context = m->context;
	}
}

static bool is_vote(const struct raft_msg *m)
{
	return m->type == RAFT_MSG_VOTE || m->type == RAFT_MSG_PRE_VOTE;
}

/* Terms first (dissertation figure 3.1): returns false when the message ends here. */
static bool step_term(struct raft *r, const struct raft_msg *m)
{
	if (m->term > r->term) {
		if (is_vote(m) && r->config.check_quorum && r->leader != RAFT_NONE && !m->context &&
		    r->election_elapsed < r->config.election_ticks)
			return false; /* there is a leader and it is heard: nobody's timeout may disturb it */
		if (m->type == RAFT_MSG_PRE_VOTE || (m->type == RAFT_MSG_PRE_VOTE_RESP && !m->reject))
			return true; /* about a term that nobody is in yet */
		bool leads =
			m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAPSHOT;
		raft__become_follower(r, m->term, leads ? m->from : RAFT_NONE);
		return true;
	}
	if (m->term < r->term) {
		/* a leader of the past, or a candidate that was away, learns of the present */
		if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT)
			raft__send(r, RAFT_MSG_HEARTBEAT_RESP, m->from);
		else if (m->type == RAFT_MSG_PRE_VOTE)
			raft__send(r, RAFT_MSG_PRE_VOTE_RESP, m->from)->reject = true;
		return false;
	}
	return true;
}

int raft_step(struct raft *r, const struct raft_msg *m)
{
	if (m->to != r->config.id || m->from == r->config.id || m->from == RAFT_NONE)
		return -EINVAL;
	for (size_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].index != m->index + 1 + i || m->entries[i].term > m->term)
			return -EINVAL;
	if (!step_term(r, m))
		return 0;
	if (is_vote(m))
		raft__step_vote(r, m);
	else if (m->type == RAFT_MSG_VOTE_RESP || m->type == RAFT_MSG_PRE_VOTE_RESP)
		raft__step_vote_resp(r, m);
	else if (r->state == RAFT_LEADER)
		step_leader(r, m);
	else
		step_follower(r, m);
	return 0;
}

void raft_compact(struct raft *r, uint64_t index, uint64_t term)
{
	if (index <= r->log.base || index > r->log.applied)
		return;
	raft_log__trim(&r->log, index);
	r->log.base = index;
	r->log.base_term = term;
}

void raft_report_snapshot(struct raft *r, uint64_t peer, uint64_t index, bool ok)
{
	struct raft_progress *p = raft__member(r, peer);
	if (r->state != RAFT_LEADER || !p || p->state != RAFT_SNAPSHOT)
		return;
	p->pending_snapshot = ok ? index : 0;
	raft_progress__become_probe(p);
	p->paused = !ok; /* after a failure the next heartbeat's answer opens the way again */
}

void raft_report_unreachable(struct raft *r, uint64_t peer)
{
	struct raft_progress *p = raft__member(r, peer);
	if (r->state != RAFT_LEADER || !p || p->state != RAFT_REPLICATE)
		return;
	raft_progress__become_probe(p);
	p->paused = true;
}

int raft_restore(struct raft *r, uint64_t index, uint64_t term)
{
	if (r->out)
		return -EBUSY;
	if (index <= r->log.commit)
		return -EALREADY;
	if (raft_log__matches(&r->log, index, term)) {
		/* the log is longer than the snapshot: it stays, and starts later */
		r->log.commit = r->log.applied = index;
		if (r->log.stable < index)
			r->log.stable = index;
		raft_compact(r, index, term);
	} else {
		raft_log__restart(&r->log, index, term);
	}
	if (r->leader != RAFT_NONE && r->state == RAFT_FOLLOWER) {
		struct raft_msg *m = raft__send(r, RAFT_MSG_APPEND_RESP, r->leader);
		m->index = index;
		m->after_sync = true;
	}
	return 0;
}

void raft_get_status(const struct raft *r, struct raft_status *ret)
{
	*ret = (struct raft_status){.id = r->config.id,
				    .term = r->term,
				    .vote = r->vote,
				    .commit = r->log.commit,
				    .applied = r->log.applied,
				    .last_index = r->log.last,
				    .leader = r->leader,
				    .state = r->state};
}
