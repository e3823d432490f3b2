/* Copies of the state: consistent while the store works on, saved and restored, and given to a member that lags. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "lib/core/file.h"
#include "lib/core/snapshot_file.h"
#include "store/cluster.h"
#include "tests/support/store/fixture.h"
#include "tests/support/tap.h"

struct got {
	bool done;
	int code;
	struct store_snapshot *sn;
	struct buf bytes;
};

static bool is_done(void *arg)
{
	return ((struct got *)arg)->done;
}

static void on_made(void *arg, const struct err *err, struct store_snapshot *sn)
{
	struct got *g = arg;
	g->done = true;
	g->code = err ? err->code : 0;
	g->sn = sn;
}

static void on_read(void *arg, const struct err *err, const void *data, size_t len)
{
	struct got *g = arg;
	g->done = true;
	g->code = err ? err->code : 0;
	buf_add(&g->bytes, data, len);
}

static void wait_for(struct fixture *f, struct got *g)
{
	assert_true(env_sim_run_until(f->env, is_done, g, 60000000));
	g->done = false;
}

/* All of it, in pieces of n bytes. */
static void read_all(struct fixture *f, struct got *g, size_t n)
{
	buf_clear(&g->bytes);
	for (size_t had = 1; had;) {
		size_t before = g->bytes.len;
		store_snapshot_read(g->sn, before, n, on_read, g);
		wait_for(f, g);
		assert_int_equal(g->code, 0);
		had = g->bytes.len - before;
	}
	assert_int_equal(g->bytes.len, g->sn->size);
}

static void save(struct fixture *f, struct got *g, const char *file)
{
	*g = (struct got){0};
	store_snapshot_make(f->store, on_made, g);
	wait_for(f, g);
	assert_int_equal(g->code, 0);
	read_all(f, g, 10000);
	assert_int_equal(file_write_atomic(file, g->bytes.data, g->bytes.len, 0600, NULL), 0);
}

static void ignore_txn(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	(void)arg;
	(void)err;
	(void)resp;
}

static void put_async(struct fixture *f, const char *key, const char *value)
{
	_cleanup_blob_ struct blob *b = blob_new(value, strlen(value));
	struct store_op op = {.type = STORE_PUT, .key = key, .value = b};
	store_txn(f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, ignore_txn, NULL);
}

static void restored(struct fixture *to, struct fixture *from, const char *file)
{
	*to = (struct fixture){.env = env_sim_new(9, 1700000000000000)};
	snprintf(to->dir, sizeof(to->dir), "/tmp/mini-store-XXXXXX");
	assert_non_null(mkdtemp(to->dir));
	to->config = from->config;
	to->config.dir = to->dir;
	to->config.fatal_arg = to;
	_cleanup_err_ struct err err = ERR_INIT;
	int rc = store_restore(to->env, to->config.disk, to->dir, file, &err);
	if (rc)
		print_error("%s\n", err.message);
	assert_int_equal(rc, 0);
	assert_int_equal(fixture_open(to, &err), 0);
}

static void saved_and_restored(void **state)
{
	(void)state;
	struct fixture f, r;
	struct got g;
	fixture_init(&f);
	fx_put(&f, "a", "one");
	fx_put(&f, "b", "two");
	uint64_t rev = fx_put(&f, "a", "three")->rev;
	fx_delete(&f, "b");
	uint64_t lease = fx_lease(&f, f.store->engine->lease_grant, 60)->number;
	struct store_status was = fx_status(&f)->status;
	_cleanup_free_ char *file = xasprintf("%s/saved", f.dir);
	save(&f, &g, file);
	assert_int_equal(g.sn->keys, 1);
	assert_int_equal(g.sn->rev, rev + 1);
	assert_true(g.sn->cluster == was.cluster_id);
	fx_put(&f, "later", "not in it");
	store_snapshot_free(g.sn);
	buf_done(&g.bytes);

	struct snapshot_file_info info;
	assert_int_equal(snapshot_file_verify(file, &info, NULL), 0);
	assert_int_equal(info.keys, 1);
	restored(&r, &f, file);
	const struct answer *a = fx_get(&r, "a", 0);
	assert_int_equal(a->n_kvs, 1);
	assert_string_equal(a->kvs[0].value, "three");
	assert_int_equal(a->kvs[0].mod_rev, rev);
	assert_string_equal(fx_get(&r, "b", rev)->kvs[0].value, "two");
	assert_int_equal(fx_get(&r, "later", 0)->n_kvs, 0);
	assert_int_equal(fx_lease(&r, r.store->engine->lease_keepalive, lease)->number, 60);
	struct store_status is = fx_status(&r)->status;
	assert_true(is.cluster_id != was.cluster_id && is.member_id != was.member_id);
	assert_true(is.is_leader && is.raft_term > info.term);
	assert_int_equal(fx_put(&r, "c", "new")->rev, rev + 2);
	/* and it is a store like any other */
	fixture_close(&r);
	assert_int_equal(fixture_open(&r, NULL), 0);
	assert_string_equal(fx_get(&r, "c", 0)->kvs[0].value, "new");
	fixture_done(&r);
	fixture_done(&f);
}

