/* Applying a strategic merge patch. The rules are apimachinery's strategicpatch. */
#include <errno.h>
#include <sys/types.h>

#include "lib/api/patch_internal.h"

struct patch_rule patch_rule_for(const struct schema *s, const char *name)
{
	const struct schema_field *f = s ? schema_field(s, name) : NULL;

	if (!f)
		return (struct patch_rule){0};
	return (struct patch_rule){
		.of = f->type == SCHEMA_OBJECT ? f->of : NULL,
		.merge_list = f->shape == SCHEMA_LIST && f->flags & SCHEMA_MERGE,
		.merge_key = f->merge_key,
		.retain_keys = (f->flags & SCHEMA_REPLACE_KEYS) != 0,
	};
}

bool patch_same_element(const json_t *a, const json_t *b, const char *key)
{
	if (!key)
		return json_equal(a, b);
	const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
	return x && y && json_equal(x, y);
}

ssize_t patch_index_of(const json_t *list, const json_t *v, const char *key)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (patch_same_element(json_array_get(list, i), v, key))
			return (ssize_t)i;
	}
	return -1;
}

static int bad_patch(struct err *err, const char *what, const char *where)
{
	return err_status(err, ERR_BAD_REQUEST, "invalid strategic merge patch: %s: %s", where, what);
}

static bool is_directive(const char *key)
{
	return streq(key, PATCH_DIRECTIVE) || streq(key, PATCH_RETAIN_KEYS) || str_starts(key, PATCH_ELEMENT_ORDER) ||
	       str_starts(key, PATCH_DELETE_LIST);
}

/* What a patch's value comes to where there is nothing to merge it with: no nulls, no directives. */
static json_t *plain_value(const json_t *v)
{
	if (json_is_object(v)) {
		json_t *out = json_object(), *o = (json_t *)v;
		for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
			const char *key = json_object_iter_key(it);
			if (!is_directive(key) && !json_is_null(json_object_iter_value(it)))
				json_put(out, key, plain_value(json_object_iter_value(it)));
		}
		return out;
	}
	if (json_is_array(v)) {
		json_t *out = json_array();
		for (size_t i = 0; i < json_array_size(v); i++) {
			const json_t *e = json_array_get(v, i);
			const char *directive = json_get_str(e, PATCH_DIRECTIVE, "");
			bool empty = streq(directive, "replace") && json_object_size(e) == 1;
			if (!streq(directive, "delete") && !empty)
				json_array_append_new(out, plain_value(e));
		}
		return out;
	}
	return json_clone(v);
}

/* An element and where it stands in a list that gives the order: -1, not in it. */
struct ranked {
	ssize_t rank;
	size_t at;
	json_t *v;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if ((x->rank < 0) != (y->rank < 0))
		return x->rank < 0 ? 1 : -1; /* what the order does not know comes last */
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* `items` in the order that `order` has them. Several may share a key (the ports 53 of a service): they stay together,
 * as they were. Borrowed elements; caller frees the array. */
static struct ranked *sorted_by(const json_t *items, const struct patch_index *order)
{
	size_t n = json_array_size(items);
	struct ranked *out = NEW_N(struct ranked, n + 1);

	for (size_t i = 0; i < n; i++) {
		json_t *v = json_array_get(items, i);
		out[i] = (struct ranked){.rank = patch_index_find(order, v), .at = i, .v = v};
	}
	qsort(out, n, sizeof(*out), by_rank);
	return out;
}

/* The merged list, with what the patch names in the patch's order, and the rest where it was: a server's element comes
 * first only where it stood before the patch's in the server's order. */
static json_t *in_order(const json_t *merged, const json_t *order, const json_t *server_order, const char *key)
{
	_cleanup_json_ json_t *patched = json_array(), *server = json_array();
	_cleanup_patch_index_ struct patch_index wished, was;
	json_t *out = json_array();

	patch_index_make(&wished, order, key);
	patch_index_make(&was, server_order, key);
	for (size_t i = 0; i < json_array_size(merged); i++) {
		json_t *v = json_array_get(merged, i);
		json_array_append(patch_index_find(&wished, v) >= 0 ? patched : server, v);
	}
	_cleanup_free_ struct ranked *p = sorted_by(patched, &wished), *s = sorted_by(server, &was);
	size_t i = 0, j = 0, n = json_array_size(server), m = json_array_size(patched);
	while (i < n || j < m) {
		ssize_t rank = i < n && j < m ? patch_index_find(&was, p[j].v) : -1;
		bool left = j >= m || (i < n && s[i].rank >= 0 && rank >= 0 && s[i].rank < rank);
		json_array_append(out, left ? s[i].v : p[j].v);
		i += left;
		j += !left;
	}
	return out;
}

static int merge_object(const struct schema *s, json_t *doc, const json_t *patch, json_t **ret, struct err *err);

static int merge_scalars(const json_t *list, const json_t *patch, json_t **ret)
{
	_cleanup_json_ json_t *all = json_array();
	_cleanup_patch_index_ struct patch_index have;
	const json_t *both[] = {list, patch};

	patch_index_make(&have, NULL, NULL);
	for (size_t b = 0; b < 2; b++) {
		for (size_t i = 0; i < json_array_size(both[b]); i++) {
			json_t *v = json_array_get(both[b], i);
			if (patch_index_find(&have, v) >= 0)
				continue;
			patch_index_add(&have, v, json_array_size(all));
			json_array_append(all, v);
		}
	}
	*ret = in_order(all, patch, list, NULL);
	return 0;
}

/* Leaves out of the list what is in `gone`. */
static void remove_elements(json_t *list, const struct patch_index *gone)
{
	_cleanup_json_ json_t *kept = json_array();

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *v = json_array_get(list, i);
		if (patch_index_find(gone, v) < 0)
			json_array_append(kept, v);
	}
	json_array_clear(list);
	json_array_extend(list, kept);
}

