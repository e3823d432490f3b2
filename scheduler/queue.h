/* Pods waiting for a node: those to try now (by priority, then time), those backing off, those that fit nowhere.
 *
 *   add --> active --pop--> trying --no node--> unschedulable --something changed--> backing off --> active
 *                              \--bind failed--------------------------------------/
 *
 * Backoff is 1 s doubled per attempt up to 10 s, counted from the attempt. Nothing stays unschedulable for more than
 * 5 minutes without another try.
 */
#ifndef MINI_SCHEDULER_QUEUE_H
#define MINI_SCHEDULER_QUEUE_H

#include "lib/core/env.h"
#include "lib/core/map.h"

enum queue_state { QUEUE_ACTIVE, QUEUE_TRYING, QUEUE_BACKOFF, QUEUE_UNSCHEDULABLE };

struct queue;
struct queue_entry {
	struct queue *q;
	char *uid, *ns, *name;
	int32_t priority;
	uint64_t seq; /* order of arrival */
	enum queue_state state;
	unsigned attempts;
	uint64_t tried_us;
	unsigned heap_i;        /* 0: not in the heap */
	struct env_timer timer; /* BACKOFF: until active; UNSCHEDULABLE: the flush */
	bool moved;             /* something changed while it was being tried */
};

struct queue {
	struct env *env;
	struct map entries; /* by uid */
	struct queue_entry **heap;
	unsigned n_heap, cap_heap;
	uint64_t next_seq;
	void (*wake)(void *arg); /* something is active */
	void *arg;
};

void queue_init(struct queue *q, struct env *env, void (*wake)(void *arg), void *arg);
void queue_done(struct queue *q);
struct queue_entry *queue_find(const struct queue *q, const char *uid);
/* New pod, or a pod that changed: an unschedulable one gets another try. */
void queue_add(struct queue *q, const char *uid, const char *ns, const char *name, int32_t priority);
void queue_remove(struct queue *q, const char *uid);
/* The next to try; it is TRYING until one of the two below, or queue_remove. NULL: none. */
struct queue_entry *queue_pop(struct queue *q);
void queue_unschedulable(struct queue_entry *e);
void queue_failed(struct queue_entry *e); /* try again after backoff */
/* The cluster changed: everything unschedulable may fit now. */
void queue_move_all(struct queue *q);
bool queue_idle(const struct queue *q); /* nothing active, trying or backing off */

#endif
