#include "store/mvcc.h"

static size_t rev_bytes(const struct mvcc_rev *v)
{
	return sizeof(*v) + (v->value ? v->value->len + sizeof(*v->value) : 0);
}

static size_t key_bytes(const struct mvcc_key *k)
{
	return sizeof(*k) + strlen(k->name) + 1;
}

void mvcc_init(struct mvcc *m, size_t history_limit)
{
	*m = (struct mvcc){.history_limit = history_limit, .rev = 1, .floor = 1};
}

static void rev_free(struct mvcc *m, struct mvcc_rev *v)
{
	m->bytes -= rev_bytes(v);
	blob_unref(v->value);
	free(v);
}

static void chain_free(struct mvcc *m, struct mvcc_rev *v)
{
	while (v) {
		struct mvcc_rev *older = v->older;
		rev_free(m, v);
		v = older;
	}
}

void mvcc_done(struct mvcc *m)
{
	struct btree_iter it;
	for (struct btree_item *i = btree_seek(&m->keys, "", &it); i; i = btree_next(&it)) {
		struct mvcc_key *k = CONTAINER_OF(i, struct mvcc_key, item);
		chain_free(m, k->latest);
		k->latest = NULL;
	}
	/* names are needed until the walk is over */
	struct mvcc_key **keys = NEW_N(struct mvcc_key *, m->keys.n_items + 1);
	size_t n = 0;
	for (struct btree_item *i = btree_seek(&m->keys, "", &it); i; i = btree_next(&it))
		keys[n++] = CONTAINER_OF(i, struct mvcc_key, item);
	btree_done(&m->keys);
	for (size_t i = 0; i < n; i++)
		free(keys[i]);
	free(keys);
	free(m->history);
	*m = (struct mvcc){0};
}

bool mvcc_discard(struct mvcc *m, size_t max)
{
	struct btree_iter it;
	struct btree_item *i;
	while (max-- && (i = btree_seek(&m->keys, "", &it))) {
		struct mvcc_key *k = CONTAINER_OF(i, struct mvcc_key, item);
		btree_remove(&m->keys, i);
		chain_free(m, k->latest);
		free(k);
	}
	if (m->keys.n_items)
		return true;
	btree_done(&m->keys);
	free(m->history);
	*m = (struct mvcc){0};
	return false;
}

static struct mvcc_key *key_find(const struct mvcc *m, const char *name)
{
	struct btree_item *item = btree_get(&m->keys, name);
	return item ? CONTAINER_OF(item, struct mvcc_key, item) : NULL;
}

static struct mvcc_key *key_make(struct mvcc *m, const char *name)
{
	size_t len = strlen(name);
	struct mvcc_key *k = xcalloc(1, sizeof(*k) + len + 1);
	memcpy(k->name, name, len + 1);
	k->item.name = k->name;
	btree_insert(&m->keys, &k->item);
	m->bytes += key_bytes(k);
	return k;
}

void mvcc_load(struct mvcc *m, const char *key, uint64_t mod_rev, uint64_t create_rev, uint64_t version, uint64_t lease,
	       struct blob *value)
{
	struct mvcc_key *k = key_make(m, key);
	struct mvcc_rev *v = NEW(struct mvcc_rev);
	*v = (struct mvcc_rev){.key = k,
			       .value = blob_ref(value),
			       .mod_rev = mod_rev,
			       .create_rev = create_rev,
			       .version = version,
			       .lease = lease};
	k->latest = v;
	m->bytes += rev_bytes(v);
	btree_set_live(&m->keys, &k->item, true);
}

