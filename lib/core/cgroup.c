#include "lib/core/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/core/buf.h"

#define PATH_SIZE 1024

static int write_at(const char *path, const char *value)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, value, strlen(value));
	return n < 0 ? -errno : 0;
}

static ssize_t read_at(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return n;
}

int cgroup_fs_open(const char *root, struct cgroup_fs *ret, struct err *err)
{
	struct cgroup_fs fs = {.unified = -1};
	char path[PATH_SIZE];
	if (strlen(root) >= sizeof(fs.root))
		return err_set(err, -ENAMETOOLONG, "cgroup root %s is too long", root);
	strcpy(fs.root, root);
	snprintf(path, sizeof(path), "%s/cgroup.controllers", root);
	if (access(path, F_OK) == 0) {
		fs.v2 = true;
		fs.n = 1;
		fs.unified = 0;
		*ret = fs;
		return 0;
	}
	DIR *d = opendir(root);
	if (!d)
		return err_errno(err, "control groups: %s", root);
	for (struct dirent *e; (e = readdir(d)) && fs.n < CGROUP_HIERARCHIES_MAX;) {
		/* symbolic links (cpu -> cpu,cpuacct) are second names */
		if (e->d_type != DT_DIR || e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(fs.dirs[0]))
			continue;
		snprintf(path, sizeof(path), "%s/%s/tasks", root, e->d_name);
		bool v1 = access(path, F_OK) == 0;
		snprintf(path, sizeof(path), "%s/%s/cgroup.controllers", root, e->d_name);
		if (!v1 && access(path, F_OK) != 0)
			continue;
		if (!v1)
			fs.unified = (int)fs.n;
		strcpy(fs.dirs[fs.n++], e->d_name);
	}
	closedir(d);
	if (fs.n == 0)
		return err_set(err, -ENOENT, "no control groups are mounted at %s", root);
	*ret = fs;
	return 0;
}

static bool dir_has(const char *dir, const char *controller)
{
	size_t n = strlen(controller);
	for (const char *p = dir; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
		if (strncmp(p, controller, n) == 0 && (p[n] == 0 || p[n] == ','))
			return true;
	return false;
}

static bool path_of(const struct cgroup_fs *fs, unsigned i, const char *group, char *ret, size_t size)
{
	int n = fs->v2 ? snprintf(ret, size, "%s%s", fs->root, group)
		       : snprintf(ret, size, "%s/%s%s", fs->root, fs->dirs[i], group);
	return n > 0 && (size_t)n < size;
}

bool cgroup_dir(const struct cgroup_fs *fs, const char *controller, const char *group, char *ret, size_t size)
{
	for (unsigned i = 0; i < fs->n; i++)
		if (fs->v2 || dir_has(fs->dirs[i], controller))
			return path_of(fs, i, group, ret, size);
	return false;
}

bool cgroup_has(const struct cgroup_fs *fs, const char *controller)
{
	char path[PATH_SIZE], names[1024];
	if (!fs->v2)
		return cgroup_dir(fs, controller, "", path, sizeof(path));
	snprintf(path, sizeof(path), "%s/cgroup.controllers", fs->root);
	if (read_at(path, names, sizeof(names)) < 0)
		return false;
	char *save = NULL;
	for (char *name = strtok_r(names, " \n", &save); name; name = strtok_r(NULL, " \n", &save))
		if (streq(name, controller))
			return true;
	return false;
}

bool cgroup_path_valid(const char *group)
{
	if (!group || group[0] != '/' || !group[1] || strlen(group) > 512)
		return false;
	for (const char *p = group; *p;) {
		size_t n = strcspn(++p, "/");
		if (n == 0 || n > 255 || p[0] == '.' || strcspn(p, "\n\r") < n)
			return false;
		p += n;
	}
	return true;
}

/* A new v1 cpuset is empty until told otherwise, and then refuses every process. */
static int inherit_cpuset(const char *dir)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		char path[PATH_SIZE + 32], value[4096];
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		if (read_at(path, value, sizeof(value)) > 1)
			continue;
		snprintf(path, sizeof(path), "%s/../%s", dir, files[i]);
		ssize_t n = read_at(path, value, sizeof(value));
		if (n < 0)
			return n == -ENOENT ? 0 : (int)n;
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		int r = write_at(path, value);
		if (r < 0)
			return r;
	}
	return 0;
}

/* v2: a controller works in a group when its parent's cgroup.subtree_control names it. */
static void delegate(const char *parent)
{
	char path[PATH_SIZE + 32], names[1024], line[64];
	snprintf(path, sizeof(path), "%s/cgroup.controllers", parent);
	if (read_at(path, names, sizeof(names)) <= 0)
		return;
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", parent);
	char *save = NULL;
	for (char *name = strtok_r(names, " \n", &save); name; name = strtok_r(NULL, " \n", &save)) {
		/* One by one: a controller that can't be had here must not keep the others away. What was wanted and
		 * is missing shows when its limit is written. */
		snprintf(line, sizeof(line), "+%.60s", name);
		(void)write_at(path, line);
	}
}

