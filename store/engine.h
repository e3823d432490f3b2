/* The replicated engine's inside, shared by its files: calls, replica, watches, leases, the state's writer. Loop thread. */
#ifndef MINI_STORE_ENGINE_H
#define MINI_STORE_ENGINE_H

#include "lib/core/list.h"
#include "lib/core/map.h"
#include "raft/raft.h"
#include "store/bugs.h"
#include "store/cmd.h"
#include "store/log.h"
#include "store/mvcc.h"
#include "store/peer.h"
#include "store/snapshot.h"
#include "store/state.h"
#include "store/store.h"

#define ENGINE_MAGIC         0x73746f72u
#define ENGINE_QUEUE_MAX     (64u << 20) /* proposals accepted and not answered, in bytes */
#define ENGINE_BATCH_MAX     (4u << 20)  /* gathered into one write of the log */
#define ENGINE_LAZY_US       2000000u
#define ENGINE_RETRY_US      1000000u   /* a full disk is looked at again */
#define ENGINE_NO_LEADER_US  5000000u   /* a call waits this long for a leader */
#define ENGINE_STATE_US      120000000u /* the state follows the log at the latest after this */
#define ENGINE_COMPACT_US    10000u     /* between two pieces of a compaction, at least */
#define ENGINE_PIECE_US      5000u      /* a piece that took longer than this is followed by a smaller one */
#define ENGINE_PIECE_MIN     100u       /* versions; at most STORE_COMPACT_ROWS */
#define ENGINE_STATE_BYTES   (1u << 20)
#define ENGINE_STATE_PART    4u /* of a large state's file a batch is this part: see writer.c */
#define ENGINE_STATE_MOST    (32u << 20)
#define ENGINE_STATE_LAG_MAX (128u << 20) /* what memory may hold and the state not */
#define ENGINE_CHECKPOINT    (8u << 20)
#define ENGINE_LOG_KEEP      (64u << 20) /* in a cluster: for those that lag a little */

enum call_kind { CALL_TXN, CALL_READ_TXN, CALL_RANGE, CALL_NUMBER, CALL_KEEPALIVE, CALL_STATUS, CALL_MEMBERS };

/* One call of the engine's user, from its arrival to its answer. In exactly one list (or in a history read's hands). */
struct call {
	struct list node;
	enum call_kind kind;
	union {
		store_txn_cb txn;
		store_range_cb range;
		store_rev_cb number;
		store_status_cb status;
		store_members_cb members;
	} cb;
	void *arg;
	struct err *err;      /* the answer is this error */
	struct store_cmd cmd; /* TXN, READ_TXN, NUMBER, KEEPALIVE */
	bool lazy;
	bool own; /* the engine's own: a witness sends it too */
	size_t bytes;
	uint64_t index, term; /* proposed as */
	uint64_t since_us;
	struct store_range_req range; /* RANGE; strings owned */
	uint64_t read_id;             /* waits for this ReadIndex; 0: not asked yet */
	uint64_t asked_us;            /* when */
	uint64_t forward_id;          /* sent to the leader under this id */
	uint64_t forward_term;        /* the leader's that it was forwarded to */
};

struct lease {
	uint64_t id, ttl_s, deadline_us;
	uint64_t renewed; /* the entry that renewed it last */
	bool expiring;    /* its end is proposed */
	struct map keys;  /* attached; values unused */
};

struct store_watch {
	struct list node;
	char *key, *end;
	struct store_watch_ops ops;
	void *arg;
	uint64_t next_rev; /* the first not yet delivered; 0: "now", once the store is recovered */
	uint64_t progress_us, last_us;
	size_t max_pending, pending;
	bool paused, dead, reading;
	struct env_timer timer;
	struct engine *engine;
};

/* A read of the state in the pool: for a range call or a watch that catches up. */
struct history_read {
	struct list node;
	struct env_work work;
	struct store_state_query query;
	struct call *call;
	struct store_watch *watch;
	struct engine *engine;
};

