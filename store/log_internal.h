/* What the two halves of the log share: log.c writes and reads, log_recover.c finds out at start what is there. */
#ifndef MINI_STORE_LOG_INTERNAL_H
#define MINI_STORE_LOG_INTERNAL_H

#include "store/log.h"
#include "store/log_format.h"

struct store_log_segment {
	uint64_t seq, size, end; /* end: where the next frame goes */
	uint64_t base, base_term, prev_end;
	uint64_t last_batch; /* found at open: where the last batch begins; 0: there is none */
	bool anew;           /* the log begins with it, whatever was before */
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
	bool found_term; /* term and vote were found in a torn write: to be made durable before anyone acts on them */
	void **read_bufs;
	size_t n_read, cap_read;
};

static inline uint64_t log__last(const struct store_log *log)
{
	return log->base + log->n_places;
}
static inline size_t log__frame_size(size_t len)
{
	return (sizeof(struct log_frame) + len + 7) & ~(size_t)7;
}

char *log__path(const struct store_log *log, uint64_t seq);
struct store_log_segment *log__segment_new(struct store_log *log, uint64_t seq);
void log__segment_push(struct store_log *log, struct store_log_segment *s);
/* That entry lies there; an index there already: it and all after it are replaced. */
void log__place(struct store_log *log, uint64_t index, uint64_t term, uint32_t seq, uint64_t off);

/* log_recover.c */
int log__recover(struct store_log *log, struct err *err);

#endif