#define CLEAR_ROUNDS 100

/* Moves what is in the root's list at the moment; returns how many there were. */
static int move_listed(const char *from, const char *to)
{
	_cleanup_fclose_ FILE *f = fopen(from, "re");
	if (!f)
		return -errno;
	int n = 0;
	for (char line[32]; fgets(line, sizeof(line), f); n++) {
		line[strcspn(line, "\n")] = 0;
		/* of an outer pid namespace: nothing we can name */
		if (streq(line, "0"))
			return -EXDEV;
		int r = write_at(to, line);
		if (r < 0 && r != -ESRCH)
			return r;
	}
	return n;
}

int cgroup_clear_root(const struct cgroup_fs *fs, struct err *err)
{
	char type[PATH_SIZE], from[PATH_SIZE], init[PATH_SIZE], to[PATH_SIZE + 32];
	snprintf(type, sizeof(type), "%s/cgroup.type", fs->root);
	snprintf(from, sizeof(from), "%s/cgroup.procs", fs->root);
	snprintf(init, sizeof(init), "%s/init", fs->root);
	snprintf(to, sizeof(to), "%s/cgroup.procs", init);
	/* The host's root has no type. */
	if (!fs->v2 || access(type, F_OK) < 0)
		return 0;
	_cleanup_fclose_ FILE *f = fopen(from, "re");
	if (f && fgetc(f) == EOF)
		return 0;
	int r = mkdir(init, 0755) < 0 && errno != EEXIST ? -errno : 1;
	/* Others may fork meanwhile. */
	for (int round = 0; r > 0; round++)
		r = round == CLEAR_ROUNDS ? -EBUSY : move_listed(from, to);
	return r == 0 ? 0
		      : err_set(err, -EBUSY,
				"this container can't hand on its control groups (%s: %s): start it with a writable "
				"cgroup namespace of its own, e.g. docker run --privileged --cgroupns=private",
				from, strerror(-r));
}

static int make_in(const struct cgroup_fs *fs, unsigned i, const char *group, struct err *err)
{
	char path[PATH_SIZE];
	if (!path_of(fs, i, group, path, sizeof(path)))
		return err_set(err, -ENAMETOOLONG, "control group %s: path is too long", group);
	bool cpuset = !fs->v2 && dir_has(fs->dirs[i], "cpuset");
	size_t base = strlen(path) - strlen(group);
	/* The whole path first: parents nearly always exist, and then one call does. */
	if (!cpuset && !fs->v2 && (mkdir(path, 0755) == 0 || errno == EEXIST))
		return 0;
	for (char *p = path + base; p; p = strchr(p + 1, '/')) {
		if (fs->v2) {
			*p = 0;
			delegate(path);
			*p = '/';
		}
		char *next = strchr(p + 1, '/');
		if (next)
			*next = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_errno(err, "control group %s", path);
		int r = cpuset ? inherit_cpuset(path) : 0;
		if (r < 0)
			return err_set(err, r, "control group %s: its cpuset can't be set: %s", path, strerror(-r));
		if (next)
			*next = '/';
	}
	return 0;
}

