/* The driver of raft: feeds it calls, writes and sends what it says, applies what it commits.
 *
 *   waiting -> proposed (inflight) -> in a batch on the log lane -> durable -> committed -> applied, answered
 *
 * One batch is on the lane at a time; what arrives meanwhile gathers into the next one.
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/log.h"
#include "store/engine.h"

#define TICK_US 10000u

bool replica__leads(const struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	return rs.state == RAFT_LEADER;
}

static void fail_list(struct engine *e, struct list *l, const struct err *err)
{
	for (struct list *n; (n = list_pop(l));) {
		struct call *c = LIST_ENTRY(n, struct call, node);
		e->queued_bytes -= c->bytes;
		call__answer_error(c, err);
	}
}

void replica__cancel(struct engine *e, const struct err *err)
{
	fail_list(e, &e->inflight, err);
	fail_list(e, &e->forwarded, err);
	fail_list(e, &e->waiting, err);
	fail_list(e, &e->lazy, err);
	fail_list(e, &e->reads, err);
}

/* Nothing is certain any more: whoever waits is told so, and the process is to end. */
void replica__fatal(struct engine *e, const struct err *err)
{
	if (e->failed) {
		env_post(e->env, &e->pump); /* whoever closes may have waited for this */
		return;
	}
	e->failed = true;
	e->fatal = NEW(struct err);
	err_copy(e->fatal, err);
	log_error("store", "stopped: %s", err->message);
	if (!e->on_fatal)
		_exit(1);
	e->on_fatal(e->fatal_arg, err);
	env_post(e->env, &e->pump);
}

/* ---- calls in ---- */

static void feed(struct engine *e)
{
	if (list_empty(&e->waiting) || e->writing || e->failed || !replica__leads(e))
		return;
	if (e->state_pending_bytes > ENGINE_STATE_LAG_MAX)
		return; /* the state can't keep up: its writer calls the pump */
	while (!list_empty(&e->lazy))
		list_push(&e->waiting, list_pop(&e->lazy));
	env_timer_stop(e->env, &e->lazy_timer);
	size_t bytes = 0;
	while (!list_empty(&e->waiting) && bytes < ENGINE_BATCH_MAX) {
		struct call *c = LIST_ENTRY(e->waiting.next, struct call, node);
		if (raft_propose(e->raft, c->cmd.bytes.data, c->cmd.bytes.len, &c->index, &c->term))
			break;
		bytes += c->cmd.bytes.len;
		list_del(&c->node);
		list_push(&e->inflight, &c->node);
	}
}

static void lazy_due(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, lazy_timer);
	while (!list_empty(&e->lazy))
		list_push(&e->waiting, list_pop(&e->lazy));
	env_post(e->env, &e->pump);
}

/* ---- raft's outputs ---- */

static void apply_normal(struct engine *e, const struct raft_entry *entry)
{
	members__passed(e, entry->index, entry->term);
	_cleanup_err_ struct err err = ERR_INIT;
	struct call *c = list_empty(&e->inflight) ? NULL : LIST_ENTRY(e->inflight.next, struct call, node);
	if (c && (c->index != entry->index || c->term != entry->term))
		c = NULL;
	if (c) {
		list_del(&c->node);
		e->queued_bytes -= c->bytes;
		struct store_cmd cmd = c->cmd; /* the answer frees the call */
		c->cmd = (struct store_cmd){0};
		apply__cmd(e, &cmd, entry->index, c, &err);
		store_cmd_done(&cmd);
	} else {
		struct store_cmd cmd;
		if (store_cmd_decode(&cmd, entry->data, entry->len, &err) == 0) {
			apply__cmd(e, &cmd, entry->index, NULL, &err);
			store_cmd_done(&cmd);
		}
	}
	if (err.code) {
		err_prefix(&err, "entry %" PRIu64, entry->index);
		replica__fatal(e, &err);
	}
}

static void apply_committed(struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	for (size_t i = 0; i < e->rd.n_committed && !e->failed; i++) {
		const struct raft_entry *entry = &e->rd.committed[i];
		if (entry->type == RAFT_ENTRY_NORMAL)
			apply_normal(e, entry);
		if (e->failed)
			return;
		e->applied = entry->index;
		e->applied_term = entry->term;
		if (!e->recovered && entry->term == rs.term) {
			e->recovered = true; /* everything acknowledged before is here */
			watch__recovered(e);
		}
	}
}

