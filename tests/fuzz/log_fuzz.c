/* The log on a damaged disk. The input is a program: batches are written, then bytes are changed, files cut or removed,
 * checksums mended so that what lies behind them is reached; then the log is opened. It opens, or says what is wrong;
 * an entry that it gives is one that was written (where no checksum was forged), and damage that lies before the last
 * batch never makes it shorter in silence. */
#include <errno.h>

#include "store/log.h"
#include "store/log_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILES   40
#define INDEXES 256

/* ---- a disk in memory ---- */

struct store_file {
	bool used;
	char path[64];
	char *data;
	uint64_t size;
	uint64_t last_write; /* where the last one began */
};
static struct store_file files[FILES];

static struct store_file *find(const char *path)
{
	for (int i = 0; i < FILES; i++)
		if (files[i].used && streq(files[i].path, path))
			return &files[i];
	return NULL;
}

static int m_mkdir(_unused_ struct store_disk *d, _unused_ const char *path)
{
	return 0;
}

static int m_list(_unused_ struct store_disk *d, _unused_ const char *path, void (*each)(void *, const char *),
		  void *arg)
{
	for (int i = 0; i < FILES; i++)
		if (files[i].used)
			each(arg, strrchr(files[i].path, '/') + 1);
	return 0;
}

static int m_open(_unused_ struct store_disk *d, const char *path, bool create, struct store_file **ret)
{
	struct store_file *f = find(path);
	for (int i = 0; !f && create && i < FILES; i++)
		if (!files[i].used) {
			f = &files[i];
			*f = (struct store_file){.used = true};
			snprintf(f->path, sizeof(f->path), "%s", path);
		}
	if (!f)
		return create ? -ENOSPC : -ENOENT;
	*ret = f;
	return 0;
}

static int64_t m_size(struct store_file *f)
{
	return (int64_t)f->size;
}

static int m_preallocate(struct store_file *f, uint64_t size)
{
	if (size > f->size) {
		f->data = xrealloc(f->data, size);
		memset(f->data + f->size, 0, size - f->size);
		f->size = size;
	}
	return 0;
}

static int64_t m_pread(struct store_file *f, void *buf, size_t len, uint64_t off)
{
	if (off >= f->size)
		return 0;
	len = MIN(len, f->size - off);
	memcpy(buf, f->data + off, len);
	return (int64_t)len;
}

static int m_pwrite(struct store_file *f, const void *buf, size_t len, uint64_t off)
{
	m_preallocate(f, off + len);
	memcpy(f->data + off, buf, len);
	f->last_write = off;
	return 0;
}

static int m_sync(_unused_ struct store_file *f)
{
	return 0;
}

static void m_close(_unused_ struct store_file *f) {}

static void forget(struct store_file *f)
{
	free(f->data);
	*f = (struct store_file){0};
}

static int m_rename(_unused_ struct store_disk *d, const char *from, const char *to)
{
	struct store_file *f = find(from);
	if (!f)
		return -ENOENT;
	snprintf(f->path, sizeof(f->path), "%s", to);
	return 0;
}

static int m_unlink(_unused_ struct store_disk *d, const char *path)
{
	struct store_file *f = find(path);
	if (f)
		forget(f);
	return f ? 0 : -ENOENT;
}

static int m_sync_dir(_unused_ struct store_disk *d, _unused_ const char *path)
{
	return 0;
}

static struct store_disk *memory_disk(void)
{
	static const struct store_disk_ops ops = {.mkdir = m_mkdir,
						  .list = m_list,
						  .open = m_open,
						  .size = m_size,
						  .preallocate = m_preallocate,
						  .pread = m_pread,
						  .pwrite = m_pwrite,
						  .sync = m_sync,
						  .close = m_close,
						  .rename = m_rename,
						  .unlink = m_unlink,
						  .sync_dir = m_sync_dir};
	static struct store_disk disk = {.ops = &ops};
	return &disk;
}

/* ---- the program ---- */

struct input {
	const uint8_t *p, *end;
};

static unsigned take(struct input *in, unsigned bytes)
{
	unsigned v = 0;
	for (; bytes && in->p < in->end; bytes--)
		v = v << 8 | *in->p++;
	return v;
}

static struct {
	uint64_t last, term;
	struct raft_hard_state hs;
	uint64_t written[INDEXES]; /* hashes of the entries */
	bool forged, broken;
	unsigned in_last; /* bytes changed in the last write */
} world;

static uint64_t hash_of(const struct raft_entry *e)
{
	return hash64(e->data, e->len) ^ e->term * 31 ^ e->index;
}

static void batch(struct store_log *log, struct store_log_job *job, struct input *in)
{
	struct raft_entry entries[8];
	unsigned n = take(in, 1) % 8, len = take(in, 1) * 3;
	bool hs = n == 0 || take(in, 1) % 4 == 0;
	struct store_log_info info;
	store_log_info(log, &info);
	uint64_t back = take(in, 1) % 3, first = info.last + 1 - MIN(info.last - info.base, back);
	_cleanup_free_ char *data = xmalloc(len + 1);
	memset(data, (int)take(in, 1), len);
	if (first + n >= INDEXES)
		return;
	world.term += hs;
	for (unsigned i = 0; i < n; i++) {
		entries[i] =
			(struct raft_entry){.term = world.term, .index = first + i, .len = len - i % 2, .data = data};
		if (!len)
			entries[i].len = 0;
		world.written[first + i] = hash_of(&entries[i]);
	}
	if (n)
		world.last = first + n - 1;
	if (hs)
		world.hs = (struct raft_hard_state){.term = world.term, .vote = take(in, 1)};
	store_log_prepare(log, job, entries, n, hs ? &world.hs : NULL);
	store_log_write(job);
	MUST(job->result == 0);
}

