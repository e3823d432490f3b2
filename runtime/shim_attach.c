#include "runtime/shim_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void attach_init(struct attach *a)
{
	a->listen_fd = a->in_fd = a->master_fd = -1;
	for (unsigned i = 0; i < ATTACH_MAX; i++)
		a->clients[i].fd = -1;
}

/* By descriptor: ROOT may be longer than a socket's name can be. */
static int socket_at(const char *root, const char *id, struct sockaddr_un *ret, int *ret_dir_fd, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/%s", root, id);
	*ret_dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir_fd < 0)
		return err_errno(err, "%s", dir);
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/attach.sock", *ret_dir_fd);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? err_errno(err, "socket") : fd;
}

int attach_listen(struct attach *a, const char *root, const char *id, struct err *err)
{
	struct sockaddr_un to;
	_cleanup_close_ int dir_fd = -1, fd = socket_at(root, id, &to, &dir_fd, err);
	if (fd < 0)
		return fd;
	(void)!unlinkat(dir_fd, "attach.sock", 0); /* of a shim that crashed before there was a container */
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, ATTACH_MAX) < 0)
		return err_errno(err, "attach.sock of %s", id);
	a->listen_fd = STEAL_FD(fd);
	return 0;
}

int attach_connect(const char *root, const char *id, struct err *err)
{
	struct sockaddr_un to;
	_cleanup_close_ int dir_fd = -1, fd = socket_at(root, id, &to, &dir_fd, err);
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return errno == ENOENT || errno == ECONNREFUSED
			       ? err_set(err, -errno, "container %s is not running", id)
			       : err_errno(err, "attach to container %s", id);
	return STEAL_FD(fd);
}

/* ---- clients ---- */

static void close_stdin(struct attach *a)
{
	/* a terminal has no end; what waits is still written */
	if (a->in_fd >= 0 && a->in_fd != a->master_fd && a->in_len == 0) {
		closep(&a->in_fd);
		a->in_fd = -1;
	}
}

static void drop(struct attach *a, struct attach_client *c)
{
	bool had_stdin = c->in;
	closep(&c->fd);
	c->fd = -1;
	c->waiting = 0;
	free(STEAL(c->packet));
	c->in = false;
	if (had_stdin && a->once)
		close_stdin(a);
}

/* Nothing is kept of what was taken; true also when the client is gone. */
static bool sent(struct attach *a, struct attach_client *c, struct iovec *v, size_t n_v)
{
	const struct msghdr m = {.msg_iov = v, .msg_iovlen = n_v};
	ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
		return false;
	if (n < 0)
		drop(a, c);
	return true;
}

static void flush_client(struct attach *a, struct attach_client *c)
{
	struct iovec v = {c->packet, c->waiting};
	if (!sent(a, c, &v, 1))
		return;
	c->waiting = 0;
	free(STEAL(c->packet));
}

static void send_to(struct attach *a, struct attach_client *c, int stream, const char *data, size_t len)
{
	char type = (char)stream;
	struct iovec v[] = {{&type, 1}, {(void *)(uintptr_t)data, len}};
	if (sent(a, c, v, 2))
		return;
	c->waiting = len + 1;
	c->packet = xmalloc(c->waiting);
	c->packet[0] = type;
	memcpy(c->packet + 1, data, len);
}

static void greet(struct attach *a, struct attach_client *c)
{
	if (a->line && a->line->len)
		send_to(a, c, 1, a->line->line, MIN(a->line->len, (size_t)ATTACH_BYTES));
}

static void take_client(struct attach *a)
{
	static const char refusal[] = "!too many are attached to the container";
	_cleanup_close_ int fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (!a->in)
		a->in = xmalloc(ATTACH_BYTES + 1);
	const int room = 1 << 20; /* so that the last words of a container are there to be read when it is gone */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	for (unsigned i = 0; i < ATTACH_MAX; i++)
		if (a->clients[i].fd < 0) {
			a->clients[i].fd = STEAL_FD(fd);
			greet(a, &a->clients[i]);
			return;
		}
	(void)send(fd, refusal, sizeof(refusal) - 1, MSG_NOSIGNAL);
}

