/* Volumes on disk: replaced at once, untouched when equal, never outside of their directory. */
#include "tests/support/tap.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/core/file.h"
#include "nodeagent/pod.h"
#include "nodeagent/volume_files.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/mini-volume-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rm_rf(dir, NULL);
}

static void put(struct volume_files *v, const char *path, const char *text, mode_t mode)
{
	struct err err = ERR_INIT;
	assert_int_equal(volume_files_add(v, path, xstrdup(text), strlen(text), mode, &err), 0);
}

static struct volume_files make(const char *stamp)
{
	struct volume_files v = {.volume = xstrdup("v"), .dir = xasprintf("%s/v", dir), .fs_group = -1};
	snprintf(v.stamp, sizeof(v.stamp), "%s", stamp);
	return v;
}

static char *text_of(const char *name)
{
	struct buf b = BUF_INIT;
	_cleanup_free_ char *path = xasprintf("%s/v/%s", dir, name);
	if (file_read(path, 4096, &b, NULL) < 0)
		buf_adds(&b, "(none)");
	return buf_steal(&b);
}

static void expect(const char *name, const char *want)
{
	_cleanup_free_ char *got = text_of(name);
	assert_string_equal(got, want);
}

static void files_are_replaced_at_once(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct volume_files v = make("..1");
	put(&v, "a", "one", 0644);
	put(&v, "sub/b", "two", 0400);
	assert_int_equal(volume_files_write(&v, &err), 0);
	expect("a", "one");
	expect("sub/b", "two");
	struct stat st;
	_cleanup_free_ char *b = xasprintf("%s/v/sub/b", dir), *old = xasprintf("%s/v/..1", dir),
			    *unused = xasprintf("%s/v/..2", dir);
	assert_int_equal(stat(b, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
	snprintf(v.stamp, sizeof(v.stamp), "..2"); /* the same once more: nothing is written */
	assert_int_equal(volume_files_write(&v, &err), 0);
	assert_false(file_exists(unused));
	volume_files_done(&v);
	v = make("..3");
	put(&v, "a", "three", 0644);
	assert_int_equal(volume_files_write(&v, &err), 0);
	expect("a", "three");
	expect("sub/b", "(none)");
	assert_false(file_exists(old));
	volume_files_done(&v);
}

static void paths_stay_inside(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "/a", "../a", "a/../b", "a//b", "..data", "a/.", "a/"};
	struct volume_files v = make("..1");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;
		assert_int_equal(volume_files_add(&v, bad[i], xstrdup("x"), 1, 0644, &err), -EINVAL);
	}
	volume_files_done(&v);
}

static void subpaths_stay_inside(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	char *path = NULL;
	_cleanup_free_ char *out = xasprintf("%s/out", dir), *in = xasprintf("%s/a", dir),
			    *want = xasprintf("%s/a/b", dir);
	assert_int_equal(symlink("/etc", out), 0);
	assert_true(volume_subpath(dir, "out/passwd", &path, &err) < 0);
	assert_true(volume_subpath(dir, "out", &path, &err) < 0);
	assert_true(volume_subpath(dir, "../x", &path, &err) < 0);
	assert_true(volume_subpath(dir, "/etc", &path, &err) < 0);
	assert_null(path);
	assert_int_equal(volume_subpath(dir, "a/b", &path, &err), 0);
	assert_string_equal(path, want);
	free(path);
	_cleanup_free_ char *link = xasprintf("%s/l", dir);
	assert_int_equal(symlink("a/b", link), 0); /* a link that stays inside is followed */
	assert_int_equal(volume_subpath(dir, "l", &path, &err), 0);
	assert_string_equal(path, want);
	free(path);
	assert_true(file_exists(in));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {T(files_are_replaced_at_once), T(paths_stay_inside), T(subpaths_stay_inside)};

RUN_TESTS(tests)
