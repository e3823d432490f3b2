#include "store/state.h"
#include "lib/core/failpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>

#include "lib/core/log.h"
#include "store/bugs.h"
#include "store/state_internal.h"

#define CACHE_KIB 16384 /* while a batch is written; nothing stays */

struct store_state {
	sqlite3 *db;
	char *path;
	struct store_disk *disk;
	sqlite3_stmt *put, *meta, *lease_put, *lease_del, *member_put, *compact_list, *compact_older, *compact_one;
	uint64_t compact_done; /* superseded versions up to here are gone */
};

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS kv(id INTEGER PRIMARY KEY, key BLOB NOT NULL, create_rev INTEGER NOT NULL,"
	" version INTEGER NOT NULL, lease INTEGER NOT NULL, value BLOB);"
	"CREATE INDEX IF NOT EXISTS kv_key ON kv(key);"
	"CREATE TABLE IF NOT EXISTS lease(id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL,"
	" renewed INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE IF NOT EXISTS member(id INTEGER PRIMARY KEY, name TEXT NOT NULL, peer TEXT NOT NULL, api TEXT NOT NULL,"
	" role INTEGER NOT NULL, wish INTEGER NOT NULL, level INTEGER NOT NULL, removed INTEGER NOT NULL);"
	"CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

int state__error(sqlite3 *db)
{
	switch (sqlite3_errcode(db)) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
		return -EBUSY;
	default:
		return sqlite3_system_errno(db) == ENOSPC ? -ENOSPC : -EIO;
	}
}

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : state__error(db);
}

int state__open_db(struct store_disk *disk, const char *path, int flags, int cache_kib, sqlite3 **ret)
{
	sqlite3 *db = NULL;
	const char *vfs = state__vfs(disk);
	int rc = vfs ? sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, vfs) : SQLITE_NOMEM;
	if (rc != SQLITE_OK) {
		rc = db ? state__error(db) : -ENOMEM;
		sqlite3_close(db);
		return rc ? rc : -EIO;
	}
	char pragma[64];
	int reserved = STATE_PAGE_RESERVED; /* in a new database; one that there is keeps what it has */
	snprintf(pragma, sizeof(pragma), "PRAGMA page_size=%u; PRAGMA cache_size=-%d", STATE_PAGE, cache_kib);
	sqlite3_busy_timeout(db, 5000);
	sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
	sqlite3_exec(db, pragma, NULL, NULL, NULL);
	*ret = db;
	return 0;
}

static int take_membership(sqlite3_stmt *q, struct store_state_meta *m)
{
	const void *data = sqlite3_column_blob(q, 1);
	m->has_membership = true;
	if (!sqlite3_column_bytes(q, 1))
		return 0;
	return raft_membership_decode(data, (size_t)sqlite3_column_bytes(q, 1), &m->membership, NULL, NULL);
}

int state__read_meta(sqlite3 *db, struct store_state_meta *m, uint64_t *ret_compact_done)
{
	struct {
		const char *name;
		uint64_t *to;
	} fields[] = {{"cluster", &m->cluster},     {"member", &m->member},
		      {"applied", &m->applied},     {"term", &m->term},
		      {"vote", &m->vote},           {"rev", &m->rev},
		      {"compacted", &m->compacted}, {"applied_term", &m->applied_term},
		      {"level", &m->level},         {"compact_done", ret_compact_done}};
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(db, "SELECT name, value FROM meta", -1, &q, NULL) != SQLITE_OK)
		return state__error(db);
	int rc = 0;
	while (!rc && sqlite3_step(q) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(q, 0);
		for (size_t i = 0; i < ARRAY_LEN(fields); i++)
			if (streq(name, fields[i].name))
				*fields[i].to = (uint64_t)sqlite3_column_int64(q, 1);
		if (streq(name, "alarm"))
			snprintf(m->alarm, sizeof(m->alarm), "%s", (const char *)sqlite3_column_text(q, 1));
		if (streq(name, "membership"))
			rc = take_membership(q, m);
	}
	int end = sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(db);
	return rc ? rc : end;
}

