/* Taking in, the blocking half: pieces into files beside the state, verified as a whole, put in the state's place. Runs
 * on the state lane, which is the state's own: nothing else writes it meanwhile.
 *
 *   incoming.db     the database's bytes
 *   incoming.head   how far it has come (synced now and then), the snapshot's header and checksum
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "store/bugs.h"
#include "store/snapshot_take.h"

#define HEAD_MAGIC    "MINIPART"
#define HEAD_STREAM   512u  /* where the snapshot's header lies */
#define HEAD_TRAILER  1024u /* and its checksum */
#define RECORD_PIECES 8u
#define READ_SIZE     262144u

struct record {
	char magic[8];
	uint32_t crc, version;
	uint64_t id, index, term, offset;
};
_Static_assert(sizeof(struct record) == 48, "the layout of the record");

static uint32_t record_crc(const struct record *r)
{
	return crc32c(0, &r->version, sizeof(*r) - offsetof(struct record, version));
}

void take__close(struct taking *t)
{
	t->disk->ops->close(STEAL(t->data));
	t->disk->ops->close(STEAL(t->head));
}

void take__forget(struct taking *t)
{
	take__close(t);
	t->disk->ops->unlink(t->disk, t->head_path);
	t->disk->ops->unlink(t->disk, t->data_path);
	t->at = (struct raft_partial){0};
}

/* ---- pieces ---- */

static int begin(struct taking *t, const struct raft_chunk *c)
{
	take__close(t);
	t->at = (struct raft_partial){.id = c->id, .index = c->index, .term = c->term};
	t->recorded = 0;
	int rc = t->disk->ops->open(t->disk, t->head_path, true, &t->head);
	return rc ? rc : t->disk->ops->open(t->disk, t->data_path, true, &t->data);
}

/* Its bytes are durable before it says that they are there. */
static int write_record(struct taking *t)
{
	struct record r = {
		.version = 1, .id = t->at.id, .index = t->at.index, .term = t->at.term, .offset = t->at.offset};
	memcpy(r.magic, HEAD_MAGIC, sizeof(r.magic));
	r.crc = record_crc(&r);
	int rc = failpoint_error(SNAPSHOT_RECORD);
	if (!rc && !BUG(BUG_COPY_UNVERIFIED))
		rc = t->disk->ops->sync(t->data);
	if (!rc)
		rc = t->disk->ops->pwrite(t->head, &r, sizeof(r), 0);
	if (!rc)
		rc = t->disk->ops->sync(t->head);
	t->recorded = t->at.offset;
	return rc;
}

static int put_part(struct store_file *f, struct store_disk *d, uint64_t base, uint64_t from, uint64_t to,
		    const char *data, size_t len, uint64_t off)
{
	uint64_t a = MAX(from, off), b = MIN(to, off + len);
	return a >= b ? 0 : d->ops->pwrite(f, data + (a - off), (size_t)(b - a), base + (a - from));
}

static int put(struct taking *t, const struct raft_chunk *c, struct err *err)
{
	if (c->offset == 0) {
		int rc = c->len < SNAPSHOT_FILE_HEADER ? err_set(err, -EBADMSG, "its first piece has no header")
						       : snapshot_file_get_header(c->data, &t->info, err);
		if (rc)
			return rc;
		t->piece_bytes = c->len;
	}
	uint64_t end = SNAPSHOT_FILE_HEADER + t->info.data_bytes, all = end + SNAPSHOT_FILE_TRAILER;
	if (c->offset + c->len > all)
		return err_set(err, -EUCLEAN, "it is longer than its header says");
	int rc = put_part(t->head, t->disk, HEAD_STREAM, 0, SNAPSHOT_FILE_HEADER, c->data, c->len, c->offset);
	if (!rc)
		rc = put_part(t->data, t->disk, 0, SNAPSHOT_FILE_HEADER, end, c->data, c->len, c->offset);
	if (!rc)
		rc = put_part(t->head, t->disk, HEAD_TRAILER, end, all, c->data, c->len, c->offset);
	t->at.offset = c->offset + c->len;
	if (!rc && !c->last && t->at.offset - t->recorded >= RECORD_PIECES * t->piece_bytes)
		rc = write_record(t);
	return rc ? err_set(err, rc, "it cannot be written: %s", strerror(-rc)) : 0;
}

