/* Files as the store needs them: the narrow seam to the disk, so that a simulator can own it. Blocking.
 *
 * All functions return 0 (or what they say) or a negative errno; the caller knows what to say about it. Nothing is
 * durable before sync (a file's bytes) and sync_dir (names in a directory). A failed sync is never retried.
 */
#ifndef MINI_STORE_DISK_H
#define MINI_STORE_DISK_H

#include "lib/core/util.h"

struct store_disk;
struct store_file; /* an implementation's own */

struct store_disk_ops {
	/* With parents, 0700, and durable: synced in each directory it added a name to. There already: 0. */
	int (*mkdir)(struct store_disk *, const char *path);
	/* Names in a directory, in any order. */
	int (*list)(struct store_disk *, const char *path, void (*each)(void *arg, const char *name), void *arg);
	int (*open)(struct store_disk *, const char *path, bool create, struct store_file **ret);
	int64_t (*size)(struct store_file *);
	int (*preallocate)(struct store_file *, uint64_t size);                        /* the new bytes read as zeros */
	int64_t (*pread)(struct store_file *, void *buf, size_t len, uint64_t off);    /* bytes read */
	int (*pwrite)(struct store_file *, const void *buf, size_t len, uint64_t off); /* all of it or an error */
	int (*sync)(struct store_file *);
	void (*close)(struct store_file *); /* accepts NULL */
	int (*rename)(struct store_disk *, const char *from, const char *to);
	int (*unlink)(struct store_disk *, const char *path);
	int (*sync_dir)(struct store_disk *, const char *path);
	/* Held until closed. -EBUSY: another process has it. */
	int (*lock)(struct store_disk *, const char *path, struct store_file **ret);
};

struct store_disk {
	const struct store_disk_ops *ops;
	const char *vfs; /* name of the SQLite VFS that sees the same files; NULL: the default one */
};

struct store_disk *store_disk_real(void);

#endif
