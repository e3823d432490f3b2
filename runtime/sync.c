#include <errno.h>
#include <sys/socket.h>

#include "runtime/container.h"

int sync_send(int fd, enum sync_kind kind, const struct err *e)
{
	struct sync_message m = {.kind = kind, .code = e ? e->code : 0};
	size_t text = e ? strlen(e->message) : 0;
	text = MIN(text, sizeof(m.text) - 1);
	if (text)
		memcpy(m.text, e->message, text);
	size_t size = offsetof(struct sync_message, text) + text;
	return send(fd, &m, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -EPIPE;
}

int sync_receive(int fd, int *ret_kind, struct err *err)
{
	struct sync_message m;
	ssize_t n;
	do
		n = recv(fd, &m, sizeof(m) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		*ret_kind = 0;
		return 0;
	}
	if (n < (ssize_t)offsetof(struct sync_message, text))
		return err_set(err, -EPROTO, "a broken message from the container's init");
	((char *)&m)[n] = 0;
	*ret_kind = m.kind;
	if (m.kind == SYNC_ERROR)
		return err_set(err, m.code < 0 ? m.code : -EIO, "%s", m.text);
	return 0;
}
