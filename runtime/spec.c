#include "runtime/spec.h"

#include <errno.h>
#include <sched.h>

#include "lib/core/file.h"

#define CONFIG_MAX (4 * 1024 * 1024)

json_t *json_at(json_t *j, const char *path)
{
	while (j && *path) {
		size_t n = strcspn(path, ".");
		j = json_object_getn(j, path, n);
		path += n + (path[n] == '.');
	}
	return j;
}

const char *json_str_at(json_t *j, const char *path)
{
	return json_string_value(json_at(j, path));
}

bool json_bool_at(json_t *j, const char *path)
{
	return json_is_true(json_at(j, path));
}

const char *spec_annotation(const struct spec *s, const char *name)
{
	return json_string_value(json_object_get(json_object_get(s->json, "annotations"), name));
}

int json_strv(json_t *j, const char *what, const char ***ret, struct err *err)
{
	if (!j || json_is_null(j)) {
		*ret = NULL;
		return 0;
	}
	if (!json_is_array(j))
		return err_set(err, -EINVAL, "config.json: %s is not an array", what);
	_cleanup_free_ const char **v = NEW_N(const char *, json_array_size(j) + 1);
	size_t i;
	json_t *e;
	json_array_foreach(j, i, e)
	{
		if (!json_is_string(e))
			return err_set(err, -EINVAL, "config.json: %s[%zu] is not a string", what, i);
		v[i] = json_string_value(e);
	}
	*ret = STEAL(v);
	return 0;
}

static const struct {
	const char *name;
	int flag;
} namespaces[] = {
	{"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET},   {"mount", CLONE_NEWNS},  {"ipc", CLONE_NEWIPC},
	{"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}, {"user", CLONE_NEWUSER},
};

static int parse_namespaces(struct spec *s, struct err *err)
{
	size_t i;
	json_t *e;
	unsigned seen = 0;
	json_array_foreach(json_at(s->json, "linux.namespaces"), i, e)
	{
		const char *type = json_str_at(e, "type"), *path = json_str_at(e, "path");
		int flag = 0;
		for (unsigned k = 0; k < ARRAY_LEN(namespaces); k++)
			if (streq(type, namespaces[k].name))
				flag = namespaces[k].flag;
		if (!flag)
			return err_set(err, -EINVAL, "config.json: linux.namespaces[%zu]: type %.50s is not supported",
				       i, type ? type : "(none)");
		if (seen & (unsigned)flag)
			return err_set(err, -EINVAL, "config.json: linux.namespaces: %s appears twice", type);
		seen |= (unsigned)flag;
		if (str_empty(path)) {
			s->new_ns |= (unsigned)flag;
			continue;
		}
		if (path[0] != '/')
			return err_set(err, -EINVAL, "config.json: linux.namespaces[%zu]: path %.200s is not absolute",
				       i, path);
		s->join[s->n_join].flag = flag;
		s->join[s->n_join++].path = path;
	}
	if (!(s->new_ns & CLONE_NEWNS))
		return err_set(err, -EINVAL,
			       "config.json: linux.namespaces needs a new mount namespace: without it the container's "
			       "mounts would be the host's");
	if (spec_joins(s, CLONE_NEWUSER))
		return err_set(err, -ENOTSUP, "config.json: joining a user namespace by path is not supported");
	return 0;
}

bool spec_joins(const struct spec *s, int flag)
{
	for (unsigned i = 0; i < s->n_join; i++)
		if (s->join[i].flag == flag)
			return true;
	return false;
}

static int check_version(const struct spec *s, struct err *err)
{
	const char *v = json_str_at(s->json, "ociVersion");
	if (!v)
		return err_set(err, -EINVAL, "config.json: ociVersion is missing");
	if (!str_starts(v, "1."))
		return err_set(err, -EINVAL, "config.json: ociVersion %.50s is not supported (1.x is)", v);
	return 0;
}

static int parse_root(struct spec *s, struct err *err)
{
	const char *path = json_str_at(s->json, "root.path");
	if (str_empty(path))
		return err_set(err, -EINVAL, "config.json: root.path is missing");
	s->rootfs = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", s->bundle, path);
	s->rootfs_readonly = json_bool_at(s->json, "root.readonly");
	s->hostname = json_str_at(s->json, "hostname");
	s->domainname = json_str_at(s->json, "domainname");
	s->cgroup_path = json_str_at(s->json, "linux.cgroupsPath");
	bool own_uts = (s->new_ns & CLONE_NEWUTS) || spec_joins(s, CLONE_NEWUTS);
	if (!str_empty(s->hostname) && !own_uts)
		return err_set(err, -EINVAL, "config.json: hostname needs a uts namespace: it would rename the host");
	return 0;
}

int spec_load(const char *bundle, struct spec *ret, struct err *err)
{
	__attribute__((cleanup(spec_done))) struct spec s = {0};
	s.bundle = realpath(bundle, NULL);
	if (!s.bundle)
		return err_errno(err, "bundle %s", bundle);
	_cleanup_free_ char *path = xasprintf("%s/config.json", s.bundle);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = file_read(path, CONFIG_MAX, &b, err);
	if (r < 0)
		return r;
	json_error_t je;
	s.json = json_loadb(buf_str(&b), b.len, 0, &je);
	if (!s.json)
		return err_set(err, -EINVAL, "%s:%d:%d: %s", path, je.line, je.column, je.text);
	if (!json_is_object(s.json))
		return err_set(err, -EINVAL, "%s is not a JSON object", path);
	if ((r = check_version(&s, err)) < 0 || (r = parse_namespaces(&s, err)) < 0 || (r = parse_root(&s, err)) < 0)
		return r;
	*ret = s;
	s = (struct spec){0};
	return 0;
}

void spec_done(struct spec *s)
{
	if (!s)
		return;
	json_decref(s->json);
	free(s->bundle);
	free(s->rootfs);
	*s = (struct spec){0};
}
