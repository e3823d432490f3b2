/* Taking in, the loop's half: pieces wait their turn for the state lane; the whole one takes the state's place while
 * nothing runs on it, then raft, the log and memory follow.
 *
 *   NONE -> PIECES -> (the last one is there, and sound) QUIET -> (nobody uses the state) SWAP -> (no ready is out) RAFT
 *     -> LOG, if it begins anew -> NONE
 *   a witness: NONE -> SYNC (until its state says so durably) -> RAFT -> ...
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "lib/core/log.h"
#include "store/snapshot_take.h"

#define QUEUE_MAX (64u << 20)
#define DISCARD   2000u /* keys at a time: about a millisecond */

enum phase { PHASE_NONE, PHASE_PIECES, PHASE_SYNC, PHASE_QUIET, PHASE_SWAP, PHASE_RAFT, PHASE_LOG };

struct piece {
	struct list node;
	struct raft_chunk chunk; /* its data and membership are below */
	struct raft_membership membership;
	struct store_state_own own;
	bool dropped; /* while it was on the lane: what came of it is of no account */
	char data[];
};

struct incoming {
	struct engine *engine;
	enum phase phase;
	struct list pieces; /* the first one is on the lane while `busy` */
	size_t queued;
	bool busy;
	struct env_work work;
	int result;
	struct err err;
	uint64_t index, term;
	struct raft_membership membership;
	struct taking t;
	struct store_log_job job;
	struct env_timer retry;
};

bool snapshot__installing(const struct engine *e)
{
	return e->snapshots && e->snapshots->in->phase >= PHASE_QUIET;
}

bool snapshot__busy(const struct engine *e)
{
	const struct snapshots *sn = e->snapshots;
	return sn->works || sn->in->phase == PHASE_QUIET || env_timer_active(&sn->in->retry) ||
	       !list_empty(&sn->copies);
}

bool snapshot__sync_due(const struct engine *e)
{
	return e->snapshots && e->snapshots->in->phase == PHASE_SYNC;
}

/* The one that is on the lane is the lane's. */
static void drop_pieces(struct incoming *in)
{
	LIST_EACH (&in->pieces, p, struct piece, node) {
		if (in->busy && in->pieces.next == &p->node) {
			p->dropped = true;
			continue;
		}
		in->queued -= p->chunk.len;
		list_del(&p->node);
		free(p);
	}
}

static void give_up(struct incoming *in, const struct err *why)
{
	struct engine *e = in->engine;
	log_warn("store", "a copy of the leader's state was not taken in: %s", why->message);
	drop_pieces(in);
	in->phase = PHASE_NONE;
	raft_restore_failed(e->raft);
	env_post(e->env, &e->pump);
}

static void submit(struct incoming *in, enum env_lane lane, void (*work)(struct env_work *),
		   void (*done)(struct env_work *))
{
	in->busy = true;
	in->engine->snapshots->works++;
	in->work = (struct env_work){.work = work, .done = done, .lane = lane};
	env_submit(in->engine->env, &in->work);
}

static struct incoming *back(struct env_work *w)
{
	struct incoming *in = CONTAINER_OF(w, struct incoming, work);
	MAGIC_CHECK(in->engine, ENGINE_MAGIC);
	in->busy = false;
	in->engine->snapshots->works--;
	env_post(in->engine->env, &in->engine->pump);
	return in;
}

/* ---- pieces ---- */

static void write_piece(struct env_work *w)
{
	struct incoming *in = CONTAINER_OF(w, struct incoming, work);
	struct piece *p = LIST_ENTRY(in->pieces.next, struct piece, node);
	err_done(&in->err);
	in->err = ERR_INIT;
	in->result = take__piece(&in->t, &p->chunk, &in->err);
	if (!in->result && p->chunk.last)
		in->result = take__whole(&in->t, &p->chunk, &p->own, &in->err);
	if (in->result)
		take__forget(&in->t);
}

static void next_piece(struct incoming *in);

