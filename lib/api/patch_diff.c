/* Making the patch of a client-side apply, as kubectl does (strategicpatch.CreateThreeWayMergePatch,
 * jsonmergepatch.CreateThreeWayJSONMergePatch): additions and changes come from current -> modified, deletions from
 * original -> modified. */
#include <sys/types.h>

#include "lib/api/patch_internal.h"

struct diff {
	bool changes;   /* report additions and changes */
	bool deletions; /* report what is gone */
	struct err *err;
};

static int diff_object(const struct diff *d, const struct schema *s, bool retain_keys, const json_t *from,
		       const json_t *to, json_t **ret);

static bool has_more_members(json_t *from, const json_t *to)
{
	const char *key;
	json_t *v;

	json_object_foreach(from, key, v)
	{
		if (!json_is_null(v) && !json_object_get(to, key))
			return true;
	}
	return false;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_retain_keys(json_t *patch, json_t *from, json_t *to)
{
	size_t n = 0;
	const char *key;
	json_t *v;
	_cleanup_free_ const char **keys = NEW_N(const char *, json_object_size(to) + 1);

	json_object_foreach(to, key, v)
	{
		if (!json_is_null(v))
			keys[n++] = key;
	}
	if (!n || (json_object_size(patch) == 0 && !has_more_members(from, to)))
		return;
	qsort(keys, n, sizeof(*keys), by_text);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(json_need_array(patch, PATCH_RETAIN_KEYS), json_string_nocheck(keys[i]));
}

/* Where `from` has the element that `to` has at i: several may share a key, then it's the first for the first. */
static ssize_t index_of_twin(const json_t *from, const json_t *to, size_t i, const char *key)
{
	const json_t *v = json_array_get(to, i);
	size_t before = 0;

	for (size_t j = 0; j < i; j++)
		before += patch_same_element(json_array_get(to, j), v, key);
	for (size_t j = 0; j < json_array_size(from); j++) {
		if (patch_same_element(json_array_get(from, j), v, key) && before-- == 0)
			return (ssize_t)j;
	}
	return -1;
}

/* Elements of the two lists that the patch has to name. */
static int diff_elements(const struct diff *d, const struct patch_rule *rule, const json_t *from, const json_t *to,
			 json_t *add, json_t *gone)
{
	const char *key = rule->merge_key;

	for (size_t i = 0; i < json_array_size(to); i++) {
		json_t *v = json_array_get(to, i), *one = NULL;
		if (!json_object_get(v, key))
			return err_status(d->err, ERR_BAD_REQUEST, "an element does not contain the merge key \"%s\"",
					  key);
		ssize_t at = index_of_twin(from, to, i, key);
		if (at < 0) {
			if (d->changes)
				json_array_append(add, v);
			continue;
		}
		int rc = diff_object(d, rule->of, rule->retain_keys, json_array_get(from, (size_t)at), v, &one);
		if (rc)
			return rc;
		if (json_object_size(one)) {
			json_object_set_nocheck(one, key, json_object_get(v, key));
			json_array_append(add, one);
		}
		json_decref(one);
	}
	for (size_t i = 0; d->deletions && i < json_array_size(from); i++) {
		const json_t *v = json_array_get(from, i);
		if (json_object_get(v, key) && patch_index_of(to, v, key) < 0)
			json_array_append_new(
				gone, json_make("{s:O, s:s}", key, json_object_get(v, key), PATCH_DIRECTIVE, "delete"));
	}
	return 0;
}

static bool same_order(const json_t *from, const json_t *to, const char *key)
{
	if (json_array_size(from) != json_array_size(to))
		return false;
	for (size_t i = 0; i < json_array_size(from); i++) {
		if (!patch_same_element(json_array_get(from, i), json_array_get(to, i), key))
			return false;
	}
	return true;
}

static void put_under(json_t *patch, const char *prefix, const char *name, json_t *list_new)
{
	_cleanup_free_ char *key = xasprintf("%s%s", prefix, name);
	if (json_array_size(list_new))
		json_put(patch, key, list_new);
	else
		json_decref(list_new);
}

static int diff_maps(const struct diff *d, const struct patch_rule *rule, const char *name, const json_t *from,
		     const json_t *to, json_t *patch)
{
	_cleanup_json_ json_t *add = json_array(), *gone = json_array();

	int rc = diff_elements(d, rule, from, to, add, gone);
	if (rc)
		return rc;
	json_array_extend(add, gone);
	bool any = json_array_size(add) > 0;
	if ((d->changes && (any || !same_order(from, to, rule->merge_key))) || (d->deletions && any)) {
		json_t *order = json_array();
		for (size_t i = 0; i < json_array_size(to); i++)
			json_array_append_new(order,
					      json_make("{s:O}", rule->merge_key,
							json_object_get(json_array_get(to, i), rule->merge_key)));
		put_under(patch, PATCH_ELEMENT_ORDER, name, order);
	}
	put_under(patch, "", name, STEAL(add));
	return 0;
}

static void diff_scalars(const struct diff *d, const char *name, const json_t *from, json_t *to, json_t *patch)
{
	json_t *add = json_array(), *gone = json_array();

	for (size_t i = 0; d->changes && i < json_array_size(to); i++) {
		json_t *v = json_array_get(to, i);
		if (patch_index_of(from, v, NULL) < 0 && patch_index_of(add, v, NULL) < 0)
			json_array_append(add, v);
	}
	for (size_t i = 0; d->deletions && i < json_array_size(from); i++) {
		json_t *v = json_array_get(from, i);
		if (patch_index_of(to, v, NULL) < 0 && patch_index_of(gone, v, NULL) < 0)
			json_array_append(gone, v);
	}
	if ((d->deletions && json_array_size(gone)) || (d->changes && !json_equal(from, to)))
		put_under(patch, PATCH_ELEMENT_ORDER, name, json_incref(to));
	put_under(patch, "", name, add);
	put_under(patch, PATCH_DELETE_LIST, name, gone);
}

static int diff_list(const struct diff *d, const struct patch_rule *rule, const char *name, const json_t *from,
		     json_t *to, json_t *patch)
{
	if (!rule->merge_list) {
		if (d->changes && !json_equal(from, to))
			json_put(patch, name, json_incref(to));
		return 0;
	}
	if (json_array_size(from) == 0) {
		if (d->changes && json_array_size(to))
			json_put(patch, name, json_incref(to));
		return 0;
	}
	if (rule->merge_key)
		return diff_maps(d, rule, name, from, to, patch);
	diff_scalars(d, name, from, to, patch);
	return 0;
}

static int diff_member(const struct diff *d, const struct schema *s, const char *key, const json_t *was, json_t *v,
		       json_t *patch)
{
	struct patch_rule rule = patch_rule_for(s, key);

	if (json_is_object(was) && json_is_object(v)) {
		json_t *one = NULL;
		int rc = diff_object(d, rule.of, rule.retain_keys, was, v, &one);
		if (rc)
			return rc;
		if (json_object_size(one))
			json_put(patch, key, one);
		else
			json_decref(one);
		return 0;
	}
	if (json_is_array(was) && json_is_array(v))
		return diff_list(d, &rule, key, was, v, patch);
	if (d->changes && !(was && json_equal(was, v)))
		json_put(patch, key, json_incref(v));
	return 0;
}

static int diff_object(const struct diff *d, const struct schema *s, bool retain_keys, const json_t *from,
		       const json_t *to, json_t **ret)
{
	_cleanup_json_ json_t *patch = json_object();
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)to, key, v)
	{
		int rc = diff_member(d, s, key, json_object_get(from, key), v, patch);
		if (rc)
			return rc;
	}
	if (d->deletions) {
		json_object_foreach((json_t *)from, key, v)
		{
			if (!json_object_get(to, key))
				json_put(patch, key, json_null());
		}
	}
	if (retain_keys)
		add_retain_keys(patch, (json_t *)from, (json_t *)to);
	*ret = STEAL(patch);
	return 0;
}

