/* What a whole store does when its disk fails it: at a sync, at a read, and where there is no room. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "lib/core/file.h"
#include "tests/support/store/fixture.h"
#include "tests/support/tap.h"

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);
	fixture_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	failpoints_parse("", NULL);
	fixture_done(*state);
	free(*state);
	return 0;
}

static void reopen(struct fixture *f)
{
	struct err err = ERR_INIT;
	fixture_close(f);
	if (fixture_open(f, &err))
		print_error("%s\n", err.message);
	assert_non_null(f->store);
}

/* Begun anew with small segments. */
static void small_segments(struct fixture *f)
{
	fixture_close(f);
	rm_rf(f->dir, NULL);
	f->config.sizes.log_segment = 8192;
	reopen(f);
}

/* Known before anything is written. */
static void size_of_the_state(void **state)
{
	struct fixture *f = *state;
	reopen(f);
	assert_true(fx_status(f)->status.state_bytes > 0);
}

static void log_is_gone(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_INIT;
	char path[300];
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	fixture_close(f);
	snprintf(path, sizeof(path), "%s/store/log", f->dir);
	assert_int_equal(rm_rf(path, NULL), 0);
	f->config.has_log = true;
	assert_int_equal(fixture_open(f, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, "restore"));
	err_done(&err);
	f->config.has_log = false; /* a state that was restored has none yet */
	reopen(f);
	assert_int_equal(fx_get(f, "a", 0)->n_kvs, 1);
}

static bool has(struct fixture *f, const char *key, const char *value)
{
	const struct answer *a = fx_get(f, key, 0);
	return a->err.code == 0 && a->n_kvs == 1 && streq(a->kvs[0].value, value);
}

/* A sync that failed has marked the pages clean: a next one succeeds and says nothing about them. So the end of the log
 * is written again before it is believed, then synced. */
static void what_a_failed_sync_left_is_written_again(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	f->disk.fail_sync_after = 0;
	assert_int_equal(fx_put(f, "b", "2")->err.code, -ECANCELED);
	assert_true(f->stopped);
	assert_non_null(strstr(f->fatal.message, "durable"));
	unsigned failed = f->disk.failed_syncs;
	assert_int_equal(fx_put(f, "c", "3")->err.code, -EIO);
	assert_int_equal(f->disk.failed_syncs, failed); /* never tried again */
	fixture_close(f);
	memset(f->disk.trace, 0, sizeof(f->disk.trace));
	struct err err = ERR_INIT;
	assert_int_equal(fixture_open(f, &err), -EIO); /* nor is it believed while syncs fail */
	f->disk.fail_sync_after = -1;
	memset(f->disk.trace, 0, sizeof(f->disk.trace));
	f->stopped = false;
	reopen(f);
	assert_int_equal(strncmp(f->disk.trace, "wsd", 3), 0);
	assert_true(has(f, "a", "1"));
}

/* The same holds for the log that SQLite keeps of the state: what a start finds of it is written again before it is used. */
static void so_is_the_log_of_the_state(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	env_sim_run_for(f->env, 200000000); /* the state follows */
	_cleanup_free_ char *wal = xasprintf("%s/store/state.db-wal", f->dir);
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(file_read(wal, 64u << 20, &b, NULL), 0);
	assert_true(b.len > 4096);
	fixture_close(f);
	assert_int_equal(access(wal, F_OK), -1);
	memset(f->disk.trace, 0, sizeof(f->disk.trace));
	reopen(f);
	assert_int_equal(strncmp(f->disk.trace, "wsd", 3), 0); /* ours only */
	fixture_close(f);
	assert_int_equal(file_write_replace(wal, b.data, b.len, 0600, NULL), 0);
	memset(f->disk.trace, 0, sizeof(f->disk.trace));
	reopen(f);
	assert_int_equal(strncmp(f->disk.trace, "wswsd", 5), 0);
	assert_true(has(f, "a", "1"));
	/* and it is not used while that fails */
	fixture_close(f);
	assert_int_equal(file_write_replace(wal, b.data, b.len, 0600, NULL), 0);
	f->disk.fail_sync_after = 0;
	assert_int_equal(fixture_open(f, NULL), -EIO);
	f->disk.fail_sync_after = -1;
	reopen(f);
	assert_true(has(f, "a", "1"));
}

/* Entries that the state has not are read back at start. One that cannot be read is an error that is told. */
static void a_log_that_cannot_be_read_at_start(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	f->disk.fail_sync_after = 0;
	fx_put(f, "b", "2"); /* it stops here, its state behind */
	fixture_close(f);
	f->disk.fail_sync_after = -1;
	assert_int_equal(failpoints_parse("log.read=error:EIO", NULL), 0);
	struct err err = ERR_INIT;
	int rc = fixture_open(f, &err);
	assert_int_equal(rc, -EIO);
	assert_true(failpoint_passed(FAILPOINT_LOG_READ) > 0);
	assert_non_null(strstr(err.message, "cannot"));
	failpoints_parse("", NULL);
	f->stopped = false;
	reopen(f);
	assert_true(has(f, "a", "1"));
}