static void piece_written(struct env_work *w)
{
	struct incoming *in = back(w);
	struct piece *p = LIST_ENTRY(list_pop(&in->pieces), struct piece, node);
	in->queued -= p->chunk.len;
	if (p->dropped) {
		take__forget(&in->t);
	} else if (in->result == -EPROTO) { /* of a newer program: it would be the same at every try */
		drop_pieces(in);
		in->phase = PHASE_NONE;
		replica__fatal(in->engine, &in->err);
	} else if (in->result) {
		give_up(in, &in->err);
	} else if (p->chunk.last) {
		in->phase = PHASE_QUIET;
		in->index = p->chunk.index;
		in->term = p->chunk.term;
	}
	free(p);
	next_piece(in);
}

static void next_piece(struct incoming *in)
{
	if (in->busy || list_empty(&in->pieces) || in->phase > PHASE_PIECES)
		return;
	in->phase = PHASE_PIECES;
	submit(in, ENV_LANE_STATE, write_piece, piece_written);
}

static void take_piece(struct incoming *in, const struct raft_chunk *c)
{
	struct engine *e = in->engine;
	struct raft_status rs;
	if (in->queued + c->len > QUEUE_MAX) {
		_cleanup_err_ struct err err = ERR_INIT; /* the other one is the lane's just now */
		err_set(&err, -E2BIG, "its pieces come faster than they can be written");
		give_up(in, &err);
		return;
	}
	raft_get_status(e->raft, &rs);
	struct piece *p = xcalloc(1, sizeof(*p) + c->len);
	p->chunk = *c;
	p->membership = *c->membership;
	p->chunk.membership = &p->membership;
	p->chunk.data = p->data;
	if (c->len)
		memcpy(p->data, c->data, c->len);
	p->own = (struct store_state_own){.cluster = e->cluster,
					  .member = e->member,
					  .term = rs.term,
					  .vote = rs.vote,
					  .level_max = e->level_max};
	in->queued += c->len;
	list_push(&in->pieces, &p->node);
	next_piece(in);
}

/* ---- a witness is only told where to go on ---- */

static void take_empty(struct incoming *in, const struct raft_chunk *c)
{
	struct engine *e = in->engine;
	if (!e->witness && roster__role(c->membership, e->member) != STORE_ROLE_WITNESS) {
		_cleanup_err_ struct err err = ERR_INIT;
		err_set(&err, -EPROTO, "it is empty, as for a witness");
		give_up(in, &err);
		return;
	}
	in->index = c->index;
	in->term = c->term;
	in->membership = *c->membership;
	in->phase = PHASE_SYNC;
	e->applied = c->index;
	e->applied_term = c->term;
	e->conf_index = c->index;
	roster__conf(e, c->membership);
	e->state_due = true;
	env_post(e->env, &e->pump);
}

void snapshot__chunks(struct engine *e, const struct raft_chunk *chunks, size_t n)
{
	struct incoming *in = e->snapshots->in;
	for (size_t i = 0; i < n && in->phase < PHASE_SYNC; i++)
		if (!chunks[i].len && chunks[i].last && !chunks[i].offset)
			take_empty(in, &chunks[i]);
		else
			take_piece(in, &chunks[i]);
}

/* ---- the swap ---- */

static void swap(struct env_work *w)
{
	struct incoming *in = CONTAINER_OF(w, struct incoming, work);
	in->result = take__replace(&in->t, &in->err);
}

static void swapped(struct env_work *w)
{
	struct incoming *in = back(w);
	struct engine *e = in->engine;
	e->state = STEAL(in->t.state);
	e->batch.state = e->state; /* one that waits for room is written again, and the old one may be open anew */
	e->reader = STEAL(in->t.reader);
	if (in->result && !in->t.replaced && !in->t.lost) {
		mvcc_done(&in->t.mvcc);
		give_up(in, &in->err);
		return;
	}
	if (in->result) {
		in->phase = PHASE_NONE;
		replica__fatal(e, &in->err);
		return;
	}
	e->state_file_bytes = store_state_bytes(e->state);
	in->membership = in->t.meta.membership;
	in->phase = PHASE_RAFT;
}

