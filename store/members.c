/* Several members: raft's messages through the peer seam, and calls of members that do not lead.
 *
 *   waiting -> forwarded -> its fate is told -> inflight, as if proposed here -> applied, answered
 *                        -> no answer in time: unknown
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "store/engine.h"

#define FORWARDED_MAX_US 5000000u
#define PAST_LEADER_US   500000u /* so long an answer of its may still be under way */
#define READ_AGAIN_US    300000u
#define ASK_US           1000000u

void members__send(struct engine *e, bool after_sync)
{
	for (size_t i = 0; i < e->rd.n_messages; i++) {
		const struct raft_msg *m = &e->rd.messages[i];
		_cleanup_buf_ struct buf b = BUF_INIT;
		if ((m->after_sync && !BUG(BUG_MESSAGES_BEFORE_SYNC)) == after_sync && e->peer &&
		    store_peer_encode(m, &b) == 0)
			e->peer->ops->send(e->peer, m->to, b.data, b.len);
	}
}

/* One that was removed while it was away is told, and not heard. */
static bool answer_removed(struct engine *e, uint64_t from)
{
	const struct store_state_member *row = roster__find(e, from);
	struct raft_membership now;
	if (!row || !row->removed)
		return false;
	raft_get_membership(e->raft, &now);
	if (roster__in(&now, from))
		return false;
	_cleanup_buf_ struct buf b = BUF_INIT;
	store_peer_encode_notice(STORE_PEER_REMOVED, &b);
	e->peer->ops->send(e->peer, from, b.data, b.len);
	return true;
}

/* By the newest configuration: one that has just joined may have it in its log and not be told that it is committed. */
static void take_notice(struct engine *e, uint64_t from, enum store_peer_notice what)
{
	struct raft_membership now;
	raft_get_membership(e->raft, &now);
	if (what == STORE_PEER_ASKS)
		answer_removed(e, from);
	else if (roster__in(&now, from) && roster__role(&now, from) != STORE_ROLE_WITNESS && !e->removed)
		roster__leave(e);
}

/* Nobody leads, as far as this member hears. A voter that was removed asks for votes in vain, a learner not even that. */
static void ask_around(struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	uint64_t now = env_now_us(e->env);
	if (rs.leader != RAFT_NONE || !e->peer || e->removed) {
		e->led_us = now;
		return;
	}
	if (now - e->led_us < ASK_US)
		return;
	e->led_us = now;
	_cleanup_buf_ struct buf b = BUF_INIT;
	store_peer_encode_notice(STORE_PEER_ASKS, &b);
	struct raft_membership all;
	raft_get_membership(e->raft, &all);
	for (size_t i = 0; i < all.n_members; i++)
		if (all.members[i].id != e->member)
			e->peer->ops->send(e->peer, all.members[i].id, b.data, b.len);
}

static bool is_vote(enum raft_msg_type type)
{
	return type == RAFT_MSG_VOTE || type == RAFT_MSG_PRE_VOTE;
}

/* That is what it is called, and where it is; nothing else is a witness's to propose. */
static bool says_who_it_is(uint64_t from, const struct raft_entry *entry)
{
	struct store_cmd cmd = {0};
	if (store_cmd_decode(&cmd, entry->data, entry->len, NULL) < 0)
		return false;
	bool own = cmd.kind == CMD_MEMBER_SET && cmd.members[0].id == from && cmd.members[0].wish == STORE_ROLE_NONE &&
		   !cmd.number;
	store_cmd_done(&cmd);
	return own;
}

static bool witness_may(const struct raft_msg *m)
{
	size_t i = 0;
	switch (m->type) {
	case RAFT_MSG_APPEND_RESP:
	case RAFT_MSG_HEARTBEAT_RESP:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_SNAPSHOT_RESP:
	case RAFT_MSG_READ_INDEX:
		return true;
	case RAFT_MSG_PROPOSE:
		while (i < m->n_entries && says_who_it_is(m->from, &m->entries[i]))
			i++;
		return i == m->n_entries;
	default:
		return false;
	}
}

