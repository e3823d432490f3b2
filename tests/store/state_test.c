/* The state's database: its rows come back, and a database of an older format is raised with a copy kept. */
#include <errno.h>
#include <sys/stat.h>

#include "lib/core/file.h"
#include "store/state_internal.h"
#include "tests/support/store/fixture.h"
#include "tests/support/tap.h"

struct box {
	char dir[64], path[96], kept[128];
	struct store_state *state;
	struct store_state_meta meta;
	struct mvcc mvcc;
	struct store_state_member members[8];
	struct store_state_lease leases[8];
	size_t n_members, n_leases;
};

static void box_init(struct box *b)
{
	*b = (struct box){.dir = "/tmp/mini-state-XXXXXX"};
	MUST(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/state.db", b->dir);
	snprintf(b->kept, sizeof(b->kept), "%s/state-before-format-3.db", b->dir);
	mvcc_init(&b->mvcc, 1u << 20);
}

static void box_close(struct box *b)
{
	store_state_close(STEAL(b->state));
	mvcc_done(&b->mvcc);
	mvcc_init(&b->mvcc, 1u << 20);
	b->n_members = b->n_leases = 0;
}

static void box_done(struct box *b)
{
	box_close(b);
	mvcc_done(&b->mvcc);
	rm_rf(b->dir, NULL);
}

static void on_lease(void *arg, const struct store_state_lease *l)
{
	struct box *b = arg;
	b->leases[b->n_leases++] = *l;
}

static void on_member(void *arg, const struct store_state_member *m)
{
	struct box *b = arg;
	b->members[b->n_members++] = *m;
}

static int box_open(struct box *b, struct err *err)
{
	static const struct store_state_callbacks cb = {on_lease, on_member};
	int rc = store_state_open(store_disk_real(), b->path, &b->state, &b->meta, err);
	return rc ? rc : store_state_load(b->state, &b->mvcc, &cb, b, err);
}

static void must_open(struct box *b)
{
	_cleanup_err_ struct err err = ERR_INIT;
	int rc = box_open(b, &err);
	if (rc)
		print_error("%s\n", err.message);
	assert_int_equal(rc, 0);
}

static void run(const char *path, const char *sql)
{
	sqlite3 *db;
	assert_int_equal(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, state__vfs(store_disk_real())),
		SQLITE_OK);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		print_error("%s\n", sqlite3_errmsg(db));
	assert_int_equal(rc, SQLITE_OK);
	sqlite3_close(db);
}

/* As the first version of the program left it. */
static const char format_1[] =
	"PRAGMA journal_mode=WAL;"
	"CREATE TABLE kv(id INTEGER PRIMARY KEY, key BLOB NOT NULL, create_rev INTEGER NOT NULL,"
	" version INTEGER NOT NULL, lease INTEGER NOT NULL, value BLOB);"
	"CREATE INDEX kv_key ON kv(key);"
	"CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);"
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO kv VALUES(2<<20, CAST('a' AS BLOB), 2, 1, 0, CAST('one' AS BLOB));"
	"INSERT INTO kv VALUES(3<<20, CAST('b' AS BLOB), 3, 1, 9, CAST('two' AS BLOB));"
	"INSERT INTO lease VALUES(9, 60);"
	"INSERT INTO meta VALUES('format',1),('cluster',77),('member',5),('applied',12),('applied_term',2),('term',3),"
	"('vote',5),('rev',3),('compacted',1),('compact_done',1048576);";

static void check_content(struct box *b)
{
	const struct mvcc_rev *v = mvcc_get(&b->mvcc, "b", UINT64_MAX);
	assert_non_null(v);
	assert_string_equal(v->value->data, "two");
	assert_int_equal(b->meta.cluster, 77);
	assert_int_equal(b->meta.applied, 12);
	assert_int_equal(b->meta.vote, 5);
	assert_int_equal(b->n_leases, 1);
	assert_false(b->meta.has_membership);
}

