/* The log on disk: what a crash may leave behind, and what only damage can. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/core/file.h"
#include "store/log.h"
#include "store/log_format.h"
#include "tests/support/store/fixture.h"

struct ctx {
	char dir[64];
	struct store_log *log;
	struct store_log_job job;
	struct faulty_disk disk;
};

static int setup(void **state)
{
	struct ctx *c = NEW(struct ctx);
	snprintf(c->dir, sizeof(c->dir), "/tmp/mini-log-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	faulty_disk_init(&c->disk);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	store_log_close(c->log);
	free(c->job.buf);
	rm_rf(c->dir, NULL);
	free(c);
	return 0;
}

static int reopen(struct ctx *c, struct err *err)
{
	store_log_close(STEAL(c->log));
	return store_log_open(&c->disk.disk, c->dir, 0, 0, &c->log, err);
}

static struct store_log_info info(struct ctx *c)
{
	struct store_log_info i;
	store_log_info(c->log, &i);
	return i;
}

/* One batch: entries first .. first+n-1 of this term, `size` bytes each. */
static int append(struct ctx *c, uint64_t term, uint64_t first, size_t n, size_t size)
{
	struct raft_entry entries[64];
	char *data = xmalloc(size + 1);
	memset(data, (int)('a' + first % 26), size);
	for (size_t i = 0; i < n; i++)
		entries[i] = (struct raft_entry){.term = term, .index = first + i, .len = size, .data = data};
	struct raft_hard_state hs = {.term = term, .vote = 1, .commit = first - 1};
	store_log_prepare(c->log, &c->job, entries, n, term != info(c).hard_state.term ? &hs : NULL);
	store_log_write(&c->job);
	free(data);
	return c->job.result;
}

static void fill(struct ctx *c)
{
	assert_int_equal(reopen(c, NULL), 0);
	store_log_set_ids(c->log, 11, 12);
	assert_int_equal(append(c, 1, 1, 3, 100), 0);
	assert_int_equal(append(c, 1, 4, 2, 1000), 0);
	assert_int_equal(append(c, 2, 6, 5, 50), 0);
}

static char *segment(struct ctx *c, int seq)
{
	return xasprintf("%s/%016x.log", c->dir, seq);
}

/* Where the bytes of the log end in the first segment. */
static off_t tail(struct ctx *c)
{
	_cleanup_free_ char *path = segment(c, 1);
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(file_read(path, 64u << 20, &b, NULL), 0);
	size_t n = b.len;
	while (n && !b.data[n - 1])
		n--;
	return (off_t)n;
}

static void poke(struct ctx *c, int seq, off_t at, const void *bytes, size_t n)
{
	_cleanup_free_ char *path = segment(c, seq);
	_cleanup_close_ int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), n);
}

static void flip(struct ctx *c, int seq, off_t at)
{
	_cleanup_free_ char *path = segment(c, seq);
	_cleanup_close_ int fd = open(path, O_RDWR);
	char b;
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 4;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
}

static void reads_back(void **state)
{
	struct ctx *c = *state;
	fill(c);
	assert_int_equal(reopen(c, NULL), 0);
	struct store_log_info i = info(c);
	assert_int_equal(i.last, 10);
	assert_int_equal(i.base, 0);
	assert_int_equal(i.hard_state.term, 2);
	assert_int_equal(i.hard_state.commit, 5);
	assert_int_equal(i.cluster, 11);
	assert_int_equal(i.member, 12);
	assert_false(i.torn);
	struct raft_entry e[16];
	assert_int_equal(store_log_read(c->log, 3, 7, e, 16), 4);
	assert_int_equal(e[0].index, 3);
	assert_int_equal(e[1].len, 1000);
	assert_memory_equal(e[1].data, "eeee", 4);
	assert_int_equal(e[3].term, 2);
	uint64_t term;
	assert_int_equal(store_log_term(c->log, 5, &term), 0);
	assert_int_equal(term, 1);
	assert_int_equal(store_log_term(c->log, 11, &term), -ENOENT);
}

