#include "store/log.h"

#include <errno.h>
#include <inttypes.h>

#include "store/bugs.h"
#include "store/log_format.h"

struct store_log_segment {
	uint64_t seq, size, end; /* end: where the next frame goes */
	uint64_t base, base_term, prev_end;
	uint64_t last_batch; /* found at open: where the last batch begins; 0: there is none */
	struct store_file *file;
	char *path;
};

struct store_log {
	struct store_disk *disk;
	char *dir;
	uint64_t cluster, member, segment_size;
	struct store_log_segment **segments; /* ascending */
	size_t n_segments, cap_segments;
	uint64_t base, base_term, last_term;
	/* where entry base+1+i lies: segment sequence number and offset; and its term, which raft asks for where a read
	 * error could not be told */
	struct log_place {
		uint32_t seq, off;
		uint64_t term;
	} * places;
	size_t head, n_places, cap_places;
	struct raft_hard_state hard_state;
	bool torn, must_roll, has_ids;
	void **read_bufs;
	size_t n_read, cap_read;
};

static void segment_free(struct store_log *log, struct store_log_segment *s)
{
	if (!s)
		return;
	log->disk->ops->close(s->file);
	free(s->path);
	free(s);
}

void store_log_close(struct store_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->n_segments; i++)
		segment_free(log, log->segments[i]);
	store_log_release(log);
	free(log->read_bufs);
	free(log->segments);
	free(log->places);
	free(log->dir);
	free(log);
}

static uint64_t last_index(const struct store_log *log)
{
	return log->base + log->n_places;
}

static struct store_log_segment *segment_by_seq(const struct store_log *log, uint32_t seq)
{
	return log->segments[seq - (uint32_t)log->segments[0]->seq];
}

static void place_entry(struct store_log *log, uint64_t index, uint64_t term, uint32_t seq, uint64_t off)
{
	size_t at = (size_t)(index - log->base - 1); /* an index there already: it and all after it are replaced */
	log->n_places = at + 1;
	log->last_term = term;
	if (log->head > 4096 && log->head > log->n_places) {
		memmove(log->places, log->places + log->head, at * sizeof(*log->places));
		log->head = 0;
	}
	GROW(log->places, log->cap_places, log->head + log->n_places);
	log->places[log->head + at] = (struct log_place){.seq = seq, .off = (uint32_t)off, .term = term};
}

static struct store_log_segment *segment_new(struct store_log *log, uint64_t seq)
{
	struct store_log_segment *s = NEW(struct store_log_segment);
	s->seq = seq;
	s->path = xasprintf("%s/%016" PRIx64 ".log", log->dir, seq);
	return s;
}

static void segment_push(struct store_log *log, struct store_log_segment *s)
{
	GROW(log->segments, log->cap_segments, log->n_segments + 1);
	log->segments[log->n_segments++] = s;
}

/* ---- writing ---- */

static size_t frame_size(size_t len)
{
	return (sizeof(struct log_frame) + len + 7) & ~(size_t)7;
}

static size_t put_frame(char *to, uint64_t seq, uint64_t batch, uint8_t kind, const struct raft_entry *e)
{
	struct log_frame f = {.len = (uint32_t)e->len,
			      .batch = (uint32_t)batch,
			      .kind = kind,
			      .type = (uint8_t)e->type,
			      .index = e->index,
			      .term = e->term};
	size_t size = frame_size(e->len);
	memset(to + size - 8, 0, 8);
	memcpy(to, &f, sizeof(f));
	if (e->len)
		memcpy(to + sizeof(f), e->data, e->len);
	f.crc = log_frame_crc(seq, to, e->len);
	memcpy(to, &f, sizeof(f));
	return size;
}

static void begin_segment(struct store_log *log, struct store_log_job *job, size_t need)
{
	struct store_log_segment *prev = log->n_segments ? log->segments[log->n_segments - 1] : NULL;
	struct store_log_segment *s = segment_new(log, prev ? prev->seq + 1 : 1);
	s->size = MAX(log->segment_size, LOG_HEADER_SIZE + need);
	s->end = LOG_HEADER_SIZE;
	s->prev_end = prev ? prev->end : 0;
	s->base = last_index(log);
	s->base_term = log->last_term;
	segment_push(log, s);
	job->begin = s;
	log->must_roll = false;
}