static struct store_file *newest(void)
{
	struct store_file *f = NULL;
	for (int i = 0; i < FILES; i++)
		if (files[i].used && (!f || strcmp(files[i].path, f->path) > 0))
			f = &files[i];
	return f;
}

static void mend_frame(struct store_file *f, uint64_t off)
{
	struct log_frame h;
	if (off + sizeof(h) > f->size)
		return;
	memcpy(&h, f->data + off, sizeof(h));
	if (h.len > f->size - off - sizeof(h))
		return;
	h.crc = log_frame_crc(strtoull(strrchr(f->path, '/') + 1, NULL, 16), f->data + off, h.len);
	memcpy(f->data + off, &h, sizeof(h));
}

static void damage(struct input *in)
{
	unsigned what = take(in, 1), at = take(in, 1) % FILES, off = take(in, 2), x = take(in, 1);
	struct store_file *f = &files[at];
	if (!f->used)
		return;
	uint64_t begin = off % (f->size ? f->size : 1);
	switch (what % 8) {
	case 0: /* a file is gone, or cut */
		if (x & 1)
			forget(f);
		else
			f->size = begin;
		world.forged = true; /* a missing end can't be told from one that never was */
		break;
	case 1: /* a header that says something else, its checksum right */
		if (f->size >= LOG_HEADER_SIZE) {
			struct log_header h;
			memcpy(&h, f->data, sizeof(h));
			((char *)&h)[12 + off % (sizeof(h) - 12)] ^= (char)x;
			h.crc = 0;
			memcpy(f->data, &h, sizeof(h));
			h.crc = log_header_crc(f->data);
			memcpy(f->data, &h, sizeof(h));
		}
		world.forged = true;
		break;
	case 2: /* a frame, the same */
		f->data[begin] = (char)(f->data[begin] ^ x);
		mend_frame(f, (begin > LOG_HEADER_SIZE ? begin : LOG_HEADER_SIZE) & ~7ull);
		world.forged = true;
		break;
	default:
		if (!f->size)
			break;
		f->data[begin] = (char)(f->data[begin] ^ x);
		/* in the last write it can't be told from a torn one */
		if (f == newest() && begin >= f->last_write)
			world.in_last++;
		world.broken = true;
	}
}

static void look(struct store_log *log)
{
	struct store_log_info i;
	struct raft_entry e[8];
	store_log_info(log, &i);
	MUST(i.last >= i.base);
	for (uint64_t at = i.base + 1; at <= i.last;) {
		int n = store_log_read(log, at, MIN(i.last + 1, at + 8), e, 8);
		MUST(n > 0);
		for (int k = 0; k < n; k++) {
			uint64_t term = 0;
			MUST(e[k].index == at + (uint64_t)k && store_log_term(log, e[k].index, &term) == 0);
			if (!world.forged) {
				MUST(term == e[k].term);
				/* what the last write had replaced may be back, when that one is damaged */
				MUST(e[k].index < INDEXES);
				MUST(world.in_last || hash_of(&e[k]) == world.written[e[k].index]);
			}
		}
		at += (uint64_t)n;
		store_log_release(log);
	}
	if (world.forged)
		return;
	if (world.in_last <= 1)
		MUST(i.hard_state.term == world.hs.term && i.hard_state.vote == world.hs.vote);
	if (!world.in_last)
		MUST(i.last == world.last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct store_log *log = NULL;
	struct store_log_job job = {0};
	memset(&world, 0, sizeof(world));
	MUST(store_log_open(memory_disk(), "/l", 0, 0, &log, NULL) == 0);
	store_log_set_ids(log, 5, 6);
	store_log_set_segment(log, 512 + take(&in, 1) * 16);
	for (unsigned n = take(&in, 1) % 24; n && in.p < in.end; n--)
		batch(log, &job, &in);
	store_log_close(log);
	log = NULL;
	for (unsigned n = 0; n < 12 && in.p < in.end; n++)
		damage(&in);
	struct err err = ERR_INIT;
	int rc = store_log_open(memory_disk(), "/l", 0, 0, &log, &err);
	if (rc) {
		MUST(rc == -EUCLEAN || rc == -EPROTO || (rc == -EIO && world.forged));
		MUST(rc != -EUCLEAN || world.broken || world.forged);
		MUST(err.message[0]);
	} else {
		look(log);
		/* and it can go on */
		struct raft_entry e = {.index = 0, .term = world.term + 1, .len = 3, .data = "abc"};
		struct store_log_info i;
		store_log_info(log, &i);
		e.index = i.last + 1;
		store_log_prepare(log, &job, &e, 1, NULL);
		store_log_write(&job);
		store_log_close(log);
	}
	free(job.buf);
	for (int i = 0; i < FILES; i++)
		if (files[i].used)
			forget(&files[i]);
	return 0;
}
