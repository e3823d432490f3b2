/* The driver of raft: feeds it calls, writes and sends what it says, applies what it commits.
 *
 *   waiting -> proposed (inflight) -> in a batch on the log lane -> durable -> committed -> applied, answered
 *
 * One batch is on the lane at a time; what arrives meanwhile gathers into the next one.
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "lib/core/log.h"
#include "lib/core/metrics.h"
#include "store/snapshot_internal.h"

#define TICK_US     10000u
#define ALONE_TICKS 100u

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
		failpoint(REPLICA_PROPOSE);
		if (raft_propose(e->raft, c->cmd.bytes.data, c->cmd.bytes.len, &c->index, &c->term))
			break;
		bytes += c->cmd.bytes.len;
		list_del(&c->node);
		list_push(&e->inflight, &c->node);
		failpoint(REPLICA_PROPOSED);
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

static struct call *call_of(struct engine *e, const struct raft_entry *entry)
{
	members__passed(e, entry->index, entry->term);
	struct call *c = list_empty(&e->inflight) ? NULL : LIST_ENTRY(e->inflight.next, struct call, node);
	if (!c || c->index != entry->index || c->term != entry->term)
		return NULL;
	list_del(&c->node);
	e->queued_bytes -= c->bytes;
	return c;
}

static void fail_foreign(struct engine *e, struct list *l, const struct err *err)
{
	struct list gone;
	list_init(&gone);
	LIST_EACH (l, c, struct call, node)
		if (!c->own && c->kind != CALL_MEMBERS) {
			list_del(&c->node);
			list_push(&gone, &c->node);
		}
	fail_list(e, &gone, err);
}

/* A witness has nothing to answer from. It may have learned only now that it is one. */
static void refuse_all(struct engine *e)
{
	_cleanup_err_ struct err err = ERR_INIT;
	call__witness_err(&err);
	watch__end_all(e, &err);
	fail_foreign(e, &e->waiting, &err);
	fail_foreign(e, &e->lazy, &err);
	fail_foreign(e, &e->reads, &err);
	err.code = -ECANCELED; /* what is under way may happen */
	fail_foreign(e, &e->forwarded, &err);
	fail_foreign(e, &e->inflight, &err);
}

/* Only its place in the log: the data stays with those that keep it. A command is never empty. */
static void pass_by(struct engine *e, const struct raft_entry *entry)
{
	e->witness = true;
	refuse_all(e);
	struct call *c = call_of(e, entry);
	writer__changed(e, 32);
	if (c)
		call__answer_number(c, 0); /* its own: no other call gets this far */
}

