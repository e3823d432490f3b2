/* Opening: what the state holds, what the log says, and who belongs; from them raft begins. */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/log.h"
#include "store/engine.h"

/* While raft is told of the log it is the opening that fails; later on the store stops. */
static int unreadable(struct engine *e, uint64_t index, int rc)
{
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, rc, "entry %" PRIu64 " cannot be read back from the log: %s", index, strerror(-rc));
	if (e->raft) {
		replica__fatal(e, &err);
	} else if (!e->fatal) {
		e->fatal = NEW(struct err);
		err_move(e->fatal, &err);
	}
	return rc;
}

static int read_entries(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	struct engine *e = arg;
	int n = store_log_read(e->log, lo, hi, ret, max);
	return n > 0 ? n : unreadable(e, lo, n ? n : -EIO);
}

static int read_term(void *arg, uint64_t index, uint64_t *ret)
{
	struct engine *e = arg;
	int rc = store_log_term(e->log, index, ret);
	return rc && rc != -ENOENT ? unreadable(e, index, rc) : rc;
}

static void load_lease(void *arg, const struct store_state_lease *l)
{
	lease__add(arg, l);
}

static void load_member(void *arg, const struct store_state_member *m)
{
	roster__load(arg, m);
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
	static const struct store_state_callbacks callbacks = {load_lease, load_member};
	_cleanup_free_ char *path = xasprintf("%s/state.db", dir);
	int rc = store_state_open(e->disk, path, &e->state, meta, err);
	if (!rc)
		rc = level__check(e, meta->level, err);
	if (!rc)
		rc = store_state_load(e->state, &e->mvcc, &callbacks, e, err);
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
	memcpy(e->alarm, meta->alarm, sizeof(e->alarm));
	e->conf_index = meta->applied;
	e->state_file_bytes = store_state_bytes(e->state);
	lease__attach_all(&e->leases, &e->mvcc);
	rc = store_state_reader_open(e->state, &e->reader);
	return rc ? err_set(err, rc, "cannot open the state for reading") : 0;
}

/* The ids a directory has are its own for good; a new one takes those it is given, or makes them. */
static int take_ids(struct engine *e, const char *dir, const struct store_config *config,
		    const struct store_state_meta *meta, struct err *err)
{
	struct store_log_info info;
	store_log_info(e->log, &info);
	e->fresh = !info.has_ids && !meta->cluster;
	if (e->fresh && config->join && (!config->cluster || !config->member))
		return err_set(err, -EINVAL, "a server that joins a cluster is told its ids");
	if (e->fresh)
		store_log_set_ids(e->log, config->cluster ? config->cluster : cluster__new_id(e->env),
				  config->member ? config->member : cluster__new_id(e->env));
	else if (!info.has_ids)
		store_log_set_ids(e->log, meta->cluster, meta->member);
	store_log_info(e->log, &info);
	e->cluster = info.cluster;
	e->member = info.member;
	if ((config->cluster && config->cluster != e->cluster) || (config->member && config->member != e->member))
		return err_set(err, -EINVAL,
			       "%s belongs to member %016" PRIx64 " of cluster %016" PRIx64 ", not to %016" PRIx64
			       " of %016" PRIx64,
			       dir, e->member, e->cluster, config->member, config->cluster);
	return 0;
}

static int open_log(struct engine *e, const char *dir, const struct store_config *config,
		    const struct store_state_meta *meta, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/log", dir);
	int rc = store_log_open(e->disk, path, meta->cluster, meta->member, &e->log, err);
	if (rc)
		return rc;
	store_log_set_segment(e->log, e->sizes.log_segment);
	return take_ids(e, dir, config, meta, err);
}

/* What the log says and what the state holds must meet. */
static int join_log(struct engine *e, const char *dir, const struct store_config *config,
		    const struct store_state_meta *meta, struct raft_hard_state *hs, struct err *err)
{
	struct store_log_info info;
	store_log_info(e->log, &info);
	*hs = info.hard_state;
	if (meta->term > hs->term) {
		hs->term = meta->term;
		hs->vote = meta->vote;
	}
	if (info.base > meta->applied)
		return err_set(
			err, -EUCLEAN,
			"the log begins after entry %" PRIu64 ", but the state ends at %" PRIu64
			": %s/state.db is not the one that belongs to it, or a part of %s/log is missing. Restore the "
			"store from a snapshot",
			info.base, meta->applied, dir, dir);
	if (config->has_log && meta->applied && !info.bytes)
		return err_set(
			err, -EUCLEAN,
			"the log in %s/log is gone, and with it the last writes and what this server promised: put it "
			"back, or restore the store from a snapshot",
			dir);
	if (info.torn)
		log_warn("store", "the last write was torn by a crash and never acknowledged: dropped");
	uint64_t term = 0;
	bool other = store_log_term(e->log, meta->applied, &term) == 0 && term != meta->applied_term;
	if (meta->applied <= info.last && !other)
		return 0;
	/* the state came from elsewhere, and the log was not begun anew before a crash; or it was lost */
	hs->commit = meta->applied;
	return store_log_reset(e->log, meta->applied, meta->applied_term, hs, err);
}