static void format_1_is_raised(void **state)
{
	(void)state;
	struct box b;
	struct stat st;
	box_init(&b);
	run(b.path, format_1);
	must_open(&b);
	check_content(&b);
	assert_int_equal(stat(b.kept, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	box_close(&b);
	/* what was kept is of format 1, and whole */
	run(b.kept, "CREATE TEMP TABLE t(v CHECK(v)); INSERT INTO t SELECT value=1 FROM meta WHERE name='format';"
		    "INSERT INTO t SELECT count(*)=2 FROM kv; INSERT INTO t SELECT count(*)=0 FROM sqlite_master WHERE"
		    " name='member'");
	run(b.path, "CREATE TEMP TABLE t(v CHECK(v)); INSERT INTO t SELECT value=3 FROM meta WHERE name='format'");
	/* once only */
	assert_int_equal(unlink(b.kept), 0);
	must_open(&b);
	check_content(&b);
	assert_int_equal(stat(b.kept, &st), -1);
	box_done(&b);
}

static void a_new_one_keeps_nothing(void **state)
{
	(void)state;
	struct box b;
	struct stat st;
	box_init(&b);
	must_open(&b);
	assert_int_equal(b.meta.cluster, 0);
	assert_int_equal(stat(b.kept, &st), -1);
	box_done(&b);
}

/* A crash while the copy is made, or before the format is raised: all of it is done again. */
static void a_copy_cut_short_is_made_again(void **state)
{
	(void)state;
	struct box b;
	box_init(&b);
	run(b.path, format_1);
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", b.kept);
	assert_int_equal(file_write_atomic(tmp, "half", 4, 0600, NULL), 0);
	assert_int_equal(file_write_atomic(b.kept, "older", 5, 0600, NULL), 0);
	must_open(&b);
	check_content(&b);
	assert_false(file_exists(tmp));
	run(b.kept, "CREATE TEMP TABLE t(v CHECK(v)); INSERT INTO t SELECT count(*)=2 FROM kv");
	box_done(&b);
}

static void without_room_for_the_copy_nothing_is_changed(void **state)
{
	(void)state;
	struct box b;
	_cleanup_err_ struct err err = ERR_INIT;
	struct faulty_disk disk;
	box_init(&b);
	run(b.path, format_1);
	struct store_disk *d = faulty_disk_init(&disk);
	disk.fail_sync_after = 0;
	assert_int_equal(store_state_open(d, b.path, &b.state, &b.meta, &err), -EIO);
	run(b.path, "CREATE TEMP TABLE t(v CHECK(v)); INSERT INTO t SELECT value=1 FROM meta WHERE name='format'");
	assert_false(file_exists(b.kept));
	box_done(&b);
}

static void newer_formats_are_refused(void **state)
{
	(void)state;
	struct box b;
	_cleanup_err_ struct err err = ERR_INIT;
	box_init(&b);
	run(b.path, format_1);
	run(b.path, "UPDATE meta SET value=4 WHERE name='format'");
	assert_int_equal(box_open(&b, &err), -EPROTO);
	assert_non_null(strstr(err.message, "format 4, newer than this program knows (3)"));
	assert_false(file_exists(b.kept));
	box_done(&b);
}

static void members_come_back(void **state)
{
	(void)state;
	struct box b;
	box_init(&b);
	must_open(&b);
	struct store_state_member rows[] = {
		{.m = {.id = 7,
		       .name = "one",
		       .peer = "10.0.0.1:6444",
		       .api = "https://10.0.0.1:6443",
		       .role = STORE_ROLE_VOTER,
		       .wish = STORE_ROLE_VOTER},
		 .level = 2},
		{.m = {.id = 3, .name = "two", .role = STORE_ROLE_LEARNER, .wish = STORE_ROLE_NONE}, .removed = true}};
	struct store_state_batch batch = {.state = b.state,
					  .members = rows,
					  .n_members = 2,
					  .meta = {.cluster = 1,
						   .member = 7,
						   .applied = 4,
						   .rev = 1,
						   .has_membership = true,
						   .membership = {.n_members = 2,
								  .n_old = 1,
								  .members = {{7, RAFT_VOTER}, {3, RAFT_LEARNER}},
								  .old = {{7, RAFT_VOTER}}},
						   .level = 2}};
	store_state_write(&batch);
	assert_int_equal(batch.result, 0);
	rows[0].m.peer[3] = '1';
	batch.n_members = 1;
	store_state_write(&batch);
	assert_int_equal(batch.result, 0);
	box_close(&b);
	must_open(&b);
	assert_int_equal(b.n_members, 2);
	assert_int_equal(b.members[0].m.id, 3);
	assert_true(b.members[0].removed);
	assert_int_equal(b.members[0].m.role, STORE_ROLE_LEARNER);
	assert_int_equal(b.members[0].m.wish, STORE_ROLE_NONE);
	assert_string_equal(b.members[1].m.name, "one");
	assert_string_equal(b.members[1].m.peer, "10.1.0.1:6444");
	assert_string_equal(b.members[1].m.api, "https://10.0.0.1:6443");
	assert_int_equal(b.members[1].level, 2);
	assert_false(b.members[1].removed);
	assert_true(b.meta.has_membership);
	assert_int_equal(b.meta.membership.n_members, 2);
	assert_int_equal(b.meta.membership.n_old, 1);
	assert_int_equal(b.meta.membership.members[1].role, RAFT_LEARNER);
	assert_int_equal(b.meta.level, 2);
	box_done(&b);
}

static void write_revs(struct box *b, const char *key, const char *value, uint64_t rev)
{
	_cleanup_blob_ struct blob *v = blob_new(value, strlen(value));
	b->mvcc.rev = rev - 1;
	struct mvcc_rev *put = mvcc_put(&b->mvcc, key, v, 0);
	mvcc_end(&b->mvcc);
	struct store_state_batch batch = {
		.state = b->state, .revs = &put, .n_revs = 1, .checkpoint = true, .meta = {.applied = rev, .rev = rev}};
	store_state_write(&batch);
	assert_int_equal(batch.result, 0);
	assert_true(batch.checkpointed);
}

static int64_t versions_in(const char *path)
{
	sqlite3 *db;
	sqlite3_stmt *q;
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, state__vfs(store_disk_real())), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM kv", -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return n;
}

/* Compaction looks at so many versions in a batch as it was told. */
static void compaction_by_pieces(_unused_ void **state)
{
	struct box b;
	box_init(&b);
	must_open(&b);
	for (uint64_t rev = 2; rev < 12; rev++)
		write_revs(&b, "k", "v", rev);
	struct store_state_batch batch = {
		.state = b.state, .compact_rows = 4, .meta = {.applied = 11, .rev = 11, .compacted = 11}};
	static const int64_t left[] = {7, 3, 1};
	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		store_state_write(&batch);
		assert_int_equal(batch.result, 0);
		assert_int_equal(versions_in(b.path), left[i]);
		assert_int_equal(batch.more_to_compact, i < 2);
	}
	box_done(&b);
}

