#include "lib/api/kinds/print.h"

#include "lib/api/kinds/duration.h"
#include "lib/api/selector.h"

void cell_str(json_t *cells, const char *s)
{
	json_array_append_new(cells, json_string(s ? s : ""));
}

void cell_int(json_t *cells, int64_t v)
{
	json_array_append_new(cells, json_integer(v));
}

void cell_or_none(json_t *cells, const char *s)
{
	cell_str(cells, str_empty(s) ? "<none>" : s);
}

void cell_name(json_t *cells, const json_t *obj)
{
	cell_str(cells, json_get_str(json_object_get(obj, "metadata"), "name", ""));
}

void cell_age(json_t *cells, const json_t *obj, int64_t now_s)
{
	char age[HUMAN_DURATION_MAX];
	cell_str(cells, human_age(json_get_str(json_object_get(obj, "metadata"), "creationTimestamp", ""), now_s, age));
}

void cell_members(json_t *cells, const json_t *list, const char *member)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) buf_addf(&b, "%s%s", i ? "," : "", json_get_str(v, member, ""));
	cell_str(cells, buf_str(&b));
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void cell_labels(json_t *cells, const json_t *map)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t n = json_object_size(map), i = 0;
	_cleanup_free_ const char **keys = NEW_N(const char *, n + 1);
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)map, key, v) keys[i++] = key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (i = 0; i < n; i++)
		buf_addf(&b, "%s%s=%s", i ? "," : "", keys[i], json_get_str(map, keys[i], ""));
	cell_or_none(cells, buf_str(&b));
}

void cell_selector(json_t *cells, const json_t *label_selector)
{
	_cleanup_selector_ struct selector *s = NULL;
	_cleanup_free_ char *text = NULL;

	if (json_is_object(label_selector) && !selector_from_json(label_selector, &s, NULL) && s)
		text = selector_str(s);
	cell_or_none(cells, text);
}

void short_list_add(struct short_list *l, const char *s)
{
	if (l->count++ < 3)
		buf_addf(&l->text, "%s%s", l->text.len ? "," : "", s);
}

void short_list_cell(struct short_list *l, const char *none, json_t *cells)
{
	if (l->count > 3)
		buf_addf(&l->text, " + %u more...", l->count - 3);
	cell_str(cells, l->count ? buf_str(&l->text) : none);
	buf_done(&l->text);
}
