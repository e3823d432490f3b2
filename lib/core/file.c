#include "lib/core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int file_read(const char *path, size_t max, struct buf *ret, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "open %s", path);
	_cleanup_buf_ struct buf b = BUF_INIT;
	for (;;) {
		buf_reserve(&b, 4096);
		ssize_t n = read(fd, b.data + b.len, b.cap - b.len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read %s", path);
		if (n == 0)
			break;
		b.len += (size_t)n;
		if (b.len > max)
			return err_set(err, -EFBIG, "%s is larger than %zu bytes", path, max);
	}
	b.data[b.len] = 0;
	buf_done(ret);
	*ret = b;
	b = BUF_INIT;
	return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
	for (const char *p = data; len;) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_write(const char *path, const char *data, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "open %s", path);
	if (write_all(fd, data, strlen(data)) < 0)
		return err_errno(err, "write %s", path);
	return 0;
}

static int sync_parent(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(err, "sync %s", dir);
	return 0;
}

enum replace_how { DURABLE, QUICK, FLEETING };

/* A rename over a file makes ext4 write the new one out at once, and removing it later then waits for that write. To
 * change places and remove the old one costs none of this. */
static int change_places(const char *tmp, const char *path)
{
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
		return unlink(tmp) < 0 ? -errno : 0;
	/* nothing there yet, or a file system that can't */
	return rename(tmp, path) < 0 ? -errno : 0;
}

static int replace(const char *path, const void *data, size_t len, mode_t mode, enum replace_how how, struct err *err)
{
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", path);
	/* A leftover of a crash may have another mode, and may be a link someone else placed. */
	if (unlink(tmp) < 0 && errno != ENOENT)
		return err_errno(err, "remove %s", tmp);
	_cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_errno(err, "create %s", tmp);
	int r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data, len);
	if (r == 0 && how == DURABLE && fsync(fd) < 0)
		r = -errno;
	if (r == 0)
		r = how == FLEETING ? change_places(tmp, path) : rename(tmp, path) < 0 ? -errno : 0;
	if (r < 0) {
		unlink(tmp);
		errno = -r;
		return err_errno(err, "write %s", path);
	}
	return how == DURABLE ? sync_parent(path, err) : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	return replace(path, data, len, mode, DURABLE, err);
}

int file_write_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	return replace(path, data, len, mode, QUICK, err);
}

int file_write_fleeting(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	return replace(path, data, len, mode, FLEETING, err);
}

int mkdir_p(const char *path, mode_t mode, struct err *err)
{
	_cleanup_free_ char *p = xstrdup(path);
	for (char *s = p + 1; *s; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_errno(err, "make directory %s", p);
		*s = '/';
	}
	if (mkdir(p, mode) < 0) {
		struct stat st;
		if (errno != EEXIST)
			return err_errno(err, "make directory %s", p);
		if (stat(p, &st) < 0 || !S_ISDIR(st.st_mode))
			return err_set(err, -ENOTDIR, "%s is there and is no directory", p);
	}
	return 0;
}

/* Takes over fd. */
static int empty_dir(int fd, dev_t dev, const char *path, struct err *err)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_errno(err, "open %s", path);
	}
	int r = 0;
	for (struct dirent *e; r == 0 && (errno = 0, e = readdir(d));) {
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		_cleanup_free_ char *sub = xasprintf("%s/%s", path, e->d_name);
		if (unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM) {
			r = err_errno(err, "remove %s", sub);
			break;
		}
		int child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;
		if (child < 0 || fstat(child, &st) < 0) {
			r = err_errno(err, "open %s", sub);
			if (child >= 0)
				close(child);
			break;
		}
		if (st.st_dev != dev) {
			close(child);
			r = err_set(err, -EBUSY, "%s is a mount: unmount it first", sub);
			break;
		}
		r = empty_dir(child, dev, sub, err);
		if (r == 0 && unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = err_errno(err, "remove %s", sub);
	}
	closedir(d);
	return r;
}

int rm_rf(const char *path, struct err *err)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, "open %s", path);
	if (fstat(fd, &st) < 0) {
		int r = err_errno(err, "stat %s", path);
		close(fd);
		return r;
	}
	int r = empty_dir(fd, st.st_dev, path, err);
	if (r < 0)
		return r;
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_errno(err, "remove %s", path);
	return 0;
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}
