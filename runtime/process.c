#include "runtime/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "runtime/spec.h"

#define RLIMITS(X)                                                                                                     \
	X(AS)                                                                                                          \
	X(CORE)                                                                                                        \
	X(CPU)                                                                                                         \
	X(DATA)                                                                                                        \
	X(FSIZE)                                                                                                       \
	X(LOCKS) X(MEMLOCK) X(MSGQUEUE) X(NICE) X(NOFILE) X(NPROC) X(RSS) X(RTPRIO) X(RTTIME) X(SIGPENDING) X(STACK)
static const struct {
	const char *name;
	int resource;
} rlimit_names[] = {
#define X(n) {"RLIMIT_" #n, RLIMIT_##n},
	RLIMITS(X)
#undef X
};

static int parse_rlimits(json_t *j, struct process *p, struct err *err)
{
	size_t i;
	json_t *e;
	json_array_foreach(j, i, e)
	{
		const char *type = json_str_at(e, "type");
		int resource = -1;
		for (unsigned k = 0; k < ARRAY_LEN(rlimit_names); k++)
			if (streq(type, rlimit_names[k].name))
				resource = rlimit_names[k].resource;
		if (resource < 0 || p->n_rlimits == PROCESS_RLIMITS_MAX)
			return err_set(err, -EINVAL, "config.json: process.rlimits[%zu]: unknown type %.50s", i,
				       type ? type : "(none)");
		/* "unlimited" is 2^64-1, which jansson holds as -1 or as a real */
		json_t *soft = json_object_get(e, "soft"), *hard = json_object_get(e, "hard");
		p->rlimits[p->n_rlimits].resource = resource;
		p->rlimits[p->n_rlimits++].limit = (struct rlimit){
			.rlim_cur = json_is_integer(soft) ? (rlim_t)json_integer_value(soft) : RLIM_INFINITY,
			.rlim_max = json_is_integer(hard) ? (rlim_t)json_integer_value(hard) : RLIM_INFINITY,
		};
	}
	return 0;
}

static int parse_id(json_t *j, const char *what, uint32_t *ret, struct err *err)
{
	json_int_t v = json_integer_value(j);
	if ((j && !json_is_integer(j)) || v < 0 || v >= UINT32_MAX)
		return err_set(err, -EINVAL, "config.json: process.user.%s is not a valid id", what);
	*ret = (uint32_t)v;
	return 0;
}

static int parse_user(json_t *j, struct process *p, struct err *err)
{
	int r;
	if ((r = parse_id(json_object_get(j, "uid"), "uid", &p->uid, err)) < 0 ||
	    (r = parse_id(json_object_get(j, "gid"), "gid", &p->gid, err)) < 0)
		return r;
	json_t *gids = json_object_get(j, "additionalGids"), *e;
	size_t i;
	if (json_array_size(gids) > PROCESS_GIDS_MAX)
		return err_set(err, -EINVAL, "config.json: process.user.additionalGids has more than %d ids",
			       PROCESS_GIDS_MAX);
	p->gids = NEW_N(gid_t, json_array_size(gids) + 1);
	json_array_foreach(gids, i,
			   e) if ((r = parse_id(e, "additionalGids", &p->gids[p->n_gids++], err)) < 0) return r;
	json_t *mask = json_object_get(j, "umask");
	p->umask = json_is_integer(mask) ? (int)(json_integer_value(mask) & 0777) : -1;
	return 0;
}