/* Elements with a directive act on the list first; the others are left in *ret_plain. */
static int apply_special_elements(json_t *list, const json_t *patch, const char *key, const char *where,
				  json_t *ret_plain, struct err *err)
{
	bool replace = false;
	_cleanup_patch_index_ struct patch_index gone;

	patch_index_make(&gone, NULL, key);
	for (size_t i = 0; i < json_array_size(patch); i++) {
		json_t *e = json_array_get(patch, i);
		if (!json_is_object(e))
			return bad_patch(err, "elements must be objects", where);
		const json_t *directive = json_object_get(e, PATCH_DIRECTIVE);
		const char *verb = json_string_value(directive);
		if (!directive) {
			json_array_append(ret_plain, e);
		} else if (verb && streq(verb, "delete")) {
			if (!json_object_get(e, key))
				return bad_patch(err, "an element to delete lacks its merge key", where);
			patch_index_add(&gone, e, i);
		} else if (verb && streq(verb, "replace")) {
			replace = true; /* such an element is a marker: the list becomes the others */
		} else {
			return bad_patch(err, "unknown $patch directive in a list", where);
		}
	}
	remove_elements(list, &gone);
	if (replace)
		json_array_clear(list);
	return 0;
}

static int merge_maps(const struct patch_rule *rule, json_t *list, const json_t *patch, const char *where, json_t **ret,
		      struct err *err)
{
	const char *key = rule->merge_key;
	_cleanup_json_ json_t *plain = json_array(), *merged = json_copy(list);

	int rc = apply_special_elements(merged, patch, key, where, plain, err);
	if (rc)
		return rc;
	_cleanup_patch_index_ struct patch_index have;
	patch_index_make(&have, merged, key);
	for (size_t i = 0; i < json_array_size(plain); i++) {
		json_t *e = json_array_get(plain, i), *one = NULL;
		if (!json_object_get(e, key)) {
			_cleanup_free_ char *what = xasprintf("an element does not contain the merge key \"%s\"", key);
			return bad_patch(err, what, where);
		}
		ssize_t at = patch_index_find(&have, e);
		if (at < 0) {
			patch_index_add(&have, e, json_array_size(merged));
			json_array_append_new(merged, plain_value(e));
			continue;
		}
		rc = merge_object(rule->of, json_array_get(merged, (size_t)at), e, &one, err);
		if (rc)
			return rc;
		json_array_set_new(merged, (size_t)at, one);
	}
	*ret = in_order(merged, plain, list, key);
	return 0;
}

static int merge_list(const struct patch_rule *rule, json_t *list, const json_t *patch, const char *where, json_t **ret,
		      struct err *err)
{
	if (!rule->merge_list) {
		*ret = plain_value(patch);
		return 0;
	}
	return rule->merge_key ? merge_maps(rule, list, patch, where, ret, err) : merge_scalars(list, patch, ret);
}

/* The patch's own elements must stand in the order that the order list gives. */
static int check_order(const json_t *patch, const json_t *order, const char *key, const char *where, struct err *err)
{
	size_t at = 0;

	for (size_t i = 0; i < json_array_size(patch); i++) {
		const json_t *e = json_array_get(patch, i);
		if (json_object_get(e, PATCH_DIRECTIVE))
			continue;
		while (at < json_array_size(order) && !patch_same_element(json_array_get(order, at), e, key))
			at++;
		if (at++ == json_array_size(order))
			return bad_patch(err, "the order in patch list doesn't match $setElementOrder list", where);
	}
	return 0;
}

/* $setElementOrder/name: merges the list `name` of doc and patch, then puts it in order. */
static int apply_order(const struct schema *s, json_t *doc, const json_t *patch, const char *name, const json_t *order,
		       struct err *err)
{
	struct patch_rule rule = patch_rule_for(s, name);
	json_t *was = json_object_get(doc, name), *given = json_object_get(patch, name);
	_cleanup_json_ json_t *merged = NULL;

	if (!json_is_array(order))
		return bad_patch(err, "$setElementOrder must be a list", name);
	if ((was && !json_is_array(was)) || (given && !json_is_array(given)) || (!was && !given))
		return 0; /* nothing to order; members of other types are merged as any */
	int rc = check_order(given, order, rule.merge_key, name, err);
	if (rc)
		return rc;
	if (!given)
		merged = json_incref(was);
	else if (!was)
		merged = plain_value(given);
	else
		rc = merge_list(&rule, was, given, name, &merged, err);
	if (rc)
		return rc;
	json_put(doc, name, in_order(merged, order, was, rule.merge_key));
	return 0;
}

