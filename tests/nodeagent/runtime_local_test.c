/* The local runtime against the kernel: a real minirun, real containers of a busybox image. Needs root. */
#include "tests/support/tap.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/core/cgroup.h"
#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/core/oci_state.h"
#include "nodeagent/cgroup.h"
#include "nodeagent/runtime_local.h"

#define DEADLINE_MS 60000

static struct world {
	char dir[64], group[64], shims[64], image[80];
	char *minirun, *pause;
	uv_loop_t loop;
	uv_timer_t guard;
	struct env *env;
	struct image_store *images;
	struct runtime *rt;
	const char *skip;
	/* what the last callback said */
	bool answered;
	int code;
	char message[1024];
	struct runtime_container list[16];
	size_t n_list;
	char event[128];
	char out[65536];
	size_t n_out;
	int exit_code;
} w;

static void on_guard(uv_timer_t *t)
{
	(void)t;
	fail_msg("nothing came within %d ms", DEADLINE_MS);
}

/* Runs the loop until *flag. */
static void until(const bool *flag)
{
	uv_timer_start(&w.guard, on_guard, DEADLINE_MS, 0);
	while (!*flag)
		uv_run(&w.loop, UV_RUN_ONCE);
	uv_timer_stop(&w.guard);
}

static void on_answer(void *arg, const struct err *err)
{
	(void)arg;
	w.answered = true;
	w.code = err->code;
	snprintf(w.message, sizeof(w.message), "%s", err->message);
}

static void on_list(void *arg, const struct err *err, const struct runtime_container *list, size_t n)
{
	on_answer(arg, err);
	w.n_list = MIN(n, ARRAY_LEN(w.list));
	if (n)
		memcpy(w.list, list, w.n_list * sizeof(*list));
}

static void on_event(void *arg, const char *id)
{
	(void)arg;
	snprintf(w.event, sizeof(w.event), "%s", id);
}

#define DO(verb, ...)                                                                                                  \
	do {                                                                                                           \
		w.answered = false;                                                                                    \
		w.rt->ops->verb(w.rt, __VA_ARGS__, on_answer, NULL);                                                   \
		assert_false(w.answered); /* never inside the call */                                                  \
		until(&w.answered);                                                                                    \
	} while (0)
#define DO_OK(verb, ...)                                                                                               \
	do {                                                                                                           \
		DO(verb, __VA_ARGS__);                                                                                 \
		if (w.code)                                                                                            \
			fail_msg(#verb ": %s", w.message);                                                             \
	} while (0)

static struct runtime_container look(const char *id)
{
	w.answered = false;
	w.rt->ops->list(w.rt, id, on_list, NULL);
	until(&w.answered);
	assert_int_equal(w.code, 0);
	assert_int_equal(w.n_list, 1);
	return w.list[0];
}

static void until_event(const char *id)
{
	for (uint64_t end = uv_hrtime() + DEADLINE_MS * 1000000ull; !streq(w.event, id);) {
		assert_true(uv_hrtime() < end);
		uv_run(&w.loop, UV_RUN_ONCE);
	}
}

static void open_runtime(void)
{
	struct err err = ERR_INIT;
	struct runtime_local_config c = {.dir = w.dir,
					 .minirun_path = w.minirun,
					 .pause_path = w.pause,
					 .images = w.images,
					 .cgroup_shims = w.shims};
	if (runtime_local_new(w.env, &w.loop, &c, &w.rt, &err) < 0)
		fail_msg("%s", err.message);
	w.rt->on_event = on_event;
	w.event[0] = 0;
}

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

static void close_runtime(void)
{
	bool closed = false;
	w.rt->ops->close(w.rt, on_closed, &closed);
	until(&closed);
	w.rt = NULL;
}

static void run_sandbox(const char *id, bool share_pid)
{
	struct runtime_sandbox_config c = {.id = id,
					   .pod_name = "p",
					   .pod_ns = "default",
					   .pod_uid = "u",
					   .hostname = "pod-host",
					   .cgroup_parent = w.group,
					   .share_pid = share_pid};
	DO_OK(run_sandbox, &c);
}

static struct runtime_container_config container(const char *id, const char *sandbox, const char *script)
{
	static const char *command[4];
	command[0] = "/bin/sh";
	command[1] = "-c";
	command[2] = script;
	static const struct runtime_env_var env[] = {{"GREETING", "hi there"}, {0}};
	static char log[256];
	snprintf(log, sizeof(log), "%s/logs/%s/0.log", w.dir, id);
	return (struct runtime_container_config){.id = id,
						 .sandbox_id = sandbox,
						 .name = "c",
						 .image_id = w.image,
						 .command = command,
						 .env = env,
						 .cgroup_parent = w.group,
						 .log_path = log,
						 .security = {.run_as_user = -1, .run_as_group = -1}};
}

static void start(const struct runtime_container_config *c)
{
	DO_OK(create_container, c);
	DO_OK(start_container, c->id);
}

static void on_output(void *arg, int fd, const void *data, size_t len)
{
	(void)arg, (void)fd;
	len = MIN(len, sizeof(w.out) - 1 - w.n_out);
	memcpy(w.out + w.n_out, data, len);
	w.n_out += len;
	w.out[w.n_out] = 0;
}

static void on_exec_done(void *arg, const struct err *err, int code)
{
	on_answer(arg, err);
	w.exit_code = code;
}

static const struct runtime_exec_ops exec_ops = {.on_output = on_output, .on_done = on_exec_done};

static struct runtime_exec *exec_flags(const char *id, const char *script, unsigned flags, unsigned timeout_s)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	w.answered = false;
	w.n_out = 0;
	w.out[0] = 0;
	return w.rt->ops->exec(w.rt, id, argv, flags, timeout_s, &exec_ops, NULL);
}

