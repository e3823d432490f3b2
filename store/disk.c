#include "store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/core/file.h"

struct store_file {
	int fd;
};

static int sync_dir(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int real_mkdir(struct store_disk *d, const char *path)
{
	if (access(path, F_OK) == 0)
		return mkdir_p(path, 0700, NULL);
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = xstrndup(path, slash ? MAX((size_t)(slash - path), (size_t)1) : 0);
	int rc = slash ? real_mkdir(d, parent) : 0;
	if (!rc)
		rc = mkdir_p(path, 0700, NULL);
	return rc ? rc : sync_dir(slash ? parent : ".");
}

static int real_list(_unused_ struct store_disk *d, const char *path, void (*each)(void *, const char *), void *arg)
{
	DIR *dir = opendir(path);
	if (!dir)
		return -errno;
	for (struct dirent *e; (e = readdir(dir));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			each(arg, e->d_name);
	closedir(dir);
	return 0;
}

static int real_open(_unused_ struct store_disk *d, const char *path, bool create, struct store_file **ret)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600);
	if (fd < 0)
		return -errno;
	struct store_file *f = NEW(struct store_file);
	f->fd = fd;
	*ret = f;
	return 0;
}

static int64_t real_size(struct store_file *f)
{
	struct stat st;
	return fstat(f->fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int real_preallocate(struct store_file *f, uint64_t size)
{
	if (fallocate(f->fd, 0, 0, (off_t)size) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
}

static int64_t real_pread(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	size_t got = 0;
	while (got < len) {
		ssize_t n = pread(f->fd, (char *)buf + got, len - got, (off_t)(off + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (int64_t)got;
}

static int real_pwrite(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(f->fd, (const char *)buf + done, len - done, (off_t)(off + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

static int real_sync(struct store_file *f)
{
	return fdatasync(f->fd) < 0 ? -errno : 0;
}

static void real_close(struct store_file *f)
{
	if (!f)
		return;
	close(f->fd);
	free(f);
}

static int real_rename(_unused_ struct store_disk *d, const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

static int real_unlink(_unused_ struct store_disk *d, const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}

static int real_sync_dir(_unused_ struct store_disk *d, const char *path)
{
	return sync_dir(path);
}

static int real_lock(_unused_ struct store_disk *d, const char *path, struct store_file **ret)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	struct store_file *f = NEW(struct store_file);
	f->fd = STEAL_FD(fd);
	*ret = f;
	return 0;
}

struct store_disk *store_disk_real(void)
{
	static const struct store_disk_ops ops = {
		.mkdir = real_mkdir,
		.list = real_list,
		.open = real_open,
		.size = real_size,
		.preallocate = real_preallocate,
		.pread = real_pread,
		.pwrite = real_pwrite,
		.sync = real_sync,
		.close = real_close,
		.rename = real_rename,
		.unlink = real_unlink,
		.sync_dir = real_sync_dir,
		.lock = real_lock,
	};
	static struct store_disk disk = {.ops = &ops};
	return &disk;
}
