/* The calls about members, and what a member says of itself when it has started. */
#include "store/cluster.h"

#include <errno.h>

#include "lib/core/log.h"
#include "store/engine.h"

#define ANNOUNCE_US 200000u
#define RETRY_US    1000000u

/* ---- another engine ---- */

struct refusal {
	struct env_post post;
	store_members_cb members;
	store_rev_cb number;
	void *arg;
};

static void refuse(struct env_post *p)
{
	struct refusal *r = CONTAINER_OF(p, struct refusal, post);
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -ENOTSUP, "the members of an external store are its own affair");
	if (r->members)
		r->members(r->arg, &err, NULL);
	else if (r->number)
		r->number(r->arg, &err, 0);
	free(r);
}

static bool foreign(struct store *s, store_members_cb members, store_rev_cb number, void *arg)
{
	if (store__is_ours(s))
		return false;
	struct refusal *r = NEW(struct refusal);
	*r = (struct refusal){.post = {.fn = refuse}, .members = members, .number = number, .arg = arg};
	env_post(s->env, &r->post);
	return true;
}

/* ---- calls ---- */

void cluster__answer_members(struct engine *e, struct call *c)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	struct store_members all = {.cluster = e->cluster,
				    .self = e->member,
				    .leader = rs.leader,
				    .term = rs.term,
				    .commit = rs.commit,
				    .applied = e->applied,
				    .level = (unsigned)MAX(e->level, (uint64_t)1)};
	_cleanup_free_ struct store_member *list = roster__list(e, &all.n);
	for (size_t i = 0; i < all.n; i++) {
		struct store_member *m = &list[i];
		struct raft_peer p;
		m->leader = m->id == rs.leader;
		if (raft_get_progress(e->raft, m->id, &p))
			continue;
		m->active = wishes__active(e, m->id);
		m->match = p.match;
	}
	const char *alarms[] = {e->alarm};
	all.alarms = alarms;
	all.n_alarms = *e->alarm ? 1 : 0;
	all.members = list;
	c->cb.members(c->arg, NULL, &all);
	call__free(c);
}

void store_members(struct store *s, bool serializable, store_members_cb cb, void *arg)
{
	if (foreign(s, cb, NULL, arg))
		return;
	struct engine *e = engine_of(s);
	struct call *c = call__new(e, CALL_MEMBERS, arg);
	c->cb.members = cb;
	c->range.serializable = serializable;
	call__submit_read(e, c);
}

static struct call *number_call(struct store *s, store_rev_cb cb, void *arg)
{
	if (foreign(s, NULL, cb, arg))
		return NULL;
	struct call *c = call__new(engine_of(s), CALL_NUMBER, arg);
	c->cb.number = cb;
	return c;
}

void store_member_add(struct store *s, const struct store_member *m, uint64_t replaces, store_rev_cb cb, void *arg)
{
	struct call *c = number_call(s, cb, arg);
	if (!c)
		return;
	struct engine *e = engine_of(s);
	_cleanup_err_ struct err err = ERR_INIT;
	struct store_member add = *m;
	if (!add.id)
		add.id = cluster__new_id(e->env);
	int rc = 0;
	if (add.wish == STORE_ROLE_NONE || (unsigned)add.wish > STORE_ROLE_WITNESS)
		rc = err_set(&err, -EINVAL, "a member is added as a voter, a learner or a witness");
	else if (!*add.name)
		rc = err_set(&err, -EINVAL, "a member needs a name");
	if (!rc)
		rc = store_cmd_member_set(&c->cmd, &add, replaces, 1, &err); /* until it says more */
	if (rc)
		call__refuse(e, c, &err);
	else
		call__submit(e, c);
}

void store_member_wish(struct store *s, uint64_t id, enum store_role wish, store_rev_cb cb, void *arg)
{
	struct call *c = number_call(s, cb, arg);
	if (!c)
		return;
	_cleanup_err_ struct err err = ERR_INIT;
	if ((unsigned)wish > STORE_ROLE_WITNESS) { /* no member could read it in the log */
		err_set(&err, -EINVAL, "a member cannot be made that");
		call__refuse(engine_of(s), c, &err);
		return;
	}
	store_cmd_member_wish(&c->cmd, id, wish);
	call__submit(engine_of(s), c);
}