static struct runtime_exec *exec_start(const char *id, const char *script, bool in, unsigned timeout_s)
{
	return exec_flags(id, script, in ? RUNTIME_EXEC_STDIN : 0, timeout_s);
}

static const char *exec(const char *id, const char *script)
{
	exec_start(id, script, false, 0);
	until(&w.answered);
	assert_int_equal(w.code, 0);
	return w.out;
}

static char *log_of(const char *id)
{
	_cleanup_free_ char *path = xasprintf("%s/logs/%s/0.log", w.dir, id);
	struct buf b = BUF_INIT;
	assert_int_equal(file_read(path, 1 << 20, &b, NULL), 0);
	return buf_steal(&b);
}

/* ---- the tests ---- */

static void remove_pod(const char *id)
{
	DO_OK(stop_sandbox, id);
	DO_OK(remove_sandbox, id);
	DO_OK(remove_sandbox, id); /* gone is fine */
}

static void test_life(void **state)
{
	(void)state;
	run_sandbox("s1", false);
	run_sandbox("s1", false); /* the same again is the same */
	struct runtime_container s = look("s1");
	assert_true(s.is_sandbox && s.status == RUNTIME_RUNNING && s.pid > 0);
	struct runtime_container_config c = container("c1", "s1", "echo \"$GREETING\"; echo oops >&2; exit 3");
	DO_OK(create_container, &c);
	DO_OK(create_container, &c);
	assert_int_equal(look("c1").status, RUNTIME_CREATED);
	DO_OK(start_container, "c1");
	until_event("c1");
	struct runtime_container r = look("c1");
	assert_int_equal(r.status, RUNTIME_EXITED);
	assert_int_equal(r.exit_code, 3);
	assert_false(r.oom_killed);
	assert_true(r.created_us > 0 && r.started_us >= r.created_us && r.finished_us >= r.started_us);
	DO_OK(start_container, "c1"); /* it was started: a retry after a crash finds that */
	_cleanup_free_ char *log = log_of("c1");
	assert_non_null(strstr(log, " stdout F hi there\n"));
	assert_non_null(strstr(log, " stderr F oops\n"));
	DO_OK(stop_container, "c1", 1);
	DO_OK(remove_container, "c1");
	DO_OK(remove_container, "c1");
	remove_pod("s1");
	w.answered = false;
	w.rt->ops->list(w.rt, NULL, on_list, NULL);
	until(&w.answered);
	assert_int_equal(w.n_list, 0);
}

