#include <sys/types.h>

#include "lib/api/patch_internal.h"

/* What an element goes by, as text: unequal elements have unequal texts. NULL: it has no key. */
static char *element_text(const json_t *v, const char *key)
{
	const json_t *k = key ? json_object_get(v, key) : v;

	if (json_is_string(k))
		return xasprintf("s%s", json_string_value(k));
	return k ? json_dumps(k, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
}

void patch_index_make(struct patch_index *idx, const json_t *list, const char *key)
{
	*idx = (struct patch_index){.key = key};
	for (size_t i = 0; i < json_array_size(list); i++)
		patch_index_add(idx, json_array_get(list, i), i);
}

void patch_index_add(struct patch_index *idx, const json_t *v, size_t at)
{
	_cleanup_free_ char *text = element_text(v, idx->key);

	if (text && !map_has(&idx->first, text))
		map_set(&idx->first, text, (void *)(uintptr_t)(at + 1));
}

ssize_t patch_index_find(const struct patch_index *idx, const json_t *v)
{
	_cleanup_free_ char *text = element_text(v, idx->key);

	return text ? (ssize_t)(uintptr_t)map_get(&idx->first, text) - 1 : -1;
}

void patch_index_done(struct patch_index *idx)
{
	map_done(&idx->first);
}
