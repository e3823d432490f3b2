/* What a log entry says to the store: a transaction, a compaction, a lease, a member. Private to the store.
 *
 * A command is its encoded bytes (which go into the log) plus views into them. Strings point into the bytes. Format:
 * version, kind, then little-endian base-128 numbers and length-prefixed, NUL-terminated strings.
 */
#ifndef MINI_STORE_CMD_H
#define MINI_STORE_CMD_H

#include "store/cluster.h"
#include "store/store.h"

/* 1: up to CMD_LEASE_RENEW; 2: up to CMD_ALARM; 3: CMD_LEVEL, and members with a level above 1. Each entry has the lowest one
 * that can say it. The next one is not to be written before the cluster's level says that all can read it (level.c). */
#define STORE_CMD_FORMAT 3
#define STORE_KEY_MAX    4096u
#define STORE_VALUE_MAX  (3u << 20)
#define STORE_OPS_MAX    128u
#define STORE_CMD_MAX    (16u << 20)

enum store_cmd_kind {
	CMD_TXN = 1,
	CMD_COMPACT = 2,
	CMD_LEASE_GRANT = 3,
	CMD_LEASE_REVOKE = 4,
	CMD_LEASE_RENEW = 5,
	CMD_LEASE_EXPIRE = 6, /* only if it is still as its leader saw it */
	CMD_MEMBER_SET = 7,   /* a member comes, or says what it is called and where it is (wish NONE) */
	CMD_MEMBER_WISH = 8,
	CMD_MOVE_LEADER = 9,
	CMD_ROSTER = 10, /* all members, for those that apply nothing else */
	CMD_CHECK = 11,  /* each member hashes its keys as of here */
	CMD_HASH = 12,   /* what came of it */
	CMD_ALARM = 13,  /* is to be seen by whoever asks for the members; "": is over */
	CMD_LEVEL = 14   /* the cluster's format level rises, if all members are still known to support it */
};

struct store_cmd {
	enum store_cmd_kind kind;
	struct buf bytes;
	uint64_t number;        /* revision to compact, TTL in seconds, lease, member (SET: whom it replaces), level */
	uint64_t level;         /* MEMBER_SET: what that one's program supports; ROSTER: the cluster's; both >= 1 */
	uint64_t term, renewed; /* LEASE_EXPIRE: decided in that term, having seen that renewal */
	enum store_role wish;   /* MEMBER_WISH */
	uint64_t member;        /* HASH: whose (number: of which CHECK) */
	const char *text;       /* HASH: in hex; ALARM */
	struct store_member *members; /* MEMBER_SET: one; ROSTER: of each its id, name, addresses and wish */
	size_t n_members;
	struct store_txn_req txn; /* arrays are ours, blobs referenced */
};

/* Check a caller's transaction against the bounds and make a command of it, its values shared. */
int store_cmd_from_txn(struct store_cmd *ret, const struct store_txn_req *req, struct err *err);
void store_cmd_number(struct store_cmd *ret, enum store_cmd_kind kind, uint64_t number);
void store_cmd_expire(struct store_cmd *ret, uint64_t lease, uint64_t term, uint64_t renewed);
/* -EINVAL: a name or an address that cannot be. */
int store_cmd_member_set(struct store_cmd *ret, const struct store_member *m, uint64_t replaces, uint64_t level,
			 struct err *err);
void store_cmd_member_wish(struct store_cmd *ret, uint64_t id, enum store_role wish);
void store_cmd_roster(struct store_cmd *ret, const struct store_member *members, size_t n, uint64_t level);
void store_cmd_hash(struct store_cmd *ret, uint64_t check, uint64_t member, const char *hex);
void store_cmd_alarm(struct store_cmd *ret, const char *text);
/* From a log entry; values are copied. -EPROTO: written by a newer program, or not a command. */
int store_cmd_decode(struct store_cmd *ret, const void *data, size_t len, struct err *err);
void store_cmd_done(struct store_cmd *c);

#endif
