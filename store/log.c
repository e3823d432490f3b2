#include "store/log.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/core/failpoint.h"
#include "store/bugs.h"
#include "store/log_internal.h"

/* Term and vote stand twice in a batch: a flipped bit in the very last write, which can't be told from a torn one, takes
 * one of them at most. */
#define HARD_STATE_SIZE (2 * log__frame_size(sizeof(struct raft_hard_state)))

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

static struct store_log_segment *segment_by_seq(const struct store_log *log, uint32_t seq)
{
	return log->segments[seq - (uint32_t)log->segments[0]->seq];
}

void log__place(struct store_log *log, uint64_t index, uint64_t term, uint32_t seq, uint64_t off)
{
	size_t at = (size_t)(index - log->base - 1);
	log->n_places = at + 1;
	log->last_term = term;
	if (log->head > 4096 && log->head > log->n_places) {
		memmove(log->places, log->places + log->head, at * sizeof(*log->places));
		log->head = 0;
	}
	GROW(log->places, log->cap_places, log->head + log->n_places);
	log->places[log->head + at] = (struct log_place){.seq = seq, .off = (uint32_t)off, .term = term};
}

char *log__path(const struct store_log *log, uint64_t seq)
{
	return xasprintf("%s/%016" PRIx64 ".log", log->dir, seq);
}

struct store_log_segment *log__segment_new(struct store_log *log, uint64_t seq)
{
	struct store_log_segment *s = NEW(struct store_log_segment);
	s->seq = seq;
	s->path = log__path(log, seq);
	return s;
}

void log__segment_push(struct store_log *log, struct store_log_segment *s)
{
	GROW(log->segments, log->cap_segments, log->n_segments + 1);
	log->segments[log->n_segments++] = s;
}

/* ---- writing ---- */

static size_t put_frame(char *to, uint64_t seq, uint64_t batch, uint8_t kind, const struct raft_entry *e)
{
	struct log_frame f = {.len = (uint32_t)e->len,
			      .batch = (uint32_t)batch,
			      .kind = kind,
			      .type = (uint8_t)e->type,
			      .index = e->index,
			      .term = e->term};
	size_t size = log__frame_size(e->len);
	memset(to + size - 8, 0, 8);
	memcpy(to, &f, sizeof(f));
	if (e->len)
		memcpy(to + sizeof(f), e->data, e->len);
	f.crc = log_frame_crc(seq, to, e->len);
	memcpy(to, &f, sizeof(f));
	return size;
}

static size_t put_hard_state(char *to, uint64_t seq, uint64_t batch, const struct raft_hard_state *hs)
{
	struct raft_entry e = {.len = sizeof(*hs), .data = hs};
	size_t n = put_frame(to, seq, batch, LOG_FRAME_HARD_STATE, &e);
	return n + put_frame(to + n, seq, batch, LOG_FRAME_HARD_STATE, &e);
}

static void begin_segment(struct store_log *log, struct store_log_job *job, size_t need)
{
	struct store_log_segment *prev = log->n_segments ? log->segments[log->n_segments - 1] : NULL;
	struct store_log_segment *s = log__segment_new(log, prev ? prev->seq + 1 : 1);
	s->size = MAX(log->segment_size, LOG_HEADER_SIZE + HARD_STATE_SIZE + need);
	s->end = LOG_HEADER_SIZE + HARD_STATE_SIZE;
	s->prev_end = prev ? prev->end : 0;
	s->base = log__last(log);
	s->base_term = log->last_term;
	log__segment_push(log, s);
	job->begin = s;
	log->must_roll = false;
}

