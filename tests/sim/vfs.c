/* SQLite's view of the virtual disk: files, locks and the WAL index of one process, its randomness and its time. */
#include <errno.h>
#include <sqlite3.h>

#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

struct vfs_file {
	sqlite3_file base;
	struct sim_disk *disk; /* NULL: a temporary file */
	struct sim_vnode *node;
	char *path, *remove; /* remove: when closed */
	bool sync_dir;       /* its name is new: the first sync makes it durable too, as SQLite's own VFS does */
	int lock;
	bool shm;
	unsigned shm_shared, shm_exclusive;
};

static struct vfs_file *of(sqlite3_file *f)
{
	return (struct vfs_file *)f;
}

static int set_shm_lock(struct vfs_file *f, int offset, int n, int flags);

static int v_unlock(sqlite3_file *base, int level)
{
	struct vfs_file *f = of(base);
	struct sim_vnode *n = f->node;
	if (level >= f->lock)
		return SQLITE_OK;
	if (f->lock == SQLITE_LOCK_EXCLUSIVE || f->lock == SQLITE_LOCK_PENDING)
		n->n_exclusive = 0;
	if (f->lock >= SQLITE_LOCK_RESERVED && level < SQLITE_LOCK_RESERVED)
		n->n_reserved = 0;
	if (level == SQLITE_LOCK_NONE)
		n->n_shared--;
	f->lock = level;
	return SQLITE_OK;
}

static int v_lock(sqlite3_file *base, int level)
{
	struct vfs_file *f = of(base);
	struct sim_vnode *n = f->node;
	if (level <= f->lock)
		return SQLITE_OK;
	if (f->lock == SQLITE_LOCK_NONE) {
		if (n->n_exclusive)
			return SQLITE_BUSY;
		n->n_shared++;
		f->lock = SQLITE_LOCK_SHARED;
	}
	if (level >= SQLITE_LOCK_RESERVED && f->lock < SQLITE_LOCK_RESERVED) {
		if (n->n_reserved)
			return SQLITE_BUSY;
		n->n_reserved = 1;
		f->lock = SQLITE_LOCK_RESERVED;
	}
	if (level == SQLITE_LOCK_EXCLUSIVE) {
		if (n->n_shared > 1)
			return SQLITE_BUSY;
		n->n_exclusive = 1;
		f->lock = SQLITE_LOCK_EXCLUSIVE;
	}
	return SQLITE_OK;
}

static int v_reserved(sqlite3_file *f, int *ret)
{
	*ret = of(f)->node->n_reserved > 0;
	return SQLITE_OK;
}

static int v_shm_unmap(sqlite3_file *base, _unused_ int delete)
{
	struct vfs_file *f = of(base);
	struct sim_vnode *n = f->node;
	if (!f->shm)
		return SQLITE_OK;
	for (int i = 0; i < SIM_SHM_LOCKS; i++)
		set_shm_lock(f, i, 1,
			     SQLITE_SHM_UNLOCK |
				     (f->shm_exclusive & 1u << i ? SQLITE_SHM_EXCLUSIVE : SQLITE_SHM_SHARED));
	f->shm = false;
	if (n->shm_users && --n->shm_users == 0) {
		for (int i = 0; i < n->n_shm; i++)
			free(n->shm[i]);
		free(STEAL(n->shm));
		n->n_shm = 0;
	}
	return SQLITE_OK;
}

static int v_close(sqlite3_file *base)
{
	struct vfs_file *f = of(base);
	v_shm_unmap(base, 0);
	v_unlock(base, SQLITE_LOCK_NONE);
	sim_vnode_unref(f->node);
	if (f->remove)
		sim_unlink(f->disk, f->remove);
	free(f->path);
	free(f->remove);
	return SQLITE_OK;
}