static void replaces_a_tail(void **state)
{
	struct ctx *c = *state;
	fill(c);
	assert_int_equal(append(c, 3, 5, 2, 10), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(info(c).last, 6);
		struct raft_entry e[16];
		assert_int_equal(store_log_read(c->log, 4, 7, e, 16), 3);
		assert_int_equal(e[0].term, 1);
		assert_int_equal(e[1].term, 3);
		assert_int_equal(e[2].len, 10);
		assert_int_equal(reopen(c, NULL), 0);
	}
}

/* Any prefix of the last batch may have reached the disk; all before it is there. */
static void torn_anywhere(void **state)
{
	struct ctx *c = *state;
	fill(c);
	off_t before = tail(c);
	assert_int_equal(append(c, 2, 11, 3, 333), 0);
	off_t after = tail(c);
	_cleanup_free_ char *path = segment(c, 1);
	_cleanup_buf_ struct buf whole = BUF_INIT;
	assert_int_equal(file_read(path, 64u << 20, &whole, NULL), 0);
	char *zeros = xcalloc(1, (size_t)(after - before));
	for (off_t cut = before + 8; cut < after; cut += 41) {
		store_log_close(STEAL(c->log));
		poke(c, 1, before, whole.data + before, (size_t)(after - before));
		poke(c, 1, cut, zeros, (size_t)(after - cut));
		_cleanup_free_ char *second = segment(c, 2);
		unlink(second);
		assert_int_equal(reopen(c, NULL), 0);
		struct store_log_info i = info(c);
		assert_true(i.last >= 10 && i.last < 13);
		/* what was torn never comes back, whatever is written next */
		assert_int_equal(append(c, 3, i.last + 1, 1, 333), 0);
		assert_int_equal(reopen(c, NULL), 0);
		assert_int_equal(info(c).last, i.last + 1);
		assert_int_equal(info(c).hard_state.term, 3);
	}
	free(zeros);
}

/* A file that was cut, at any byte: what is whole is there, and nothing behind its end is looked at. */
static void cut_anywhere(void **state)
{
	struct ctx *c = *state;
	fill(c);
	off_t before = tail(c);
	assert_int_equal(append(c, 2, 11, 3, 45), 0);
	off_t after = tail(c) + 8;
	_cleanup_free_ char *path = segment(c, 1);
	_cleanup_buf_ struct buf whole = BUF_INIT;
	assert_int_equal(file_read(path, 64u << 20, &whole, NULL), 0);
	for (off_t cut = before + 8; cut < after; cut++) {
		store_log_close(STEAL(c->log));
		assert_int_equal(file_write_replace(path, whole.data, (size_t)cut, 0600, NULL), 0);
		_cleanup_free_ char *second = segment(c, 2);
		unlink(second);
		assert_int_equal(reopen(c, NULL), 0);
		assert_true(info(c).last >= 10 && info(c).last <= 13);
		assert_int_equal(append(c, 3, info(c).last + 1, 1, 10), 0);
		assert_int_equal(reopen(c, NULL), 0);
	}
}

/* The pages of one batch may arrive in any order: a good frame behind a hole is still a torn write. */
static void torn_with_a_hole(void **state)
{
	struct ctx *c = *state;
	fill(c);
	off_t before = tail(c);
	assert_int_equal(append(c, 2, 11, 4, 5000), 0);
	char hole[4096] = {0};
	poke(c, 1, (before + 8191) & ~4095, hole, sizeof(hole));
	assert_int_equal(reopen(c, NULL), 0);
	assert_true(info(c).torn);
	assert_true(info(c).last >= 10 && info(c).last < 14);
}

static void flip_in_the_middle(void **state)
{
	struct ctx *c = *state;
	fill(c);
	off_t end = tail(c);
	assert_int_equal(append(c, 2, 11, 1, 20), 0);
	store_log_close(STEAL(c->log));
	unsigned refused = 0, n = 0;
	for (off_t at = 80; at < end; at += 13, n++) {
		flip(c, 1, at);
		_cleanup_err_ struct err err = ERR_INIT;
		int rc = reopen(c, &err);
		if (rc) {
			assert_int_equal(rc, -EUCLEAN);
			assert_non_null(strstr(err.message, "snapshot"));
			refused++;
		} else {
			assert_int_equal(info(c).last, 11); /* a padding byte: nothing is lost */
		}
		store_log_close(STEAL(c->log));
		flip(c, 1, at);
	}
	assert_true(refused > n * 9 / 10);
	assert_int_equal(reopen(c, NULL), 0);
}

