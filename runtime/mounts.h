/* Mounts inside the container's own mount namespace, made by descriptors, never by paths the image could bend.
 *
 * Every destination is opened below the root with openat2(RESOLVE_IN_ROOT) and mounts are moved onto that descriptor, so
 * a symbolic link in an image or a volume can't lead outside. Needs the mount API of Linux 5.12. Source: OCI
 * config.md#mounts, config-linux.md.
 */
#ifndef MINI_RUNTIME_MOUNTS_H
#define MINI_RUNTIME_MOUNTS_H

#include "lib/core/cgroup.h"
#include "runtime/spec.h"

/* Mount options by name, folded. */
struct mount_options {
	uint64_t attr_set, attr_clear;   /* MOUNT_ATTR_* */
	uint64_t rattr_set, rattr_clear; /* the recursive ones: rro, rnosuid, ... */
	uint64_t propagation;            /* MS_PRIVATE, ..., 0: leave */
	bool propagation_recursive;
	bool bind, rbind, tmpcopyup;
	char *data; /* key=value pairs for the file system, joined by '\n' */
};
int mount_options_parse(json_t *options, struct mount_options *ret, struct err *err);
void mount_options_done(struct mount_options *o);

/* Everything of `mounts`, in order. root_fd: the container's root. group: the container's control group or NULL. */
int mounts_make(const struct spec *s, int root_fd, const struct cgroup_fs *fs, const char *group, struct err *err);
/* linux.maskedPaths and readonlyPaths. */
int mounts_hide(const struct spec *s, int root_fd, struct err *err);

/* Open a path below root_fd, whatever links say (O_PATH). -errno. */
int root_open(int root_fd, const char *path, int flags);
/* The same, making missing directories (or, if !is_dir, an empty file). */
int root_make(int root_fd, const char *path, bool is_dir, int *ret_fd, struct err *err);
/* Clone of what is mounted at (fd, path): a detached mount. */
int mount_clone(int dir_fd, const char *path, bool recursive, struct err *err);
int mount_attach(int mount_fd, int target_fd, const char *what, struct err *err);
/* A new file system, detached. options: mount_options.data or NULL. */
int mount_new(const char *type, const char *source, const char *data, uint64_t attr, struct err *err);

#endif
