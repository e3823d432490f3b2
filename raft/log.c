#include "raft/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void raft__fail(void)
{
	abort();
}

void *raft__alloc(size_t n)
{
	void *p = malloc(n ? n : 1);
	RAFT_MUST(p);
	return p;
}

void *raft__grow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return p;
	size_t n = *cap ? *cap * 2 : 8;
	if (n < need)
		n = need;
	RAFT_MUST(n <= SIZE_MAX / size);
	p = realloc(p, n * size);
	RAFT_MUST(p);
	*cap = n;
	return p;
}

int raft_log__init(struct raft_log *l, const struct raft_config *config)
{
	memset(l, 0, sizeof(*l));
	l->config = config;
	l->base = config->first_index - 1;
	l->base_term = config->base_term;
	l->last = config->last_index < config->first_index ? l->base : config->last_index;
	l->offset = l->last + 1;
	l->stable = l->last;
	l->applied = config->applied;
	l->commit = config->hard_state.commit;
	if (l->commit < l->applied)
		l->commit = l->applied;
	if (l->commit > l->last)
		l->commit = l->last;
	l->last_term = l->base_term;
	return l->last > l->base ? config->read_term(config->arg, l->last, &l->last_term) : 0;
}

void raft_log__done(struct raft_log *l)
{
	for (size_t i = 0; i < l->n; i++)
		free((void *)l->entries[l->head + i].data);
	raft_log__exhume(l);
	free(l->entries);
	free(l->grave);
	memset(l, 0, sizeof(*l));
}

int raft_log__term(const struct raft_log *l, uint64_t index, uint64_t *ret)
{
	if (index == l->last) {
		*ret = l->last_term;
		return 0;
	}
	if (index == l->base) {
		*ret = l->base_term;
		return 0;
	}
	if (index < l->base || index > l->last)
		return -ENOENT;
	if (index >= l->offset) {
		*ret = l->entries[l->head + (size_t)(index - l->offset)].term;
		return 0;
	}
	return l->config->read_term(l->config->arg, index, ret);
}

bool raft_log__matches(const struct raft_log *l, uint64_t index, uint64_t term)
{
	uint64_t t;
	return raft_log__term(l, index, &t) == 0 && t == term;
}

void raft_log__append(struct raft_log *l, uint64_t term, enum raft_entry_type type, const void *data, size_t len)
{
	if (l->head > 64 && l->head > l->n) {
		memmove(l->entries, l->entries + l->head, l->n * sizeof(*l->entries));
		l->head = 0;
	}
	l->entries = raft__grow(l->entries, &l->cap, l->head + l->n + 1, sizeof(*l->entries));
	void *copy = NULL;
	if (len) {
		copy = raft__alloc(len);
		memcpy(copy, data, len);
	}
	l->entries[l->head + l->n++] =
		(struct raft_entry){.term = term, .index = l->last + 1, .type = type, .len = len, .data = copy};
	l->bytes += len;
	l->last++;
	l->last_term = term;
}

void raft_log__bury(struct raft_log *l, const void *data)
{
	if (!data)
		return;
	l->grave = raft__grow(l->grave, &l->cap_grave, l->n_grave + 1, sizeof(*l->grave));
	l->grave[l->n_grave++] = (void *)data;
}

static void bury_entry(struct raft_log *l, const struct raft_entry *e)
{
	l->bytes -= e->len;
	raft_log__bury(l, e->data);
}

void raft_log__exhume(struct raft_log *l)
{
	for (size_t i = 0; i < l->n_grave; i++)
		free(l->grave[i]);
	l->n_grave = 0;
}

void raft_log__truncate(struct raft_log *l, uint64_t from, uint64_t term)
{
	RAFT_MUST(from > l->commit && from > l->base);
	while (l->n && l->offset + l->n - 1 >= from)
		bury_entry(l, &l->entries[l->head + --l->n]);
	if (l->offset > from)
		l->offset = from;
	l->last = from - 1;
	l->last_term = term;
	if (l->stable > l->last)
		l->stable = l->last;
}

int raft_log__slice(const struct raft_log *l, uint64_t lo, uint64_t hi, size_t max_bytes, struct raft_entry *ret,
		    size_t max)
{
	RAFT_MUST(lo > l->base && hi <= l->last + 1);
	size_t n = 0, bytes = 0;
	if (lo < l->offset && lo < hi) {
		uint64_t top = hi < l->offset ? hi : l->offset;
		int got = l->config->read_entries(l->config->arg, lo, top, ret, max);
		if (got <= 0)
			return got ? got : -EIO;
		/* fewer than asked for is fine; the caller comes again */
		size_t keep = 0;
		while (keep < (size_t)got && (keep == 0 || bytes + ret[keep].len <= max_bytes))
			bytes += ret[keep++].len;
		if (keep < (size_t)got || lo + keep < top)
			return (int)keep;
		n = keep;
		lo += keep;
	}
	for (; lo < hi && n < max; lo++) {
		const struct raft_entry *e = &l->entries[l->head + (size_t)(lo - l->offset)];
		if (n && bytes + e->len > max_bytes)
			break;
		bytes += e->len;
		ret[n++] = *e;
	}
	return (int)n;
}

void raft_log__trim(struct raft_log *l, uint64_t upto)
{
	if (upto > l->stable)
		upto = l->stable;
	while (l->n && l->offset <= upto) {
		bury_entry(l, &l->entries[l->head]);
		l->head++;
		l->n--;
		l->offset++;
	}
	if (!l->n)
		l->head = 0;
}

void raft_log__restart(struct raft_log *l, uint64_t index, uint64_t term)
{
	while (l->n)
		bury_entry(l, &l->entries[l->head + --l->n]);
	l->head = 0;
	l->base = l->last = l->stable = l->commit = l->applied = index;
	l->base_term = l->last_term = term;
	l->offset = index + 1;
}