static void flip_in_a_finished_segment(void **state)
{
	struct ctx *c = *state;
	fill(c);
	uint64_t next = 11;
	while (info(c).bytes < 3 * (uint64_t)STORE_LOG_SEGMENT)
		assert_int_equal(append(c, 2, next++, 1, 1u << 20), 0);
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).last, next - 1);
	flip(c, 2, 3000000);
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(reopen(c, &err), -EUCLEAN);
	flip(c, 2, 3000000);
	flip(c, 2, 20); /* its header */
	assert_int_equal(reopen(c, NULL), -EUCLEAN);
	flip(c, 2, 20);
	assert_int_equal(reopen(c, NULL), 0);
	uint64_t term;
	uint64_t base = store_log_drop(c->log, 14, &term);
	assert_true(base > 10 && base <= 14);
	assert_int_equal(term, 2);
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).base, base);
	assert_int_equal(info(c).last, next - 1);
	assert_int_equal(info(c).hard_state.term, 2);
	_cleanup_free_ char *gone = segment(c, 3);
	unlink(gone);
	if (info(c).bytes > 2 * (uint64_t)STORE_LOG_SEGMENT)
		assert_int_equal(reopen(c, NULL), -EUCLEAN);
}

/* After a failed sync the end of the log may be in the page cache only: it is made durable anew, or nothing is opened. */
static void end_is_settled(void **state)
{
	struct ctx *c = *state;
	fill(c);
	unsigned before = c->disk.syncs;
	assert_int_equal(reopen(c, NULL), 0);
	assert_true(c->disk.syncs > before);
	c->disk.fail_sync_after = 0;
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(reopen(c, &err), -EIO);
	c->disk.fail_sync_after = -1;
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).last, 10);
}

static void newer_format(void **state)
{
	struct ctx *c = *state;
	fill(c);
	_cleanup_free_ char *path = segment(c, 1);
	_cleanup_buf_ struct buf b = BUF_INIT;
	assert_int_equal(file_read(path, 64u << 20, &b, NULL), 0);
	uint32_t format = 99;
	memcpy(b.data + 12, &format, 4);
	uint32_t crc = crc32c(0, b.data + 12, 80 - 12);
	memcpy(b.data + 8, &crc, 4);
	poke(c, 1, 0, b.data, 80);
	_cleanup_err_ struct err err = ERR_INIT;
	assert_int_equal(reopen(c, &err), -EPROTO);
	assert_non_null(strstr(err.message, "newer"));
}

static void begins_anew(void **state)
{
	struct ctx *c = *state;
	fill(c);
	struct raft_hard_state hs = {.term = 7, .vote = 3, .commit = 500};
	assert_int_equal(store_log_reset(c->log, 500, 6, &hs, NULL), 0);
	assert_int_equal(append(c, 7, 501, 2, 10), 0);
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).base, 500);
	assert_int_equal(info(c).base_term, 6);
	assert_int_equal(info(c).last, 502);
	assert_int_equal(info(c).hard_state.vote, 3);
}

/* What a file's name and bytes were, to be put back as a crash may leave them. */
static void copy_out(struct ctx *c, int seq, struct buf *ret)
{
	_cleanup_free_ char *path = segment(c, seq);
	assert_int_equal(file_read(path, 64u << 20, ret, NULL), 0);
}
static void copy_in(struct ctx *c, int seq, const struct buf *b)
{
	_cleanup_free_ char *path = segment(c, seq);
	assert_int_equal(file_write_replace(path, b->data, b->len, 0600, NULL), 0);
}

/* Begun anew in the middle of what it had, as after a copy of another's state: what older segments hold comes back after
 * no crash, even where their removal was lost. */
