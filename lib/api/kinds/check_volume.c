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

/* Of files in a volume; names that begin with ".." are the writer's own. */
static void check_file_path(const char *p, struct at where, struct err *err)
{
	check_local_path(p, where, err);
	if (str_starts(p, "..") && !str_starts(p, "../"))
		fault_invalid(err, where, p, "must not start with '..'");
}

static void check_items(const json_t *source, const char *path, struct err *err)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(source, "items"), i, item)
		check_file_path(json_get_str(item, "path", ""), at(path, "items[%zu].path", i), err);
}

static void check_config_map_source(const json_t *source, const char *path, struct err *err)
{
	if (!*json_get_str(source, "name", ""))
		fault_required(err, at(path, "name"), NULL);
	check_items(source, path, err);
}

/* ---- downward API ---- */

static void check_downward_field(const json_t *ref, const char *path, struct err *err)
{
	static const char *const known[] = {"metadata.annotations", "metadata.labels", "metadata.name",
					    "metadata.namespace", "metadata.uid"};
	const char *field = json_get_str(ref, "fieldPath", "");
	bool fine =
		!*field || ((str_starts(field, "metadata.labels['") || str_starts(field, "metadata.annotations['")) &&
			    str_ends(field, "']"));

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		fine = fine || streq(field, known[i]);
	if (!fine)
		fault_unsupported(err, at(path, "fieldPath"), field,
				  "\"metadata.annotations\", \"metadata.labels\", \"metadata.name\", "
				  "\"metadata.namespace\", \"metadata.uid\"");
}

static void check_downward_file(const json_t *file, const char *path, struct err *err)
{
	const json_t *resource = json_object_get(file, "resourceFieldRef");

	check_file_path(json_get_str(file, "path", ""), at(path, "path"), err);
	if (member_set(file, "fieldRef")) {
		check_downward_field(json_object_get(file, "fieldRef"), at(path, "fieldRef").s, err);
		if (member_set(file, "resourceFieldRef"))
			fault_invalid(err, at_self(path), "resource",
				      "fieldRef and resourceFieldRef can not be specified simultaneously");
	} else if (member_set(file, "resourceFieldRef")) {
		if (!*json_get_str(resource, "containerName", ""))
			fault_required(err, at(path, "resourceFieldRef.containerName"), NULL);
		else
			container__check_resource_ref(resource, path, err);
	} else {
		fault_required(err, at_self(path), "one of fieldRef and resourceFieldRef is required");
	}
}

static void check_downward(const json_t *source, const char *path, struct err *err)
{
	size_t i;
	json_t *file;

	json_array_foreach(json_object_get(source, "items"), i, file)
		check_downward_file(file, at(path, "items[%zu]", i).s, err);
}

/* ---- projected ---- */

/* Every file of a projected volume has a place of its own. */
static void take_place(struct map *taken, const char *file, const char *named, const char *path, struct err *err)
{
	if (*file && seen_twice(taken, file))
		fault_invalid(err, at_self(path), *named ? named : file, "conflicting duplicate paths");
}

static void check_source(const json_t *s, struct map *taken, const char *path, const char *here, struct err *err)
{
	static const char *const listed[] = {"secret", "downwardAPI", "configMap"};
	const json_t *token = json_object_get(s, "serviceAccountToken");
	const char *file = json_get_str(token, "path", "");

	for (size_t n = 0; n < ARRAY_LEN(listed); n++) {
		const json_t *source = json_object_get(s, listed[n]), *item;
		if (!member_set(s, listed[n]))
			continue;
		if (n == 1)
			check_downward(source, at(here, "%s", listed[n]).s, err);
		else
			check_config_map_source(source, at(here, "%s", listed[n]).s, err);
		const json_t *items = json_object_get(source, "items");
		for (size_t i = 0; (item = json_array_get(items, i)); i++)
			take_place(taken, json_get_str(item, "path", ""), json_get_str(source, "name", ""), path, err);
	}
	check_file_path(file, at(here, "serviceAccountToken.path"), err);
	take_place(taken, file, "", path, err);
}

static void check_projected(const json_t *projected, const char *path, struct err *err)
{
	_cleanup_map_ struct map taken = MAP_INIT;
	size_t i;
	json_t *s;

	json_array_foreach(json_object_get(projected, "sources"), i, s)
	{
		struct at here = at(path, "sources[%zu]", i);
		check_source(s, &taken, path, here.s, err);
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
		else if (streq(key, "downwardAPI"))
			check_downward(v, here.s, err);
		else if (streq(key, "nfs") && *json_get_str(v, "path", "/") != '/')
			fault_invalid(err, at(here.s, "path"), json_get_str(v, "path", ""), "must be an absolute path");
		else if (streq(key, "emptyDir") && *json_get_str(v, "sizeLimit", "") == '-')
			fault_forbidden(err, at(here.s, "sizeLimit"),
					"SizeLimit field must be a valid resource quantity");
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

/* A raw device is a claim's, and is not mounted besides. */
static void check_device(const json_t *d, const struct map *volumes, const struct map *mounted,
			 const struct map *targets, struct map *devices, const char *path, struct err *err)
{
	const char *name = json_get_str(d, "name", ""), *target = json_get_str(d, "devicePath", "");
	const json_t *volume = map_get(volumes, name);

	if (*name && seen_twice(devices, name))
		fault_invalid(err, at(path, "name"), name, "must be unique");
	if (volume && !member_set(volume, "persistentVolumeClaim") && !member_set(volume, "ephemeral"))
		fault_invalid(err, at(path, "name"), name,
			      "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
	if (*name && !volume)
		fault_not_found(err, at(path, "name"), name);
	if (path__has_dotdot(target))
		fault_invalid(err, at(path, "devicePath"), target, "can not contain backsteps ('..')");
	if (*target && map_has(targets, target))
		fault_invalid(err, at(path, "devicePath"), target, "must not already exist as a path in volumeMounts");
	if (*name && map_has(mounted, name))
		fault_invalid(err, at(path, "name"), name, "must not already exist in volumeMounts");
}

void volume__check_mounts(const json_t *container, const struct map *volumes, const char *path, struct err *err)
{
	_cleanup_map_ struct map targets = MAP_INIT, mounted = MAP_INIT, devices = MAP_INIT;
	size_t i;
	json_t *m;

	json_array_foreach(json_object_get(container, "volumeMounts"), i, m)
	{
		check_mount(m, &targets, volumes, at(path, "volumeMounts[%zu]", i).s, err);
		seen_twice(&mounted, json_get_str(m, "name", ""));
	}
	json_array_foreach(json_object_get(container, "volumeDevices"), i, m)
		check_device(m, volumes, &mounted, &targets, &devices, at(path, "volumeDevices[%zu]", i).s, err);
}
