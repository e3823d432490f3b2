/* Named places where a test may let things go wrong: in the store, in the driver of raft. Always compiled in; while
 * none is armed each costs one branch that is never taken.
 *
 * Armed by the environment of a process under test, read once by failpoints_from_env() (minid's main calls it):
 *
 *   MINI_FAILPOINTS="name=action[,name=action...]"
 *     kill          the process kills itself there (SIGKILL), the first time
 *     kill:N        ... the N-th time it gets there
 *     error:ERRNO   the place fails so, each time (EIO, ENOSPC, ...; only where `can fail` is said below)
 *     error:ERRNO:N ... only the N-th time
 *     delay:MS      sleeps, each time; only on a lane: the loop may not wait
 *     off           nothing; so that a list can be edited
 *
 * A name nobody knows is an error that lists all of them. Or by a handler that a test sets, which is asked at each
 * place that is passed: the simulator crashes the virtual server there. Any thread.
 */
#ifndef MINI_CORE_FAILPOINT_H
#define MINI_CORE_FAILPOINT_H

#include "lib/core/err.h"
#include "lib/core/util.h"

/* LOOP: passed on the loop's thread; LANE: on a lane, where delay is allowed. FAILS: can fail. */
#define FAILPOINTS(X)                                                                                                  \
	X(LOG_SEGMENT_CREATE, "log.segment.create", LANE, FAILS)                                                       \
	X(LOG_SEGMENT_PREALLOCATE, "log.segment.preallocate", LANE, FAILS)                                             \
	X(LOG_SEGMENT_HEADER, "log.segment.header", LANE, FAILS)                                                       \
	X(LOG_SEGMENT_SYNC, "log.segment.sync", LANE, FAILS)                                                           \
	X(LOG_SEGMENT_RENAME, "log.segment.rename", LANE, FAILS)                                                       \
	X(LOG_SEGMENT_SYNC_DIR, "log.segment.sync_dir", LANE, FAILS)                                                   \
	X(LOG_SEGMENT_MADE, "log.segment.made", LANE, NEVER_FAILS)                                                     \
	X(LOG_WRITE_BEFORE, "log.write.before", LANE, FAILS)                                                           \
	X(LOG_WRITE_AFTER, "log.write.after", LANE, NEVER_FAILS)                                                       \
	X(LOG_SYNC_BEFORE, "log.sync.before", LANE, FAILS)                                                             \
	X(LOG_SYNC_AFTER, "log.sync.after", LANE, NEVER_FAILS)                                                         \
	X(LOG_DROP_BEFORE, "log.drop.before", LOOP, NEVER_FAILS)                                                       \
	X(LOG_DROP_AFTER, "log.drop.after", LOOP, NEVER_FAILS)                                                         \
	X(LOG_RESET_BEFORE, "log.reset.before", LOOP, NEVER_FAILS)                                                     \
	X(LOG_RESET_BEGUN, "log.reset.begun", LOOP, NEVER_FAILS)                                                       \
	X(LOG_RESET_DONE, "log.reset.done", LOOP, NEVER_FAILS)                                                         \
	X(LOG_READ, "log.read", LOOP, FAILS)                                                                           \
	X(LOG_RECOVER_SEGMENT, "log.recover.segment", LOOP, FAILS)                                                     \
	X(LOG_RECOVER_SETTLE, "log.recover.settle", LOOP, FAILS)                                                       \
	X(LOG_RECOVERED, "log.recovered", LOOP, NEVER_FAILS)                                                           \
	X(STATE_BEGIN, "state.begin", LANE, FAILS)                                                                     \
	X(STATE_ROW, "state.row", LANE, FAILS)                                                                         \
	X(STATE_LEASE, "state.lease", LANE, FAILS)                                                                     \
	X(STATE_COMPACT, "state.compact", LANE, FAILS)                                                                 \
	X(STATE_COMMIT_BEFORE, "state.commit.before", LANE, FAILS)                                                     \
	X(STATE_COMMIT_AFTER, "state.commit.after", LANE, NEVER_FAILS)                                                 \
	X(STATE_CHECKPOINT_BEFORE, "state.checkpoint.before", LANE, FAILS)                                             \
	X(STATE_CHECKPOINT_AFTER, "state.checkpoint.after", LANE, NEVER_FAILS)                                         \
	X(STATE_SETTLE, "state.settle", LOOP, FAILS)                                                                   \
	X(STATE_READ, "state.read", LANE, FAILS)                                                                       \
	X(WRITER_HAND_OVER, "writer.hand_over", LOOP, NEVER_FAILS)                                                     \
	X(WRITER_DONE, "writer.done", LOOP, NEVER_FAILS)                                                               \
	X(REPLICA_PROPOSE, "replica.propose", LOOP, NEVER_FAILS)                                                       \
	X(REPLICA_PROPOSED, "replica.proposed", LOOP, NEVER_FAILS)                                                     \
	X(REPLICA_WRITE, "replica.write", LOOP, NEVER_FAILS)                                                           \
	X(REPLICA_SENT_EARLY, "replica.sent_early", LOOP, NEVER_FAILS)                                                 \
	X(REPLICA_DURABLE, "replica.durable", LOOP, NEVER_FAILS)                                                       \
	X(REPLICA_SENT_LATE, "replica.sent_late", LOOP, NEVER_FAILS)                                                   \
	X(REPLICA_APPLY, "replica.apply", LOOP, NEVER_FAILS)                                                           \
	X(REPLICA_APPLIED, "replica.applied", LOOP, NEVER_FAILS)                                                       \
	X(REPLICA_CONFIG, "replica.config", LOOP, NEVER_FAILS)                                                         \
	X(REPLICA_ROLE, "replica.role", LOOP, NEVER_FAILS)                                                             \
	X(REPLICA_READS, "replica.reads", LOOP, NEVER_FAILS)                                                           \
	X(REPLICA_SERVE, "replica.serve", LOOP, NEVER_FAILS)                                                           \
	X(REPLICA_FULL, "replica.full", LOOP, NEVER_FAILS)                                                             \
	X(MEMBERS_RECEIVE, "members.receive", LOOP, NEVER_FAILS)                                                       \
	X(MEMBERS_FORWARD, "members.forward", LOOP, NEVER_FAILS)                                                       \
	X(MEMBERS_FATE, "members.fate", LOOP, NEVER_FAILS)                                                             \
	X(STORE_LOCKED, "store.locked", LOOP, NEVER_FAILS)                                                             \
	X(STORE_OPENED, "store.opened", LOOP, NEVER_FAILS)                                                             \
	X(STORE_CLOSE, "store.close", LOOP, NEVER_FAILS)                                                               \
	X(STORE_CLOSED, "store.closed", LOOP, NEVER_FAILS)                                                             \
	X(SNAPSHOT_COPY, "snapshot.copy", LANE, FAILS)                                                                 \
	X(SNAPSHOT_COPIED, "snapshot.copied", LANE, NEVER_FAILS)                                                       \
	X(SNAPSHOT_SEND, "snapshot.send", LOOP, NEVER_FAILS)                                                           \
	X(SNAPSHOT_READ, "snapshot.read", LANE, FAILS)                                                                 \
	X(SNAPSHOT_PIECE, "snapshot.piece", LANE, FAILS)                                                               \
	X(SNAPSHOT_RECORD, "snapshot.record", LANE, FAILS)                                                             \
	X(SNAPSHOT_VERIFY, "snapshot.verify", LANE, FAILS)                                                             \
	X(SNAPSHOT_ADOPT, "snapshot.adopt", LANE, NEVER_FAILS)                                                         \
	X(SNAPSHOT_LEAVE, "snapshot.leave", LANE, NEVER_FAILS)                                                         \
	X(SNAPSHOT_RENAME, "snapshot.rename", LANE, FAILS)                                                             \
	X(SNAPSHOT_RENAMED, "snapshot.renamed", LANE, NEVER_FAILS)                                                     \
	X(SNAPSHOT_REPLACED, "snapshot.replaced", LANE, NEVER_FAILS)                                                   \
	X(SNAPSHOT_RESTORE, "snapshot.restore", LOOP, NEVER_FAILS)                                                     \
	X(SNAPSHOT_RESET, "snapshot.reset", LOOP, NEVER_FAILS)                                                         \
	X(SNAPSHOT_TAKEN, "snapshot.taken", LOOP, NEVER_FAILS)                                                         \
	X(SNAPSHOT_RESUME, "snapshot.resume", LOOP, NEVER_FAILS)

