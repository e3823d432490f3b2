#include "tests/support/store/fixture.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/core/file.h"

static struct faulty_disk *of_disk(struct store_disk *d)
{
	return CONTAINER_OF(d, struct faulty_disk, disk);
}

/* Files don't know their disk: the one under test is remembered here. */
static struct faulty_disk *current;

static void note(char what)
{
	size_t n = strlen(current->trace);
	if (n == sizeof(current->trace) - 1)
		memmove(current->trace, current->trace + 1, n--);
	current->trace[n] = what;
}

static int64_t faulty_pread(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	return current->unreadable ? -EIO : store_disk_real()->ops->pread(f, buf, len, off);
}

static int faulty_pwrite(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	note('w');
	return store_disk_real()->ops->pwrite(f, buf, len, off);
}

static int faulty_sync_dir(struct store_disk *d, const char *path)
{
	note('d');
	return store_disk_real()->ops->sync_dir(d, path);
}

static int faulty_sync(struct store_file *f)
{
	note('s');
	current->syncs++;
	if (current->fail_sync_after == 0) {
		current->failed_syncs++;
		return -EIO;
	}
	if (current->fail_sync_after > 0)
		current->fail_sync_after--;
	return current->no_sync ? 0 : store_disk_real()->ops->sync(f);
}

static int faulty_preallocate(struct store_file *f, uint64_t size)
{
	return current->full ? -ENOSPC : store_disk_real()->ops->preallocate(f, size);
}

static int faulty_mkdir(struct store_disk *d, const char *path)
{
	current = of_disk(d);
	return store_disk_real()->ops->mkdir(d, path);
}

struct store_disk *faulty_disk_init(struct faulty_disk *f)
{
	static struct store_disk_ops ops;
	ops = *store_disk_real()->ops;
	ops.sync = faulty_sync;
	ops.sync_dir = faulty_sync_dir;
	ops.pread = faulty_pread;
	ops.pwrite = faulty_pwrite;
	ops.preallocate = faulty_preallocate;
	ops.mkdir = faulty_mkdir;
	*f = (struct faulty_disk){.disk = {.ops = &ops}, .fail_sync_after = -1};
	current = f;
	return &f->disk;
}

static void on_fatal(void *arg, const struct err *err)
{
	struct fixture *f = arg;
	f->stopped = true;
	err_copy(&f->fatal, err);
}

int fixture_open(struct fixture *f, struct err *err)
{
	return store_open(f->env, &f->config, &f->store, err);
}

void fixture_init(struct fixture *f)
{
	*f = (struct fixture){.env = env_sim_new(7, 1700000000000000)};
	snprintf(f->dir, sizeof(f->dir), "/tmp/mini-store-XXXXXX");
	MUST(mkdtemp(f->dir));
	f->config = (struct store_config){.dir = f->dir,
					  .disk = faulty_disk_init(&f->disk),
					  .read_back = true,
					  .on_fatal = on_fatal,
					  .fatal_arg = f};
	struct err err = ERR_INIT;
	if (fixture_open(f, &err)) {
		fprintf(stderr, "# open: %s\n", err.message);
		abort();
	}
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}
static bool is_true(void *arg)
{
	return *(bool *)arg;
}

void fixture_close(struct fixture *f)
{
	bool closed = false;
	if (!f->store)
		return;
	f->store->engine->close(f->store, set_true, &closed);
	MUST(env_sim_run_until(f->env, is_true, &closed, 60000000));
	f->store = NULL;
}

void fixture_done(struct fixture *f)
{
	fixture_close(f);
	env_sim_free(f->env);
	rm_rf(f->dir, NULL);
	err_done(&f->fatal);
}

static struct answer answer;

static void begin(void)
{
	answer = (struct answer){0};
}

static const struct answer *await(struct fixture *f)
{
	MUST(env_sim_run_until(f->env, is_true, &answer.done, 60000000));
	return &answer;
}

static void take(const struct err *err)
{
	MUST(!answer.done);
	answer.done = true;
	if (err)
		err_copy(&answer.err, err);
}

static size_t take_kvs(__typeof__(answer.kvs[0]) *to, const struct store_kv *kvs, size_t n)
{
	for (size_t i = 0; i < n && i < ARRAY_LEN(answer.kvs); i++) {
		snprintf(to[i].key, sizeof(to[i].key), "%s", kvs[i].key);
		to[i].exists = kvs[i].value != NULL || kvs[i].mod_rev;
		snprintf(to[i].value, sizeof(to[i].value), "%s", kvs[i].value ? kvs[i].value->data : "");
		to[i].create_rev = kvs[i].create_rev;
		to[i].mod_rev = kvs[i].mod_rev;
		to[i].version = kvs[i].version;
	}
	return n;
}

