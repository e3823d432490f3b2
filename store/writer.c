/* The state's writer: hands what was applied to the state lane in batches, and lets log and memory go once it is there. */
#include <errno.h>

#include "lib/core/failpoint.h"
#include "lib/core/log.h"
#include "store/snapshot_internal.h"

/* Of a member that was not told yet who belongs, what was applied stays out of the state (roster.c). */
static bool too_early(const struct engine *e)
{
	return !e->membership.n_members;
}

bool writer__clean(const struct engine *e)
{
	if (e->state_writing || too_early(e))
		return !e->state_writing;
	return e->synced_applied == e->applied; /* a compaction goes on at the next start */
}

/* Each batch touches most pages of the index of keys, however small it is: so batches grow with the file, within bounds of
 * what a start after a crash has to apply again, and of what memory keeps as recent history anyway. */
static bool much_waits(const struct engine *e)
{
	uint64_t part = e->state_file_bytes / ENGINE_STATE_PART;
	uint64_t enough = e->sizes.state_bytes;
	if (part > ENGINE_STATE_BYTES)
		enough = MAX(enough, MIN(part, ENGINE_STATE_MOST));
	return e->state_pending_bytes >= enough;
}

static void fill_batch(struct engine *e)
{
	struct store_state_batch *b = &e->batch;
	size_t from = mvcc_find(&e->mvcc, e->state_sent + 1);
	b->state = e->state;
	b->n_revs = e->mvcc.n - from;
	b->compact_rows = (unsigned)MAX(b->n_revs, (size_t)e->compact_rows); /* it keeps pace with what is written */
	GROW(b->revs, b->cap_revs, b->n_revs);
	for (size_t i = 0; i < b->n_revs; i++)
		b->revs[i] = mvcc_at(&e->mvcc, from + i);
	free(b->leases);
	b->leases = STEAL(e->lease_changes);
	b->n_leases = e->n_lease_changes;
	e->n_lease_changes = e->cap_lease_changes = 0;
	free(b->members);
	b->members = STEAL(e->member_changes);
	b->n_members = e->n_member_changes;
	e->n_member_changes = e->cap_member_changes = 0;
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	b->meta = (struct store_state_meta){.cluster = e->cluster,
					    .member = e->member,
					    .applied = e->applied,
					    .applied_term = e->applied_term,
					    .term = rs.term,
					    .vote = rs.vote,
					    .rev = e->mvcc.rev,
					    .compacted = e->mvcc.compacted,
					    .membership = e->membership,
					    .has_membership = e->has_membership,
					    .level = e->level};
	memcpy(b->meta.alarm, e->alarm, sizeof(e->alarm));
	e->state_sent = e->mvcc.rev;
	e->state_pending_bytes = 0;
	struct store_log_info info;
	store_log_info(e->log, &info);
	b->checkpoint = e->closing || e->removed || snapshot__sync_due(e) ||
			e->since_checkpoint >= e->sizes.checkpoint ||
			info.bytes >= 3 * e->sizes.log_segment + (replica__alone(e) ? 0 : e->sizes.log_keep);
}

static void submit(struct engine *e)
{
	e->state_writing = true;
	e->state_us = env_now_us(e->env);
	env_submit(e->env, &e->state_work);
}

static void work(struct env_work *w)
{
	store_state_write(&CONTAINER_OF(w, struct engine, state_work)->batch);
}

static void failed(struct engine *e)
{
	struct store_state_batch *b = &e->batch;
	if (b->result == -ENOSPC) { /* the log still has everything: wait for room */
		if (!e->state_full)
			log_error("store", "the disk is full: only reads are answered until there is room for %s",
				  e->snapshots->state_path);
		e->state_full = e->read_only = true;
		if (replica__leads(e) && !replica__alone(e)) { /* while the log still has room: one with a disk leads */
			e->move_to = 0;
			e->move_due = e->wishes_due = true;
		}
		env_timer_start(e->env, &e->state_timer, ENGINE_RETRY_US);
		env_post(e->env, &e->pump);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, b->result, "the state cannot be written: %s", b->message);
	if (b->result == -EUCLEAN &&
	    !replica__alone(e)) /* one that is alone has nobody to get it from: it may still start */
		store_state_condemn(e->state);
	replica__fatal(e, &err);
}