static void leadership_changed(struct engine *e)
{
	e->raft_state = e->rd.state;
	if (e->rd.state == RAFT_LEADER)
		lease__leading(e);
	if (e->rd.state == RAFT_LEADER && !e->peer)
		return;
	if (list_empty(&e->inflight))
		return;
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_TIMEOUT, "leadership was lost: whether the write happened is unknown");
	err.code = -ECANCELED;
	fail_list(e, &e->inflight, &err);
}

static void answer_reads(struct engine *e)
{
	for (size_t i = 0; i < e->rd.n_reads; i++)
		LIST_EACH (&e->reads, c, struct call, node)
			if (c->read_id && c->read_id <= e->rd.reads[i].id)
				c->index = MAX(c->index, e->rd.reads[i].index + 1); /* + 1: 0 says not confirmed */
}

/* Returns false while the batch is on its way to the disk. */
static bool handle_ready(struct engine *e)
{
	raft_get_ready(e->raft, &e->rd);
	if (e->rd.state != e->raft_state)
		leadership_changed(e);
	members__send(e, false);
	members__fates(e);
	apply_committed(e);
	answer_reads(e);
	if (e->failed)
		return false;
	if (!e->rd.must_sync) {
		members__send(e, true);
		raft_advance(e->raft);
		members__no_snapshots(e);
		store_log_release(e->log);
		return true;
	}
	struct store_log_info info;
	store_log_info(e->log, &info);
	bool promise = e->rd.hard_state.term != info.hard_state.term || e->rd.hard_state.vote != info.hard_state.vote;
	store_log_prepare(e->log, &e->job, e->rd.entries, e->rd.n_entries,
			  promise && !BUG(BUG_VOTE_NOT_DURABLE) ? &e->rd.hard_state : NULL);
	e->writing = true;
	env_submit(e->env, &e->log_work);
	return false;
}

static void log_write(struct env_work *w)
{
	store_log_write(&CONTAINER_OF(w, struct engine, log_work)->job);
}

static void disk_full(struct engine *e)
{
	if (!e->read_only)
		log_error("store", "the disk is full: only reads are answered until there is room");
	e->read_only = true;
	env_timer_start(e->env, &e->retry, ENGINE_RETRY_US);
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -ENOSPC, "the store's disk is full: it only answers reads until there is room again");
	fail_list(e, &e->waiting, &err);
	fail_list(e, &e->lazy, &err);
	/* these stay in the log and happen once there is room */
	err_status(&err, ERR_TIMEOUT, "the store's disk is full: whether the write happens is unknown");
	err.code = -ECANCELED;
	fail_list(e, &e->inflight, &err);
}

static void log_written(struct env_work *w)
{
	struct engine *e = CONTAINER_OF(w, struct engine, log_work);
	MAGIC_CHECK(e, ENGINE_MAGIC);
	e->bytes_written += e->job.written;
	if (e->job.result == -ENOSPC) {
		disk_full(e);
		return;
	}
	e->writing = false;
	if (e->job.result) {
		_cleanup_err_ struct err err = ERR_INIT;
		err_set(&err, e->job.result, "the log cannot be made durable: %s", strerror(-e->job.result));
		replica__fatal(e, &err);
		return;
	}
	if (e->read_only && !e->state_full) {
		e->read_only = false;
		log_info("store", "there is room on the disk again");
	}
	members__send(e, true);
	raft_advance(e->raft);
	members__no_snapshots(e);
	store_log_release(e->log);
	replica__pump(e);
}

static void retry(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, retry);
	if (!e->failed) {
		env_submit(e->env, &e->log_work);
		return;
	}
	e->writing = false;
	env_post(e->env, &e->pump);
}

/* ---- reads ---- */

