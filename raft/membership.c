/* Who belongs, and whose agreement counts: joint consensus (dissertation 4.3).
 *
 *   C_old --- raft_change_members ---> C_old,new --- committed by both majorities ---> C_new --- committed ---> settled
 *               (appended: in force)                  (the leader appends C_new)         (who left steps down)
 *
 * A configuration is in force while it is the newest in the log, so the stack of those in the log follows each append
 * and each cut. What is committed is never cut, so the stack's lowest element never goes. */
#include "raft/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- the encoding ---- */

static uint8_t *put_members(uint8_t *to, const struct raft_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < 8; k++)
			*to++ = (uint8_t)(members[i].id >> (8 * k));
		*to++ = (uint8_t)members[i].role;
	}
	return to;
}

size_t raft_membership_encode(const struct raft_membership *m, void *buf)
{
	RAFT_MUST(m->n_members <= RAFT_MEMBERS_MAX && m->n_old <= RAFT_MEMBERS_MAX);
	uint8_t *to = buf;
	*to++ = RAFT_MEMBERSHIP_VERSION;
	*to++ = (uint8_t)m->n_members;
	*to++ = (uint8_t)m->n_old;
	*to++ = 0;
	to = put_members(to, m->members, m->n_members);
	to = put_members(to, m->old, m->n_old);
	return (size_t)(to - (uint8_t *)buf);
}

static const uint8_t *get_members(const uint8_t *from, struct raft_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t id = 0;
		for (unsigned k = 0; k < 8; k++)
			id |= (uint64_t)*from++ << (8 * k);
		members[i] = (struct raft_member){.id = id, .role = (enum raft_role) * from++};
	}
	return from;
}

int raft_membership_decode(const void *data, size_t len, struct raft_membership *ret, const void **ret_context,
			   size_t *ret_context_len)
{
	const uint8_t *from = data;
	if (len < 4)
		return -EBADMSG;
	if (from[0] != RAFT_MEMBERSHIP_VERSION)
		return -EPROTONOSUPPORT;
	struct raft_membership m = {.n_members = from[1], .n_old = from[2]};
	size_t need = 4 + (m.n_members + m.n_old) * 9;
	if (from[3] || m.n_members > RAFT_MEMBERS_MAX || m.n_old > RAFT_MEMBERS_MAX || len < need ||
	    len - need > RAFT_CONTEXT_BYTES_MAX)
		return -EBADMSG;
	get_members(get_members(from + 4, m.members, m.n_members), m.old, m.n_old);
	if (!raft__conf_valid(&m))
		return -EBADMSG;
	*ret = m;
	if (ret_context)
		*ret_context = from + need;
	if (ret_context_len)
		*ret_context_len = len - need;
	return 0;
}

static const struct raft_member *find(const struct raft_member *members, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (members[i].id == id)
			return &members[i];
	return NULL;
}

static bool half_valid(const struct raft_member *members, size_t n)
{
	size_t full = 0, witnesses = 0;
	for (size_t i = 0; i < n; i++) {
		if (members[i].id == RAFT_NONE || (unsigned)members[i].role > RAFT_WITNESS ||
		    find(members, i, members[i].id))
			return false;
		full += members[i].role == RAFT_VOTER;
		witnesses += members[i].role == RAFT_WITNESS;
	}
	/* at most half: then every majority has a full voter in it, and what is committed is somewhere in full */
	return full && witnesses <= (full + witnesses) / 2;
}

/* A witness's log has holes, so it was never and will never be anything else. */
static bool witnesses_stay(const struct raft_membership *m)
{
	for (size_t i = 0; i < m->n_members; i++) {
		const struct raft_member *was = find(m->old, m->n_old, m->members[i].id);
		if (was && (was->role == RAFT_WITNESS) != (m->members[i].role == RAFT_WITNESS))
			return false;
	}
	return true;
}

bool raft__conf_valid(const struct raft_membership *m)
{
	if (m->n_members > RAFT_MEMBERS_MAX || m->n_old > RAFT_MEMBERS_MAX || !half_valid(m->members, m->n_members))
		return false;
	return m->n_old == 0 || (half_valid(m->old, m->n_old) && witnesses_stay(m));
}

/* ---- majorities ---- */

