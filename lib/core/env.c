#include "lib/core/env.h"

void env_init(struct env *e, const struct env_ops *ops)
{
	*e = (struct env){.ops = ops};
	list_init(&e->posts);
}

void env_fini(struct env *e)
{
	free(e->heap);
	e->heap = NULL;
	e->n_heap = e->cap_heap = 0;
}

uint64_t env_random_u64(struct env *e)
{
	uint64_t v;
	env_random(e, &v, sizeof(v));
	return v;
}

uint64_t env_random_below(struct env *e, uint64_t n)
{
	MUST(n > 0);
	/* Refuse the tail that would favour small numbers. */
	uint64_t limit = UINT64_MAX - UINT64_MAX % n, v;
	do
		v = env_random_u64(e);
	while (v >= limit);
	return v % n;
}

static bool before(const struct env_timer *a, const struct env_timer *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->seq < b->seq;
}

static void put(struct env *e, unsigned i, struct env_timer *t)
{
	e->heap[i] = t;
	t->heap_i = i;
}

static void sift_up(struct env *e, unsigned i, struct env_timer *t)
{
	for (; i > 1 && before(t, e->heap[i / 2]); i /= 2)
		put(e, i, e->heap[i / 2]);
	put(e, i, t);
}

static void sift_down(struct env *e, unsigned i, struct env_timer *t)
{
	for (unsigned child; (child = 2 * i) <= e->n_heap; i = child) {
		if (child < e->n_heap && before(e->heap[child + 1], e->heap[child]))
			child++;
		if (!before(e->heap[child], t))
			break;
		put(e, i, e->heap[child]);
	}
	put(e, i, t);
}

void env_timer_stop(struct env *e, struct env_timer *t)
{
	unsigned i = t->heap_i;
	if (!i)
		return;
	MUST(i <= e->n_heap && e->heap[i] == t);
	t->heap_i = 0;
	struct env_timer *last = e->heap[e->n_heap--];
	if (last == t)
		return;
	if (i > 1 && before(last, e->heap[i / 2]))
		sift_up(e, i, last);
	else
		sift_down(e, i, last);
}

void env_timer_start(struct env *e, struct env_timer *t, uint64_t delay_us)
{
	env_timer_stop(e, t);
	uint64_t now = env_now_us(e);
	t->due_us = delay_us > UINT64_MAX - now ? UINT64_MAX : now + delay_us;
	t->seq = e->next_seq++;
	GROW(e->heap, e->cap_heap, e->n_heap + 2);
	sift_up(e, ++e->n_heap, t);
	if (e->heap[1] == t)
		e->ops->wake(e);
}

void env_post(struct env *e, struct env_post *p)
{
	if (p->posted)
		return;
	p->posted = true;
	list_push(&e->posts, &p->node);
	e->ops->wake(e);
}

void env_post_cancel(struct env *e, struct env_post *p)
{
	(void)e;
	if (!p->posted)
		return;
	p->posted = false;
	list_del(&p->node);
}

uint64_t env_turn(struct env *e)
{
	/* What is posted or armed from here on waits for the next turn: a chain of them can't starve the loop. */
	struct list batch;
	list_init(&batch);
	if (!list_empty(&e->posts)) {
		batch = e->posts;
		batch.next->prev = &batch;
		batch.prev->next = &batch;
		list_init(&e->posts);
	}
	for (struct list *n; (n = list_pop(&batch));) {
		struct env_post *p = LIST_ENTRY(n, struct env_post, node);
		p->posted = false;
		p->fn(p);
	}
	uint64_t now = env_now_us(e), horizon = e->next_seq;
	while (e->n_heap && e->heap[1]->due_us <= now && e->heap[1]->seq < horizon) {
		struct env_timer *t = e->heap[1];
		env_timer_stop(e, t);
		t->fn(t);
	}
	if (!list_empty(&e->posts))
		return 0;
	if (!e->n_heap)
		return UINT64_MAX;
	return e->heap[1]->due_us <= now ? 0 : e->heap[1]->due_us - now;
}
