/* The Raft consensus algorithm, pure: inputs in (ticks, messages, proposals, completions), outputs out (a `ready`).
 *
 * No I/O, no clock, no threads, no randomness but its seed; depends on libc only; returns plain codes (negative errno).
 * The driver (store/replica.c) owns disk and network and follows this loop:
 *
 *   raft_tick / raft_step / raft_propose ... -> raft_has_ready? -> raft_ready():
 *     1. append `entries` to the log and write `hard_state` if changed; make them durable (once, together); put
 *        `chunks` of a snapshot in its file (those need no sync)
 *     2. send `messages` marked after_sync only after 1 is durable; the others at once
 *     3. apply `committed` (only entries this server has durably logged are ever handed out)
 *   raft_advance(): step 1 and 3 of the last ready are done. A leader counts its own append as an ack only then.
 *
 * Membership (joint consensus, dissertation 4.3): raft_change_members appends C_old,new, in which both majorities must
 * agree; once that is committed the leader appends C_new by itself. A configuration counts from the moment it stands in
 * a server's log, and no longer once it is cut from it. One change at a time. A leader that C_new leaves out (or makes
 * a learner) steps down when C_new is committed, and asks the best voter to campaign.
 *   Rules the driver keeps: an id that was removed never comes back (a server that returns gets a new id and an empty
 *   disk); a server is added as a learner, caught up (raft_get_progress), and only then made a voter.
 *
 * Witness: a voter that cannot lead. It keeps each entry's index, term and type, but no data of normal entries (those
 * of configurations it has), so it needs hardly any disk. Quorum rules are the same: it votes and acknowledges like any
 * voter, with durable term, vote and log, so a candidate that lacks a committed entry is refused by it as by any other;
 * and whoever leads has got every entry in full, because witnesses never do. At most half of the voters are witnesses,
 * so every majority has a full one. A witness is told of an entry only after another full voter has it, unless none
 * answers; so losing a leader does not leave a witness that knows more than all who could lead. The price is
 * availability, not safety: while the other full voters are away, entries are committed by the leader and the witness,
 * and then nobody else can lead before it has caught up. A member is a witness from its first day to its last: the log of a former witness has holes. The driver of a witness
 * must not apply normal entries. Its snapshots are empty, and made by the leader's raft itself.
 *
 * Snapshots are streamed by pieces of the driver's choice (`wanted` -> raft_send_chunk -> messages -> `chunks` ->
 * raft_restore), one piece under way per peer, from where the receiver says it stands.
 *
 * Source: Ongaro's dissertation (chapters 3, 4, 6, 9.6 pre-vote, 10.2.1 parallel write); etcd-io/raft for the shape.
 */
#ifndef MINI_RAFT_RAFT_H
#define MINI_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAFT_NONE 0u /* no node */

enum raft_entry_type { RAFT_ENTRY_NORMAL = 0, RAFT_ENTRY_CONFIG = 1, RAFT_ENTRY_EMPTY = 2 };

struct raft_entry {
	uint64_t term, index;
	enum raft_entry_type type;
	size_t len;
	const void *data; /* who owns it: see each function */
};

/* commit is a hint that is never ahead of what was durable before it: it may be lost, but not be wrong. */
struct raft_hard_state {
	uint64_t term, vote, commit;
};

enum raft_role { RAFT_VOTER, RAFT_LEARNER, RAFT_WITNESS };
struct raft_member {
	uint64_t id;
	enum raft_role role;
};

#define RAFT_MEMBERS_MAX 31u
/* A configuration: who belongs. Joint while n_old > 0: then `members` is what is to be and `old` what was. */
struct raft_membership {
	size_t n_members, n_old;
	struct raft_member members[RAFT_MEMBERS_MAX], old[RAFT_MEMBERS_MAX];
};

/* The data of RAFT_ENTRY_CONFIG entries: byte 0 the version (1), 1 and 2 the numbers of members and of old ones, 3 zero;
 * for each member its id (8 bytes, little-endian) and role (1 byte); then the driver's own context (C_old,new only). */
#define RAFT_MEMBERSHIP_VERSION   1
#define RAFT_MEMBERSHIP_BYTES_MAX (4u + 2u * RAFT_MEMBERS_MAX * 9u)
#define RAFT_CONTEXT_BYTES_MAX    65536u
/* Writes at most RAFT_MEMBERSHIP_BYTES_MAX bytes to buf; returns how many. */
size_t raft_membership_encode(const struct raft_membership *m, void *buf);
/* 0; -EBADMSG: not a configuration; -EPROTONOSUPPORT: of a version this program does not know. The context points into
 * data; ret_context and ret_context_len may be NULL. */
int raft_membership_decode(const void *data, size_t len, struct raft_membership *ret, const void **ret_context,
			   size_t *ret_context_len);

