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

static int sync_file(struct store_disk *disk, const char *path)
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
static int copy_to(struct store_disk *disk, const char *from, const char *to)
{
	sqlite3 *src = NULL, *dst = NULL;
	int rc = make_empty(disk, to);
	if (!rc)
		rc = state__open_db(disk, from, SQLITE_OPEN_READONLY, 512, &src);
	if (!rc)
		rc = state__open_db(disk, to, SQLITE_OPEN_READWRITE, 512, &dst);
	if (!rc && sqlite3_exec(dst, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL) != SQLITE_OK)
		rc = state__error(dst);
	if (!rc)
		rc = copy_pages(src, dst);
	sqlite3_close(src);
	sqlite3_close(dst);
	return rc ? rc : sync_file(disk, to);
}

int state__copy(struct store_disk *disk, const char *from, const char *to)
{
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", to), *dir = xstrndup(to, (size_t)(strrchr(to, '/') - to));
	int rc = copy_to(disk, from, tmp);
	if (!rc)
		rc = disk->ops->rename(disk, tmp, to);
	if (rc) {
		disk->ops->unlink(disk, tmp);
		return rc;
	}
	return disk->ops->sync_dir(disk, dir);
}
