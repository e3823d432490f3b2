#include "tests/sim/linear.h"

#define STEPS_MAX 4000000u

/* A call or an answer, in the order of time. */
struct entry {
	struct entry *prev, *next, *match; /* match: a call's answer */
	const struct lin_op *op;
	size_t id;
	uint64_t at;
	bool is_call;
};

struct tried {
	uint64_t *slots; /* each: used flag, state, words of the set */
	size_t cap, n, width;
};

struct search {
	struct entry head, *entries;
	size_t n_entries, words;
	uint64_t *done; /* the set of operations placed so far */
	uint64_t *key;  /* scratch: state and set */
	struct tried tried;
	struct frame {
		struct entry *entry;
		uint64_t state;
	} * stack;
	size_t depth;
};

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return x->at < y->at ? -1 : x->at > y->at;
}

static uint64_t hash_of(const uint64_t *key, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < n; i++) {
		h ^= key[i];
		h *= 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return h;
}

static uint64_t *slot_for(const struct tried *t, const uint64_t *key)
{
	size_t mask = t->cap - 1, at = (size_t)hash_of(key, t->width) & mask;
	for (;; at = (at + 1) & mask) {
		uint64_t *s = t->slots + at * (t->width + 1);
		if (!s[0] || memcmp(s + 1, key, t->width * sizeof(*key)) == 0)
			return s;
	}
}

static bool tried_add(struct tried *t, const uint64_t *key)
{
	if (t->n * 2 >= t->cap) {
		struct tried old = *t;
		t->cap = old.cap ? old.cap * 2 : 1024;
		t->slots = xcalloc(t->cap * (t->width + 1), sizeof(uint64_t));
		for (size_t i = 0; i < old.cap; i++) {
			uint64_t *s = old.slots + i * (t->width + 1);
			if (s[0])
				memcpy(slot_for(t, s + 1), s, (t->width + 1) * sizeof(*s));
		}
		free(old.slots);
	}
	uint64_t *s = slot_for(t, key);
	if (s[0])
		return false;
	s[0] = 1;
	memcpy(s + 1, key, t->width * sizeof(*key));
	t->n++;
	return true;
}

static void entry_unlink(struct entry *e)
{
	e->prev->next = e->next;
	if (e->next)
		e->next->prev = e->prev;
}

static void entry_relink(struct entry *e)
{
	e->prev->next = e;
	if (e->next)
		e->next->prev = e;
}

static void lift(struct entry *e)
{
	entry_unlink(e);
	if (e->match)
		entry_unlink(e->match);
}

static void unlift(struct entry *e)
{
	if (e->match)
		entry_relink(e->match);
	entry_relink(e);
}

/* Would the register answer so? An operation of unknown fate whose condition does not hold can't be placed here. */
static bool apply(const struct lin_op *op, uint64_t state, uint64_t *ret)
{
	if (op->sees && op->seen != state)
		return false;
	*ret = op->writes ? op->value : state;
	return true;
}

static bool fresh(struct search *s, size_t id, uint64_t state)
{
	s->key[0] = state;
	memcpy(s->key + 1, s->done, s->words * sizeof(*s->key));
	s->key[1 + id / 64] |= 1ull << id % 64;
	return tried_add(&s->tried, s->key);
}

static enum lin_result run(struct search *s)
{
	uint64_t state = 0, next;
	struct entry *e = s->head.next;
	for (size_t steps = 0; e; steps++) {
		if (steps > STEPS_MAX)
			return LIN_UNDECIDED;
		if (e->is_call) {
			if (apply(e->op, state, &next) && fresh(s, e->id, next)) {
				s->stack[s->depth++] = (struct frame){e, state};
				s->done[e->id / 64] |= 1ull << e->id % 64;
				state = next;
				lift(e);
				e = s->head.next;
			} else {
				e = e->next;
			}
			continue;
		}
		/* an answer whose call could not be placed before it: take the last choice back */
		if (!s->depth)
			return LIN_BAD;
		struct frame f = s->stack[--s->depth];
		s->done[f.entry->id / 64] &= ~(1ull << f.entry->id % 64);
		state = f.state;
		unlift(f.entry);
		e = f.entry->next;
	}
	return LIN_OK; /* every answered operation has its place; the others need none */
}

static void build(struct search *s, const struct lin_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		s->entries[s->n_entries++] = (struct entry){.op = &ops[i], .id = i, .at = ops[i].call, .is_call = true};
		if (ops[i].ret != LIN_UNKNOWN)
			s->entries[s->n_entries++] = (struct entry){.op = &ops[i], .id = i, .at = ops[i].ret};
	}
	if (s->n_entries > 1)
		qsort(s->entries, s->n_entries, sizeof(*s->entries), by_time);
	struct entry **calls = NEW_N(struct entry *, n + 1), *prev = &s->head;
	for (size_t i = 0; i < s->n_entries; i++) {
		struct entry *e = &s->entries[i];
		e->prev = prev;
		prev->next = e;
		prev = e;
		if (e->is_call)
			calls[e->id] = e;
		else
			calls[e->id]->match = e;
	}
	free(calls);
}

/* Unanswered and its value never seen by anyone: it changes no answer, so it may as well not have happened. */
static bool matters(const struct lin_op *ops, size_t n, size_t i)
{
	if (ops[i].ret != LIN_UNKNOWN)
		return true;
	if (!ops[i].writes)
		return false;
	for (size_t k = 0; k < n; k++)
		if (k != i && ops[k].sees && ops[k].seen == ops[i].value)
			return true;
	return false;
}

enum lin_result lin_check(const struct lin_op *all, size_t n_all)
{
	struct lin_op *ops = NEW_N(struct lin_op, n_all + 1);
	size_t n = 0;
	for (size_t i = 0; i < n_all; i++)
		if (matters(all, n_all, i))
			ops[n++] = all[i];
	struct search s = {.words = n / 64 + 1};
	s.entries = NEW_N(struct entry, 2 * n + 1);
	s.stack = NEW_N(struct frame, n + 1);
	s.done = NEW_N(uint64_t, s.words);
	s.key = NEW_N(uint64_t, s.words + 1);
	s.tried.width = s.words + 1;
	build(&s, ops, n);
	enum lin_result r = run(&s);
	free(s.entries);
	free(s.stack);
	free(s.done);
	free(s.key);
	free(s.tried.slots);
	free(ops);
	return r;
}