static void test_stop(void **state)
{
	(void)state;
	run_sandbox("s2", false);
	struct runtime_container_config c =
		container("polite", "s2", "trap 'exit 0' TERM; touch /dev/shm/ready; while :; do sleep 1 & wait; done");
	start(&c);
	exec("polite", "while ! ls /dev/shm/ready; do :; done");
	uint64_t before = uv_hrtime();
	DO_OK(stop_container, "polite", 15);
	assert_true(uv_hrtime() - before < 14ull * 1000000000);
	assert_int_equal(look("polite").status, RUNTIME_EXITED);
	c = container("stubborn", "s2", "trap '' TERM; while :; do sleep 1; done");
	start(&c);
	DO_OK(stop_container, "stubborn", 1);
	struct runtime_container r = look("stubborn");
	assert_int_equal(r.exit_code, 137);
	assert_int_equal(r.signal, SIGKILL);
	DO_OK(stop_container, "no-such", 1);
	remove_pod("s2");
}

static void test_oom(void **state)
{
	(void)state;
	run_sandbox("s3", false);
	struct runtime_container_config c = container("hog", "s3", "tail /dev/zero");
	c.resources.memory_limit_bytes = 16 << 20;
	c.resources.cpu_shares = 512;
	c.resources.pids_limit = 20;
	start(&c);
	until_event("hog");
	struct runtime_container r = look("hog");
	assert_true(r.oom_killed);
	assert_int_not_equal(r.exit_code, 0);
	remove_pod("s3");
}

static void test_namespaces_and_users(void **state)
{
	(void)state;
	static const int64_t groups[] = {2000};
	run_sandbox("s4", true);
	int pause_pid = look("s4").pid;
	char path[64], link[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pause_pid);
	assert_true(readlink(path, link, sizeof(link) - 1) > 0);
	struct runtime_container_config c = container("u", "s4", "sleep 1000");
	c.security.run_as_user = 1000;
	c.security.supplemental_groups = groups;
	c.security.n_supplemental_groups = 1;
	start(&c);
	assert_string_equal(exec("u", "hostname"), "pod-host\n");
	assert_non_null(strstr(exec("u", "id"), "uid=1000"));
	assert_non_null(strstr(exec("u", "id"), "2000"));
	assert_non_null(strstr(exec("u", "readlink /proc/self/ns/net"), link));
	assert_non_null(strstr(exec("u", "ps"), "/pause")); /* one pid namespace */
	assert_non_null(strstr(exec("u", "grep Seccomp: /proc/self/status"), "2"));
	exec("u", "touch /dev/shm/shared");
	c = container("v", "s4", "sleep 1000");
	start(&c);
	assert_string_equal(exec("v", "ls /dev/shm"), "shared\n");
	assert_string_equal(exec("v", "cat /etc/who"), "image\n"); /* by a name in the image's passwd */
	remove_pod("s4");
}

static void test_mounts(void **state)
{
	(void)state;
	_cleanup_free_ char *vol = xasprintf("%s/vol", w.dir), *file = xasprintf("%s/vol/f", w.dir);
	mkdir(vol, 0755);
	assert_int_equal(file_write_replace(file, "data", 4, 0644, NULL), 0);
	struct runtime_mount m[] = {{.host_path = file, .container_path = "/vol/deep/f", .read_only = true},
				    {.host_path = vol, .container_path = "/vol"},
				    {.container_path = "/scratch", .tmpfs = true, .size_bytes = 1 << 20}};
	run_sandbox("s5", false);
	struct runtime_container_config c = container("m", "s5", "sleep 1000");
	c.mounts = m;
	c.n_mounts = ARRAY_LEN(m);
	c.security.read_only_rootfs = true;
	c.security.run_as_user = 0;
	start(&c);
	assert_string_equal(exec("m", "cat /vol/f /vol/deep/f"), "datadata");
	assert_non_null(strstr(exec("m", "echo x > /vol/deep/f"), "Read-only"));
	assert_non_null(strstr(exec("m", "touch /x"), "Read-only"));
	assert_string_equal(exec("m", "echo y > /vol/g; cat /vol/g"), "y\n");
	assert_non_null(strstr(exec("m", "mount | grep scratch"), "size=1024k"));
	remove_pod("s5");
}

