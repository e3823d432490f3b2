/* The state on disk: a SQLite database that follows the log. Private to the store.
 *
 * Table kv holds every kept version: id = revision << 20 | place in the revision, value NULL for a deletion. Tables
 * lease, member and meta hold the rest; each batch changes all of them and the applied index in one transaction. A
 * commit is atomic but durable only after a checkpoint: until then the log has it.
 *
 * Format 2 added the members and what renewed a lease; format 3 checksums in the pages (state_vfs.c), in databases that
 * were begun with it. A state of an older format is copied beside itself (state-before-format-3.db) before anything in it
 * is changed.
 *
 * A page whose checksum does not fit is -EUCLEAN, wherever it is read.
 *
 * Threads: open and load on the loop at start; store_state_write() on the state lane, one at a time; a reader of its
 * own for the pool, one query at a time. Batches and queries touch only what they were handed.
 */
#ifndef MINI_STORE_STATE_H
#define MINI_STORE_STATE_H

#include "lib/core/buf.h"
#include "lib/core/err.h"
#include "raft/raft.h"
#include "store/cluster.h"
#include "store/disk.h"
#include "store/mvcc.h"

#define STORE_STATE_FORMAT 3
#define STORE_ALARM_MAX    256
#define STORE_COMPACT_ROWS 1000
#define STORE_SUB_BITS     20 /* versions in one revision */
#define STORE_SUB_MAX      ((1u << STORE_SUB_BITS) - 1)

struct store_state;

struct store_state_meta {
	uint64_t cluster, member; /* 0 in a new database */
	uint64_t applied, applied_term, term, vote;
	uint64_t rev, compacted;
	struct raft_membership membership; /* as of applied */
	bool has_membership;         /* false: of format 1, whose member is alone. Without members: it is to join */
	uint64_t level;              /* the cluster's format level */
	char alarm[STORE_ALARM_MAX]; /* what is wrong with the cluster, for people; "": nothing */
};

int store_state_open(struct store_disk *disk, const char *path, struct store_state **ret, struct store_state_meta *meta,
		     struct err *err);
void store_state_close(struct store_state *st); /* accepts NULL */
/* It was found damaged, and others hold the same: it is not to be opened again (-EUCLEAN). Blocking. */
void store_state_condemn(struct store_state *st);

/* A member as the log made it: what raft knows of it (leader, active, match) is not kept. */
struct store_state_member {
	struct store_member m;
	bool removed;   /* out for good: kept so that its id never comes back */
	uint64_t level; /* the highest format level it said it supports */
};
struct store_state_lease {
	uint64_t id, ttl_s; /* ttl 0: gone */
	uint64_t renewed;   /* the entry that renewed it last; 0: none did */
};
struct store_state_callbacks { /* any may be NULL; rows by id */
	void (*on_lease)(void *arg, const struct store_state_lease *l);
	void (*on_member)(void *arg, const struct store_state_member *m);
};
/* Fills m with the latest versions, and calls back for each row of the rest. */
int store_state_load(struct store_state *st, struct mvcc *m, const struct store_state_callbacks *cb, void *arg,
		     struct err *err);
/* Compare what is in m with what is in the database. -EUCLEAN says where they differ. */
int store_state_verify(struct store_state *st, const struct mvcc *m, struct err *err);

struct store_state_batch {
	struct store_state *state;
	struct mvcc_rev **revs;
	size_t n_revs, cap_revs;
	struct store_state_lease *leases;
	size_t n_leases, cap_leases;
	struct store_state_member *members; /* those that changed, whole */
	size_t n_members, cap_members;
	struct store_state_meta meta;
	bool checkpoint;       /* make everything so far durable */
	unsigned compact_rows; /* how many versions a compaction looks at in this batch; 0: STORE_COMPACT_ROWS */
	/* results */
	int result; /* 0; -ENOSPC: nothing was changed, may run again; else the state can't be trusted */
	char message[200];
	bool more_to_compact, checkpointed;
	uint64_t written, file_bytes;
};
void store_state_write(struct store_state_batch *b);
uint64_t store_state_bytes(struct store_state *st); /* of its file; a batch says so too */

/* Everything committed so far goes into the database's file and is durable there. -EBUSY: somebody reads. */
int store_state_settle(struct store_state *st);
/* A database of another member becomes this one's, or with `alone` one of a new cluster of one member. It is not in use;
 * afterwards it is whole in its file, and durable. Blocking. */
struct store_state_own {
	uint64_t cluster, member, term, vote;
	bool alone;
	uint64_t level_max; /* what this program knows: -EPROTO if it has a higher level, and it is left as it is */
};
int store_state_adopt(struct store_disk *disk, const char *path, const struct store_state_own *own, struct err *err);

/* SHA-256 over all keys that live at rev, in their order. In the pool, with a connection of its own. -ESTALE: the state
 * does not reach back to it any more; -ERANGE: it is not that far. */
int store_state_hash(struct store_disk *disk, const char *path, uint64_t rev, uint8_t ret[32]);

struct store_state_row {
	char *key;
	struct blob *value;
	uint64_t mod_rev, create_rev, version, lease;
	bool prev; /* events: this row is what the row before it replaced */
};
struct store_state_reader;
struct store_state_query {
	struct store_state_reader *reader;
	char *key, *end; /* owned; as in a range */
	bool events; /* versions with from <= revision <= to, each followed by its predecessor; else live ones at `to` */
	uint64_t from, to;
	size_t limit; /* rows (events: revisions are not cut, so it may be more); 0: none */
	bool keys_only, count_only;
	/* results */
	int result;
	struct store_state_row *rows;
	size_t n_rows, cap_rows;
	uint64_t count; /* ranges */
	uint64_t next;  /* events: everything before this revision is in rows */
};
int store_state_reader_open(struct store_state *st, struct store_state_reader **ret);
void store_state_reader_close(struct store_state_reader *r); /* accepts NULL */
void store_state_read(struct store_state_query *q);
void store_state_query_done(struct store_state_query *q);

#endif
