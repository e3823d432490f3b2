/* Reads of what has left memory: ranges at an old revision, and old events for watches that catch up. */
#include <errno.h>

#include "lib/core/failpoint.h"
#include "store/state_internal.h"

struct store_state_reader {
	sqlite3 *db;
};

int store_state_reader_open(struct store_state *st, struct store_state_reader **ret)
{
	sqlite3 *db;
	int rc = state__open_db(state__disk(st), state__path(st), SQLITE_OPEN_READONLY, 512, &db);
	if (rc)
		return rc;
	struct store_state_reader *r = NEW(struct store_state_reader);
	r->db = db;
	*ret = r;
	return 0;
}

void store_state_reader_close(struct store_state_reader *r)
{
	if (!r)
		return;
	sqlite3_close(r->db);
	free(r);
}

static struct store_state_row *add_row(struct store_state_query *q, struct store_state_row row)
{
	GROW(q->rows, q->cap_rows, q->n_rows + 1);
	q->rows[q->n_rows] = row;
	return &q->rows[q->n_rows++];
}

static int take(struct store_state_query *q, sqlite3_stmt *fetch, int64_t id)
{
	sqlite3_bind_int64(fetch, 1, id);
	if (sqlite3_step(fetch) == SQLITE_ROW && sqlite3_column_type(fetch, 5) != SQLITE_NULL) {
		q->count++;
		if (!q->count_only && (!q->limit || q->n_rows < q->limit))
			add_row(q, state__row(fetch, !q->keys_only));
	}
	return sqlite3_reset(fetch) == SQLITE_OK ? 0 : state__error(q->reader->db);
}

/* The last version of each key at or before the revision: the index alone tells which. */
static int read_range(struct store_state_query *q, sqlite3_stmt *list, sqlite3_stmt *fetch)
{
	sqlite3_bind_int64(list, 3, (int64_t)(q->to << STORE_SUB_BITS | STORE_SUB_MAX));
	int rc = 0;
	while (!rc && sqlite3_step(list) == SQLITE_ROW)
		rc = take(q, fetch, sqlite3_column_int64(list, 0));
	return rc;
}

static int read_events(struct store_state_query *q, sqlite3_stmt *list, sqlite3_stmt *prev)
{
	sqlite3_bind_int64(list, 3, (int64_t)(q->from << STORE_SUB_BITS));
	sqlite3_bind_int64(list, 4, (int64_t)(q->to << STORE_SUB_BITS | STORE_SUB_MAX));
	uint64_t at = 0;
	while (sqlite3_step(list) == SQLITE_ROW) {
		uint64_t rev = (uint64_t)sqlite3_column_int64(list, 1) >> STORE_SUB_BITS;
		if (rev != at && q->limit && q->n_rows >= q->limit) {
			q->next = rev;
			return 0;
		}
		at = rev;
		add_row(q, state__row(list, true));
		sqlite3_bind_blob(prev, 1, sqlite3_column_blob(list, 0), sqlite3_column_bytes(list, 0),
				  SQLITE_TRANSIENT);
		sqlite3_bind_int64(prev, 2, sqlite3_column_int64(list, 1));
		if (sqlite3_step(prev) == SQLITE_ROW)
			add_row(q, state__row(prev, true))->prev = true;
		if (sqlite3_reset(prev) != SQLITE_OK) /* it is not known what was there before, if anything was */
			return state__error(q->reader->db);
	}
	q->next = q->to + 1;
	return 0;
}

static void bind_range(sqlite3_stmt *list, const struct store_state_query *q)
{
	sqlite3_bind_blob(list, 1, q->key, (int)strlen(q->key), SQLITE_STATIC);
	if (!q->end) /* one key: everything up to the key and a NUL, which no key contains */
		sqlite3_bind_blob(list, 2, q->key, (int)strlen(q->key) + 1, SQLITE_STATIC);
	else if (*q->end)
		sqlite3_bind_blob(list, 2, q->end, (int)strlen(q->end), SQLITE_STATIC);
	else
		sqlite3_bind_blob(list, 2, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, SQLITE_STATIC);
}

void store_state_read(struct store_state_query *q)
{
	static const char *const sql[2][2] = {
		{"SELECT max(id) FROM kv INDEXED BY kv_key WHERE key>=? AND key<? AND id<=? GROUP BY key",
		 "SELECT key, id, create_rev, version, lease, value FROM kv WHERE id=?"},
		{"SELECT key, id, create_rev, version, lease, value FROM kv NOT INDEXED"
		 " WHERE key>=? AND key<? AND id>=? AND id<=? ORDER BY id",
		 "SELECT key, id, create_rev, version, lease, value FROM kv INDEXED BY kv_key"
		 " WHERE key=? AND id<? ORDER BY id DESC LIMIT 1"}};
	if (!q->reader) { /* the state could not be opened again, and the store has stopped */
		q->result = -EIO;
		return;
	}
	sqlite3 *db = q->reader->db;
	sqlite3_stmt *list = NULL, *other = NULL;
	int rc = failpoint_error(STATE_READ);
	if (rc) {
		q->result = rc;
		return;
	}
	rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL); /* one snapshot for all statements */
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, sql[q->events][0], -1, &list, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, sql[q->events][1], -1, &other, NULL);
	if (rc == SQLITE_OK) {
		bind_range(list, q);
		rc = q->events ? read_events(q, list, other) : read_range(q, list, other);
	}
	if (rc == SQLITE_OK)
		rc = sqlite3_reset(list);
	q->result = rc == SQLITE_OK ? 0 : rc < 0 ? rc : state__error(db) ? state__error(db) : -EIO;
	sqlite3_finalize(list);
	sqlite3_finalize(other);
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	sqlite3_db_release_memory(db);
}

void store_state_query_done(struct store_state_query *q)
{
	for (size_t i = 0; i < q->n_rows; i++) {
		free(q->rows[i].key);
		blob_unref(q->rows[i].value);
	}
	free(q->rows);
	free(q->key);
	free(q->end);
	*q = (struct store_state_query){0};
}