/* 0: it is a new database. */
static int read_format(sqlite3 *db, uint64_t *ret)
{
	sqlite3_stmt *q = NULL;
	*ret = 0;
	if (sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE name='format'", -1, &q, NULL) != SQLITE_OK)
		return sqlite3_errcode(db) == SQLITE_ERROR ? 0 : state__error(db); /* no such table */
	if (sqlite3_step(q) == SQLITE_ROW)
		*ret = (uint64_t)sqlite3_column_int64(q, 0);
	return sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(db);
}

static int prepare_all(struct store_state *st)
{
	struct {
		sqlite3_stmt **to;
		const char *sql;
	} all[] = {
		{&st->put, "INSERT INTO kv VALUES(?,?,?,?,?,?)"},
		{&st->meta, "INSERT OR REPLACE INTO meta VALUES(?,?)"},
		{&st->lease_put, "INSERT OR REPLACE INTO lease(id, ttl, renewed) VALUES(?,?,?)"},
		{&st->lease_del, "DELETE FROM lease WHERE id=?"},
		{&st->member_put, "INSERT OR REPLACE INTO member VALUES(?,?,?,?,?,?,?,?)"},
		{&st->compact_list, "SELECT id, key, value IS NULL FROM kv WHERE id>? AND id<=? ORDER BY id LIMIT ?"},
		{&st->compact_older, "DELETE FROM kv WHERE key=? AND id<?"},
		{&st->compact_one, "DELETE FROM kv WHERE id=?"},
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (sqlite3_prepare_v3(st->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].to, NULL) != SQLITE_OK)
			return state__error(st->db);
	return 0;
}

static int write_again(struct store_disk *disk, struct store_file *f)
{
	enum { PIECE = 262144 };
	_cleanup_free_ char *buf = xmalloc(PIECE);
	int64_t size = disk->ops->size(f);
	int rc = size < 0 ? (int)size : 0;
	for (int64_t off = 0; !rc && off < size; off += PIECE) {
		int64_t n = disk->ops->pread(f, buf, (size_t)MIN(size - off, (int64_t)PIECE), (uint64_t)off);
		rc = n < 0 ? (int)n : n == 0 ? -EIO : disk->ops->pwrite(f, buf, (size_t)n, (uint64_t)off);
	}
	if (!rc)
		rc = failpoint_error(STATE_SETTLE);
	return rc ? rc : disk->ops->sync(f) ? -EIO : 0;
}

/* A sync that failed before this start has left pages that count as clean and are not on the disk: SQLite would take its
 * log for durable, and a power cut would later bring back the beginning of it over a newer database. What the database
 * itself lacks is in the log, and is moved there again. */
static int settle_wal(struct store_disk *disk, const char *path)
{
	struct store_file *f = NULL;
	_cleanup_free_ char *wal = xasprintf("%s-wal", path);
	int rc = disk->ops->open(disk, wal, false, &f);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (!BUG(BUG_TAIL_UNSETTLED))
		rc = write_again(disk, f);
	disk->ops->close(f);
	return rc;
}

/* SQLite would make it readable for all; its -wal and -shm take the mode from it. */
static int make_private(struct store_disk *disk, const char *path)
{
	struct store_file *f = NULL;
	int rc = disk->ops->open(disk, path, false, &f);
	if (rc == -ENOENT)
		rc = disk->ops->open(disk, path, true, &f);
	if (!rc)
		disk->ops->close(f);
	return rc;
}

/* The old one stays beside it, for whoever has to go back to the older program. */
static int keep_old(struct store_state *st, uint64_t format)
{
	_cleanup_free_ char *to = xasprintf("%.*sstate-before-format-%d.db",
					    (int)(strrchr(st->path, '/') - st->path + 1), st->path, STORE_STATE_FORMAT);
	int rc = state__copy_durably(st->disk, st->path, to);
	if (!rc)
		log_info(
			"store",
			"the state's format is raised from %" PRIu64
			" to %d. The state as it was is kept in %s. To go back to the older program (losing what is "
			"written from now on): stop, put that file in place of %s, remove that one's -wal and -shm and the "
			"folder log/ beside it",
			format, STORE_STATE_FORMAT, to, st->path);
	return rc;
}

static int take_format(struct store_state *st, struct err *err)
{
	uint64_t format = 0;
	int rc = read_format(st->db, &format);
	if (rc)
		return rc;
	if (format > STORE_STATE_FORMAT)
		return err_set(err, -EPROTO,
			       "%s has format %" PRIu64 ", newer than this program knows (%d): use the newer program",
			       st->path, format, STORE_STATE_FORMAT);
	if (format && format < STORE_STATE_FORMAT)
		rc = keep_old(st, format);
	if (!rc)
		rc = run(st->db, "BEGIN IMMEDIATE");
	if (!rc)
		rc = run(st->db, schema);
	if (!rc && format == 1)
		rc = run(st->db, "ALTER TABLE lease ADD COLUMN renewed INTEGER NOT NULL DEFAULT 0");
	if (!rc && format && format < STORE_STATE_FORMAT)
		rc = run(st->db, "UPDATE meta SET value=3 WHERE name='format'");
	_Static_assert(STORE_STATE_FORMAT == 3, "the statement above says so too");
	if (!rc && !format)
		rc = run(st->db, "PRAGMA application_id=0x6d696e69");
	_Static_assert(STATE_APP_ID == 0x6d696e69, "the statement above says so too");
	return rc ? rc : run(st->db, "COMMIT");
}

void store_state_condemn(struct store_state *st)
{
	struct store_file *f = NULL;
	_cleanup_free_ char *mark = xasprintf("%s-damaged", st->path);
	_cleanup_free_ char *dir = xstrndup(st->path, (size_t)(strrchr(st->path, '/') - st->path));
	if (st->disk->ops->open(st->disk, mark, true, &f) == 0)
		st->disk->ops->close(f);
	st->disk->ops->sync_dir(st->disk, dir);
}

static const char *how_on(int rc)
{
	return rc == -EUCLEAN ? ". Restore the store from a snapshot" : "";
}

static int check_condemned(struct store_disk *disk, const char *path, struct err *err)
{
	struct store_file *f = NULL;
	_cleanup_free_ char *mark = xasprintf("%s-damaged", path);
	int rc = disk->ops->open(disk, mark, false, &f);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	disk->ops->close(f);
	return err_set(err, -EUCLEAN, "the state %s was found damaged while it was in use%s", path, how_on(-EUCLEAN));
}

int store_state_open(struct store_disk *disk, const char *path, struct store_state **ret, struct store_state_meta *meta,
		     struct err *err)
{
	struct store_state *st = NEW(struct store_state);
	struct store_state_meta m = {0};
	_cleanup_err_ struct err why = ERR_INIT;
	st->path = xstrdup(path);
	st->disk = disk;
	int rc = check_condemned(disk, path, &why);
	if (!rc)
		rc = make_private(disk, path);
	if (!rc)
		rc = settle_wal(disk, path);
	if (!rc)
		rc = state__open_db(disk, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, CACHE_KIB, &st->db);
	if (!rc)
		rc = run(st->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
				 "PRAGMA journal_size_limit=4194304;");
	if (!rc)
		rc = take_format(st, &why);
	if (!rc)
		rc = state__read_meta(st->db, &m, &st->compact_done);
	if (!rc)
		rc = prepare_all(st);
	if (rc) {
		if (why.code)
			err_set(err, rc, "%s", why.message);
		else
			err_set(err, rc, "cannot open the state %s: %s%s", path,
				st->db && state__error(st->db) ? sqlite3_errmsg(st->db) : strerror(-rc), how_on(rc));
		store_state_close(st);
		return rc;
	}
	*meta = m;
	*ret = st;
	return 0;
}

void store_state_close(struct store_state *st)
{
	if (!st)
		return;
	sqlite3_stmt *all[] = {st->put,        st->meta,         st->lease_put,     st->lease_del,
			       st->member_put, st->compact_list, st->compact_older, st->compact_one};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		sqlite3_finalize(all[i]);
	sqlite3_close(st->db);
	free(st->path);
	free(st);
}

static const char latest_sql[] =
	"SELECT k.key, k.id, k.create_rev, k.version, k.lease, k.value FROM"
	" (SELECT max(id) AS m FROM kv GROUP BY key) AS l JOIN kv AS k ON k.id = l.m WHERE k.value IS NOT NULL";

struct store_state_row state__row(sqlite3_stmt *q, bool with_value)
{
	struct store_state_row r = {
		.key = xstrndup(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0)),
		.mod_rev = (uint64_t)sqlite3_column_int64(q, 1) >> STORE_SUB_BITS,
		.create_rev = (uint64_t)sqlite3_column_int64(q, 2),
		.version = (uint64_t)sqlite3_column_int64(q, 3),
		.lease = (uint64_t)sqlite3_column_int64(q, 4),
	};
	if (with_value && sqlite3_column_type(q, 5) != SQLITE_NULL)
		r.value = blob_new(sqlite3_column_blob(q, 5), (size_t)sqlite3_column_bytes(q, 5));
	return r;
}

