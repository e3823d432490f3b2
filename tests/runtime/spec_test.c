/* What is read from a bundle: refusals, options, processes, filters and their cache; CRI log lines. */
#include "tests/support/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "lib/core/file.h"
#include "runtime/mounts.h"
#include "runtime/process.h"
#include "runtime/seccomp.h"
#include "runtime/shim_log.h"
#include "runtime/spec.h"

static char dir[64];

static int fresh(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/spec-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rm_rf(dir, NULL);
}

static int load(const char *text, struct spec *s, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/config.json", dir);
	assert_int_equal(file_write_replace(path, text, strlen(text), 0644, NULL), 0);
	return spec_load(dir, s, err);
}

static void refused(const char *text, const char *why)
{
	struct spec s = {0};
	struct err err = ERR_INIT;
	assert_true(load(text, &s, &err) < 0);
	if (!strstr(err.message, why))
		fail_msg("\"%s\" does not say \"%s\"", err.message, why);
}

static void test_spec(void **state)
{
	(void)state;
	struct spec s = {0};
	assert_int_equal(
		load("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":["
		     "{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/proc/1/ns/net\"}]}}",
		     &s, NULL),
		0);
	assert_int_equal(s.new_ns, CLONE_NEWNS | CLONE_NEWPID);
	assert_true(spec_joins(&s, CLONE_NEWNET));
	assert_string_equal(s.join[0].path, "/proc/1/ns/net");
	spec_done(&s);
	refused("{", "config.json:");
	refused("[]", "not a JSON object");
	refused("{}", "ociVersion");
	refused("{\"ociVersion\":\"2.0.0\"}", "not supported");
	refused("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"}}", "mount namespace");
	refused("{\"ociVersion\":\"1.0.0\",\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}", "root.path");
	refused("{\"ociVersion\":\"1.0.0\",\"linux\":{\"namespaces\":[{\"type\":\"moon\"}]}}", "moon");
	refused("{\"ociVersion\":\"1.0.0\",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}",
		"twice");
	refused("{\"ociVersion\":\"1.0.0\",\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"x\"}]}}",
		"absolute");
	refused("{\"ociVersion\":\"1.0.0\",\"hostname\":\"h\",\"root\":{\"path\":\"r\"},"
		"\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
		"rename the host");
}

