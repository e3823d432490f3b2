/* OCI config.json from a request and an image: containerd's defaults, as the kubelet's pods expect them. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/core/buf.h"
#include "nodeagent/runtime_local_priv.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SHM_BYTES    "size=65536k"

static const char *const all_caps[] = {"CHOWN",
				       "DAC_OVERRIDE",
				       "DAC_READ_SEARCH",
				       "FOWNER",
				       "FSETID",
				       "KILL",
				       "SETGID",
				       "SETUID",
				       "SETPCAP",
				       "LINUX_IMMUTABLE",
				       "NET_BIND_SERVICE",
				       "NET_BROADCAST",
				       "NET_ADMIN",
				       "NET_RAW",
				       "IPC_LOCK",
				       "IPC_OWNER",
				       "SYS_MODULE",
				       "SYS_RAWIO",
				       "SYS_CHROOT",
				       "SYS_PTRACE",
				       "SYS_PACCT",
				       "SYS_ADMIN",
				       "SYS_BOOT",
				       "SYS_NICE",
				       "SYS_RESOURCE",
				       "SYS_TIME",
				       "SYS_TTY_CONFIG",
				       "MKNOD",
				       "LEASE",
				       "AUDIT_WRITE",
				       "AUDIT_CONTROL",
				       "SETFCAP",
				       "MAC_OVERRIDE",
				       "MAC_ADMIN",
				       "SYSLOG",
				       "WAKE_ALARM",
				       "BLOCK_SUSPEND",
				       "AUDIT_READ",
				       "PERFMON",
				       "BPF",
				       "CHECKPOINT_RESTORE"};
static const char *const default_caps[] = {
	"CHOWN",  "DAC_OVERRIDE", "FSETID",  "FOWNER",           "MKNOD",      "NET_RAW", "SETGID",
	"SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",    "AUDIT_WRITE"};
static const char *const masked[] = {"/proc/acpi",
				     "/proc/asound",
				     "/proc/kcore",
				     "/proc/keys",
				     "/proc/latency_stats",
				     "/proc/timer_list",
				     "/proc/timer_stats",
				     "/proc/sched_debug",
				     "/proc/scsi",
				     "/sys/firmware",
				     "/sys/devices/virtual/powercap"};
static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static json_t *strings(const char *const *v, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_string(v[i]));
	return a;
}

static bool flag(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

static int64_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));
	return s ? s : "";
}

/* ---- capabilities ---- */

static const char *bare(const char *name)
{
	return strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;
}

static bool names(const json_t *list, const char *cap)
{
	size_t i;
	json_t *e;
	json_array_foreach((json_t *)(uintptr_t)list, i, e)
	{
		const char *s = json_string_value(e);
		if (s && strcasecmp(bare(s), cap) == 0)
			return true;
	}
	return false;
}

static bool is_default(const char *cap)
{
	for (size_t i = 0; i < ARRAY_LEN(default_caps); i++)
		if (streq(cap, default_caps[i]))
			return true;
	return false;
}

/* drop ALL, then add; a capability both added and dropped stays dropped unless ALL was what dropped it. */
static json_t *capabilities(const json_t *security)
{
	const json_t *add = json_object_get(security, "capAdd"), *drop = json_object_get(security, "capDrop");
	bool privileged = flag(security, "privileged"), add_all = names(add, "ALL"), drop_all = names(drop, "ALL");
	json_t *list = json_array();
	for (size_t i = 0; i < ARRAY_LEN(all_caps); i++) {
		const char *c = all_caps[i];
		bool has = privileged || ((is_default(c) || add_all) && !drop_all) || names(add, c);
		if (!privileged && names(drop, c))
			has = false;
		if (!has)
			continue;
		_cleanup_free_ char *full = xasprintf("CAP_%s", c);
		json_array_append_new(list, json_string(full));
	}
	json_t *j = json_pack("{s:O,s:O,s:O}", "bounding", list, "effective", list, "permitted", list);
	json_decref(list);
	return j;
}

/* ---- process ---- */

static json_t *image_config(const struct image_info *image, json_t **ret_root)
{
	*ret_root = image && image->config ? json_loads(image->config, 0, NULL) : NULL;
	return json_object_get(*ret_root, "config");
}

