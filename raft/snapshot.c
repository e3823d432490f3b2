/* Snapshots in pieces. The leader's side of a peer in state SNAPSHOT, and the receiver's:
 *
 *   wanted (driver asked for the piece at snap_offset) -> sent -> answered: snap_offset moves, the next is wanted
 *        ^----- refused: the receiver stands elsewhere, or the heartbeats of QUIET answers passed without a word ----'
 *   after the last piece: until an append answer says that the log can take over
 *
 *   receiver: incoming (id, offset) -> complete: installing, with the driver -> raft_restore | raft_restore_failed
 *
 * An answer counts only if it is about the piece that is under way, so doubled and late ones start nothing. */
#include "raft/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUIET 4u

/* ---- leader ---- */

/* A witness needs no state, only where to go on: the leader's raft knows that itself. */
static bool send_to_witness(struct raft *r, struct raft_progress *p)
{
	uint64_t term, index = RAFT_HAS_BUG(WITNESS_SNAPSHOT) ? r->log.last : r->log.applied;
	if (!r->confs[0].membership.n_members || raft_log__term(&r->log, index, &term))
		return false;
	struct raft_membership *own = raft__alloc(sizeof(*own));
	*own = r->confs[0].membership;
	struct raft_msg *m = raft__send_owning(r, RAFT_MSG_SNAPSHOT, p->id, own);
	m->index = index;
	m->log_term = term;
	m->last = true;
	m->membership = own;
	p->snap_index = m->index;
	p->snap_asked = p->snap_sent = p->snap_last = true;
	p->snap_quiet = 0;
	return true;
}

void raft__snapshot_begin(struct raft *r, struct raft_progress *p)
{
	p->state = RAFT_SNAPSHOT;
	p->snap_id = p->snap_index = p->snap_offset = 0;
	p->snap_asked = p->snap_sent = p->snap_last = false;
	p->snap_quiet = 0;
	if (p->role != RAFT_WITNESS || send_to_witness(r, p))
		return;
	/* this server joined lately, and knows no configuration before it applies one (or its log cannot be read) */
	raft_progress__become_probe(p);
	p->paused = true;
}

bool raft__snapshot_wanted(const struct raft *r, const struct raft_progress *p)
{
	return r->state == RAFT_LEADER && p->state == RAFT_SNAPSHOT && !p->snap_asked;
}

void raft__snapshot_answered(struct raft *r, struct raft_progress *p)
{
	if (!p->snap_sent || ++p->snap_quiet < QUIET)
		return;
	p->snap_quiet = 0;
	if (p->role == RAFT_WITNESS)
		send_to_witness(r, p);
	else
		p->snap_asked = p->snap_sent = false;
}

int raft_send_chunk(struct raft *r, uint64_t peer, const struct raft_chunk *c)
{
	struct raft_progress *p = r->state == RAFT_LEADER ? raft__member(r, peer) : NULL;
	if (!p || p->state != RAFT_SNAPSHOT || p->role == RAFT_WITNESS || !p->snap_asked || p->snap_sent)
		return -EAGAIN;
	bool anew = c->id != p->snap_id;
	if (c->id == 0 || c->index < r->log.base || c->index > r->log.applied || !raft__conf_valid(c->membership) ||
	    c->offset != (anew ? 0 : p->snap_offset))
		return -EINVAL;
	struct raft_membership *own = raft__alloc(sizeof(*own) + c->len);
	*own = *c->membership;
	if (c->len)
		memcpy(own + 1, c->data, c->len);
	struct raft_msg *m = raft__send_owning(r, RAFT_MSG_SNAPSHOT, peer, own);
	m->index = c->index;
	m->log_term = c->term;
	m->context = c->id;
	m->offset = c->offset;
	m->last = c->last;
	m->len = c->len;
	m->data = c->len ? own + 1 : NULL;
	m->membership = own;
	p->snap_id = c->id;
	p->snap_index = c->index;
	p->snap_offset = c->offset;
	p->snap_last = c->last;
	p->snap_sent = true;
	p->snap_quiet = 0;
	return 0;
}

void raft_chunk_failed(struct raft *r, uint64_t peer)
{
	struct raft_progress *p = r->state == RAFT_LEADER ? raft__member(r, peer) : NULL;
	if (!p || p->state != RAFT_SNAPSHOT)
		return;
	raft_progress__become_probe(p);
	p->paused = true; /* the next heartbeat's answer opens the way again */
}

