/* Control groups of this host: which hierarchies there are, and the few things both minirun and the agent do with a
 * group in all of them at once.
 *
 * v2 is one hierarchy at the root. v1 (and hybrid) is a folder per hierarchy below the root, each with some controllers;
 * a group there is the same path in every one. Paths of groups are absolute below the root: "/kubepods/pod1".
 * Blocking, but each call is a handful of writes to kernel files. A test may open a plain directory as root: every rule
 * here looks only at the files it finds. Sources: kernel docs admin-guide/cgroup-v1, cgroup-v2.
 */
#ifndef MINI_CORE_CGROUP_H
#define MINI_CORE_CGROUP_H

#include <sys/types.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

#define CGROUP_ROOT            "/sys/fs/cgroup"
#define CGROUP_HIERARCHIES_MAX 24

struct cgroup_fs {
	char root[256];
	bool v2; /* nothing but v2 */
	unsigned n;
	int unified;                           /* which of dirs is v2: 0 with v2, hybrid's, or -1 */
	char dirs[CGROUP_HIERARCHIES_MAX][64]; /* v1: folder names below root; v2: one, "" */
};

/* -ENOENT when nothing is mounted there. */
int cgroup_fs_open(const char *root, struct cgroup_fs *ret, struct err *err);
/* Path of a group's folder in the hierarchy that has `controller` ("memory"); v2: the only one. False: none has it. */
bool cgroup_dir(const struct cgroup_fs *fs, const char *controller, const char *group, char *ret, size_t size);
/* Can groups here be limited by `controller`? A kernel may have been started without. */
bool cgroup_has(const struct cgroup_fs *fs, const char *controller);
bool cgroup_path_valid(const char *group); /* absolute, no empty or dotted parts, bounded */

/* v2 inside a container (a cgroup namespace whose root is a group like any other): a group that holds processes can't
 * hand controllers on, so the root's move to "/init" below it, as others do there. The host's own root may hold both:
 * there, and on v1, nothing happens. -EBUSY with the reason when it can't be had. */
int cgroup_clear_root(const struct cgroup_fs *fs, struct err *err);

/* Make the group and its parents everywhere (present: fine). v2: turns the controllers on in every parent; v1: gives
 * new cpusets their parent's cpus and memory nodes, without which nothing can enter. */
int cgroup_make(const struct cgroup_fs *fs, const char *group, struct err *err);
/* Make only the v2 folder, and open it for clone3(CLONE_INTO_CGROUP). *ret_fd -1 where there is no v2. */
int cgroup_open_unified(const struct cgroup_fs *fs, const char *group, int *ret_fd, struct err *err);
/* Move the calling (single-threaded) process in the v1 hierarchies. Together with CLONE_INTO_CGROUP this enters a group
 * without the kernel's global lock, which costs a grace period of 10 ms and more: it is skipped only for a thread that
 * moves itself by way of `tasks`. */
int cgroup_enter_self_v1(const struct cgroup_fs *fs, const char *group, struct err *err);
/* Remove the group and everything below it; what still runs in it is killed first. Waits at most wait_ms for the dying.
 * Absent: 0. -EBUSY when something stays. */
int cgroup_remove(const struct cgroup_fs *fs, const char *group, unsigned wait_ms, struct err *err);
/* Signal every process in the group and below it. Gone is fine. */
int cgroup_kill(const struct cgroup_fs *fs, const char *group, int sig, struct err *err);

/* Write a control file: -ENOENT when no hierarchy has the controller or the file. */
int cgroup_set(const struct cgroup_fs *fs, const char *controller, const char *group, const char *file,
	       const char *value, struct err *err);
/* A file's first number, or the one after `key` in a flat keyed file (key NULL: first). "max" is UINT64_MAX. */
int cgroup_get_u64(const struct cgroup_fs *fs, const char *controller, const char *group, const char *file,
		   const char *key, uint64_t *ret);
/* How many processes of the group itself the kernel killed for memory. 0 when unknown. */
uint64_t cgroup_oom_kills(const struct cgroup_fs *fs, const char *group);

/* v1's cpu.shares (2..262144) on v2's scale (1..10000), as runc and the kubelet convert it. */
uint64_t cgroup_weight_from_shares(uint64_t shares);

#endif