static int each_latest(struct store_state *st, int (*fn)(void *arg, struct store_state_row *r), void *arg)
{
	sqlite3_stmt *q = NULL;
	if (sqlite3_prepare_v2(st->db, latest_sql, -1, &q, NULL) != SQLITE_OK)
		return state__error(st->db);
	int rc = 0;
	while (!rc && sqlite3_step(q) == SQLITE_ROW) {
		struct store_state_row r = state__row(q, true);
		rc = fn(arg, &r);
		free(r.key);
		blob_unref(r.value);
	}
	int end = sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(st->db);
	return rc ? rc : end;
}

static int load_row(void *arg, struct store_state_row *r)
{
	mvcc_load(arg, r->key, r->mod_rev, r->create_rev, r->version, r->lease, r->value);
	return 0;
}

static int load_leases(struct store_state *st, const struct store_state_callbacks *cb, void *arg)
{
	sqlite3_stmt *q = NULL;
	if (!cb->on_lease)
		return 0;
	if (sqlite3_prepare_v2(st->db, "SELECT id, ttl, renewed FROM lease ORDER BY id", -1, &q, NULL) != SQLITE_OK)
		return state__error(st->db);
	while (sqlite3_step(q) == SQLITE_ROW)
		cb->on_lease(arg, &(struct store_state_lease){.id = (uint64_t)sqlite3_column_int64(q, 0),
							      .ttl_s = (uint64_t)sqlite3_column_int64(q, 1),
							      .renewed = (uint64_t)sqlite3_column_int64(q, 2)});
	return sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(st->db);
}

