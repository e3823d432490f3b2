/* Messages between members: the narrow seam to the network, so that a simulator can own it, and their encoding.
 *
 * A transport carries opaque messages between members, named by id. It may lose, double and reorder them; it must not
 * forge them: who a message is from is the transport's to prove (mutual TLS). Loop thread only. receive() is set by
 * store_open() and cleared when the store is closed; the transport calls it from the loop, never inside send().
 *
 * Encoding, version 1, little-endian: version, type and flags (1 byte each), one spare; ten 8-byte numbers; the
 * numbers of entries, of configuration bytes and of chunk bytes (4 each); entries {term, index, type, length, bytes};
 * the configuration; the chunk. A message of another version is refused, and so is one that is not whole.
 */
#ifndef MINI_STORE_PEER_H
#define MINI_STORE_PEER_H

#include "lib/core/buf.h"
#include "raft/raft.h"
#include "store/cluster.h"

#define STORE_PEER_VERSION     1u
#define STORE_PEER_MESSAGE_MAX (24u << 20)
#define STORE_PEER_ENTRIES_MAX 4096u

struct store_peer;
struct store_peer_ops {
	/* Takes a copy. Never blocks: what can't go now is dropped. */
	void (*send)(struct store_peer *, uint64_t to, const void *data, size_t len);
	/* Who the members are, whenever that has changed: where to find each, whom to forget. May be NULL. */
	void (*members)(struct store_peer *, const struct store_member *members, size_t n);
};
struct store_peer {
	const struct store_peer_ops *ops;
	void (*receive)(void *arg, uint64_t from, const void *data, size_t len);
	/* Nothing gets to that member just now (its connection ended, or cannot be made). Set and cleared with receive. */
	void (*unreachable)(void *arg, uint64_t to);
	void *arg;
};

/* -EFBIG: larger than a message may be. */
int store_peer_encode(const struct raft_msg *msg, struct buf *ret);

/* Must this message stay behind those sent before it? Entries, proposals and chunks; what is short and alone need not. */
bool store_peer_in_order(const void *data, size_t len);

/* A decoded message points into the data it was made of, and at what is beside it here. */
struct store_peer_msg {
	struct raft_msg msg;
	struct raft_entry *entries;
	struct raft_membership *membership;
};
/* 0; -EPROTO: another version; -EBADMSG: not a message. */
int store_peer_decode(const void *data, size_t len, struct store_peer_msg *ret);
void store_peer_msg_done(struct store_peer_msg *m);

/* Beside raft's messages: a member that hears of no leader asks whether it still belongs, and one that was removed while
 * it was away is told so. */
enum store_peer_notice { STORE_PEER_NO_NOTICE, STORE_PEER_ASKS, STORE_PEER_REMOVED };
void store_peer_encode_notice(enum store_peer_notice what, struct buf *ret);
enum store_peer_notice store_peer_notice(const void *data, size_t len);

#endif