static void apply_normal(struct engine *e, const struct raft_entry *entry)
{
	if (e->witness || !entry->len) {
		pass_by(e, entry);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	struct call *c = call_of(e, entry);
	if (c) {
		struct store_cmd cmd = c->cmd; /* the answer frees the call */
		c->cmd = (struct store_cmd){0};
		apply__cmd(e, &cmd, entry, c, &err);
		store_cmd_done(&cmd);
	} else {
		struct store_cmd cmd;
		if (store_cmd_decode(&cmd, entry->data, entry->len, &err) == 0) {
			apply__cmd(e, &cmd, entry, NULL, &err);
			store_cmd_done(&cmd);
		}
	}
	if (err.code) {
		err_prefix(&err, "entry %" PRIu64, entry->index);
		replica__fatal(e, &err);
	}
}

/* Who belongs from here on; and what its context says, as any command. */
static void apply_config(struct engine *e, const struct raft_entry *entry)
{
	_cleanup_err_ struct err err = ERR_INIT;
	struct raft_membership m;
	const void *context;
	size_t len;
	members__passed(e, entry->index, entry->term);
	failpoint(REPLICA_CONFIG);
	int rc = raft_membership_decode(entry->data, entry->len, &m, &context, &len);
	if (rc == -EPROTONOSUPPORT)
		err_set(&err, rc, "a configuration has a version this program does not know: use the newer program");
	else if (rc)
		err_set(&err, rc, "a configuration cannot be read");
	bool was_in = roster__in(&e->membership, e->member) != NULL;
	if (!rc) {
		e->conf_index = entry->index;
		roster__conf(e, &m);
		writer__changed(e, 64);
	}
	struct store_cmd cmd;
	if (!rc && len && store_cmd_decode(&cmd, context, len, &err) == 0) {
		apply__cmd(e, &cmd, entry, NULL, &err);
		store_cmd_done(&cmd);
	}
	if (err.code) {
		err_prefix(&err, "entry %" PRIu64, entry->index);
		replica__fatal(e, &err);
	} else if (was_in && !roster__in(&m, e->member)) {
		roster__leave(e);
	}
}

/* It is over once its own state says so, too: then it does not start again. */
static void leave(struct engine *e)
{
	if (!e->removed || e->failed || e->state_writing || BUG(BUG_REMOVED_GOES_ON))
		return;
	if (!writer__clean(e) && !e->state_full) {
		writer__flush(e);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	roster__removed_err(e, &err);
	replica__fatal(e, &err);
}

/* An entry of this term is applied, be it in an earlier life: everything acknowledged before is here. */
static void maybe_recovered(struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	if (e->recovered || rs.leader == RAFT_NONE || !e->applied || e->applied_term != rs.term)
		return;
	e->recovered = true;
	watch__recovered(e);
	if (env_timer_active(&e->announce) && replica__alone(e))
		env_timer_start(e->env, &e->announce, 0); /* nobody else has to be waited for */
}

static void apply_committed(struct engine *e)
{
	for (size_t i = 0; i < e->rd.n_committed && !e->failed; i++) {
		const struct raft_entry *entry = &e->rd.committed[i];
		failpoint(REPLICA_APPLY);
		if (entry->type == RAFT_ENTRY_NORMAL)
			apply_normal(e, entry);
		else if (entry->type == RAFT_ENTRY_CONFIG)
			apply_config(e, entry);
		if (e->failed)
			return;
		e->applied = entry->index;
		e->applied_term = entry->term;
		failpoint(REPLICA_APPLIED);
		if (e->removed)
			return; /* what comes after is no affair of this member's */
		maybe_recovered(e);
	}
}

/* What was proposed in an earlier term may still be committed by whoever leads now. */
static void leadership_changed(struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	e->raft_state = e->rd.state;
	failpoint(REPLICA_ROLE);
	e->wishes_due = true;
	if (e->rd.state == RAFT_LEADER)
		lease__leading(e);
	struct list lost;
	list_init(&lost);
	LIST_EACH (&e->inflight, c, struct call, node)
		if (e->rd.state != RAFT_LEADER || c->term != rs.term) {
			list_del(&c->node);
			list_push(&lost, &c->node);
		}
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_TIMEOUT, "leadership was lost: whether the write happened is unknown");
	err.code = -ECANCELED;
	fail_list(e, &lost, &err);
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
	members__tell(e);
	members__send(e, false);
	failpoint(REPLICA_SENT_EARLY);
	members__fates(e);
	apply_committed(e);
	answer_reads(e);
	if (e->failed || e->removed)
		return false;
	snapshot__chunks(e, e->rd.chunks, e->rd.n_chunks);
	for (size_t i = 0; i < e->rd.n_wanted; i++)
		snapshot__wanted(e, &e->rd.wanted[i]);
	if (!e->rd.must_sync) {
		members__send(e, true);
		raft_advance(e->raft);
		store_log_release(e->log);
		return true;
	}
	struct store_log_info info;
	store_log_info(e->log, &info);
	bool promise = e->rd.hard_state.term != info.hard_state.term || e->rd.hard_state.vote != info.hard_state.vote;
	store_log_prepare(e->log, &e->job, e->rd.entries, e->rd.n_entries,
			  promise && !BUG(BUG_VOTE_NOT_DURABLE) ? &e->rd.hard_state : NULL);
	failpoint(REPLICA_WRITE);
	e->writing = true;
	e->write_us = env_now_us(e->env);
	env_submit(e->env, &e->log_work);
	return false;
}

static const double write_bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1};
static struct metric_family write_seconds = {
	.name = "mini_store_log_write_seconds",
	.help = "How long a batch of entries took to be written to the log and made durable, with the wait for its lane.",
	.type = METRIC_HISTOGRAM,
	.bounds = write_bounds,
	.n_bounds = ARRAY_LEN(write_bounds)};