static bool of_a_leader(enum raft_msg_type type)
{
	return type == RAFT_MSG_APPEND || type == RAFT_MSG_HEARTBEAT || type == RAFT_MSG_SNAPSHOT ||
	       type == RAFT_MSG_TIMEOUT_NOW;
}

/* Whoever has the key of a witness, or of a member that is out, neither leads nor writes with it. */
static bool fits_role(struct engine *e, const struct raft_msg *m)
{
	struct raft_status rs;
	enum store_role role = roster__role(&e->membership, m->from);
	const struct store_state_member *row = role == STORE_ROLE_NONE ? roster__find(e, m->from) : NULL;
	if (role == STORE_ROLE_WITNESS)
		return witness_may(m);
	if (!row || !row->removed || is_vote(m->type)) /* who asks for votes is told that it is out */
		return true;
	raft_get_status(e->raft, &rs);
	return !of_a_leader(m->type) && m->term <= rs.term;
}

static void receive(void *arg, uint64_t from, const void *data, size_t len)
{
	struct engine *e = arg;
	struct store_peer_msg m;
	MAGIC_CHECK(e, ENGINE_MAGIC);
	if (e->failed || e->closing || members__stuck(e))
		return; /* a message may always be lost */
	enum store_peer_notice notice = store_peer_notice(data, len);
	if (notice)
		take_notice(e, from, notice);
	if (notice || store_peer_decode(data, len, &m))
		return;
	failpoint(MEMBERS_RECEIVE);
	bool good = m.msg.from == from && fits_role(e, &m.msg) && !(is_vote(m.msg.type) && answer_removed(e, from));
	int rc = good ? raft_step(e->raft, &m.msg) : -EINVAL;
	if (rc == 0) {
		wishes__heard(e, from);
		env_post(e->env, &e->pump);
	}
	store_peer_msg_done(&m);
	_cleanup_err_ struct err err = ERR_INIT;
	if (rc == -EPROTONOSUPPORT) {
		err_set(&err, rc,
			"member %016" PRIx64
			" sent a configuration of a version this program does not know: use the newer program",
			from);
		replica__fatal(e, &err);
	}
}

static void unreachable(void *arg, uint64_t to)
{
	struct engine *e = arg;
	MAGIC_CHECK(e, ENGINE_MAGIC);
	raft_report_unreachable(e->raft, to);
}

bool members__stuck(const struct engine *e)
{
	return env_timer_active(&e->retry);
}

void members__open(struct engine *e)
{
	if (!e->peer)
		return;
	e->peer->receive = receive;
	e->peer->unreachable = unreachable;
	e->peer->arg = e;
	members__tell(e);
}

void members__close(struct engine *e)
{
	if (!e->peer || e->peer->arg != e)
		return;
	e->peer->receive = NULL;
	e->peer->unreachable = NULL;
}

static bool same_members(const struct raft_member *a, const struct raft_member *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i].id != b[i].id || a[i].role != b[i].role)
			return false;
	return true;
}

static bool same(const struct raft_membership *a, const struct raft_membership *b)
{
	return a->n_members == b->n_members && a->n_old == b->n_old &&
	       same_members(a->members, b->members, a->n_members) && same_members(a->old, b->old, a->n_old);
}

/* Whom the log names counts at once, committed or not; where they are follows as rows are applied. */
void members__tell(struct engine *e)
{
	struct raft_membership now;
	if (!e->peer || !e->peer->ops->members)
		return;
	raft_get_membership(e->raft, &now);
	if (!e->members_due && same(&now, &e->told))
		return;
	e->members_due = false;
	e->told = now;
	size_t n;
	_cleanup_free_ struct store_member *list = roster__list(e, &n);
	if (n)
		e->peer->ops->members(e->peer, list, n);
}