static void begin_swap(struct incoming *in)
{
	struct engine *e = in->engine;
	struct snapshots *sn = e->snapshots;
	if (e->state_writing || e->history_reading || sn->making || in->busy)
		return;
	if (sn->old.keys.n_items || sn->old_leases.count) /* what an earlier one has replaced goes first */
		return;
	in->t.replaced = in->t.lost = false;
	in->t.state = STEAL(e->state);
	in->t.reader = STEAL(e->reader);
	in->t.n_members = 0;
	mvcc_init(&in->t.mvcc, e->mvcc.history_limit);
	submit(in, ENV_LANE_STATE, swap, swapped);
	in->phase = PHASE_SWAP;
}

/* What was handed to the writer and what waited for it is in the new state. */
static void reset_writer(struct engine *e, const struct store_state_meta *m)
{
	e->state_rev = e->state_sent = e->mvcc.rev;
	e->state_applied = e->synced_applied = m->applied;
	e->state_pending_bytes = e->since_checkpoint = 0;
	e->n_lease_changes = e->n_member_changes = 0;
	e->batch.n_revs = e->batch.n_leases = e->batch.n_members = 0;
	e->batch.result = 0;
	if (e->state_full)
		e->state_full = e->read_only = false;
	e->state_due = true; /* compaction may have more to do there */
}

static void take_memory(struct incoming *in)
{
	struct engine *e = in->engine;
	const struct store_state_meta *m = &in->t.meta;
	MUST(!e->snapshots->old.keys.n_items && !e->snapshots->old_leases.count);
	e->snapshots->old = e->mvcc;
	e->snapshots->old_leases = e->leases;
	e->mvcc = in->t.mvcc;
	in->t.mvcc = (struct mvcc){0};
	e->mvcc.rev = e->mvcc.floor = MAX(m->rev, (uint64_t)1);
	e->mvcc.compacted = m->compacted;
	e->applied = m->applied;
	e->applied_term = m->applied_term;
	e->membership = m->membership;
	e->has_membership = m->has_membership;
	e->level = m->level;
	memcpy(e->alarm, m->alarm, sizeof(e->alarm));
	e->conf_index = m->applied;
	lease__take(e, &in->t.leases);
	reset_writer(e, m);
	roster__restored(e, in->t.members, in->t.n_members);
	watch__restored(e);
}

/* ---- raft and the log ---- */

static void log_write(struct env_work *w)
{
	store_log_write(&CONTAINER_OF(w, struct incoming, work)->job);
}

static void log_written(struct env_work *w);

static void retry(struct env_timer *t)
{
	submit(CONTAINER_OF(t, struct incoming, retry), ENV_LANE_LOG, log_write, log_written);
}

static void log_written(struct env_work *w)
{
	struct incoming *in = back(w);
	struct engine *e = in->engine;
	if (in->job.result == -ENOSPC && !e->closing) {
		in->retry.fn = retry;
		env_timer_start(e->env, &in->retry, ENGINE_RETRY_US);
		return;
	}
	e->writing = false;
	in->phase = PHASE_NONE;
	e->bytes_written += in->job.written;
	if (in->job.result) {
		err_set(&in->err, in->job.result, "the log cannot be begun anew: %s", strerror(-in->job.result));
		replica__fatal(e, &in->err);
		return;
	}
	store_log_reset_done(e->log);
	failpoint(SNAPSHOT_TAKEN);
}

/* The log is the log lane's until it has begun anew: nothing else is prepared, and raft has no ready out. */
static void begin_log(struct incoming *in)
{
	struct engine *e = in->engine;
	struct store_log_info info;
	store_log_info(e->log, &info);
	info.hard_state.commit = MAX(info.hard_state.commit, in->index);
	failpoint(SNAPSHOT_RESET);
	store_log_prepare_reset(e->log, &in->job, in->index, in->term, &info.hard_state);
	e->writing = true;
	in->phase = PHASE_LOG;
	submit(in, ENV_LANE_LOG, log_write, log_written);
}

