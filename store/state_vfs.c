/* The layer between SQLite and its files that gives each page of a database a checksum, written when the page is and
 * compared when it is read: a bit that flips where the state lies is damage then, and never an answer. SQLite's own log
 * has checksums of its own, and passes through; from there pages come here when they are moved into the database.
 *
 * The last 8 bytes of a page are kept free for it (header byte 20 says so): the page's number, and the CRC-32C of all
 * before. A page of zeros is one that was never written. A database without such bytes, of an older program, is read as
 * it is; its application id tells the one from the other as well, so that no single bit does. */
#include <errno.h>

#include "store/bugs.h"
#include "store/state_internal.h"

#define PAGE        ((int)STATE_PAGE)
#define AT_RESERVED 20
#define AT_APP_ID   68
#define VFS_MAX     4

struct sum_file {
	sqlite3_file base;
	bool sums;
	/* the real file follows */
};

static sqlite3_file *real(sqlite3_file *f)
{
	return (sqlite3_file *)((struct sum_file *)f + 1);
}

static uint32_t page_sum(const uint8_t *page)
{
	return crc32c(STATE_APP_ID, page, STATE_PAGE - 4);
}

static void sign(uint8_t *page, uint32_t number)
{
	memcpy(page + PAGE - 8, &number, 4);
	uint32_t sum = page_sum(page);
	memcpy(page + PAGE - 4, &sum, 4);
}

static bool is_sound(const uint8_t *page, uint32_t want)
{
	static const uint8_t zeros[STATE_PAGE];
	uint32_t number, sum;
	memcpy(&number, page + PAGE - 8, 4);
	memcpy(&sum, page + PAGE - 4, 4);
	return (number == want && sum == page_sum(page)) || memcmp(page, zeros, sizeof(zeros)) == 0;
}

/* What the first page says of itself. */
static bool has_sums(const uint8_t *header)
{
	uint32_t id = (uint32_t)header[AT_APP_ID] << 24 | (uint32_t)header[AT_APP_ID + 1] << 16 |
		      (uint32_t)header[AT_APP_ID + 2] << 8 | header[AT_APP_ID + 3];
	return header[AT_RESERVED] == STATE_PAGE_RESERVED || id == STATE_APP_ID;
}

static int s_read(sqlite3_file *f, void *buf, int len, sqlite3_int64 off)
{
	struct sum_file *s = (struct sum_file *)f;
	int rc = real(f)->pMethods->xRead(real(f), buf, len, off);
	if (rc != SQLITE_OK)
		return rc;
	if (off == 0 && len >= 100 && has_sums(buf))
		s->sums = true;
	if (!s->sums || len <= 100 ||
	    BUG(BUG_PAGE_UNCHECKED)) /* the header, read without a lock: the page is read as a whole before it counts */
		return SQLITE_OK;
	if (len != PAGE || off % PAGE)
		return SQLITE_CORRUPT;
	return is_sound(buf, (uint32_t)(off / PAGE + 1)) ? SQLITE_OK : SQLITE_CORRUPT;
}

static int s_write(sqlite3_file *f, const void *buf, int len, sqlite3_int64 off)
{
	struct sum_file *s = (struct sum_file *)f;
	uint8_t page[STATE_PAGE];
	if (off == 0 && len == PAGE)
		s->sums = has_sums(buf);
	if (s->sums && len == PAGE && off % PAGE == 0) {
		memcpy(page, buf, sizeof(page));
		sign(page, (uint32_t)(off / PAGE + 1));
		buf = page;
	}
	return real(f)->pMethods->xWrite(real(f), buf, len, off);
}

