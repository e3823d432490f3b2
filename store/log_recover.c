/* Recovery: what the segments hold, what a crash tore, and what only damage can have done. */
#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "store/bugs.h"
#include "store/log_internal.h"

static int damage(struct err *err, const struct store_log_segment *s, uint64_t off, const char *what)
{
	return err_set(err, -EUCLEAN,
		       "the log is damaged: %s at byte %" PRIu64 " (%s), and acknowledged entries follow it. "
		       "Restore the store from a snapshot",
		       s->path, off, what);
}

static bool frame_ok(const struct store_log_segment *s, const char *data, uint64_t size, uint64_t off,
		     struct log_frame *ret)
{
	if (off + sizeof(*ret) > size)
		return false;
	memcpy(ret, data + off, sizeof(*ret));
	if (ret->kind != LOG_FRAME_ENTRY && ret->kind != LOG_FRAME_HARD_STATE)
		return false;
	return ret->len <= size - off - sizeof(*ret) && ret->batch <= off &&
	       log_frame_crc(s->seq, data + off, ret->len) == ret->crc;
}

/* It replaces an entry from before the first segment that is left. The state has whatever was there when that went, so
 * the log may begin after this one. */
static bool begin_at(struct store_log *log, const struct log_frame *f)
{
	if (log->segments[0]->anew || log->segments[0]->base == 0)
		return false;
	log->head = log->n_places = 0;
	log->base = f->index;
	log->base_term = log->last_term = f->term;
	return true;
}

/* Frames until something is none, or until `limit`. */
static int take_frames(struct store_log *log, struct store_log_segment *s, const char *data, uint64_t limit,
		       struct err *err)
{
	struct log_frame f;
	while (s->end < limit && frame_ok(s, data, limit, s->end, &f)) {
		if (f.kind == LOG_FRAME_HARD_STATE) {
			if (f.len != sizeof(log->hard_state))
				return damage(err, s, s->end, "a term record of another length");
			memcpy(&log->hard_state, data + s->end + sizeof(f), sizeof(log->hard_state));
		} else {
			if (f.index > log__last(log) + 1 || (f.index <= log->base && !begin_at(log, &f)))
				return damage(err, s, s->end, "an index out of sequence");
			if (f.index > log->base)
				log__place(log, f.index, f.term, (uint32_t)s->seq, s->end);
		}
		s->last_batch = f.batch;
		s->end += log__frame_size(f.len);
	}
	return 0;
}

/* Term and vote in a write that is torn, or whose other copy a bit was flipped in: they can only be what was to be. */
static void take_torn_term(struct store_log *log, const char *data, uint64_t at, const struct log_frame *f)
{
	struct raft_hard_state hs;
	if (f->kind != LOG_FRAME_HARD_STATE || f->len != sizeof(hs))
		return;
	memcpy(&hs, data + at + sizeof(*f), sizeof(hs));
	if (hs.term < log->hard_state.term || (hs.term == log->hard_state.term && (log->hard_state.vote || !hs.vote)))
		return;
	hs.commit = log->hard_state.commit; /* what it covers may be torn */
	log->hard_state = hs;
	log->found_term = true;
}

/* The last segment: what follows its end is zeros, a torn batch, or proof of damage. */
static int check_tail(struct store_log *log, const struct store_log_segment *s, const char *data, uint64_t size,
		      struct err *err)
{
	static const char zeros[4096];
	struct log_frame f;
	for (uint64_t off = s->end; off < size;) {
		uint64_t n = MIN(size - off, (uint64_t)sizeof(zeros));
		if (memcmp(data + off, zeros, n) == 0) {
			off += n;
			continue;
		}
		log->torn = log->must_roll = true;
		for (uint64_t at = off; at < off + n; at += 8) {
			if (BUG(BUG_DAMAGE_IS_TORN) || !frame_ok(s, data, size, at, &f))
				continue;
			if (BUG(BUG_TORN_IS_DAMAGE) || f.batch > s->end)
				return damage(err, s, s->end, "a bad frame with good ones behind it");
			take_torn_term(log, data, at, &f);
		}
		off += n;
	}
	return 0;
}

/* What is read here may be in the page cache only: a sync that failed has marked it clean, and a next one would succeed
 * and mean nothing. Only the last batch can be such, so it is written again before anyone relies on it. */
static int settle_tail(struct store_log *log, struct store_log_segment *s, const char *data, struct err *err)
{
	const struct store_disk_ops *ops = log->disk->ops;
	uint64_t from = MAX(s->last_batch, (uint64_t)LOG_HEADER_SIZE);
	int rc = failpoint_error(LOG_RECOVER_SETTLE);
	if (!rc && s->end > from)
		rc = ops->pwrite(s->file, data + from, (size_t)(s->end - from), from);
	if (!rc && s->end > from && ops->sync(s->file))
		rc = -EIO;
	if (!rc && ops->sync_dir(log->disk, log->dir))
		rc = -EIO;
	return rc ? err_set(err, rc, "cannot write the end of %s again: %s", s->path, strerror(-rc)) : 0;
}

