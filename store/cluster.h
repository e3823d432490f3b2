/* The members of the replicated store, and copies of its state: what only our own engine has (others: -ENOTSUP).
 *
 * Every change is a log entry, so any member takes it, and it is decided alike everywhere. An entry says what a member
 * is to be (its wish); the leader brings raft's configuration there by steps: a new member is a learner until it has
 * caught up, and only then what was wished. A callback comes once the wish is committed; store_members() tells how far
 * it has come. Loop thread; callbacks never come inside the call.
 *
 *   not a member -> (added) learner -> (caught up) what was wished -> (wish NONE) out for good
 *
 * A member is known by its id, which is made when it is added and never comes back; names and addresses may change.
 */
#ifndef MINI_STORE_CLUSTER_H
#define MINI_STORE_CLUSTER_H

#include "store/store.h"

/* The format level: what may be written to the log and to members is as of the cluster's level, which is replicated and
 * rises by itself once the programs of all members, witnesses too, know the higher one. It never falls: a program that
 * does not know it (any more) stops, and says so. A new kind of log entry comes with a new level. */
#define STORE_LEVEL 1u

#define STORE_MEMBER_NAME_MAX 63u
#define STORE_ADDRESS_MAX     279u
#define STORE_MEMBERS_MAX     31u

/* WITNESS: votes, but keeps no data and never leads; from its first day to its last. NONE: not, or no longer, of it. */
enum store_role { STORE_ROLE_NONE, STORE_ROLE_VOTER, STORE_ROLE_LEARNER, STORE_ROLE_WITNESS };

struct store_member {
	uint64_t id;
	char name[STORE_MEMBER_NAME_MAX + 1];
	char peer[STORE_ADDRESS_MAX + 1]; /* HOST:PORT where its peers find it; "": not known */
	char api[STORE_ADDRESS_MAX + 1];  /* https://HOST:PORT of its API; "": none */
	enum store_role role;             /* in raft's configuration now */
	enum store_role wish;             /* what it is to be */
	bool leader;
	/* as the leader sees it; on another member 0 */
	bool active; /* heard of since the last election timeout */
	uint64_t match;
};

struct store_members {
	uint64_t cluster, self, leader; /* leader 0: unknown */
	uint64_t term, commit, applied;
	unsigned level;                     /* the cluster's format level */
	const struct store_member *members; /* by id */
	size_t n;
	const char *const *alarms; /* sentences: members whose states differ, ... */
	size_t n_alarms;
};
typedef void (*store_members_cb)(void *arg, const struct err *err, const struct store_members *m);

/* serializable: as far as this member knows, without asking the others. */
void store_members(struct store *s, bool serializable, store_members_cb cb, void *arg);
/* name, peer, api and wish of m; an id of 0 is made. The callback has the id. replaces (or 0): that one leaves at the
 * same moment: a server that lost its disk comes back as another. -EEXIST: the name is taken by another; -E2BIG. */
void store_member_add(struct store *s, const struct store_member *m, uint64_t replaces, store_rev_cb cb, void *arg);
/* Promote (VOTER), demote (LEARNER), remove (NONE). -ENOENT; -EINVAL: the last voter, or a witness made something else. */
void store_member_wish(struct store *s, uint64_t id, enum store_role wish, store_rev_cb cb, void *arg);
/* The leadership goes to that voter (0: to the one that is furthest). The callback says that it was asked for. */
void store_move_leader(struct store *s, uint64_t id, store_rev_cb cb, void *arg);

/* A copy of the whole state at one revision, made in the pool while the store works on. Four at a time: -EBUSY. */
struct store_snapshot {
	uint64_t cluster, rev, index, term, keys;
	uint64_t size; /* of the file, in bytes (lib/core/snapshot_file.h has its format) */
};
typedef void (*store_snapshot_cb)(void *arg, const struct err *err, struct store_snapshot *ret);
void store_snapshot_make(struct store *s, store_snapshot_cb cb, void *arg);
/* The bytes from off on, at most len; fewer only at the end. One read at a time. */
typedef void (*store_snapshot_read_cb)(void *arg, const struct err *err, const void *data, size_t len);
void store_snapshot_read(struct store_snapshot *sn, uint64_t off, size_t len, store_snapshot_read_cb cb, void *arg);
void store_snapshot_free(struct store_snapshot *sn); /* not while a read is under way; the file goes */

/* Before store_open(), blocking: DIR's store becomes what that snapshot file holds, as a new cluster of one member with
 * ids of its own. Verified first; -EEXIST: there is a store already; -EUCLEAN: the file is damaged or not whole. */
struct store_disk;
int store_restore(struct env *env, struct store_disk *disk, const char *dir, const char *file, struct err *err);

#endif