/* The pod's command replaces entrypoint and cmd; its args alone replace cmd. */
static int process_args(const json_t *request, const json_t *image, json_t **ret, struct err *err)
{
	const json_t *command = json_object_get(request, "command"), *args = json_object_get(request, "args");
	json_t *a = json_array();
	const json_t *entry = json_array_size(command) ? command : json_object_get(image, "Entrypoint");
	const json_t *rest = json_array_size(args) || json_array_size(command) ? args : json_object_get(image, "Cmd");
	if (json_is_array(entry))
		json_array_extend(a, (json_t *)(uintptr_t)entry);
	if (json_is_array(rest))
		json_array_extend(a, (json_t *)(uintptr_t)rest);
	if (json_array_size(a) == 0) {
		json_decref(a);
		return err_set(err, -EINVAL, "no command specified");
	}
	*ret = a;
	return 0;
}

/* A later value replaces an earlier one in its place. */
static void env_set(json_t *env, const char *name, const char *value)
{
	size_t i, n = strlen(name);
	json_t *e;
	_cleanup_free_ char *line = xasprintf("%s=%s", name, value);
	json_array_foreach(env, i, e)
	{
		const char *s = json_string_value(e);
		if (strncmp(s, name, n) == 0 && s[n] == '=') {
			json_array_set_new(env, i, json_string(line));
			return;
		}
	}
	json_array_append_new(env, json_string(line));
}

static json_t *process_env(const json_t *request, const json_t *image, const json_t *sandbox)
{
	json_t *env = json_array(), *e;
	size_t i;
	env_set(env, "PATH", DEFAULT_PATH);
	if (flag(request, "tty"))
		env_set(env, "TERM", "xterm");
	if (*text(sandbox, "hostname"))
		env_set(env, "HOSTNAME", text(sandbox, "hostname"));
	json_array_foreach(json_object_get(image, "Env"), i, e)
	{
		const char *s = json_string_value(e), *eq = s ? strchr(s, '=') : NULL;
		if (!eq)
			continue;
		_cleanup_free_ char *name = xstrndup(s, (size_t)(eq - s));
		env_set(env, name, eq + 1);
	}
	json_array_foreach(json_object_get(request, "env"), i, e)
		env_set(env, json_string_value(json_array_get(e, 0)), json_string_value(json_array_get(e, 1)));
	return env;
}

static int process_user(const json_t *security, const struct image_info *image, json_t **ret, struct err *err)
{
	__attribute__((cleanup(local_user_done))) struct local_user u = {0};
	_cleanup_free_ char *spec = local_image_user(image);
	int r = local_user_resolve(image->layers, spec, number(security, "user"), number(security, "group"), &u, err);
	if (r < 0)
		return r;
	json_t *groups = json_array(), *e;
	size_t i;
	/* the primary one too: a process may then drop it only with CAP_SETGID, as CRI runtimes have it */
	json_array_append_new(groups, json_integer(u.gid));
	for (i = 0; i < u.n_groups; i++)
		json_array_append_new(groups, json_integer(u.groups[i]));
	json_array_foreach(json_object_get(security, "groups"), i, e) json_array_append(groups, e);
	*ret = json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)u.uid, "gid", (json_int_t)u.gid, "additionalGids", groups);
	return 0;
}

static int64_t oom_score(const struct runtime_local *rl, int64_t wanted)
{
	return MAX(wanted, (int64_t)rl->oom_floor);
}

static int container_process(const struct runtime_local *rl, const json_t *request, const struct image_info *image,
			     const json_t *sandbox, json_t **ret, struct err *err)
{
	const json_t *security = json_object_get(request, "security");
	json_t *root = NULL, *config = image_config(image, &root), *args = NULL, *user = NULL;
	int r = process_args(request, config, &args, err);
	if (r == 0 && (r = process_user(security, image, &user, err)) < 0)
		json_decref(args);
	if (r == 0) {
		const char *cwd = text(request, "workingDir");
		if (!*cwd)
			cwd = text(config, "WorkingDir");
		*ret = json_pack(
			"{s:b,s:o,s:o,s:o,s:s,s:o,s:b,s:I}", "terminal", flag(request, "tty"), "user", user, "args",
			args, "env", process_env(request, config, sandbox), "cwd", *cwd ? cwd : "/", "capabilities",
			capabilities(security), "noNewPrivileges", flag(security, "noNewPrivs"), "oomScoreAdj",
			(json_int_t)oom_score(rl, number(json_object_get(request, "resources"), "oomScoreAdj")));
		if (!*ret)
			r = err_set(err, -EINVAL, "the container's command, environment or directory is not valid");
	}
	json_decref(root);
	return r;
}