static void tell_raft(struct incoming *in, bool with_memory)
{
	struct engine *e = in->engine;
	failpoint(SNAPSHOT_RESTORE);
	int rc = raft_restore(e->raft, in->index, in->term, &in->membership);
	if (rc < 0) {
		err_set(&in->err, rc, "the state was replaced, and raft does not take it: %s", strerror(-rc));
		in->phase = PHASE_NONE;
		replica__fatal(e, &in->err);
		return;
	}
	members__passed(e, in->index + 1, 0); /* whoever waits for an entry that is in there */
	in->phase = PHASE_NONE;
	if (with_memory)
		take_memory(in);
	log_info("store", "the state was taken over from the leader, as of entry %" PRIu64, in->index);
	if (rc == 1 && !BUG(BUG_SNAPSHOT_KEEPS_LOG))
		begin_log(in);
	env_post(e->env, &e->pump);
}

static void step(struct incoming *in)
{
	struct engine *e = in->engine;
	if (e->removed &&
	    in->phase == PHASE_RAFT) { /* memory and the state are two things now: nothing may be written */
		roster__removed_err(e, &in->err);
		replica__fatal(e, &in->err);
	}
	if (e->removed && in->phase > PHASE_PIECES && in->phase != PHASE_SWAP && in->phase != PHASE_LOG)
		in->phase = PHASE_NONE;
	switch (in->phase) {
	case PHASE_SYNC:
		if (e->synced_applied >= in->index) {
			if (!e->writing)
				tell_raft(in, false);
		} else if (!e->state_writing) {
			e->state_due = true;
		}
		return;
	case PHASE_QUIET:
		begin_swap(in);
		return;
	case PHASE_RAFT:
		if (!e->writing)
			tell_raft(in, true);
		return;
	default:
		return;
	}
}

void snapshot__pump(struct engine *e)
{
	struct incoming *in = e->snapshots->in;
	copies__pump(e);
	check__pump(e);
	if (e->failed && in->phase > PHASE_PIECES && in->phase != PHASE_SWAP && in->phase != PHASE_LOG)
		in->phase = PHASE_NONE;
	if (!e->failed)
		step(in);
	range__resume(e);
	if (mvcc_discard(&e->snapshots->old, DISCARD) || lease__discard(&e->snapshots->old_leases, DISCARD))
		env_post(e->env, &e->pump);
}

/* ---- from open to close ---- */

struct names {
	struct engine *e;
	const char *dir;
};

/* Copies were for an earlier life; so is whatever SQLite left beside what was coming in. */
static void sweep(void *arg, const char *name)
{
	const struct names *n = arg;
	bool partial = streq(name, "incoming.db") || streq(name, "incoming.head");
	if (!str_starts(name, "copy-") && (!str_starts(name, "incoming.") || partial))
		return;
	_cleanup_free_ char *path = xasprintf("%s/%s", n->dir, name);
	n->e->disk->ops->unlink(n->e->disk, path);
}

void snapshot__open(struct engine *e, struct raft_partial *ret)
{
	struct snapshots *sn = NEW(struct snapshots);
	struct incoming *in = NEW(struct incoming);
	const char *path = state__path(e->state);
	e->snapshots = sn;
	sn->engine = e;
	sn->in = in;
	sn->home = NEW(struct copies_home);
	*sn->home = (struct copies_home){.refs = 1, .engine = e};
	list_init(&sn->copies);
	list_init(&sn->streams);
	in->engine = e;
	list_init(&in->pieces);
	struct taking *t = &in->t;
	t->disk = e->disk;
	t->dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	t->state_path = xstrdup(path);
	sn->state_path = t->state_path;
	t->data_path = xasprintf("%s/incoming.db", t->dir);
	t->head_path = xasprintf("%s/incoming.head", t->dir);
	e->disk->ops->list(e->disk, t->dir, sweep, &(struct names){e, t->dir});
	take__resume(t, e->applied);
	*ret = t->at;
}

void snapshot__close(struct engine *e)
{
	struct snapshots *sn = e->snapshots;
	if (!sn)
		return;
	sn->home->engine = NULL;
	send__close(e);
	copies_home_unref(sn->home);
	env_timer_stop(e->env, &sn->in->retry);
	drop_pieces(sn->in);
	take__done(&sn->in->t);
	err_done(&sn->in->err);
	free(sn->in->job.buf);
	free(sn->in);
	mvcc_done(&sn->old);
	lease__discard(&sn->old_leases, SIZE_MAX);
	free(STEAL(e->snapshots));
}
