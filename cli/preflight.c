#include <errno.h>

#include "cli/node.h"
#include "lib/core/cgroup.h"
#include "lib/core/file.h"
#include "lib/core/proc.h"

static bool has_filesystem(const char *name)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (file_read("/proc/filesystems", 65536, &b, NULL) < 0)
		return true;
	_cleanup_free_ char *line = xasprintf("\t%s\n", name);
	return strstr(buf_str(&b), line) != NULL;
}

/* Is there a kernel namespace of each kind a pod needs? */
static const char *missing_namespace(void)
{
	static const char *const kinds[] = {"net", "pid", "mnt", "uts", "ipc", "cgroup"};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		if (!file_exists(path))
			return kinds[i];
	}
	return NULL;
}

static bool on_path(const char *program)
{
	static const char *const dirs[] = {"/usr/sbin", "/sbin",           "/usr/bin",
					   "/bin",      "/usr/local/sbin", "/usr/local/bin"};
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dirs[i], program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static int check_cgroups(struct err *err)
{
	static const char *const controllers[] = {"cpu", "memory", "pids"};
	struct cgroup_fs fs;
	if (cgroup_fs_open(CGROUP_ROOT, &fs, NULL) < 0)
		return err_set(err, -ENOSYS, "no cgroups at " CGROUP_ROOT ": mount cgroup2 there");
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
		if (!cgroup_has(&fs, controllers[i]))
			return err_set(err, -ENOSYS,
				       "this kernel runs without %s control groups: start it with cgroup_enable=%s",
				       controllers[i], controllers[i]);
	return cgroup_clear_root(&fs, err);
}

int node_preflight(struct err *err)
{
	if (geteuid() != 0)
		return err_set(err, -EPERM, "a node runs containers and needs root: try again with sudo");
	const char *ns = missing_namespace();
	if (ns)
		return err_set(err, -ENOSYS, "this kernel has no %s namespaces; a node cannot run here", ns);
	/* A module that is not loaded yet is loaded by the first mount. */
	if (!has_filesystem("overlay")) {
		const char *const argv[] = {"modprobe", "overlay", NULL};
		int status;
		proc_run(argv, NULL, NULL, NULL, &status, NULL);
		if (!has_filesystem("overlay"))
			return err_set(err, -ENOSYS, "this kernel has no overlayfs; load the module `overlay`");
	}
	int r = check_cgroups(err);
	if (r < 0)
		return r;
	if (!on_path("iptables-restore"))
		return err_set(err, -ENOENT, "iptables-restore is missing: apt-get install iptables");
	return 0;
}
