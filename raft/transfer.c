/* Handing the leadership over (dissertation 3.10): proposals stop, the target catches up, and is told to campaign at
 * once; its votes are not held back by the lease of a leader that wishes to go. */
#include "raft/internal.h"

#include <errno.h>

void raft__transfer_try(struct raft *r)
{
	const struct raft_progress *p = r->transferee ? raft__member(r, r->transferee) : NULL;
	if (p && p->match == r->log.last)
		raft__send(r, RAFT_MSG_TIMEOUT_NOW, p->id);
}

void raft__transfer_tick(struct raft *r)
{
	if (r->transferee && ++r->transfer_elapsed >= r->config.election_ticks)
		r->transferee = RAFT_NONE;
}

int raft_transfer(struct raft *r, uint64_t target)
{
	if (r->state != RAFT_LEADER)
		return -EAGAIN;
	const struct raft_progress *p = raft__member(r, target);
	if (target == r->config.id)
		return -EALREADY;
	if (!p || !p->voter || p->role != RAFT_VOTER)
		return -EINVAL;
	if (r->transferee)
		return r->transferee == target ? 0 : -EBUSY;
	r->transferee = target;
	r->transfer_elapsed = 0;
	raft__transfer_try(r);
	return 0;
}
