/* What a log entry says to the store: a transaction, a compaction, a lease. Private to the store.
 *
 * A command is its encoded bytes (which go into the log) plus views into them. Strings point into the bytes. Format:
 * version, kind, then little-endian base-128 numbers and length-prefixed, NUL-terminated strings.
 */
#ifndef MINI_STORE_CMD_H
#define MINI_STORE_CMD_H

#include "store/store.h"

#define STORE_CMD_FORMAT 1
#define STORE_KEY_MAX    4096u
#define STORE_VALUE_MAX  (3u << 20)
#define STORE_OPS_MAX    128u
#define STORE_CMD_MAX    (16u << 20)

enum store_cmd_kind { CMD_TXN = 1, CMD_COMPACT = 2, CMD_LEASE_GRANT = 3, CMD_LEASE_REVOKE = 4, CMD_LEASE_RENEW = 5 };

struct store_cmd {
	enum store_cmd_kind kind;
	struct buf bytes;
	uint64_t number;          /* revision to compact, TTL in seconds, lease to revoke */
	struct store_txn_req txn; /* arrays are ours, blobs referenced */
};

/* Check a caller's transaction against the bounds and make a command of it, its values shared. */
int store_cmd_from_txn(struct store_cmd *ret, const struct store_txn_req *req, struct err *err);
void store_cmd_number(struct store_cmd *ret, enum store_cmd_kind kind, uint64_t number);
/* From a log entry; values are copied. -EPROTO: written by a newer program, or not a command. */
int store_cmd_decode(struct store_cmd *ret, const void *data, size_t len, struct err *err);
void store_cmd_done(struct store_cmd *c);

#endif