static int parse_rest(json_t *j, struct process *p, struct err *err)
{
	p->terminal = json_bool_at(j, "terminal");
	p->rows = (unsigned short)json_integer_value(json_at(j, "consoleSize.height"));
	p->cols = (unsigned short)json_integer_value(json_at(j, "consoleSize.width"));
	p->no_new_privs = json_bool_at(j, "noNewPrivileges");
	json_t *oom = json_at(j, "oomScoreAdj");
	p->has_oom_score_adj = json_is_integer(oom);
	p->oom_score_adj = (int)json_integer_value(oom);
	if (p->oom_score_adj < -1000 || p->oom_score_adj > 1000)
		return err_set(err, -EINVAL, "config.json: process.oomScoreAdj is not in -1000..1000");
	const char *label = json_str_at(j, "selinuxLabel");
	if (!str_empty(label) && file_exists("/sys/fs/selinux/enforce"))
		return err_set(err, -ENOTSUP, "config.json: process.selinuxLabel is not supported");
	const char *aa = json_str_at(j, "apparmorProfile");
	p->apparmor = !str_empty(aa) && !streq(aa, "unconfined") ? aa : NULL;
	return 0;
}

int process_parse(json_t *j, struct process *ret, struct err *err)
{
	__attribute__((cleanup(process_done))) struct process p = {.umask = -1};
	int r;
	if (!json_is_object(j))
		return err_set(err, -EINVAL, "config.json: process is missing");
	if ((r = json_strv(json_object_get(j, "args"), "process.args", &p.args, err)) < 0 ||
	    (r = json_strv(json_object_get(j, "env"), "process.env", &p.env, err)) < 0)
		return r;
	if (!p.args || !p.args[0])
		return err_set(err, -EINVAL, "config.json: process.args is empty");
	if (!p.env)
		p.env = NEW_N(const char *, 1);
	p.cwd = json_str_at(j, "cwd");
	if (!p.cwd || p.cwd[0] != '/')
		return err_set(err, -EINVAL, "config.json: process.cwd is not an absolute path");
	if ((r = parse_user(json_object_get(j, "user"), &p, err)) < 0 ||
	    (r = parse_rlimits(json_object_get(j, "rlimits"), &p, err)) < 0 || (r = parse_rest(j, &p, err)) < 0 ||
	    (r = caps_parse(json_object_get(j, "capabilities"), &p.caps, err)) < 0)
		return r;
	*ret = p;
	p = (struct process){0};
	return 0;
}

void process_done(struct process *p)
{
	if (!p)
		return;
	free(p->args);
	free(p->env);
	free(p->gids);
	free(p->path);
	*p = (struct process){0};
}

int process_early(const struct process *p, struct err *err)
{
	char value[256];
	if (p->has_oom_score_adj) {
		snprintf(value, sizeof(value), "%d", p->oom_score_adj);
		int r = file_write("/proc/self/oom_score_adj", value, err);
		if (r < 0)
			return r;
	}
	if (p->apparmor) {
		if (!file_exists("/sys/kernel/security/apparmor"))
			return err_set(err, -ENOTSUP,
				       "AppArmor profile %.100s is wanted, but this kernel has no AppArmor",
				       p->apparmor);
		snprintf(value, sizeof(value), "exec %s", p->apparmor);
		const char *attr = file_exists("/proc/self/attr/apparmor/exec") ? "/proc/self/attr/apparmor/exec"
										: "/proc/self/attr/exec";
		return file_write(attr, value, err);
	}
	return 0;
}

static const char *env_get(const char **env, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;
	for (; *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			found = *env + n + 1;
	return found;
}

/* The home directory of uid by the container's own passwd file; "/" when it has none. */
static char *home_of(uid_t uid)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
	char line[1024];
	while (f && fgets(line, sizeof(line), f)) {
		char *field[7] = {0}, *rest = line;
		unsigned n = 0;
		line[strcspn(line, "\n")] = 0;
		while (n < ARRAY_LEN(field) && rest)
			field[n++] = strsep(&rest, ":");
		if (n >= 6 && field[2][0] && strtoul(field[2], NULL, 10) == uid && field[5][0] == '/')
			return xasprintf("HOME=%s", field[5]);
	}
	return xstrdup("HOME=/");
}

