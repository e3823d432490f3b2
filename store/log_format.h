/* The bytes of a log segment (see log.h): header and frame. Little-endian, as every machine this runs on. */
#ifndef MINI_STORE_LOG_FORMAT_H
#define MINI_STORE_LOG_FORMAT_H

#include <endian.h>
#include <errno.h>

#include "lib/core/util.h"

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the store's files are little-endian");

#define LOG_HEADER_SIZE 80u
#define LOG_MAGIC       "MINILOG\n"

struct log_header {
	char magic[8];
	uint32_t crc, format;
	uint64_t seq, base, base_term, prev_end, cluster, member;
	uint64_t flags;
	uint64_t spare;
};
/* The log begins anew with this segment: what older ones hold is of no account, and may be there or not. */
#define LOG_HEADER_ANEW 1u
_Static_assert(sizeof(struct log_header) == LOG_HEADER_SIZE, "header layout");

enum log_frame_kind { LOG_FRAME_ENTRY = 1, LOG_FRAME_HARD_STATE = 2 };

struct log_frame {
	uint32_t crc, len;
	uint32_t batch; /* where in the segment its batch began */
	uint8_t kind, type;
	uint16_t spare;
	uint64_t index, term;
};
_Static_assert(sizeof(struct log_frame) == 32, "frame layout");

static inline uint32_t log_header_crc(const char *raw)
{
	return crc32c(0, raw + 12, LOG_HEADER_SIZE - 12);
}
static inline void log_header_put(char *raw, const struct log_header *h)
{
	struct log_header copy = *h;
	memcpy(copy.magic, LOG_MAGIC, 8);
	memcpy(raw, &copy, sizeof(copy));
	copy.crc = log_header_crc(raw);
	memcpy(raw, &copy, sizeof(copy));
}
static inline int log_header_get(const char *raw, struct log_header *ret)
{
	memcpy(ret, raw, sizeof(*ret));
	return memcmp(ret->magic, LOG_MAGIC, 8) == 0 && ret->crc == log_header_crc(raw) ? 0 : -EUCLEAN;
}
/* Over all but the crc itself, seeded with the segment: what an older file left there never passes. */
static inline uint32_t log_frame_crc(uint64_t seq, const char *raw, size_t len)
{
	uint32_t crc = crc32c(0, &seq, sizeof(seq));
	return crc32c(crc, raw + 4, sizeof(struct log_frame) - 4 + len);
}

#endif