enum failpoint {
#define X(id, name, where, fails) FAILPOINT_##id,
	FAILPOINTS(X)
#undef X
		FAILPOINT_COUNT
};

/* What to do at a place that was passed: 0 to go on, or a negative errno to fail with (of use only where it can). It may
 * not come back at all. */
typedef int (*failpoint_handler)(void *arg, enum failpoint p);

extern bool failpoints__armed;
int failpoint__pass(enum failpoint p);

/* failpoint(LOG_SYNC_AFTER): a place to stop at. */
#define failpoint(id) ((void)(__builtin_expect(failpoints__armed, 0) && failpoint__pass(FAILPOINT_##id)))
/* failpoint_error(LOG_SYNC_BEFORE): the same, where it can fail: 0 or a negative errno. */
#define failpoint_error(id) (__builtin_expect(failpoints__armed, 0) ? failpoint__pass(FAILPOINT_##id) : 0)

/* 0, also when the environment says nothing; -EINVAL: what it says cannot be, and why. */
int failpoints_from_env(struct err *err);
int failpoints_parse(const char *text, struct err *err);
void failpoints_set_handler(failpoint_handler fn, void *arg); /* NULL: none */

const char *failpoint_name(enum failpoint p);
int failpoint_by_name(const char *name); /* its number; -ENOENT */
bool failpoint_can_fail(enum failpoint p);
uint64_t failpoint_passed(enum failpoint p); /* how often, while something was armed */

#endif