/* Not the leader: the calls go to it, each once. */
void members__forward(struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	if (e->failed || rs.state == RAFT_LEADER || rs.leader == RAFT_NONE)
		return;
	while (!list_empty(&e->waiting)) {
		struct call *c = LIST_ENTRY(e->waiting.next, struct call, node);
		failpoint(MEMBERS_FORWARD);
		if (raft_forward(e->raft, e->next_forward_id, c->cmd.bytes.data, c->cmd.bytes.len))
			return;
		c->forward_id = e->next_forward_id++;
		c->forward_term = rs.term;
		c->since_us = env_now_us(e->env);
		list_del(&c->node);
		list_push(&e->forwarded, &c->node);
	}
}

static void unknown(struct engine *e, struct call *c, const char *why)
{
	_cleanup_err_ struct err err = ERR_INIT;
	list_del(&c->node);
	e->queued_bytes -= c->bytes;
	err_status(&err, ERR_TIMEOUT, "%s: whether the write happened is unknown", why);
	err.code = -ECANCELED;
	call__answer_error(c, &err);
}

static void refused(struct engine *e, struct call *c)
{
	_cleanup_err_ struct err err = ERR_INIT;
	list_del(&c->node);
	e->queued_bytes -= c->bytes;
	err_status(&err, ERR_SERVICE_UNAVAILABLE, "the store has no leader that takes this just now");
	call__answer_error(c, &err);
}

/* By index, as they will be applied. */
static void into_flight(struct engine *e, struct call *c)
{
	list_del(&c->node);
	LIST_EACH (&e->inflight, at, struct call, node)
		if (at->index > c->index) {
			list_add_before(&at->node, &c->node);
			return;
		}
	list_push(&e->inflight, &c->node);
}

void members__fates(struct engine *e)
{
	for (size_t i = 0; i < e->rd.n_fates; i++) {
		const struct raft_fate *f = &e->rd.fates[i];
		failpoint(MEMBERS_FATE);
		LIST_EACH (&e->forwarded, c, struct call, node) {
			if (c->forward_id != f->id)
				continue;
			c->index = f->index;
			c->term = f->term;
			if (f->refused)
				refused(e, c);
			else if (f->index <= e->applied)
				unknown(e, c, "the leader's answer came late");
			else
				into_flight(e, c);
			break;
		}
	}
}

/* Whatever was to be applied before this entry was replaced by another leader's. */
void members__passed(struct engine *e, uint64_t index, uint64_t term)
{
	LIST_EACH (&e->inflight, c, struct call, node) {
		if (c->index > index || (c->index == index && c->term == term))
			return;
		unknown(e, c, "another leader took over");
	}
}

void members__tick(struct engine *e)
{
	uint64_t now = env_now_us(e->env);
	ask_around(e);
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	if (rs.leader == RAFT_NONE || rs.term != e->leader_term) {
		e->leader_term = rs.leader == RAFT_NONE ? 0 : rs.term;
		e->leader_us = now;
	}
	LIST_EACH (&e->forwarded, c, struct call, node)
		if (BUG(BUG_FATE_GUESSED) && now - c->since_us > 100000) {
			list_del(&c->node);
			list_push(&e->waiting, &c->node);
		} else if (now - c->since_us > FORWARDED_MAX_US) {
			unknown(e, c, "the leader did not answer");
		} else if (e->leader_term && e->leader_term != c->forward_term && now - e->leader_us > PAST_LEADER_US) {
			unknown(e, c, "another leader took over");
		}
	LIST_EACH (&e->inflight, c, struct call, node)
		if (c->forward_id && now - c->since_us > 2 * FORWARDED_MAX_US)
			unknown(e, c, "the leader did not answer");
	LIST_EACH (&e->reads, c, struct call, node)
		if (c->read_id && !c->index && now - c->asked_us > READ_AGAIN_US)
			c->read_id = 0; /* the question or its answer was lost: asked anew */
}
