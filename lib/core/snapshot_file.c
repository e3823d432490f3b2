#include "lib/core/snapshot_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#define MAGIC      "MINISNAP"
#define DATA_MAX   (1ull << 48)
#define PIECE_SIZE 65536u

struct raw_header {
	char magic[8];
	uint32_t version, crc;
	uint64_t cluster, rev, index, term, keys, data_bytes;
	int64_t time_us;
	char program[32];
	uint8_t zero[152];
};
_Static_assert(sizeof(struct raw_header) == SNAPSHOT_FILE_HEADER, "the layout of the header");
_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the numbers are little-endian");

static uint32_t header_crc(const struct raw_header *h)
{
	return crc32c(0, (const char *)h + 16, sizeof(*h) - 16);
}

void snapshot_file_put_header(const struct snapshot_file_info *info, uint8_t ret[SNAPSHOT_FILE_HEADER])
{
	struct raw_header h = {.version = SNAPSHOT_FILE_VERSION,
			       .cluster = info->cluster,
			       .rev = info->rev,
			       .index = info->index,
			       .term = info->term,
			       .keys = info->keys,
			       .data_bytes = info->data_bytes,
			       .time_us = info->time_us};
	memcpy(h.magic, MAGIC, sizeof(h.magic));
	snprintf(h.program, sizeof(h.program), "%s", info->program);
	h.crc = header_crc(&h);
	memcpy(ret, &h, sizeof(h));
}

int snapshot_file_get_header(const uint8_t raw[SNAPSHOT_FILE_HEADER], struct snapshot_file_info *ret, struct err *err)
{
	struct raw_header h;
	memcpy(&h, raw, sizeof(h));
	if (memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0)
		return err_set(err, -EUCLEAN, "this is not a snapshot of the store");
	if (h.crc != header_crc(&h)) /* of whatever version: a damaged one is not to be taken for a newer one */
		return err_set(err, -EUCLEAN, "the snapshot's header is damaged");
	if (h.version != SNAPSHOT_FILE_VERSION)
		return err_set(err, -EPROTO,
			       "the snapshot has version %u, this program knows %u: use the program that made it",
			       h.version, SNAPSHOT_FILE_VERSION);
	if (h.data_bytes > DATA_MAX || h.program[sizeof(h.program) - 1])
		return err_set(err, -EUCLEAN, "the snapshot's header is damaged");
	*ret = (struct snapshot_file_info){.cluster = h.cluster,
					   .rev = h.rev,
					   .index = h.index,
					   .term = h.term,
					   .keys = h.keys,
					   .data_bytes = h.data_bytes,
					   .time_us = h.time_us};
	memcpy(ret->program, h.program, sizeof(h.program));
	return 0;
}

struct snapshot_check {
	struct sha256_ctx *sha;
	uint64_t at;
	uint8_t header[SNAPSHOT_FILE_HEADER], trailer[SNAPSHOT_FILE_TRAILER];
	struct snapshot_file_info info;
	struct err failed;
};

struct snapshot_check *snapshot_check_new(void)
{
	struct snapshot_check *c = NEW(struct snapshot_check);
	c->sha = sha256_new();
	return c;
}

/* How much of the data belongs before `end`. */
static size_t upto(const struct snapshot_check *c, uint64_t end, size_t len)
{
	return c->at >= end ? 0 : (size_t)MIN(end - c->at, (uint64_t)len);
}

static int add(struct snapshot_check *c, const uint8_t *data, size_t len, struct err *err)
{
	size_t n = upto(c, SNAPSHOT_FILE_HEADER, len);
	if (n) {
		memcpy(c->header + c->at, data, n);
		sha256_update(c->sha, data, n);
		c->at += n;
		if (c->at < SNAPSHOT_FILE_HEADER)
			return 0;
		int rc = snapshot_file_get_header(c->header, &c->info, err);
		if (rc)
			return rc;
	}
	data += n;
	len -= n;
	uint64_t data_end = SNAPSHOT_FILE_HEADER + c->info.data_bytes;
	n = upto(c, data_end, len);
	sha256_update(c->sha, data, n);
	c->at += n;
	data += n;
	len -= n;
	if (!len)
		return 0;
	if (c->at + len > data_end + SNAPSHOT_FILE_TRAILER)
		return err_set(err, -EUCLEAN, "the snapshot is longer than its header says");
	memcpy(c->trailer + (c->at - data_end), data, len);
	c->at += len;
	return 0;
}

int snapshot_check_add(struct snapshot_check *c, const void *data, size_t len, struct err *err)
{
	if (!c->failed.code)
		add(c, data, len, &c->failed);
	if (c->failed.code && err)
		err_copy(err, &c->failed);
	return c->failed.code;
}

static int judge(struct snapshot_check *c, struct err *err)
{
	uint8_t sum[SHA256_SIZE];
	sha256_final(STEAL(c->sha), sum);
	if (c->failed.code) {
		if (err)
			err_copy(err, &c->failed);
		return c->failed.code;
	}
	if (c->at < SNAPSHOT_FILE_HEADER || c->at < snapshot_file_bytes(&c->info))
		return err_set(err, -EUCLEAN, "the snapshot is cut short: it has %" PRIu64 " bytes", c->at);
	if (memcmp(sum, c->trailer, sizeof(sum)) != 0)
		return err_set(err, -EUCLEAN,
			       "the snapshot is damaged: its bytes do not have the checksum it ends with");
	memcpy(c->info.sha256, sum, sizeof(sum));
	return 0;
}

int snapshot_check_end(struct snapshot_check *c, struct snapshot_file_info *ret, struct err *err)
{
	int rc = judge(c, err);
	if (!rc)
		*ret = c->info;
	err_done(&c->failed);
	free(c);
	return rc;
}

int snapshot_file_verify(const char *path, struct snapshot_file_info *ret, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	_cleanup_free_ char *piece = xmalloc(PIECE_SIZE);
	struct snapshot_check *c = snapshot_check_new();
	ssize_t n;
	while ((n = read(fd, piece, PIECE_SIZE)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && snapshot_check_add(c, piece, (size_t)n, NULL))
			break;
	int failed = n < 0 ? errno : 0;
	int rc = snapshot_check_end(c, ret, err);
	if (failed)
		return err_set(err, -failed, "cannot read %s: %s", path, strerror(failed));
	if (rc)
		err_prefix(err, "%s", path);
	return rc;
}