static void serve(struct engine *e, struct call *c)
{
	list_del(&c->node);
	struct lease *l;
	switch (c->kind) {
	case CALL_RANGE:
		range__serve(e, c);
		return;
	case CALL_READ_TXN:
		apply__read_txn(e, c);
		return;
	default:
		break;
	}
	l = lease__get(e, c->cmd.number);
	if (l && !l->expiring) {
		l->deadline_us = env_now_us(e->env) + l->ttl_s * 1000000;
		call__answer_number(c, l->ttl_s);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -ENOENT, "the requested lease was not found");
	call__answer_error(c, &err);
}

static void serve_reads(struct engine *e)
{
	uint64_t now_index = 0;
	if (list_empty(&e->reads) || e->failed)
		return;
	bool now = e->recovered && raft_read_now(e->raft, &now_index) == 0 && now_index <= e->applied;
	struct list todo;
	list_init(&todo);
	while (!list_empty(&e->reads)) /* answers may add new ones: those have their own turn */
		list_push(&todo, list_pop(&e->reads));
	for (struct list *n; (n = list_pop(&todo));) {
		struct call *c = LIST_ENTRY(n, struct call, node);
		bool stale_ok = c->kind == CALL_RANGE && (c->range.serializable || BUG(BUG_LOCAL_READS));
		if (now || stale_ok || (c->index && c->index <= e->applied + 1)) {
			serve(e, c);
			continue;
		}
		if (!c->read_id && raft_read_index(e->raft, e->next_read_id) == 0) {
			c->read_id = e->next_read_id++;
			c->asked_us = env_now_us(e->env);
		}
		list_push(&e->reads, &c->node);
	}
}

/* ---- ticks ---- */

static void no_leader(struct engine *e)
{
	uint64_t now = env_now_us(e->env);
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_SERVICE_UNAVAILABLE, "the store has no quorum");
	struct list *lists[] = {&e->waiting, &e->lazy, &e->reads};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_EACH (lists[i], c, struct call, node) {
			if (now - c->since_us < ENGINE_NO_LEADER_US)
				continue;
			list_del(&c->node);
			e->queued_bytes -= c->bytes;
			call__answer_error(c, &err);
		}
}

/* A leader without peers has nothing to tick for: an idle server sleeps. */
static void arm_tick(struct engine *e)
{
	uint64_t index;
	bool needed = !e->failed && raft_read_now(e->raft, &index) != 0;
	if (needed && !env_timer_active(&e->tick))
		env_timer_start(e->env, &e->tick, TICK_US);
}

static void tick(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, tick);
	raft_tick(e->raft);
	members__tick(e);
	if (!replica__leads(e))
		no_leader(e);
	replica__pump(e);
}

/* ---- compaction by age ---- */

static void take_sample(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, compact_timer);
	uint64_t now = env_now_us(e->env), upto = 0;
	env_timer_start(e->env, t, MAX(e->history_us / 10, (uint64_t)100000));
	size_t old = 0;
	while (old < e->n_samples && e->samples[old].at_us + e->history_us <= now)
		upto = e->samples[old++].rev;
	memmove(e->samples, e->samples + old, (e->n_samples - old) * sizeof(e->samples[0]));
	e->n_samples -= old;
	if (e->n_samples < ARRAY_LEN(e->samples)) {
		e->samples[e->n_samples].at_us = now;
		e->samples[e->n_samples++].rev = e->mvcc.rev;
	}
	if (upto <= e->mvcc.compacted || !e->recovered || !replica__leads(e) || call__admit(e, 1, NULL))
		return;
	struct call *c = call__new(e, CALL_NUMBER, NULL);
	store_cmd_number(&c->cmd, CMD_COMPACT, upto);
	call__submit(e, c);
}

/* ---- the pump ---- */

static void answer_refused(struct engine *e)
{
	struct list todo;
	list_init(&todo);
	while (!list_empty(&e->answers))
		list_push(&todo, list_pop(&e->answers));
	for (struct list *n; (n = list_pop(&todo));) {
		struct call *c = LIST_ENTRY(n, struct call, node);
		struct err *err = STEAL(c->err);
		if (c->kind == CALL_STATUS && !err->code) {
			struct store_status st;
			store__fill_status(e, &st);
			c->cb.status(c->arg, NULL, &st);
			call__free(c);
		} else {
			call__answer_error(c, err);
		}
		err_done(err);
		free(err);
	}
}