static void restore_refuses(void **state)
{
	(void)state;
	struct fixture f;
	struct got g;
	_cleanup_err_ struct err err = ERR_INIT;
	fixture_init(&f);
	fx_put(&f, "a", "one");
	_cleanup_free_ char *file = xasprintf("%s/saved", f.dir), *other = xasprintf("%s/other", f.dir);
	save(&f, &g, file);
	store_snapshot_free(g.sn);
	assert_int_equal(store_restore(f.env, f.config.disk, f.dir, file, &err), -EEXIST);
	g.bytes.data[g.bytes.len / 2]++;
	assert_int_equal(file_write_atomic(file, g.bytes.data, g.bytes.len, 0600, NULL), 0);
	assert_int_equal(store_restore(f.env, f.config.disk, other, file, &err), -EUCLEAN);
	assert_false(file_exists(other));
	assert_int_equal(file_write_atomic(file, g.bytes.data, g.bytes.len - 1, 0600, NULL), 0);
	assert_int_equal(store_restore(f.env, f.config.disk, other, file, &err), -EUCLEAN);
	buf_done(&g.bytes);
	fixture_done(&f);
}

/* Each write sets both keys of a pair to one number: whatever moment the copy is of, they agree in it. */
static void consistent_while_written(void **state)
{
	(void)state;
	struct fixture f, r;
	fixture_init(&f);
	fixture_close(&f);
	f.config.sizes.state_bytes = 1;
	assert_int_equal(fixture_open(&f, NULL), 0);
	for (int round = 0; round < 5; round++) {
		struct got g = {0};
		char value[32];
		for (int i = 0; i < 40; i++) {
			snprintf(value, sizeof(value), "%d", round * 1000 + i);
			_cleanup_blob_ struct blob *b = blob_new(value, strlen(value));
			struct store_op ops[] = {{.type = STORE_PUT, .key = "left", .value = b},
						 {.type = STORE_PUT, .key = "right", .value = b}};
			store_txn(f.store, &(struct store_txn_req){.then_ops = ops, .n_then = 2}, ignore_txn, NULL);
			if (i == 20)
				store_snapshot_make(f.store, on_made, &g);
			env_sim_run_for(f.env, 500);
		}
		if (!g.done)
			wait_for(&f, &g);
		assert_int_equal(g.code, 0);
		read_all(&f, &g, 4096);
		_cleanup_free_ char *file = xasprintf("%s/saved-%d", f.dir, round);
		assert_int_equal(file_write_atomic(file, g.bytes.data, g.bytes.len, 0600, NULL), 0);
		restored(&r, &f, file);
		char left[64];
		const struct answer *a = fx_get(&r, "left", 0);
		snprintf(left, sizeof(left), "%s", a->kvs[0].value);
		assert_true(a->rev >= g.sn->rev && a->kvs[0].mod_rev == g.sn->rev);
		assert_string_equal(fx_get(&r, "right", 0)->kvs[0].value, left);
		fixture_done(&r);
		store_snapshot_free(g.sn);
		buf_done(&g.bytes);
	}
	fixture_done(&f);
}

static void outlives_the_store(void **state)
{
	(void)state;
	struct fixture f;
	struct got g = {0}, late = {0};
	fixture_init(&f);
	fx_put(&f, "a", "one");
	store_snapshot_make(f.store, on_made, &g);
	wait_for(&f, &g);
	put_async(&f, "b", "two");
	store_snapshot_make(f.store, on_made, &late);
	fixture_close(&f);
	assert_true(late.done);
	assert_int_equal(late.code, -ECANCELED);
	read_all(&f, &g, 100000);
	store_snapshot_free(g.sn);
	buf_done(&g.bytes);
	fixture_done(&f);
}

/* Each is as large as the state: only so many at a time, and their files go with them. */
static unsigned copies_in(struct fixture *f)
{
	_cleanup_free_ char *path = xasprintf("%s/store", f->dir);
	unsigned n = 0;
	DIR *dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *d; (d = readdir(dir));)
		n += str_starts(d->d_name, "copy-");
	closedir(dir);
	return n;
}

static void only_so_many(void **state)
{
	(void)state;
	struct fixture f;
	struct got g[5] = {0}, again = {0};
	fixture_init(&f);
	fx_put(&f, "a", "1");
	for (size_t i = 0; i < 5; i++)
		store_snapshot_make(f.store, on_made, &g[i]);
	for (size_t i = 0; i < 5; i++)
		wait_for(&f, &g[i]);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(g[i].code, 0);
	assert_int_equal(g[4].code, -EBUSY);
	assert_int_equal(copies_in(&f), 4);
	store_snapshot_free(g[0].sn);
	store_snapshot_make(f.store, on_made, &again);
	wait_for(&f, &again);
	assert_int_equal(again.code, 0);
	store_snapshot_free(again.sn);
	env_sim_run_for(f.env, 100000);
	assert_int_equal(copies_in(&f), 3);
	for (size_t i = 1; i < 3; i++)
		store_snapshot_free(g[i].sn);
	fixture_close(&f); /* the last one outlives the store */
	assert_int_equal(copies_in(&f), 1);
	store_snapshot_free(g[3].sn);
	assert_int_equal(copies_in(&f), 0);
	fixture_done(&f);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(saved_and_restored),
	cmocka_unit_test(restore_refuses),
	cmocka_unit_test(consistent_while_written),
	cmocka_unit_test(outlives_the_store),
	cmocka_unit_test(only_so_many),
};
RUN_TESTS(tests)