static struct mvcc_rev *add(struct mvcc *m, struct mvcc_key *k, struct blob *value, uint64_t lease)
{
	struct mvcc_rev *v = NEW(struct mvcc_rev), *old = k->latest;
	bool existed = old && old->value;
	*v = (struct mvcc_rev){.key = k, .older = old, .value = value ? blob_ref(value) : NULL, .lease = lease};
	v->mod_rev = m->rev + 1;
	v->sub = m->sub++;
	if (value) {
		v->create_rev = existed ? old->create_rev : v->mod_rev;
		v->version = existed ? old->version + 1 : 1;
	}
	k->latest = v;
	btree_set_live(&m->keys, &k->item, value != NULL);
	if (m->head > 1024 && m->head > m->n) {
		memmove(m->history, m->history + m->head, m->n * sizeof(*m->history));
		m->head = 0;
	}
	GROW(m->history, m->cap, m->head + m->n + 1);
	m->history[m->head + m->n++] = v;
	m->history_bytes += rev_bytes(v);
	m->bytes += rev_bytes(v);
	return v;
}

struct mvcc_rev *mvcc_put(struct mvcc *m, const char *key, struct blob *value, uint64_t lease)
{
	struct mvcc_key *k = key_find(m, key);
	return add(m, k ? k : key_make(m, key), value, lease);
}

struct mvcc_rev *mvcc_delete(struct mvcc *m, const char *key)
{
	struct mvcc_key *k = key_find(m, key);
	if (!k || !k->latest->value)
		return NULL;
	return add(m, k, NULL, 0);
}

bool mvcc_end(struct mvcc *m)
{
	bool wrote = m->sub > 0;
	m->rev += wrote;
	m->sub = 0;
	return wrote;
}

static const struct mvcc_rev *visible(const struct mvcc_key *k, uint64_t rev)
{
	const struct mvcc_rev *v = k->latest;
	while (v && v->mod_rev > rev)
		v = v->older;
	return v && v->value ? v : NULL;
}

const struct mvcc_rev *mvcc_get(const struct mvcc *m, const char *key, uint64_t rev)
{
	struct mvcc_key *k = key_find(m, key);
	return k ? visible(k, rev) : NULL;
}

void mvcc_walk(const struct mvcc *m, const char *key, const char *end, uint64_t rev,
	       bool (*fn)(void *arg, const struct mvcc_rev *v), void *arg)
{
	struct btree_iter it;
	for (struct btree_item *i = btree_seek(&m->keys, key, &it); i; i = btree_next(&it)) {
		if (!mvcc_in_range(i->name, key, end))
			return;
		const struct mvcc_rev *v = visible(CONTAINER_OF(i, struct mvcc_key, item), rev);
		if (v && !fn(arg, v))
			return;
	}
}

uint64_t mvcc_count(const struct mvcc *m, const char *key, const char *end)
{
	if (!end)
		return mvcc_get(m, key, UINT64_MAX) ? 1 : 0;
	uint64_t lo = btree_rank(&m->keys, key), hi = btree_rank(&m->keys, *end ? end : NULL);
	return hi > lo ? hi - lo : 0;
}

size_t mvcc_find(const struct mvcc *m, uint64_t rev)
{
	size_t lo = 0, hi = m->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (mvcc_at(m, mid)->mod_rev < rev)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void mvcc_compact(struct mvcc *m, uint64_t rev)
{
	if (rev > m->compacted)
		m->compacted = rev;
}

/* The event leaves the history: what its key was before can't be asked for any more. */
static void evict_first(struct mvcc *m)
{
	struct mvcc_rev *v = m->history[m->head];
	m->head++;
	m->n--;
	m->history_bytes -= rev_bytes(v);
	m->floor = v->mod_rev;
	chain_free(m, v->older);
	v->older = NULL;
	struct mvcc_key *k = v->key;
	if (v->value || k->latest != v)
		return;
	btree_remove(&m->keys, &k->item);
	m->bytes -= key_bytes(k);
	rev_free(m, v);
	free(k);
}

bool mvcc_evict(struct mvcc *m, uint64_t durable, size_t max)
{
	while (m->n) {
		uint64_t rev = mvcc_at(m, 0)->mod_rev;
		if (rev > durable || (rev > m->compacted && m->history_bytes <= m->history_limit))
			return false;
		if (!max)
			return true;
		/* a revision goes as a whole */
		while (m->n && mvcc_at(m, 0)->mod_rev == rev) {
			evict_first(m);
			max -= max > 0;
		}
	}
	if (!m->n)
		m->head = 0;
	return false;
}