static void begins_anew_below_its_end(void **state)
{
	struct ctx *c = *state;
	fill(c);
	_cleanup_buf_ struct buf old = BUF_INIT;
	copy_out(c, 1, &old);
	struct raft_hard_state hs = {.term = 7, .vote = 3, .commit = 8};
	struct store_log_job job = {0};
	store_log_prepare_reset(c->log, &job, 8, 6, &hs);
	assert_int_equal(info(c).last, 8);
	assert_int_equal(info(c).base, 8);
	/* not written yet: the old log */
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).last, 10);
	assert_int_equal(info(c).hard_state.term, 2);
	store_log_prepare_reset(c->log, &job, 8, 6, &hs);
	store_log_write(&job);
	assert_int_equal(job.result, 0);
	for (int i = 0; i < 2; i++) {
		/* written, the old ones still there; then they are back after all, damaged even */
		assert_int_equal(reopen(c, NULL), 0);
		assert_int_equal(info(c).last, 8);
		assert_int_equal(info(c).base, 8);
		assert_int_equal(info(c).base_term, 6);
		assert_int_equal(info(c).hard_state.term, 7);
		assert_int_equal(info(c).hard_state.vote, 3);
		_cleanup_free_ char *path = segment(c, 1);
		assert_int_equal(access(path, F_OK), -1);
		copy_in(c, 1, &old);
		flip(c, 1, 300);
	}
	assert_int_equal(append(c, 7, 9, 2, 30), 0);
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).last, 10);
	struct raft_entry e[4];
	assert_int_equal(store_log_read(c->log, 9, 11, e, 4), 2);
	assert_int_equal(e[0].term, 7);
	free(job.buf);
}

/* A bit of the very last write can't be told from a torn one; but no single one takes term and vote. */
static void flips_leave_term_and_vote(void **state)
{
	struct ctx *c = *state;
	fill(c);
	off_t before = (tail(c) + 7) & ~7;
	struct raft_hard_state hs = {.term = 9, .vote = 4, .commit = 5};
	store_log_prepare(c->log, &c->job, NULL, 0, &hs);
	store_log_write(&c->job);
	off_t after = tail(c);
	assert_true(after - before >= 100);
	_cleanup_buf_ struct buf whole = BUF_INIT;
	store_log_close(STEAL(c->log));
	copy_out(c, 1, &whole);
	unsigned found = 0;
	for (off_t at = before; at < after; at++) {
		copy_in(c, 1, &whole);
		flip(c, 1, at);
		for (int i = 0; i < 2; i++) { /* and it is durable from then on, whatever becomes of the first one */
			assert_int_equal(reopen(c, NULL), 0);
			assert_int_equal(info(c).last, 10);
			if (info(c).hard_state.term == 9 && info(c).hard_state.vote == 4)
				found++;
			else
				print_error("flip at %ld: term %d\n", (long)(at - before),
					    (int)info(c).hard_state.term);
		}
		store_log_close(STEAL(c->log));
		_cleanup_free_ char *second = segment(c, 2);
		unlink(second);
	}
	assert_int_equal(found, 2 * (after - before));
}

/* The first bytes of a segment are term and vote; it is never there without them. */
static void segments_begin_with_the_term(void **state)
{
	struct ctx *c = *state;
	fill(c);
	assert_int_equal(append(c, 5, 11, 1, 10), 0);
	struct raft_entry e = {.term = 5, .index = 12, .len = STORE_LOG_SEGMENT};
	_cleanup_free_ char *data = xcalloc(1, e.len);
	e.data = data;
	store_log_prepare(c->log, &c->job, &e, 1, NULL);
	assert_non_null(c->job.begin);
	store_log_write(&c->job);
	assert_int_equal(c->job.result, 0);
	struct log_frame f;
	_cleanup_buf_ struct buf b = BUF_INIT;
	copy_out(c, 2, &b);
	memcpy(&f, b.data + LOG_HEADER_SIZE, sizeof(f));
	assert_int_equal(f.kind, LOG_FRAME_HARD_STATE);
	assert_int_equal(f.batch, LOG_HEADER_SIZE);
	assert_int_equal(log_frame_crc(2, b.data + LOG_HEADER_SIZE, f.len), f.crc);
}

/* A segment that follows and does not go on where the one before ended is damage, not a log. */
static void segments_must_meet(void **state)
{
	struct ctx *c = *state;
	fill(c);
	struct raft_entry e = {.term = 2, .index = 11, .len = STORE_LOG_SEGMENT};
	_cleanup_free_ char *data = xcalloc(1, e.len);
	e.data = data;
	store_log_prepare(c->log, &c->job, &e, 1, NULL);
	store_log_write(&c->job);
	_cleanup_buf_ struct buf b = BUF_INIT;
	copy_out(c, 2, &b);
	struct log_header h;
	assert_int_equal(log_header_get(b.data, &h), 0);
	h.base = 20;
	log_header_put(b.data, &h);
	poke(c, 2, 0, b.data, LOG_HEADER_SIZE);
	assert_int_equal(reopen(c, NULL), -EUCLEAN);
}

