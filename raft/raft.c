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
 *   SNAPSHOT        index, log_term: what it holds; context: its id; a piece of it; the configuration as of index
 *   SNAPSHOT_RESP   index, context: of which; offset: the receiver stands there; reject: and does not want the piece at
 *                   reject_hint
 *   READ_INDEX      context: the asker's id, hint_term: the asker's life; its RESP has index
 *   PROPOSE         context: the asker's id, hint_term: the asker's life, one entry; its RESP has index and log_term, or
 *                   reject
 *   TIMEOUT_NOW     campaign
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

int raft_new(const struct raft_config *config, struct raft **ret)
{
	if (config->id == RAFT_NONE || config->first_index == 0 || config->election_ticks == 0 ||
	    config->heartbeat_ticks == 0 || config->heartbeat_ticks >= config->election_ticks ||
	    config->max_inflight_bytes == 0 || config->max_message_bytes == 0 ||
	    config->applied + 1 < config->first_index)
		return -EINVAL;
	struct raft *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->config = *config;
	int rc = raft_log__init(&r->log, &r->config);
	if (!rc && r->log.applied > r->log.last)
		rc = -EINVAL;
	if (rc) {
		free(r);
		return rc;
	}
	r->durable = config->hard_state;
	r->term = config->hard_state.term;
	r->vote = config->hard_state.vote;
	if (r->log.last_term > r->term) { /* a torn write kept the entries, but not the term they came in */
		r->term = r->log.last_term;
		r->vote = RAFT_NONE;
	}
	r->nonce = config->seed * 0xd1342543de82ef95ull + 1;
	r->incoming = config->partial;
	r->rng = config->seed ^ (config->id * 0x9e3779b97f4a7c15ull);
	if (!r->rng)
		r->rng = 1;
	r->members = calloc(1, sizeof(*r->members));
	RAFT_MUST(r->members);
	r->members[r->n_members++] = (struct raft_progress){.id = config->id, .role = RAFT_LEARNER, .leaving = true};
	rc = raft__conf_load(r);
	if (rc) {
		raft_free(r);
		return rc;
	}
	r->config.members = r->config.old_members = NULL;
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
	for (size_t i = 0; i < r->n_msgs; i++)
		free(r->msgs[i].own);
	for (size_t i = 0; i < r->n_chunks; i++)
		free((void *)r->chunks[i].membership);
	free(r->chunks);
	free(r->fates);
	free(r->confs);
	free(r->out_chunks);
	free(r->out_fates);
	free(r->out_wanted);
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
	struct raft_queued *q = &r->msgs[r->n_msgs++];
	memset(q, 0, sizeof(*q));
	struct raft_msg *m = &q->msg;
	m->type = type;
	m->from = r->config.id;
	m->to = to;
	m->term = r->term;
	m->after_sync = r->term != r->durable.term || r->vote != r->durable.vote;
	return m;
}

struct raft_msg *raft__send_owning(struct raft *r, enum raft_msg_type type, uint64_t to, void *own)
{
	struct raft_msg *m = raft__send(r, type, to);
	r->msgs[r->n_msgs - 1].own = own;
	return m;
}

void raft__append(struct raft *r, uint64_t term, enum raft_entry_type type, const void *data, size_t len)
{
	raft_log__append(&r->log, term, type, data, len);
	struct raft_membership m;
	if (type == RAFT_ENTRY_CONFIG && raft_membership_decode(data, len, &m, NULL, NULL) == 0)
		raft__conf_push(r, r->log.last, &m);
}

void raft__truncate(struct raft *r, uint64_t from, uint64_t term_before)
{
	raft_log__truncate(&r->log, from, term_before);
	raft__conf_cut(r, from);
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
	r->transferee = RAFT_NONE;
}