static int reopen(struct taking *t)
{
	int rc = t->head ? 0 : t->disk->ops->open(t->disk, t->head_path, false, &t->head);
	return rc || t->data ? rc : t->disk->ops->open(t->disk, t->data_path, false, &t->data);
}

int take__piece(struct taking *t, const struct raft_chunk *c, struct err *err)
{
	int rc = failpoint_error(SNAPSHOT_PIECE);
	if (rc)
		return err_set(err, rc, "its piece cannot be written");
	bool goes_on =
		c->id == t->at.id && c->index == t->at.index && c->term == t->at.term && c->offset == t->at.offset;
	if (c->offset && !goes_on)
		return err_set(err, -EBADMSG, "a piece of it is missing");
	rc = c->offset ? reopen(t) : begin(t, c);
	if (rc)
		return err_set(err, rc, "its file cannot be opened: %s", strerror(-rc));
	return put(t, c, err);
}

/* ---- the whole ---- */

static int check_file(struct taking *t, struct store_file *f, uint64_t at, uint64_t len, struct snapshot_check *c)
{
	_cleanup_free_ char *buf = xmalloc(READ_SIZE);
	for (uint64_t done = 0; done < len;) {
		int64_t n = t->disk->ops->pread(f, buf, (size_t)MIN(len - done, (uint64_t)READ_SIZE), at + done);
		if (n <= 0)
			return n < 0 ? (int)n : -EUCLEAN;
		done += (uint64_t)n;
		snapshot_check_add(c, buf, (size_t)n, NULL);
	}
	return 0;
}

static int verify(struct taking *t, struct snapshot_file_info *ret, struct err *err)
{
	struct snapshot_check *c = snapshot_check_new();
	int rc = check_file(t, t->head, HEAD_STREAM, SNAPSHOT_FILE_HEADER, c);
	if (!rc)
		rc = check_file(t, t->data, 0, t->info.data_bytes, c);
	if (!rc)
		rc = check_file(t, t->head, HEAD_TRAILER, SNAPSHOT_FILE_TRAILER, c);
	int end = snapshot_check_end(c, ret, err);
	if (BUG(BUG_COPY_UNVERIFIED)) {
		*ret = t->info;
		return 0;
	}
	return rc ? err_set(err, rc, "it cannot be read back: %s", strerror(-rc)) : end;
}

int take__whole(struct taking *t, const struct raft_chunk *c, const struct store_state_own *own, struct err *err)
{
	struct snapshot_file_info info;
	int rc = failpoint_error(SNAPSHOT_VERIFY);
	rc = rc ? err_set(err, rc, "it cannot be read back") : verify(t, &info, err);
	if (rc)
		return rc;
	if (info.index != c->index || info.term != c->term || (own->cluster && info.cluster != own->cluster))
		return err_set(err, -EUCLEAN, "it is not the one that was announced");
	take__close(t);
	t->disk->ops->unlink(t->disk, t->head_path); /* from here on the bytes are no longer the leader's */
	failpoint(SNAPSHOT_ADOPT);
	struct store_state_own mine = *own;
	mine.cluster = info.cluster;
	return store_state_adopt(t->disk, t->data_path, &mine, err);
}

/* ---- in the state's place ---- */

/* A log of the old database must never lie beside the new one: SQLite would write it into it. So what the old one has is
 * moved into its file, its log goes, for good, and only then does the file change. */
static int leave_old(struct taking *t)
{
	_cleanup_free_ char *wal = xasprintf("%s-wal", t->state_path), *shm = xasprintf("%s-shm", t->state_path);
	store_state_reader_close(STEAL(t->reader));
	int rc = store_state_settle(t->state);
	if (rc)
		return rc;
	store_state_close(STEAL(t->state));
	rc = t->disk->ops->unlink(t->disk, wal);
	if (!rc || rc == -ENOENT)
		rc = t->disk->ops->unlink(t->disk, shm);
	if (!rc || rc == -ENOENT)
		rc = t->disk->ops->sync_dir(t->disk, t->dir);
	return rc;
}