void store_log_prepare(struct store_log *log, struct store_log_job *job, const struct raft_entry *entries, size_t n,
		       const struct raft_hard_state *hs)
{
	size_t need = frame_size(sizeof(struct raft_hard_state));
	for (size_t i = 0; i < n; i++)
		need += frame_size(entries[i].len);
	struct store_log_segment *s = log->n_segments ? log->segments[log->n_segments - 1] : NULL;
	job->begin = NULL;
	if (!s || log->must_roll || s->end + need > s->size) {
		begin_segment(log, job, need);
		s = job->begin;
	}
	job->log = log;
	job->entries = entries;
	job->n_entries = n;
	if (hs)
		log->hard_state = *hs;
	/* each segment begins with the term and vote, so that older ones may go */
	job->has_hard_state = hs != NULL || job->begin != NULL;
	job->hard_state = log->hard_state;
	job->segment = s;
	job->off = s->end;
	uint64_t off = s->end + (job->has_hard_state ? frame_size(sizeof(struct raft_hard_state)) : 0);
	for (size_t i = 0; i < n; i++) {
		MUST(entries[i].index > log->base && entries[i].index <= last_index(log) + 1);
		place_entry(log, entries[i].index, entries[i].term, (uint32_t)s->seq, off);
		off += frame_size(entries[i].len);
	}
	job->size = (size_t)(off - s->end);
	s->end = off;
	job->result = 0;
	job->written = 0;
}

/* The new file appears under its name only when it is whole: a torn header is never seen. */
static int make_segment(struct store_log_job *job)
{
	struct store_log_segment *s = job->begin;
	const struct store_disk_ops *ops = job->log->disk->ops;
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", s->path);
	int rc = ops->open(job->log->disk, tmp, true, &s->file);
	if (rc)
		return rc;
	char header[LOG_HEADER_SIZE];
	log_header_put(header, &(struct log_header){.format = STORE_LOG_FORMAT,
						    .seq = s->seq,
						    .base = s->base,
						    .base_term = s->base_term,
						    .prev_end = s->prev_end,
						    .cluster = job->log->cluster,
						    .member = job->log->member});
	rc = ops->preallocate(s->file, s->size);
	if (!rc)
		rc = ops->pwrite(s->file, header, sizeof(header), 0);
	int sync_rc = 0;
	if (!rc)
		sync_rc = ops->sync(s->file);
	if (!rc && !sync_rc)
		rc = ops->rename(job->log->disk, tmp, s->path);
	if (!rc && !sync_rc && !BUG(BUG_NAME_NOT_SYNCED))
		sync_rc = ops->sync_dir(job->log->disk, job->log->dir);
	if (!rc && !sync_rc) {
		job->written += sizeof(header);
		return 0;
	}
	ops->close(STEAL(s->file));
	ops->unlink(job->log->disk, tmp);
	return sync_rc ? -EIO : rc; /* never retried, whatever the disk calls it */
}

void store_log_write(struct store_log_job *job)
{
	job->result = 0;
	if (job->begin) {
		job->result = make_segment(job);
		if (job->result)
			return;
		job->begin = NULL;
	}
	if (job->size > job->cap) {
		free(job->buf);
		job->cap = job->size;
		job->buf = xmalloc(job->cap);
	}
	size_t at = 0;
	uint64_t seq = job->segment->seq;
	if (job->has_hard_state) {
		struct raft_entry e = {.len = sizeof(job->hard_state), .data = &job->hard_state};
		at += put_frame(job->buf, seq, job->off, LOG_FRAME_HARD_STATE, &e);
	}
	for (size_t i = 0; i < job->n_entries; i++)
		at += put_frame(job->buf + at, seq, job->off, LOG_FRAME_ENTRY, &job->entries[i]);
	const struct store_disk_ops *ops = job->log->disk->ops;
	job->result = ops->pwrite(job->segment->file, job->buf, at, job->off);
	if (job->result)
		return;
	job->written += at;
	if (!(BUG(BUG_ACK_BEFORE_SYNC) && job->n_entries == 1) && ops->sync(job->segment->file) &&
	    !(BUG(BUG_SYNC_RETRIED) && ops->sync(job->segment->file) == 0))
		job->result = -EIO;
	if (job->cap > 1u << 20) {
		free(STEAL(job->buf));
		job->cap = 0;
	}
}