struct engine {
	struct store base;
	uint32_t magic;
	struct env *env;
	struct store_disk *disk;
	struct store_file *lock;
	uint64_t history_us;
	struct store_sizes sizes;
	void (*on_fatal)(void *arg, const struct err *err);
	void *fatal_arg;

	struct mvcc mvcc;
	uint64_t cluster, member, applied, applied_term;
	struct map leases; /* by id in hex */
	struct env_timer lease_timer;

	struct list answers;   /* refused: their error on the next turn */
	struct list waiting;   /* to be proposed */
	struct list lazy;      /* to be proposed with the next other one */
	struct list inflight;  /* proposed, by index */
	struct list forwarded; /* sent to the leader, fate not told yet */
	struct list reads;     /* linearizable ones; serializable ones go straight on */
	size_t queued_bytes;
	uint64_t next_read_id;
	struct env_post pump;
	struct env_timer tick, lazy_timer, retry, compact_timer;

	struct store_peer *peer;
	uint64_t next_forward_id;
	struct raft_membership membership; /* as of applied: goes into the state with it */
	bool has_membership;
	uint64_t conf_index;             /* the entry it came with, or where the state stood at the start */
	uint64_t level, level_max;       /* the cluster's format level; what this program knows */
	bool level_raising;              /* a rise is proposed */
	bool fresh;                      /* the directory was new */
	bool witness;                    /* this member: it applies no normal entries */
	bool removed;                    /* it was in, and is not any more: it ends */
	struct store_state_member *rows; /* by id; removed ones too */
	size_t n_rows, cap_rows;
	struct early_cmd {
		struct buf bytes;
		uint64_t term;
	} * early; /* commands about members that came before anything said who belongs */
	size_t n_early, cap_early;
	struct raft_membership told; /* to the transport */
	bool members_due;            /* it is to be told again */
	bool wishes_due;             /* the configuration may not be what is wished */
	struct {
		uint64_t id, at_us;
	} heard[2 * RAFT_MEMBERS_MAX]; /* when each member was heard of last */
	size_t n_heard;
	uint64_t led_us; /* a leader was known then, or the others were asked whether this one still belongs */
	uint64_t leader_term, leader_us; /* of whoever leads, 0: nobody known; and since when */
	bool move_due;                   /* the leadership is to go, to move_to or (0) to the furthest */
	uint64_t move_to, hand_over_us;
	unsigned hand_overs;
	uint64_t leaderless_us;                  /* since when nobody leads; 0: somebody does */
	uint64_t write_us;                       /* when the batch on the log lane was handed over */
	unsigned alone_ticks;                    /* since it is alone */
	char *name, *peer_address, *api_address; /* of this member, as configured; may be NULL */
	struct env_timer announce;
	bool announcing;

	struct raft *raft;
	struct raft_ready rd;
	enum raft_state raft_state; /* of the last ready */
	struct store_log *log;
	struct store_log_job job;
	struct env_work log_work;
	bool writing, recovered, read_only, failed;
	struct err *fatal;

	struct list watches;
	bool watches_lag, watches_dead;

	/* the state and its writer */
	struct store_state *state;
	struct store_state_batch batch;
	struct env_work state_work;
	struct env_timer state_timer;
	uint64_t state_us;     /* when the batch was handed over */
	unsigned compact_rows; /* of a piece of a compaction, if nothing else is to be written */
	bool state_writing, state_due, state_full;
	uint64_t state_sent, state_rev; /* revisions handed over; committed there */
	uint64_t state_applied;         /* committed there */
	uint64_t synced_applied;        /* durable there: the log up to here may go */
	size_t state_pending_bytes;     /* changed since the last hand-over */
	uint64_t since_checkpoint, state_file_bytes, bytes_written;
	struct store_state_lease *lease_changes;
	size_t n_lease_changes, cap_lease_changes;
	struct store_state_member *member_changes;
	size_t n_member_changes, cap_member_changes;

	struct store_state_reader *reader;
	struct list history_reads; /* the first one is under way, if any is */
	bool history_reading;
	struct snapshots *snapshots;
	uint64_t hash_us;
	char alarm[STORE_ALARM_MAX]; /* replicated; "": none */

