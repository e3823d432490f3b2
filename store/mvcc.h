/* Revisions in memory: each key's latest version, and a byte-bounded recent history of all versions. Private to the
 * store; loop thread only (the state writer reads the immutable members of versions it was handed).
 *
 * All events with revision > floor are in `history`, in order. A version is freed once the next version of its key has
 * left the history, so any revision >= floor can still be read. Only what the state database holds may leave.
 */
#ifndef MINI_STORE_MVCC_H
#define MINI_STORE_MVCC_H

#include "lib/core/buf.h"
#include "store/btree.h"
#include "store/store.h"

struct mvcc_rev {
	struct mvcc_key *key;
	struct mvcc_rev *older;
	struct blob *value; /* NULL: deleted */
	uint64_t mod_rev, create_rev, version, lease;
	uint32_t sub; /* its place within the revision */
};

struct mvcc_key {
	struct btree_item item; /* item.name points at name */
	struct mvcc_rev *latest;
	char name[];
};

struct mvcc {
	struct btree keys;
	uint64_t rev;       /* the latest */
	uint64_t compacted; /* reads below it are refused */
	uint64_t floor;
	struct mvcc_rev **history; /* history[head .. head+n) */
	size_t head, n, cap;
	size_t history_bytes, history_limit;
	size_t bytes; /* of everything */
	uint32_t sub; /* changes made in the open transaction */
};

void mvcc_init(struct mvcc *m, size_t history_limit);
void mvcc_done(struct mvcc *m);
/* The same bit by bit, at most `max` keys at a time; nothing else may be done with it. True: more to do. */
bool mvcc_discard(struct mvcc *m, size_t max);

/* Loading from the state: versions that are not history. rev and floor are set by the caller afterwards. */
void mvcc_load(struct mvcc *m, const char *key, uint64_t mod_rev, uint64_t create_rev, uint64_t version, uint64_t lease,
	       struct blob *value);

/* A transaction: changes, then mvcc_end() raises the revision if there were any. */
struct mvcc_rev *mvcc_put(struct mvcc *m, const char *key, struct blob *value, uint64_t lease);
struct mvcc_rev *mvcc_delete(struct mvcc *m, const char *key); /* NULL: there was nothing */
bool mvcc_end(struct mvcc *m);

const struct mvcc_rev *mvcc_get(const struct mvcc *m, const char *key, uint64_t rev); /* NULL: not there at rev */
static inline bool mvcc_readable(const struct mvcc *m, uint64_t rev)                  /* from memory */
{
	return rev >= m->floor;
}
/* Walk live versions at rev in [key, end), key order. Returns false from fn to stop. */
void mvcc_walk(const struct mvcc *m, const char *key, const char *end, uint64_t rev,
	       bool (*fn)(void *arg, const struct mvcc_rev *v), void *arg);
uint64_t mvcc_count(const struct mvcc *m, const char *key, const char *end); /* live now */

/* The first place in the history with revision >= rev (m->n when none); history place i. */
size_t mvcc_find(const struct mvcc *m, uint64_t rev);
static inline struct mvcc_rev *mvcc_at(const struct mvcc *m, size_t i)
{
	return m->history[m->head + i];
}
void mvcc_compact(struct mvcc *m, uint64_t rev);
/* Let go of history beyond the limit or compacted, of revisions <= durable; at most `max` versions. True: more to do. */
bool mvcc_evict(struct mvcc *m, uint64_t durable, size_t max);

static inline struct store_kv mvcc_kv(const struct mvcc_rev *v, bool keys_only)
{
	return (struct store_kv){.key = v->key->name,
				 .value = keys_only ? NULL : v->value,
				 .create_rev = v->create_rev,
				 .mod_rev = v->mod_rev,
				 .version = v->version,
				 .lease = v->lease};
}
/* end as in store_range_req: NULL one key, "" the end of the space */
static inline bool mvcc_in_range(const char *name, const char *key, const char *end)
{
	if (!end)
		return strcmp(name, key) == 0;
	return strcmp(name, key) >= 0 && (!*end || strcmp(name, end) < 0);
}

#endif
