#include "runtime/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int root_open(int root_fd, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	for (;;) {
		long fd = syscall(SYS_openat2, root_fd, *path ? path : "/", &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR) /* EAGAIN: a rename raced with ".." */
			return -errno;
	}
}

int root_make(int root_fd, const char *path, bool is_dir, int *ret_fd, struct err *err)
{
	int fd = root_open(root_fd, path, O_PATH);
	if (fd != -ENOENT) {
		if (fd < 0)
			return err_set(err, fd, "mount destination %s: %s", path, strerror(-fd));
		*ret_fd = fd;
		return 0;
	}
	const char *base = strrchr(path, '/');
	_cleanup_free_ char *parent = base ? xstrndup(path, (size_t)(base - path)) : xstrdup("");
	base = base ? base + 1 : path;
	_cleanup_close_ int parent_fd = -1;
	int r = *path ? root_make(root_fd, parent, true, &parent_fd, err)
		      : err_set(err, -ENOENT, "the container's root is gone");
	if (r < 0)
		return r;
	if (!*base || streq(base, ".") || streq(base, "..")) {
		*ret_fd = STEAL_FD(parent_fd);
		return 0;
	}
	if (is_dir ? mkdirat(parent_fd, base, 0755) < 0 : mknodat(parent_fd, base, S_IFREG | 0644, 0) < 0) {
		if (errno != EEXIST) /* a dangling link stands there, or somebody was faster */
			return err_errno(err, "mount destination %s", path);
	}
	fd = root_open(root_fd, path, O_PATH);
	if (fd < 0)
		return err_set(err, fd, "mount destination %s: %s", path, strerror(-fd));
	*ret_fd = fd;
	return 0;
}

int mount_clone(int dir_fd, const char *path, bool recursive, struct err *err)
{
	int fd = open_tree(dir_fd, path,
			   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : (unsigned)AT_EMPTY_PATH) |
				   (recursive ? (unsigned)AT_RECURSIVE : 0));
	return fd >= 0 ? fd : err_errno(err, "bind mount of %s", *path ? path : "a path of the container");
}

