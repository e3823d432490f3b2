/* A store made of a snapshot's file: a new cluster of one member, with what was in it and ids of its own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "store/engine.h"
#include "store/snapshot_internal.h"

#define PIECE 262144u

static void found(void *arg, const char *name)
{
	bool *is_there = arg;
	if (streq(name, "state.db") || str_ends(name, ".log"))
		*is_there = true;
}

static int check_empty(struct store_disk *disk, const char *dir, struct err *err)
{
	bool is_there = false;
	_cleanup_free_ char *log = xasprintf("%s/log", dir);
	int rc = disk->ops->mkdir(disk, dir);
	if (!rc)
		rc = disk->ops->list(disk, dir, found, &is_there);
	if (!rc)
		disk->ops->list(disk, log, found, &is_there); /* it may not be there */
	if (rc)
		return err_set(err, rc, "cannot use %s: %s", dir, strerror(-rc));
	return is_there ? err_set(err, -EEXIST, "there is a store in %s already: restore into an empty --dir", dir) : 0;
}

/* The database alone, unsynced. */
static int copy_database(struct store_disk *disk, const char *file, const char *to,
			 const struct snapshot_file_info *info, struct err *err)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *piece = xmalloc(PIECE);
	struct store_file *out = NULL;
	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %s", file, strerror(errno));
	int rc = disk->ops->open(disk, to, true, &out);
	for (uint64_t at = 0; !rc && at < info->data_bytes;) {
		ssize_t n = pread(fd, piece, (size_t)MIN(info->data_bytes - at, (uint64_t)PIECE),
				  (off_t)(SNAPSHOT_FILE_HEADER + at));
		if (n < 0 && errno == EINTR)
			continue;
		rc = n < 0 ? -errno : n == 0 ? -EUCLEAN : disk->ops->pwrite(out, piece, (size_t)n, at);
		at += n > 0 ? (uint64_t)n : 0;
	}
	disk->ops->close(out);
	return rc ? err_set(err, rc, "cannot copy %s to %s: %s", file, to, strerror(-rc)) : 0;
}

static int make_state(struct env *env, struct store_disk *disk, const char *dir, const char *file,
		      const struct snapshot_file_info *info, struct err *err)
{
	_cleanup_free_ char *state = xasprintf("%s/state.db", dir), *tmp = xasprintf("%s/restore.db", dir);
	struct store_state_own own = {.cluster = cluster__new_id(env),
				      .member = cluster__new_id(env),
				      .term = info->term + 1,
				      .alone = true,
				      .level_max = STORE_LEVEL};
	int rc = copy_database(disk, file, tmp, info, err);
	if (!rc)
		rc = store_state_adopt(disk, tmp, &own, err);
	if (!rc) {
		rc = disk->ops->rename(disk, tmp, state);
		if (!rc)
			rc = disk->ops->sync_dir(disk, dir);
		if (rc)
			err_set(err, rc, "cannot rename %s: %s", tmp, strerror(-rc));
	}
	if (rc)
		disk->ops->unlink(disk, tmp);
	return rc;
}

int store_restore(struct env *env, struct store_disk *disk, const char *dir, const char *file, struct err *err)
{
	struct snapshot_file_info info;
	struct store_file *lock = NULL;
	_cleanup_free_ char *store = xasprintf("%s/store", dir), *lock_path = xasprintf("%s/lock", store);
	if (!disk)
		disk = store_disk_real();
	int rc = snapshot_file_verify(file, &info, err);
	if (!rc)
		rc = check_empty(disk, store, err);
	if (rc)
		return rc;
	rc = disk->ops->lock(disk, lock_path, &lock);
	if (rc)
		return err_set(err, rc, rc == -EBUSY ? "%s is in use by another process" : "cannot lock %s", store);
	rc = make_state(env, disk, store, file, &info, err);
	disk->ops->close(lock);
	return rc;
}