void raft__step_snapshot_resp(struct raft *r, const struct raft_msg *m)
{
	struct raft_progress *p = raft__member(r, m->from);
	if (!p)
		return;
	p->recent_active = true;
	if (p->role == RAFT_WITNESS)
		return; /* it has all, or gets it anew after a while */
	if (p->state != RAFT_SNAPSHOT || !p->snap_sent || m->context != p->snap_id || m->index != p->snap_index)
		return;
	if (m->reject) { /* it stands elsewhere than at the piece that came */
		if (m->reject_hint != p->snap_offset)
			return;
		p->snap_last = false;
	} else if (m->offset <= p->snap_offset) {
		return;
	}
	p->snap_offset = m->offset;
	p->snap_quiet = 0;
	if (!p->snap_last)
		p->snap_asked = p->snap_sent = false;
}

/* ---- receiver ---- */

static void answer_chunk(struct raft *r, const struct raft_msg *m, bool reject)
{
	struct raft_msg *a = raft__send(r, RAFT_MSG_SNAPSHOT_RESP, m->from);
	a->context = m->context;
	a->index = m->index;
	a->offset = r->incoming.offset;
	a->reject = reject;
	a->reject_hint = m->offset;
	a->after_sync = true; /* the piece is in its file by then */
}

static void hand_out(struct raft *r, const struct raft_msg *m)
{
	struct raft_membership *own = raft__alloc(sizeof(*own) + m->len);
	*own = *m->membership;
	if (m->len)
		memcpy(own + 1, m->data, m->len);
	r->chunks = raft__grow(r->chunks, &r->cap_chunks, r->n_chunks + 1, sizeof(*r->chunks));
	r->chunks[r->n_chunks++] = (struct raft_chunk){.id = m->context,
						       .index = m->index,
						       .term = m->log_term,
						       .membership = own,
						       .offset = m->offset,
						       .len = m->len,
						       .data = m->len ? own + 1 : NULL,
						       .last = m->last};
}

static bool is_incoming(const struct raft *r, const struct raft_msg *m)
{
	return r->incoming.id == m->context && r->incoming.index == m->index && r->incoming.term == m->log_term;
}

void raft__step_snapshot(struct raft *r, const struct raft_msg *m)
{
	if (m->index <= r->log.commit && !RAFT_HAS_BUG(SNAPSHOT_BACKWARDS)) { /* nothing in it is news */
		struct raft_msg *a = raft__send(r, RAFT_MSG_APPEND_RESP, m->from);
		a->index = r->log.commit;
		a->after_sync = true;
		return;
	}
	if (r->installing) {
		if (is_incoming(r, m))
			answer_chunk(r, m, false);
		return;
	}
	if (!is_incoming(r, m))
		r->incoming = (struct raft_partial){.id = m->context, .index = m->index, .term = m->log_term};
	if (m->offset != r->incoming.offset && !RAFT_HAS_BUG(CHUNK_GAP)) {
		answer_chunk(r, m, m->offset > r->incoming.offset);
		return;
	}
	hand_out(r, m);
	r->incoming.offset = m->offset + m->len;
	r->installing = m->last;
	answer_chunk(r, m, false);
}

static void forget_incoming(struct raft *r)
{
	r->incoming = (struct raft_partial){0};
	r->installing = false;
}

void raft_restore_failed(struct raft *r)
{
	struct raft_partial was = r->incoming;
	forget_incoming(r);
	if (r->leader == RAFT_NONE || r->state != RAFT_FOLLOWER)
		return;
	struct raft_msg *m = raft__send(r, RAFT_MSG_SNAPSHOT_RESP, r->leader);
	m->context = was.id;
	m->index = was.index;
	m->reject = true;
	m->reject_hint = was.offset;
}

int raft_restore(struct raft *r, uint64_t index, uint64_t term, const struct raft_membership *membership)
{
	if (r->out)
		return -EBUSY;
	if (!raft__conf_valid(membership))
		return -EINVAL;
	forget_incoming(r);
	if (index <= r->log.applied && !RAFT_HAS_BUG(SNAPSHOT_BACKWARDS))
		return -EALREADY;
	struct raft_log *l = &r->log;
	bool keep = index > l->base &&
		    (raft_log__matches(l, index, term) || (RAFT_HAS_BUG(RESTORE_KEEPS_LOG) && index <= l->last));
	bool on_disk = keep && index <= l->stable;
	if (keep) { /* what comes after it may have been promised: it stays */
		l->applied = index;
		if (l->commit < index)
			l->commit = index;
		if (l->stable < index)
			l->stable = index;
		raft_compact(r, index, term);
	} else {
		raft_log__restart(l, index, term);
	}
	raft__conf_restart(r, index, membership);
	if (r->leader != RAFT_NONE && r->state == RAFT_FOLLOWER) {
		struct raft_msg *m = raft__send(r, RAFT_MSG_APPEND_RESP, r->leader);
		m->index = index;
		m->after_sync = true;
	}
	return !on_disk;
}