int cgroup_make(const struct cgroup_fs *fs, const char *group, struct err *err)
{
	if (!cgroup_path_valid(group))
		return err_set(err, -EINVAL, "control group path %.200s is not valid", group);
	for (unsigned i = 0; i < fs->n; i++) {
		int r = make_in(fs, i, group, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cgroup_open_unified(const struct cgroup_fs *fs, const char *group, int *ret_fd, struct err *err)
{
	char path[PATH_SIZE];
	if (fs->unified < 0) {
		*ret_fd = -1;
		return 0;
	}
	if (!cgroup_path_valid(group))
		return err_set(err, -EINVAL, "control group path %.200s is not valid", group);
	int r = make_in(fs, (unsigned)fs->unified, group, err);
	if (r < 0)
		return r;
	(void)path_of(fs, (unsigned)fs->unified, group, path, sizeof(path));
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "control group %s", path);
	*ret_fd = fd;
	return 0;
}

int cgroup_enter_self_v1(const struct cgroup_fs *fs, const char *group, struct err *err)
{
	for (unsigned i = 0; i < fs->n; i++) {
		char dir[PATH_SIZE], path[PATH_SIZE + 32];
		if ((int)i == fs->unified)
			continue;
		if (!path_of(fs, i, group, dir, sizeof(dir)))
			return err_set(err, -ENAMETOOLONG, "control group %s: path is too long", group);
		snprintf(path, sizeof(path), "%s/tasks", dir);
		int r = write_at(path, "0");
		if (r < 0)
			return err_set(err, r, "can't enter %s: %s", dir, strerror(-r));
	}
	return 0;
}

/* Signals the processes of one folder; returns how many there were, or a negative errno. */
static int kill_folder(const char *dir, int sig)
{
	char path[PATH_SIZE + 32];
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	if (!f)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	int n = 0;
	for (char line[32]; fgets(line, sizeof(line), f);) {
		long pid = strtol(line, NULL, 10);
		/* 0: a process of another pid namespace; never our own self */
		if (pid <= 0 || pid == getpid())
			continue;
		n++;
		(void)kill((pid_t)pid, sig);
	}
	return n;
}

typedef int (*folder_fn)(const char *dir, void *arg);

/* Calls fn for a folder and all below it, deepest first. The kernel bounds the depth. */
static int walk(const char *dir, unsigned depth, folder_fn fn, void *arg)
{
	if (depth > 64)
		return -ELOOP;
	DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	int first = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_type != DT_DIR || streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		char sub[PATH_SIZE];
		int n = snprintf(sub, sizeof(sub), "%s/%s", dir, e->d_name);
		int r = n < (int)sizeof(sub) ? walk(sub, depth + 1, fn, arg) : -ENAMETOOLONG;
		if (r < 0 && first == 0)
			first = r;
	}
	closedir(d);
	int r = fn(dir, arg);
	return first < 0 ? first : r;
}

static int kill_fn(const char *dir, void *arg)
{
	int r = kill_folder(dir, *(int *)arg);
	return r < 0 ? r : 0;
}

int cgroup_kill(const struct cgroup_fs *fs, const char *group, int sig, struct err *err)
{
	for (unsigned i = 0; i < fs->n; i++) {
		char dir[PATH_SIZE];
		if (!path_of(fs, i, group, dir, sizeof(dir)))
			return err_set(err, -ENAMETOOLONG, "control group %s: path is too long", group);
		int r = walk(dir, 0, kill_fn, &sig);
		if (r < 0)
			return err_set(err, r, "control group %s: %s", dir, strerror(-r));
	}
	return 0;
}

static int remove_fn(const char *dir, void *arg)
{
	(void)arg;
	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	if (errno == EBUSY)
		(void)kill_folder(dir, SIGKILL);
	return -errno;
}

int cgroup_remove(const struct cgroup_fs *fs, const char *group, unsigned wait_ms, struct err *err)
{
	int r = 0;
	char dir[PATH_SIZE] = "";
	for (unsigned waited = 0;; waited++) {
		r = 0;
		for (unsigned i = 0; i < fs->n && r == 0; i++) {
			if (!path_of(fs, i, group, dir, sizeof(dir)))
				return err_set(err, -ENAMETOOLONG, "control group %s: path is too long", group);
			if (rmdir(dir) == 0 || errno == ENOENT)
				continue;
			r = walk(dir, 0, remove_fn, NULL);
		}
		if (r == 0 || waited >= wait_ms)
			break;
		/* The kernel has no event for "the last one has been reaped" on v1. */
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return r == 0 ? 0
		      : err_set(err, r == -EPERM ? r : -EBUSY, "control group %s can't be removed: %s", dir,
				strerror(-r));
}

int cgroup_set(const struct cgroup_fs *fs, const char *controller, const char *group, const char *file,
	       const char *value, struct err *err)
{
	char dir[PATH_SIZE], path[PATH_SIZE + 96];
	if (!cgroup_dir(fs, controller, group, dir, sizeof(dir)))
		return err_set(err, -ENOENT, "the kernel has no %s control groups (wanted: %s)", controller, file);
	snprintf(path, sizeof(path), "%s/%.80s", dir, file);
	int r = write_at(path, value);
	return r < 0 ? err_set(err, r, "can't write \"%.100s\" to %s: %s", value, path, strerror(-r)) : 0;
}

int cgroup_get_u64(const struct cgroup_fs *fs, const char *controller, const char *group, const char *file,
		   const char *key, uint64_t *ret)
{
	char dir[PATH_SIZE], path[PATH_SIZE + 96], text[8192] = "";
	if (!cgroup_dir(fs, controller, group, dir, sizeof(dir)))
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/%.80s", dir, file);
	ssize_t n = read_at(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	size_t key_len = key ? strlen(key) : 0;
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (key && (strncmp(line, key, key_len) != 0 || line[key_len] != ' '))
			continue;
		const char *p = line + (key ? key_len + 1 : 0);
		char *end = NULL;
		if (str_starts(p, "max")) {
			*ret = UINT64_MAX;
			return 0;
		}
		errno = 0;
		unsigned long long v = strtoull(p, &end, 10);
		if (end == p || errno)
			return -EPROTO;
		*ret = v;
		return 0;
	}
	return -ENOENT;
}

uint64_t cgroup_oom_kills(const struct cgroup_fs *fs, const char *group)
{
	uint64_t n = 0;
	if (cgroup_get_u64(fs, "memory", group, fs->v2 ? "memory.events" : "memory.oom_control", "oom_kill", &n) < 0)
		return 0;
	return n;
}

uint64_t cgroup_weight_from_shares(uint64_t shares)
{
	if (shares == 0)
		return 0;
	shares = MIN(MAX(shares, (uint64_t)2), (uint64_t)262144);
	return 1 + ((shares - 2) * 9999) / 262142;
}
