/* The rows of the members: what each is called, where it is and what it is to be. Changed by log entries alone, so they
 * are the same on every member at the same index; every member of the configuration as of `applied` has one. */
#include <errno.h>
#include <inttypes.h>

#include "store/engine.h"

static const struct raft_member *find(const struct raft_member *members, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (members[i].id == id)
			return &members[i];
	return NULL;
}

const struct raft_member *roster__in(const struct raft_membership *m, uint64_t id)
{
	const struct raft_member *now = find(m->members, m->n_members, id);
	return now ? now : find(m->old, m->n_old, id);
}

enum store_role roster__role(const struct raft_membership *m, uint64_t id)
{
	const struct raft_member *in = roster__in(m, id);
	if (!in)
		return STORE_ROLE_NONE;
	return in->role == RAFT_WITNESS   ? STORE_ROLE_WITNESS
	       : in->role == RAFT_LEARNER ? STORE_ROLE_LEARNER
					  : STORE_ROLE_VOTER;
}

struct store_state_member *roster__find(const struct engine *e, uint64_t id)
{
	for (size_t i = 0; i < e->n_rows; i++)
		if (e->rows[i].m.id == id)
			return &e->rows[i];
	return NULL;
}

static struct store_state_member *add_row(struct engine *e, const struct store_state_member *row)
{
	GROW(e->rows, e->cap_rows, e->n_rows + 1);
	size_t at = e->n_rows++;
	for (; at && e->rows[at - 1].m.id > row->m.id; at--)
		e->rows[at] = e->rows[at - 1];
	e->rows[at] = *row;
	return &e->rows[at];
}

void roster__load(struct engine *e, const struct store_state_member *row)
{
	add_row(e, row);
}

void roster__restored(struct engine *e, const struct store_state_member *rows, size_t n)
{
	e->n_rows = 0;
	roster__forget_early(e);
	for (size_t i = 0; i < n; i++)
		add_row(e, &rows[i]);
	roster__complete(e);
	if (roster__is_out(e))
		roster__leave(e);
}

static void changed(struct engine *e, struct store_state_member *row)
{
	writer__member_changed(e, row);
	e->members_due = e->wishes_due = true;
}

/* Not written: it follows from the configuration until something is said of that member. */
static void give_rows(struct engine *e, const struct raft_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (roster__find(e, members[i].id))
			continue;
		struct store_state_member row = {.m = {.id = members[i].id}};
		row.m.wish = roster__role(&e->membership, members[i].id);
		add_row(e, &row);
	}
}

void roster__complete(struct engine *e)
{
	give_rows(e, e->membership.members, e->membership.n_members);
	give_rows(e, e->membership.old, e->membership.n_old);
	e->witness = e->witness || roster__role(&e->membership, e->member) == STORE_ROLE_WITNESS;
	e->members_due = e->wishes_due = true;
}

/* ---- the rules ---- */

struct votes {
	size_t members, full, witnesses;
};

static void count(struct votes *v, enum store_role wish)
{
	v->members += wish != STORE_ROLE_NONE;
	v->full += wish == STORE_ROLE_VOTER;
	v->witnesses += wish == STORE_ROLE_WITNESS;
}

/* What would be if that one's wish were this, and the other one (or 0) were gone. */
static int check_votes(struct engine *e, uint64_t id, enum store_role wish, uint64_t gone, struct err *err)
{
	struct votes v = {0};
	count(&v, wish);
	for (size_t i = 0; i < e->n_rows; i++)
		if (e->rows[i].m.id != id && e->rows[i].m.id != gone && !e->rows[i].removed)
			count(&v, e->rows[i].m.wish);
	if (v.members > STORE_MEMBERS_MAX)
		return err_set(err, -E2BIG, "a cluster has at most %u members", STORE_MEMBERS_MAX);
	if (!v.full)
		return err_set(err, -EINVAL, "it is the last voter: the cluster would have nobody to lead it");
	if (v.witnesses > v.full)
		return err_set(err, -EINVAL, "at most half of the voters may be witnesses: add a full voter first");
	return 0;
}

static int check_row(const struct store_state_member *row, uint64_t id, struct err *err)
{
	if (!row)
		return err_set(err, -ENOENT, "the cluster has no member %016" PRIx64, id);
	if (row->removed || row->m.wish == STORE_ROLE_NONE)
		return err_set(err, -ENOENT, "member %016" PRIx64 " was removed, and its id never comes back", id);
	return 0;
}

