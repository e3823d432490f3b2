/* A member that is behind the dropped log is caught up by a copy of the state, whatever interrupts it. */
#include <dirent.h>
#include <errno.h>

#include "lib/core/failpoint.h"
#include "lib/core/file.h"
#include "store/cluster.h"
#include "store/engine.h"
#include "store/snapshot_internal.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

static int setup(void **state)
{
	struct several *s = NEW(struct several);
	several_init(s);
	for (size_t i = 0; i < 3; i++)
		s->servers[i].f.config.sizes = (struct store_sizes){.log_segment = 16384,
								    .state_bytes = 4096,
								    .state_us = 100000,
								    .checkpoint = 8192,
								    .log_keep = 1,
								    .snapshot_piece = 2048};
	several_found(s, 3);
	*state = s;
	return 0;
}

/* So much that the log does not reach back any more. */
static void write_much(struct several *s, size_t at, char fill)
{
	char key[32], value[2000];
	memset(value, fill, sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "k/%02d", i);
		assert_int_equal(fx_put(&s->servers[at].f, key, value)->err.code, 0);
	}
	several_run(s, 500000);
}

static size_t prepare(struct several *s, size_t *ret_lagging)
{
	size_t leader = several_leader(s);
	*ret_lagging = (leader + 1) % 3;
	fx_put(&s->servers[leader].f, "first", "1");
	assert_true(several_has(s, *ret_lagging, "first", "1"));
	several_stop(s, *ret_lagging);
	write_much(s, leader, 'a');
	fx_put(&s->servers[leader].f, "last", "2");
	return leader;
}

static void check_whole(struct several *s, size_t at, size_t leader)
{
	assert_true(several_has(s, at, "last", "2"));
	const struct answer *a = fx_range(&s->servers[at].f, &(struct store_range_req){.key = "", .end = ""});
	uint64_t rev = a->rev, n = a->count;
	a = fx_range(&s->servers[leader].f, &(struct store_range_req){.key = "", .end = ""});
	assert_int_equal(a->rev, rev);
	assert_int_equal(a->count, n);
	assert_int_equal(n, 62);
}

static bool has_file(struct several *s, size_t at, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/store/%s", s->servers[at].f.dir, name);
	return file_exists(path);
}

static unsigned copies_in(struct several *s, size_t at)
{
	_cleanup_free_ char *path = xasprintf("%s/store", s->servers[at].f.dir);
	unsigned n = 0;
	DIR *dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *d; (d = readdir(dir));)
		n += str_starts(d->d_name, "copy-");
	closedir(dir);
	return n;
}

static void is_caught_up(void **state)
{
	struct several *s = *state;
	size_t lagging, leader = prepare(s, &lagging);
	assert_int_equal(several_start(s, lagging, NULL), 0);
	check_whole(s, lagging, leader);
	/* what it got is its own: it opens again, votes, and leads */
	several_stop(s, lagging);
	assert_int_equal(several_start(s, lagging, NULL), 0);
	several_run(s, 1000000);
	assert_int_equal(several_move(s, leader, lagging + 1), 0);
	several_run(s, 1000000);
	assert_int_equal(several_leader(s), lagging);
	fx_put(&s->servers[lagging].f, "then", "3");
	assert_true(several_has(s, leader, "then", "3"));
	assert_false(has_file(s, lagging, "incoming.db"));
}

static void goes_on_after_a_restart(void **state)
{
	struct several *s = *state;
	size_t lagging, leader = prepare(s, &lagging);
	unsigned interrupted = 0;
	for (int i = 0; i < 12; i++) {
		assert_int_equal(several_start(s, lagging, NULL), 0);
		several_run(s, 20000 + 5000 * (uint64_t)i);
		interrupted += has_file(s, lagging, "incoming.db");
		several_stop(s, lagging);
	}
	assert_true(interrupted > 0);
	assert_int_equal(several_start(s, lagging, NULL), 0);
	check_whole(s, lagging, leader);
}

