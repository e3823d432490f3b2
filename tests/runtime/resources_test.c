/* Limits as files, on control group roots that are plain folders; device rules as the program the kernel would run. */
#include "tests/support/tap.h"

#include <errno.h>
#include <linux/bpf.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "runtime/resources.h"

static char root[64];
static struct cgroup_fs fs;

static void put(const char *path, const char *text)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", root, path), *dir = xstrdup(full);
	*strrchr(dir, '/') = 0;
	assert_int_equal(mkdir_p(dir, 0755, NULL), 0);
	assert_int_equal(file_write_replace(full, text, strlen(text), 0644, NULL), 0);
}

static const char *get(const char *path)
{
	static char text[256];
	_cleanup_free_ char *full = xasprintf("%s/%s", root, path);
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(file_read(full, 4096, &b, NULL), 0);
	snprintf(text, sizeof(text), "%s", buf_str(&b));
	return text;
}

static int fresh(void **state)
{
	(void)state;
	strcpy(root, "/tmp/cg-test-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	(void)state;
	return rm_rf(root, NULL);
}

static int apply(const char *json, struct err *err)
{
	json_t *j = json_loads(json, 0, NULL);
	assert_non_null(j);
	int r = resources_apply(&fs, "/g", j, NULL, err);
	json_decref(j);
	return r;
}

static void test_v2(void **state)
{
	(void)state;
	static const char *const files[] = {"memory.max",       "memory.swap.max", "memory.low",
					    "cpu.weight",       "cpu.max",         "pids.max",
					    "memory.oom.group", "cpuset.cpus",     "hugetlb.2MB.max"};
	struct err err = ERR_INIT;
	put("cgroup.controllers", "cpu memory pids\n");
	put("cgroup.subtree_control", "");
	assert_int_equal(cgroup_fs_open(root, &fs, &err), 0);
	assert_true(fs.v2);
	assert_int_equal(cgroup_make(&fs, "/g", &err), 0);
	assert_true(str_starts(get("cgroup.subtree_control"), "+pids")); /* the last; a real file adds them up */
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *path = xasprintf("g/%s", files[i]);
		put(path, "");
	}
	assert_int_equal(apply("{\"memory\":{\"limit\":1000,\"swap\":1500,\"reservation\":10},"
			       "\"cpu\":{\"shares\":1024,\"quota\":50000,\"period\":100000,\"cpus\":\"0-1\"},"
			       "\"pids\":{\"limit\":7},\"unified\":{\"memory.oom.group\":\"1\"},"
			       "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4}]}",
			       &err),
			 0);
	assert_string_equal(get("g/memory.max"), "1000");
	assert_string_equal(get("g/memory.swap.max"), "500");
	assert_string_equal(get("g/memory.low"), "10");
	assert_string_equal(get("g/cpu.weight"), "39"); /* runc's and the kubelet's conversion */
	assert_string_equal(get("g/cpu.max"), "50000 100000");
	assert_string_equal(get("g/pids.max"), "7");
	assert_string_equal(get("g/memory.oom.group"), "1");
	assert_string_equal(get("g/cpuset.cpus"), "0-1");
	assert_string_equal(get("g/hugetlb.2MB.max"), "4");
	put("g/memory.max", "");
	put("g/pids.max", "");
	assert_int_equal(apply("{\"memory\":{\"limit\":-1},\"pids\":{\"limit\":-1}}", &err), 0);
	assert_string_equal(get("g/memory.max"), "max");
	assert_string_equal(get("g/pids.max"), "max");
	assert_int_equal(apply("{\"memory\":{\"swap\":10}}", &err), -EINVAL);
	assert_int_equal(apply("{\"unified\":{\"../x.y\":\"1\"}}", &err), -EINVAL);
	assert_int_equal(apply("{\"rdma\":{\"x\":{}}}", &err), -ENOTSUP);
	put("g/memory.events", "low 0\noom 3\noom_kill 2\n");
	assert_int_equal(cgroup_oom_kills(&fs, "/g"), 2);
}