static int check_name(const struct engine *e, const struct store_member *m, uint64_t replaces, struct err *err)
{
	for (size_t i = 0; i < e->n_rows && *m->name; i++) {
		const struct store_state_member *row = &e->rows[i];
		bool stays = !row->removed && row->m.wish != STORE_ROLE_NONE && row->m.id != replaces;
		if (stays && row->m.id != m->id && streq(row->m.name, m->name))
			return err_set(err, -EEXIST, "another member (%016" PRIx64 ") is called %s", row->m.id,
				       m->name);
	}
	return 0;
}

static int check_wish(struct engine *e, uint64_t id, enum store_role wish, uint64_t replaces, struct err *err)
{
	const struct store_state_member *row = roster__find(e, id);
	if (row && wish != STORE_ROLE_NONE && wish != row->m.wish &&
	    (wish == STORE_ROLE_WITNESS || row->m.wish == STORE_ROLE_WITNESS))
		return err_set(err, -EINVAL,
			       "a witness keeps no data: it is one from its first day to its last. Remove it and add "
			       "another member");
	return check_votes(e, id, wish, replaces, err);
}

static int check_set(struct engine *e, const struct store_member *m, uint64_t replaces, struct err *err)
{
	const struct store_state_member *row = roster__find(e, m->id);
	int rc = row || m->wish == STORE_ROLE_NONE ? check_row(row, m->id, err) : 0;
	if (!rc && replaces)
		rc = replaces == m->id ? err_set(err, -EINVAL, "a member cannot replace itself")
				       : check_row(roster__find(e, replaces), replaces, err);
	if (!rc)
		rc = check_name(e, m, replaces, err);
	if (!rc && m->wish != STORE_ROLE_NONE)
		rc = check_wish(e, m->id, m->wish, replaces, err);
	return rc;
}

/* ---- commands ---- */

/* One that raft never had is out at once. */
static void set_wish(struct engine *e, struct store_state_member *row, enum store_role wish)
{
	row->m.wish = wish;
	if (wish == STORE_ROLE_NONE && !roster__in(&e->membership, row->m.id))
		row->removed = true;
	changed(e, row);
}

static void set(struct engine *e, const struct store_member *m, uint64_t replaces, uint64_t level)
{
	struct store_state_member *row = roster__find(e, m->id);
	if (!row)
		row = add_row(e, &(struct store_state_member){.m = {.id = m->id}});
	enum store_role wish = m->wish == STORE_ROLE_NONE ? row->m.wish : m->wish;
	memcpy(row->m.name, m->name, sizeof(row->m.name));
	memcpy(row->m.peer, m->peer, sizeof(row->m.peer));
	memcpy(row->m.api, m->api, sizeof(row->m.api));
	row->level = level;
	set_wish(e, row, wish);
	if (m->id == e->member)
		env_timer_start(e->env, &e->announce, 0); /* if somebody else said it, it may not be so */
	if (replaces)
		set_wish(e, roster__find(e, replaces), STORE_ROLE_NONE);
}

static int move_leader(struct engine *e, uint64_t to, uint64_t term, struct err *err)
{
	const struct raft_member *m = to ? find(e->membership.members, e->membership.n_members, to) : NULL;
	struct raft_status rs;
	if (to && !m)
		return err_set(err, -ENOENT, "the cluster has no member %016" PRIx64, to);
	if (m && m->role != RAFT_VOTER)
		return err_set(err, -EINVAL, "member %016" PRIx64 " is no voter, and cannot lead", to);
	raft_get_status(e->raft, &rs);
	if (rs.state == RAFT_LEADER && rs.term == term) {
		e->move_to = to;
		e->move_due = e->wishes_due = true;
	}
	return 0;
}

/* A witness is told this way; all others have it from the entries. */
static void take_roster(struct engine *e, const struct store_cmd *cmd)
{
	for (size_t i = 0; i < cmd->n_members && e->witness; i++) {
		struct store_state_member *row = roster__find(e, cmd->members[i].id);
		if (!row)
			row = add_row(e, &(struct store_state_member){0});
		row->m = cmd->members[i];
		changed(e, row);
	}
	if (e->witness)
		level__told(e, cmd->level);
}

/* Whoever reads the log from its first entry on does not know who founded the cluster before the first configuration says
 * so (as what was): until then nothing can be decided, and its state is not written. */
static void keep_for_later(struct engine *e, const struct store_cmd *cmd, uint64_t term, struct call *call)
{
	GROW(e->early, e->cap_early, e->n_early + 1);
	struct early_cmd *early = &e->early[e->n_early++];
	*early = (struct early_cmd){.term = term};
	buf_add(&early->bytes, cmd->bytes.data, cmd->bytes.len);
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_TIMEOUT, "this member has just joined: whether the change was made is unknown");
	err.code = -ECANCELED;
	if (call)
		call__answer_error(call, &err);
}