static void drop_log(struct engine *e)
{
	if (e->writing || (!e->synced_applied && !BUG(BUG_LOG_DROPPED_EARLY)) ||
	    e->peer) /* others may still need it: there are no snapshots yet */
		return;
	uint64_t upto = BUG(BUG_LOG_DROPPED_EARLY) ? e->state_applied : e->synced_applied;
	uint64_t term, base = store_log_drop(e->log, upto, &term);
	raft_compact(e->raft, base, term);
}

static void fail_all(struct engine *e)
{
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_TIMEOUT, "the store has stopped (%s): whether the write happened is unknown",
		   e->fatal->message);
	err.code = -ECANCELED;
	replica__cancel(e, &err);
	watch__end_all(e, &err);
}

void replica__pump(struct engine *e)
{
	answer_refused(e);
	if (e->failed)
		fail_all(e);
	for (;;) {
		feed(e);
		members__forward(e);
		if (e->writing || e->failed || !raft_has_ready(e->raft) || !handle_ready(e))
			break;
	}
	serve_reads(e);
	watch__catch_up(e);
	if (mvcc_evict(&e->mvcc, e->state_rev, 2000))
		env_post(e->env, &e->pump);
	if (e->closing && !list_empty(&e->lazy))
		lazy_due(&e->lazy_timer);
	if ((e->state_due || (e->closing && !writer__clean(e))) && !e->state_writing)
		writer__flush(e);
	drop_log(e);
	watch__sweep(e);
	arm_tick(e);
	store__maybe_closed(e);
}

static void pump(struct env_post *p)
{
	struct engine *e = CONTAINER_OF(p, struct engine, pump);
	MAGIC_CHECK(e, ENGINE_MAGIC);
	replica__pump(e);
}

/* ---- opening ---- */

static int read_entries(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	struct engine *e = arg;
	int n = store_log_read(e->log, lo, hi, ret, max);
	if (n <= 0) {
		_cleanup_err_ struct err err = ERR_INIT;
		err_set(&err, n ? n : -EIO, "entry %" PRIu64 " cannot be read back from the log", lo);
		replica__fatal(e, &err);
	}
	return n;
}

static int read_term(void *arg, uint64_t index, uint64_t *ret)
{
	return store_log_term(((struct engine *)arg)->log, index, ret);
}

static void load_lease(void *arg, uint64_t id, uint64_t ttl_s)
{
	lease__add(arg, id, ttl_s);
}

static uint64_t newest_key(const struct mvcc *m)
{
	struct btree_iter it;
	uint64_t rev = 0;
	for (struct btree_item *i = btree_seek(&m->keys, "", &it); i; i = btree_next(&it))
		rev = MAX(rev, CONTAINER_OF(i, struct mvcc_key, item)->latest->mod_rev);
	return rev;
}

static int load_state(struct engine *e, const char *dir, struct store_state_meta *meta, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/state.db", dir);
	int rc = store_state_open(e->disk, path, &e->state, meta, err);
	if (!rc)
		rc = store_state_load(e->state, &e->mvcc, &(struct store_state_callbacks){.on_lease = load_lease}, e,
				      err);
	if (rc)
		return rc;
	if (BUG(BUG_REVISION_FROM_KEYS))
		meta->rev = newest_key(&e->mvcc);
	e->mvcc.rev = e->mvcc.floor = MAX(meta->rev, (uint64_t)1);
	e->mvcc.compacted = meta->compacted;
	e->state_rev = e->state_sent = e->mvcc.rev;
	e->applied = e->state_applied = meta->applied;
	e->applied_term = meta->applied_term;
	e->membership = meta->membership;
	e->has_membership = meta->has_membership;
	e->level = meta->level;
	struct btree_iter it;
	for (struct btree_item *i = btree_seek(&e->mvcc.keys, "", &it); i; i = btree_next(&it)) {
		const struct mvcc_rev *v = CONTAINER_OF(i, struct mvcc_key, item)->latest;
		if (v->lease)
			lease__attach(e, v);
	}
	rc = store_state_reader_open(e->state, &e->reader);
	return rc ? err_set(err, rc, "cannot open the state for reading") : 0;
}