enum raft_state { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

enum raft_msg_type {
	RAFT_MSG_APPEND,
	RAFT_MSG_APPEND_RESP,
	RAFT_MSG_VOTE,
	RAFT_MSG_VOTE_RESP,
	RAFT_MSG_PRE_VOTE,
	RAFT_MSG_PRE_VOTE_RESP,
	RAFT_MSG_HEARTBEAT,
	RAFT_MSG_HEARTBEAT_RESP,
	RAFT_MSG_SNAPSHOT,
	RAFT_MSG_TIMEOUT_NOW,
	RAFT_MSG_READ_INDEX,
	RAFT_MSG_READ_INDEX_RESP,
	RAFT_MSG_PROPOSE,
	RAFT_MSG_SNAPSHOT_RESP,
	RAFT_MSG_PROPOSE_RESP,
	RAFT_MSG_TYPES, /* how many there are */
};

struct raft_msg {
	enum raft_msg_type type;
	uint64_t from, to, term;
	uint64_t log_term, index, commit; /* APPEND: the entry before; responses: see raft.c's table */
	bool reject;
	uint64_t reject_hint, hint_term;
	uint64_t context; /* read index id, campaign kind, id of a forwarded proposal or of a snapshot */
	const struct raft_entry *entries;
	size_t n_entries;
	/* SNAPSHOT (offset also in its answer): a piece of the driver's bytes, and the configuration as of index */
	uint64_t offset;
	bool last;
	size_t len;
	const void *data;
	const struct raft_membership *membership;
	bool after_sync; /* output only: may leave only once this ready's step 1 is durable */
};

struct raft_config {
	uint64_t id;
	const struct raft_member *members; /* the configuration as of `applied`; none: a server that is to join */
	size_t n_members;
	const struct raft_member *old_members; /* while that one is joint: what was */
	size_t n_old_members;
	struct raft_hard_state hard_state; /* as found on disk */
	uint64_t first_index, last_index;  /* of the log on disk; first_index > last_index when empty */
	uint64_t base_term;                /* term of first_index - 1 (the snapshot's) */
	/* Where the state stands. The log and the state must agree on it: where the log's entry `applied` has another term
	 * than the state says (a crash between installing a snapshot and resetting the log), the log is to be reset to
	 * start after `applied` before raft_new. */
	uint64_t applied;
	/* A snapshot that was half received when the server stopped (id 0: none): it goes on from `offset`. */
	struct raft_partial {
		uint64_t id, index, term, offset;
	} partial;
	unsigned election_ticks, heartbeat_ticks; /* randomized: election_ticks..2*election_ticks-1 */
	size_t max_inflight_bytes, max_message_bytes;
	uint64_t seed; /* another one at each start: it also tells answers to an earlier life apart */
	bool pre_vote, check_quorum;
	/* Read log entries [lo, hi) that are durable but no longer in raft's memory; data must stay valid until the next
	 * raft_advance. Return the number filled (>= 1) or a negative code. raft_new reads what lies after `applied`. */
	int (*read_entries)(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max);
	/* -ENOENT: compacted. Anything else but 0: the log cannot be read, the driver stops; so says raft_new or raft_step. */
	int (*read_term)(void *arg, uint64_t index, uint64_t *ret_term);
	void *arg;
};

/* A piece of a snapshot, as the driver gives and gets it. */
struct raft_chunk {
	uint64_t id;          /* names these very bytes: never 0, never the same for other bytes (random is fine) */
	uint64_t index, term; /* the last entry the snapshot holds */
	const struct raft_membership *membership; /* as of index */
	uint64_t offset;
	size_t len;
	const void *data;
	bool last; /* nothing comes after these (the last piece may be empty) */
};
/* A leader wants to send a piece: of any snapshot that holds at_least that index (id 0: then offset is 0), or of the one
 * with that id, from offset on. The driver answers with raft_send_chunk or raft_chunk_failed, now or later. */
struct raft_chunk_wanted {
	uint64_t peer, at_least, id, offset;
};
/* What became of a forwarded proposal: refused (it never happens), or it stands in the leader's log at index with term;
 * it has happened once that index is applied with that term, and never will once it is applied with another. */
struct raft_fate {
	uint64_t id, index, term;
	bool refused;
};

struct raft_ready {
	bool hard_state_changed;
	struct raft_hard_state hard_state;
	const struct raft_entry *entries; /* to append (a conflicting tail is to be truncated first) */
	size_t n_entries;
	const struct raft_entry *committed; /* to apply, in order */
	size_t n_committed;
	const struct raft_msg *messages;
	size_t n_messages;
	const struct raft_read *reads; /* ReadIndex answers: serve id once applied >= index */
	size_t n_reads;
	const struct raft_chunk
		*chunks; /* a snapshot comes in: offset 0 begins a new one, last ends it (raft_restore) */
	size_t n_chunks;
	const struct raft_chunk_wanted *wanted;
	size_t n_wanted;
	const struct raft_fate *fates; /* of raft_forward */
	size_t n_fates;
	bool must_sync;
	uint64_t leader; /* RAFT_NONE while unknown */
	enum raft_state state;
};
struct raft_read {
	uint64_t id, index;
};

struct raft;

/* 0, -EINVAL for a configuration that cannot be, -ENOMEM. */
int raft_new(const struct raft_config *config, struct raft **ret);
void raft_free(struct raft *r);
void raft_tick(struct raft *r);
/* Copies what it keeps. Whoever is at the other end, it does no harm: -EINVAL: a message that cannot be; -EBADMSG: a
 * configuration that cannot be; -EPROTONOSUPPORT: of a version this program does not know: the driver stops, and says so. */
int raft_step(struct raft *r, const struct raft_msg *msg);
/* Leader: takes a copy of the bytes, assigns the index. -EAGAIN: not the leader; -EBUSY: too much in flight, or the
 * leadership is being handed over. */
int raft_propose(struct raft *r, const void *data, size_t len, uint64_t *ret_index, uint64_t *ret_term);
/* Follower: one message to the leader; its fate comes back in a ready's `fates`, or never: then it is unknown, and raft
 * does not send it again. Ids grow, and each life of a server may begin anew: the leader takes each id of a life once,
 * whatever the network doubles. -EAGAIN: no leader, nothing was sent; -EINVAL: this server leads. */
int raft_forward(struct raft *r, uint64_t id, const void *data, size_t len);
/* Leader: the configuration is to become these members. The bytes of context travel in the entry to every driver (names
 * and addresses, say). The index is that of C_old,new. -EAGAIN: not the leader; -EBUSY: an earlier change or a transfer
 * is under way, or no entry of this term is committed yet; -EALREADY: it is so; -EINVAL: no full voter, an id twice, too
 * many members, a witness that was or is to be something else. */
int raft_change_members(struct raft *r, const struct raft_member *members, size_t n, const void *context, size_t len,
			uint64_t *ret_index, uint64_t *ret_term);
/* The configuration in force: the newest in the log, committed or not. */
void raft_get_membership(const struct raft *r, struct raft_membership *ret);
/* Leader: hand over to that voter: once it has the whole log it is told to campaign at once. Proposals are refused until
 * then, or until an election timeout has passed without success. -EAGAIN: not the leader; -EINVAL: not a full voter;
 * -EBUSY: under way to somebody else; -EALREADY: to itself. */
int raft_transfer(struct raft *r, uint64_t target);
/* The index a linearizable read may be served at right now, without a round: only the sole voter that leads knows it.
 * 0; -EAGAIN: use raft_read_index. */
int raft_read_now(const struct raft *r, uint64_t *ret_index);
/* Linearizable reads: the id comes back in a ready's `reads` (or never: leadership or a message was lost; ask again with
 * a new id). Ids never repeat in one life. -EAGAIN: no leader. */
int raft_read_index(struct raft *r, uint64_t id);
int raft_campaign(struct raft *r); /* now, instead of at the timeout (the only voter does this at start) */
bool raft_has_ready(const struct raft *r);
void raft_get_ready(struct raft *r, struct raft_ready *ret); /* valid until raft_advance */
void raft_advance(struct raft *r);
void raft_compact(struct raft *r, uint64_t index, uint64_t term); /* the log now starts after index */
/* Leader: the piece that was wanted; the bytes are copied into a message. A snapshot other than the wanted one (it may be
 * gone) begins at offset 0. Compaction should wait for a stream under way, or it will have been for nothing. -EAGAIN:
 * nobody waits for it any more, forget it; -EINVAL: not what was wanted. */
int raft_send_chunk(struct raft *r, uint64_t peer, const struct raft_chunk *chunk);
/* Cannot be read now: tried again later, from the start. (A server that joined an old cluster has no configuration in
 * its state before it has applied one: until then it can make no snapshot.) */
void raft_chunk_failed(struct raft *r, uint64_t peer);
/* Follower: the driver has durably installed a snapshot as its state, which now holds everything up to index. Nothing is
 * handed out as committed between a chunk marked last and this call (or raft_restore_failed), so the state does not move
 * meanwhile. Returns 1: the log on disk is to be emptied to start after index (term and vote stay); 0: the log holds that
 * entry and goes on, it may be compacted up to index; -EALREADY: the state is past it (a driver that asks applied
 * first never sees this); -EBUSY: a ready is outstanding; -EINVAL: not a configuration. */
int raft_restore(struct raft *r, uint64_t index, uint64_t term, const struct raft_membership *membership);
void raft_restore_failed(struct raft *r); /* damaged, or no room: the leader starts again */
/* The peer cannot be reached just now: stop streaming to it until it answers again. */
void raft_report_unreachable(struct raft *r, uint64_t peer);
struct raft_status {
	uint64_t id, term, vote, commit, applied, last_index, leader;
	enum raft_state state;
	uint64_t transferee; /* whom the leadership is being handed to */
	bool joint;          /* between two configurations */
};
void raft_get_status(const struct raft *r, struct raft_status *ret);
enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };
struct raft_peer {
	enum raft_role role;
	enum raft_progress_state state;
	uint64_t match, snapshot_offset;
	bool recent_active; /* heard of since the last election timeout */
};
/* Leader: how far a member is. -EAGAIN: not the leader; -ENOENT: not a member. */
int raft_get_progress(const struct raft *r, uint64_t id, struct raft_peer *ret);

#endif