static void test_mount_options(void **state)
{
	(void)state;
	json_t *j =
		json_loads("[\"rbind\",\"ro\",\"nosuid\",\"rslave\",\"rro\",\"size=5k\",\"mode=755\",\"rw\"]", 0, NULL);
	struct mount_options o = {0};
	assert_int_equal(mount_options_parse(j, &o, NULL), 0);
	assert_true(o.bind && o.rbind);
	assert_int_equal(o.attr_set, MOUNT_ATTR_NOSUID); /* the later rw took ro back */
	assert_int_equal(o.attr_clear, MOUNT_ATTR_RDONLY);
	assert_int_equal(o.rattr_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(o.propagation, MS_SLAVE);
	assert_true(o.propagation_recursive);
	assert_string_equal(o.data, "size=5k\nmode=755\n");
	mount_options_done(&o);
	json_decref(j);
	j = json_loads("[5]", 0, NULL);
	assert_int_equal(mount_options_parse(j, &o, NULL), -EINVAL);
	json_decref(j);
}

static int parse_process(const char *text, struct process *p)
{
	json_t *j = json_loads(text, 0, NULL);
	assert_non_null(j);
	int r = process_parse(j, p, NULL);
	if (r == 0) /* strings belong to the JSON: only numbers are looked at below */
		process_done(p);
	json_decref(j);
	return r;
}

static void test_process(void **state)
{
	(void)state;
	struct process p;
	assert_int_equal(parse_process("{\"args\":[\"a\"],\"cwd\":\"/\"}", &p), 0);
	assert_int_equal(parse_process("{\"args\":[],\"cwd\":\"/\"}", &p), -EINVAL);
	assert_int_equal(parse_process("{\"args\":[\"a\"],\"cwd\":\"x\"}", &p), -EINVAL);
	assert_int_equal(parse_process("{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":{\"uid\":-1}}", &p), -EINVAL);
	assert_int_equal(parse_process("{\"args\":[\"a\"],\"cwd\":\"/\",\"oomScoreAdj\":1001}", &p), -EINVAL);
	assert_int_equal(parse_process("{\"args\":[\"a\"],\"cwd\":\"/\",\"rlimits\":[{\"type\":\"RLIMIT_X\"}]}", &p),
			 -EINVAL);
	assert_int_equal(
		parse_process("{\"args\":[\"a\"],\"cwd\":\"/\",\"capabilities\":{\"bounding\":[\"CAP_FLY\"]}}", &p),
		-EINVAL);
	assert_int_equal(parse_process("{\"args\":[1],\"cwd\":\"/\"}", &p), -EINVAL);
}

static unsigned cached(char *ret_name)
{
	DIR *d = opendir(dir);
	unsigned n = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.') {
			n++;
			strcpy(ret_name, e->d_name);
		}
	closedir(d);
	return n;
}

static void test_seccomp_cache(void **state)
{
	(void)state;
	struct seccomp_filter *a = NULL, *b = NULL;
	char name[256] = "";
	assert_int_equal(seccomp_default(0, dir, &a, NULL), 0);
	assert_int_equal(cached(name), 1);
	assert_int_equal(seccomp_default(0, dir, &b, NULL), 0);
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->insns, b->insns, a->n * 8);
	seccomp_filter_free(b);
	/* a damaged file is made again, not loaded */
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "\xff", 1, 40), 1);
	close(fd);
	assert_int_equal(seccomp_default(0, dir, &b, NULL), 0);
	assert_memory_equal(a->insns, b->insns, a->n * 8);
	seccomp_filter_free(a);
	seccomp_filter_free(b);
	assert_int_equal(seccomp_default(1ull << 21, dir, &a, NULL),
			 0); /* another set of capabilities, another filter */
	assert_int_equal(cached(name), 2);
	seccomp_filter_free(a);
	json_t *j = json_loads("{\"defaultAction\":\"SCMP_ACT_WHAT\"}", 0, NULL);
	assert_true(seccomp_from_json(j, NULL, &a, NULL) < 0);
	json_decref(j);
	j = json_loads("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/x\"}", 0, NULL);
	assert_int_equal(seccomp_from_json(j, NULL, &a, NULL), -ENOTSUP);
	json_decref(j);
}

static void test_log_lines(void **state)
{
	(void)state;
	_cleanup_free_ char *path = xasprintf("%s/log", dir);
	static struct shim_stream s = {.name = "stdout", .fd = -1};
	static char big[LOG_LINE_MAX + 10];
	struct shim_log l = {.path = path, .fd = -1};
	memset(big, 'x', sizeof(big));
	assert_int_equal(shim_log_open(&l), 0);
	shim_log_feed(&l, &s, "a\nb", 3);
	shim_log_feed(&l, &s, "c\n\n", 3);
	shim_log_feed(&l, &s, big, sizeof(big));
	shim_log_feed(&l, &s, "\nend", 4);
	shim_log_flush(&l, &s);
	close(l.fd);
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(file_read(path, 1 << 20, &b, NULL), 0);
	static const struct {
		char tag;
		size_t len;
	} want[] = {{'F', 1}, {'F', 2}, {'F', 0}, {'P', LOG_LINE_MAX}, {'F', 10}, {'P', 3}};
	char *line = b.data;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		char *end = strchr(line, '\n'), *text = strstr(line, " stdout ");
		assert_non_null(end);
		assert_non_null(text);
		assert_int_equal(text[8], want[i].tag);
		assert_int_equal(end - (text + 10), want[i].len);
		line = end + 1;
	}
	assert_int_equal(*line, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_spec, fresh, remove_dir),
		cmocka_unit_test(test_mount_options),
		cmocka_unit_test(test_process),
		cmocka_unit_test_setup_teardown(test_seccomp_cache, fresh, remove_dir),
		cmocka_unit_test_setup_teardown(test_log_lines, fresh, remove_dir),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
