#include "nodeagent/host.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "lib/core/util.h"
#include "nodeagent/cgroup.h"

#define TMPFS_SUPER_MAGIC 0x01021994

struct host_real {
	struct host host;
	struct network *network;
	struct journal *journal;
};

static struct host_real *real(struct host *h)
{
	return CONTAINER_OF(h, struct host_real, host);
}

/* Pods' groups lie below one that is journalled as a whole (nodeagent_start). */
static int cgroup_make(struct host *h, const char *path, const struct runtime_resources *limits, struct err *err)
{
	(void)h;
	return cgroup_pod_create(path, limits, err);
}

static int cgroup_drop(struct host *h, const char *path, struct err *err)
{
	(void)h;
	return cgroup_pod_remove(path, err);
}

static int attach(struct host *h, const char *sandbox_id, int pid, char ret_ip[64], struct err *err)
{
	struct network *net = real(h)->network;
	if (!net)
		return err_set(err, -ENOTSUP, "this node has no pod network");
	return network_attach(net, sandbox_id, pid, ret_ip, err);
}

static int detach(struct host *h, const char *sandbox_id, struct err *err)
{
	struct network *net = real(h)->network;
	return net ? network_detach(net, sandbox_id, err) : 0;
}

static const char *ip(struct host *h, const char *sandbox_id)
{
	struct network *net = real(h)->network;
	return net ? network_ip(net, sandbox_id) : NULL;
}

static bool backlog(struct host *h, const char *sandbox_id)
{
	struct network *net = real(h)->network;
	return net && network_backlog(net, sandbox_id);
}

static void retain(struct host *h, const char *const *ids)
{
	struct network *net = real(h)->network;
	if (net)
		network_retain(net, ids);
}

/* Another device than its parent's, and a tmpfs: ours. */
static bool is_tmpfs_mount(const char *dir)
{
	struct stat own, above;
	struct statfs fs;
	_cleanup_free_ char *parent = xasprintf("%s/..", dir);
	return stat(dir, &own) == 0 && stat(parent, &above) == 0 && own.st_dev != above.st_dev &&
	       statfs(dir, &fs) == 0 && fs.f_type == TMPFS_SUPER_MAGIC;
}

static int mount_tmpfs(struct host *h, const char *dir, uint64_t size_bytes, struct err *err)
{
	struct journal *j = real(h)->journal;
	if (is_tmpfs_mount(dir))
		return 0;
	int rc = j ? journal_add(j, JOURNAL_MOUNT, dir, NULL, err) : 0;
	if (rc < 0)
		return rc;
	char options[64] = "mode=0777";
	if (size_bytes)
		snprintf(options, sizeof(options), "mode=0777,size=%llu", (unsigned long long)size_bytes);
	if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return err_errno(err, "mount a tmpfs on %s", dir);
	return 0;
}

static int unmount(struct host *h, const char *dir, struct err *err)
{
	struct journal *j = real(h)->journal;
	while (is_tmpfs_mount(dir)) {
		if (umount2(dir, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return err_errno(err, "unmount %s", dir);
	}
	return j && journal_has(j, JOURNAL_MOUNT, dir) ? journal_remove(j, JOURNAL_MOUNT, dir, err) : 0;
}

static void host_free(struct host *h)
{
	free(real(h));
}

static const struct host_ops real_ops = {
	.cgroup_create = cgroup_make,
	.cgroup_remove = cgroup_drop,
	.net_attach = attach,
	.net_detach = detach,
	.net_ip = ip,
	.net_backlog = backlog,
	.net_retain = retain,
	.mount_tmpfs = mount_tmpfs,
	.unmount = unmount,
	.free = host_free,
};

struct host *host_real(struct network *network, struct journal *journal)
{
	struct host_real *h = NEW(struct host_real);
	h->host.ops = &real_ops;
	h->network = network;
	h->journal = journal;
	return &h->host;
}