static void test_exec(void **state)
{
	(void)state;
	run_sandbox("s6", false);
	struct runtime_container_config c = container("e", "s6", "sleep 1000");
	start(&c);
	struct runtime_exec *x = exec_start("e", "cat; exit 9", true, 0);
	w.rt->ops->exec_write(x, "one\n", 4);
	w.rt->ops->exec_write(x, "two\n", 4);
	w.rt->ops->exec_write(x, NULL, 0);
	until(&w.answered);
	assert_string_equal(w.out, "one\ntwo\n");
	assert_int_equal(w.exit_code, 9);
	exec_start("e", "sleep 100", false, 1);
	until(&w.answered);
	assert_int_equal(w.code, -ETIMEDOUT);
	x = exec_start("e", "sleep 100", false, 0);
	w.rt->ops->exec_cancel(x);
	/* whatever was killed takes its command with it */
	for (uint64_t end = uv_hrtime() + DEADLINE_MS * 1000000ull; strstr(exec("e", "ps"), "sleep 100\n");)
		assert_true(uv_hrtime() < end);
	struct runtime_stats st;
	assert_int_equal(w.rt->ops->stats(w.rt, "e", &st), 0);
	assert_true(st.cpu_ns > 0 && st.memory_usage_bytes > 0);
	remove_pod("s6");
	exec_start("e", "true", false, 0);
	until(&w.answered);
	assert_int_not_equal(w.exit_code, 0);
}

static void test_exec_with_a_terminal(void **state)
{
	(void)state;
	run_sandbox("s15", false);
	struct runtime_container_config c = container("t", "s15", "sleep 1000");
	start(&c);
	struct runtime_exec *x = exec_flags("t", "read x; stty size; echo \"$x $TERM\"; exit 5",
					    RUNTIME_EXEC_STDIN | RUNTIME_EXEC_TTY, 0);
	w.rt->ops->exec_resize(x, 90, 30);
	w.rt->ops->exec_write(x, "hello\r", 6);
	until(&w.answered);
	assert_non_null(strstr(w.out, "30 90\r\nhello xterm\r\n"));
	assert_int_equal(w.exit_code, 5);
	/* who is left behind on the terminal is not waited for */
	exec_flags("t", "trap '' HUP; sleep 100 & echo gone", RUNTIME_EXEC_TTY, 0);
	until(&w.answered);
	assert_string_equal(w.out, "gone\r\n");
	/* no output while it is paused; all of it afterwards, and the end only then */
	x = exec_flags("t", "echo one; echo two", 0, 0);
	w.rt->ops->exec_pause(x, true);
	exec_flags("t", "true", 0, 0);
	until(&w.answered);
	assert_string_equal(w.out, "");
	w.answered = false;
	w.rt->ops->exec_pause(x, false);
	until(&w.answered);
	assert_string_equal(w.out, "one\ntwo\n");
	remove_pod("s15");
}

/* A restarted agent: the containers live, are found, and their ends are told. */
static void test_adopt(void **state)
{
	(void)state;
	run_sandbox("s7", false);
	struct runtime_container_config c = container("a", "s7", "sleep 1000");
	start(&c);
	int pid = look("a").pid;
	close_runtime();
	assert_int_equal(kill(pid, 0), 0);
	open_runtime();
	assert_int_equal(look("a").pid, pid);
	kill(pid, SIGKILL);
	until_event("a");
	assert_int_equal(look("a").exit_code, 137);
	remove_pod("s7");
}

