/* The engine as its users see it: etcd's semantics, in virtual time on a real directory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lib/core/failpoint.h"
#include "store/engine.h"
#include "tests/support/store/fixture.h"

static int setup(void **state)
{
	struct fixture *f = NEW(struct fixture);
	fixture_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fixture_done(*state);
	free(*state);
	return 0;
}

static void run_for(struct fixture *f, uint64_t us)
{
	env_sim_run_for(f->env, us);
}

static void put_get_delete(void **state)
{
	struct fixture *f = *state;
	const struct answer *a = fx_put(f, "a", "1");
	assert_int_equal(a->err.code, 0);
	assert_int_equal(a->rev, 2);
	assert_false(a->prev[0].exists);
	a = fx_put(f, "a", "2");
	assert_int_equal(a->rev, 3);
	assert_string_equal(a->prev[0].value, "1");
	a = fx_get(f, "a", 0);
	assert_int_equal(a->n_kvs, 1);
	assert_string_equal(a->kvs[0].value, "2");
	assert_int_equal(a->kvs[0].create_rev, 2);
	assert_int_equal(a->kvs[0].mod_rev, 3);
	assert_int_equal(a->kvs[0].version, 2);
	a = fx_get(f, "a", 2);
	assert_string_equal(a->kvs[0].value, "1");
	assert_int_equal(a->rev, 2);
	a = fx_delete(f, "a");
	assert_int_equal(a->rev, 4);
	assert_string_equal(a->prev[0].value, "2");
	assert_int_equal(fx_get(f, "a", 0)->n_kvs, 0);
	assert_int_equal(fx_get(f, "a", 3)->n_kvs, 1);
	a = fx_delete(f, "a"); /* nothing happens, no revision */
	assert_int_equal(a->rev, 4);
	a = fx_put(f, "a", "3"); /* a new life */
	a = fx_get(f, "a", 0);
	assert_int_equal(a->kvs[0].create_rev, 5);
	assert_int_equal(a->kvs[0].version, 1);
	assert_int_equal(fx_get(f, "a", 6)->err.code, -ERANGE);
}

static void txn_compares(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *x = blob_new("x", 1), *y = blob_new("y", 1);
	struct store_op put = {.type = STORE_PUT, .key = "k", .value = x};
	struct store_op get = {.type = STORE_GET, .key = "k"};
	struct store_cmp absent = {.key = "k", .target = STORE_CMP_MOD_REV, .op = STORE_EQ};
	struct store_txn_req create = {
		.compares = &absent, .n_compares = 1, .then_ops = &put, .n_then = 1, .else_ops = &get, .n_else = 1};
	assert_true(fx_txn(f, &create)->succeeded);
	const struct answer *a = fx_txn(f, &create);
	assert_false(a->succeeded);
	assert_int_equal(a->rev, 2);
	assert_string_equal(a->kvs[0].value, "x");
	const struct {
		enum store_cmp_target target;
		enum store_cmp_op op;
		uint64_t number;
		const struct blob *value;
		bool holds;
	} cases[] = {
		{STORE_CMP_MOD_REV, STORE_EQ, 2, NULL, true},    {STORE_CMP_MOD_REV, STORE_NE, 2, NULL, false},
		{STORE_CMP_MOD_REV, STORE_LT, 3, NULL, true},    {STORE_CMP_MOD_REV, STORE_GT, 2, NULL, false},
		{STORE_CMP_CREATE_REV, STORE_GT, 1, NULL, true}, {STORE_CMP_VERSION, STORE_EQ, 1, NULL, true},
		{STORE_CMP_VALUE, STORE_EQ, 0, x, true},         {STORE_CMP_VALUE, STORE_EQ, 0, y, false},
		{STORE_CMP_VALUE, STORE_LT, 0, y, true},         {STORE_CMP_VALUE, STORE_GT, 0, y, false},
		{STORE_CMP_VALUE, STORE_NE, 0, y, true},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_cmp c = {.key = "k",
				      .target = cases[i].target,
				      .op = cases[i].op,
				      .number = cases[i].number,
				      .value = cases[i].value};
		struct store_txn_req t = {.compares = &c, .n_compares = 1, .then_ops = &get, .n_then = 1};
		assert_int_equal(fx_txn(f, &t)->succeeded, cases[i].holds);
	}
}