bool raft__joint(const struct raft *r)
{
	return raft__conf(r)->membership.n_old > 0;
}

bool raft__quorum(const struct raft *r, bool (*yes)(const struct raft *r, const struct raft_progress *p, uint64_t arg),
		  uint64_t arg)
{
	size_t n = 0, n_old = 0, agree = 0, agree_old = 0;
	for (size_t i = 0; i < r->n_members; i++) {
		const struct raft_progress *p = &r->members[i];
		bool extra = RAFT_HAS_BUG(LEARNER_COUNTS) && p->role == RAFT_LEARNER;
		if (!p->voter && !p->old_voter && !extra)
			continue;
		bool y = yes(r, p, arg);
		agree += extra && y;
		n += p->voter;
		n_old += p->old_voter;
		agree += p->voter && y;
		agree_old += p->old_voter && y;
	}
	if (RAFT_HAS_BUG(JOINT_NEW_ONLY))
		n_old = 0;
	return agree > n / 2 && (n_old == 0 || agree_old > n_old / 2);
}

/* A server that the newest configuration leaves out may be the only one that has it, and so the only one that can be
 * elected: until that configuration is committed, it still campaigns (dissertation 4.2.2). */
static bool still_needed(const struct raft *r)
{
	if (r->n_confs < 2 || raft__conf(r)->index <= r->log.commit)
		return false;
	const struct raft_membership *was = &r->confs[r->n_confs - 2].membership;
	const struct raft_member *now = find(was->members, was->n_members, r->config.id),
				 *old = find(was->old, was->n_old, r->config.id);
	return (now && now->role == RAFT_VOTER) || (old && old->role == RAFT_VOTER);
}

bool raft__may_lead(struct raft *r)
{
	const struct raft_progress *self = raft__self(r);
	if (!self->voter && !self->old_voter)
		return still_needed(r);
	return self->role != RAFT_WITNESS || RAFT_HAS_BUG(WITNESS_LEADS);
}

bool raft__sole_voter(const struct raft *r)
{
	if (raft__joint(r))
		return false;
	size_t others = 0;
	bool self = false;
	for (size_t i = 0; i < r->n_members; i++) {
		if (r->members[i].id == r->config.id)
			self = r->members[i].voter;
		else
			others += r->members[i].voter;
	}
	return self && !others;
}

/* ---- the stack ---- */

const struct raft_conf_at *raft__conf(const struct raft *r)
{
	return &r->confs[r->n_confs - 1];
}

static bool votes(enum raft_role role)
{
	return role != RAFT_LEARNER;
}

static struct raft_progress *take_in(struct raft *r, struct raft_progress *to, size_t *n, const struct raft_member *m)
{
	for (size_t i = 0; i < *n; i++)
		if (to[i].id == m->id)
			return &to[i];
	struct raft_progress *p = &to[(*n)++], *known = raft__member(r, m->id);
	if (known) {
		*p = *known;
	} else {
		p->id = m->id;
		raft_progress__reset(p, r->log.last + 1);
		p->recent_active = true;
	}
	p->role = m->role;
	p->voter = p->old_voter = p->leaving = false;
	return p;
}

/* A leader keeps those that go until they have been told. Everyone keeps itself. */
static void keep_leaving(struct raft *r, struct raft_progress *to, size_t *n)
{
	for (size_t i = 0; i < r->n_members; i++) {
		size_t k = 0;
		while (k < *n && to[k].id != r->members[i].id)
			k++;
		if (k < *n || (r->state != RAFT_LEADER && r->members[i].id != r->config.id))
			continue;
		to[*n] = r->members[i];
		to[*n].voter = to[*n].old_voter = false;
		to[(*n)++].leaving = true;
	}
}

void raft__conf_members(struct raft *r)
{
	const struct raft_membership *m = &raft__conf(r)->membership;
	size_t n = 0, cap = 0;
	struct raft_progress *to =
		raft__grow(NULL, &cap, r->n_members + m->n_members + m->n_old + 1, sizeof(struct raft_progress));
	memset(to, 0, cap * sizeof(*to));
	for (size_t i = 0; i < m->n_members; i++) {
		struct raft_progress *p = take_in(r, to, &n, &m->members[i]);
		p->voter = votes(p->role);
	}
	for (size_t i = 0; i < m->n_old; i++) {
		struct raft_progress *p = take_in(r, to, &n, &m->old[i]);
		p->old_voter = votes(m->old[i].role);
	}
	keep_leaving(r, to, &n);
	free(r->members);
	r->members = to;
	r->n_members = n;
	struct raft_progress *target = r->transferee ? raft__member(r, r->transferee) : NULL;
	if (!target || !target->voter)
		r->transferee = RAFT_NONE;
}