/* The shim is killed: its container goes on, and its end is told all the same, with a code that says "unknown". */
static void test_shim_killed(void **state)
{
	(void)state;
	run_sandbox("s8", false);
	struct runtime_container_config c = container("k", "s8", "sleep 1000");
	start(&c);
	_cleanup_free_ char *root = xasprintf("%s/run/containers", w.dir);
	struct proc_id shim;
	assert_int_equal(oci_shim_read(root, "k", &shim, NULL), 0);
	kill(shim.pid, SIGKILL);
	assert_int_equal(look("k").status, RUNTIME_RUNNING);
	assert_string_equal(exec("k", "echo alive"), "alive\n");
	int pid = look("k").pid;
	w.event[0] = 0;
	while (proc_alive(&shim))
		uv_run(&w.loop, UV_RUN_NOWAIT);
	kill(pid, SIGKILL);
	until_event("k");
	assert_int_equal(look("k").status, RUNTIME_EXITED);
	assert_int_equal(look("k").exit_code, 255);
	remove_pod("s8");
}

static void test_errors(void **state)
{
	(void)state;
	run_sandbox("s9", false);
	struct runtime_container_config c = container("x", "s9", "true");
	const char *command[] = {"/no/such", NULL};
	c.command = command;
	DO(create_container, &c);
	assert_int_not_equal(w.code, 0);
	assert_non_null(strstr(w.message, "exec: \"/no/such\": no such file or directory"));
	c = container("y", "s9", "true");
	c.image_id = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	DO(create_container, &c);
	assert_int_not_equal(w.code, 0);
	c = container("../z", "s9", "true");
	DO(create_container, &c);
	assert_int_equal(w.code, -EINVAL);
	c = container("q", "nosandbox", "true");
	DO(create_container, &c);
	assert_non_null(strstr(w.message, "sandbox nosandbox does not exist"));
	DO(start_container, "nothing");
	assert_int_not_equal(w.code, 0);
	remove_pod("s9");
}

static void on_image(void *arg, const struct err *err, const struct runtime_image *image)
{
	on_answer(arg, err);
	snprintf(w.out, sizeof(w.out), "%s", image ? image->id : "");
	w.exit_code = image ? (int)image->user : -2;
}

static void test_images(void **state)
{
	(void)state;
	w.answered = false;
	w.rt->ops->image_status(w.rt, "rt-test:1", on_image, NULL);
	until(&w.answered);
	assert_int_equal(w.code, 0);
	assert_string_equal(w.out, w.image);
	assert_int_equal(w.exit_code, -1); /* a user by name */
	w.answered = false;
	w.rt->ops->image_status(w.rt, "nothing:1", on_image, NULL);
	until(&w.answered);
	assert_int_equal(w.code, 0);
	assert_int_equal(w.exit_code, -2);
	w.answered = false;
	w.rt->ops->image_pull(w.rt, "nothing:1", on_image, NULL);
	until(&w.answered);
	assert_int_equal(w.code, -ENOTSUP);
	assert_non_null(strstr(w.message, "minictl image import"));
}

/* ---- the world ---- */

/* Each test, or the reason why none can run. */
static int need_world(void **state)
{
	(void)state;
	if (w.skip) {
		print_message("# SKIP %s\n", w.skip);
		skip();
	}
	return 0;
}

static void write_text(const char *dir, const char *name, const char *s)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	assert_int_equal(file_write_replace(path, s, strlen(s), 0644, NULL), 0);
}