static void leader_changes_meanwhile(void **state)
{
	struct several *s = *state;
	size_t lagging, leader = prepare(s, &lagging), third = 3 - leader - lagging;
	assert_int_equal(several_start(s, lagging, NULL), 0);
	several_run(s, 30000);
	several_move(s, leader, third + 1);
	several_run(s, 3000000);
	check_whole(s, lagging, several_leader(s));
}

static void watches_go_on(void **state)
{
	struct several *s = *state;
	size_t leader = several_leader(s), lagging = (leader + 1) % 3;
	struct watcher w = {0}, compacted = {0};
	fx_put(&s->servers[leader].f, "w", "1");
	assert_true(several_has(s, lagging, "w", "1"));
	watcher_start(&w, &s->servers[lagging].f, &(struct store_watch_req){.key = "w"});
	several_run(s, 100000);
	s->servers[lagging].cut = true;
	fx_put(&s->servers[leader].f, "w", "2");
	write_much(s, leader, 'b');
	fx_put(&s->servers[leader].f, "w", "3");
	s->servers[lagging].cut = false;
	assert_true(several_has(s, lagging, "w", "3"));
	several_run(s, 1000000);
	assert_non_null(w.log.data);
	assert_non_null(strstr(w.log.data, "+w=2(1)"));
	assert_non_null(strstr(w.log.data, "+w=3(2)"));
	/* the history is gone before it comes back */
	watcher_start(&compacted, &s->servers[lagging].f, &(struct store_watch_req){.key = "w"});
	assert_int_equal(copies_in(s, leader), 1);
	several_run(s, 40000000); /* the copy goes, for which the log was kept */
	assert_int_equal(copies_in(s, leader), 0);
	s->servers[lagging].cut = true;
	fx_put(&s->servers[leader].f, "w", "4");
	write_much(s, leader, 'c');
	uint64_t rev = fx_put(&s->servers[leader].f, "w", "5")->rev;
	assert_int_equal(fx_compact(&s->servers[leader].f, rev)->err.code, 0);
	write_much(s, leader, 'd');
	s->servers[lagging].cut = false;
	assert_true(several_has(s, lagging, "w", "5"));
	several_run(s, 1000000);
	assert_true(compacted.ended);
	assert_int_equal(compacted.end_code, -ESTALE);
	watcher_done(&w);
	watcher_done(&compacted);
}

static void on_made(void *arg, const struct err *err, struct store_snapshot *sn)
{
	int *made = arg;
	*made = err ? -1 : 1;
	store_snapshot_free(sn);
}

struct ask {
	struct store *store;
	int made;
	bool asked;
};

static int ask_meanwhile(void *arg, enum failpoint p)
{
	struct ask *a = arg;
	if (p != FAILPOINT_SNAPSHOT_LEAVE || a->asked)
		return 0;
	a->asked = true;
	store_snapshot_make(a->store, on_made, &a->made);
	return 0;
}

/* The state is closed just then, and another one takes its place. */
static void a_copy_is_asked_for_while_one_is_taken_in(void **state)
{
	struct several *s = *state;
	size_t lagging, leader = prepare(s, &lagging);
	assert_int_equal(several_start(s, lagging, NULL), 0);
	struct ask a = {.store = s->servers[lagging].f.store};
	failpoints_set_handler(ask_meanwhile, &a);
	check_whole(s, lagging, leader);
	several_run(s, 1000000);
	failpoints_set_handler(NULL, NULL);
	assert_true(a.asked);
	assert_int_equal(a.made, 1);
}

/* More than may wait, while the first is on its lane. */
static void pieces_come_too_fast(void **state)
{
	struct several *s = *state;
	size_t lagging, leader = prepare(s, &lagging);
	assert_int_equal(several_start(s, lagging, NULL), 0);
	struct engine *e = engine_of(s->servers[lagging].f.store);
	size_t len = 1u << 20;
	_cleanup_free_ char *data = xcalloc(1, len);
	for (size_t i = 0; i < 65; i++)
		snapshot__chunks(e,
				 &(struct raft_chunk){.id = 5,
						      .index = 1000,
						      .term = 1,
						      .membership = &e->membership,
						      .offset = i * len,
						      .len = len,
						      .data = data},
				 1);
	check_whole(s, lagging, leader);
}