void store_log_prepare(struct store_log *log, struct store_log_job *job, const struct raft_entry *entries, size_t n,
		       const struct raft_hard_state *hs)
{
	size_t need = hs ? HARD_STATE_SIZE : 0;
	for (size_t i = 0; i < n; i++)
		need += log__frame_size(entries[i].len);
	struct store_log_segment *s = log->n_segments ? log->segments[log->n_segments - 1] : NULL;
	if (hs)
		log->hard_state = *hs;
	job->begin = NULL;
	if (!s || log->must_roll || s->end + need > s->size) {
		begin_segment(log, job, need);
		s = job->begin;
	}
	job->log = log;
	job->entries = entries;
	job->n_entries = n;
	job->has_hard_state = hs && !job->begin; /* a new segment begins with it */
	job->hard_state = log->hard_state;
	job->segment = s;
	job->off = s->end;
	uint64_t off = s->end + (job->has_hard_state ? HARD_STATE_SIZE : 0);
	for (size_t i = 0; i < n; i++) {
		MUST(entries[i].index > log->base && entries[i].index <= log__last(log) + 1);
		log__place(log, entries[i].index, entries[i].term, (uint32_t)s->seq, off);
		off += log__frame_size(entries[i].len);
	}
	job->size = (size_t)(off - s->end);
	s->end = off;
	job->result = 0;
	job->written = 0;
}

/* The header, and term and vote, so that older segments may go at any time. */
static int write_head(struct store_log_job *job)
{
	const struct store_log_segment *s = job->begin;
	size_t len = LOG_HEADER_SIZE + HARD_STATE_SIZE;
	_cleanup_free_ char *head = xmalloc(len);
	log_header_put(head, &(struct log_header){.format = STORE_LOG_FORMAT,
						  .seq = s->seq,
						  .base = s->base,
						  .base_term = s->base_term,
						  .prev_end = s->prev_end,
						  .cluster = job->log->cluster,
						  .member = job->log->member,
						  .flags = s->anew ? LOG_HEADER_ANEW : 0});
	put_hard_state(head + LOG_HEADER_SIZE, s->seq, LOG_HEADER_SIZE, &job->hard_state);
	int rc = failpoint_error(LOG_SEGMENT_HEADER);
	if (!rc)
		rc = job->log->disk->ops->pwrite(s->file, head, len, 0);
	if (!rc)
		job->written += len;
	return rc;
}

/* -EIO for a failed sync, whatever the disk calls it: never retried. */
static int sync_segment(struct store_log_job *job, const char *tmp)
{
	const struct store_disk_ops *ops = job->log->disk->ops;
	struct store_log_segment *s = job->begin;
	if (failpoint_error(LOG_SEGMENT_SYNC) || ops->sync(s->file))
		return -EIO;
	int rc = failpoint_error(LOG_SEGMENT_RENAME);
	if (!rc)
		rc = ops->rename(job->log->disk, tmp, s->path);
	if (rc || BUG(BUG_NAME_NOT_SYNCED))
		return rc;
	return failpoint_error(LOG_SEGMENT_SYNC_DIR) || ops->sync_dir(job->log->disk, job->log->dir) ? -EIO : 0;
}

/* The new file appears under its name only when it is whole: a torn header is never seen. */
static int make_segment(struct store_log_job *job)
{
	struct store_log_segment *s = job->begin;
	const struct store_disk_ops *ops = job->log->disk->ops;
	_cleanup_free_ char *tmp = xasprintf("%s.tmp", s->path);
	int rc = failpoint_error(LOG_SEGMENT_CREATE);
	if (!rc)
		rc = ops->open(job->log->disk, tmp, true, &s->file);
	if (rc)
		return rc;
	rc = failpoint_error(LOG_SEGMENT_PREALLOCATE);
	if (!rc)
		rc = ops->preallocate(s->file, s->size);
	if (!rc)
		rc = write_head(job);
	if (!rc)
		rc = sync_segment(job, tmp);
	if (!rc) {
		failpoint(LOG_SEGMENT_MADE);
		return 0;
	}
	ops->close(STEAL(s->file));
	ops->unlink(job->log->disk, tmp);
	return rc;
}

