/* One container's spec turned into what the runtime wants: command, environment, mounts, limits, security. */
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "nodeagent/pod.h"

#define GROUPS_MAX 64

struct container_config {
	struct runtime_container_config k;
	struct env_list env;
	char **command, **args, **cap_add, **cap_drop;
	char *cgroup, *log, *working_dir;
	struct runtime_mount *mounts;
	size_t n_mounts, cap_mounts;
	int64_t groups[GROUPS_MAX];
};

const struct runtime_container_config *container_config_get(const struct container_config *k)
{
	return &k->k;
}

static void strings_free(char **v)
{
	for (char **s = v; s && *s; s++)
		free(*s);
	free(v);
}

void container_config_free(struct container_config *k)
{
	if (!k)
		return;
	env_list_done(&k->env);
	strings_free(k->command);
	strings_free(k->args);
	strings_free(k->cap_add);
	strings_free(k->cap_drop);
	free(k->cgroup);
	free(k->log);
	free(k->working_dir);
	for (size_t i = 0; i < k->n_mounts; i++) {
		free((char *)k->mounts[i].host_path);
		free((char *)k->mounts[i].container_path);
	}
	free(k->mounts);
	free(k);
}

static void config_freep(struct container_config **k)
{
	container_config_free(*k);
}

static char **expanded(const json_t *array, const struct env_list *env)
{
	size_t n = json_array_size(array);
	if (n == 0)
		return NULL;
	char **v = NEW_N(char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(array, i));
		v[i] = pod_env_expand(s ? s : "", env);
	}
	return v;
}

static char **cap_names(const json_t *array)
{
	size_t n = json_array_size(array);
	char **v = NEW_N(char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(array, i));
		s = s ? s : "";
		v[i] = xstrdup(str_starts(s, "CAP_") ? s + 4 : s);
	}
	return v;
}

static struct runtime_mount *add_mount(struct container_config *k, char *host_owned, const char *at, bool ro)
{
	GROW(k->mounts, k->cap_mounts, k->n_mounts + 1);
	struct runtime_mount *m = &k->mounts[k->n_mounts++];
	*m = (struct runtime_mount){.host_path = host_owned, .container_path = xstrdup(at), .read_only = ro};
	return m;
}

static int add_volume(struct container_config *k, struct pod *p, const json_t *tree, const json_t *vm, struct err *err)
{
	bool ro = json_get_bool(vm, "readOnly", false), by_nature = false;
	char *path = volume_host_path(p, tree, json_get_str(vm, "name", ""), &by_nature, err);
	if (!path)
		return -EINVAL;
	const char *sub = json_get_str(vm, "subPath", ""), *expr = json_get_str(vm, "subPathExpr", "");
	_cleanup_free_ char *text = pod_env_expand(*expr ? expr : sub, &k->env);
	if (*text) {
		if (*expr == 0) {
			free(text);
			text = xstrdup(sub);
		}
		char *below = NULL;
		int rc = volume_subpath(path, text, &below, err);
		free(path);
		if (rc < 0)
			return err_prefix(err, "failed to prepare subPath for volumeMount \"%s\"",
					  json_get_str(vm, "name", ""));
		path = below;
	}
	const char *prop = json_get_str(vm, "mountPropagation", "None");
	if (streq(prop, "Bidirectional")) {
		free(path);
		return err_set(err, -ENOTSUP, "mountPropagation Bidirectional is not supported by this node agent");
	}
	struct runtime_mount *m = add_mount(k, path, json_get_str(vm, "mountPath", ""), ro || by_nature);
	m->propagate_from_host = streq(prop, "HostToContainer");
	return 0;
}

static bool mounted_at(const struct container_config *k, const char *at)
{
	for (size_t i = 0; i < k->n_mounts; i++) {
		if (streq(k->mounts[i].container_path, at))
			return true;
	}
	return false;
}

static void add_etc(struct container_config *k, struct pod *p)
{
	static const char *const files[] = {"hosts", "resolv.conf", "hostname"};
	_cleanup_free_ char *dir = pod_dir(p);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *at = xasprintf("/etc/%s", files[i]);
		if (!mounted_at(k, at))
			add_mount(k, xasprintf("%s/etc/%s", dir, files[i]), at, false);
	}
}

static int add_termination_log(struct container_config *k, struct pod_container *c, const json_t *cspec,
			       struct err *err)
{
	_cleanup_free_ char *dir = pod_dir(c->pod);
	_cleanup_free_ char *own = xasprintf("%s/containers/%s", dir, c->name);
	char *path = xasprintf("%s/%u", own, c->next_attempt);
	int rc = mkdir_p(own, 0755, err);
	if (rc < 0) {
		free(path);
		return rc;
	}
	_cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0) { /* any user of the container may write it */
		free(path);
		return err_errno(err, "make the termination message file");
	}
	add_mount(k, path, json_get_str(cspec, "terminationMessagePath", "/dev/termination-log"), false);
	return 0;
}