static void found(struct engine *e, const struct raft_membership *m)
{
	e->membership = (struct raft_membership){.n_members = m->n_old ? m->n_old : m->n_members};
	memcpy(e->membership.members, m->n_old ? m->old : m->members,
	       e->membership.n_members * sizeof(*e->membership.members));
	roster__complete(e);
	for (size_t i = 0; i < e->n_early; i++) {
		struct store_cmd cmd;
		if (store_cmd_decode(&cmd, e->early[i].bytes.data, e->early[i].bytes.len, NULL) == 0) {
			roster__apply(e, &cmd, e->early[i].term, NULL);
			store_cmd_done(&cmd);
		}
	}
	roster__forget_early(e);
}

void roster__forget_early(struct engine *e)
{
	for (size_t i = 0; i < e->n_early; i++)
		buf_done(&e->early[i].bytes);
	free(STEAL(e->early));
	e->n_early = e->cap_early = 0;
}

void roster__apply(struct engine *e, const struct store_cmd *cmd, uint64_t term, struct call *call)
{
	if (!e->membership.n_members) {
		keep_for_later(e, cmd, term, call);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	uint64_t answer = cmd->number;
	int rc = 0;
	switch (cmd->kind) {
	case CMD_MEMBER_SET:
		answer = cmd->members[0].id;
		rc = check_set(e, &cmd->members[0], cmd->number, &err);
		if (!rc)
			set(e, &cmd->members[0], cmd->number, cmd->level);
		break;
	case CMD_MEMBER_WISH:
		rc = check_row(roster__find(e, cmd->number), cmd->number, &err);
		if (!rc)
			rc = check_wish(e, cmd->number, cmd->wish, 0, &err);
		if (!rc)
			set_wish(e, roster__find(e, cmd->number), cmd->wish);
		break;
	case CMD_MOVE_LEADER:
		rc = move_leader(e, cmd->number, term, &err);
		break;
	case CMD_LEVEL:
		level__apply(e, cmd->number, call);
		return;
	default:
		take_roster(e, cmd);
		break;
	}
	if (call && rc)
		call__answer_error(call, &err);
	else if (call)
		call__answer_number(call, answer);
}

/* ---- configurations ---- */

int roster__removed_err(const struct engine *e, struct err *err)
{
	return err_set(err, -ESTALE,
		       "this member (%016" PRIx64 ") was removed from its cluster, and its id never comes back: to let "
		       "the server join again, start it with an empty --dir and a new token",
		       e->member);
}

bool roster__is_out(const struct engine *e)
{
	const struct store_state_member *own = roster__find(e, e->member);
	return own && own->removed;
}

void roster__leave(struct engine *e)
{
	struct store_state_member *own = roster__find(e, e->member);
	e->removed = true;
	if (own && !own->removed) {
		own->removed = true;
		changed(e, own);
	}
	env_post(e->env, &e->pump);
}

void roster__conf(struct engine *e, const struct raft_membership *m)
{
	if (!e->membership.n_members)
		found(e, m);
	struct raft_membership was = e->membership;
	e->membership = *m;
	e->has_membership = true;
	roster__complete(e);
	for (size_t i = 0; i < e->n_rows && !m->n_old; i++) {
		struct store_state_member *row = &e->rows[i];
		bool leaves = row->m.wish == STORE_ROLE_NONE || roster__in(&was, row->m.id);
		if (row->removed || !leaves || roster__in(m, row->m.id))
			continue;
		row->removed = true;
		changed(e, row);
	}
}

/* ---- what others see ---- */

static int by_id(const void *a, const void *b)
{
	const struct store_member *x = a, *y = b;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Those that are, or are to be, in the cluster; also one that this member's log names and its rows do not yet. */
struct store_member *roster__list(const struct engine *e, size_t *ret_n)
{
	struct raft_membership now;
	raft_get_membership(e->raft, &now);
	struct store_member *list = NEW_N(struct store_member, e->n_rows + now.n_members + now.n_old + 1);
	size_t n = 0;
	for (size_t i = 0; i < e->n_rows; i++) {
		if (e->rows[i].removed && !roster__in(&now, e->rows[i].m.id))
			continue;
		list[n] = e->rows[i].m;
		list[n++].role = roster__role(&now, e->rows[i].m.id);
	}
	for (size_t i = 0; i < now.n_members + now.n_old; i++) {
		uint64_t id = i < now.n_members ? now.members[i].id : now.old[i - now.n_members].id;
		size_t k = 0;
		while (k < n && list[k].id != id)
			k++;
		if (k == n)
			list[n++] = (struct store_member){
				.id = id, .role = roster__role(&now, id), .wish = roster__role(&now, id)};
	}
	qsort(list, n, sizeof(*list), by_id);
	*ret_n = n;
	return list;
}
