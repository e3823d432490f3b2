#include "runtime/shim_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <time.h>

int shim_log_open(struct shim_log *l)
{
	if (!l->path)
		return 0;
	int fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0)
		return -errno;
	closep(&l->fd);
	l->fd = fd;
	return 0;
}

/* One write per line: whoever follows the file never sees half of one. */
static void write_line(struct shim_log *l, const struct shim_stream *s, char tag, const char *text, size_t len)
{
	char head[64], when[32];
	struct timespec t;
	if (l->fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	time_format_ns((int64_t)t.tv_sec * 1000000000 + t.tv_nsec, when);
	int n = snprintf(head, sizeof(head), "%s %s %c ", when, s->name, tag);
	char newline = '\n';
	struct iovec v[] = {{head, (size_t)n}, {(void *)(uintptr_t)text, len}, {&newline, 1}};
	ssize_t written;
	do
		written = writev(l->fd, v, 3);
	while (written < 0 && errno == EINTR);
	/* A full disk costs log lines; the container must not stop for it. */
}

void shim_log_flush(struct shim_log *l, struct shim_stream *s)
{
	if (s->len)
		write_line(l, s, 'P', s->line, s->len);
	s->len = 0;
}

void shim_log_feed(struct shim_log *l, struct shim_stream *s, const char *data, size_t len)
{
	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len, room = LOG_LINE_MAX - s->len;
		n = MIN(n, room);
		bool ends = end && data + n == end;
		if (ends && s->len == 0) {
			write_line(l, s, 'F', data, n); /* whole, straight from the pipe's buffer */
		} else {
			memcpy(s->line + s->len, data, n);
			s->len += n;
			if (ends || s->len == LOG_LINE_MAX) {
				write_line(l, s, ends ? 'F' : 'P', s->line, s->len);
				s->len = 0;
			}
		}
		data += n + ends;
		len -= n + ends;
	}
}

int shim_log_drain(struct shim_log *l, struct shim_stream *s)
{
	static char buf[LOG_READ_MAX];
	for (;;) {
		ssize_t n = read(s->fd, buf, sizeof(buf));
		if (n > 0) {
			shim_log_feed(l, s, buf, (size_t)n);
			if (l->tee)
				l->tee(l->arg, s, buf, (size_t)n);
			/* one buffer a turn, so that neither stream nor signals wait for a flood */
			return 1;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 1;
		/* end of file, or a terminal whose last user left (EIO) */
		shim_log_flush(l, s);
		closep(&s->fd);
		s->fd = -1;
		return 0;
	}
}
