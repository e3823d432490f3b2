/* Copies of the state's database while it is in use. */
#include <errno.h>

#include "lib/core/sha256.h"
#include "store/state_internal.h"

static int copy_pages(sqlite3 *from, sqlite3 *to)
{
	int sums = -1; /* pages may be written before the first one */
	sqlite3_file_control(from, "main", STATE_FCNTL_SUMS, &sums);
	sqlite3_file_control(to, "main", STATE_FCNTL_SUMS, &sums);
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

static void add_row(struct sha256_ctx *sha, sqlite3_stmt *row)
{
	uint64_t head[] = {(uint64_t)sqlite3_column_bytes(row, 0), (uint64_t)sqlite3_column_int64(row, 1),
			   (uint64_t)sqlite3_column_int64(row, 2), (uint64_t)sqlite3_column_int64(row, 3),
			   (uint64_t)sqlite3_column_int64(row, 4), (uint64_t)sqlite3_column_bytes(row, 5)};
	sha256_update(sha, head, sizeof(head));
	sha256_update(sha, sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0));
	if (sqlite3_column_bytes(row, 5))
		sha256_update(sha, sqlite3_column_blob(row, 5), (size_t)sqlite3_column_bytes(row, 5));
}

/* By key: what else the database holds, and where in it a row lies, is each member's own affair. */
static int hash_rows(sqlite3 *db, uint64_t rev, struct sha256_ctx *sha)
{
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(db,
			       "SELECT k.key, k.id, k.create_rev, k.version, k.lease, k.value FROM (SELECT key AS name,"
			       " max(id) AS m FROM kv INDEXED BY kv_key WHERE id<=? GROUP BY key) AS l"
			       " JOIN kv AS k ON k.id = l.m WHERE k.value IS NOT NULL ORDER BY l.name",
			       -1, &q, NULL) != SQLITE_OK)
		return state__error(db);
	sqlite3_bind_int64(q, 1, (int64_t)(rev << STORE_SUB_BITS | STORE_SUB_MAX));
	while (sqlite3_step(q) == SQLITE_ROW)
		add_row(sha, q);
	return sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(db);
}

static int hash_at(sqlite3 *db, uint64_t rev, struct sha256_ctx *sha)
{
	struct store_state_meta meta = {0};
	uint64_t compact_done = 0;
	int rc = state__read_meta(db, &meta, &compact_done);
	if (rc)
		return rc;
	if (meta.rev < rev)
		return -ERANGE;
	return meta.compacted > rev ? -ESTALE : hash_rows(db, rev, sha);
}

int store_state_hash(struct store_disk *disk, const char *path, uint64_t rev, uint8_t ret[32])
{
	sqlite3 *db = NULL;
	uint8_t sum[SHA256_SIZE];
	int rc = state__open_db(disk, path, SQLITE_OPEN_READONLY, 512, &db);
	if (rc)
		return rc;
	struct sha256_ctx *sha = sha256_new();
	rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK ? hash_at(db, rev, sha) : state__error(db);
	sha256_final(sha, sum);
	sqlite3_close(db);
	if (!rc)
		memcpy(ret, sum, sizeof(sum));
	return rc;
}
