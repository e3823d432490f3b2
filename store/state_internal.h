/* What the state's writer and its reader share. */
#ifndef MINI_STORE_STATE_INTERNAL_H
#define MINI_STORE_STATE_INTERNAL_H

#include <sqlite3.h>

#include "store/state.h"

#define STATE_PAGE          4096u
#define STATE_PAGE_RESERVED 8u
#define STATE_APP_ID        0x6d696e69u /* "mini" */
/* A file control of that VFS, with an int: 0 or 1 sets whether pages get checksums, before there is a first page that
 * says so; -1 only asks; it becomes what holds. */
#define STATE_FCNTL_SUMS 1000
/* state_vfs.c: the SQLite VFS over that disk's own that gives pages checksums. Any thread. NULL: it cannot be had. */
const char *state__vfs(const struct store_disk *disk);

int state__error(sqlite3 *db); /* the last error of db as a negative errno */
int state__open_db(struct store_disk *disk, const char *path, int flags, int cache_kib, sqlite3 **ret);
/* The database at `from` as of one commit, in a new file `to`, and what it says of itself; ret_keys: how many are live.
 * The copy is not synced. Blocking. */
int state__copy(struct store_disk *disk, const char *from, const char *to, struct store_state_meta *ret_meta,
		uint64_t *ret_keys);
/* The same, synced, and under its name only once it is whole. */
int state__copy_durably(struct store_disk *disk, const char *from, const char *to);
int state__sync_file(struct store_disk *disk, const char *path);
int state__read_meta(sqlite3 *db, struct store_state_meta *ret, uint64_t *ret_compact_done);
/* Columns key, id, create_rev, version, lease, value. */
struct store_state_row state__row(sqlite3_stmt *q, bool with_value);
int state__level_err(uint64_t level, uint64_t known, struct err *err);
const char *state__path(const struct store_state *st);
struct store_disk *state__disk(const struct store_state *st);

#endif