static int v_read(sqlite3_file *base, void *buf, int len, sqlite3_int64 off)
{
	struct vfs_file *f = of(base);
	static struct sim_disk none;
	int64_t n = sim_read(f->disk ? f->disk : &none, f->node, buf, (size_t)len, (uint64_t)off);
	if (n < 0)
		return SQLITE_IOERR_READ;
	if (n == len)
		return SQLITE_OK;
	memset((char *)buf + n, 0, (size_t)(len - n));
	return SQLITE_IOERR_SHORT_READ;
}

static int v_write(sqlite3_file *base, const void *buf, int len, sqlite3_int64 off)
{
	struct vfs_file *f = of(base);
	static struct sim_disk none;
	int rc = sim_write(f->disk ? f->disk : &none, f->node, buf, (size_t)len, (uint64_t)off);
	return rc == -ENOSPC ? SQLITE_FULL : rc ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int v_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct vfs_file *f = of(base);
	static struct sim_disk none;
	int rc = sim_truncate(f->disk ? f->disk : &none, f->node, (uint64_t)size);
	return rc == -ENOSPC ? SQLITE_FULL : rc ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static int v_sync(sqlite3_file *base, _unused_ int flags)
{
	struct vfs_file *f = of(base);
	if (!f->disk)
		return SQLITE_OK;
	if (sim_sync(f->disk, f->node))
		return SQLITE_IOERR_FSYNC;
	if (f->sync_dir) {
		_cleanup_free_ char *dir = xstrndup(f->path, (size_t)(strrchr(f->path, '/') - f->path));
		if (sim_sync_dir(f->disk, dir))
			return SQLITE_IOERR_DIR_FSYNC;
		f->sync_dir = false;
	}
	return SQLITE_OK;
}

static int v_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	*ret = (sqlite3_int64)of(f)->node->size;
	return SQLITE_OK;
}

static int v_control(_unused_ sqlite3_file *f, _unused_ int op, _unused_ void *arg)
{
	return SQLITE_NOTFOUND;
}

static int v_sector(_unused_ sqlite3_file *f)
{
	return 4096;
}

static int v_traits(_unused_ sqlite3_file *f)
{
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int v_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **ret)
{
	struct vfs_file *f = of(base);
	struct sim_vnode *n = f->node;
	*ret = NULL;
	if (f->disk->dead)
		return SQLITE_IOERR_SHMMAP;
	if (!f->shm) {
		f->shm = true;
		n->shm_users++;
	}
	if (region >= n->n_shm) {
		if (!extend)
			return SQLITE_OK;
		n->shm = xrealloc(n->shm, (size_t)(region + 1) * sizeof(*n->shm));
		while (n->n_shm <= region)
			n->shm[n->n_shm++] = xcalloc(1, (size_t)size);
	}
	*ret = n->shm[region];
	return SQLITE_OK;
}

static int set_shm_lock(struct vfs_file *f, int offset, int n, int flags)
{
	struct sim_vnode *v = f->node;
	unsigned mask = ((1u << n) - 1) << offset;
	if (flags & SQLITE_SHM_UNLOCK) {
		for (int i = offset; i < offset + n; i++) {
			if (f->shm_exclusive & 1u << i)
				v->shm_exclusive[i] = false;
			if (f->shm_shared & 1u << i)
				v->shm_shared[i]--;
		}
		f->shm_exclusive &= ~mask;
		f->shm_shared &= ~mask;
		return SQLITE_OK;
	}
	for (int i = offset; i < offset + n; i++) {
		bool mine = f->shm_shared & 1u << i;
		if (v->shm_exclusive[i] && !(f->shm_exclusive & 1u << i))
			return SQLITE_BUSY;
		if ((flags & SQLITE_SHM_EXCLUSIVE) && v->shm_shared[i] > (mine ? 1u : 0u))
			return SQLITE_BUSY;
	}
	for (int i = offset; i < offset + n; i++) {
		if (flags & SQLITE_SHM_EXCLUSIVE) {
			v->shm_exclusive[i] = true;
			f->shm_exclusive |= 1u << i;
		} else if (!(f->shm_shared & 1u << i)) {
			v->shm_shared[i]++;
			f->shm_shared |= 1u << i;
		}
	}
	return SQLITE_OK;
}

