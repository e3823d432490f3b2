/* One control plane and one node per directory: lock files (server.lock, agent.lock; a demo takes both) that also say
 * which process holds them. */
#ifndef MINI_CLI_LOCK_H
#define MINI_CLI_LOCK_H

#include "lib/core/err.h"
#include "lib/core/util.h"

struct lock {
	int fd;
	char path[4200];
};

/* Makes the directory (0700). -EBUSY names the process that has it and goes on for 200 ms; one that has just died is
 * waited for, 5 s at most. The lock survives a fork. */
int lock_take(struct lock *l, const char *dir, const char *name, struct err *err);
/* Write who we are into it (after a fork: the process that stays). */
int lock_sign(struct lock *l, struct err *err);
void lock_release(struct lock *l);
/* SIGTERM to the node and then to the control plane that run in DIR, each awaited. Nobody there: 0 with a word on stdout. */
int lock_stop(const char *dir, struct err *err);

#endif
