/* What the agent does to the host besides running containers: pod cgroups, pod addresses, tmpfs mounts.
 *
 * A narrow seam, so that a whole node runs in a test without touching the host. host_real() puts cgroup.c, network/ and
 * mount(2) behind it. Everything here is short and done on the loop. Each undo of what is not there succeeds.
 */
#ifndef MINI_NODEAGENT_HOST_H
#define MINI_NODEAGENT_HOST_H

#include "lib/core/err.h"
#include "lib/core/journal.h"
#include "nodeagent/network/network.h"
#include "nodeagent/runtime.h"

struct host;
struct host_ops {
	/* The pod's own cgroup, with its limits; the path is the one given to the runtime. */
	int (*cgroup_create)(struct host *, const char *path, const struct runtime_resources *limits, struct err *err);
	int (*cgroup_remove)(struct host *, const char *path, struct err *err);
	/* An address for the sandbox whose pause is `pid`. */
	int (*net_attach)(struct host *, const char *sandbox_id, int pid, char ret_ip[64], struct err *err);
	int (*net_detach)(struct host *, const char *sandbox_id, struct err *err);
	const char *(*net_ip)(struct host *, const char *sandbox_id);
	bool (*net_backlog)(struct host *, const char *sandbox_id); /* connections its servers have yet to accept */
	void (*net_retain)(struct host *, const char *const *ids);
	/* tmpfs of at most size_bytes (0: the kernel's half of memory) on an existing directory. Mounted already: 0. */
	int (*mount_tmpfs)(struct host *, const char *dir, uint64_t size_bytes, struct err *err);
	int (*unmount)(struct host *, const char *dir, struct err *err);
	void (*free)(struct host *);
};
struct host {
	const struct host_ops *ops;
};

/* Both are borrowed; network NULL: every pod gets the node's address. */
struct host *host_real(struct network *network, struct journal *journal);

#endif
