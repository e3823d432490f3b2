/* ReadIndex (dissertation 6.4): a read may be served once a quorum has confirmed, after it was asked for, that this
 * leader still leads. Contexts are fresh per read batch and per term; no clock is trusted. */
#include "raft/internal.h"

#include <errno.h>

bool raft__committed_in_term(const struct raft *r)
{
	uint64_t term;
	return raft_log__term(&r->log, r->log.commit, &term) == 0 && term == r->term;
}

static void answer(struct raft *r, const struct raft_waiting_read *w)
{
	if (w->from == r->config.id) {
		r->reads = raft__grow(r->reads, &r->cap_reads, r->n_reads + 1, sizeof(*r->reads));
		r->reads[r->n_reads++] = (struct raft_read){.id = w->id, .index = w->index};
		return;
	}
	struct raft_msg *m = raft__send(r, RAFT_MSG_READ_INDEX_RESP, w->from);
	m->index = w->index;
	m->context = w->id;
	m->hint_term = w->nonce;
}

/* What an earlier life of this server asked may have been answered since: it says nothing about now. */
void raft__step_read_resp(struct raft *r, const struct raft_msg *m)
{
	if (m->hint_term != r->nonce)
		return;
	r->reads = raft__grow(r->reads, &r->cap_reads, r->n_reads + 1, sizeof(*r->reads));
	r->reads[r->n_reads++] = (struct raft_read){.id = m->context, .index = m->index};
}

int raft_read_now(const struct raft *r, uint64_t *ret_index)
{
	if (r->state != RAFT_LEADER || !raft__sole_voter(r) || !raft__committed_in_term(r))
		return -EAGAIN;
	*ret_index = r->log.commit;
	return 0;
}

void raft__read_request(struct raft *r, uint64_t from, uint64_t id, uint64_t nonce)
{
	struct raft_waiting_read w = {.id = id, .from = from, .index = r->log.commit, .nonce = nonce};
	if (raft__committed_in_term(r) || RAFT_HAS_BUG(READ_BEFORE_NOOP)) {
		if (raft__sole_voter(r) || RAFT_HAS_BUG(READ_UNCONFIRMED)) {
			answer(r, &w);
			return;
		}
		w.context = ++r->read_context;
	}
	r->waiting = raft__grow(r->waiting, &r->cap_waiting, r->n_waiting + 1, sizeof(*r->waiting));
	r->waiting[r->n_waiting++] = w;
	if (w.context)
		raft__broadcast_heartbeat(r);
}

void raft__reads_committed(struct raft *r)
{
	if (!r->n_waiting || !raft__committed_in_term(r))
		return;
	bool any = false;
	for (size_t i = 0; i < r->n_waiting; i++) {
		if (r->waiting[i].context)
			continue;
		if (!any)
			r->read_context++;
		any = true;
		r->waiting[i].index = r->log.commit;
		r->waiting[i].context = r->read_context;
	}
	if (!any)
		return;
	if (raft__sole_voter(r))
		raft__reads_acked(r);
	else
		raft__broadcast_heartbeat(r);
}

static bool has_acked(const struct raft *r, const struct raft_progress *p, uint64_t context)
{
	return p->id == r->config.id || p->read_ack >= context;
}

void raft__reads_acked(struct raft *r)
{
	size_t left = 0;
	for (size_t i = 0; i < r->n_waiting; i++) {
		struct raft_waiting_read *w = &r->waiting[i];
		if (w->context && raft__quorum(r, has_acked, w->context))
			answer(r, w);
		else
			r->waiting[left++] = *w;
	}
	r->n_waiting = left;
}

int raft_read_index(struct raft *r, uint64_t id)
{
	if (r->state == RAFT_LEADER) {
		raft__read_request(r, r->config.id, id, 0);
		return 0;
	}
	if (r->leader == RAFT_NONE)
		return -EAGAIN;
	struct raft_msg *m = raft__send(r, RAFT_MSG_READ_INDEX, r->leader);
	m->context = id;
	m->hint_term = r->nonce;
	return 0;
}