static void fill_buf(struct store_log_job *job)
{
	if (job->size > job->cap) {
		free(job->buf);
		job->cap = job->size;
		job->buf = xmalloc(job->cap);
	}
	size_t at = 0;
	uint64_t seq = job->segment->seq;
	if (job->has_hard_state)
		at += put_hard_state(job->buf, seq, job->off, &job->hard_state);
	for (size_t i = 0; i < job->n_entries; i++)
		at += put_frame(job->buf + at, seq, job->off, LOG_FRAME_ENTRY, &job->entries[i]);
	MUST(at == job->size);
}

static int write_batch(struct store_log_job *job)
{
	const struct store_disk_ops *ops = job->log->disk->ops;
	int rc = failpoint_error(LOG_WRITE_BEFORE);
	if (!rc)
		rc = ops->pwrite(job->segment->file, job->buf, job->size, job->off);
	if (rc)
		return rc;
	job->written += job->size;
	failpoint(LOG_WRITE_AFTER);
	if (!(BUG(BUG_ACK_BEFORE_SYNC) && job->n_entries == 1) &&
	    (failpoint_error(LOG_SYNC_BEFORE) || ops->sync(job->segment->file)) &&
	    !(BUG(BUG_SYNC_RETRIED) && ops->sync(job->segment->file) == 0))
		return -EIO;
	failpoint(LOG_SYNC_AFTER);
	return 0;
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
	if (!job->size)
		return;
	fill_buf(job);
	job->result = write_batch(job);
	if (!job->result && job->cap > 1u << 20) {
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
	int rc = failpoint_error(LOG_READ);
	if (rc)
		return rc;
	if (!s->file || log->disk->ops->pread(s->file, &f, sizeof(f), p.off) != (int64_t)sizeof(f))
		return -EIO;
	if (f.index != index || f.kind != LOG_FRAME_ENTRY || p.off + log__frame_size(f.len) > s->size)
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
		if (lo <= log->base || lo > log__last(log))
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
	if (index < log->base || index > log__last(log))
		return -ENOENT;
	*ret = log->places[log->head + (size_t)(index - log->base - 1)].term;
	return 0;
}

void store_log_info(const struct store_log *log, struct store_log_info *ret)
{
	*ret = (struct store_log_info){.base = log->base,
				       .base_term = log->base_term,
				       .last = log__last(log),
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
		failpoint(LOG_DROP_BEFORE);
		struct store_log_segment *next = log->segments[1];
		if (next->base > log->base) {
			size_t gone = (size_t)(next->base - log->base);
			/* the next one may say another term: it or a later one has replaced that entry */
			log->base_term = log->places[log->head + gone - 1].term;
			log->head += gone;
			log->n_places -= gone;
			log->base = next->base;
		}
		drop_first(log);
		failpoint(LOG_DROP_AFTER);
	}
	*ret_term = log->base_term;
	return log->base;
}

void store_log_prepare_reset(struct store_log *log, struct store_log_job *job, uint64_t index, uint64_t term,
			     const struct raft_hard_state *hs)
{
	log->head = log->n_places = 0;
	log->base = index;
	log->base_term = log->last_term = term;
	log->must_roll = true;
	store_log_prepare(log, job, NULL, 0, hs);
	job->begin->anew = true;
}

void store_log_reset_done(struct store_log *log)
{
	failpoint(LOG_RESET_BEGUN);
	while (log->n_segments > 1)
		drop_first(log);
	failpoint(LOG_RESET_DONE);
}

int store_log_reset(struct store_log *log, uint64_t index, uint64_t term, const struct raft_hard_state *hs,
		    struct err *err)
{
	struct store_log_job job = {0};
	failpoint(LOG_RESET_BEFORE);
	store_log_prepare_reset(log, &job, index, term, hs);
	store_log_write(&job);
	free(job.buf);
	if (job.result)
		return err_set(err, job.result, "cannot begin the log anew in %s: %s", log->dir, strerror(-job.result));
	store_log_reset_done(log);
	return 0;
}

/* ---- opening ---- */

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
		rc = log__recover(log, err);
	if (rc) {
		store_log_close(log);
		return rc;
	}
	*ret = log;
	return 0;
}
