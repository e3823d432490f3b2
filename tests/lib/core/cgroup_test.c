/* Control groups, on plain folders: every rule looks only at the files it finds. */
#include "lib/core/cgroup.h"

#include <errno.h>

#include "lib/core/file.h"
#include "tests/support/tap.h"

struct root {
	char dir[64];
	struct cgroup_fs fs;
};

static void put(const struct root *r, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", r->dir, name);
	assert_int_equal(file_write_replace(path, text, strlen(text), 0644, NULL), 0);
}

static struct root root_v2(void)
{
	struct root r = {.dir = "/tmp/mini-cgroup-XXXXXX"};
	assert_non_null(mkdtemp(r.dir));
	put(&r, "cgroup.controllers", "cpu memory\n");
	put(&r, "cgroup.procs", "");
	assert_int_equal(cgroup_fs_open(r.dir, &r.fs, NULL), 0);
	assert_true(r.fs.v2);
	return r;
}

static bool has(const struct root *r, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", r->dir, name);
	return file_exists(path);
}

static void test_controllers_are_whole_words(void **state)
{
	(void)state;
	struct root r = root_v2();
	put(&r, "cgroup.controllers", "cpuset memory\n");
	assert_true(cgroup_has(&r.fs, "memory"));
	assert_true(cgroup_has(&r.fs, "cpuset"));
	assert_false(cgroup_has(&r.fs, "cpu"));
	struct cgroup_fs v1 = {.root = "/r", .n = 1, .dirs = {"cpu,cpuacct"}, .unified = -1};
	assert_true(cgroup_has(&v1, "cpu"));
	assert_false(cgroup_has(&v1, "memory"));
	assert_int_equal(rm_rf(r.dir, NULL), 0);
}

static void test_host_root_stays(void **state)
{
	(void)state;
	struct root r = root_v2();
	put(&r, "cgroup.procs", "1\n2\n");
	assert_int_equal(cgroup_clear_root(&r.fs, NULL), 0);
	assert_false(has(&r, "init"));
	assert_int_equal(rm_rf(r.dir, NULL), 0);
}

static void test_empty_root_stays(void **state)
{
	(void)state;
	struct root r = root_v2();
	put(&r, "cgroup.type", "domain\n");
	assert_int_equal(cgroup_clear_root(&r.fs, NULL), 0);
	assert_false(has(&r, "init"));
	assert_int_equal(rm_rf(r.dir, NULL), 0);
}

static void test_root_of_a_container(void **state)
{
	(void)state;
	_cleanup_err_ struct err err = ERR_INIT;
	_cleanup_buf_ struct buf moved = BUF_INIT;
	struct root r = root_v2();
	put(&r, "cgroup.type", "domain\n");
	put(&r, "cgroup.procs", "41\n42\n");
	_cleanup_free_ char *init = xasprintf("%s/init", r.dir);
	_cleanup_free_ char *procs = xasprintf("%s/cgroup.procs", init);
	assert_int_equal(mkdir_p(init, 0755, NULL), 0);
	put(&r, "init/cgroup.procs", "");
	/* They are written over; but in a plain folder nothing moves, and it gives up. */
	assert_int_equal(cgroup_clear_root(&r.fs, &err), -EBUSY);
	assert_int_equal(file_read(procs, 64, &moved, NULL), 0);
	assert_string_equal(buf_str(&moved), "42");
	assert_int_equal(rm_rf(r.dir, NULL), 0);
}

static void test_processes_of_others(void **state)
{
	(void)state;
	_cleanup_err_ struct err err = ERR_INIT;
	struct root r = root_v2();
	put(&r, "cgroup.type", "domain\n");
	put(&r, "cgroup.procs", "0\n");
	assert_int_equal(cgroup_clear_root(&r.fs, &err), -EBUSY);
	assert_non_null(strstr(err.message, "--cgroupns=private"));
	assert_int_equal(rm_rf(r.dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_controllers_are_whole_words),
		cmocka_unit_test(test_host_root_stays),
		cmocka_unit_test(test_empty_root_stays),
		cmocka_unit_test(test_root_of_a_container),
		cmocka_unit_test(test_processes_of_others),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