static void txn_is_one_revision(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	struct watcher w = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "", .end = ""});
	run_for(f, 1000);
	fx_put(f, "c/1", "old");
	fx_put(f, "c/2", "old");
	struct store_op ops[] = {{.type = STORE_PUT, .key = "b", .value = v},
				 {.type = STORE_DELETE_RANGE, .key = "c/", .end = "c0"},
				 {.type = STORE_GET, .key = "c/1"},
				 {.type = STORE_PUT, .key = "a", .value = v}};
	const struct answer *a = fx_txn(f, &(struct store_txn_req){.then_ops = ops, .n_then = 4});
	assert_int_equal(a->err.code, 0);
	assert_int_equal(a->rev, 4);
	assert_int_equal(a->n_prev, 4);
	assert_int_equal(a->n_kvs, 1);
	assert_false(a->kvs[0].exists);
	assert_string_equal(buf_str(&w.log), "2:+c/1=old 3:+c/2=old 4:+b=v-c/1(old)-c/2(old)+a=v ");
	watcher_done(&w);
}

static void refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *big = blob_alloc((3u << 20) + 1), *v = blob_new("v", 1);
	memset(big->data, 'x', big->len);
	char *key = xmalloc(5001);
	memset(key, 'k', 5000);
	key[5000] = '\0';
	struct store_op op = {.type = STORE_PUT, .key = "a", .value = big};
	struct store_txn_req t = {.then_ops = &op, .n_then = 1};
	assert_int_equal(fx_txn(f, &t)->err.code, -EFBIG);
	op = (struct store_op){.type = STORE_PUT, .key = key, .value = v};
	assert_int_equal(fx_txn(f, &t)->err.code, -EFBIG);
	op.key = "";
	assert_int_equal(fx_txn(f, &t)->err.code, -EINVAL);
	op.key = "a";
	op.lease = 4711;
	assert_int_equal(fx_txn(f, &t)->err.code, -ENOENT);
	struct store_op twice[] = {{.type = STORE_PUT, .key = "a", .value = v}, {.type = STORE_DELETE, .key = "a"}};
	assert_int_equal(fx_txn(f, &(struct store_txn_req){.then_ops = twice, .n_then = 2})->err.code, -EINVAL);
	twice[1] = (struct store_op){.type = STORE_DELETE_RANGE, .key = "", .end = ""};
	assert_int_equal(fx_txn(f, &(struct store_txn_req){.then_ops = twice, .n_then = 2})->err.code, -EINVAL);
	assert_int_equal(fx_status(f)->status.rev, 1);
	free(key);
}

static void ranges(void **state)
{
	struct fixture *f = *state;
	char key[32];
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "p/%02d", (i * 37) % 50);
		fx_put(f, key, "v");
	}
	fx_put(f, "q", "v");
	_cleanup_free_ char *end = store_prefix_end("p/");
	const struct answer *a = fx_range(f, &(struct store_range_req){.key = "p/", .end = end});
	assert_int_equal(a->n_kvs, 50);
	assert_int_equal(a->count, 50);
	assert_false(a->more);
	for (size_t i = 1; i < 50; i++)
		assert_true(strcmp(a->kvs[i - 1].key, a->kvs[i].key) < 0);
	a = fx_range(f, &(struct store_range_req){.key = "p/", .end = end, .limit = 7});
	assert_int_equal(a->n_kvs, 7);
	assert_int_equal(a->count, 50);
	assert_true(a->more);
	a = fx_range(f, &(struct store_range_req){.key = "p/06\1", .end = end, .limit = 7, .keys_only = true});
	assert_string_equal(a->kvs[0].key, "p/07");
	assert_string_equal(a->kvs[0].value, "");
	assert_int_equal(a->count, 43);
	a = fx_range(f, &(struct store_range_req){.key = "p/", .end = end, .count_only = true});
	assert_int_equal(a->n_kvs, 0);
	assert_int_equal(a->count, 50);
	a = fx_range(f, &(struct store_range_req){.key = "p/", .end = end, .rev = 11, .limit = 4});
	assert_int_equal(a->n_kvs, 4);
	assert_int_equal(a->count, 10);
	assert_true(a->more);
	assert_int_equal(fx_range(f, &(struct store_range_req){.key = "", .end = ""})->count, 51);
}