void raft__become_leader(struct raft *r)
{
	raft__conf_members(r); /* those that were leaving under an earlier leadership are gone */
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

static bool has_index(const struct raft *r, const struct raft_progress *p, uint64_t index)
{
	(void)r;
	return p->match >= index;
}

/* The highest index that a majority (of both configurations, while joint) has made durable. */
static uint64_t agreed_index(const struct raft *r)
{
	uint64_t best = 0;
	for (size_t i = 0; i < r->n_members; i++) {
		uint64_t match = r->members[i].match;
		if (match > best && raft__quorum(r, has_index, match))
			best = match;
	}
	return best;
}

bool raft__maybe_commit(struct raft *r)
{
	if (r->state != RAFT_LEADER)
		return false;
	uint64_t index = agreed_index(r);
	if (index <= r->log.commit || (!raft_log__matches(&r->log, index, r->term) && !RAFT_HAS_BUG(COMMIT_OLD_TERM)))
		return false;
	r->log.commit = index;
	raft__reads_committed(r);
	raft__conf_committed(r);
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
		if (RAFT_HAS_BUG(HEARTBEAT_COMMIT))
			m->commit = r->log.commit;
	}
}

static void tick_leader(struct raft *r)
{
	if (++r->election_elapsed >= r->config.election_ticks) {
		r->election_elapsed = 0;
		bool quorum = raft__quorum_active(r);
		raft__conf_sweep(r);
		for (size_t i = 0; i < r->n_members; i++)
			r->members[i].recent_active = false;
		if (r->config.check_quorum && !quorum) {
			raft__become_follower(r, r->term, RAFT_NONE);
			return;
		}
	}
	raft__transfer_tick(r);
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
	if (!raft__may_lead(r))
		return -EINVAL;
	if (r->state != RAFT_LEADER)
		raft__campaign(r, r->config.pre_vote && !raft__sole_voter(r), false);
	return 0;
}

int raft_propose(struct raft *r, const void *data, size_t len, uint64_t *ret_index, uint64_t *ret_term)
{
	if (r->state != RAFT_LEADER)
		return -EAGAIN;
	if (r->transferee || r->log.last - r->log.commit >= 1u << 16)
		return -EBUSY;
	raft_log__append(&r->log, r->term, RAFT_ENTRY_NORMAL, data, len);
	*ret_index = r->log.last;
	*ret_term = r->term;
	return 0;
}

/* 0, or what read_term said: then nothing is known, and nothing more is done. */
static int step_append(struct raft *r, const struct raft_msg *m)
{
	struct raft_log *l = &r->log;
	struct raft_msg *a;
	uint64_t have, before = m->log_term;
	if (m->index < l->commit) { /* an old one: what is committed matches by definition */
		a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
		a->index = l->commit;
		a->after_sync = true;
		return 0;
	}
	bool blind = RAFT_HAS_BUG(NO_PREVIOUS_TERM) && m->index <= l->last;
	int rc = raft_log__term(l, m->index, &have);
	if (rc && rc != -ENOENT)
		return rc;
	if (!blind && (rc || have != m->log_term)) {
		a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
		a->reject = true;
		a->index = m->index;
		/* skip the whole of a conflicting term at once */
		uint64_t hint = m->index - 1 < l->last ? m->index - 1 : l->last, term = 0;
		while (hint > l->commit && raft_log__term(l, hint, &term) == 0 && term > m->log_term)
			hint--;
		a->reject_hint = hint;
		a->hint_term = term;
		return 0;
	}
	for (size_t i = 0; i < m->n_entries; before = m->entries[i++].term) {
		const struct raft_entry *e = &m->entries[i];
		if (e->index <= l->last) {
			rc = raft_log__term(l, e->index, &have);
			if (rc)
				return rc;
			if (have == e->term && !(RAFT_HAS_BUG(CUT_ALWAYS) && e->index > l->commit))
				continue;
			raft__truncate(r, e->index, before);
		}
		raft__append(r, e->term, e->type, e->data, e->len);
	}
	uint64_t last_new = m->index + m->n_entries;
	uint64_t commit = m->commit < last_new ? m->commit : last_new;
	if (commit > l->commit)
		l->commit = commit;
	a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
	a->index = last_new;
	a->after_sync = !RAFT_HAS_BUG(ACK_BEFORE_SYNC); /* it promises that the entries are durable */
	return 0;
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
	else if (p->state == RAFT_SNAPSHOT && p->match >= r->log.base)
		raft_progress__become_replicate(p);
	if (!moved)
		return;
	raft__maybe_commit(r);
	if (r->state == RAFT_LEADER && r->transferee == m->from)
		raft__transfer_try(r);
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
	} else if (p->state == RAFT_SNAPSHOT) {
		raft__snapshot_answered(r, p);
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
		raft__read_request(r, m->from, m->context, m->hint_term);
		break;
	case RAFT_MSG_PROPOSE:
		raft__step_propose(r, m);
		break;
	case RAFT_MSG_SNAPSHOT_RESP:
		raft__step_snapshot_resp(r, m);
		break;
	default:
		break;
	}
}

