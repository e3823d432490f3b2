/* A map from strings to pointers that iterates in insertion order, so that nothing depends on a hash seed.
 *
 * Zero-initialised is valid and empty. Keys are copied. Values belong to the caller unless `free_value` is set.
 * Deleting during a MAP_EACH walk is allowed (the current entry or any other); adding is not.
 */
#ifndef MINI_CORE_MAP_H
#define MINI_CORE_MAP_H

#include "lib/core/util.h"

struct map_entry {
	char *key; /* NULL: deleted slot */
	void *value;
	uint32_t hash;
};

struct map {
	struct map_entry *entries; /* in insertion order, with holes */
	uint32_t n_entries;        /* slots used in entries, holes included */
	uint32_t cap_entries;
	uint32_t *index; /* open addressing, entry number + 1 */
	uint32_t cap_index;
	uint32_t count; /* live entries */
	void (*free_value)(void *);
};

#define MAP_INIT      ((struct map){0})
#define _cleanup_map_ __attribute__((cleanup(map_done)))

void map_done(struct map *m);
void map_clear(struct map *m);
void *map_get(const struct map *m, const char *key); /* NULL when absent */
bool map_has(const struct map *m, const char *key);
/* Add or replace; returns the value that was there (already freed and NULL if free_value is set). */
void *map_set(struct map *m, const char *key, void *value);
/* Remove; returns the value (NULL if absent, or freed by free_value). */
void *map_del(struct map *m, const char *key);
/* Entries sorted by key: a fresh array of pointers into the map, valid until it changes. Caller frees. */
struct map_entry **map_sorted(const struct map *m);
/* For MAP_EACH. */
struct map_entry *map_next(const struct map *m, uint32_t *pos);

#define MAP_EACH(m, e)                                                                                                 \
	for (uint32_t pos_##e = 0, once_##e = 1; once_##e; once_##e = 0)                                               \
		for (struct map_entry * e; (e = map_next((m), &pos_##e)) != NULL;)

#endif