static void column_string(sqlite3_stmt *q, int i, char *ret, size_t size)
{
	const char *s = (const char *)sqlite3_column_text(q, i);
	snprintf(ret, size, "%s", s ? s : "");
}

static int load_members(struct store_state *st, const struct store_state_callbacks *cb, void *arg)
{
	sqlite3_stmt *q = NULL;
	if (!cb->on_member)
		return 0;
	if (sqlite3_prepare_v2(st->db, "SELECT id, name, peer, api, role, wish, level, removed FROM member ORDER BY id",
			       -1, &q, NULL) != SQLITE_OK)
		return state__error(st->db);
	while (sqlite3_step(q) == SQLITE_ROW) {
		struct store_state_member m = {.m = {.id = (uint64_t)sqlite3_column_int64(q, 0),
						     .role = (enum store_role)sqlite3_column_int(q, 4),
						     .wish = (enum store_role)sqlite3_column_int(q, 5)},
					       .level = (uint64_t)sqlite3_column_int64(q, 6),
					       .removed = sqlite3_column_int(q, 7) != 0};
		column_string(q, 1, m.m.name, sizeof(m.m.name));
		column_string(q, 2, m.m.peer, sizeof(m.m.peer));
		column_string(q, 3, m.m.api, sizeof(m.m.api));
		cb->on_member(arg, &m);
	}
	return sqlite3_finalize(q) == SQLITE_OK ? 0 : state__error(st->db);
}

int store_state_load(struct store_state *st, struct mvcc *m, const struct store_state_callbacks *cb, void *arg,
		     struct err *err)
{
	int rc = each_latest(st, load_row, m);
	if (!rc)
		rc = load_leases(st, cb, arg);
	if (!rc)
		rc = load_members(st, cb, arg);
	sqlite3_db_release_memory(st->db);
	if (rc)
		return err_set(err, rc, "cannot read the state %s: %s%s", st->path, sqlite3_errmsg(st->db), how_on(rc));
	return 0;
}

struct verify {
	const struct mvcc *m;
	uint64_t n;
	char key[256];
};

