/* A process that goes into a container shows its executable there, as /proc/PID/exe; with it open, root in the container
 * could overwrite the host's minirun (CVE-2019-5736). So the verbs that go in run from a view of the executable on a
 * read-only mount that hangs nowhere: a few system calls and one exec, where a copy in memory costs a megabyte.
 * start.c has done so already where it could. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "runtime/cmd.h"

#define SELF "/proc/self/exe"

/* On a read-only mount, or a sealed copy: nobody can write through our exe link. */
static bool is_protected(void)
{
	struct statvfs v;
	if (statvfs(SELF, &v) == 0 && (v.f_flag & ST_RDONLY))
		return true;
	_cleanup_close_ int fd = open(SELF, O_RDONLY | O_CLOEXEC);
	int seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & F_SEAL_WRITE);
}

static int read_only_view(void)
{
	_cleanup_close_ int fd = open_tree(AT_FDCWD, SELF, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &a, sizeof(a)) < 0)
		return -errno;
	return STEAL_FD(fd);
}

static int sealed_copy(void)
{
	_cleanup_close_ int from = open(SELF, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = memfd_create("minirun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	if (from < 0 || fd < 0 || fstat(from, &st) < 0)
		return -errno;
	for (off_t done = 0; done < st.st_size;) {
		ssize_t n = sendfile(fd, from, NULL, (size_t)(st.st_size - done));
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return STEAL_FD(fd);
}

int protect_self(char **argv, struct err *err)
{
	if (is_protected())
		return 0;
	_cleanup_close_ int fd = read_only_view();
	if (fd < 0)
		fd = sealed_copy();
	if (fd < 0)
		return err_set(err, fd, "can't protect the minirun executable: %s", strerror(-fd));
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	return err_errno(err, "can't protect the minirun executable: exec");
}
