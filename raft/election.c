/* Elections: pre-vote (dissertation 9.6), votes, check-quorum, and the lease that keeps a disturbed leader. */
#include "raft/internal.h"

unsigned raft__random_timeout(struct raft *r)
{
	/* xorshift64*: the seed is configuration, so that a run can be repeated */
	r->rng ^= r->rng >> 12;
	r->rng ^= r->rng << 25;
	r->rng ^= r->rng >> 27;
	uint64_t x = r->rng * 2685821657736338717ull;
	return r->config.election_ticks + (unsigned)((x >> 33) % r->config.election_ticks);
}

static bool is_active(const struct raft *r, const struct raft_progress *p, uint64_t arg)
{
	(void)arg;
	return p->id == r->config.id || p->recent_active;
}

bool raft__quorum_active(struct raft *r)
{
	return raft__quorum(r, is_active, 0);
}

static bool has_granted(const struct raft *r, const struct raft_progress *p, uint64_t arg)
{
	(void)r, (void)arg;
	return p->vote > 0;
}

static bool may_grant(const struct raft *r, const struct raft_progress *p, uint64_t arg)
{
	(void)r, (void)arg;
	return p->vote >= 0;
}

static int tally(struct raft *r) /* 1 won, -1 lost, 0 open */
{
	if (raft__quorum(r, has_granted, 0))
		return 1;
	return raft__quorum(r, may_grant, 0) ? 0 : -1;
}

static void count_votes(struct raft *r)
{
	int won = tally(r);
	if (won < 0)
		raft__become_follower(r, r->term, RAFT_NONE);
	else if (won > 0 && r->state == RAFT_PRE_CANDIDATE)
		raft__campaign(r, false, false);
	else if (won > 0)
		raft__become_leader(r);
}

/* The vote for itself counts at once: requests leave only after term and vote are durable, so no other vote can arrive
 * earlier; and the sole voter's own entries count only once they are durable, after this term. */
void raft__campaign(struct raft *r, bool pre, bool transfer)
{
	if (!raft__may_lead(r)) {
		r->leader = RAFT_NONE; /* not heard of for so long */
		r->election_elapsed = 0;
		return;
	}
	r->election_elapsed = 0;
	r->timeout = raft__random_timeout(r);
	r->leader = RAFT_NONE;
	if (pre) {
		r->state = RAFT_PRE_CANDIDATE;
	} else {
		r->state = RAFT_CANDIDATE;
		r->term++;
		r->vote = r->config.id;
	}
	for (size_t i = 0; i < r->n_members; i++)
		r->members[i].vote = r->members[i].id == r->config.id;
	if (tally(r) > 0) {
		count_votes(r);
		return;
	}
	for (size_t i = 0; i < r->n_members; i++) {
		struct raft_progress *p = &r->members[i];
		if (p->id == r->config.id || (!p->voter && !p->old_voter))
			continue;
		struct raft_msg *m = raft__send(r, pre ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE, p->id);
		m->term = pre ? r->term + 1 : r->term;
		m->index = r->log.last;
		m->log_term = r->log.last_term;
		m->context = transfer;
		m->after_sync = !pre;
	}
}

static bool up_to_date(const struct raft *r, const struct raft_msg *m)
{
	if (RAFT_HAS_BUG(VOTE_BY_LENGTH))
		return m->index >= r->log.last;
	return m->log_term > r->log.last_term || (m->log_term == r->log.last_term && m->index >= r->log.last);
}

/* Called with m->term >= r->term; for a VOTE the term has been taken over already. */
void raft__step_vote(struct raft *r, const struct raft_msg *m)
{
	bool pre = m->type == RAFT_MSG_PRE_VOTE;
	bool free_vote =
		RAFT_HAS_BUG(VOTE_TWICE) || r->vote == m->from || (r->vote == RAFT_NONE && r->leader == RAFT_NONE);
	bool grant = up_to_date(r, m) && (pre ? m->term > r->term || free_vote : free_vote);
	struct raft_msg *a = raft__send(r, pre ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP, m->from);
	/* a granted pre-vote speaks of the future term, a refusal of what this server knows */
	a->term = grant ? m->term : r->term;
	a->reject = !grant;
	a->after_sync = (a->after_sync || !pre) && !RAFT_HAS_BUG(VOTE_BEFORE_SYNC);
	if (grant && !pre) {
		r->election_elapsed = 0;
		r->vote = m->from;
	}
}

void raft__step_vote_resp(struct raft *r, const struct raft_msg *m)
{
	enum raft_state wanted = m->type == RAFT_MSG_PRE_VOTE_RESP ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
	struct raft_progress *p = raft__member(r, m->from);
	if (r->state != wanted || !p)
		return;
	if (!p->vote)
		p->vote = m->reject ? -1 : 1;
	count_votes(r);
}
