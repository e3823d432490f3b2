/* The replicated engine behind store.h: opening, closing, and turning the interface into calls. */
#include "store/store.h"
#include "lib/core/failpoint.h"

#include <errno.h>

#include "store/engine.h"

char *store_prefix_end(const char *prefix)
{
	char *end = xstrdup(prefix);
	for (size_t n = strlen(end); n; n--) {
		if ((uint8_t)end[n - 1] < 0xff) {
			end[n - 1] = (char)((uint8_t)end[n - 1] + 1);
			end[n] = '\0';
			return end;
		}
	}
	end[0] = '\0';
	return end;
}

static void engine_range(struct store *s, const struct store_range_req *req, store_range_cb cb, void *arg)
{
	struct engine *e = engine_of(s);
	struct call *c = call__new(e, CALL_RANGE, arg);
	c->cb.range = cb;
	c->range = *req;
	c->range.key = xstrdup(req->key);
	c->range.end = req->end ? xstrdup(req->end) : NULL;
	call__submit_read(e, c);
}

static bool only_reads(const struct store_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ops[i].type != STORE_GET)
			return false;
	return true;
}

static void engine_txn(struct store *s, const struct store_txn_req *req, store_txn_cb cb, void *arg)
{
	struct engine *e = engine_of(s);
	bool reads = only_reads(req->then_ops, req->n_then) && only_reads(req->else_ops, req->n_else);
	struct call *c = call__new(e, reads ? CALL_READ_TXN : CALL_TXN, arg);
	c->cb.txn = cb;
	c->lazy = req->lazy;
	_cleanup_err_ struct err err = ERR_INIT;
	if (store_cmd_from_txn(&c->cmd, req, &err))
		call__refuse(e, c, &err);
	else if (reads)
		call__submit_read(e, c);
	else
		call__submit(e, c);
}

static struct store_watch *engine_watch(struct store *s, const struct store_watch_req *req,
					const struct store_watch_ops *ops, void *arg)
{
	return watch__add(engine_of(s), req, ops, arg);
}

static void engine_watch_pause(struct store *s, struct store_watch *w, bool paused)
{
	watch__pause(engine_of(s), w, paused);
}

static void engine_unwatch(struct store *s, struct store_watch *w)
{
	watch__remove(engine_of(s), w);
}

static void submit_number(struct store *s, enum store_cmd_kind kind, uint64_t number, store_rev_cb cb, void *arg)
{
	struct engine *e = engine_of(s);
	struct call *c = call__new(e, CALL_NUMBER, arg);
	c->cb.number = cb;
	store_cmd_number(&c->cmd, kind, number);
	call__submit(e, c);
}

static void engine_compact(struct store *s, uint64_t rev, store_rev_cb cb, void *arg)
{
	submit_number(s, CMD_COMPACT, rev, cb, arg);
}

static void engine_lease_grant(struct store *s, uint64_t ttl_s, store_rev_cb cb, void *arg)
{
	struct engine *e = engine_of(s);
	if (ttl_s && ttl_s <= 9000000000u) { /* etcd's bounds */
		submit_number(s, CMD_LEASE_GRANT, ttl_s, cb, arg);
		return;
	}
	_cleanup_err_ struct err err = ERR_INIT;
	struct call *c = call__new(e, CALL_NUMBER, arg);
	c->cb.number = cb;
	err_set(&err, -EINVAL, "a lease lives at least one second and at most 9,000,000,000");
	call__refuse(e, c, &err);
}

static void engine_lease_keepalive(struct store *s, uint64_t lease, store_rev_cb cb, void *arg)
{
	struct engine *e = engine_of(s);
	if (!replica__alone(e)) { /* the clock that counts is the leader's, whoever that is */
		submit_number(s, CMD_LEASE_RENEW, lease, cb, arg);
		return;
	}
	struct call *c = call__new(e, CALL_KEEPALIVE, arg);
	c->cb.number = cb;
	c->cmd.number = lease;
	call__submit_read(e, c);
}

static void engine_lease_revoke(struct store *s, uint64_t lease, store_rev_cb cb, void *arg)
{
	submit_number(s, CMD_LEASE_REVOKE, lease, cb, arg);
}

void store__fill_status(struct engine *e, struct store_status *ret)
{
	struct raft_status rs;
	struct store_log_info info;
	raft_get_status(e->raft, &rs);
	store_log_info(e->log, &info);
	*ret = (struct store_status){.rev = e->mvcc.rev,
				     .compacted_rev = e->mvcc.compacted,
				     .raft_term = rs.term,
				     .raft_index = rs.last_index,
				     .applied_index = e->applied,
				     .leader_id = rs.leader,
				     .member_id = e->member,
				     .cluster_id = e->cluster,
				     .is_leader = rs.state == RAFT_LEADER,
				     .has_quorum = rs.leader != RAFT_NONE && e->recovered,
				     .read_only = e->read_only || e->failed,
				     .alarm = *e->alarm != 0,
				     .keys = mvcc_count(&e->mvcc, "", ""),
				     .memory_bytes = e->mvcc.bytes,
				     .log_bytes = info.bytes,
				     .state_bytes = e->state_file_bytes,
				     .bytes_written = e->bytes_written,
				     .engine = "mini",
				     .version = "1"};
}

static void engine_status(struct store *s, store_status_cb cb, void *arg)
{
	struct engine *e = engine_of(s);
	struct call *c = call__new(e, CALL_STATUS, arg);
	c->cb.status = cb;
	call__refuse(e, c, &ERR_INIT); /* no error: filled in on the next turn */
}