static int verify_row(void *arg, struct store_state_row *r)
{
	struct verify *v = arg;
	const struct mvcc_rev *have = mvcc_get(v->m, r->key, UINT64_MAX);
	v->n++;
	if (have && have->value && r->value && have->mod_rev == r->mod_rev && have->version == r->version &&
	    have->create_rev == r->create_rev && have->value->len == r->value->len &&
	    memcmp(have->value->data, r->value->data, r->value->len) == 0)
		return 0;
	snprintf(v->key, sizeof(v->key), "%s", r->key);
	return -EUCLEAN;
}

int store_state_verify(struct store_state *st, const struct mvcc *m, struct err *err)
{
	struct verify v = {.m = m};
	int rc = each_latest(st, verify_row, &v);
	if (rc)
		return err_set(err, rc, "the state differs from memory at key %s", v.key);
	if (v.n != mvcc_count(m, "", ""))
		return err_set(err, -EUCLEAN, "the state has %" PRIu64 " keys, memory %" PRIu64, v.n,
			       mvcc_count(m, "", ""));
	return 0;
}

/* ---- the state lane ---- */

static int step(struct store_state *st, sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);
	int code = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : state__error(st->db);
	sqlite3_reset(q);
	return code;
}

static int put_rev(struct store_state *st, const struct mvcc_rev *v)
{
	sqlite3_stmt *q = st->put;
	int rc = failpoint_error(STATE_ROW);
	if (rc)
		return rc;
	sqlite3_bind_int64(q, 1, (int64_t)(v->mod_rev << STORE_SUB_BITS | v->sub));
	sqlite3_bind_blob(q, 2, v->key->name, (int)strlen(v->key->name), SQLITE_STATIC);
	sqlite3_bind_int64(q, 3, (int64_t)v->create_rev);
	sqlite3_bind_int64(q, 4, (int64_t)v->version);
	sqlite3_bind_int64(q, 5, (int64_t)v->lease);
	if (v->value)
		sqlite3_bind_blob(q, 6, v->value->data, (int)v->value->len, SQLITE_STATIC);
	else
		sqlite3_bind_null(q, 6);
	return step(st, q);
}

static int put_meta(struct store_state *st, const char *name, uint64_t value)
{
	sqlite3_bind_text(st->meta, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st->meta, 2, (int64_t)value);
	return step(st, st->meta);
}

static int put_lease(struct store_state *st, const struct store_state_lease *l)
{
	sqlite3_stmt *q = l->ttl_s ? st->lease_put : st->lease_del;
	int rc = failpoint_error(STATE_LEASE);
	if (rc)
		return rc;
	sqlite3_bind_int64(q, 1, (int64_t)l->id);
	if (l->ttl_s) {
		sqlite3_bind_int64(q, 2, (int64_t)l->ttl_s);
		sqlite3_bind_int64(q, 3, (int64_t)l->renewed);
	}
	return step(st, q);
}

static int put_member(struct store_state *st, const struct store_state_member *m)
{
	sqlite3_stmt *q = st->member_put;
	sqlite3_bind_int64(q, 1, (int64_t)m->m.id);
	sqlite3_bind_text(q, 2, m->m.name, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 3, m->m.peer, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 4, m->m.api, -1, SQLITE_STATIC);
	sqlite3_bind_int(q, 5, (int)m->m.role);
	sqlite3_bind_int(q, 6, (int)m->m.wish);
	sqlite3_bind_int64(q, 7, (int64_t)m->level);
	sqlite3_bind_int(q, 8, m->removed);
	return step(st, q);
}

static int put_alarm(struct store_state *st, const char *text)
{
	sqlite3_bind_text(st->meta, 1, "alarm", -1, SQLITE_STATIC);
	sqlite3_bind_text(st->meta, 2, text, -1, SQLITE_STATIC);
	return step(st, st->meta);
}

static int put_membership(struct store_state *st, const struct store_state_meta *m)
{
	char data[RAFT_MEMBERSHIP_BYTES_MAX];
	if (!m->has_membership)
		return 0;
	size_t n = m->membership.n_members ? raft_membership_encode(&m->membership, data) : 0;
	sqlite3_bind_text(st->meta, 1, "membership", -1, SQLITE_STATIC);
	sqlite3_bind_blob(st->meta, 2, data, (int)n, SQLITE_STATIC);
	return step(st, st->meta);
}