/* One bit in each page that holds nothing but this letter, of a long value: only the pages' checksums can tell. */
static unsigned flip_bits(const char *path, char letter)
{
	unsigned broken = 0;
	char page[4096];
	FILE *f = fopen(path, "r+");
	assert_non_null(f);
	for (long at = 0; fread(page, sizeof(page), 1, f) == 1; at += (long)sizeof(page)) {
		if (page[4] != letter || memcmp(page + 4, page + 5, sizeof(page) - 5 - STATE_PAGE_RESERVED) != 0)
			continue;
		page[1000] ^= 4;
		fseek(f, at, SEEK_SET);
		assert_int_equal(fwrite(page, sizeof(page), 1, f), 1);
		fseek(f, at + (long)sizeof(page), SEEK_SET);
		broken++;
	}
	fclose(f);
	return broken;
}

/* What a key was before cannot be read: that is no reason to say that it was not there. */
static void an_event_without_its_past_is_an_error(void **state)
{
	(void)state;
	struct box b;
	char value[20001];
	box_init(&b);
	must_open(&b);
	memset(value, 'A', 20000);
	value[20000] = '\0';
	write_revs(&b, "k", value, 2);
	write_revs(&b, "k", "new", 3);
	box_close(&b);
	for (int damaged = 0; damaged < 2; damaged++) {
		if (damaged)
			assert_true(flip_bits(b.path, 'A') > 1);
		struct store_state_query q = {.key = xstrdup("k"), .events = true, .from = 3, .to = 3};
		assert_int_equal(store_state_open(store_disk_real(), b.path, &b.state, &b.meta, NULL), 0);
		assert_int_equal(store_state_reader_open(b.state, &q.reader), 0);
		store_state_read(&q);
		assert_int_equal(q.result, damaged ? -EUCLEAN : 0);
		if (!damaged)
			assert_int_equal(q.n_rows, 2);
		store_state_reader_close(q.reader);
		store_state_query_done(&q);
		store_state_close(STEAL(b.state));
	}
	box_done(&b);
}

/* It failed half-way, of another snapshot: what SQLite left of it must not come into this one. */
static void an_earlier_try_leaves_nothing_in_what_is_adopted(void **state)
{
	(void)state;
	struct box old, b;
	_cleanup_buf_ struct buf wal = BUF_INIT;
	struct store_state_own own = {.cluster = 77, .member = 5, .term = 3, .vote = 5, .level_max = STORE_LEVEL};
	box_init(&old);
	box_init(&b);
	run(b.path, format_1);
	must_open(&b);
	box_close(&b);
	must_open(&old);
	write_revs(&old, "old", "old", 2);
	_cleanup_free_ char *from = xasprintf("%s-wal", old.path), *to = xasprintf("%s-wal", b.path);
	assert_int_equal(file_read(from, 1u << 22, &wal, NULL), 0);
	assert_true(wal.len > 0);
	assert_int_equal(file_write_atomic(to, wal.data, wal.len, 0600, NULL), 0);
	assert_int_equal(store_state_adopt(store_disk_real(), b.path, &own, NULL), 0);
	must_open(&b);
	check_content(&b);
	assert_null(mvcc_get(&b.mvcc, "old", UINT64_MAX));
	box_done(&b);
	box_done(&old);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(format_1_is_raised),
	cmocka_unit_test(a_new_one_keeps_nothing),
	cmocka_unit_test(a_copy_cut_short_is_made_again),
	cmocka_unit_test(without_room_for_the_copy_nothing_is_changed),
	cmocka_unit_test(newer_formats_are_refused),
	cmocka_unit_test(members_come_back),
	cmocka_unit_test(compaction_by_pieces),
	cmocka_unit_test(an_event_without_its_past_is_an_error),
	cmocka_unit_test(an_earlier_try_leaves_nothing_in_what_is_adopted),
};
RUN_TESTS(tests)