static void engine_close(struct store *s, void (*done)(void *arg), void *arg)
{
	struct engine *e = engine_of(s);
	MUST(!e->closing);
	e->closing = true;
	e->close_done = done;
	e->close_arg = arg;
	failpoint(STORE_CLOSE);
	env_post(e->env, &e->pump);
}

static void engine_free(struct engine *e)
{
	if (e->raft)
		replica__close(e);
	else {
		store_log_close(e->log);
		store_state_reader_close(e->reader);
		store_state_close(e->state);
	}
	cluster__close(e);
	roster__forget_early(e);
	free(e->rows);
	lease__free_all(e);
	mvcc_done(&e->mvcc);
	if (e->disk)
		e->disk->ops->close(e->lock);
	if (e->fatal)
		err_done(e->fatal);
	free(e->fatal);
	free(e->kvs);
	free(e->prevs);
	free(e->events);
	e->magic = 0;
	free(e);
}

/* Closed once everything that was asked for is answered and on disk, and no lane holds anything of ours. */
void store__maybe_closed(struct engine *e)
{
	/* No room on the disk: what waits for the log was told so; what waits for the state to follow is told below. */
	bool log_full = env_timer_active(&e->retry);
	bool stuck = log_full || (e->state_full && e->state_pending_bytes > ENGINE_STATE_LAG_MAX);
	if (!e->closing || (e->writing && !log_full) || e->state_writing || !list_empty(&e->history_reads) ||
	    snapshot__busy(e) || !list_empty(&e->answers))
		return;
	bool calls = !list_empty(&e->waiting) || !list_empty(&e->lazy) || !list_empty(&e->inflight) ||
		     !list_empty(&e->forwarded) || !list_empty(&e->reads);
	bool dirty = raft_has_ready(e->raft) || (!writer__clean(e) && !e->state_full);
	if (!e->failed && !stuck && (calls || dirty))
		return;
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_CANCELED, "the store is closing");
	if (calls) { /* stuck: it would wait for ever */
		replica__cancel(e, &err);
		env_post(e->env, &e->pump);
		return; /* once more: an answer may have asked for something, and was refused */
	}
	watch__end_all(e, &err);
	watch__sweep(e);
	failpoint(STORE_CLOSED);
	void (*done)(void *) = e->close_done;
	void *arg = e->close_arg;
	engine_free(e);
	if (done)
		done(arg);
}

static const struct store_engine engine_ops = {
	.range = engine_range,
	.txn = engine_txn,
	.watch = engine_watch,
	.watch_pause = engine_watch_pause,
	.unwatch = engine_unwatch,
	.compact = engine_compact,
	.lease_grant = engine_lease_grant,
	.lease_keepalive = engine_lease_keepalive,
	.lease_revoke = engine_lease_revoke,
	.status = engine_status,
	.close = engine_close,
};

bool store__is_ours(const struct store *s)
{
	return s->engine == &engine_ops;
}

static int take_dir(struct engine *e, const char *dir, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/lock", dir);
	int rc = e->disk->ops->mkdir(e->disk, dir);
	if (rc)
		return err_set(err, rc, "cannot make %s: %s", dir, strerror(-rc));
	rc = e->disk->ops->lock(e->disk, path, &e->lock);
	if (rc == -EBUSY)
		return err_set(err, rc, "%s is in use by another process", dir);
	return rc ? err_set(err, rc, "cannot lock %s: %s", path, strerror(-rc)) : 0;
}

static void default_size(uint64_t *size, uint64_t usual)
{
	if (!*size)
		*size = usual;
}

int store_open(struct env *env, const struct store_config *config, struct store **ret, struct err *err)
{
	struct engine *e = NEW(struct engine);
	e->base = (struct store){.engine = &engine_ops, .env = env};
	e->magic = ENGINE_MAGIC;
	e->env = env;
	e->disk = config->disk ? config->disk : store_disk_real();
	e->history_us = config->history_us ? config->history_us : 300000000u;
	e->history_disk_bytes = config->history_disk_bytes;
	e->hash_us = config->hash_us ? config->hash_us : 600000000u;
	e->sizes = config->sizes;
	default_size(&e->sizes.log_segment, STORE_LOG_SEGMENT);
	default_size(&e->sizes.state_bytes, ENGINE_STATE_BYTES);
	default_size(&e->sizes.state_us, ENGINE_STATE_US);
	default_size(&e->sizes.checkpoint, ENGINE_CHECKPOINT);
	default_size(&e->sizes.log_keep, ENGINE_LOG_KEEP);
	default_size(&e->sizes.snapshot_piece, SNAPSHOT_PIECE);
	default_size(&e->sizes.snapshot_idle_us, SNAPSHOT_IDLE_US);
	e->level_max = config->level_max ? config->level_max : STORE_LEVEL;
	e->peer = config->peer;
	e->on_fatal = config->on_fatal;
	e->fatal_arg = config->fatal_arg;
	e->next_read_id = 1;
	e->compact_rows = STORE_COMPACT_ROWS;
	mvcc_init(&e->mvcc, config->history_bytes ? config->history_bytes : 64u << 20);
	struct list *lists[] = {&e->answers,  &e->forwarded, &e->waiting, &e->lazy,
				&e->inflight, &e->reads,     &e->watches, &e->history_reads};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	_cleanup_free_ char *dir = xasprintf("%s/store", config->dir);
	int rc = take_dir(e, dir, err);
	failpoint(STORE_LOCKED);
	if (!rc)
		rc = replica__open(e, dir, config, err);
	if (!rc)
		rc = cluster__open(e, config, err);
	if (!rc && config->read_back)
		rc = store_state_verify(e->state, &e->mvcc, err);
	if (rc) {
		engine_free(e);
		return rc;
	}
	failpoint(STORE_OPENED);
	*ret = &e->base;
	return 0;
}