static void survives_reopening(void **state)
{
	struct fixture *f = *state;
	char key[32], value[32];
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k/%d", i % 17);
		snprintf(value, sizeof(value), "v%d", i);
		fx_put(f, key, value);
	}
	fx_delete(f, "k/3");
	uint64_t rev = fx_status(f)->status.rev;
	for (int round = 0; round < 3; round++) {
		fixture_close(f);
		struct err err = ERR_INIT;
		assert_int_equal(fixture_open(f, &err), 0);
		const struct answer *a = fx_get(f, "k/5", 0);
		assert_int_equal(a->rev, rev);
		assert_string_equal(a->kvs[0].value, "v39");
		assert_int_equal(a->kvs[0].version, 3);
		assert_int_equal(fx_get(f, "k/3", 0)->n_kvs, 0);
		/* what memory does not have any more comes from the state */
		a = fx_get(f, "k/5", rev - 3);
		assert_string_equal(a->kvs[0].value, "v22");
		a = fx_range(f, &(struct store_range_req){.key = "k/", .end = "k0", .rev = 11, .limit = 3});
		assert_int_equal(a->count, 10);
		assert_int_equal(a->n_kvs, 3);
		assert_true(a->more);
	}
	assert_int_equal(fx_put(f, "k/5", "next")->rev, rev + 1);
}

static void watch_from_a_revision(void **state)
{
	struct fixture *f = *state;
	fx_put(f, "a/1", "1"); /* 2 */
	fx_put(f, "b", "x");
	fx_put(f, "a/1", "2");
	fx_delete(f, "a/1"); /* 5 */
	fx_put(f, "a/2", "3");
	struct watcher w = {0}, one = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "a/", .end = "a0", .start_rev = 3});
	watcher_start(&one, f, &(struct store_watch_req){.key = "b", .start_rev = 1});
	assert_string_equal(buf_str(&w.log), "");
	run_for(f, 1000);
	assert_string_equal(buf_str(&w.log), "4:+a/1=2(1) 5:-a/1(2) 6:+a/2=3 ");
	assert_string_equal(buf_str(&one.log), "3:+b=x ");
	fx_put(f, "a/2", "4");
	assert_string_equal(buf_str(&w.log), "4:+a/1=2(1) 5:-a/1(2) 6:+a/2=3 7:+a/2=4(3) ");
	watcher_done(&w);
	watcher_done(&one);
	/* after a restart the same comes from the state */
	fixture_close(f);
	assert_int_equal(fixture_open(f, NULL), 0);
	struct watcher again = {0}, now = {0}, future = {0};
	watcher_start(&again, f, &(struct store_watch_req){.key = "a/", .end = "a0", .start_rev = 3});
	watcher_start(&now, f, &(struct store_watch_req){.key = "", .end = ""});
	watcher_start(&future, f, &(struct store_watch_req){.key = "", .end = "", .start_rev = 9});
	run_for(f, 1000);
	fx_put(f, "a/3", "5");
	fx_put(f, "a/3", "6");
	assert_string_equal(buf_str(&again.log), "4:+a/1=2(1) 5:-a/1(2) 6:+a/2=3 7:+a/2=4(3) 8:+a/3=5 9:+a/3=6(5) ");
	assert_string_equal(buf_str(&now.log), "8:+a/3=5 9:+a/3=6(5) ");
	assert_string_equal(buf_str(&future.log), "9:+a/3=6(5) ");
	watcher_done(&again);
	watcher_done(&now);
	watcher_done(&future);
}

static void watch_catches_up_over_many(void **state)
{
	struct fixture *f = *state;
	f->config.history_bytes = 1; /* memory keeps only what the state does not have yet */
	fixture_close(f);
	assert_int_equal(fixture_open(f, NULL), 0);
	char value[32];
	for (int i = 0; i < 3000; i++) {
		snprintf(value, sizeof(value), "%d", i);
		fx_put(f, i % 3 ? "k" : "l", value);
		if (i % 500 == 0)
			run_for(f, 31000000);
	}
	struct watcher w = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "", .end = "", .start_rev = 2});
	for (int i = 0; i < 100; i++) {
		run_for(f, 100);
		fx_put(f, "m", "while it catches up");
	}
	run_for(f, 10000000);
	unsigned n = 0;
	for (const char *p = buf_str(&w.log); *p; p++)
		n += *p == ' ' && (p[1] == '\0' || (p[1] >= '0' && p[1] <= '9'));
	assert_int_equal(n, 3100);
	assert_int_equal(w.last_rev, 3101);
	watcher_done(&w);
}

