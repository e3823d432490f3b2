#include "scheduler/queue.h"

#define BACKOFF_MIN_US 1000000ull
#define BACKOFF_MAX_US 10000000ull
#define FLUSH_US       300000000ull

/* ---- the heap: highest priority first, then first come ---- */

static bool before(const struct queue_entry *a, const struct queue_entry *b)
{
	return a->priority != b->priority ? a->priority > b->priority : a->seq < b->seq;
}

static void place(struct queue *q, unsigned i, struct queue_entry *e)
{
	q->heap[i] = e;
	e->heap_i = i;
}

static void sift_up(struct queue *q, unsigned i, struct queue_entry *e)
{
	for (; i > 1 && before(e, q->heap[i / 2]); i /= 2)
		place(q, i, q->heap[i / 2]);
	place(q, i, e);
}

static void sift_down(struct queue *q, unsigned i, struct queue_entry *e)
{
	for (;;) {
		unsigned child = i * 2;
		if (child > q->n_heap)
			break;
		if (child < q->n_heap && before(q->heap[child + 1], q->heap[child]))
			child++;
		if (!before(q->heap[child], e))
			break;
		place(q, i, q->heap[child]);
		i = child;
	}
	place(q, i, e);
}

static void heap_push(struct queue *q, struct queue_entry *e)
{
	GROW(q->heap, q->cap_heap, q->n_heap + 2);
	sift_up(q, ++q->n_heap, e);
}

static void heap_remove(struct queue *q, struct queue_entry *e)
{
	unsigned i = e->heap_i;
	e->heap_i = 0;
	struct queue_entry *last = q->heap[q->n_heap--];
	if (last == e)
		return;
	if (i > 1 && before(last, q->heap[i / 2]))
		sift_up(q, i, last);
	else
		sift_down(q, i, last);
}

/* ---- states ---- */

static void set_active(struct queue_entry *e)
{
	env_timer_stop(e->q->env, &e->timer);
	e->state = QUEUE_ACTIVE;
	e->moved = false;
	heap_push(e->q, e);
	e->q->wake(e->q->arg);
}

static uint64_t backoff_left_us(const struct queue_entry *e)
{
	uint64_t wait = BACKOFF_MIN_US;
	for (unsigned i = 1; i < e->attempts && wait < BACKOFF_MAX_US; i++)
		wait *= 2;
	wait = MIN(wait, BACKOFF_MAX_US);
	uint64_t passed = env_now_us(e->q->env) - e->tried_us;
	return passed < wait ? wait - passed : 0;
}

static void set_backoff(struct queue_entry *e)
{
	uint64_t left = backoff_left_us(e);
	if (!left) {
		set_active(e);
		return;
	}
	e->state = QUEUE_BACKOFF;
	env_timer_start(e->q->env, &e->timer, left);
}

static void on_timer(struct env_timer *t)
{
	struct queue_entry *e = CONTAINER_OF(t, struct queue_entry, timer);
	if (e->state == QUEUE_BACKOFF)
		set_active(e);
	else if (e->state == QUEUE_UNSCHEDULABLE)
		set_backoff(e);
}

/* ---- the interface ---- */

void queue_init(struct queue *q, struct env *env, void (*wake)(void *arg), void *arg)
{
	*q = (struct queue){.env = env, .wake = wake, .arg = arg};
}

static void entry_free(struct queue_entry *e)
{
	env_timer_stop(e->q->env, &e->timer);
	free(e->uid);
	free(e->ns);
	free(e->name);
	free(e);
}

void queue_done(struct queue *q)
{
	MAP_EACH (&q->entries, e)
		entry_free(e->value);
	map_done(&q->entries);
	free(q->heap);
}

struct queue_entry *queue_find(const struct queue *q, const char *uid)
{
	return map_get(&q->entries, uid);
}

void queue_add(struct queue *q, const char *uid, const char *ns, const char *name, int32_t priority)
{
	struct queue_entry *e = queue_find(q, uid);
	if (e) {
		if (e->state == QUEUE_UNSCHEDULABLE) {
			e->priority = priority;
			set_backoff(e);
		}
		return;
	}
	e = NEW(struct queue_entry);
	e->q = q;
	e->uid = xstrdup(uid);
	e->ns = xstrdup(ns);
	e->name = xstrdup(name);
	e->priority = priority;
	e->seq = ++q->next_seq;
	e->timer.fn = on_timer;
	map_set(&q->entries, uid, e);
	set_active(e);
}

void queue_remove(struct queue *q, const char *uid)
{
	struct queue_entry *e = map_del(&q->entries, uid);
	if (!e)
		return;
	if (e->heap_i)
		heap_remove(q, e);
	entry_free(e);
}

struct queue_entry *queue_pop(struct queue *q)
{
	if (!q->n_heap)
		return NULL;
	struct queue_entry *e = q->heap[1];
	heap_remove(q, e);
	e->state = QUEUE_TRYING;
	e->attempts++;
	e->tried_us = env_now_us(q->env);
	return e;
}

void queue_unschedulable(struct queue_entry *e)
{
	if (e->moved) {
		set_backoff(e);
		return;
	}
	e->state = QUEUE_UNSCHEDULABLE;
	env_timer_start(e->q->env, &e->timer, FLUSH_US);
}

void queue_failed(struct queue_entry *e)
{
	set_backoff(e);
}

void queue_move_all(struct queue *q)
{
	MAP_EACH (&q->entries, it) {
		struct queue_entry *e = it->value;
		if (e->state == QUEUE_UNSCHEDULABLE)
			set_backoff(e);
		else if (e->state == QUEUE_TRYING)
			e->moved = true;
	}
}

bool queue_idle(const struct queue *q)
{
	MAP_EACH (&q->entries, it)
		if (((struct queue_entry *)it->value)->state != QUEUE_UNSCHEDULABLE)
			return false;
	return true;
}
