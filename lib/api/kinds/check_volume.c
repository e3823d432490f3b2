/* Rules of volumes, and of what containers mount of them. */

#include "lib/api/kinds/check_pod.h"
#include "lib/api/kinds/faults.h"
#include "lib/api/kinds/hooks.h"

bool path__has_dotdot(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (str_starts(p, "..") && (!p[2] || p[2] == '/'))
			return true;
	}
	return false;
}

static void check_local_path(const char *p, struct at where, struct err *err)
{
	if (*p == '/')
		fault_invalid(err, where, p, "must be a relative path");
	if (path__has_dotdot(p))
		fault_invalid(err, where, p, "must not contain '..'");
}

static void check_items(const json_t *source, const char *path, struct err *err)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(source, "items"), i, item)
		check_local_path(json_get_str(item, "path", ""), at(path, "items[%zu].path", i), err);
}

static void check_config_map_source(const json_t *source, const char *path, struct err *err)
{
	if (!*json_get_str(source, "name", ""))
		fault_required(err, at(path, "name"), NULL);
	check_items(source, path, err);
}

static void check_projected(const json_t *projected, const char *path, struct err *err)
{
	size_t i;
	json_t *s;

	json_array_foreach(json_object_get(projected, "sources"), i, s)
	{
		static const char *const named[] = {"configMap", "secret"};
		struct at here = at(path, "sources[%zu]", i);
		for (size_t n = 0; n < ARRAY_LEN(named); n++)
			if (member_set(s, named[n]))
				check_config_map_source(json_object_get(s, named[n]), at(here.s, "%s", named[n]).s,
							err);
		if (json_object_size(s) > 1)
			fault_forbidden(err, here, "may not specify more than 1 volume type");
		else if (json_object_size(s) == 0)
			fault_required(err, here, "must specify a volume type");
	}
}

void volume__check(const json_t *obj, _unused_ const json_t *old, const char *path, struct err *err)
{
	const char *key;
	json_t *v;
	int n = 0;

	json_object_foreach((json_t *)obj, key, v)
	{
		if (streq(key, "name") || json_is_null(v))
			continue;
		if (n++) {
			fault_forbidden(err, at(path, "%s", key), "may not specify more than 1 volume type");
			continue;
		}
		struct at here = at(path, "%s", key);
		if (streq(key, "configMap"))
			check_config_map_source(v, here.s, err);
		else if (streq(key, "secret"))
			check_items(v, here.s, err);
		else if (streq(key, "projected"))
			check_projected(v, here.s, err);
		else if (streq(key, "hostPath") && path__has_dotdot(json_get_str(v, "path", "")))
			fault_invalid(err, at(here.s, "path"), json_get_str(v, "path", ""), "must not contain '..'");
	}
	if (!n)
		fault_required(err, at_self(path), "must specify a volume type");
}

static void check_mount(const json_t *m, struct map *targets, const struct map *volumes, const char *path,
			struct err *err)
{
	const char *name = json_get_str(m, "name", ""), *target = json_get_str(m, "mountPath", "");
	const char *sub = json_get_str(m, "subPath", ""), *sub_expr = json_get_str(m, "subPathExpr", "");

	if (*name && !map_has(volumes, name))
		fault_not_found(err, at(path, "name"), name);
	if (*target && seen_twice(targets, target))
		fault_invalid(err, at(path, "mountPath"), target, "must be unique");
	check_local_path(sub, at(path, "subPath"), err);
	check_local_path(sub_expr, at(path, "subPathExpr"), err);
	if (*sub && *sub_expr)
		fault_invalid(err, at(path, "subPathExpr"), sub_expr, "subPathExpr and subPath are mutually exclusive");
}

void volume__check_mounts(const json_t *container, const struct map *volumes, const char *path, struct err *err)
{
	_cleanup_map_ struct map targets = MAP_INIT;
	size_t i;
	json_t *m;

	json_array_foreach(json_object_get(container, "volumeMounts"), i, m)
		check_mount(m, &targets, volumes, at(path, "volumeMounts[%zu]", i).s, err);
}