static void watch_pauses(void **state)
{
	struct fixture *f = *state;
	struct watcher w = {0}, slow = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "a"});
	watcher_start(&slow, f, &(struct store_watch_req){.key = "a", .max_pending = 2});
	run_for(f, 1000);
	f->store->engine->watch_pause(f->store, w.watch, true);
	f->store->engine->watch_pause(f->store, slow.watch, true);
	fx_put(f, "a", "1");
	fx_put(f, "a", "2");
	assert_false(slow.ended);
	fx_put(f, "a", "3");
	assert_true(slow.ended);
	assert_int_equal(slow.end_code, -EOVERFLOW);
	assert_string_equal(buf_str(&w.log), "");
	f->store->engine->watch_pause(f->store, w.watch, false);
	run_for(f, 1000);
	assert_string_equal(buf_str(&w.log), "2:+a=1 3:+a=2(1) 4:+a=3(2) ");
	watcher_done(&w);
	watcher_done(&slow);
}

static void watch_ends_itself(void **state)
{
	struct fixture *f = *state;
	struct watcher w = {.stop_after_first = true}, other = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "a"});
	watcher_start(&other, f, &(struct store_watch_req){.key = "a"});
	run_for(f, 1000);
	fx_put(f, "a", "1");
	fx_put(f, "a", "2");
	assert_string_equal(buf_str(&w.log), "2:+a=1 ");
	assert_string_equal(buf_str(&other.log), "2:+a=1 3:+a=2(1) ");
	fixture_close(f);
	assert_true(other.ended);
	assert_int_equal(other.end_code, -ECANCELED);
	watcher_done(&w);
	watcher_done(&other);
}

static void watch_progress(void **state)
{
	struct fixture *f = *state;
	struct watcher w = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "a", .progress_us = 1000000});
	run_for(f, 1000);
	fx_put(f, "b", "elsewhere");
	run_for(f, 1200000);
	assert_int_equal(w.progress, 2);
	watcher_done(&w);
}

static void compaction(void **state)
{
	struct fixture *f = *state;
	fx_put(f, "a", "1"); /* 2 */
	fx_put(f, "a", "2");
	fx_put(f, "b", "1"); /* 4 */
	fx_delete(f, "b");
	fx_put(f, "a", "3"); /* 6 */
	assert_int_equal(fx_compact(f, 99)->err.code, -ERANGE);
	assert_int_equal(fx_compact(f, 5)->err.code, 0);
	assert_int_equal(fx_compact(f, 5)->err.code, -ESTALE);
	assert_int_equal(fx_get(f, "a", 4)->err.code, -ESTALE);
	assert_string_equal(fx_get(f, "a", 5)->kvs[0].value, "2");
	assert_string_equal(fx_get(f, "a", 0)->kvs[0].value, "3");
	struct watcher w = {0}, ok = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "a", .start_rev = 5});
	watcher_start(&ok, f, &(struct store_watch_req){.key = "a", .start_rev = 6});
	run_for(f, 1000);
	assert_int_equal(w.end_code, -ESTALE);
	assert_string_equal(buf_str(&ok.log), "6:+a=3(2) ");
	watcher_done(&w);
	watcher_done(&ok);
	for (int i = 0; i < 2; i++) {
		fixture_close(f);
		assert_int_equal(fixture_open(f, NULL), 0);
		assert_int_equal(fx_get(f, "a", 4)->err.code, -ESTALE);
		assert_string_equal(fx_get(f, "a", 5)->kvs[0].value, "2");
		assert_int_equal(fx_get(f, "b", 5)->n_kvs, 0);
		struct watcher late = {0};
		watcher_start(&late, f, &(struct store_watch_req){.key = "", .end = "", .start_rev = 6});
		run_for(f, 1000);
		assert_string_equal(buf_str(&late.log), "6:+a=3(2) ");
		watcher_done(&late);
	}
}

