#include "lib/api/kinds/faults.h"

struct at at(const char *path, const char *fmt, ...)
{
	struct at a;
	int n = snprintf(a.s, sizeof(a.s), "%s", path);
	size_t used = n < 0 ? 0 : MIN((size_t)n, sizeof(a.s) - 1);
	va_list ap;

	if (used && *fmt && *fmt != '[' && used < sizeof(a.s) - 1)
		a.s[used++] = '.';
	a.s[used] = 0;
	va_start(ap, fmt);
	vsnprintf(a.s + used, sizeof(a.s) - used, fmt, ap);
	va_end(ap);
	return a;
}

void fault_required(struct err *err, struct at at, const char *why)
{
	err_add_cause(err, "FieldValueRequired", at.s, "Required value%s%s", why ? ": " : "", why ? why : "");
}

void fault_forbidden(struct err *err, struct at at, const char *why)
{
	err_add_cause(err, "FieldValueForbidden", at.s, "Forbidden%s%s", why ? ": " : "", why ? why : "");
}

void fault_invalid_raw(struct err *err, struct at at, const char *value, const char *why)
{
	err_add_cause(err, "FieldValueInvalid", at.s, "Invalid value: %.200s: %s", value, why);
}

void fault_invalid(struct err *err, struct at at, const char *value, const char *why)
{
	err_add_cause(err, "FieldValueInvalid", at.s, "Invalid value: \"%.200s\": %s", value, why);
}

void fault_invalid_int(struct err *err, struct at at, int64_t value, const char *why)
{
	err_add_cause(err, "FieldValueInvalid", at.s, "Invalid value: %lld: %s", (long long)value, why);
}

void fault_duplicate(struct err *err, struct at at, const char *value)
{
	err_add_cause(err, "FieldValueDuplicate", at.s, "Duplicate value: \"%.200s\"", value);
}

void fault_not_found(struct err *err, struct at at, const char *value)
{
	err_add_cause(err, "FieldValueNotFound", at.s, "Not found: \"%.200s\"", value);
}

void fault_unsupported(struct err *err, struct at at, const char *value, const char *supported)
{
	err_add_cause(err, "FieldValueNotSupported", at.s, "Unsupported value: \"%.200s\": supported values: %s", value,
		      supported);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *go_string_map(const json_t *map)
{
	size_t n = json_object_size(map), i = 0;
	_cleanup_free_ const char **keys = NEW_N(const char *, n + 1);
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *key;
	json_t *v;

	if (!map)
		return xstrdup("map[string]string(nil)");
	json_object_foreach((json_t *)map, key, v) keys[i++] = key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	buf_adds(&b, "map[string]string{");
	for (i = 0; i < n; i++)
		buf_addf(&b, "%s\"%s\":\"%s\"", i ? ", " : "", keys[i], json_get_str(map, keys[i], ""));
	buf_addc(&b, '}');
	return buf_steal(&b);
}

char *go_string_list(const json_t *list)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *v;

	if (!list)
		return xstrdup("[]string(nil)");
	buf_adds(&b, "[]string{");
	json_array_foreach(list, i, v)
		buf_addf(&b, "%s\"%s\"", i ? ", " : "", json_is_string(v) ? json_string_value(v) : "");
	buf_addc(&b, '}');
	return buf_steal(&b);
}

char *go_label_selector(const json_t *selector)
{
	const json_t *expressions = json_object_get(selector, "matchExpressions");
	_cleanup_free_ char *labels = go_string_map(json_object_get(selector, "matchLabels"));
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *e;

	buf_addf(&b, "v1.LabelSelector{MatchLabels:%s, MatchExpressions:[]v1.LabelSelectorRequirement", labels);
	if (!json_array_size(expressions)) {
		buf_adds(&b, "(nil)}");
		return buf_steal(&b);
	}
	buf_addc(&b, '{');
	json_array_foreach(expressions, i, e)
	{
		_cleanup_free_ char *values = go_string_list(json_object_get(e, "values"));
		buf_addf(&b, "%sv1.LabelSelectorRequirement{Key:\"%s\", Operator:\"%s\", Values:%s}", i ? ", " : "",
			 json_get_str(e, "key", ""), json_get_str(e, "operator", ""), values);
	}
	buf_adds(&b, "}}");
	return buf_steal(&b);
}

bool member_set(const json_t *obj, const char *name)
{
	const json_t *v = json_object_get(obj, name);
	return v && !json_is_null(v);
}

bool member_same(const json_t *a, const json_t *b, const char *name)
{
	if (!member_set(a, name) || !member_set(b, name))
		return member_set(a, name) == member_set(b, name);
	return json_equal(json_object_get(a, name), json_object_get(b, name));
}

struct at at_self(const char *path)
{
	struct at a;
	snprintf(a.s, sizeof(a.s), "%s", path);
	return a;
}

bool seen_twice(struct map *seen, const char *name)
{
	if (map_has(seen, name))
		return true;
	map_set(seen, name, seen);
	return false;
}