static bool ordered_already(const json_t *patch, const char *name, const json_t *v)
{
	_cleanup_free_ char *key = xasprintf(PATCH_ELEMENT_ORDER "%s", name);
	return json_is_array(v) && json_object_get(patch, key);
}

static int apply_retain_keys(json_t *doc, json_t *patch, const json_t *keys, struct err *err)
{
	void *tmp;
	const char *key;
	json_t *v;

	if (!json_is_array(keys))
		return bad_patch(err, "$retainKeys must be a list", PATCH_RETAIN_KEYS);
	_cleanup_patch_index_ struct patch_index retained;
	patch_index_make(&retained, keys, NULL);
	json_object_foreach(patch, key, v)
	{
		json_t *name = json_string_nocheck(key);
		bool listed = is_directive(key) || json_is_null(v) || patch_index_find(&retained, name) >= 0;
		json_decref(name);
		if (!listed)
			return bad_patch(err, "it is in the patch, but not in $retainKeys", key);
	}
	json_object_foreach_safe(doc, tmp, key, v)
	{
		json_t *name = json_string_nocheck(key);
		if (patch_index_find(&retained, name) < 0)
			json_object_del(doc, key);
		json_decref(name);
	}
	return 0;
}

static int apply_delete_list(json_t *doc, const char *name, const json_t *gone, struct err *err)
{
	json_t *list = json_object_get(doc, name);

	if (!json_is_array(gone))
		return bad_patch(err, "$deleteFromPrimitiveList must be a list", name);
	if (!json_is_array(list))
		return 0;
	_cleanup_patch_index_ struct patch_index left_out;
	patch_index_make(&left_out, gone, NULL);
	json_t *kept = json_copy(list);
	remove_elements(kept, &left_out);
	json_put(doc, name, kept);
	return 0;
}

static int apply_member(const struct schema *s, json_t *doc, const json_t *patch, const char *key, json_t *v,
			struct err *err)
{
	json_t *was = json_object_get(doc, key), *one = NULL;
	struct patch_rule rule = patch_rule_for(s, key);
	int rc = 0;

	if (ordered_already(patch, key, v) && (!was || json_is_array(was)))
		return 0;
	if (json_is_null(v)) {
		json_object_del(doc, key);
		return 0;
	}
	if (json_is_object(was) && json_is_object(v))
		rc = merge_object(rule.of, was, v, &one, err);
	else if (json_is_array(was) && json_is_array(v))
		rc = merge_list(&rule, was, v, key, &one, err);
	else
		one = plain_value(v);
	if (!rc)
		json_put(doc, key, one);
	return rc;
}

static int apply_members(const struct schema *s, json_t *doc, json_t *patch, struct err *err)
{
	const char *key;
	json_t *v;
	int rc = 0;

	json_object_foreach(patch, key, v)
	{
		if (str_starts(key, PATCH_ELEMENT_ORDER))
			rc = apply_order(s, doc, patch, key + strlen(PATCH_ELEMENT_ORDER), v, err);
		if (rc)
			return rc;
	}
	json_object_foreach(patch, key, v)
	{
		if (str_starts(key, PATCH_DELETE_LIST))
			rc = apply_delete_list(doc, key + strlen(PATCH_DELETE_LIST), v, err);
		else if (!is_directive(key))
			rc = apply_member(s, doc, patch, key, v, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* doc is left alone: what changes is copied on the way. */
static int merge_object(const struct schema *s, json_t *doc, const json_t *patch, json_t **ret, struct err *err)
{
	const json_t *directive = json_object_get(patch, PATCH_DIRECTIVE);
	const json_t *retain = json_object_get(patch, PATCH_RETAIN_KEYS);

	if (directive) {
		const char *verb = json_string_value(directive);
		if (verb && streq(verb, "replace")) {
			*ret = plain_value(patch);
			return 0;
		}
		if (verb && streq(verb, "delete")) {
			*ret = json_object();
			return 0;
		}
		if (!verb || !streq(verb, "merge"))
			return bad_patch(err, "unknown $patch directive", PATCH_DIRECTIVE);
	}
	_cleanup_json_ json_t *out = json_copy(doc);
	int rc = retain ? apply_retain_keys(out, (json_t *)patch, retain, err) : 0;
	if (!rc)
		rc = apply_members(s, out, (json_t *)patch, err);
	if (!rc)
		*ret = STEAL(out);
	return rc;
}

int patch_strategic(const struct schema *s, const json_t *doc, const json_t *patch, json_t **ret, struct err *err)
{
	json_t *shared = NULL;

	if (!json_is_object(patch))
		return err_status(err, ERR_BAD_REQUEST, "a strategic merge patch is an object");
	int rc = merge_object(s, (json_t *)doc, patch, &shared, err);
	if (rc)
		return rc;
	/* untouched parts are doc's own: callers may change what they get */
	*ret = json_clone(shared);
	json_decref(shared);
	return 0;
}