static json_t *pause_process(const struct runtime_local *rl)
{
	return json_pack("{s:b,s:{s:i,s:i},s:[s],s:[s],s:s,s:b,s:{},s:I}", "terminal", 0, "user", "uid", 65535, "gid",
			 65535, "args", "/pause", "env", "PATH=" DEFAULT_PATH, "cwd", "/", "noNewPrivileges", 1,
			 "capabilities", "oomScoreAdj", (json_int_t)oom_score(rl, -998));
}

/* ---- mounts ---- */

static void add_mount(json_t *mounts, const char *to, const char *type, const char *from, const char *options)
{
	json_t *o = json_array();
	while (*options) {
		size_t n = strcspn(options, ",");
		json_array_append_new(o, json_stringn(options, n));
		options += n + (options[n] == ',');
	}
	json_array_append_new(
		mounts, json_pack("{s:s,s:s,s:s,s:o}", "destination", to, "type", type, "source", from, "options", o));
}

static bool mounted_by_pod(const json_t *request, const char *path)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(request, "mounts"), i, m)
	{
		const char *to = text(m, "to");
		size_t n = strlen(to);
		while (n > 1 && to[n - 1] == '/')
			n--;
		if (n == strlen(path) && strncmp(to, path, n) == 0)
			return true;
	}
	return false;
}

static unsigned depth(const json_t *m)
{
	unsigned n = 0;
	for (const char *p = text(m, "to"); *p; p++)
		n += *p == '/' && p[1] && p[1] != '/';
	return n;
}

/* Outer ones first, so that none hides another; the order given otherwise. */
static json_t *sorted_mounts(const json_t *request)
{
	const json_t *in = json_object_get(request, "mounts");
	json_t *out = json_array(), *m;
	size_t i;
	for (unsigned d = 0; json_array_size(out) < json_array_size(in) && d < 4096; d++)
		json_array_foreach((json_t *)(uintptr_t)in, i, m) if (depth(m) == d) json_array_append(out, m);
	return out;
}

static void add_pod_mounts(json_t *mounts, const json_t *request)
{
	json_t *sorted = sorted_mounts(request), *m;
	size_t i;
	json_array_foreach(sorted, i, m)
	{
		_cleanup_buf_ struct buf o = BUF_INIT;
		if (flag(m, "tmpfs")) {
			buf_adds(&o, "nosuid,nodev,mode=1777");
			if (number(m, "size") > 0)
				buf_addf(&o, ",size=%lld", (long long)number(m, "size"));
			add_mount(mounts, text(m, "to"), "tmpfs", "tmpfs", buf_str(&o));
			continue;
		}
		buf_addf(&o, "rbind,%s,%s", flag(m, "propagate") ? "rslave" : "rprivate",
			 flag(m, "readOnly") ? "ro" : "rw");
		add_mount(mounts, text(m, "to"), "bind", text(m, "from"), buf_str(&o));
	}
	json_decref(sorted);
}

