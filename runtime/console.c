#include "runtime/console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "runtime/mounts.h"

int console_connect(const char *path, struct err *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(err, -ENAMETOOLONG, "console socket %s: the path is too long", path);
	strcpy(a.sun_path, path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_errno(err, "console socket %s", path);
	return STEAL_FD(fd);
}

static int send_fd(int socket_fd, int fd, struct err *err)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	/* The text is the terminal's name, for the receiver's messages. */
	char name[] = "/dev/ptmx";
	struct iovec iov = {.iov_base = name, .iov_len = sizeof(name) - 1};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(socket_fd, &m, MSG_NOSIGNAL) < 0 ? err_errno(err, "console socket") : 0;
}

int console_receive(int socket_fd, struct err *err)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char text[256];
	struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(socket_fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return n < 0 ? err_errno(err, "console") : err_set(err, -EPROTO, "console: no terminal was sent");
	int fd;
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

/* /dev/console is the same terminal by its well-known name. */
static int bind_console(int slave, struct err *err)
{
	char name[64];
	unsigned number;
	if (ioctl(slave, TIOCGPTN, &number) < 0)
		return 0;
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	_cleanup_close_ int target = open("/dev/console", O_CREAT | O_NOFOLLOW | O_RDONLY | O_NOCTTY | O_CLOEXEC, 0666);
	if (target < 0)
		return 0; /* a /dev that can't be written to, or the host's own */
	_cleanup_close_ int at = open("/dev/console", O_PATH | O_CLOEXEC);
	_cleanup_close_ int fd = mount_clone(AT_FDCWD, name, false, err);
	return fd < 0 ? fd : mount_attach(fd, at, "/dev/console", err);
}

int console_setup(int socket_fd, uid_t uid, unsigned short rows, unsigned short cols, struct err *err)
{
	_cleanup_close_ int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0;
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_errno(err, "can't open a terminal (is /dev/pts mounted?)");
	_cleanup_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_errno(err, "can't open the terminal's other end");
	if (fchown(slave, uid, (gid_t)-1) < 0)
		return err_errno(err, "can't give the terminal to user %u", uid);
	struct winsize ws = {.ws_row = rows, .ws_col = cols};
	if (rows && cols)
		(void)ioctl(master, TIOCSWINSZ, &ws);
	int r = send_fd(socket_fd, master, err);
	if (r < 0)
		return r;
	if (setsid() < 0 && errno != EPERM)
		return err_errno(err, "setsid");
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_errno(err, "can't make it the controlling terminal");
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(slave, fd) < 0)
			return err_errno(err, "terminal");
	return bind_console(slave, err);
}