int mount_attach(int mount_fd, int target_fd, const char *what, struct err *err)
{
	if (move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_errno(err, "can't mount %s", what);
	return 0;
}

/* The kernel explains a refused option on the file system's own descriptor. */
static int fs_error(int fs_fd, const char *type, const char *what, struct err *err)
{
	int e = errno;
	char text[512];
	ssize_t n = read(fs_fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return err_set(err, -e, "mount of %s: %s: %s%s%s%s", type, what, strerror(e), n > 0 ? " (" : "", text,
		       n > 0 ? ")" : "");
}

int mount_new(const char *type, const char *source, const char *data, uint64_t attr, struct err *err)
{
	_cleanup_close_ int fs_fd = fsopen(type, FSOPEN_CLOEXEC);
	if (fs_fd < 0)
		return err_errno(err, "file system type %s", type);
	if (source && fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fs_error(fs_fd, type, "source", err);
	while (data && *data) {
		size_t n = strcspn(data, "\n");
		_cleanup_free_ char *key = xstrndup(data, n);
		char *value = strchr(key, '=');
		if (value)
			*value++ = 0;
		if (fsconfig(fs_fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0) < 0)
			return fs_error(fs_fd, type, key, err);
		data += n + (data[n] == '\n');
	}
	if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(fs_fd, type, "create", err);
	int fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, (unsigned)attr);
	return fd >= 0 ? fd : fs_error(fs_fd, type, "mount", err);
}

static int set_attr(int mount_fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive, const char *what,
		    struct err *err)
{
	struct mount_attr a = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
	if (!set && !clear && !propagation)
		return 0;
	if ((set | clear) & MOUNT_ATTR__ATIME)
		a.attr_clr |= MOUNT_ATTR__ATIME;
	unsigned flags = AT_EMPTY_PATH | (recursive ? (unsigned)AT_RECURSIVE : 0);
	if (mount_setattr(mount_fd, "", flags, &a, sizeof(a)) < 0)
		return err_errno(err, "mount options of %s", what);
	return 0;
}

static int finish(int mount_fd, int target_fd, const char *dest, const struct mount_options *o, struct err *err)
{
	int r;
	if ((r = set_attr(mount_fd, o->rattr_set, o->rattr_clear, 0, true, dest, err)) < 0 ||
	    (r = mount_attach(mount_fd, target_fd, dest, err)) < 0)
		return r;
	/* Propagation of a detached mount can't be changed to shared on every kernel: only once it hangs in the tree. */
	return set_attr(mount_fd, 0, 0, o->propagation, o->propagation_recursive, dest, err);
}

/* "/proc/PID/root/dev/shm": a mount of another container (of the same pod), which only a process in its mount namespace
 * may clone. Visit it and come back; the clone hangs nowhere and can be attached here. */
static int clone_from_process(const char *path, bool recursive, struct err *err)
{
	char ns[64];
	int pid, n = 0;
	if (sscanf(path, "/proc/%d/root/%n", &pid, &n) != 1 || n == 0)
		return -EINVAL;
	snprintf(ns, sizeof(ns), "/proc/%d/ns/mnt", pid);
	_cleanup_close_ int there = open(ns, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int here = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (there < 0 || here < 0 || root < 0 || setns(there, CLONE_NEWNS) < 0)
		return err_errno(err, "mount of %s", path);
	int fd = mount_clone(AT_FDCWD, path + n - 1, recursive, err);
	/* back to the namespace's root, which is not ours where mini runs in a chroot */
	MUST(setns(here, CLONE_NEWNS) == 0 && fchdir(root) == 0 && chroot(".") == 0);
	return fd;
}

static int clone_source(const char *path, bool recursive, struct err *err)
{
	int fd = clone_from_process(path, recursive, err);
	return fd == -EINVAL ? mount_clone(AT_FDCWD, path, recursive, err) : fd;
}

static int make_bind(const struct spec *s, int root_fd, const char *source, const char *dest,
		     const struct mount_options *o, struct err *err)
{
	if (str_empty(source))
		return err_set(err, -EINVAL, "config.json: bind mount on %s has no source", dest);
	_cleanup_free_ char *full = source[0] == '/' ? xstrdup(source) : xasprintf("%s/%s", s->bundle, source);
	_cleanup_close_ int fd = clone_source(full, o->rbind, err), target = -1;
	struct stat st;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "bind mount of %s", full);
	int r = root_make(root_fd, dest, S_ISDIR(st.st_mode), &target, err);
	if (r < 0 || (r = set_attr(fd, o->attr_set, o->attr_clear, 0, false, dest, err)) < 0)
		return r;
	return finish(fd, target, dest, o, err);
}

/* The container's own group in every hierarchy. v1: a small tmpfs with a folder each, as everybody expects it. */
static int make_cgroup(int root_fd, const char *dest, const struct cgroup_fs *fs, const char *group,
		       const struct mount_options *o, struct err *err)
{
	_cleanup_close_ int target = -1;
	int r = root_make(root_fd, dest, true, &target, err);
	if (r < 0)
		return r;
	if (!group)
		return err_set(err, -EINVAL, "config.json: a cgroup mount needs a control group");
	char dir[1024];
	if (fs->v2) {
		cgroup_dir(fs, "", group, dir, sizeof(dir));
		_cleanup_close_ int fd = mount_clone(AT_FDCWD, dir, false, err);
		if (fd < 0 || (r = set_attr(fd, o->attr_set, o->attr_clear, 0, false, dest, err)) < 0)
			return fd < 0 ? fd : r;
		return finish(fd, target, dest, o, err);
	}
	_cleanup_close_ int tmp =
		mount_new("tmpfs", "cgroup", "mode=755\nsize=64k\n", o->attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY, err);
	if (tmp < 0)
		return tmp;
	for (unsigned i = 0; i < fs->n; i++)
		if (mkdirat(tmp, fs->dirs[i], 0755) < 0)
			return err_errno(err, "cgroup mount");
	if ((r = finish(tmp, target, dest, o, err)) < 0)
		return r;
	for (unsigned i = 0; i < fs->n; i++) {
		snprintf(dir, sizeof(dir), "%s/%s%s", fs->root, fs->dirs[i], group);
		_cleanup_close_ int fd = mount_clone(AT_FDCWD, dir, false, err);
		_cleanup_close_ int at = openat(tmp, fs->dirs[i], O_PATH | O_CLOEXEC);
		if (fd < 0 || (r = set_attr(fd, o->attr_set, o->attr_clear, 0, false, dest, err)) < 0 ||
		    (r = mount_attach(fd, at, fs->dirs[i], err)) < 0)
			return fd < 0 ? fd : r;
		for (const char *p = strchr(fs->dirs[i], ',') ? fs->dirs[i] : NULL; p;) {
			_cleanup_free_ char *name = xstrndup(p, strcspn(p, ","));
			(void)!symlinkat(fs->dirs[i], tmp, name); /* cpu -> cpu,cpuacct */
			p = strchr(p, ',');
			p = p ? p + 1 : NULL;
		}
	}
	return set_attr(tmp, o->attr_set & MOUNT_ATTR_RDONLY, 0, 0, false, dest, err);
}

static int make_one(const struct spec *s, int root_fd, json_t *m, const struct cgroup_fs *fs, const char *group,
		    struct err *err)
{
	const char *dest = json_str_at(m, "destination"), *type = json_str_at(m, "type");
	const char *source = json_str_at(m, "source");
	if (str_empty(dest))
		return err_set(err, -EINVAL, "config.json: a mount has no destination");
	_cleanup_(mount_options_done) struct mount_options o = {0};
	int r = mount_options_parse(json_object_get(m, "options"), &o, err);
	if (r < 0)
		return r;
	if (o.bind || streq(type, "bind"))
		return make_bind(s, root_fd, source, dest, &o, err);
	if (streq(type, "cgroup") || streq(type, "cgroup2"))
		return make_cgroup(root_fd, dest, fs, group, &o, err);
	if (str_empty(type))
		return err_set(err, -EINVAL, "config.json: the mount on %s has no type", dest);
	if (o.tmpcopyup)
		return err_set(err, -ENOTSUP, "config.json: mount option tmpcopyup (on %s) is not supported", dest);
	_cleanup_close_ int fd = mount_new(type, source, o.data, o.attr_set, err), target = -1;
	if (fd < 0)
		return err_prefix(err, "%s", dest);
	if ((r = root_make(root_fd, dest, true, &target, err)) < 0)
		return r;
	return finish(fd, target, dest, &o, err);
}

int mounts_make(const struct spec *s, int root_fd, const struct cgroup_fs *fs, const char *group, struct err *err)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(s->json, "mounts"), i, m)
	{
		int r = make_one(s, root_fd, m, fs, group, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int mask(int root_fd, const char *path, int *empty_fd, struct err *err)
{
	_cleanup_close_ int target = root_open(root_fd, path, O_PATH);
	struct stat st;
	if (target < 0)
		return target == -ENOENT || target == -ENOTDIR
			       ? 0
			       : err_set(err, target, "masked path %s: %s", path, strerror(-target));
	if (fstat(target, &st) < 0)
		return err_errno(err, "masked path %s", path);
	if (S_ISDIR(st.st_mode) && *empty_fd < 0) {
		int fd = mount_new("tmpfs", "tmpfs", "mode=755\nsize=0k\nnr_inodes=1\n", MOUNT_ATTR_RDONLY, err);
		if (fd < 0)
			return fd;
		*empty_fd = fd;
		return mount_attach(fd, target, path, err);
	}
	/* One empty file system for all folders. Its copies are made of the one that hangs in the tree already: before
	 * Linux 6.15 a detached mount cannot be copied. */
	_cleanup_close_ int fd = S_ISDIR(st.st_mode) ? mount_clone(*empty_fd, "", false, err)
						     : mount_clone(AT_FDCWD, "/dev/null", false, err);
	return fd < 0 ? fd : mount_attach(fd, target, path, err);
}

static int read_only(int root_fd, const char *path, struct err *err)
{
	_cleanup_close_ int target = root_open(root_fd, path, O_PATH);
	if (target < 0)
		return target == -ENOENT || target == -ENOTDIR
			       ? 0
			       : err_set(err, target, "read-only path %s: %s", path, strerror(-target));
	_cleanup_close_ int fd = mount_clone(target, "", true, err);
	if (fd < 0)
		return fd;
	int r = set_attr(fd, MOUNT_ATTR_RDONLY, 0, 0, true, path, err);
	return r < 0 ? r : mount_attach(fd, target, path, err);
}

int mounts_hide(const struct spec *s, int root_fd, struct err *err)
{
	_cleanup_close_ int empty_fd = -1;
	size_t i;
	json_t *e;
	int r;
	json_array_foreach(json_at(s->json, "linux.readonlyPaths"), i,
			   e) if (json_is_string(e) &&
				  (r = read_only(root_fd, json_string_value(e), err)) < 0) return r;
	json_array_foreach(json_at(s->json, "linux.maskedPaths"), i,
			   e) if (json_is_string(e) &&
				  (r = mask(root_fd, json_string_value(e), &empty_fd, err)) < 0) return r;
	return 0;
}