static void on_lease(void *arg, const struct store_state_lease *l)
{
	struct taking *t = arg;
	lease__load(&t->leases, l);
}

static void on_member(void *arg, const struct store_state_member *m)
{
	struct taking *t = arg;
	GROW(t->members, t->cap_members, t->n_members + 1);
	t->members[t->n_members++] = *m;
}

static int open_state(struct taking *t, bool load, struct err *err)
{
	static const struct store_state_callbacks cb = {on_lease, on_member};
	int rc = t->state ? 0 : store_state_open(t->disk, t->state_path, &t->state, &t->meta, err);
	if (!rc && load)
		rc = store_state_load(t->state, &t->mvcc, &cb, t, err);
	if (rc)
		return rc;
	lease__attach_all(&t->leases, &t->mvcc);
	rc = t->reader ? 0 : store_state_reader_open(t->state, &t->reader);
	return rc ? err_set(err, rc, "the state cannot be read: %s", strerror(-rc)) : 0;
}

int take__replace(struct taking *t, struct err *err)
{
	failpoint(SNAPSHOT_LEAVE);
	int rc = leave_old(t);
	if (!rc)
		rc = failpoint_error(SNAPSHOT_RENAME);
	if (!rc)
		rc = t->disk->ops->rename(t->disk, t->data_path, t->state_path);
	if (rc) {
		err_set(err, rc, "it cannot take the state's place: %s", strerror(-rc));
		take__forget(t);
		t->lost = open_state(t, false, err) != 0;
		return rc;
	}
	t->replaced = true;
	failpoint(SNAPSHOT_RENAMED);
	t->at = (struct raft_partial){0};
	rc = t->disk->ops->sync_dir(t->disk, t->dir);
	if (rc)
		return err_set(err, rc, "the state's folder cannot be synced: %s", strerror(-rc));
	failpoint(SNAPSHOT_REPLACED);
	return open_state(t, true, err);
}

/* ---- at start ---- */

static bool read_record(struct taking *t, struct record *ret)
{
	uint8_t header[SNAPSHOT_FILE_HEADER];
	if (t->disk->ops->pread(t->head, ret, sizeof(*ret), 0) != (int64_t)sizeof(*ret) ||
	    memcmp(ret->magic, HEAD_MAGIC, sizeof(ret->magic)) != 0 || ret->crc != record_crc(ret) || ret->version != 1)
		return false;
	if (t->disk->ops->pread(t->head, header, sizeof(header), HEAD_STREAM) != (int64_t)sizeof(header) ||
	    snapshot_file_get_header(header, &t->info, NULL))
		return false;
	int64_t size = t->disk->ops->size(t->data);
	uint64_t end = SNAPSHOT_FILE_HEADER + t->info.data_bytes;
	return size >= 0 && ret->offset >= SNAPSHOT_FILE_HEADER && ret->offset <= end &&
	       (uint64_t)size >= ret->offset - SNAPSHOT_FILE_HEADER;
}

void take__resume(struct taking *t, uint64_t applied)
{
	struct record r;
	failpoint(SNAPSHOT_RESUME);
	if (reopen(t) || !read_record(t, &r) || r.index <= applied) {
		take__forget(t);
		return;
	}
	t->at = (struct raft_partial){.id = r.id, .index = r.index, .term = r.term, .offset = r.offset};
	t->recorded = r.offset;
	t->piece_bytes = SNAPSHOT_PIECE; /* about */
}

void take__done(struct taking *t)
{
	take__close(t);
	mvcc_done(&t->mvcc);
	lease__discard(&t->leases, SIZE_MAX);
	free(t->members);
	free(t->dir);
	free(t->data_path);
	free(t->head_path);
	free(t->state_path);
}