static int no_room(void *arg, enum failpoint p)
{
	struct ask *a = arg;
	if (p != FAILPOINT_SNAPSHOT_RENAME || a->made == 40)
		return 0;
	struct engine *e = engine_of(a->store);
	if (a->made++)
		return -ENOSPC;
	e->batch.n_revs = e->batch.n_leases = e->batch.n_members = 0;
	e->batch.result = -ENOSPC; /* the last one has to be written again */
	writer__changed(e, 1);
	return -ENOSPC;
}

/* The disk is full: the state's writer waits for room, and the copy cannot take the state's place. Both try again. */
static void the_writer_waits_while_a_copy_fails(void **state)
{
	struct several *s = *state;
	size_t leader = several_leader(s), lagging = (leader + 1) % 3;
	fx_put(&s->servers[leader].f, "first", "1");
	assert_true(several_has(s, lagging, "first", "1"));
	several_run(s, 1000000);
	s->servers[lagging].cut = true;
	write_much(s, leader, 'a');
	fx_put(&s->servers[leader].f, "last", "2");
	s->servers[lagging].cut = false;
	struct ask a = {.store = s->servers[lagging].f.store};
	failpoints_set_handler(no_room, &a);
	check_whole(s, lagging, several_leader(s));
	several_run(s, 3000000);
	failpoints_set_handler(NULL, NULL);
	assert_int_equal(a.made, 40);
	assert_false(s->servers[lagging].f.stopped);
	several_stop(s, lagging);
	assert_int_equal(several_start(s, lagging, NULL), 0);
	check_whole(s, lagging, several_leader(s));
}

/* Leases come with their keys, and what the copy has replaced is let go of. */
static void leases_come_along(void **state)
{
	struct several *s = *state;
	size_t leader = several_leader(s), lagging = (leader + 1) % 3;
	struct engine *e = engine_of(s->servers[lagging].f.store);
	struct fixture *f = &s->servers[leader].f;
	uint64_t lease = fx_lease(f, f->store->engine->lease_grant, 600)->number;
	struct blob *value = blob_new("1", 1);
	const struct store_op ops[] = {{.type = STORE_PUT, .key = "leased/a", .value = value, .lease = lease},
				       {.type = STORE_PUT, .key = "leased/b", .value = value, .lease = lease}};
	assert_int_equal(fx_txn(f, &(struct store_txn_req){.then_ops = ops, .n_then = 2})->err.code, 0);
	assert_true(several_has(s, lagging, "leased/a", "1"));
	several_run(s, 1000000);
	s->servers[lagging].cut = true;
	write_much(s, leader, 'a');
	blob_unref(value);
	fx_put(f, "last", "2");
	s->servers[lagging].cut = false;
	assert_true(several_has(s, lagging, "last", "2"));
	several_run(s, 1000000);
	assert_int_equal(e->snapshots->old.keys.n_items + e->snapshots->old_leases.count, 0);
	assert_int_equal(several_move(s, several_leader(s), lagging + 1), 0);
	several_run(s, 1000000);
	assert_int_equal(several_leader(s), lagging);
	f = &s->servers[lagging].f;
	assert_int_equal(fx_lease(f, f->store->engine->lease_revoke, lease)->err.code, 0);
	assert_int_equal(fx_get(f, "leased/a", 0)->n_kvs + fx_get(f, "leased/b", 0)->n_kvs, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, several_teardown)
static const struct CMUnitTest tests[] = {T(is_caught_up),
					  T(goes_on_after_a_restart),
					  T(leader_changes_meanwhile),
					  T(watches_go_on),
					  T(a_copy_is_asked_for_while_one_is_taken_in),
					  T(pieces_come_too_fast),
					  T(the_writer_waits_while_a_copy_fails),
					  T(leases_come_along)};
RUN_TESTS(tests)
