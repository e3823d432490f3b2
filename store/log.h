/* The log on disk: segment files of CRC-framed entries, preallocated, one sync per batch. Private to the store.
 *
 * A segment DIR/SEQ.log begins with a header (format version, ids, where the log stood when it was begun), then term and
 * vote as they were then, then frames of 8-aligned length: {crc32c, length, where its batch began, kind, entry type, index, term} and the bytes. A frame of
 * an index the log already has replaces it and all after it. The checksums are seeded with the segment's number. A batch
 * lies in one segment, and a segment is begun only after the one before it was synced.
 *
 * Recovery: bytes that are no frame end the log if they are in the last batch (a torn write, never acknowledged). If
 * frames of a later batch or segment follow, acknowledged entries are damaged: -EUCLEAN. A flip in the very last batch
 * can't be told from a torn write; but term and vote are there twice, and one of them is enough, so that no single flip
 * makes a server vote again. A segment may say that the log begins anew with it: then older ones mean nothing.
 *
 * Threads: everything here belongs to the loop, but store_log_write(), which runs on the log lane, one at a time, and
 * touches only its job.
 */
#ifndef MINI_STORE_LOG_H
#define MINI_STORE_LOG_H

#include "lib/core/err.h"
#include "raft/raft.h"
#include "store/disk.h"

#define STORE_LOG_FORMAT  1u
#define STORE_LOG_SEGMENT (4u << 20)

struct store_log;
struct store_log_segment;

/* Opens or makes the log in `dir`. cluster/member: checked against what the segments say; 0: unknown. */
int store_log_open(struct store_disk *disk, const char *dir, uint64_t cluster, uint64_t member, struct store_log **ret,
		   struct err *err);
void store_log_close(struct store_log *log);

struct store_log_info {
	uint64_t base, base_term, last; /* entries (base, last] are there */
	struct raft_hard_state hard_state;
	bool torn; /* a torn write was found and left behind */
	bool has_ids;
	uint64_t cluster, member;
	uint64_t bytes; /* of all segment files */
};
void store_log_info(const struct store_log *log, struct store_log_info *ret);

void store_log_set_segment(struct store_log *log,
			   uint64_t bytes); /* size of those to come; the usual: STORE_LOG_SEGMENT */
void store_log_set_ids(struct store_log *log, uint64_t cluster, uint64_t member); /* of a new log */

/* Start the log anew after index (the state is ahead of it). Blocking: at open only, or where nothing else waits. A crash
 * at any point leaves the old log or the new one, each with a term and vote: the new one has hs. */
int store_log_reset(struct store_log *log, uint64_t index, uint64_t term, const struct raft_hard_state *hs,
		    struct err *err);

/* One batch on its way to the disk. Filled by store_log_prepare() on the loop, done by store_log_write() on the lane. */
struct store_log_job {
	struct store_log *log;
	const struct raft_entry *entries; /* must stay until the write is done */
	size_t n_entries;
	bool has_hard_state;
	struct raft_hard_state hard_state;
	struct store_log_segment *segment;
	struct store_log_segment *begin; /* the segment to be made first, or NULL */
	uint64_t off;
	size_t size;
	char *buf; /* kept between jobs */
	size_t cap;
	uint64_t written; /* bytes this job gave to the disk */
	int result;       /* 0; -ENOSPC: nothing is lost, the same job may run again; else the disk can't be trusted */
};
void store_log_prepare(struct store_log *log, struct store_log_job *job, const struct raft_entry *entries, size_t n,
		       const struct raft_hard_state *hs);
void store_log_write(struct store_log_job *job);
/* The same in three steps, for a log at work: prepare on the loop (no other job may be under way; entries up to index, and
 * all others, can't be read from here on), store_log_write() on the lane, and where its result is 0 the third on the loop. */
void store_log_prepare_reset(struct store_log *log, struct store_log_job *job, uint64_t index, uint64_t term,
			     const struct raft_hard_state *hs);
void store_log_reset_done(struct store_log *log);

/* For raft: entries that are durable. Data is valid until the next call with a larger lo or store_log_release(). */
int store_log_read(struct store_log *log, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max);
void store_log_release(struct store_log *log);
int store_log_term(struct store_log *log, uint64_t index, uint64_t *ret);

/* Whole segments that only hold entries <= index go. Returns the new base (unchanged if none went) and its term. */
uint64_t store_log_drop(struct store_log *log, uint64_t index, uint64_t *ret_term);

#endif
