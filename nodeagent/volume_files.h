/* Files of configMap, secret, projected and downwardAPI volumes, replaced all at once, as upstream's atomic writer does:
 *
 *   VOLUME/..2026_01_02_15_04_05.123456/   the files
 *   VOLUME/..data -> ..2026_01_02_15_04_05.123456
 *   VOLUME/key -> ..data/key
 *
 * A payload is plain memory, made on the loop; volume_files_write() blocks and belongs on the pool.
 */
#ifndef MINI_NODEAGENT_VOLUME_FILES_H
#define MINI_NODEAGENT_VOLUME_FILES_H

#include <sys/types.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

struct volume_file {
	char *path; /* relative, checked */
	void *data;
	size_t len;
	mode_t mode;
};
struct volume_files {
	char *volume, *dir;
	char stamp[64];   /* name of the new directory, unique */
	int64_t fs_group; /* -1: none */
	struct volume_file *files;
	size_t n, cap;
};

void volume_files_done(struct volume_files *v);
/* Takes over data. -EINVAL when the path is absolute or leaves the volume. A path already there is replaced. */
int volume_files_add(struct volume_files *v, const char *path, void *data_owned, size_t len, mode_t mode,
		     struct err *err);
/* Nothing is touched when the files are as they should be. */
int volume_files_write(const struct volume_files *v, struct err *err);

#endif