static int v_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return set_shm_lock(of(f), offset, n, flags);
}

static void v_shm_barrier(_unused_ sqlite3_file *f) {}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = v_close,
	.xRead = v_read,
	.xWrite = v_write,
	.xTruncate = v_truncate,
	.xSync = v_sync,
	.xFileSize = v_size,
	.xLock = v_lock,
	.xUnlock = v_unlock,
	.xCheckReservedLock = v_reserved,
	.xFileControl = v_control,
	.xSectorSize = v_sector,
	.xDeviceCharacteristics = v_traits,
	.xShmMap = v_shm_map,
	.xShmLock = v_shm_lock,
	.xShmBarrier = v_shm_barrier,
	.xShmUnmap = v_shm_unmap,
};

static int vfs_open(_unused_ sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *ret_flags)
{
	struct vfs_file *f = of(base);
	memset(f, 0, sizeof(*f));
	if (!path) {
		f->node = sim_vnode_anonymous();
	} else {
		f->disk = sim_disk_of(path);
		int rc = sim_open(f->disk, path, (flags & SQLITE_OPEN_CREATE) != 0, false, &f->node);
		if (rc)
			return SQLITE_CANTOPEN;
		f->path = xstrdup(path);
		f->sync_dir = (flags & SQLITE_OPEN_CREATE) &&
			      (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL));
		if (flags & SQLITE_OPEN_DELETEONCLOSE)
			f->remove = xstrdup(path);
	}
	f->base.pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(_unused_ sqlite3_vfs *vfs, const char *path, int sync_dir)
{
	struct sim_disk *d = sim_disk_of(path);
	int rc = sim_unlink(d, path);
	if (rc == -ENOENT)
		return SQLITE_IOERR_DELETE_NOENT;
	if (!rc && sync_dir) {
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
		rc = sim_sync_dir(d, dir);
	}
	return rc ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static int vfs_access(_unused_ sqlite3_vfs *vfs, const char *path, int flags, int *ret)
{
	struct sim_vnode *n = sim_disk_find(sim_disk_of(path), path);
	*ret = n && (flags != SQLITE_ACCESS_EXISTS || n->size > 0); /* as SQLite's own: an empty file isn't there */
	return SQLITE_OK;
}

static int vfs_full(_unused_ sqlite3_vfs *vfs, const char *path, int n, char *ret)
{
	sqlite3_snprintf(n, ret, "%s", path);
	return SQLITE_OK;
}

static int vfs_random(_unused_ sqlite3_vfs *vfs, int n, char *ret)
{
	for (int i = 0; i < n; i++)
		ret[i] = (char)rand_u64(&sim.salts);
	return n;
}

static int vfs_sleep(_unused_ sqlite3_vfs *vfs, int us)
{
	return us;
}

static int vfs_time64(_unused_ sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
	*ret = 210866760000000ll + (sqlite3_int64)(sim.now_us / 1000); /* the Julian day of 1970 and so on */
	return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
	sqlite3_int64 t;
	vfs_time64(vfs, &t);
	*ret = (double)t / 86400000.0;
	return SQLITE_OK;
}

static int vfs_error(_unused_ sqlite3_vfs *vfs, _unused_ int n, _unused_ char *ret)
{
	return 0;
}

void sim_vfs_register(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 2,
		.szOsFile = sizeof(struct vfs_file),
		.mxPathname = 256,
		.zName = SIM_VFS_NAME,
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full,
		.xRandomness = vfs_random,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_time,
		.xCurrentTimeInt64 = vfs_time64,
		.xGetLastError = vfs_error,
	};
	MUST(sqlite3_initialize() == SQLITE_OK);
	MUST(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
	sqlite3_randomness(0, NULL); /* seeded anew, from us */
}
