#include "runtime/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include "lib/core/buf.h"
#include "lib/core/file.h"
#include "runtime/mounts.h"

#define LAYERS_MAX 500 /* overlayfs' own limit */

static int propagation_flag(const char *name, unsigned long *ret)
{
	static const struct {
		const char *name;
		unsigned long flag;
	} names[] = {{"private", MS_PRIVATE},      {"rprivate", MS_PRIVATE | MS_REC},
		     {"slave", MS_SLAVE},          {"rslave", MS_SLAVE | MS_REC},
		     {"shared", MS_SHARED},        {"rshared", MS_SHARED | MS_REC},
		     {"unbindable", MS_UNBINDABLE}};
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (streq(name, names[i].name)) {
			*ret = names[i].flag;
			return 0;
		}
	return -EINVAL;
}

/* "a\:b:c" -> "a:b", "c" */
static char *next_layer(const char **p)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	for (; **p && **p != ':'; (*p)++) {
		if (**p == '\\' && (*p)[1])
			(*p)++;
		buf_addc(&b, **p);
	}
	if (**p)
		(*p)++;
	return buf_steal(&b);
}

/* Older kernels notice an option they do not know only at the end, and complain about it in the host's log. */
static bool kernel_has_steps(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;
	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 5));
}

/* Linux 6.5 and later take layers one at a time, as many and as long as need be. Returns -EINVAL where it is older. */
static int overlay_by_steps(const char *lower, const char *upper, const char *work, struct err *err)
{
	if (!kernel_has_steps())
		return -EINVAL;
	_cleanup_close_ int fs_fd = fsopen("overlay", FSOPEN_CLOEXEC);
	if (fs_fd < 0)
		return err_errno(err, "overlayfs");
	unsigned n = 0;
	for (const char *p = lower; *p;) {
		_cleanup_free_ char *layer = next_layer(&p);
		if (n++ == LAYERS_MAX)
			return err_set(err, -E2BIG, "overlay of more than %d layers", LAYERS_MAX);
		if (fsconfig(fs_fd, FSCONFIG_SET_STRING, "lowerdir+", layer, 0) < 0)
			return err_errno(err, "overlay layer %s", layer);
	}
	if (upper && (fsconfig(fs_fd, FSCONFIG_SET_STRING, "upperdir", upper, 0) < 0 ||
		      fsconfig(fs_fd, FSCONFIG_SET_STRING, "workdir", work, 0) < 0))
		return err_errno(err, "overlay upper layer %s", upper);
	if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(err, "overlay on %s", upper ? upper : lower);
	int fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, 0);
	return fd >= 0 ? fd : err_errno(err, "overlay");
}

/* Before 6.5, and for names longer than fsconfig takes (255): mount(2), whose one page of options is made to last by
 * naming the layers relative to their common folder. */
static int overlay_by_mount(const char *lower, const char *upper, const char *work, const char *target, struct err *err)
{
	size_t common = 0;
	for (size_t i = 0; lower[i] && lower[i] != ':'; i++)
		if (lower[i] == '/')
			common = i + 1;
	for (const char *p = lower; p; p = strchr(p, ':'), p = p ? p + 1 : NULL)
		while (common && strncmp(p, lower, common) != 0)
			for (common--; common && lower[common - 1] != '/';)
				common--;
	_cleanup_free_ char *dir = xstrndup(lower, common);
	_cleanup_buf_ struct buf o = BUF_INIT;
	buf_adds(&o, "lowerdir=");
	for (const char *p = lower; p; p = strchr(p, ':'), p = p ? p + 1 : NULL) {
		buf_adds(&o, p == lower ? "" : ":");
		buf_add(&o, p + common, strcspn(p + common, ":"));
	}
	if (upper)
		buf_addf(&o, ",upperdir=%s,workdir=%s", upper, work);
	if (strchr(lower, ',') || (upper && (strchr(upper, ',') || strchr(work, ','))))
		return err_set(err, -EINVAL, "overlay: a layer's path has a comma in it");
	if (o.len >= 4096)
		return err_set(err, -E2BIG, "overlay: too many layers for a kernel before 6.5");
	if (chdir(common ? dir : "/") < 0)
		return err_errno(err, "overlay layers in %s", dir);
	if (mount("overlay", target, "overlay", 0, o.data) < 0)
		return err_errno(err, "overlay on %s", target);
	return 0;
}

