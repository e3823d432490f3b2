/* The scheduler: pods without a node in, bindings out. Queue with backoff, snapshot, filter and score plugins. */
#ifndef MINI_SCHEDULER_SCHEDULER_H
#define MINI_SCHEDULER_SCHEDULER_H

#include "lib/client/client.h"

struct scheduler;
struct scheduler *scheduler_new(struct client *client, const char *identity /* Lease holder */);
void scheduler_start(struct scheduler *s);
bool scheduler_idle(const struct scheduler *s); /* nothing left that could be scheduled now */
void scheduler_free(struct scheduler *s);

#endif