static void history_is_kept_for_its_time(void **state)
{
	struct fixture *f = *state;
	fx_put(f, "a", "1");
	fx_put(f, "a", "2");
	run_for(f, 200000000);
	fx_put(f, "a", "3");
	assert_int_equal(fx_get(f, "a", 2)->n_kvs, 1);
	run_for(f, 200000000);
	assert_int_equal(fx_get(f, "a", 2)->err.code, -ESTALE);
	assert_int_equal(fx_status(f)->status.compacted_rev, 3);
	run_for(f, 400000000);
	assert_int_equal(fx_status(f)->status.compacted_rev, 4);
	uint64_t index = fx_status(f)->status.raft_index;
	run_for(f, 4000000000);
	assert_int_equal(fx_status(f)->status.raft_index, index); /* an idle store writes nothing */
	assert_string_equal(fx_get(f, "a", 0)->kvs[0].value, "3");
}

static void leases(void **state)
{
	struct fixture *f = *state;
	const struct store_engine *g = f->store->engine;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	assert_int_equal(fx_lease(f, g->lease_grant, 0)->err.code, -EINVAL);
	uint64_t id = fx_lease(f, g->lease_grant, 10)->number;
	assert_true(id > 0);
	struct store_op ops[] = {{.type = STORE_PUT, .key = "l/b", .value = v, .lease = id},
				 {.type = STORE_PUT, .key = "l/a", .value = v, .lease = id},
				 {.type = STORE_PUT, .key = "l/c", .value = v, .lease = id}};
	fx_txn(f, &(struct store_txn_req){.then_ops = ops, .n_then = 3});
	fx_put(f, "l/c", "its own now");
	struct watcher w = {0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "l/", .end = "l0"});
	run_for(f, 8000000);
	assert_int_equal(fx_lease(f, g->lease_keepalive, id)->number, 10);
	run_for(f, 8000000);
	assert_string_equal(buf_str(&w.log), "");
	fixture_close(f);
	watcher_done(&w);
	assert_int_equal(fixture_open(f, NULL), 0); /* whoever leads gives the whole time again */
	w = (struct watcher){0};
	watcher_start(&w, f, &(struct store_watch_req){.key = "l/", .end = "l0"});
	run_for(f, 8000000);
	assert_string_equal(buf_str(&w.log), "");
	run_for(f, 4000000);
	assert_string_equal(buf_str(&w.log), "4:-l/a(v)-l/b(v) ");
	assert_int_equal(fx_lease(f, g->lease_keepalive, id)->err.code, -ENOENT);
	assert_int_equal(fx_lease(f, g->lease_revoke, id)->err.code, -ENOENT);
	assert_int_equal(fx_get(f, "l/c", 0)->n_kvs, 1);
	watcher_done(&w);
}

static void count_answer(void *arg, const struct err *err, _unused_ const struct store_txn_resp *r)
{
	assert_null(err);
	++*(int *)arg;
}

static void lazy_writes_share_a_commit(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	fx_put(f, "first", "1");
	unsigned syncs = f->disk.syncs;
	int answered = 0;
	char key[32];
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "lazy/%d", i);
		struct store_op op = {.type = STORE_PUT, .key = key, .value = v};
		store_txn(f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1, .lazy = true}, count_answer,
			  &answered);
		run_for(f, 100000);
	}
	assert_int_equal(answered, 0);
	run_for(f, 1100000);
	assert_int_equal(answered, 10);
	assert_int_equal(f->disk.syncs, syncs + 1);
	struct store_op op = {.type = STORE_PUT, .key = "lazy/x", .value = v};
	store_txn(f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1, .lazy = true}, count_answer,
		  &answered);
	fx_put(f, "other", "1"); /* does not wait */
	assert_int_equal(answered, 11);
	assert_int_equal(f->disk.syncs, syncs + 2);
}

static void value_is_shared(void **state)
{
	struct fixture *f = *state;
	struct blob *v = blob_new("v", 1);
	struct store_op op = {.type = STORE_PUT, .key = "a", .value = v};
	fx_txn(f, &(struct store_txn_req){.then_ops = &op, .n_then = 1});
	assert_true(v->refs > 1);
	blob_unref(v);
}