unsigned writer__next_piece(unsigned rows, uint64_t took_us)
{
	if (took_us > ENGINE_PIECE_US)
		return MAX(rows / 2, ENGINE_PIECE_MIN);
	return took_us < ENGINE_PIECE_US / 2 ? MIN(rows * 2, (unsigned)STORE_COMPACT_ROWS) : rows;
}

/* The log's writes come between, and have the disk and the processor for most of the time. */
static void go_on_compacting(struct engine *e)
{
	uint64_t took_us = env_now_us(e->env) - e->state_us;
	struct store_state_batch *b = &e->batch;
	if (!b->checkpointed && b->n_revs < e->compact_rows) /* it was the piece that took it */
		e->compact_rows = writer__next_piece(e->compact_rows, took_us);
	env_timer_start(e->env, &e->state_timer, MAX(2 * took_us, (uint64_t)ENGINE_COMPACT_US));
}

static void done(struct env_work *w)
{
	struct engine *e = CONTAINER_OF(w, struct engine, state_work);
	MAGIC_CHECK(e, ENGINE_MAGIC);
	struct store_state_batch *b = &e->batch;
	e->state_writing = false;
	failpoint(WRITER_DONE);
	e->bytes_written += b->written;
	e->since_checkpoint += b->written;
	if (b->result) {
		failed(e);
		return;
	}
	if (e->state_full) {
		e->state_full = e->read_only = false;
		log_info("store", "there is room on the disk again");
	}
	e->state_rev = b->meta.rev;
	e->state_applied = b->meta.applied;
	e->state_file_bytes = b->file_bytes;
	if (b->checkpointed) {
		e->synced_applied = b->meta.applied;
		e->since_checkpoint = 0;
	}
	if (b->cap_revs > 65536) {
		free(STEAL(b->revs));
		b->cap_revs = 0;
	}
	b->n_leases = b->n_members = 0;
	if (much_waits(e))
		e->state_due = true;
	else if (b->more_to_compact)
		go_on_compacting(e);
	if (e->state_due)
		writer__flush(e);
	env_post(e->env, &e->pump);
}

static void due(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, state_timer);
	if (e->failed)
		return;
	if (snapshot__installing(e)) { /* what comes of the batch is not known yet */
		env_timer_start(e->env, t, ENGINE_RETRY_US);
		return;
	}
	/* while it is written, the batch is the other thread's */
	if (!e->state_writing && e->batch.result == -ENOSPC) {
		submit(e); /* the same batch again: nothing of it was kept */
		return;
	}
	writer__flush(e);
}

void writer__flush(struct engine *e)
{
	e->state_timer.fn = due;
	e->state_due = true;
	if (too_early(e) || e->state_writing || e->failed || e->batch.result == -ENOSPC || snapshot__installing(e))
		return;
	e->state_due = false;
	env_timer_stop(e->env, &e->state_timer);
	failpoint(WRITER_HAND_OVER);
	fill_batch(e);
	e->state_work.work = work;
	e->state_work.done = done;
	submit(e);
}

void writer__changed(struct engine *e, size_t bytes)
{
	e->state_timer.fn = due;
	e->state_pending_bytes += bytes;
	if (much_waits(e))
		e->state_due = true; /* the pump hands over, between two entries */
	else if (!env_timer_active(&e->state_timer))
		env_timer_start(e->env, &e->state_timer, e->sizes.state_us);
}

void writer__lease_changed(struct engine *e, const struct store_state_lease *l)
{
	GROW(e->lease_changes, e->cap_lease_changes, e->n_lease_changes + 1);
	e->lease_changes[e->n_lease_changes++] = *l;
	writer__changed(e, 64);
}

void writer__member_changed(struct engine *e, const struct store_state_member *m)
{
	GROW(e->member_changes, e->cap_member_changes, e->n_member_changes + 1);
	e->member_changes[e->n_member_changes++] = *m;
	writer__changed(e, sizeof(*m));
}
