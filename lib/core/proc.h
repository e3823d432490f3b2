/* Processes known by boot id, pid and start time, and held by a pidfd; never by pid alone. */
#ifndef MINI_CORE_PROC_H
#define MINI_CORE_PROC_H

#include <sys/types.h>

#include "lib/core/buf.h"
#include "lib/core/err.h"

struct proc_id {
	pid_t pid;           /* 0: none */
	uint64_t start_time; /* field 22 of /proc/PID/stat, clock ticks after boot */
	char boot_id[37];    /* /proc/sys/kernel/random/boot_id */
};

int proc_boot_id(char ret[37], struct err *err);
/* Identity of a living process. -ESRCH when there is none. */
int proc_identify(pid_t pid, struct proc_id *ret, struct err *err);
/* A pidfd for exactly this process. -ESRCH when it is gone (or the pid is another's by now). */
int proc_open(const struct proc_id *id, int *ret_pidfd, struct err *err);
/* Signal exactly this process; gone is not an error: returns 0 and *ret_gone true. */
int proc_kill(const struct proc_id *id, int sig, bool *ret_gone, struct err *err);
bool proc_alive(const struct proc_id *id); /* zombies count as dead */

/* Run a program and wait (blocking): stdin from `in` (may be NULL), stdout and stderr collected up to 1 MiB each.
 * *ret_status is the exit code, or 128+signal. Fails only when it could not be started. */
int proc_run(const char *const argv[], const struct buf *in, struct buf *ret_out, struct buf *ret_err, int *ret_status,
	     struct err *err);

#endif