static void flush_in(struct attach *a)
{
	if (a->in_fd < 0) {
		a->in_len = 0;
		return;
	}
	ssize_t n = write(a->in_fd, a->in + a->in_off, a->in_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* nobody reads it any more */
		a->in_len = 0;
		close_stdin(a);
		return;
	}
	a->in_off += (size_t)n;
	a->in_len -= (size_t)n;
}

static bool wants_end(const struct attach *a)
{
	bool any = false;
	for (unsigned i = 0; i < ATTACH_MAX; i++)
		any = any || (a->clients[i].fd >= 0 && a->clients[i].in);
	return a->once && !any;
}

static void take_packet(struct attach *a, struct attach_client *c)
{
	ssize_t n = recv(c->fd, a->in, ATTACH_BYTES + 1, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(a, c);
		return;
	}
	struct winsize ws;
	if (a->in[0] == 'i') {
		c->in = true;
		a->in_off = 1;
		a->in_len = a->in_fd >= 0 ? (size_t)n - 1 : 0;
		if (a->in_len)
			flush_in(a);
	} else if (a->in[0] == 'e') {
		c->in = false;
		if (wants_end(a))
			close_stdin(a);
	} else if (a->in[0] == 'r' && n == 1 + sizeof(ws) && a->master_fd >= 0) {
		memcpy(&ws, a->in + 1, sizeof(ws));
		(void)ioctl(a->master_fd, TIOCSWINSZ, &ws);
	}
}

void attach_output(struct attach *a, int stream, const char *data, size_t len)
{
	MUST(len <= ATTACH_BYTES);
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		if (a->clients[i].fd >= 0)
			send_to(a, &a->clients[i], stream, data, len);
	}
}

/* ---- the loop's ---- */

bool attach_blocked(struct attach *a, int patience_ms, int *ret_ms)
{
	bool blocked = false;
	int64_t now = now_ms();
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		struct attach_client *c = &a->clients[i];
		if (c->fd >= 0 && c->waiting && a->blocked_ms && now - a->blocked_ms >= patience_ms)
			drop(a, c);
		blocked = blocked || c->waiting;
	}
	a->blocked_ms = !blocked ? 0 : a->blocked_ms ? a->blocked_ms : now;
	*ret_ms = blocked ? (int)(a->blocked_ms + patience_ms - now) : -1;
	return blocked;
}

/* Input is taken from a client only when the last of it has been read. */
void attach_polls(const struct attach *a, struct pollfd *p)
{
	p[0] = (struct pollfd){.fd = a->listen_fd, .events = POLLIN};
	p[1] = (struct pollfd){.fd = a->in_len ? a->in_fd : -1, .events = POLLOUT};
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		const struct attach_client *c = &a->clients[i];
		p[2 + i] = (struct pollfd){.fd = c->fd,
					   .events = (short)((a->in_len ? 0 : POLLIN) | (c->waiting ? POLLOUT : 0))};
	}
}

void attach_handle(struct attach *a, const struct pollfd *p)
{
	if (p[1].revents) {
		flush_in(a);
		if (a->in_len == 0 && wants_end(a))
			close_stdin(a);
	}
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		struct attach_client *c = &a->clients[i];
		if (c->fd < 0 || p[2 + i].fd != c->fd)
			continue;
		if (p[2 + i].revents & POLLOUT)
			flush_client(a, c);
		if (c->fd >= 0 && a->in_len == 0 && (p[2 + i].revents & (POLLIN | POLLHUP | POLLERR)))
			take_packet(a, c);
		else if (c->fd >= 0 && (p[2 + i].revents & (POLLHUP | POLLERR)))
			drop(a, c);
	}
	if (p[0].revents)
		take_client(a);
}
