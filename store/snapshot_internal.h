/* What the files of snapshots share: copies of the state, which are sent or saved, and what is being taken in. */
#ifndef MINI_STORE_SNAPSHOT_INTERNAL_H
#define MINI_STORE_SNAPSHOT_INTERNAL_H

#include "lib/core/snapshot_file.h"
#include "store/engine.h"
#include "store/snapshot.h"
#include "store/state_internal.h"

/* ---- copies (snapshot_copy.c) ----
 *
 *   WAITS (for the state to hold what is needed) -> MADE (in the pool) -> READY, or FAILED
 */
/* What copies and their store share; a copy may outlive it. */
struct copies_home {
	unsigned refs;
	struct engine *engine; /* NULL: closed */
	unsigned saved;        /* an operator's, made or being made */
};
void copies_home_unref(struct copies_home *h); /* accepts NULL */

enum copy_phase { COPY_WAITS, COPY_MADE, COPY_READY, COPY_FAILED };

struct copy {
	struct list node; /* of those that are not ready */
	unsigned refs;
	enum copy_phase phase;
	uint64_t id;
	uint64_t need; /* the entry it must hold */
	struct copies_home *home;
	struct env *env;
	struct store_disk *disk;
	struct env_work work;
	char *path, *state_path;
	struct store_file *file;
	struct store_state_meta meta;
	struct snapshot_file_info info;
	uint8_t header[SNAPSHOT_FILE_HEADER];
	int result;
	void (*done)(void *arg, struct copy *c); /* ready, or failed */
	void *arg;
};
/* The state once it holds entry `need`; done comes later, and the caller holds the one reference. */
struct copy *copy__make(struct engine *e, uint64_t need, void (*done)(void *arg, struct copy *c), void *arg);
void copy__unref(struct copy *c); /* accepts NULL; the file goes with the last one, in the pool */
/* A part of the snapshot's bytes, any thread: how many, fewer only at the end; or a negative errno. */
int64_t copy__read(const struct copy *c, void *buf, size_t len, uint64_t off);
/* Is it still what it was? -EUCLEAN: no. Reads all of it; any thread. */
int copy__verify(const struct copy *c);
static inline uint64_t copy__bytes(const struct copy *c)
{
	return snapshot_file_bytes(&c->info);
}
void copies__pump(struct engine *e);

/* ---- sending (snapshot_send.c) ---- */
struct stream {
	struct list node;
	struct env_work work;
	struct engine *engine;
	struct raft_chunk_wanted wanted;
	struct copy *copy; /* it reads from; NULL: waits for one */
	bool again;        /* of a copy that it began to take before: that may have been refused as damaged */
	char *piece;
	int64_t n;
};
void send__close(struct engine *e);

struct incoming; /* snapshot.c */

struct snapshots {
	struct engine *engine;
	const char *state_path; /* there also while the state itself is being replaced */
	struct list copies;     /* waiting or being made */
	struct copies_home *home;
	unsigned making; /* in the pool: they read the state */
	unsigned works;  /* on lanes: not to be closed */
	/* one copy for all members that lag */
	struct copy *sent;
	struct list streams; /* waiting for it, or reading from it */
	uint64_t sent_us;    /* when it was last of use */
	uint64_t sent_floor; /* what it holds at least */
	struct env_timer idle;
	struct incoming *in;
	struct check *check; /* check.c */
	struct mvcc old;     /* memory of before, let go of bit by bit */
	struct map old_leases;
};

#endif
