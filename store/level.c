/* The cluster's format level: each member says what its program knows (cluster.c), the leader proposes the highest that
 * all of them do, and every full member decides alike at that entry. A witness is told with the next configuration. */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/log.h"
#include "store/engine.h"
#include "store/state_internal.h"

int level__check(const struct engine *e, uint64_t level, struct err *err)
{
	return level > e->level_max ? state__level_err(level, e->level_max, err) : 0;
}

static uint64_t of_member(const struct engine *e, uint64_t id)
{
	const struct store_state_member *row = roster__find(e, id);
	return row ? MAX(row->level, (uint64_t)1) : 1;
}

/* Of those that are in, and those that are to be. */
static uint64_t common(const struct engine *e)
{
	uint64_t level = UINT64_MAX;
	const struct raft_membership *m = &e->membership;
	for (size_t i = 0; i < m->n_members; i++)
		level = MIN(level, of_member(e, m->members[i].id));
	for (size_t i = 0; i < m->n_old; i++)
		level = MIN(level, of_member(e, m->old[i].id));
	for (size_t i = 0; i < e->n_rows; i++)
		if (!e->rows[i].removed && e->rows[i].m.wish != STORE_ROLE_NONE)
			level = MIN(level, MAX(e->rows[i].level, (uint64_t)1));
	return level;
}

static void rise(struct engine *e, uint64_t level)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (level__check(e, level, &err)) {
		replica__fatal(e, &err);
		return;
	}
	log_info("store",
		 "the cluster's format level is %" PRIu64 " from here on: older programs can't join it any more",
		 level);
	e->level = level;
	writer__changed(e, 16);
}

void level__apply(struct engine *e, uint64_t level, struct call *call)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (level > e->level && level > common(e))
		err_set(&err, -EINVAL, "not all members know format level %" PRIu64, level);
	else if (level > e->level)
		rise(e, level);
	if (!call)
		return;
	if (err.code)
		call__answer_error(call, &err);
	else
		call__answer_number(call, e->level);
}

void level__told(struct engine *e, uint64_t level)
{
	if (level > e->level)
		rise(e, level);
}

static void proposed(void *arg, _unused_ const struct err *err, _unused_ uint64_t value)
{
	struct engine *e = arg;
	e->level_raising = false;
	e->wishes_due = true;
}

void level__pursue(struct engine *e)
{
	uint64_t level = common(e);
	if (e->level_raising || level <= e->level || level == UINT64_MAX || call__admit(e, 1, NULL))
		return;
	struct call *c = call__new(e, CALL_NUMBER, e);
	c->cb.number = proposed;
	store_cmd_number(&c->cmd, CMD_LEVEL, level);
	e->level_raising = true;
	call__submit(e, c);
}