static void test_v1(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	put("memory/tasks", "");
	put("cpu,cpuacct/tasks", "");
	put("cpuset/tasks", "");
	put("cpuset/cpuset.cpus", "0-3\n");
	put("cpuset/cpuset.mems", "0\n");
	assert_int_equal(cgroup_fs_open(root, &fs, &err), 0);
	assert_false(fs.v2);
	assert_int_equal(fs.n, 3);
	assert_int_equal(fs.unified, -1);
	put("cpuset/g/cpuset.cpus", "");
	put("cpuset/g/cpuset.mems", "");
	assert_int_equal(cgroup_make(&fs, "/g", &err), 0);
	assert_string_equal(get("cpuset/g/cpuset.cpus"), "0-3\n");
	put("memory/g/memory.limit_in_bytes", "");
	put("cpu,cpuacct/g/cpu.shares", "");
	put("cpu,cpuacct/g/cpu.cfs_quota_us", "");
	/* no memsw file: swap accounting is off, which is no error */
	assert_int_equal(apply("{\"memory\":{\"limit\":1000,\"swap\":1000},\"cpu\":{\"shares\":5,\"quota\":-1}}", &err),
			 0);
	assert_string_equal(get("memory/g/memory.limit_in_bytes"), "1000");
	assert_string_equal(get("cpu,cpuacct/g/cpu.shares"), "5");
	assert_string_equal(get("cpu,cpuacct/g/cpu.cfs_quota_us"), "-1");
	/* a limit that can't be had is an error, not a wish */
	assert_int_equal(apply("{\"pids\":{\"limit\":5}}", &err), -ENOENT);
	assert_int_equal(apply("{\"unified\":{\"a.b\":\"1\"}}", &err), -EINVAL);
	put("memory/g/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
	assert_int_equal(cgroup_oom_kills(&fs, "/g"), 1);
}

static void test_paths(void **state)
{
	(void)state;
	assert_true(cgroup_path_valid("/a/b"));
	assert_false(cgroup_path_valid("a"));
	assert_false(cgroup_path_valid("/"));
	assert_false(cgroup_path_valid("/a//b"));
	assert_false(cgroup_path_valid("/a/../b"));
	assert_false(cgroup_path_valid("/a/"));
	assert_false(cgroup_path_valid("/a\n"));
}

/* Enough of an interpreter for what devices_program() writes: the verdict the kernel would come to. */
static int verdict(const struct bpf_insn *p, int n, uint32_t type, uint32_t access, uint32_t major, uint32_t minor)
{
	uint32_t ctx[3] = {access << 16 | type, major, minor};
	uint64_t r[6] = {0};
	for (int pc = 0; pc < n; pc++) {
		const struct bpf_insn *i = &p[pc];
		uint64_t v = (i->code & BPF_X) && BPF_CLASS(i->code) == BPF_ALU64 ? r[i->src_reg]
										  : (uint64_t)(int64_t)i->imm;
		if (i->code == (BPF_JMP | BPF_EXIT))
			return (int)r[0];
		if (BPF_CLASS(i->code) == BPF_LDX)
			r[i->dst_reg] = ctx[i->off / 4];
		else if (BPF_CLASS(i->code) == BPF_ALU64)
			r[i->dst_reg] = BPF_OP(i->code) == BPF_AND   ? r[i->dst_reg] & v
					: BPF_OP(i->code) == BPF_RSH ? r[i->dst_reg] >> v
								     : v;
		else if (BPF_OP(i->code) == BPF_JNE ? r[i->dst_reg] != v : r[i->dst_reg] == v)
			pc += i->off;
	}
	fail_msg("the program runs off its end");
	return -1;
}

static void test_devices(void **state)
{
	(void)state;
	enum { R = BPF_DEVCG_ACC_READ, W = BPF_DEVCG_ACC_WRITE, M = BPF_DEVCG_ACC_MKNOD };
	enum { CHAR = BPF_DEVCG_DEV_CHAR, BLOCK = BPF_DEVCG_DEV_BLOCK };
	struct bpf_insn p[512];
	struct device_rule *rules = NULL;
	size_t n = 0;
	json_t *j = json_loads("{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},"
			       "{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229,\"access\":\"rw\"},"
			       "{\"allow\":false,\"type\":\"c\",\"major\":10,\"minor\":229,\"access\":\"w\"}]}",
			       0, NULL);
	assert_int_equal(devices_rules(j, NULL, &rules, &n, NULL), 0);
	int k = devices_program(rules, n, p, ARRAY_LEN(p));
	assert_true(k > 0);
	assert_int_equal(verdict(p, k, CHAR, R | W, 1, 3), 1);   /* null */
	assert_int_equal(verdict(p, k, CHAR, R | W, 136, 7), 1); /* any pty */
	assert_int_equal(verdict(p, k, CHAR, R, 1, 1), 0);       /* mem */
	assert_int_equal(verdict(p, k, BLOCK, R, 1, 3), 0);      /* same numbers, other kind */
	assert_int_equal(verdict(p, k, BLOCK, M, 8, 0), 1);      /* a node may be made, */
	assert_int_equal(verdict(p, k, BLOCK, R | M, 8, 0), 0);  /* not opened */
	assert_int_equal(verdict(p, k, CHAR, R, 10, 229), 1);
	assert_int_equal(verdict(p, k, CHAR, W, 10, 229), 0); /* the later rule wins */
	assert_int_equal(verdict(p, k, CHAR, R | W, 10, 229), 0);
	free(rules);
	json_decref(j);
	j = json_loads("{\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}", 0, NULL);
	assert_int_equal(devices_rules(j, NULL, &rules, &n, NULL), 0);
	k = devices_program(rules, n, p, ARRAY_LEN(p));
	assert_int_equal(verdict(p, k, BLOCK, R | W, 8, 0), 1);
	free(rules);
	json_decref(j);
	j = json_loads("{\"devices\":[{\"allow\":true,\"type\":\"x\"}]}", 0, NULL);
	assert_int_equal(devices_rules(j, NULL, &rules, &n, NULL), -EINVAL);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_v2, fresh, remove_root),
		cmocka_unit_test_setup_teardown(test_v1, fresh, remove_root),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_devices),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