static int make_image(struct err *err)
{
	_cleanup_free_ char *root = xasprintf("%s/rootfs", w.dir), *bin = xasprintf("%s/bin", root),
			    *etc = xasprintf("%s/etc", root), *tar = xasprintf("%s/image.tar", w.dir),
			    *images = xasprintf("%s/images", w.dir), *busybox = xasprintf("%s/busybox", bin);
	static const char *const applets[] = {"sh",   "sleep", "tail",  "cat",      "id",       "ps",   "ls",
					      "grep", "mount", "touch", "hostname", "readlink", "true", "echo"};
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r;
	if ((r = mkdir_p(bin, 0755, err)) < 0 || (r = mkdir_p(etc, 0755, err)) < 0 ||
	    (r = file_read("/bin/busybox", 8 << 20, &b, err)) < 0 ||
	    (r = file_write_replace(busybox, b.data, b.len, 0755, err)) < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(applets); i++) {
		_cleanup_free_ char *link = xasprintf("%s/%s", bin, applets[i]);
		(void)!symlink("busybox", link);
	}
	write_text(etc, "passwd", "root:x:0:0:root:/root:/bin/sh\nweb:x:77:77:web:/:/bin/sh\n");
	write_text(etc, "group", "root:x:0:\nweb:x:77:\nextra:x:78:web\n");
	write_text(etc, "who", "image\n");
	static const char *const env[] = {"FROM_IMAGE=1", NULL};
	struct image_build ib = {.rootfs = root, .env = env, .user = "web", .tag = "rt-test:1", .created_s = 1};
	char **names = NULL;
	struct image_info info = {0};
	if ((r = image_build(&ib, tar, err)) < 0 || (r = image_store_open(images, &w.images, err)) < 0 ||
	    (r = image_import(w.images, tar, NULL, NULL, NULL, &names, err)) < 0 ||
	    (r = image_find(w.images, "rt-test:1", &info, err)) < 0)
		return r;
	image_names_free(names);
	snprintf(w.image, sizeof(w.image), "%s", info.id);
	image_info_done(&info);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char self[512] = "";
	if (geteuid() != 0) {
		w.skip = "needs root";
		return 0;
	}
	/* own mount namespace: whatever is left behind shows in ours, not in the host's */
	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	for (int i = 0; i < 3; i++)
		*strrchr(self, '/') = 0; /* B/tests/nodeagent/x */
	w.minirun = xasprintf("%s/minirun", self);
	w.pause = xasprintf("%s/pause", self);
	if (access(w.minirun, X_OK) < 0 || access(w.pause, X_OK) < 0) {
		w.skip = "minirun and pause are not built";
		return 0;
	}
	if (access("/bin/busybox", X_OK) < 0) {
		w.skip = "no /bin/busybox (busybox-static)";
		return 0;
	}
	snprintf(w.dir, sizeof(w.dir), "/tmp/rt-test-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.group, sizeof(w.group), "/mini-rt-test-%d/pod", getpid());
	snprintf(w.shims, sizeof(w.shims), "/mini-rt-test-%d/shims", getpid());
	uv_loop_init(&w.loop);
	uv_timer_init(&w.loop, &w.guard);
	w.env = env_uv_new(&w.loop);
	if (make_image(&err) < 0 || cgroup_pod_create(w.group, NULL, &err) < 0)
		fail_msg("%s", err.message);
	open_runtime();
	return 0;
}

/* Nothing may be left: no mount, no control group with anything in it, no bundle. */
static int teardown(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	if (w.skip)
		return 0;
	close_runtime();
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(file_read("/proc/self/mounts", 1 << 20, &b, NULL), 0);
	assert_null(strstr(b.data, w.dir));
	char top[64];
	struct cgroup_fs fs;
	snprintf(top, sizeof(top), "/mini-rt-test-%d", getpid());
	assert_int_equal(cgroup_fs_open(CGROUP_ROOT, &fs, NULL), 0);
	if (cgroup_pod_remove(w.group, &err) < 0 || cgroup_remove(&fs, top, 2000, &err) < 0 || rm_rf(w.dir, &err) < 0)
		fail_msg("%s", err.message);
	image_store_close(w.images);
	uv_close((uv_handle_t *)&w.guard, NULL);
	env_uv_free(w.env);
	assert_int_equal(uv_loop_close(&w.loop), 0);
	free(w.minirun);
	free(w.pause);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_images, need_world),
		cmocka_unit_test_setup(test_life, need_world),
		cmocka_unit_test_setup(test_stop, need_world),
		cmocka_unit_test_setup(test_oom, need_world),
		cmocka_unit_test_setup(test_mounts, need_world),
		cmocka_unit_test_setup(test_namespaces_and_users, need_world),
		cmocka_unit_test_setup(test_exec, need_world),
		cmocka_unit_test_setup(test_exec_with_a_terminal, need_world),
		cmocka_unit_test_setup(test_adopt, need_world),
		cmocka_unit_test_setup(test_shim_killed, need_world),
		cmocka_unit_test_setup(test_errors, need_world),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