static void one_process_only(void **state)
{
	struct fixture *f = *state;
	struct store *other = NULL;
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(store_open(f->env, &f->config, &other, &err), -EBUSY);
	assert_non_null(strstr(err.message, "in use"));
	assert_null(other);
}

static void failed_sync_stops(void **state)
{
	struct fixture *f = *state;
	fx_put(f, "a", "1");
	f->disk.fail_sync_after = 0;
	const struct answer *a = fx_put(f, "a", "2");
	assert_int_equal(a->err.code, -ECANCELED);
	assert_true(f->stopped);
	assert_int_equal(f->fatal.code, -EIO);
	f->disk.fail_sync_after = -1;
	assert_int_equal(fx_put(f, "a", "3")->err.code, -EIO); /* and stays so */
	assert_int_equal(fx_get(f, "a", 0)->err.code, -EIO);
	assert_int_equal(f->disk.failed_syncs, 1);
	fixture_close(f);
	assert_int_equal(fixture_open(f, NULL), 0);
	a = fx_get(f, "a", 0);
	assert_true(streq(a->kvs[0].value, "1") || streq(a->kvs[0].value, "2"));
}

static void full_disk_is_read_only(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *big = blob_alloc(1u << 20);
	memset(big->data, 'x', big->len);
	fx_put(f, "first", "1");
	f->disk.full = true; /* no room for another segment */
	struct store_op op = {.type = STORE_PUT, .key = "big", .value = big};
	struct store_txn_req t = {.then_ops = &op, .n_then = 1};
	int n = 0;
	while (fx_txn(f, &t)->err.code == 0)
		assert_true(++n < 8);
	assert_true(n > 0);
	assert_int_equal(fx_put(f, "a", "1")->err.code, -ENOSPC);
	assert_true(fx_status(f)->status.read_only);
	assert_int_equal(fx_get(f, "big", 0)->n_kvs, 1);
	f->disk.full = false;
	run_for(f, 2000000);
	assert_false(fx_status(f)->status.read_only);
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	assert_false(f->stopped);
}

static void count_error(void *arg, const struct err *err, _unused_ const struct store_txn_resp *resp)
{
	*(int *)arg += err && err->code == -ECANCELED;
}

/* A call that waits for room on the disk is answered when the store is closed meanwhile. */
static void closing_answers_all(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *big = blob_alloc(1u << 20);
	memset(big->data, 'x', big->len);
	struct store_op op = {.type = STORE_PUT, .key = "big", .value = big};
	struct store_txn_req t = {.then_ops = &op, .n_then = 1};
	f->disk.full = true;
	int canceled = 0;
	for (int i = 0; i < 12; i++)
		store_txn(f->store, &t, count_error, &canceled);
	struct store_op get = {.type = STORE_GET, .key = "big"};
	run_for(f, 100000);
	fixture_close(f);
	assert_true(canceled > 0);
	f->disk.full = false;
	assert_int_equal(fixture_open(f, NULL), 0);
	assert_int_equal(fx_txn(f, &(struct store_txn_req){.then_ops = &get, .n_then = 1})->err.code, 0);
}

static int no_room_for_the_state(_unused_ void *arg, enum failpoint p)
{
	return p == FAILPOINT_STATE_BEGIN ? -ENOSPC : 0;
}

/* The state waits for room, and writes wait for the state: closing waits for neither, and the log has everything. */
static void closing_with_a_full_state(void **state)
{
	struct fixture *f = *state;
	struct engine *e = engine_of(f->store);
	assert_int_equal(fx_put(f, "a", "1")->err.code, 0);
	failpoints_set_handler(no_room_for_the_state, NULL);
	writer__flush(e);
	e->state_pending_bytes = ENGINE_STATE_LAG_MAX + 1;
	_cleanup_blob_ struct blob *b = blob_new("2", 1);
	struct store_op op = {.type = STORE_PUT, .key = "b", .value = b};
	int canceled = 0;
	store_txn(f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, count_error, &canceled);
	run_for(f, 1500000);
	assert_true(fx_status(f)->status.read_only);
	assert_int_equal(canceled, 0);
	fixture_close(f);
	assert_int_equal(canceled, 1);
	failpoints_set_handler(NULL, NULL);
	assert_int_equal(fixture_open(f, NULL), 0);
	assert_string_equal(fx_get(f, "a", 0)->kvs[0].value, "1");
	assert_int_equal(fx_put(f, "b", "2")->err.code, 0);
}