static int step_follower(struct raft *r, const struct raft_msg *m)
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
		raft__step_read_resp(r, m);
		return 0;
	case RAFT_MSG_PROPOSE_RESP:
		raft__step_propose_resp(r, m);
		return 0;
	case RAFT_MSG_TIMEOUT_NOW:
		raft__campaign(r, false, true);
		return 0;
	default:
		return 0;
	}
	if (m->type == RAFT_MSG_APPEND) {
		return step_append(r, m);
	} else if (m->type == RAFT_MSG_SNAPSHOT) {
		raft__step_snapshot(r, m);
	} else if (m->type == RAFT_MSG_HEARTBEAT) {
		uint64_t commit = m->commit < r->log.last ? m->commit : r->log.last;
		if (commit > r->log.commit)
			r->log.commit = commit;
		raft__send(r, RAFT_MSG_HEARTBEAT_RESP, m->from)->context = m->context;
	}
	return 0;
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
		if (m->type == RAFT_MSG_APPEND || m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_SNAPSHOT)
			raft__send(r, RAFT_MSG_HEARTBEAT_RESP, m->from);
		else if (m->type == RAFT_MSG_PRE_VOTE && !RAFT_HAS_BUG(PREVOTE_TERM))
			raft__send(r, RAFT_MSG_PRE_VOTE_RESP, m->from)->reject = true;
		return false;
	}
	return true;
}

static int check(const struct raft_msg *m)
{
	if (m->type == RAFT_MSG_SNAPSHOT && (!m->membership || !raft__conf_valid(m->membership)))
		return -EINVAL;
	for (size_t i = 0; i < m->n_entries; i++) {
		const struct raft_entry *e = &m->entries[i];
		if ((m->type != RAFT_MSG_PROPOSE && e->index != m->index + 1 + i) || e->term > m->term)
			return -EINVAL;
		struct raft_membership conf;
		int rc = e->type == RAFT_ENTRY_CONFIG ? raft_membership_decode(e->data, e->len, &conf, NULL, NULL) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

int raft_step(struct raft *r, const struct raft_msg *m)
{
	if (m->to != r->config.id || m->from == r->config.id || m->from == RAFT_NONE)
		return -EINVAL;
	int rc = check(m);
	if (rc)
		return rc;
	if (m->type == RAFT_MSG_PROPOSE_RESP && m->term < r->term) {
		raft__step_propose_resp(r, m); /* what a leader of the past put where stays true */
		return 0;
	}
	if (!step_term(r, m))
		return 0;
	if (is_vote(m))
		raft__step_vote(r, m);
	else if (m->type == RAFT_MSG_VOTE_RESP || m->type == RAFT_MSG_PRE_VOTE_RESP)
		raft__step_vote_resp(r, m);
	else if (r->state == RAFT_LEADER)
		step_leader(r, m);
	else
		rc = step_follower(r, m);
	return rc;
}

void raft_compact(struct raft *r, uint64_t index, uint64_t term)
{
	if (index <= r->log.base || index > r->log.applied)
		return;
	raft_log__trim(&r->log, index);
	r->log.base = index;
	r->log.base_term = term;
}

void raft_report_unreachable(struct raft *r, uint64_t peer)
{
	struct raft_progress *p = raft__member(r, peer);
	if (r->state != RAFT_LEADER || !p || p->state != RAFT_REPLICATE)
		return;
	raft_progress__become_probe(p);
	p->paused = true;
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
				    .state = r->state,
				    .transferee = r->transferee,
				    .joint = raft__joint(r)};
}