static int add_mounts(struct container_config *k, struct pod_container *c, const json_t *tree, const json_t *cspec,
		      struct err *err)
{
	size_t i;
	json_t *vm;
	if (json_array_size(json_object_get(cspec, "volumeDevices")) > 0)
		return err_set(err, -ENOTSUP, "volumeDevices are not supported by this node agent");
	json_array_foreach(json_object_get(cspec, "volumeMounts"), i, vm)
	{
		int rc = add_volume(k, c->pod, tree, vm, err);
		if (rc < 0)
			return rc;
	}
	add_etc(k, c->pod);
	int rc = add_termination_log(k, c, cspec, err);
	k->k.mounts = k->mounts;
	k->k.n_mounts = k->n_mounts;
	return rc;
}

/* The container's own word, else the pod's. */
static const json_t *context_field(const json_t *tree, const json_t *cspec, const char *key)
{
	const json_t *v = json_path(cspec, "securityContext", key, NULL);
	return v && !json_is_null(v) ? v : json_path(tree, "spec", "securityContext", key, NULL);
}

static int check_non_root(const struct pod_container *c, const json_t *tree, const json_t *cspec, int64_t user,
			  struct err *err)
{
	if (!json_is_true(context_field(tree, cspec, "runAsNonRoot")))
		return 0;
	if (user == 0)
		return err_set(err, -EPERM, "container's runAsUser breaks non-root policy");
	if (user < 0 && c->image_user == 0)
		return err_set(err, -EPERM, "container has runAsNonRoot and image will run as root");
	if (user < 0 && c->image_user < 0 && c->image_user_name)
		return err_set(err, -EPERM,
			       "container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is "
			       "non-root",
			       c->image_user_name);
	return 0;
}

static void set_groups(struct container_config *k, const json_t *tree)
{
	const json_t *ctx = json_path(tree, "spec", "securityContext", NULL);
	size_t n = 0, i;
	json_t *g;
	json_array_foreach(json_object_get(ctx, "supplementalGroups"), i, g)
	{
		if (n < GROUPS_MAX - 1)
			k->groups[n++] = json_integer_value(g);
	}
	int64_t fs_group = json_get_int(ctx, "fsGroup", -1);
	if (fs_group >= 0)
		k->groups[n++] = fs_group;
	k->k.security.supplemental_groups = k->groups;
	k->k.security.n_supplemental_groups = n;
}

static int set_security(struct container_config *k, const struct pod_container *c, const json_t *tree,
			const json_t *cspec, struct err *err)
{
	struct runtime_security *s = &k->k.security;
	const json_t *own = json_object_get(cspec, "securityContext");
	const json_t *user = context_field(tree, cspec, "runAsUser"), *group = context_field(tree, cspec, "runAsGroup");
	s->run_as_user = json_is_integer(user) ? json_integer_value(user) : -1;
	s->run_as_group = json_is_integer(group) ? json_integer_value(group) : -1;
	s->privileged = json_get_bool(own, "privileged", false);
	s->read_only_rootfs = json_get_bool(own, "readOnlyRootFilesystem", false);
	s->no_new_privs = json_is_false(json_object_get(own, "allowPrivilegeEscalation"));
	k->cap_add = cap_names(json_path(own, "capabilities", "add", NULL));
	k->cap_drop = cap_names(json_path(own, "capabilities", "drop", NULL));
	s->cap_add = (const char *const *)k->cap_add;
	s->cap_drop = (const char *const *)k->cap_drop;
	const char *seccomp = json_get_str(context_field(tree, cspec, "seccompProfile"), "type", "RuntimeDefault");
	if (streq(seccomp, "Localhost"))
		return err_set(err, -ENOTSUP, "seccompProfile Localhost is not supported by this node agent");
	s->seccomp_unconfined = streq(seccomp, "Unconfined");
	set_groups(k, tree);
	return check_non_root(c, tree, cspec, s->run_as_user, err);
}

int container_config_make(struct pod_container *c, struct container_config **ret, struct err *err)
{
	struct pod *p = c->pod;
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	const json_t *cspec = container_spec(c, tree);
	_cleanup_(config_freep) struct container_config *k = NEW(struct container_config);
	int rc = pod_env_make(c, tree, cspec, &k->env, err);
	if (rc < 0)
		return rc;
	if (!k->env.vars)
		k->env.vars = NEW(struct runtime_env_var);
	k->command = expanded(json_object_get(cspec, "command"), &k->env);
	k->args = expanded(json_object_get(cspec, "args"), &k->env);
	k->cgroup = xstrdup(p->cgroup);
	k->log = log_path(c, c->next_attempt);
	const char *wd = json_get_str(cspec, "workingDir", "");
	k->working_dir = *wd ? xstrdup(wd) : NULL;
	k->k = (struct runtime_container_config){
		.id = c->cur.id,
		.sandbox_id = p->sandbox_id,
		.name = c->name,
		.image_id = c->image_id,
		.command = (const char *const *)k->command,
		.args = (const char *const *)k->args,
		.working_dir = k->working_dir,
		.env = k->env.vars,
		.cgroup_parent = k->cgroup,
		.log_path = k->log,
		.stdin_open = json_get_bool(cspec, "stdin", false),
		.stdin_once = json_get_bool(cspec, "stdinOnce", false),
		.tty = json_get_bool(cspec, "tty", false),
	};
	container_resources(p->n, tree, cspec, p->qos, &k->k.resources);
	rc = set_security(k, c, tree, cspec, err);
	if (rc == 0)
		rc = add_mounts(k, c, tree, cspec, err);
	if (rc < 0)
		return rc;
	*ret = STEAL(k);
	return 0;
}