static void on_txn(_unused_ void *arg, const struct err *err, const struct store_txn_resp *r)
{
	take(err);
	if (!r)
		return;
	answer.succeeded = r->succeeded;
	answer.rev = r->rev;
	answer.n_kvs = take_kvs(answer.kvs, r->got, r->n_got);
	answer.n_prev = take_kvs((void *)answer.prev, r->prev, r->n_prev);
}

static void on_range(_unused_ void *arg, const struct err *err, const struct store_range_resp *r)
{
	take(err);
	if (!r)
		return;
	answer.rev = r->rev;
	answer.count = r->count;
	answer.more = r->more;
	answer.n_kvs = take_kvs(answer.kvs, r->kvs, r->n_kvs);
}

static void on_number(_unused_ void *arg, const struct err *err, uint64_t value)
{
	take(err);
	answer.number = value;
}

static void on_status(_unused_ void *arg, const struct err *err, const struct store_status *st)
{
	take(err);
	if (st)
		answer.status = *st;
}

const struct answer *fx_txn(struct fixture *f, const struct store_txn_req *req)
{
	begin();
	store_txn(f->store, req, on_txn, NULL);
	MUST(!answer.done);
	return await(f);
}

const struct answer *fx_put(struct fixture *f, const char *key, const char *value)
{
	_cleanup_blob_ struct blob *b = blob_new(value, strlen(value));
	struct store_op op = {.type = STORE_PUT, .key = key, .value = b};
	return fx_txn(f, &(struct store_txn_req){.then_ops = &op, .n_then = 1});
}

const struct answer *fx_delete(struct fixture *f, const char *key)
{
	struct store_op op = {.type = STORE_DELETE, .key = key};
	return fx_txn(f, &(struct store_txn_req){.then_ops = &op, .n_then = 1});
}

const struct answer *fx_range(struct fixture *f, const struct store_range_req *req)
{
	begin();
	store_range(f->store, req, on_range, NULL);
	MUST(!answer.done);
	return await(f);
}

const struct answer *fx_get(struct fixture *f, const char *key, uint64_t rev)
{
	return fx_range(f, &(struct store_range_req){.key = key, .rev = rev});
}

const struct answer *fx_compact(struct fixture *f, uint64_t rev)
{
	begin();
	f->store->engine->compact(f->store, rev, on_number, NULL);
	return await(f);
}

const struct answer *fx_lease(struct fixture *f, void (*call)(struct store *, uint64_t, store_rev_cb, void *),
			      uint64_t number)
{
	begin();
	call(f->store, number, on_number, NULL);
	return await(f);
}

const struct answer *fx_status(struct fixture *f)
{
	begin();
	f->store->engine->status(f->store, on_status, NULL);
	return await(f);
}

static void on_events(void *arg, uint64_t rev, const struct store_event *events, size_t n)
{
	struct watcher *w = arg;
	MUST(rev > w->last_rev && n > 0);
	w->last_rev = rev;
	buf_addf(&w->log, "%" PRIu64 ":", rev);
	for (size_t i = 0; i < n; i++) {
		const struct store_event *e = &events[i];
		MUST(e->kv.mod_rev == rev);
		if (e->type == STORE_EVENT_PUT)
			buf_addf(&w->log, "+%s=%s", e->kv.key, e->kv.value->data);
		else
			buf_addf(&w->log, "-%s", e->kv.key);
		if (e->prev.value)
			buf_addf(&w->log, "(%s)", e->prev.value->data);
	}
	buf_addc(&w->log, ' ');
	if (w->stop_after_first)
		w->f->store->engine->unwatch(w->f->store, STEAL(w->watch));
}

static void on_progress(void *arg, uint64_t rev)
{
	struct watcher *w = arg;
	MUST(rev >= w->last_rev);
	w->progress = rev;
}

static void on_end(void *arg, const struct err *err)
{
	struct watcher *w = arg;
	w->ended = true;
	w->end_code = err->code;
	w->watch = NULL;
}

void watcher_start(struct watcher *w, struct fixture *f, const struct store_watch_req *req)
{
	static const struct store_watch_ops ops = {on_events, on_progress, on_end};
	w->f = f;
	w->watch = store_watch(f->store, req, &ops, w);
}

void watcher_done(struct watcher *w)
{
	if (w->watch)
		w->f->store->engine->unwatch(w->f->store, STEAL(w->watch));
	buf_done(&w->log);
}