void raft__conf_push(struct raft *r, uint64_t index, const struct raft_membership *m)
{
	r->confs = raft__grow(r->confs, &r->cap_confs, r->n_confs + 1, sizeof(*r->confs));
	r->confs[r->n_confs].index = index;
	r->confs[r->n_confs++].membership = *m;
	raft__conf_members(r);
}

void raft__conf_cut(struct raft *r, uint64_t from)
{
	if (RAFT_HAS_BUG(NO_ROLLBACK))
		return;
	size_t n = r->n_confs;
	while (r->n_confs > 1 && raft__conf(r)->index >= from)
		r->n_confs--;
	if (r->n_confs != n)
		raft__conf_members(r);
}

void raft__conf_applied(struct raft *r)
{
	size_t gone = 0;
	while (gone + 1 < r->n_confs && r->confs[gone + 1].index <= r->log.applied)
		gone++;
	r->n_confs -= gone;
	memmove(r->confs, r->confs + gone, r->n_confs * sizeof(*r->confs));
}

/* A snapshot is the new ground; what the log (if it goes on) says after it stays. */
void raft__conf_restart(struct raft *r, uint64_t index, const struct raft_membership *m)
{
	size_t from = 0;
	while (from < r->n_confs && r->confs[from].index <= index)
		from++;
	size_t left = r->log.last > index ? r->n_confs - from : 0;
	r->confs = raft__grow(r->confs, &r->cap_confs, left + 1, sizeof(*r->confs));
	memmove(r->confs + 1, r->confs + from, left * sizeof(*r->confs));
	r->confs[0].index = index;
	r->confs[0].membership = *m;
	r->n_confs = left + 1;
	raft__conf_members(r);
}

static int load_from_log(struct raft *r)
{
	struct raft_entry some[64];
	for (uint64_t at = r->log.applied + 1; at <= r->log.last;) {
		uint64_t hi = r->log.last + 1 - at > 64 ? at + 64 : r->log.last + 1;
		int n = r->config.read_entries(r->config.arg, at, hi, some, 64);
		if (n <= 0)
			return n ? n : -EIO;
		for (int i = 0; i < n; i++) {
			struct raft_membership m;
			if (some[i].type != RAFT_ENTRY_CONFIG)
				continue;
			int rc = raft_membership_decode(some[i].data, some[i].len, &m, NULL, NULL);
			if (rc)
				return rc;
			raft__conf_push(r, some[i].index, &m);
		}
		at += (uint64_t)n;
	}
	return 0;
}

int raft__conf_load(struct raft *r)
{
	const struct raft_config *c = &r->config;
	struct raft_membership m = {.n_members = c->n_members, .n_old = c->n_old_members};
	if (m.n_members > RAFT_MEMBERS_MAX || m.n_old > RAFT_MEMBERS_MAX)
		return -EINVAL;
	if (m.n_members)
		memcpy(m.members, c->members, m.n_members * sizeof(*m.members));
	if (m.n_old)
		memcpy(m.old, c->old_members, m.n_old * sizeof(*m.old));
	if ((m.n_members || m.n_old) && !raft__conf_valid(&m))
		return -EINVAL;
	raft__conf_push(r, r->log.applied, &m);
	return RAFT_HAS_BUG(RESTART_CONFIG) ? 0 : load_from_log(r);
}

/* ---- changes ---- */

static void append_conf(struct raft *r, const struct raft_membership *m, const void *context, size_t len)
{
	uint8_t *bytes = raft__alloc(RAFT_MEMBERSHIP_BYTES_MAX + len);
	size_t n = raft_membership_encode(m, bytes);
	if (len)
		memcpy(bytes + n, context, len);
	raft__append(r, r->term, RAFT_ENTRY_CONFIG, bytes, n + len);
	free(bytes);
}