/* A new segment asks for nothing that would have to be read. */
static void segments_are_begun_on_a_disk_that_cannot_be_read(void **state)
{
	struct fixture *f = *state;
	small_segments(f);
	struct store_status before = fx_status(f)->status;
	f->disk.unreadable = true;
	for (int i = 0; i < 400; i++)
		assert_int_equal(fx_put(f, "a", "0123456789012345678901234567890123456789")->err.code, 0);
	assert_false(f->stopped);
	assert_true(fx_status(f)->status.bytes_written - before.bytes_written > 4 * 8192u);
	f->disk.unreadable = false;
	assert_true(has(f, "a", "0123456789012345678901234567890123456789"));
}

static void the_first_state_finds_no_room(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(failpoints_parse("state.begin=error:ENOSPC", NULL), 0);
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	env_sim_run_for(f->env, 200000000);
	assert_true(failpoint_passed(FAILPOINT_STATE_BEGIN) > 10); /* looked at again and again */
	assert_false(f->stopped);
	assert_true(fx_status(f)->status.read_only);
	assert_int_equal(fx_put(f, "b", "2")->err.code, -ENOSPC);
	assert_true(has(f, "a", "1"));
	failpoints_parse("", NULL);
	env_sim_run_for(f->env, 2000000);
	assert_false(fx_status(f)->status.read_only);
	assert_int_equal(fx_put(f, "b", "2")->err.code, 0);
	reopen(f);
	assert_true(has(f, "a", "1") && has(f, "b", "2"));
}

static unsigned files(const char *dir, const char *end)
{
	_cleanup_free_ char *path = xasprintf("%s/store/log", dir);
	unsigned n = 0;
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		n += str_ends(e->d_name, end);
	closedir(d);
	return n;
}

/* Wherever the log finds no room: reads are answered, writes refused; no half segment is left; and it goes on. */
static void no_room_for_the_log(void **state)
{
	struct fixture *f = *state;
	static const char *const at[] = {"log.segment.create", "log.segment.preallocate", "log.segment.header",
					 "log.segment.rename", "log.write.before"};
	small_segments(f);
	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		_cleanup_free_ char *points = xasprintf("%s=error:ENOSPC", at[i]);
		char value[32];
		int code = 0, n = 0;
		assert_int_equal(failpoints_parse(points, NULL), 0);
		while (!code && n < 1000) {
			snprintf(value, sizeof(value), "%zu-%d", i, n++);
			code = fx_put(f, "a", value)->err.code;
		}
		assert_int_equal(code, -ECANCELED); /* it stands in the log and happens once there is room */
		assert_int_equal(fx_put(f, "b", "x")->err.code, -ENOSPC);
		assert_true(fx_status(f)->status.read_only);
		assert_int_equal(files(f->dir, ".tmp"), 0);
		unsigned before = files(f->dir, ".log");
		env_sim_run_for(f->env, 5000000);
		assert_int_equal(files(f->dir, ".log"), before);
		failpoints_parse("", NULL);
		env_sim_run_for(f->env, 2000000);
		assert_false(fx_status(f)->status.read_only);
		assert_true(has(f, "a", value));
		assert_int_equal(fx_put(f, "b", value)->err.code, 0);
		reopen(f);
		assert_true(has(f, "a", value) && has(f, "b", value));
	}
	assert_false(f->stopped);
}

/* ---- a store that is never idle ---- */

struct busy {
	struct fixture *f;
	unsigned left, answered;
};

static void again(void *arg, const struct err *err, const struct store_txn_resp *r);

static void put(struct busy *b)
{
	_cleanup_blob_ struct blob *v = blob_alloc(200);
	memset(v->data, 'x', 200);
	struct store_op op = {.type = STORE_PUT, .key = "k", .value = v};
	store_txn(b->f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, again, b);
}

static void again(void *arg, const struct err *err, _unused_ const struct store_txn_resp *r)
{
	struct busy *b = arg;
	assert_null(err);
	b->answered++;
	if (b->left && b->left--)
		put(b);
}

static bool half_done(void *arg)
{
	return ((struct busy *)arg)->answered >= 4000;
}

static void a_busy_log_is_dropped_too(void **state)
{
	struct fixture *f = *state;
	f->config.sizes = (struct store_sizes){.state_bytes = 4096, .checkpoint = 16384};
	small_segments(f);
	struct busy b = {.f = f, .left = 5000};
	for (int i = 0; i < 4; i++)
		put(&b);
	assert_true(env_sim_run_until(f->env, half_done, &b, 60000000));
	assert_true(b.left > 0); /* still at it */
	assert_true(files(f->dir, ".log") <= 16);
	while (b.answered < 5004)
		env_sim_run_for(f->env, 1000000);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(size_of_the_state),
	T(log_is_gone),
	T(what_a_failed_sync_left_is_written_again),
	T(so_is_the_log_of_the_state),
	T(a_log_that_cannot_be_read_at_start),
	T(segments_are_begun_on_a_disk_that_cannot_be_read),
	T(the_first_state_finds_no_room),
	T(no_room_for_the_log),
	T(a_busy_log_is_dropped_too),
};
RUN_TESTS(tests)
