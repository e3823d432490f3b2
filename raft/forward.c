/* Proposals of followers. One message goes to the leader, one answer comes back; either may be lost, and then nobody
 * knows: sending it again might make it happen twice. What the network doubles is told apart by its id and the
 * life of its sender, which the leader remembers for its term; messages of an earlier term die at raft_step. */
#include "raft/internal.h"

#include <errno.h>
#include <string.h>

int raft_forward(struct raft *r, uint64_t id, const void *data, size_t len)
{
	if (r->state == RAFT_LEADER)
		return -EINVAL;
	if (r->leader == RAFT_NONE)
		return -EAGAIN;
	struct raft_entry *e = raft__alloc(sizeof(*e) + len);
	*e = (struct raft_entry){.index = 1, .type = RAFT_ENTRY_NORMAL, .len = len, .data = e + 1};
	if (len)
		memcpy(e + 1, data, len);
	struct raft_msg *m = raft__send_owning(r, RAFT_MSG_PROPOSE, r->leader, e);
	m->context = id;
	m->hint_term = r->nonce;
	m->entries = e;
	m->n_entries = 1;
	return 0;
}

/* What is remembered of this life of that member. Whoever restarts counts anew, maybe from below: its ids are compared
 * with those of the same life only. */
static struct raft_forwarded *life(struct raft_progress *p, uint64_t nonce)
{
	size_t i = 0;
	while (i < RAFT_LIVES - 1 && p->forwarded[i].nonce != nonce)
		i++;
	struct raft_forwarded at = p->forwarded[i];
	if (at.nonce != nonce)
		at = (struct raft_forwarded){.nonce = nonce}; /* in place of the one unheard of for longest */
	memmove(p->forwarded + 1, p->forwarded, i * sizeof(at));
	p->forwarded[0] = at;
	return p->forwarded;
}

/* Ids that are too old to tell count as seen: better unknown than twice. */
static bool seen(struct raft_forwarded *f, uint64_t id)
{
	if (RAFT_HAS_BUG(FORWARD_TWICE))
		return false;
	if (id > f->high) {
		uint64_t by = id - f->high;
		f->seen = (by >= 64 ? 0 : f->seen << by) | 1;
		f->high = id;
		return false;
	}
	uint64_t back = f->high - id;
	if (back >= 64 || (f->seen >> back & 1))
		return true;
	f->seen |= (uint64_t)1 << back;
	return false;
}

void raft__step_propose(struct raft *r, const struct raft_msg *m)
{
	struct raft_progress *p = raft__member(r, m->from);
	if (!p || m->n_entries != 1 || m->entries[0].type != RAFT_ENTRY_NORMAL ||
	    seen(life(p, m->hint_term), m->context))
		return;
	uint64_t index = 0, term = 0;
	int rc = raft_propose(r, m->entries[0].data, m->entries[0].len, &index, &term);
	struct raft_msg *a = raft__send(r, RAFT_MSG_PROPOSE_RESP, m->from);
	a->context = m->context;
	a->hint_term = m->hint_term;
	a->reject = rc != 0;
	a->index = index;
	a->log_term = term;
}

void raft__step_propose_resp(struct raft *r, const struct raft_msg *m)
{
	if (m->hint_term != r->nonce)
		return; /* asked in an earlier life */
	r->fates = raft__grow(r->fates, &r->cap_fates, r->n_fates + 1, sizeof(*r->fates));
	r->fates[r->n_fates++] =
		(struct raft_fate){.id = m->context, .index = m->index, .term = m->log_term, .refused = m->reject};
}