	struct {
		uint64_t at_us, rev;
	} samples[16]; /* for compaction by age, oldest first */
	size_t n_samples;
	uint64_t history_disk_bytes, history_written; /* the bound; written since the start */
	struct {
		uint64_t bytes, rev;
	} sizes_of[16]; /* for compaction by size, oldest first */
	size_t n_sizes;
	uint64_t compact_upto;
	bool compacting; /* is proposed */

	struct store_kv *kvs; /* scratch for answers */
	size_t cap_kvs;
	struct store_kv *prevs;
	size_t cap_prevs;
	struct store_event *events;
	size_t cap_events;

	bool closing;
	void (*close_done)(void *arg);
	void *close_arg;
};

static inline struct engine *engine_of(struct store *s)
{
	struct engine *e = CONTAINER_OF(s, struct engine, base);
	MAGIC_CHECK(e, ENGINE_MAGIC);
	return e;
}

/* store.c */
bool store__is_ours(const struct store *s);
void store__fill_status(struct engine *e, struct store_status *ret);
void store__maybe_closed(struct engine *e);

/* calls.c */
struct call *call__new(struct engine *e, enum call_kind kind, void *arg);
void call__refuse(struct engine *e, struct call *c, const struct err *err); /* answered on the next turn */
void call__answer_error(struct call *c, const struct err *err);             /* now; frees */
void call__answer_txn(struct call *c, const struct store_txn_resp *resp);
void call__answer_number(struct call *c, uint64_t value);
void call__free(struct call *c);
void call__submit(struct engine *e, struct call *c);      /* to be proposed */
void call__submit_read(struct engine *e, struct call *c); /* to be served here */
int call__witness_err(struct err *err);
int call__admit(struct engine *e, size_t bytes, struct err *err);

/* opening.c */
int replica__open(struct engine *e, const char *dir, const struct store_config *config, struct err *err);
void replica__close(struct engine *e);

/* replica.c */
void replica__start(struct engine *e); /* all is open */
void replica__stop(struct engine *e);  /* no timer fires any more */
void replica__pump(struct engine *e);
void replica__fatal(struct engine *e, const struct err *err);
void replica__cancel(struct engine *e, const struct err *err); /* answers whatever waits with this */
bool replica__leads(const struct engine *e);
bool replica__alone(const struct engine *e); /* the only member, of whatever role */

/* retention.c */
void retention__start(struct engine *e);
void retention__stop(struct engine *e);
void retention__grew(struct engine *e, size_t bytes); /* by a revision */

/* members.c */
void members__open(struct engine *e);
void members__close(struct engine *e);
void members__send(struct engine *e, bool after_sync); /* this ready's messages of that kind */
void members__forward(struct engine *e);
void members__fates(struct engine *e);
void members__passed(struct engine *e, uint64_t index, uint64_t term); /* this entry is about to be applied */
void members__tick(struct engine *e);
bool members__stuck(const struct engine *e); /* the log waits for room: nothing can be promised */
void members__tell(struct engine *e);        /* the transport, if something has changed */

/* roster.c */
const struct raft_member *roster__in(const struct raft_membership *m, uint64_t id); /* NULL: it is not */
enum store_role roster__role(const struct raft_membership *m, uint64_t id);
struct store_state_member *roster__find(const struct engine *e, uint64_t id);
void roster__load(struct engine *e, const struct store_state_member *row);
void roster__restored(struct engine *e, const struct store_state_member *rows, size_t n); /* these instead of all */
void roster__forget_early(struct engine *e);
void roster__complete(struct engine *e); /* a row for each of the membership */
void roster__apply(struct engine *e, const struct store_cmd *cmd, uint64_t term, struct call *call);
void roster__conf(struct engine *e, const struct raft_membership *m); /* that is the membership now */
bool roster__is_out(const struct engine *e);                          /* this member was removed */
void roster__leave(struct engine *e);                                 /* so it was told */
int roster__removed_err(const struct engine *e, struct err *err);
struct store_member *roster__list(const struct engine *e, size_t *ret_n); /* caller frees */