/* At most one version per key at or before compact_done is left, and never a deletion; so looking at the versions since
 * then, in order, finds everything that may go. */
static int compact_piece(struct store_state *st, uint64_t upto, unsigned rows, bool *ret_more)
{
	sqlite3_stmt *q = st->compact_list;
	sqlite3_bind_int64(q, 1, (int64_t)st->compact_done);
	sqlite3_bind_int64(q, 2, (int64_t)(upto << STORE_SUB_BITS | STORE_SUB_MAX));
	sqlite3_bind_int64(q, 3, rows);
	uint64_t done = st->compact_done;
	unsigned n = 0;
	int rc = failpoint_error(STATE_COMPACT);
	while (!rc && sqlite3_step(q) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(q, 0);
		n++;
		sqlite3_bind_blob(st->compact_older, 1, sqlite3_column_blob(q, 1), sqlite3_column_bytes(q, 1),
				  SQLITE_TRANSIENT);
		sqlite3_bind_int64(st->compact_older, 2, id);
		if (!BUG(BUG_COMPACTION_REVIVES) || !sqlite3_column_int(q, 2))
			rc = step(st, st->compact_older);
		if (!rc && sqlite3_column_int(q, 2)) {
			sqlite3_bind_int64(st->compact_one, 1, id);
			rc = step(st, st->compact_one);
		}
		done = (uint64_t)id;
	}
	sqlite3_reset(q);
	if (rc)
		return rc;
	*ret_more = n == rows;
	if (!*ret_more)
		done = upto << STORE_SUB_BITS | STORE_SUB_MAX;
	st->compact_done = done;
	return put_meta(st, "compact_done", done);
}

static int write_all(struct store_state *st, struct store_state_batch *b)
{
	int rc = 0;
	if (BUG(BUG_APPLIED_NOT_ATOMIC)) {
		rc = put_meta(st, "applied", b->meta.applied);
		if (!rc)
			rc = run(st->db, "COMMIT; BEGIN IMMEDIATE");
	}
	for (size_t i = 0; !rc && i < b->n_revs; i++)
		rc = put_rev(st, b->revs[i]);
	for (size_t i = 0; !rc && i < b->n_leases; i++)
		rc = put_lease(st, &b->leases[i]);
	for (size_t i = 0; !rc && i < b->n_members; i++)
		rc = put_member(st, &b->members[i]);
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {{"format", STORE_STATE_FORMAT},
		      {"cluster", b->meta.cluster},
		      {"member", b->meta.member},
		      {"applied", b->meta.applied},
		      {"term", b->meta.term},
		      {"vote", b->meta.vote},
		      {"rev", b->meta.rev},
		      {"compacted", b->meta.compacted},
		      {"applied_term", b->meta.applied_term},
		      {"level", b->meta.level}};
	for (size_t i = 0; !rc && i < ARRAY_LEN(fields); i++)
		rc = put_meta(st, fields[i].name, fields[i].value);
	if (!rc && !(BUG(BUG_CONFIG_NOT_STORED) && b->meta.applied))
		rc = put_membership(st, &b->meta);
	if (!rc)
		rc = put_alarm(st, b->meta.alarm);
	if (!rc && (b->meta.compacted << STORE_SUB_BITS | STORE_SUB_MAX) > st->compact_done && b->meta.compacted)
		rc = compact_piece(st, b->meta.compacted, b->compact_rows ? b->compact_rows : STORE_COMPACT_ROWS,
				   &b->more_to_compact);
	return rc;
}

static void checkpoint(struct store_state *st, struct store_state_batch *b)
{
	int frames = 0, moved = 0;
	b->result = failpoint_error(STATE_CHECKPOINT_BEFORE);
	if (b->result)
		return;
	/* PASSIVE may leave frames behind while a reader needs them; then it is tried again with a later batch */
	if (sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &moved) != SQLITE_OK) {
		int rc = state__error(st->db);
		if (rc != -EBUSY)
			b->result = rc;
		return;
	}
	b->checkpointed = frames == moved;
	b->written += (uint64_t)(moved > 0 ? moved : 0) * 4096;
	failpoint(STATE_CHECKPOINT_AFTER);
}

