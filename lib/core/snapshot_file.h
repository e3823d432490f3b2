/* The file of a snapshot of the store: a header, the state's database, and a SHA-256 over both; read without SQLite.
 *
 *   0    "MINISNAP"
 *   8    version (4 bytes), CRC-32C of the header from byte 16 on (4)
 *   16   cluster id, revision, log index, its term, live keys, bytes of the database (8 each)
 *   64   when it was made, microseconds since the epoch (8)
 *   72   the version of the program that made it, NUL-terminated (32); zeros
 *   256  the database
 *   end  SHA-256 of all before it (32)
 *
 * All little-endian. Whoever takes one in reads it as a stream through a snapshot_check; the same bytes travel between
 * members and are saved by an operator. Blocking functions say so.
 */
#ifndef MINI_CORE_SNAPSHOT_FILE_H
#define MINI_CORE_SNAPSHOT_FILE_H

#include "lib/core/err.h"
#include "lib/core/sha256.h"

#define SNAPSHOT_FILE_VERSION 1u
#define SNAPSHOT_FILE_HEADER  256u
#define SNAPSHOT_FILE_TRAILER SHA256_SIZE

struct snapshot_file_info {
	uint64_t cluster, rev, index, term, keys;
	uint64_t data_bytes; /* of the database; the file has header and trailer beside */
	int64_t time_us;
	char program[32];
	uint8_t sha256[SHA256_SIZE]; /* known once all was read */
};

static inline uint64_t snapshot_file_bytes(const struct snapshot_file_info *info)
{
	return SNAPSHOT_FILE_HEADER + info->data_bytes + SNAPSHOT_FILE_TRAILER;
}

void snapshot_file_put_header(const struct snapshot_file_info *info, uint8_t ret[SNAPSHOT_FILE_HEADER]);
/* -EUCLEAN: not a snapshot, or damaged; -EPROTO: of a version this program does not know. */
int snapshot_file_get_header(const uint8_t raw[SNAPSHOT_FILE_HEADER], struct snapshot_file_info *ret, struct err *err);

/* Reads the file in pieces of any size. add: -EUCLEAN or -EPROTO as soon as that is clear, and then for good. end: it
 * was the whole of it, and undamaged; frees. */
struct snapshot_check;
struct snapshot_check *snapshot_check_new(void);
int snapshot_check_add(struct snapshot_check *c, const void *data, size_t len, struct err *err);
int snapshot_check_end(struct snapshot_check *c, struct snapshot_file_info *ret, struct err *err);

/* The whole file at `path`. Blocking. */
int snapshot_file_verify(const char *path, struct snapshot_file_info *ret, struct err *err);

#endif
