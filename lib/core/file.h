/* Files: whole reads, durable writes, directory trees. Blocking: call on a lane, at start-up, or in minirun/minictl. */
#ifndef MINI_CORE_FILE_H
#define MINI_CORE_FILE_H

#include <sys/types.h>

#include "lib/core/buf.h"
#include "lib/core/err.h"

/* Reads at most `max` bytes; -EFBIG when the file is larger. Works on /proc and /sys files. */
int file_read(const char *path, size_t max, struct buf *ret, struct err *err);
/* Write a small existing file in place (cgroups, sysctls). */
int file_write(const char *path, const char *data, struct err *err);
/* path.tmp, write, fsync, rename, fsync of the directory: after a crash there is the old content or the new. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *err);
/* The same without the syncs, for files that need not survive a power cut (state under /run). */
int file_write_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *err);
/* The same for what is about to be replaced or removed and means nothing after a reboot: no write to the disk is forced. */
int file_write_fleeting(const char *path, const void *data, size_t len, mode_t mode, struct err *err);
int mkdir_p(const char *path, mode_t mode, struct err *err);
/* Remove a tree; never follows links, never crosses into another mount (-EBUSY says which). Absent: 0. */
int rm_rf(const char *path, struct err *err);
bool file_exists(const char *path);

#endif