static int load_segment(struct store_log *log, struct store_log_segment *s, uint64_t limit, struct err *err)
{
	const struct store_disk_ops *ops = log->disk->ops;
	int64_t size = ops->size(s->file);
	int rc = failpoint_error(LOG_RECOVER_SEGMENT);
	if (rc)
		return err_set(err, rc, "cannot read %s: %s", s->path, strerror(-rc));
	if (size < (int64_t)LOG_HEADER_SIZE || size > UINT32_MAX)
		return damage(err, s, 0, "its size cannot be");
	_cleanup_free_ char *data = xmalloc((size_t)size);
	int64_t got = ops->pread(s->file, data, (size_t)size, 0);
	if (got != size)
		return err_set(err, got < 0 ? (int)got : -EIO, "cannot read %s: %s", s->path,
			       strerror(got < 0 ? (int)-got : EIO));
	s->size = (uint64_t)size & ~7ull; /* frames lie so: one that is cut in its padding is cut */
	s->end = LOG_HEADER_SIZE;
	bool last = limit == 0;
	rc = take_frames(log, s, data, last ? s->size : MIN(limit, s->size), err);
	if (rc)
		return rc;
	if (last) {
		rc = check_tail(log, s, data, s->size, err);
		return rc || BUG(BUG_TAIL_UNSETTLED) ? rc : settle_tail(log, s, data, err);
	}
	if (s->end != limit)
		return damage(err, s, s->end, "a bad frame in a finished segment");
	return 0;
}

static int read_header(struct store_log *log, struct store_log_segment *s, struct err *err)
{
	char raw[LOG_HEADER_SIZE];
	struct log_header h;
	int rc = log->disk->ops->open(log->disk, s->path, false, &s->file);
	if (rc)
		return err_set(err, rc, "cannot open %s: %s", s->path, strerror(-rc));
	if (log->disk->ops->pread(s->file, raw, sizeof(raw), 0) != (int64_t)sizeof(raw) ||
	    log_header_get(raw, &h) < 0 || h.seq != s->seq)
		return damage(err, s, 0, "its header");
	if (h.format > STORE_LOG_FORMAT)
		return err_set(err, -EPROTO,
			       "%s has format %u, newer than this program knows (%u): use the newer program", s->path,
			       h.format, STORE_LOG_FORMAT);
	if (log->cluster && h.cluster != log->cluster)
		return err_set(err, -EUCLEAN, "%s belongs to another cluster", s->path);
	log->has_ids = true;
	log->cluster = h.cluster;
	log->member = h.member;
	s->base = h.base;
	s->base_term = h.base_term;
	s->prev_end = h.prev_end;
	s->anew = h.flags & LOG_HEADER_ANEW;
	return 0;
}

struct found {
	uint64_t *seqs;
	size_t n, cap;
	struct store_log *log;
};

static void found_name(void *arg, const char *name)
{
	struct found *f = arg;
	char *end;
	uint64_t seq = strtoull(name, &end, 16);
	if (end == name + 16 && streq(end, ".log")) {
		GROW(f->seqs, f->cap, f->n + 1);
		f->seqs[f->n++] = seq;
	} else if (str_ends(name, ".log.tmp")) {
		_cleanup_free_ char *path = xasprintf("%s/%s", f->log->dir, name);
		f->log->disk->ops->unlink(f->log->disk, path);
	}
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* The log begins with the newest segment that began it anew, or after the newest gap, or with the oldest. What lies before
 * was dropped: names may go from a directory in any order, and whether the state holds all that is gone is for the store
 * to see. Returns how many of those found that is. */
static int find_segments(struct store_log *log, const struct found *f, struct err *err)
{
	size_t i = f->n;
	while (i > 0) {
		if (i < f->n && f->seqs[i - 1] + 1 != f->seqs[i])
			break;
		i--;
		struct store_log_segment *s = log__segment_new(log, f->seqs[i]);
		log__segment_push(log, s);
		int rc = read_header(log, s, err);
		if (rc)
			return rc;
		if (s->anew)
			break;
	}
	for (size_t a = 0, b = log->n_segments; a + 1 < b; a++) { /* they were found from the newest on */
		struct store_log_segment *s = log->segments[a];
		log->segments[a] = log->segments[--b];
		log->segments[b] = s;
	}
	return (int)i;
}

static int load_segments(struct store_log *log, struct err *err)
{
	for (size_t i = 0; i < log->n_segments; i++) {
		struct store_log_segment *s = log->segments[i];
		if (i && (s->base != log__last(log) || s->base_term != log->last_term))
			return damage(err, s, 0, "it does not go on where the one before it ended");
		if (i == 0) {
			log->base = s->base;
			log->base_term = log->last_term = s->base_term;
			log->head = log->n_places = 0;
		}
		int rc = load_segment(log, s, i + 1 < log->n_segments ? log->segments[i + 1]->prev_end : 0, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* Term and vote that a torn write left are in the page cache, maybe, and nobody may speak in that term before they are
 * durable: they go into a segment of their own. */
static int settle_term(struct store_log *log, struct err *err)
{
	struct store_log_job job = {0};
	struct raft_hard_state hs = log->hard_state;
	log->must_roll = true;
	store_log_prepare(log, &job, NULL, 0, &hs);
	store_log_write(&job);
	return job.result
		       ? err_set(err, job.result, "cannot write to the log in %s: %s", log->dir, strerror(-job.result))
		       : 0;
}

int log__recover(struct store_log *log, struct err *err)
{
	struct found found = {.log = log};
	int rc = log->disk->ops->list(log->disk, log->dir, found_name, &found);
	_cleanup_free_ uint64_t *seqs = found.seqs;
	if (rc)
		return err_set(err, rc, "cannot list %s: %s", log->dir, strerror(-rc));
	if (found.n > 1)
		qsort(seqs, found.n, sizeof(*seqs), by_number);
	int before = find_segments(log, &found, err);
	if (before < 0)
		return before;
	rc = load_segments(log, err);
	if (!rc && log->found_term)
		rc = settle_term(log, err);
	for (int i = 0; !rc && i < before; i++) { /* a reset, or a drop, that did not get to clean up */
		_cleanup_free_ char *path = log__path(log, seqs[i]);
		log->disk->ops->unlink(log->disk, path);
	}
	failpoint(LOG_RECOVERED);
	return rc;
}