static json_t *container_mounts(const json_t *request, const json_t *sandbox, int sandbox_pid)
{
	json_t *m = json_array();
	bool privileged = flag(json_object_get(request, "security"), "privileged");
	add_mount(m, "/proc", "proc", "proc", "nosuid,noexec,nodev");
	if (!mounted_by_pod(request, "/dev")) {
		add_mount(m, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
		add_mount(m, "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
		add_mount(m, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
		if (!mounted_by_pod(request, "/dev/shm")) {
			_cleanup_free_ char *shm = flag(sandbox, "hostIpc")
							   ? xstrdup("/dev/shm")
							   : xasprintf("/proc/%d/root/dev/shm", sandbox_pid);
			add_mount(m, "/dev/shm", "bind", shm, "rbind,rprivate");
		}
	}
	add_mount(m, "/sys", "sysfs", "sysfs", privileged ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro");
	add_mount(m, "/sys/fs/cgroup", "cgroup", "cgroup",
		  privileged ? "nosuid,noexec,nodev,relatime,rw" : "nosuid,noexec,nodev,relatime,ro");
	add_pod_mounts(m, request);
	return m;
}

static json_t *pause_mounts(const struct runtime_local *rl)
{
	json_t *m = json_array();
	add_mount(m, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=64k");
	add_mount(m, "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777," SHM_BYTES);
	add_mount(m, "/pause", "bind", rl->pause, "bind,ro,rprivate");
	return m;
}

/* ---- linux ---- */

static void add_namespace(json_t *list, const char *type, int pid, const char *file)
{
	_cleanup_free_ char *path = pid ? xasprintf("/proc/%d/ns/%s", pid, file) : NULL;
	json_t *j = json_pack("{s:s}", "type", type);
	if (path)
		json_object_set_new(j, "path", json_string(path));
	json_array_append_new(list, j);
}

/* sandbox_pid 0: the sandbox itself, which makes them; a container joins them. */
static json_t *namespaces(const json_t *sandbox, int sandbox_pid)
{
	json_t *n = json_array();
	add_namespace(n, "mount", 0, NULL);
	add_namespace(n, "cgroup", 0, NULL);
	if (!flag(sandbox, "hostNetwork")) {
		add_namespace(n, "network", sandbox_pid, "net");
		add_namespace(n, "uts", sandbox_pid, "uts");
	}
	if (!flag(sandbox, "hostIpc"))
		add_namespace(n, "ipc", sandbox_pid, "ipc");
	if (!flag(sandbox, "hostPid"))
		add_namespace(n, "pid", flag(sandbox, "sharePid") ? sandbox_pid : 0, "pid");
	return n;
}

static json_t *limits(const struct runtime_local *rl, const json_t *r)
{
	json_t *cpu = json_object(), *memory = json_object(), *out = json_object();
	if (number(r, "cpuShares") > 0)
		json_object_set_new(cpu, "shares", json_integer(number(r, "cpuShares")));
	if (number(r, "cpuQuota") > 0) {
		json_object_set_new(cpu, "quota", json_integer(number(r, "cpuQuota")));
		json_object_set_new(cpu, "period",
				    json_integer(number(r, "cpuPeriod") ? number(r, "cpuPeriod") : 100000));
	}
	if (number(r, "memoryLimit") > 0) {
		json_object_set_new(memory, "limit", json_integer(number(r, "memoryLimit")));
		/* memory and swap together: no swap */
		json_object_set_new(memory, "swap", json_integer(number(r, "memoryLimit")));
	}
	json_object_set_new(out, "cpu", cpu);
	json_object_set_new(out, "memory", memory);
	if (number(r, "pidsLimit") > 0)
		json_object_set_new(out, "pids", json_pack("{s:I}", "limit", (json_int_t)number(r, "pidsLimit")));
	/* as the kubelet has it on v2: a container dies of memory as a whole */
	if (rl->fs.v2 && number(r, "memoryLimit") > 0)
		json_object_set_new(out, "unified", json_pack("{s:s}", "memory.oom.group", "1"));
	return out;
}

static json_t *device_rules(bool all)
{
	return all ? json_pack("[{s:b,s:s}]", "allow", 1, "access", "rwm")
		   : json_pack("[{s:b,s:s}]", "allow", 0, "access", "rwm");
}

/* For a privileged container: every node of the host's /dev but terminals and what is mounted there. */
static void add_host_devices(json_t *list, const char *dir, unsigned level)
{
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		static const char *const skip[] = {".",       "..",   "pts",  "shm",         "fd",   "mqueue",
						   "console", "ptmx", ".lxc", ".lxd-mounts", ".udev"};
		bool skipped = false;
		for (size_t i = 0; i < ARRAY_LEN(skip); i++)
			skipped |= streq(e->d_name, skip[i]);
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		struct stat st;
		if (skipped || lstat(path, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && level < 8)
			add_host_devices(list, path, level + 1);
		if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
			continue;
		json_t *j = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "path", path, "type",
				      S_ISCHR(st.st_mode) ? "c" : "b", "major", (json_int_t)major(st.st_rdev), "minor",
				      (json_int_t)minor(st.st_rdev), "fileMode", (json_int_t)(st.st_mode & 07777),
				      "uid", (json_int_t)st.st_uid, "gid", (json_int_t)st.st_gid);
		if (j)
			json_array_append_new(list, j);
	}
	if (d)
		closedir(d);
}

static json_t *sysctls(const json_t *request)
{
	json_t *out = json_object(), *e;
	size_t i;
	json_array_foreach(json_object_get(request, "sysctls"), i, e)
		json_object_set(out, json_string_value(json_array_get(e, 0)), json_array_get(e, 1));
	return out;
}

static json_t *container_linux(const struct runtime_local *rl, const json_t *request, const json_t *sandbox, int pid,
			       const char *cgroup)
{
	bool privileged = flag(json_object_get(request, "security"), "privileged");
	json_t *resources = limits(rl, json_object_get(request, "resources"));
	json_object_set_new(resources, "devices", device_rules(privileged));
	json_t *l = json_pack("{s:o,s:o,s:s}", "namespaces", namespaces(sandbox, pid), "resources", resources,
			      "cgroupsPath", cgroup);
	if (!privileged) {
		json_object_set_new(l, "maskedPaths", strings(masked, ARRAY_LEN(masked)));
		json_object_set_new(l, "readonlyPaths", strings(read_only, ARRAY_LEN(read_only)));
		return l;
	}
	json_t *devices = json_array();
	add_host_devices(devices, "/dev", 0);
	json_object_set_new(l, "devices", devices);
	return l;
}

static json_t *pause_linux(const json_t *request, const char *cgroup)
{
	return json_pack("{s:o,s:{s:o,s:{s:i}},s:s,s:o}", "namespaces", namespaces(request, 0), "resources", "devices",
			 device_rules(false), "cpu", "shares", 2, "cgroupsPath", cgroup, "sysctl", sysctls(request));
}

/* ---- the whole ---- */

/* overlayfs separates layers by ':' and reads '\' as the escape. */
static void add_layer(struct buf *b, const char *path)
{
	if (b->len)
		buf_addc(b, ':');
	for (; *path; path++) {
		if (*path == ':' || *path == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *path);
	}
}

static json_t *annotations(const json_t *request, const struct image_info *image, const char *bundle)
{
	json_t *a = json_object();
	const json_t *security = json_object_get(request, "security");
	if (!flag(security, "privileged") && !flag(security, "unconfined"))
		json_object_set_new(a, "dev.mini.seccomp", json_string("default"));
	if (!image)
		return a;
	_cleanup_buf_ struct buf lower = BUF_INIT;
	size_t n = 0;
	while (image->layers && image->layers[n])
		n++;
	while (n-- > 0)
		add_layer(&lower, image->layers[n]);
	_cleanup_free_ char *upper = xasprintf("%s/upper", bundle), *work = xasprintf("%s/work", bundle);
	json_object_set_new(a, "dev.mini.overlay.lower", json_string(buf_str(&lower)));
	json_object_set_new(a, "dev.mini.overlay.upper", json_string(upper));
	json_object_set_new(a, "dev.mini.overlay.work", json_string(work));
	return a;
}

int local_spec(const struct runtime_local *rl, const json_t *request, const struct image_info *image,
	       const json_t *sandbox, int sandbox_pid, json_t **ret, struct err *err)
{
	const char *id = text(request, "id");
	_cleanup_free_ char *bundle = local_bundle(rl, id);
	_cleanup_free_ char *cgroup = xasprintf("%s/%s", text(request, "cgroupParent"), id);
	bool is_sandbox = !image;
	json_t *process = is_sandbox ? pause_process(rl) : NULL;
	if (!is_sandbox) {
		int r = container_process(rl, request, image, sandbox, &process, err);
		if (r < 0)
			return r;
	}
	bool ro = is_sandbox || flag(json_object_get(request, "security"), "readOnly");
	json_t *j = json_pack("{s:s,s:o,s:{s:s,s:b},s:o,s:o,s:o}", "ociVersion", "1.0.2", "process", process, "root",
			      "path", "rootfs", "readonly", ro, "mounts",
			      is_sandbox ? pause_mounts(rl) : container_mounts(request, sandbox, sandbox_pid), "linux",
			      is_sandbox ? pause_linux(request, cgroup)
					 : container_linux(rl, request, sandbox, sandbox_pid, cgroup),
			      "annotations", annotations(request, image, bundle));
	if (!j)
		return err_set(err, -EINVAL, "the container's configuration is not valid UTF-8");
	if (is_sandbox && !flag(request, "hostNetwork") && *text(request, "hostname"))
		json_object_set(j, "hostname", json_object_get(request, "hostname"));
	*ret = j;
	return 0;
}