/* wishes.c */
void wishes__heard(struct engine *e, uint64_t id);
bool wishes__active(const struct engine *e, uint64_t id); /* heard of just now */
void wishes__pursue(struct engine *e);                    /* a step, if one can be made */

/* level.c */
int level__check(const struct engine *e, uint64_t level, struct err *err); /* -EPROTO: this program does not know it */
void level__apply(struct engine *e, uint64_t level, struct call *call);
void level__told(struct engine *e, uint64_t level); /* a witness: it has risen that far */
void level__pursue(struct engine *e);               /* the leader: propose it once all are there */

/* cluster.c */
int cluster__open(struct engine *e, const struct store_config *config, struct err *err);
void cluster__close(struct engine *e);
uint64_t cluster__new_id(struct env *env);
void cluster__answer_members(struct engine *e, struct call *c);

/* apply.c */
int apply__cmd(struct engine *e, const struct store_cmd *cmd, const struct raft_entry *entry, struct call *call,
	       struct err *err);
/* Evaluate a transaction that writes nothing. */
void apply__read_txn(struct engine *e, struct call *call);

/* check.c */
void check__apply(struct engine *e, const struct store_cmd *cmd, uint64_t index);
void check__pump(struct engine *e);
void check__open(struct engine *e);
void check__close(struct engine *e);

/* range.c */
void range__serve(struct engine *e, struct call *c); /* now, or through the pool */
void history__submit(struct engine *e, struct history_read *h);
void range__resume(struct engine *e); /* the state may be read again */

/* watch.c */
struct store_watch *watch__add(struct engine *e, const struct store_watch_req *req, const struct store_watch_ops *ops,
			       void *arg);
void watch__remove(struct engine *e, struct store_watch *w);
void watch__pause(struct engine *e, struct store_watch *w, bool paused);
void watch__dispatch(struct engine *e, uint64_t rev); /* the revision just written */
void watch__recovered(struct engine *e);
void watch__restored(struct engine *e); /* the revisions jumped: whoever can goes on from the state's history */
void watch__catch_up(struct engine *e);
void watch__history(struct engine *e, struct history_read *h); /* its read is done */
void watch__end_all(struct engine *e, const struct err *err);
void watch__sweep(struct engine *e);

/* lease.c */
struct lease *lease__get(struct engine *e, uint64_t id);
void lease__add(struct engine *e, const struct store_state_lease *l); /* deadline from now */
void lease__attach(struct engine *e, const struct mvcc_rev *v);       /* after each change of a key */
/* After loading, on whichever thread: leases, and then their keys. lease__take() makes them the engine's, which has none,
 * with the whole time from now on; lease__discard() lets go of at most `max` of keys and leases: true, more to do. */
void lease__load(struct map *leases, const struct store_state_lease *l);
void lease__attach_all(struct map *leases, const struct mvcc *m);
void lease__take(struct engine *e, struct map *leases);
bool lease__discard(struct map *leases, size_t max);
void lease__revoke(struct engine *e, uint64_t id); /* deletes its keys, in the open revision */
void lease__renew(struct engine *e, struct lease *l, uint64_t index);
/* Its leader's clock says so: it ends if it is still as that one saw it. True if it did. */
bool lease__expire(struct engine *e, const struct store_cmd *cmd, uint64_t term);
void lease__leading(struct engine *e); /* a new leader gives everyone the whole time */
void lease__free_all(struct engine *e);

/* writer.c */
void writer__changed(struct engine *e, size_t bytes);
void writer__lease_changed(struct engine *e, const struct store_state_lease *l);
void writer__member_changed(struct engine *e, const struct store_state_member *m); /* its row is this now */
void writer__flush(struct engine *e);                         /* hand over now, if nothing is under way */
unsigned writer__next_piece(unsigned rows, uint64_t took_us); /* of a compaction, after one of so many */
bool writer__clean(const struct engine *e);                   /* the state holds everything, durably */

#endif