static bool same(const struct raft_membership *a, const struct raft_membership *b)
{
	if (a->n_members != b->n_members)
		return false;
	for (size_t i = 0; i < a->n_members; i++) {
		const struct raft_member *m = find(b->members, b->n_members, a->members[i].id);
		if (!m || m->role != a->members[i].role)
			return false;
	}
	return true;
}

int raft_change_members(struct raft *r, const struct raft_member *members, size_t n, const void *context, size_t len,
			uint64_t *ret_index, uint64_t *ret_term)
{
	if (r->state != RAFT_LEADER)
		return -EAGAIN;
	const struct raft_conf_at *now = raft__conf(r);
	bool settled = raft__committed_in_term(r) && now->index <= r->log.commit && !raft__joint(r);
	if ((!settled && !RAFT_HAS_BUG(SINGLE_STEP)) || r->transferee)
		return -EBUSY;
	struct raft_membership m = {.n_members = n, .n_old = now->membership.n_members};
	if (n > RAFT_MEMBERS_MAX || len > RAFT_CONTEXT_BYTES_MAX)
		return -EINVAL;
	memcpy(m.members, members, n * sizeof(*members));
	memcpy(m.old, now->membership.members, m.n_old * sizeof(*m.old));
	if (!raft__conf_valid(&m))
		return -EINVAL;
	if (same(&m, &now->membership))
		return -EALREADY;
	if (RAFT_HAS_BUG(SINGLE_STEP))
		m.n_old = 0;
	append_conf(r, &m, context, len);
	*ret_index = r->log.last;
	*ret_term = r->term;
	if (RAFT_HAS_BUG(CONFIG_BEFORE_COMMIT))
		raft__conf_committed(r);
	return 0;
}

/* Whoever is left is better led at once than after an election timeout. */
static void step_down(struct raft *r)
{
	const struct raft_progress *best = NULL;
	for (size_t i = 0; i < r->n_members; i++) {
		const struct raft_progress *p = &r->members[i];
		if (p->voter && p->role == RAFT_VOTER && p->id != r->config.id && (!best || p->match > best->match))
			best = p;
	}
	if (best)
		raft__send(r, RAFT_MSG_TIMEOUT_NOW, best->id);
	raft__become_follower(r, r->term, RAFT_NONE);
}

void raft__conf_committed(struct raft *r)
{
	const struct raft_conf_at *now = raft__conf(r);
	if (now->index > r->log.commit && !RAFT_HAS_BUG(CONFIG_BEFORE_COMMIT))
		return;
	if (now->membership.n_old) {
		struct raft_membership m = now->membership;
		m.n_old = 0;
		append_conf(r, &m, NULL, 0);
		return;
	}
	const struct raft_progress *self = raft__self(r);
	if (now->index <= r->log.commit && !(self && self->voter && self->role == RAFT_VOTER))
		step_down(r);
}

/* Who left is let go once it knows, or does not answer. */
void raft__conf_sweep(struct raft *r)
{
	uint64_t index = raft__conf(r)->index;
	size_t left = 0;
	for (size_t i = 0; i < r->n_members; i++) {
		const struct raft_progress *p = &r->members[i];
		bool told = p->match >= index && p->sent_commit >= index;
		if (p->leaving && p->id != r->config.id && (told || !p->recent_active))
			continue;
		if (left != i)
			r->members[left] = *p;
		left++;
	}
	r->n_members = left;
}

void raft_get_membership(const struct raft *r, struct raft_membership *ret)
{
	*ret = raft__conf(r)->membership;
}

int raft_get_progress(const struct raft *r, uint64_t id, struct raft_peer *ret)
{
	if (r->state != RAFT_LEADER)
		return -EAGAIN;
	for (size_t i = 0; i < r->n_members; i++) {
		const struct raft_progress *p = &r->members[i];
		if (p->id != id || p->leaving)
			continue;
		*ret = (struct raft_peer){.role = p->role,
					  .state = p->state,
					  .match = p->match,
					  .snapshot_offset = p->state == RAFT_SNAPSHOT ? p->snap_offset : 0,
					  .recent_active = p->recent_active || p->id == r->config.id};
		return 0;
	}
	return -ENOENT;
}