static void no_room_then_room(void **state)
{
	struct ctx *c = *state;
	fill(c);
	c->disk.full = true;
	uint64_t next = 11;
	int rc;
	while ((rc = append(c, 2, next, 1, 1u << 20)) == 0)
		next++;
	assert_int_equal(rc, -ENOSPC);
	c->disk.full = false;
	/* the same job again */
	char *data = xmalloc(1u << 20);
	memset(data, 'z', 1u << 20);
	struct raft_entry e = {.term = 2, .index = next, .len = 1u << 20, .data = data};
	c->job.entries = &e;
	store_log_write(&c->job);
	free(data);
	assert_int_equal(c->job.result, 0);
	assert_int_equal(reopen(c, NULL), 0);
	assert_int_equal(info(c).last, next);
}

/* The first segment left may replace entries from before it: the log then begins with them. */
static void what_replaces_older_entries_may_come_first(void **state)
{
	struct ctx *c = *state;
	struct err err = ERR_INIT;
	uint64_t term;
	assert_int_equal(reopen(c, NULL), 0);
	store_log_set_ids(c->log, 1, 2);
	store_log_set_segment(c->log, 8192);
	assert_int_equal(append(c, 1, 1, 3, 2000), 0);
	assert_int_equal(append(c, 2, 2, 3, 2500), 0); /* the second segment, from before its base on */
	assert_int_equal(store_log_drop(c->log, 4, &term), 3);
	assert_int_equal(term, 2);
	assert_int_equal(reopen(c, &err), 0);
	assert_int_equal(info(c).base, 2);
	assert_int_equal(info(c).base_term, 2);
	assert_int_equal(info(c).last, 4);
	assert_int_equal(append(c, 2, 5, 1, 7000), 0);
	assert_int_equal(store_log_drop(c->log, 4, &term), 4);
	assert_int_equal(reopen(c, &err), 0);
	assert_int_equal(info(c).base, 4);
	assert_int_equal(info(c).last, 5);
}

static void a_later_one_may_replace_them_too(void **state)
{
	struct ctx *c = *state;
	struct err err = ERR_INIT;
	uint64_t term;
	assert_int_equal(reopen(c, NULL), 0);
	store_log_set_ids(c->log, 1, 2);
	store_log_set_segment(c->log, 8192);
	assert_int_equal(append(c, 1, 1, 3, 2000), 0);
	assert_int_equal(append(c, 1, 4, 2, 3500), 0); /* the second segment */
	assert_int_equal(append(c, 2, 3, 3, 2500), 0); /* the third: entry 3 is another one now */
	assert_int_equal(append(c, 2, 6, 1, 7000), 0); /* the fourth */
	assert_int_equal(store_log_drop(c->log, 3, &term), 3);
	assert_int_equal(term, 2);
	assert_int_equal(reopen(c, &err), 0);
	assert_int_equal(info(c).base, 3);
	assert_int_equal(info(c).base_term, 2);
	assert_int_equal(info(c).last, 6);
	assert_int_equal(store_log_drop(c->log, 5, &term), 5);
	assert_int_equal(term, 2);
	assert_int_equal(reopen(c, &err), 0);
	assert_int_equal(info(c).base, 5);
	assert_int_equal(info(c).last, 6);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reads_back),
		T(replaces_a_tail),
		T(torn_anywhere),
		T(torn_with_a_hole),
		T(flip_in_the_middle),
		T(flip_in_a_finished_segment),
		T(newer_format),
		T(begins_anew),
		T(no_room_then_room),
		T(cut_anywhere),
		T(end_is_settled),
		T(begins_anew_below_its_end),
		T(flips_leave_term_and_vote),
		T(segments_begin_with_the_term),
		T(segments_must_meet),
		T(what_replaces_older_entries_may_come_first),
		T(a_later_one_may_replace_them_too),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