int process_enter_cwd(struct process *p, struct err *err)
{
	if (str_empty(env_get(p->env, "HOME"))) {
		size_t n = 0, k = 0;
		while (p->env[n])
			n++;
		const char **env = NEW_N(const char *, n + 2);
		for (size_t i = 0; i < n; i++)
			if (!str_starts(p->env[i], "HOME="))
				env[k++] = p->env[i];
		env[k] = home_of(p->uid);
		free(p->env);
		p->env = env;
	}
	if (chdir(p->cwd) == 0)
		return 0;
	int r = errno == ENOENT ? mkdir_p(p->cwd, 0755, err) : 0;
	if (r < 0)
		return r;
	return chdir(p->cwd) == 0 ? 0 : err_errno(err, "can't change to the working directory %s", p->cwd);
}

static int runnable(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return (st.st_mode & 0111) ? 0 : -EACCES;
}

int process_find(struct process *p, struct err *err)
{
	const char *name = p->args[0];
	if (strchr(name, '/')) {
		int r = runnable(name);
		if (r < 0)
			return err_set(err, r, "exec: \"%.200s\": %s", name,
				       r == -EACCES   ? "permission denied"
				       : r == -EISDIR ? "is a directory"
						      : "no such file or directory");
		p->path = xstrdup(name);
		return 0;
	}
	const char *path = env_get(p->env, "PATH");
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	int denied = 0;
	while (name[0]) {
		size_t n = strcspn(path, ":");
		_cleanup_free_ char *full = xasprintf("%.*s/%s", n ? (int)n : 1, n ? path : ".", name);
		int r = runnable(full);
		if (r == 0) {
			p->path = STEAL(full);
			return 0;
		}
		denied |= r == -EACCES;
		if (!path[n])
			break;
		path += n + 1;
	}
	return err_set(err, denied ? -EACCES : -ENOENT, "exec: \"%.200s\": %s", name,
		       denied ? "permission denied" : "executable file not found in $PATH");
}

/* The program may reopen /dev/stdout by name: let its user own the pipes it was given, as runc and crun do. */
static void own_stdio(uid_t uid)
{
	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;
		if (fstat(fd, &st) == 0 && st.st_uid != uid && !(S_ISCHR(st.st_mode) && st.st_rdev == 0x103))
			(void)!fchown(fd, uid, (gid_t)-1);
	}
}

int process_confine(const struct process *p, struct err *err)
{
	int r;
	for (unsigned i = 0; i < p->n_rlimits; i++)
		if (setrlimit((__rlimit_resource_t)p->rlimits[i].resource, &p->rlimits[i].limit) < 0)
			return err_errno(err, "can't set process.rlimits[%u]", i);
	/* A filter needs privilege or no_new_privs; with neither left later, it must come now. */
	if (p->filter && !p->no_new_privs && (r = seccomp_load_filter(p->filter, err)) < 0)
		return r;
	if ((r = caps_before_setuid(&p->caps, err)) < 0)
		return r;
	if (p->uid != 0 && !p->terminal)
		own_stdio(p->uid);
	if (setgroups(p->n_gids, p->gids) < 0 && !(errno == EPERM && p->n_gids == 0))
		return err_errno(err, "can't set the additional groups");
	if (setresgid(p->gid, p->gid, p->gid) < 0)
		return err_errno(err, "can't become group %u", p->gid);
	if (setresuid(p->uid, p->uid, p->uid) < 0)
		return err_errno(err, "can't become user %u", p->uid);
	if ((r = caps_apply(&p->caps, err)) < 0)
		return r;
	if (p->umask >= 0)
		umask((mode_t)p->umask);
	if (p->no_new_privs) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			return err_errno(err, "prctl(PR_SET_NO_NEW_PRIVS)");
		if (p->filter && (r = seccomp_load_filter(p->filter, err)) < 0)
			return r;
	}
	return 0;
}

int process_exec(const struct process *p, struct err *err)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(p->path, (char *const *)p->args, (char *const *)p->env);
	int e = errno;
	return err_set(err, -e, "exec %.300s: %s", p->path, e == ENOEXEC ? "exec format error" : strerror(e));
}