/* What the log says and what the state holds must meet. */
static int open_log(struct engine *e, const char *dir, const struct store_state_meta *meta, struct raft_hard_state *hs,
		    struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/log", dir);
	uint64_t cluster = meta->cluster ? meta->cluster : e->cluster;
	int rc = store_log_open(e->disk, path, cluster, meta->member, &e->log, err);
	if (rc)
		return rc;
	store_log_set_segment(e->log, e->sizes.log_segment);
	struct store_log_info info;
	store_log_info(e->log, &info);
	if (!info.has_ids && e->n_members)
		store_log_set_ids(e->log, e->cluster, e->member);
	else if (!info.has_ids && !meta->cluster)
		store_log_set_ids(e->log, env_random_u64(e->env) | 1, env_random_u64(e->env) >> 1 | 1);
	store_log_info(e->log, &info);
	if (e->n_members && (info.cluster != e->cluster || info.member != e->member))
		return err_set(err, -EINVAL, "%s belongs to another member or cluster", dir);
	e->cluster = info.cluster;
	e->member = info.member;
	*hs = info.hard_state;
	if (meta->term > hs->term) {
		hs->term = meta->term;
		hs->vote = meta->vote;
	}
	if (info.base > meta->applied)
		return err_set(err, -EUCLEAN,
			       "the log begins after entry %" PRIu64 ", but the state ends at %" PRIu64
			       ": %s/state.db is not the one that belongs to it. Restore the store from a snapshot",
			       info.base, meta->applied, dir);
	if (info.torn)
		log_warn("store", "the last write was torn by a crash and never acknowledged: dropped");
	if (meta->applied > info.last) {
		hs->commit = meta->applied;
		return store_log_reset(e->log, meta->applied, meta->applied_term, hs, err);
	}
	return 0;
}

int replica__open(struct engine *e, const char *dir, struct err *err)
{
	struct store_state_meta meta = {0};
	struct raft_hard_state hs = {0};
	int rc = load_state(e, dir, &meta, err);
	if (!rc)
		rc = open_log(e, dir, &meta, &hs, err);
	if (rc)
		return rc;
	struct store_log_info info;
	store_log_info(e->log, &info);
	const struct raft_member self = {.id = e->member, .role = RAFT_VOTER};
	rc = raft_new(&(struct raft_config){.id = e->member,
					    .members = e->n_members ? e->members : &self,
					    .n_members = e->n_members ? e->n_members : 1,
					    .hard_state = hs,
					    .first_index = info.base + 1,
					    .last_index = info.last,
					    .base_term = info.base_term,
					    .applied = e->applied,
					    .election_ticks = 15,
					    .heartbeat_ticks = 5,
					    .max_inflight_bytes = 8u << 20,
					    .max_message_bytes = 1u << 20,
					    .seed = env_random_u64(e->env),
					    .pre_vote = true,
					    .check_quorum = true,
					    .read_entries = read_entries,
					    .read_term = read_term,
					    .arg = e},
		      &e->raft);
	if (rc)
		return err_set(err, rc, "the store's log and state contradict each other");
	e->log_work = (struct env_work){.work = log_write, .done = log_written, .lane = ENV_LANE_LOG};
	e->state_work.lane = ENV_LANE_STATE;
	e->pump.fn = pump;
	e->tick.fn = tick;
	e->retry.fn = retry;
	e->lazy_timer.fn = lazy_due;
	e->compact_timer.fn = take_sample;
	env_timer_start(e->env, &e->compact_timer, 0);
	members__open(e);
	if (e->n_members <= 1)
		raft_campaign(e->raft);
	env_post(e->env, &e->pump);
	return 0;
}

void replica__close(struct engine *e)
{
	env_timer_stop(e->env, &e->tick);
	env_timer_stop(e->env, &e->retry);
	env_timer_stop(e->env, &e->lazy_timer);
	env_timer_stop(e->env, &e->compact_timer);
	env_timer_stop(e->env, &e->state_timer);
	env_post_cancel(e->env, &e->pump);
	members__close(e);
	raft_free(e->raft);
	store_log_close(e->log);
	store_state_reader_close(e->reader);
	store_state_close(e->state);
	free(e->job.buf);
	free(e->batch.revs);
	free(e->batch.leases);
	free(e->lease_changes);
	free(e->batch.members);
	free(e->member_changes);
}