/* ---- reading back ---- */

void store_log_release(struct store_log *log)
{
	for (size_t i = 0; i < log->n_read; i++)
		free(log->read_bufs[i]);
	log->n_read = 0;
}

static int read_frame(struct store_log *log, uint64_t index, struct raft_entry *ret)
{
	struct log_place p = log->places[log->head + (size_t)(index - log->base - 1)];
	struct store_log_segment *s = segment_by_seq(log, p.seq);
	struct log_frame f;
	if (!s->file || log->disk->ops->pread(s->file, &f, sizeof(f), p.off) != (int64_t)sizeof(f))
		return -EIO;
	if (f.index != index || f.kind != LOG_FRAME_ENTRY || p.off + frame_size(f.len) > s->size)
		return -EUCLEAN;
	*ret = (struct raft_entry){.index = index, .term = f.term, .type = f.type, .len = f.len};
	char *buf = xmalloc(sizeof(f) + f.len + 1);
	GROW(log->read_bufs, log->cap_read, log->n_read + 1);
	log->read_bufs[log->n_read++] = buf;
	if (log->disk->ops->pread(s->file, buf, sizeof(f) + f.len, p.off) != (int64_t)(sizeof(f) + f.len))
		return -EIO;
	if (log_frame_crc(s->seq, buf, f.len) != f.crc)
		return -EUCLEAN;
	ret->data = buf + sizeof(f);
	return 0;
}

int store_log_read(struct store_log *log, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	int n = 0;
	size_t bytes = 0;
	for (; lo < hi && (size_t)n < max && bytes < 4u << 20; lo++, n++) {
		if (lo <= log->base || lo > last_index(log))
			return n ? n : -ENOENT;
		int rc = read_frame(log, lo, &ret[n]);
		if (rc)
			return n ? n : rc;
		bytes += ret[n].len;
	}
	return n;
}

int store_log_term(struct store_log *log, uint64_t index, uint64_t *ret)
{
	if (index == log->base) {
		*ret = log->base_term;
		return 0;
	}
	if (index < log->base || index > last_index(log))
		return -ENOENT;
	*ret = log->places[log->head + (size_t)(index - log->base - 1)].term;
	return 0;
}

void store_log_info(const struct store_log *log, struct store_log_info *ret)
{
	*ret = (struct store_log_info){.base = log->base,
				       .base_term = log->base_term,
				       .last = last_index(log),
				       .hard_state = log->hard_state,
				       .torn = log->torn,
				       .has_ids = log->has_ids,
				       .cluster = log->cluster,
				       .member = log->member};
	for (size_t i = 0; i < log->n_segments; i++)
		ret->bytes += log->segments[i]->size;
}

void store_log_set_segment(struct store_log *log, uint64_t bytes)
{
	log->segment_size = bytes;
}

void store_log_set_ids(struct store_log *log, uint64_t cluster, uint64_t member)
{
	log->cluster = cluster;
	log->member = member;
	log->has_ids = true;
}

/* ---- the front ---- */

static void drop_first(struct store_log *log)
{
	struct store_log_segment *s = log->segments[0];
	log->disk->ops->unlink(log->disk, s->path);
	segment_free(log, s);
	log->n_segments--;
	memmove(log->segments, log->segments + 1, log->n_segments * sizeof(*log->segments));
}

uint64_t store_log_drop(struct store_log *log, uint64_t index, uint64_t *ret_term)
{
	/* a segment may go when the next one begins at or before index; what is replaced later lies after it */
	while (log->n_segments > 1 && log->segments[1]->file && log->segments[1]->base <= index) {
		struct store_log_segment *next = log->segments[1];
		if (next->base > log->base) {
			size_t gone = (size_t)(next->base - log->base);
			log->head += gone;
			log->n_places -= gone;
			log->base = next->base;
			log->base_term = next->base_term;
		}
		drop_first(log);
	}
	*ret_term = log->base_term;
	return log->base;
}