uint64_t store_state_bytes(struct store_state *st)
{
	sqlite3_file *f = NULL;
	sqlite3_int64 size = 0;
	if (sqlite3_file_control(st->db, "main", SQLITE_FCNTL_FILE_POINTER, &f) == SQLITE_OK && f->pMethods)
		f->pMethods->xFileSize(f, &size);
	return (uint64_t)size;
}

void store_state_write(struct store_state_batch *b)
{
	struct store_state *st = b->state;
	uint64_t compact_done = st->compact_done;
	int pages = 0, high = 0;
	b->more_to_compact = b->checkpointed = false;
	b->written = 0;
	b->result = failpoint_error(STATE_BEGIN);
	if (!b->result)
		b->result = run(st->db, "BEGIN IMMEDIATE");
	if (!b->result)
		b->result = write_all(st, b);
	if (!b->result)
		b->result = failpoint_error(STATE_COMMIT_BEFORE);
	if (!b->result)
		b->result = run(st->db, "COMMIT");
	if (!b->result) {
		failpoint(STATE_COMMIT_AFTER);
		sqlite3_db_status(st->db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &high, 1);
		b->written += (uint64_t)pages * 4120;
		if (b->checkpoint)
			checkpoint(st, b);
	}
	if (b->result) {
		snprintf(b->message, sizeof(b->message), "%s", sqlite3_errmsg(st->db));
		run(st->db, "ROLLBACK");
		st->compact_done = compact_done;
	}
	b->file_bytes = store_state_bytes(st);
	sqlite3_db_release_memory(st->db);
}

/* All frames of the write-ahead log are in the file itself, and durable there. */
static int settle(sqlite3 *db)
{
	int left = 0, moved = 0;
	if (sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &left, &moved) != SQLITE_OK)
		return state__error(db) ? state__error(db) : -EIO;
	return 0;
}

int store_state_settle(struct store_state *st)
{
	return settle(st->db);
}

static int set_own(struct store_state *st, const struct store_state_own *own)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {{"cluster", own->cluster}, {"member", own->member}, {"term", own->term}, {"vote", own->vote}};
	int rc = run(st->db, "BEGIN IMMEDIATE");
	for (size_t i = 0; !rc && i < ARRAY_LEN(fields); i++)
		rc = put_meta(st, fields[i].name, fields[i].value);
	if (!rc && own->alone) {
		rc = run(st->db, "DELETE FROM member; DELETE FROM meta WHERE name='alarm'");
		if (!rc)
			rc = put_membership(
				st, &(struct store_state_meta){
					    .has_membership = true,
					    .membership = {.n_members = 1, .members = {{own->member, RAFT_VOTER}}}});
	}
	return rc ? rc : run(st->db, "COMMIT");
}

int store_state_adopt(struct store_disk *disk, const char *path, const struct store_state_own *own, struct err *err)
{
	struct store_state *st = NULL;
	struct store_state_meta meta;
	_cleanup_free_ char *wal = xasprintf("%s-wal", path), *shm = xasprintf("%s-shm", path);
	/* an earlier try's, that failed or was cut short: SQLite would write it into this one */
	disk->ops->unlink(disk, wal);
	disk->ops->unlink(disk, shm);
	int rc = store_state_open(disk, path, &st, &meta, err);
	if (rc)
		return rc;
	if (meta.level > own->level_max) {
		store_state_close(st);
		return state__level_err(meta.level, own->level_max, err);
	}
	rc = set_own(st, own);
	if (!rc)
		rc = settle(st->db);
	store_state_close(st);
	if (!rc)
		rc = disk->ops->unlink(disk, wal); /* the last one to close it leaves none */
	if (!rc || rc == -ENOENT)
		rc = state__sync_file(disk, path);
	return rc ? err_set(err, rc, "cannot make %s this member's own: %s", path, strerror(-rc)) : 0;
}

int state__level_err(uint64_t level, uint64_t known, struct err *err)
{
	return err_set(err, -EPROTO,
		       "the cluster's format level is %" PRIu64 ", higher than this program knows (%" PRIu64
		       "): use the newer program",
		       level, known);
}

const char *state__path(const struct store_state *st)
{
	return st->path;
}

struct store_disk *state__disk(const struct store_state *st)
{
	return st->disk;
}
