/* The engine interface: revisions of keys, compare-and-swap transactions, watches, leases, compaction. Seam 3.
 *
 * Semantics are etcd's v3 (etcd.io/docs/v3.4/learning/api): one global revision, raised by one per writing
 * transaction; each key has create_revision, mod_revision and version. Every call is answered by exactly one callback
 * on the loop, never inside the call, reads too; a cancelled watch gets none. No acknowledgement precedes its fsync.
 * Keys are byte strings (NUL-free here), compared bytewise; values are blobs, shared and never changed.
 * Bounds: key 4 KiB, value 3 MiB (-EFBIG), 128 operations a transaction, proposals queued 64 MiB (-EBUSY -> 429).
 */
#ifndef MINI_STORE_STORE_H
#define MINI_STORE_STORE_H

#include "lib/core/buf.h"
#include "lib/core/env.h"
#include "lib/core/err.h"

struct store;

struct store_kv {
	const char *key;
	struct blob *value; /* borrowed; NULL for keys-only */
	uint64_t create_rev, mod_rev, version;
	uint64_t lease;
};

struct store_range_req {
	const char *key; /* one key; or with end != NULL the range [key, end); end "" means to the end of the space */
	const char *end; /* store_prefix_end() makes one */
	uint64_t rev;    /* 0: the latest */
	size_t limit;    /* 0: none */
	bool keys_only, count_only;
	bool serializable; /* may be stale on a server without quorum; else linearizable */
};
struct store_range_resp {
	uint64_t rev; /* the store's revision at which this was read (req.rev if given) */
	const struct store_kv *kvs;
	size_t n_kvs;
	uint64_t count; /* in the range, regardless of limit */
	bool more;
};
/* err: NULL (or code 0) on success. err->code: -ESTALE compacted, -ERANGE future revision, -EBUSY, -EHOSTUNREACH no
 * quorum. All borrowed. The same holds for the other callbacks. */
typedef void (*store_range_cb)(void *arg, const struct err *err, const struct store_range_resp *resp);

enum store_cmp_target { STORE_CMP_MOD_REV, STORE_CMP_CREATE_REV, STORE_CMP_VERSION, STORE_CMP_VALUE };
enum store_cmp_op { STORE_EQ, STORE_NE, STORE_LT, STORE_GT };
struct store_cmp {
	const char *key;
	enum store_cmp_target target;
	enum store_cmp_op op;
	uint64_t number; /* revisions and version: 0 means "does not exist" */
	const struct blob *value;
};
enum store_op_type { STORE_PUT, STORE_DELETE, STORE_DELETE_RANGE, STORE_GET };
struct store_op {
	enum store_op_type type;
	const char *key;
	const char *end;    /* DELETE_RANGE */
	struct blob *value; /* PUT; referenced by the store, not copied, when it can be */
	uint64_t lease;
};
struct store_txn_req {
	const struct store_cmp *compares;
	size_t n_compares;
	const struct store_op *then_ops; /* when all compares hold */
	size_t n_then;
	const struct store_op *else_ops;
	size_t n_else;
	bool lazy; /* heartbeat-like: may wait up to 2 s to share another write's commit */
};
struct store_txn_resp {
	bool succeeded;
	uint64_t rev;               /* the store's revision after the transaction; that of its writes if it made any */
	const struct store_kv *got; /* results of STORE_GET ops in order; value NULL when absent */
	size_t n_got;
	/* what PUT/DELETE ops replaced, in op order; value NULL when there was nothing */
	const struct store_kv *prev;
	size_t n_prev;
};
/* err->code -ECANCELED with reason TIMEOUT: its fate is unknown (leader lost): read before trying again. */
typedef void (*store_txn_cb)(void *arg, const struct err *err, const struct store_txn_resp *resp);

enum store_event_type { STORE_EVENT_PUT, STORE_EVENT_DELETE };
struct store_event {
	enum store_event_type type;
	struct store_kv kv;   /* DELETE: key, mod_rev = revision of the deletion, value NULL */
	struct store_kv prev; /* value NULL when it was created */
};
struct store_watch_req {
	const char *key, *end; /* as in a range */
	uint64_t start_rev;    /* events with mod_rev >= start_rev; 0: from now on */
	uint64_t progress_us;  /* if > 0: on_progress at least this often while idle */
	size_t max_pending; /* events kept for a watcher that paused (store_watch_pause); 0: 10,000; beyond: -EOVERFLOW */
};
struct store_watch_ops {
	/* All events of one revision in one call, revisions ascending. Borrowed. */
	void (*on_events)(void *arg, uint64_t rev, const struct store_event *events, size_t n);
	/* Nothing at or before rev is still to come. */
	void (*on_progress)(void *arg, uint64_t rev);
	/* The watch is over: -ESTALE start_rev compacted, -EOVERFLOW too slow, -ECANCELED closing. The handle is gone. */
	void (*on_end)(void *arg, const struct err *err);
};
struct store_watch;