int store_log_reset(struct store_log *log, uint64_t index, uint64_t term, const struct raft_hard_state *hs,
		    struct err *err)
{
	log->head = log->n_places = 0;
	log->base = index;
	log->base_term = log->last_term = term;
	log->must_roll = true;
	struct store_log_job job = {0};
	store_log_prepare(log, &job, NULL, 0, hs);
	store_log_write(&job);
	free(job.buf);
	if (job.result)
		return err_set(err, job.result, "cannot begin the log anew in %s: %s", log->dir, strerror(-job.result));
	while (log->n_segments > 1)
		drop_first(log);
	return 0;
}

/* ---- recovery ---- */

static int damage(struct err *err, const struct store_log_segment *s, uint64_t off, const char *what)
{
	return err_set(err, -EUCLEAN,
		       "the log is damaged: %s at byte %" PRIu64 " (%s), and acknowledged entries follow it. "
		       "Restore the store from a snapshot, or move its directory away to begin anew",
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
			if (f.index <= log->base || f.index > last_index(log) + 1)
				return damage(err, s, s->end, "an index out of sequence");
			place_entry(log, f.index, f.term, (uint32_t)s->seq, s->end);
		}
		s->last_batch = f.batch;
		s->end += frame_size(f.len);
	}
	return 0;
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
		for (uint64_t at = off; at < off + n; at += 8)
			if (!BUG(BUG_DAMAGE_IS_TORN) && frame_ok(s, data, size, at, &f) &&
			    (BUG(BUG_TORN_IS_DAMAGE) || f.batch > s->end))
				return damage(err, s, s->end, "a bad frame with good ones behind it");
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
	int rc = 0;
	if (s->end > from)
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
	if (size < (int64_t)LOG_HEADER_SIZE || size > UINT32_MAX)
		return damage(err, s, 0, "its size cannot be");
	_cleanup_free_ char *data = xmalloc((size_t)size);
	int64_t got = ops->pread(s->file, data, (size_t)size, 0);
	if (got != size)
		return err_set(err, got < 0 ? (int)got : -EIO, "cannot read %s: %s", s->path,
			       strerror(got < 0 ? (int)-got : EIO));
	s->size = (uint64_t)size;
	s->end = LOG_HEADER_SIZE;
	bool last = limit == 0;
	int rc = take_frames(log, s, data, last ? s->size : MIN(limit, s->size), err);
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

static int recover(struct store_log *log, struct err *err)
{
	struct found found = {.log = log};
	int rc = log->disk->ops->list(log->disk, log->dir, found_name, &found);
	_cleanup_free_ uint64_t *seqs = found.seqs;
	if (rc)
		return err_set(err, rc, "cannot list %s: %s", log->dir, strerror(-rc));
	if (found.n > 1)
		qsort(seqs, found.n, sizeof(*seqs), by_number);
	for (size_t i = 0; i < found.n; i++) {
		segment_push(log, segment_new(log, seqs[i]));
		rc = read_header(log, log->segments[i], err);
		if (rc)
			return rc;
		if (i && seqs[i] != seqs[i - 1] + 1)
			return damage(err, log->segments[i - 1], log->segments[i - 1]->size,
				      "the next segment is missing");
	}
	for (size_t i = 0; i < log->n_segments; i++) {
		struct store_log_segment *s = log->segments[i];
		if (i == 0 || s->base > last_index(log)) { /* begun anew after a reset that did not get to clean up */
			log->base = s->base;
			log->base_term = log->last_term = s->base_term;
			log->head = log->n_places = 0;
		}
		rc = load_segment(log, s, i + 1 < log->n_segments ? log->segments[i + 1]->prev_end : 0, err);
		if (rc)
			return rc;
	}
	return 0;
}

int store_log_open(struct store_disk *disk, const char *dir, uint64_t cluster, uint64_t member, struct store_log **ret,
		   struct err *err)
{
	struct store_log *log = NEW(struct store_log);
	log->disk = disk;
	log->segment_size = STORE_LOG_SEGMENT;
	log->dir = xstrdup(dir);
	log->cluster = cluster;
	log->member = member;
	int rc = disk->ops->mkdir(disk, dir);
	if (rc)
		rc = err_set(err, rc, "cannot make %s: %s", dir, strerror(-rc));
	if (!rc)
		rc = recover(log, err);
	if (rc) {
		store_log_close(log);
		return rc;
	}
	*ret = log;
	return 0;
}
