/* Between our stdio and somebody else's: for exec with a terminal, and for attach. Bounded: one buffer each way, filled only
 * when it is empty; neither way waits for the other. Descriptors may be blocking ones that others share. */
#ifndef MINI_RUNTIME_RELAY_H
#define MINI_RUNTIME_RELAY_H

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

#define RELAY_BYTES 16384

struct pump {
	int from, to; /* -1: ended; what is left is still moved */
	size_t off, len;
	char data[RELAY_BYTES + 1];
};
static inline short pump_reads(const struct pump *p)
{
	return p->from >= 0 && p->len == 0 ? POLLIN : 0;
}
static inline short pump_writes(const struct pump *p)
{
	return p->to >= 0 && p->len ? POLLOUT : 0;
}
/* After poll said so. from ends at its end; what can't be written is dropped. */
void pump_read(struct pump *p);
void pump_write(struct pump *p);

/* Until the child `pid` has ended and what it said has been passed on: its exit code, or 128 + signal. Signals to us go to
 * it. control_fd (-1: none): struct winsize after struct winsize for the terminal. */
int relay_terminal(pid_t pid, int master, int control_fd, struct err *err);

/* A whole struct winsize of those waiting in control_fd. False: none; *control_fd becomes -1 at its end. */
bool relay_size(int *control_fd, struct winsize *ret);

#endif