struct store_status {
	uint64_t rev, compacted_rev;
	uint64_t raft_term, raft_index, applied_index;
	uint64_t leader_id, member_id, cluster_id;
	bool is_leader, has_quorum, read_only;
	bool alarm; /* store_members() says which */
	uint64_t keys, memory_bytes, log_bytes, state_bytes, bytes_written;
	char engine[16], version[16];
};
typedef void (*store_status_cb)(void *arg, const struct err *err, const struct store_status *st);
typedef void (*store_rev_cb)(void *arg, const struct err *err, uint64_t value);

struct store_engine {
	void (*range)(struct store *, const struct store_range_req *, store_range_cb, void *arg);
	void (*txn)(struct store *, const struct store_txn_req *, store_txn_cb, void *arg);
	struct store_watch *(*watch)(struct store *, const struct store_watch_req *, const struct store_watch_ops *,
				     void *arg);
	void (*watch_pause)(struct store *, struct store_watch *, bool paused); /* back-pressure */
	void (*unwatch)(struct store *, struct store_watch *);                  /* no callback follows */
	void (*compact)(struct store *, uint64_t rev, store_rev_cb, void *arg);
	void (*lease_grant)(struct store *, uint64_t ttl_s, store_rev_cb, void *arg); /* answers the lease id */
	void (*lease_keepalive)(struct store *, uint64_t lease, store_rev_cb, void *arg);
	void (*lease_revoke)(struct store *, uint64_t lease, store_rev_cb, void *arg);
	void (*status)(struct store *, store_status_cb, void *arg);
	/* Finish what is queued, sync, free; then done. Callbacks under way get -ECANCELED. */
	void (*close)(struct store *, void (*done)(void *arg), void *arg);
};

/* Engines embed this as their first member. */
struct store {
	const struct store_engine *engine;
	struct env *env;
};

static inline void store_range(struct store *s, const struct store_range_req *r, store_range_cb cb, void *arg)
{
	s->engine->range(s, r, cb, arg);
}
static inline void store_txn(struct store *s, const struct store_txn_req *r, store_txn_cb cb, void *arg)
{
	s->engine->txn(s, r, cb, arg);
}
static inline struct store_watch *store_watch(struct store *s, const struct store_watch_req *r,
					      const struct store_watch_ops *ops, void *arg)
{
	return s->engine->watch(s, r, ops, arg);
}

/* The end of the range of all keys with this prefix. Caller frees. */
char *store_prefix_end(const char *prefix);

/* ---- the replicated engine (ours) ---- */
struct store_disk;                      /* store/disk.h: files; the simulator owns one too */
struct store_sizes {                    /* 0: the usual */
	uint64_t log_segment;           /* bytes of a log segment */
	uint64_t state_bytes, state_us; /* the state follows after this much, or this long */
	uint64_t checkpoint;            /* bytes written to the state before it is synced */
	uint64_t log_keep;              /* bytes of log that members which lag a little can count on */
	uint64_t snapshot_piece;        /* bytes of a copy of the state that are sent at a time */
	uint64_t snapshot_idle_us;      /* a copy that nobody asks for any more goes after this */
};
struct store_peer;  /* store/peer.h: the way to the other members */
struct raft_member; /* raft/raft.h */
struct store_config {
	const char *dir;         /* DIR/store: log/ and state.db; made if missing (0700) */
	struct store_disk *disk; /* NULL: the real one */
	uint64_t history_us;     /* compact revisions older than this; 0: 5 minutes */
	/* Compact the oldest revisions so that what is kept of them in the state takes about so much at most, of what was
	 * written since the start; 0: no bound. */
	uint64_t history_disk_bytes;
	uint64_t hash_us;         /* in a cluster the members' states are compared this often; 0: 10 minutes */
	size_t history_bytes;     /* in-memory recent history; 0: 64 MiB */
	bool read_back;           /* tests: verify the state against memory at open */
	unsigned level_max;       /* tests: it is a program that knows this format level; 0: STORE_LEVEL */
	struct store_sizes sizes; /* tests: small ones, so that everything happens often */
	/* Of a cluster of several. In a new directory the ids become the member's for good (0: made); in one that has them
	 * they must be the same or 0. */
	uint64_t cluster, member;
	/* A new directory: who belongs from the first day on, the same list at each. NULL: this one alone. */
	const struct raft_member *members;
	size_t n_members;
	/* A new directory: it was added to a cluster (store_member_add) and waits for that one's leader to be told all. */
	bool join;
	/* It has run before: where the state knows of entries and there is no log at all, that one was lost: -EUCLEAN. */
	bool has_log;
	struct store_peer *peer; /* NULL: it stays alone */
	const char *name;        /* what the others are to know of this one: written to the cluster when it is not so */
	const char *peer_address; /* HOST:PORT */
	const char *api_address;  /* https://HOST:PORT */
	/* The store can't go on (a failed sync, a damaged state): nothing is acknowledged any more and the process is to
	 * end. Called once. NULL: it ends at once, with a line in the log. */
	void (*on_fatal)(void *arg, const struct err *err);
	void *fatal_arg;
};
/* Opens (blocking: start-up only), recovers, elects itself if it is the only voter. On return the store answers calls;
 * they wait until it leads. Damage: -EUCLEAN and a message that says how to restore; where other members are known, DIR
 * comes back through them (cli: as a new member in place of this one). A directory in use by another process: -EBUSY. */
int store_open(struct env *env, const struct store_config *config, struct store **ret, struct err *err);

#endif