/* A piece of a compaction that took long is followed by a smaller one, and by a longer pause; but it looks at as many
 * versions as are written. */
static void compaction_gives_way(void **state)
{
	struct fixture *f = *state;
	struct engine *e = engine_of(f->store);
	assert_int_equal(writer__next_piece(1000, 5001), 500);
	assert_int_equal(writer__next_piece(150, 70000), 100);
	assert_int_equal(writer__next_piece(100, 3000), 100);
	assert_int_equal(writer__next_piece(100, 1000), 200);
	assert_int_equal(writer__next_piece(1000, 0), 1000);
	e->compact_rows = 1;
	for (int i = 0; i < 50; i++)
		fx_put(f, "k", "v");
	writer__flush(e);
	run_for(f, 100000);
	assert_true(e->batch.compact_rows >= 50);
}

static void log_is_dropped(void **state)
{
	struct fixture *f = *state;
	_cleanup_blob_ struct blob *v = blob_alloc(512u << 10);
	memset(v->data, 'x', v->len);
	struct store_op op = {.type = STORE_PUT, .key = "a", .value = v};
	for (int i = 0; i < 100; i++)
		assert_int_equal(fx_txn(f, &(struct store_txn_req){.then_ops = &op, .n_then = 1})->err.code, 0);
	run_for(f, 60000000);
	struct store_status st = fx_status(f)->status;
	assert_true(st.log_bytes <= 4 * (4u << 20));
	assert_true(st.bytes_written > 100 * (512u << 10));
	fixture_close(f);
	assert_int_equal(fixture_open(f, NULL), 0);
	assert_int_equal(fx_get(f, "a", 0)->kvs[0].version, 100);
}

static void prefix_end(_unused_ void **state)
{
	_cleanup_free_ char *a = store_prefix_end("a/"), *b = store_prefix_end("a\xff"), *c = store_prefix_end("\xff");
	assert_string_equal(a, "a0");
	assert_string_equal(b, "b");
	assert_string_equal(c, "");
}

/* The oldest revisions go where they take too much room, and not before. */
static void history_is_bounded_by_size(void **state)
{
	struct fixture *f = *state;
	char value[1001];
	fixture_close(f);
	f->config.history_disk_bytes = 100000;
	f->config.sizes.state_bytes = 4096;
	assert_int_equal(fixture_open(f, NULL), 0);
	memset(value, 'x', 1000);
	value[1000] = '\0';
	for (int i = 0; i < 80; i++)
		fx_put(f, "k", value);
	assert_int_equal(fx_status(f)->status.compacted_rev, 0);
	for (int i = 0; i < 400; i++)
		fx_put(f, "k", value);
	env_sim_run_for(f->env, 1000000);
	const struct store_status *st = &fx_status(f)->status;
	uint64_t kept = st->rev - st->compacted_rev;
	assert_in_range(kept, 70, 100); /* of about 1,060 bytes each */
	assert_int_equal(fx_get(f, "k", st->rev - 60)->err.code, 0);
	assert_int_equal(fx_get(f, "k", 100)->err.code, -ESTALE);
	assert_true(fx_status(f)->status.state_bytes < 400000);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(put_get_delete),
		T(txn_compares),
		T(txn_is_one_revision),
		T(refused),
		T(ranges),
		T(survives_reopening),
		T(watch_from_a_revision),
		T(watch_catches_up_over_many),
		T(watch_pauses),
		T(watch_ends_itself),
		T(watch_progress),
		T(compaction),
		T(history_is_kept_for_its_time),
		T(history_is_bounded_by_size),
		T(leases),
		T(lazy_writes_share_a_commit),
		T(value_is_shared),
		T(one_process_only),
		T(failed_sync_stops),
		T(closing_with_a_full_state),
		T(compaction_gives_way),
		T(full_disk_is_read_only),
		T(closing_answers_all),
		T(log_is_dropped),
		cmocka_unit_test(prefix_end),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