/* Join two patches of the same object; `b` wins where both say something. */
static void join(const struct schema *s, json_t *a, json_t *b);

static void join_lists(const struct patch_rule *rule, json_t *a, json_t *b, json_t *into, const char *name)
{
	json_t *out = json_copy(b); /* additions first, then what is deleted */

	for (size_t i = 0; i < json_array_size(a); i++) {
		json_t *v = json_array_get(a, i);
		ssize_t at = patch_index_of(out, v, rule->merge_key);
		if (at < 0) {
			json_array_append(out, v);
		} else if (rule->merge_key) {
			json_t *one = json_clone(v);
			join(rule->of, one, json_array_get(out, (size_t)at));
			json_array_set_new(out, (size_t)at, one);
		}
	}
	json_put(into, name, out);
}

static void join(const struct schema *s, json_t *a, json_t *b)
{
	const char *key;
	json_t *v;

	json_object_foreach(b, key, v)
	{
		json_t *was = json_object_get(a, key);
		struct patch_rule rule = patch_rule_for(s, key);
		if (json_is_object(was) && json_is_object(v))
			join(rule.of, was, v);
		else if (json_is_array(was) && json_is_array(v) && rule.merge_list)
			join_lists(&rule, was, v, a, key);
		else
			json_put(a, key, json_incref(v));
	}
}

int patch_three_way(const struct schema *s, const json_t *original, const json_t *modified, const json_t *current,
		    json_t **ret, struct err *err)
{
	const struct diff changes = {.changes = true, .err = err}, deletions = {.deletions = true, .err = err};
	_cleanup_json_ json_t *empty = json_object(), *delta = NULL, *gone = NULL;

	if (!json_is_object(modified) || !json_is_object(current))
		return err_status(err, ERR_BAD_REQUEST, "objects are wanted");
	int rc = diff_object(&changes, s, false, current, modified, &delta);
	if (rc)
		return rc;
	rc = diff_object(&deletions, s, false, json_is_object(original) ? original : empty, modified, &gone);
	if (rc)
		return rc;
	_cleanup_json_ json_t *patch = json_clone(gone), *more = json_clone(delta);
	join(s, patch, more);
	*ret = json_clone(patch);
	return 0;
}