static void log_write(struct env_work *w)
{
	store_log_write(&CONTAINER_OF(w, struct engine, log_work)->job);
}

static void disk_full(struct engine *e)
{
	if (!e->read_only)
		log_error("store",
			  "the disk is full: only reads are answered until there is room for the log beside %s",
			  e->snapshots->state_path);
	e->read_only = true;
	failpoint(REPLICA_FULL);
	env_timer_start(e->env, &e->retry, ENGINE_RETRY_US);
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -ENOSPC, "the store's disk is full: it only answers reads until there is room again");
	fail_list(e, &e->waiting, &err);
	fail_list(e, &e->lazy, &err);
	/* these stay in the log and happen once there is room */
	err_status(&err, ERR_TIMEOUT, "the store's disk is full: whether the write happens is unknown");
	err.code = -ECANCELED;
	fail_list(e, &e->inflight, &err);
	fail_list(e, &e->forwarded, &err); /* whatever the leader says of these is not heard meanwhile */
}

static void log_written(struct env_work *w)
{
	struct engine *e = CONTAINER_OF(w, struct engine, log_work);
	MAGIC_CHECK(e, ENGINE_MAGIC);
	e->bytes_written += e->job.written;
	metric_observe(metric_get(&write_seconds, NULL), (double)(env_now_us(e->env) - e->write_us) / 1e6);
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
	failpoint(REPLICA_DURABLE);
	members__send(e, true);
	failpoint(REPLICA_SENT_LATE);
	raft_advance(e->raft);
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
	failpoint(REPLICA_SERVE);
	struct lease *l;
	switch (c->kind) {
	case CALL_RANGE:
		range__serve(e, c);
		return;
	case CALL_READ_TXN:
		apply__read_txn(e, c);
		return;
	case CALL_MEMBERS:
		cluster__answer_members(e, c);
		return;
	default:
		break;
	}
	if (!replica__leads(e)) { /* it led alone when it was asked */
		struct store_cmd renew;
		store_cmd_number(&renew, CMD_LEASE_RENEW, c->cmd.number);
		c->cmd = renew;
		c->kind = CALL_NUMBER;
		c->read_id = c->index = 0;
		call__submit(e, c);
		return;
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
	failpoint(REPLICA_READS);
	bool now = e->recovered && raft_read_now(e->raft, &now_index) == 0 && now_index <= e->applied;
	struct list todo;
	list_init(&todo);
	while (!list_empty(&e->reads)) /* answers may add new ones: those have their own turn */
		list_push(&todo, list_pop(&e->reads));
	for (struct list *n; (n = list_pop(&todo));) {
		struct call *c = LIST_ENTRY(n, struct call, node);
		bool stale_ok = c->range.serializable || (c->kind == CALL_RANGE && BUG(BUG_LOCAL_READS));
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

/* A call waits for an election; where there has been no leader for so long, it is told at once. */
static void no_leader(struct engine *e)
{
	uint64_t now = env_now_us(e->env);
	bool for_long = e->leaderless_us && now - e->leaderless_us >= ENGINE_NO_LEADER_US;
	_cleanup_err_ struct err err = ERR_INIT;
	if (e->read_only)
		err_status(
			&err, ERR_SERVICE_UNAVAILABLE,
			"this member's disk is full, and it takes no part until there is room again: ask another one");
	else
		err_status(&err, ERR_SERVICE_UNAVAILABLE,
			   "the store has no quorum: a majority of its voters must be up and reach each other. It goes "
			   "on by itself once they do");
	struct list *lists[] = {&e->waiting, &e->lazy, &e->reads};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_EACH (lists[i], c, struct call, node) {
			if (!for_long && now - c->since_us < ENGINE_NO_LEADER_US)
				continue;
			list_del(&c->node);
			e->queued_bytes -= c->bytes;
			call__answer_error(c, &err);
		}
}

bool replica__alone(const struct engine *e)
{
	struct raft_membership now;
	raft_get_membership(e->raft, &now);
	return now.n_members == 1 && !now.n_old && now.members[0].id == e->member;
}

/* A leader without peers has nothing to tick for: an idle server sleeps. One that has just lost them still tells them. */
static void arm_tick(struct engine *e)
{
	uint64_t index;
	if (env_timer_active(&e->tick) || e->failed)
		return;
	bool quiet = raft_read_now(e->raft, &index) == 0 && e->alone_ticks >= ALONE_TICKS && replica__alone(e);
	if (!quiet)
		env_timer_start(e->env, &e->tick, TICK_US);
}

static void tick(struct env_timer *t)
{
	struct engine *e = CONTAINER_OF(t, struct engine, tick);
	struct raft_status rs;
	bool leads = replica__leads(e);
	if (!members__stuck(e) || leads) { /* a leader that cannot write stops being one */
		raft_tick(e->raft);
		members__tick(e);
		maybe_recovered(e);
	}
	raft_get_status(e->raft, &rs);
	if (rs.leader != RAFT_NONE)
		e->leaderless_us = 0;
	else if (!e->leaderless_us)
		e->leaderless_us = env_now_us(e->env);
	e->alone_ticks = leads && replica__alone(e) ? MIN(e->alone_ticks + 1, ALONE_TICKS) : 0;
	if (!leads || members__stuck(e))
		no_leader(e);
	replica__pump(e);
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

/* Others may need what this one does not: half of the entries stay, if they are not too many, and whatever a copy that is
 * on its way does not hold. */
static uint64_t spared(const struct engine *e)
{
	struct store_log_info info;
	if (replica__alone(e))
		return UINT64_MAX;
	store_log_info(e->log, &info);
	if (info.bytes <= e->sizes.log_keep)
		return 0;
	return MIN(info.base + (info.last - info.base) / 2, snapshot__keeps(e));
}

static void drop_log(struct engine *e)
{
	if (e->writing || (!e->synced_applied && !BUG(BUG_LOG_DROPPED_EARLY)))
		return;
	uint64_t upto = BUG(BUG_LOG_DROPPED_EARLY) ? e->state_applied : e->synced_applied;
	upto = MIN(upto, spared(e));
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
	snapshot__pump(e);
	drop_log(e); /* here, where nothing is being written: a busy store always is, below */
	for (;;) {
		wishes__pursue(e);
		feed(e);
		members__forward(e);
		if (e->writing || e->failed || e->removed || !raft_has_ready(e->raft) || !handle_ready(e))
			break;
	}
	if (e->witness)
		refuse_all(e); /* here: it may just have learned that it is one */
	serve_reads(e);
	watch__catch_up(e);
	if (mvcc_evict(&e->mvcc, e->state_rev, 2000))
		env_post(e->env, &e->pump);
	if (e->closing && !list_empty(&e->lazy))
		lazy_due(&e->lazy_timer);
	if ((e->state_due || (e->closing && !writer__clean(e))) && !e->state_writing)
		writer__flush(e);
	leave(e);
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

void replica__start(struct engine *e)
{
	e->log_work = (struct env_work){.work = log_write, .done = log_written, .lane = ENV_LANE_LOG};
	e->state_work.lane = ENV_LANE_STATE;
	e->pump.fn = pump;
	e->tick.fn = tick;
	e->retry.fn = retry;
	e->lazy_timer.fn = lazy_due;
	retention__start(e);
	e->alone_ticks = replica__alone(e) ? ALONE_TICKS : 0;
	struct raft_membership now;
	size_t voters = 0;
	raft_get_membership(e->raft, &now);
	for (size_t i = 0; i < now.n_members; i++)
		voters += now.members[i].role != RAFT_LEARNER;
	if (voters == 1 && !now.n_old)
		raft_campaign(e->raft); /* nobody else could: no reason to wait. Another one's voter is refused */
	env_post(e->env, &e->pump);
}

void replica__stop(struct engine *e)
{
	env_timer_stop(e->env, &e->tick);
	env_timer_stop(e->env, &e->retry);
	env_timer_stop(e->env, &e->lazy_timer);
	retention__stop(e);
	env_timer_stop(e->env, &e->state_timer);
	env_post_cancel(e->env, &e->pump);
}