/* Before anything else is written: a log without it would be taken for that of a server that is alone. */
static int write_first(struct engine *e, const char *dir, struct err *err)
{
	struct store_state_batch b = {.state = e->state,
				      .checkpoint = true,
				      .meta = {.cluster = e->cluster,
					       .member = e->member,
					       .rev = e->mvcc.rev,
					       .has_membership = true,
					       .membership = e->membership,
					       .level = e->level}};
	store_state_write(&b);
	if (!b.result && !b.checkpointed)
		b.result = -EIO;
	if (!b.result && e->disk->ops->sync_dir(e->disk, dir))
		b.result = -EIO;
	return b.result ? err_set(err, b.result, "cannot write the first state in %s: %s", dir, strerror(-b.result))
			: 0;
}

/* It was, and a crash came before that was durable. */
static int write_first_again(struct engine *e, const char *dir, struct err *err)
{
	struct store_log_info info;
	store_log_info(e->log, &info);
	if (info.bytes)
		return 0;
	int rc = store_state_settle(e->state);
	if (!rc)
		rc = e->disk->ops->sync_dir(e->disk, dir);
	return rc ? err_set(err, rc, "cannot write the first state in %s: %s", dir, strerror(-rc)) : 0;
}

static int take_membership(struct engine *e, const char *dir, const struct store_config *config, struct err *err)
{
	bool given = e->fresh && (config->join || config->n_members);
	if (config->n_members > RAFT_MEMBERS_MAX)
		return err_set(err, -E2BIG, "a cluster has at most %u members", RAFT_MEMBERS_MAX);
	if (!e->level)
		e->level = 1;
	if (!e->has_membership && given) {
		e->membership.n_members = config->join ? 0 : config->n_members;
		for (size_t i = 0; i < e->membership.n_members; i++)
			e->membership.members[i] = config->members[i];
		int rc = write_first(e, dir, err);
		if (rc)
			return rc;
	} else if (e->has_membership) {
		int rc = write_first_again(e, dir, err);
		if (rc)
			return rc;
	} else {
		e->membership = (struct raft_membership){.n_members = 1, .members = {{e->member, RAFT_VOTER}}};
	}
	e->has_membership = true;
	roster__complete(e);
	return roster__is_out(e) ? roster__removed_err(e, err) : 0;
}

static int start_raft(struct engine *e, const struct raft_hard_state *hs, struct err *err)
{
	struct store_log_info info;
	struct raft_partial partial;
	snapshot__open(e, &partial);
	check__open(e);
	store_log_info(e->log, &info);
	int rc = raft_new(&(struct raft_config){.id = e->member,
						.members = e->membership.members,
						.n_members = e->membership.n_members,
						.old_members = e->membership.old,
						.n_old_members = e->membership.n_old,
						.hard_state = *hs,
						.first_index = info.base + 1,
						.last_index = info.last,
						.base_term = info.base_term,
						.applied = e->applied,
						.partial = partial,
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
	if (!rc)
		return 0;
	check__close(e);
	snapshot__close(e);
	return e->fatal ? err_set(err, e->fatal->code, "%s", e->fatal->message)
			: err_set(err, rc, "the store's log and state contradict each other");
}

int replica__open(struct engine *e, const char *dir, const struct store_config *config, struct err *err)
{
	struct store_state_meta meta = {0};
	struct raft_hard_state hs = {0};
	int rc = load_state(e, dir, &meta, err);
	if (!rc)
		rc = open_log(e, dir, config, &meta, err);
	if (!rc)
		rc = take_membership(e, dir, config, err);
	if (!rc)
		rc = join_log(e, dir, config, &meta, &hs, err);
	if (!rc)
		rc = start_raft(e, &hs, err);
	if (rc)
		return rc;
	e->next_forward_id = 1; /* the leader knows one life of this member from another */
	members__open(e);
	replica__start(e);
	return 0;
}

void replica__close(struct engine *e)
{
	replica__stop(e);
	members__close(e);
	check__close(e);
	snapshot__close(e);
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