static int attach_overlay(const struct spec *s, const char *lower, int *ret_fd, struct err *err)
{
	const char *upper = spec_annotation(s, ROOTFS_UPPER), *work = spec_annotation(s, ROOTFS_WORK);
	if (!upper != !work)
		return err_set(err, -EINVAL, "config.json: annotations %s and %s belong together", ROOTFS_UPPER,
			       ROOTFS_WORK);
	_cleanup_close_ int fd = overlay_by_steps(lower, upper, work, err), target = -1;
	if (fd == -EINVAL) {
		int r = overlay_by_mount(lower, upper, work, s->rootfs, err);
		if (r < 0)
			return r;
		fd = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_errno(err, "root %s", s->rootfs);
		*ret_fd = STEAL_FD(fd);
		return 0;
	}
	if (fd < 0)
		return fd;
	target = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return err_errno(err, "root %s", s->rootfs);
	int r = mount_attach(fd, target, s->rootfs, err);
	if (r < 0)
		return r;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int rootfs_attach(const struct spec *s, int *ret_fd, struct err *err)
{
	const char *prop = json_str_at(s->json, "linux.rootfsPropagation");
	unsigned long flag = MS_SLAVE | MS_REC;
	if (!str_empty(prop) && propagation_flag(prop, &flag) < 0)
		return err_set(err, -EINVAL, "config.json: linux.rootfsPropagation %.50s is not valid", prop);
	if (mount(NULL, "/", NULL, flag & MS_SHARED ? MS_SLAVE | MS_REC : flag | MS_REC, NULL) < 0)
		return err_errno(err, "mount propagation");
	const char *lower = spec_annotation(s, ROOTFS_LOWER);
	if (lower)
		return attach_overlay(s, lower, ret_fd, err);
	_cleanup_close_ int target = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return err_errno(err, "root %s", s->rootfs);
	_cleanup_close_ int fd = mount_clone(target, "", true, err);
	int r = fd < 0 ? fd : mount_attach(fd, target, s->rootfs, err);
	if (r < 0)
		return r;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

static int make_node(int root_fd, const char *path, mode_t mode, dev_t dev, uid_t uid, gid_t gid, struct err *err)
{
	const char *base = strrchr(path, '/');
	if (path[0] != '/' || !base[1])
		return err_set(err, -EINVAL, "config.json: device path %.200s is not valid", path);
	_cleanup_free_ char *parent = xstrndup(path, (size_t)(base - path));
	_cleanup_close_ int dir = -1, target = -1;
	int r = root_make(root_fd, parent, true, &dir, err);
	if (r < 0)
		return r;
	if (mknodat(dir, base + 1, mode, dev) == 0) {
		if ((uid || gid) && fchownat(dir, base + 1, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(err, "device %s", path);
		return 0;
	}
	if (errno == EEXIST)
		return 0;
	if (errno != EPERM)
		return err_errno(err, "device %s", path);
	/* in a user namespace nodes can't be made, only borrowed */
	if ((r = root_make(root_fd, path, false, &target, err)) < 0)
		return r;
	_cleanup_close_ int fd = mount_clone(AT_FDCWD, path, false, err);
	return fd < 0 ? fd : mount_attach(fd, target, path, err);
}

static int make_listed(const struct spec *s, int root_fd, struct err *err)
{
	size_t i;
	json_t *d;
	json_array_foreach(json_at(s->json, "linux.devices"), i, d)
	{
		const char *type = json_str_at(d, "type"), *path = json_str_at(d, "path");
		mode_t kind = streq(type, "c") || streq(type, "u") ? S_IFCHR
			      : streq(type, "b")                   ? S_IFBLK
			      : streq(type, "p")                   ? S_IFIFO
								   : 0;
		if (!kind || !path)
			return err_set(err, -EINVAL, "config.json: linux.devices[%zu] is not valid", i);
		json_t *mode = json_object_get(d, "fileMode");
		mode_t perm = json_is_integer(mode) ? (mode_t)json_integer_value(mode) & 07777 : 0666;
		int r = make_node(root_fd, path, kind | perm,
				  makedev((unsigned)json_integer_value(json_object_get(d, "major")),
					  (unsigned)json_integer_value(json_object_get(d, "minor"))),
				  (uid_t)json_integer_value(json_object_get(d, "uid")),
				  (gid_t)json_integer_value(json_object_get(d, "gid")), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A /dev that is the host's own must stay as it is. */
static bool dev_is_bound(const struct spec *s)
{
	size_t i, k;
	json_t *m, *o;
	json_array_foreach(json_object_get(s->json, "mounts"), i, m)
	{
		const char *dest = json_str_at(m, "destination");
		if (!streq(dest, "/dev") && !streq(dest, "/dev/"))
			continue;
		if (streq(json_str_at(m, "type"), "bind"))
			return true;
		json_array_foreach(json_object_get(m, "options"), k,
				   o) if (streq(json_string_value(o), "bind") ||
					  streq(json_string_value(o), "rbind")) return true;
	}
	return false;
}

int rootfs_devices(const struct spec *s, int root_fd, struct err *err)
{
	static const struct {
		const char *path;
		unsigned major, minor;
	} nodes[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
		     {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
	static const struct {
		const char *name, *target;
	} links[] = {{"fd", "/proc/self/fd"},
		     {"stdin", "/proc/self/fd/0"},
		     {"stdout", "/proc/self/fd/1"},
		     {"stderr", "/proc/self/fd/2"},
		     {"core", "/proc/kcore"}};
	int r;
	if (dev_is_bound(s))
		return 0;
	for (unsigned i = 0; i < ARRAY_LEN(nodes); i++)
		if ((r = make_node(root_fd, nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor), 0,
				   0, err)) < 0)
			return r;
	if ((r = make_listed(s, root_fd, err)) < 0)
		return r;
	_cleanup_close_ int dev = root_open(root_fd, "/dev", O_PATH | O_DIRECTORY);
	if (dev < 0)
		return err_set(err, dev, "/dev: %s", strerror(-dev));
	for (unsigned i = 0; i < ARRAY_LEN(links); i++)
		if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST)
			return err_errno(err, "/dev/%s", links[i].name);
	/* an image may bring a node of its own; only ours leads to the container's ptys */
	if (faccessat(dev, "pts/ptmx", F_OK, 0) == 0) {
		(void)!unlinkat(dev, "ptmx", 0);
		if (symlinkat("pts/ptmx", dev, "ptmx") < 0 && errno != EEXIST)
			return err_errno(err, "/dev/ptmx");
	}
	return 0;
}

int rootfs_enter(const struct spec *s, int root_fd, struct err *err)
{
	if (s->rootfs_readonly) {
		struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
		if (mount_setattr(root_fd, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0)
			return err_errno(err, "read-only root");
	}
	if (fchdir(root_fd) < 0)
		return err_errno(err, "root %s", s->rootfs);
	/* Both at the same place: the old root then lies on top of the new one, and goes without needing a folder. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(err, "pivot_root to %s", s->rootfs);
	if (umount2(".", MNT_DETACH) < 0)
		return err_errno(err, "can't unmount the host's root");
	if (chdir("/") < 0)
		return err_errno(err, "can't change to the new root");
	const char *prop = json_str_at(s->json, "linux.rootfsPropagation");
	unsigned long flag;
	if (!str_empty(prop) && propagation_flag(prop, &flag) == 0 && (flag & MS_SHARED) &&
	    mount(NULL, "/", NULL, flag, NULL) < 0)
		return err_errno(err, "mount propagation of the root");
	return 0;
}