void store_move_leader(struct store *s, uint64_t id, store_rev_cb cb, void *arg)
{
	struct call *c = number_call(s, cb, arg);
	if (!c)
		return;
	store_cmd_number(&c->cmd, CMD_MOVE_LEADER, id);
	call__submit(engine_of(s), c);
}

/* SQLite's integers and people who compare lists are the reason for 63 bits. */
uint64_t cluster__new_id(struct env *env)
{
	return (env_random_u64(env) >> 1) | 1;
}

/* ---- what this member says of itself ---- */

static bool take(char *to, size_t size, const char *from)
{
	if (!from || streq(to, from))
		return false;
	snprintf(to, size, "%s", from);
	return true;
}

static bool differs(const struct engine *e, struct store_member *m)
{
	bool name = take(m->name, sizeof(m->name), e->name);
	bool peer = take(m->peer, sizeof(m->peer), e->peer_address);
	return take(m->api, sizeof(m->api), e->api_address) || name || peer;
}

static bool level_differs(const struct engine *e, const struct store_state_member *row)
{
	return MAX(row->level, (uint64_t)1) != e->level_max;
}

/* It applies no rows, and cannot look: what it said is noted here, for the next start. */
static void witness_announced(struct engine *e)
{
	struct store_state_member *row = roster__find(e, e->member);
	env_timer_stop(e->env, &e->announce);
	if (!row || !level_differs(e, row))
		return;
	row->level = e->level_max;
	writer__member_changed(e, row);
}

static void announced(void *arg, const struct err *err, _unused_ uint64_t value)
{
	struct engine *e = arg;
	e->announcing = false;
	if (e->closing || e->failed)
		return;
	if (err && (err->code == -EEXIST || err->code == -EINVAL || err->code == -E2BIG)) {
		log_error("store", "the cluster is not told the name and addresses of this member: %s", err->message);
		env_timer_stop(e->env, &e->announce);
	} else if (!err && e->witness) {
		witness_announced(e);
	} else if (err) {
		env_timer_start(e->env, &e->announce, RETRY_US);
	}
}

static void announce(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, announce);
	MAGIC_CHECK(e, ENGINE_MAGIC);
	if (e->closing || e->failed)
		return;
	const struct store_state_member *row = roster__find(e, e->member);
	struct store_member m = row ? row->m : (struct store_member){0};
	bool known = !differs(e, &m);
	if (e->recovered && row && !e->announcing && known && !level_differs(e, row))
		return; /* they know */
	env_timer_start(e->env, t, ANNOUNCE_US);
	if (!e->recovered || !row || e->announcing)
		return;
	m.wish = STORE_ROLE_NONE; /* as it is */
	struct call *c = call__new(e, CALL_NUMBER, e);
	c->cb.number = announced;
	c->own = true;
	e->announcing = true;
	_cleanup_err_ struct err err = ERR_INIT;
	if (store_cmd_member_set(&c->cmd, &m, 0, e->level_max, &err))
		call__refuse(e, c, &err);
	else
		call__submit(e, c);
}

static int keep_text(char **to, const char *from, size_t max, const char *what, struct err *err)
{
	if (from && strlen(from) > max)
		return err_set(err, -EINVAL, "the %s of this member is longer than %zu bytes", what, max);
	*to = from ? xstrdup(from) : NULL;
	return 0;
}

int cluster__open(struct engine *e, const struct store_config *config, struct err *err)
{
	int rc = keep_text(&e->name, config->name, STORE_MEMBER_NAME_MAX, "name", err);
	if (!rc)
		rc = keep_text(&e->peer_address, config->peer_address, STORE_ADDRESS_MAX, "peer address", err);
	if (!rc)
		rc = keep_text(&e->api_address, config->api_address, STORE_ADDRESS_MAX, "API address", err);
	e->announce.fn = announce;
	if (!rc)
		env_timer_start(e->env, &e->announce, 0);
	return rc;
}

void cluster__close(struct engine *e)
{
	env_timer_stop(e->env, &e->announce);
	free(e->name);
	free(e->peer_address);
	free(e->api_address);
}
