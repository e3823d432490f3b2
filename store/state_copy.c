/* Copies of the state's database while it is in use. */
#include <errno.h>

#include "store/state_internal.h"

static int copy_pages(sqlite3 *from, sqlite3 *to)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	if (!b)
		return state__error(to) ? state__error(to) : -EIO;
	int step = sqlite3_backup_step(b, -1), end = sqlite3_backup_finish(b);
	if (step == SQLITE_DONE && end == SQLITE_OK)
		return 0;
	int rc = state__error(to);
	return rc ? rc : -EIO;
}

static int count_keys(sqlite3 *db, uint64_t *ret)
{
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(db,
			       "SELECT count(*) FROM (SELECT max(id) AS m FROM kv GROUP BY key) AS l JOIN kv AS k"
			       " ON k.id = l.m WHERE k.value IS NOT NULL",
			       -1, &q, NULL) != SQLITE_OK)
		return state__error(db);
	if (sqlite3_step(q) == SQLITE_ROW)
		*ret = (uint64_t)sqlite3_column_int64(q, 0);
	return sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(db);
}

/* One transaction that reads: what is counted is what is copied, whatever the writer does meanwhile. */
static int copy_all(sqlite3 *from, sqlite3 *to, struct store_state_meta *ret_meta, uint64_t *ret_keys)
{
	uint64_t compact_done = 0;
	if (sqlite3_exec(from, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return state__error(from);
	int rc = state__read_meta(from, ret_meta, &compact_done);
	if (!rc)
		rc = count_keys(from, ret_keys);
	if (!rc)
		rc = copy_pages(from, to);
	sqlite3_exec(from, "COMMIT", NULL, NULL, NULL);
	return rc;
}

int state__sync_file(struct store_disk *disk, const char *path)
{
	struct store_file *f = NULL;
	int rc = disk->ops->open(disk, path, false, &f);
	if (rc)
		return rc;
	rc = disk->ops->sync(f);
	disk->ops->close(f);
	return rc;
}

static int make_empty(struct store_disk *disk, const char *path)
{
	struct store_file *f = NULL;
	int rc = disk->ops->open(disk, path, true, &f);
	disk->ops->close(f);
	return rc;
}

/* The bytes are SQLite's pages as they are, in a file that needs no journal: nobody reads it before it is whole. */
int state__copy(struct store_disk *disk, const char *from, const char *to, struct store_state_meta *ret_meta,
		uint64_t *ret_keys)
{
	sqlite3 *src = NULL, *dst = NULL;
	struct store_state_meta meta = {0};
	uint64_t keys = 0;
	int rc = make_empty(disk, to);
	if (!rc)
		rc = state__open_db(disk, from, SQLITE_OPEN_READONLY, 512, &src);
	if (!rc)
		rc = state__open_db(disk, to, SQLITE_OPEN_READWRITE, 512, &dst);
	if (!rc && sqlite3_exec(dst, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL) != SQLITE_OK)
		rc = state__error(dst);
	if (!rc)
		rc = copy_all(src, dst, &meta, &keys);
	sqlite3_close(src);
	sqlite3_close(dst);
	if (rc)
		return rc;
	*ret_meta = meta;
	*ret_keys = keys;
	return 0;
}

int state__copy_durably(struct store_disk *disk, const char *from, const char *to)
{
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", to), *dir = xstrndup(to, (size_t)(strrchr(to, '/') - to));
	struct store_state_meta meta;
	uint64_t keys;
	int rc = state__copy(disk, from, tmp, &meta, &keys);
	if (!rc)
		rc = state__sync_file(disk, tmp);
	if (!rc)
		rc = disk->ops->rename(disk, tmp, to);
	if (rc) {
		disk->ops->unlink(disk, tmp);
		return rc;
	}
	return disk->ops->sync_dir(disk, dir);
}
