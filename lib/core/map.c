#include "lib/core/map.h"

static uint32_t hash_key(const char *key)
{
	return (uint32_t)hash64(key, strlen(key));
}

/* The index slot of key, or the free slot where it would go. Slots hold entry number + 1; 0 is free, and a deleted
 * entry keeps its slot (its key is NULL) until the next rebuild. */
static uint32_t slot_of(const struct map *m, const char *key, uint32_t hash)
{
	uint32_t mask = m->cap_index - 1, i = hash & mask;
	for (; m->index[i]; i = (i + 1) & mask) {
		const struct map_entry *e = &m->entries[m->index[i] - 1];
		if (e->key && e->hash == hash && strcmp(e->key, key) == 0)
			return i;
	}
	return i;
}

/* Squeeze out the holes and size the index to at most half full. */
static void rebuild(struct map *m)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < m->n_entries; i++)
		if (m->entries[i].key)
			m->entries[n++] = m->entries[i];
	m->n_entries = n;
	uint32_t cap = 16;
	while (cap < (n + 1) * 4)
		cap *= 2;
	free(m->index);
	m->index = NEW_N(uint32_t, cap);
	m->cap_index = cap;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t s = m->entries[i].hash & (cap - 1);
		while (m->index[s])
			s = (s + 1) & (cap - 1);
		m->index[s] = i + 1;
	}
}

static struct map_entry *find(const struct map *m, const char *key)
{
	if (!m->count)
		return NULL;
	uint32_t s = slot_of(m, key, hash_key(key));
	return m->index[s] ? &m->entries[m->index[s] - 1] : NULL;
}

void *map_get(const struct map *m, const char *key)
{
	struct map_entry *e = find(m, key);
	return e ? e->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
	return find(m, key) != NULL;
}

void *map_set(struct map *m, const char *key, void *value)
{
	struct map_entry *e = find(m, key);
	if (e) {
		void *old = e->value;
		e->value = value;
		if (!m->free_value)
			return old;
		if (old != value)
			m->free_value(old);
		return NULL;
	}
	if ((m->n_entries + 1) * 2 > m->cap_index)
		rebuild(m);
	GROW(m->entries, m->cap_entries, m->n_entries + 1);
	uint32_t hash = hash_key(key), s = slot_of(m, key, hash);
	m->entries[m->n_entries] = (struct map_entry){.key = xstrdup(key), .value = value, .hash = hash};
	m->index[s] = ++m->n_entries;
	m->count++;
	return NULL;
}

void *map_del(struct map *m, const char *key)
{
	struct map_entry *e = find(m, key);
	if (!e)
		return NULL;
	void *old = e->value;
	free(e->key);
	e->key = NULL;
	e->value = NULL;
	m->count--;
	if (m->free_value) {
		m->free_value(old);
		return NULL;
	}
	return old;
}

void map_clear(struct map *m)
{
	for (uint32_t i = 0; i < m->n_entries; i++) {
		if (!m->entries[i].key)
			continue;
		free(m->entries[i].key);
		if (m->free_value)
			m->free_value(m->entries[i].value);
	}
	m->n_entries = m->count = 0;
	if (m->index)
		memset(m->index, 0, sizeof(*m->index) * m->cap_index);
}

void map_done(struct map *m)
{
	if (!m)
		return;
	map_clear(m);
	free(m->entries);
	free(m->index);
	*m = (struct map){.free_value = m->free_value};
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(struct map_entry *const *)a)->key, (*(struct map_entry *const *)b)->key);
}

struct map_entry **map_sorted(const struct map *m)
{
	struct map_entry **list = NEW_N(struct map_entry *, m->count + 1);
	uint32_t pos = 0, n = 0;
	for (struct map_entry *e; (e = map_next(m, &pos));)
		list[n++] = e;
	qsort(list, n, sizeof(list[0]), by_key);
	return list;
}

struct map_entry *map_next(const struct map *m, uint32_t *pos)
{
	while (*pos < m->n_entries) {
		struct map_entry *e = &m->entries[(*pos)++];
		if (e->key)
			return e;
	}
	return NULL;
}