static int s_close(sqlite3_file *f)
{
	return real(f)->pMethods->xClose(real(f));
}
static int s_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real(f)->pMethods->xTruncate(real(f), size);
}
static int s_sync(sqlite3_file *f, int flags)
{
	return real(f)->pMethods->xSync(real(f), flags);
}
static int s_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real(f)->pMethods->xFileSize(real(f), ret);
}
static int s_lock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xLock(real(f), level);
}
static int s_unlock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xUnlock(real(f), level);
}
static int s_reserved(sqlite3_file *f, int *ret)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}
static int s_control(sqlite3_file *f, int op, void *arg)
{
	struct sum_file *s = (struct sum_file *)f;
	if (op == STATE_FCNTL_SUMS) {
		int *set = arg;
		if (*set >= 0)
			s->sums = *set;
		*set = s->sums;
		return SQLITE_OK;
	}
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}
static int s_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}
static int s_traits(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}
static int s_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret)
{
	return real(f)->pMethods->xShmMap(real(f), region, size, extend, ret);
}
static int s_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}
static void s_shm_barrier(sqlite3_file *f)
{
	real(f)->pMethods->xShmBarrier(real(f));
}
static int s_shm_unmap(sqlite3_file *f, int delete)
{
	return real(f)->pMethods->xShmUnmap(real(f), delete);
}

/* Version 2: no pages by memory map, which would pass by here. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = s_close,
	.xRead = s_read,
	.xWrite = s_write,
	.xTruncate = s_truncate,
	.xSync = s_sync,
	.xFileSize = s_size,
	.xLock = s_lock,
	.xUnlock = s_unlock,
	.xCheckReservedLock = s_reserved,
	.xFileControl = s_control,
	.xSectorSize = s_sector,
	.xDeviceCharacteristics = s_traits,
	.xShmMap = s_shm_map,
	.xShmLock = s_shm_lock,
	.xShmBarrier = s_shm_barrier,
	.xShmUnmap = s_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *ret_flags)
{
	sqlite3_vfs *below = vfs->pAppData;
	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return below->xOpen(below, path, f, flags, ret_flags);
	memset(f, 0, sizeof(struct sum_file));
	int rc = below->xOpen(below, path, real(f), flags, ret_flags);
	if (real(f)->pMethods)
		f->pMethods = &methods;
	return rc;
}

/* Everything else is the one's below, which is handed itself. */
static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xDelete(below, path, sync_dir);
}
static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xAccess(below, path, flags, ret);
}
static int vfs_full(sqlite3_vfs *vfs, const char *path, int n, char *ret)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xFullPathname(below, path, n, ret);
}
static int vfs_random(sqlite3_vfs *vfs, int n, char *ret)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xRandomness(below, n, ret);
}
static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xSleep(below, us);
}
static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xCurrentTime(below, ret);
}
static int vfs_time64(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xCurrentTimeInt64(below, ret);
}
static int vfs_error(sqlite3_vfs *vfs, int n, char *ret)
{
	sqlite3_vfs *below = vfs->pAppData;
	return below->xGetLastError ? below->xGetLastError(below, n, ret) : 0;
}

static const char *add(sqlite3_vfs *below)
{
	static struct {
		sqlite3_vfs vfs;
		char name[40];
	} all[VFS_MAX];
	size_t i = 0;
	while (i < VFS_MAX && all[i].vfs.pAppData && all[i].vfs.pAppData != below)
		i++;
	MUST(i < VFS_MAX);
	if (all[i].vfs.pAppData)
		return all[i].name;
	snprintf(all[i].name, sizeof(all[i].name), "mini-%s", below->zName);
	all[i].vfs = (sqlite3_vfs){.iVersion = 2,
				   .szOsFile = (int)sizeof(struct sum_file) + below->szOsFile,
				   .mxPathname = below->mxPathname,
				   .zName = all[i].name,
				   .pAppData = below,
				   .xOpen = vfs_open,
				   .xDelete = vfs_delete,
				   .xAccess = vfs_access,
				   .xFullPathname = vfs_full,
				   .xRandomness = vfs_random,
				   .xSleep = vfs_sleep,
				   .xCurrentTime = vfs_time,
				   .xCurrentTimeInt64 = vfs_time64,
				   .xGetLastError = vfs_error};
	return sqlite3_vfs_register(&all[i].vfs, 0) == SQLITE_OK ? all[i].name : NULL;
}

const char *state__vfs(const struct store_disk *disk)
{
	if (sqlite3_initialize() != SQLITE_OK)
		return NULL;
	sqlite3_vfs *below = sqlite3_vfs_find(disk->vfs);
	sqlite3_mutex *lock = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
	sqlite3_mutex_enter(lock);
	const char *name = below ? add(below) : NULL;
	sqlite3_mutex_leave(lock);
	return name;
}
