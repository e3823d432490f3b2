/* The Raft consensus algorithm, pure: inputs in (ticks, messages, proposals, completions), outputs out (a `ready`).
 *
 * No I/O, no clock, no threads, no randomness but its seed; depends on libc only; returns plain codes (negative errno).
 * The driver (store/replica.c) owns disk and network and follows this loop:
 *
 *   raft_tick / raft_step / raft_propose ... -> raft_has_ready? -> raft_ready():
 *     1. append `entries` to the log and write `hard_state` if changed; make them durable (once, together)
 *     2. send `messages` marked after_sync only after 1 is durable; the others at once
 *     3. apply `committed` (only entries this server has durably logged are ever handed out)
 *   raft_advance(): step 1 and 3 of the last ready are done. A leader counts its own append as an ack only then.
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

struct raft_hard_state {
	uint64_t term, vote, commit;
};

enum raft_role { RAFT_VOTER, RAFT_LEARNER, RAFT_WITNESS };
struct raft_member {
	uint64_t id;
	enum raft_role role;
};

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
};

struct raft_msg {
	enum raft_msg_type type;
	uint64_t from, to, term;
	uint64_t log_term, index, commit; /* APPEND: the entry before; responses: see raft.c's table */
	bool reject;
	uint64_t reject_hint, hint_term;
	uint64_t context; /* read index id, campaign kind */
	const struct raft_entry *entries;
	size_t n_entries;
	bool after_sync; /* output only: may leave only once this ready's step 1 is durable */
};

struct raft_config {
	uint64_t id;
	const struct raft_member *members; /* the configuration as of `applied` */
	size_t n_members;
	struct raft_hard_state hard_state; /* as found on disk */
	uint64_t first_index, last_index;  /* of the log on disk; first_index > last_index when empty */
	uint64_t base_term;                /* term of first_index - 1 (the snapshot's) */
	uint64_t applied;
	unsigned election_ticks, heartbeat_ticks; /* randomized: election_ticks..2*election_ticks-1 */
	size_t max_inflight_bytes, max_message_bytes;
	uint64_t seed;
	bool pre_vote, check_quorum;
	/* Read log entries [lo, hi) that are durable but no longer in raft's memory; data must stay valid until the next
	 * raft_advance. Return the number filled (>= 1) or a negative code. */
	int (*read_entries)(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max);
	int (*read_term)(void *arg, uint64_t index, uint64_t *ret_term); /* -ENOENT: compacted */
	void *arg;
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
int raft_step(struct raft *r, const struct raft_msg *msg); /* copies what it keeps */
/* Leader: takes a copy of the bytes, assigns the index. -EAGAIN: not the leader; -EBUSY: too much in flight. */
int raft_propose(struct raft *r, const void *data, size_t len, uint64_t *ret_index, uint64_t *ret_term);
/* The index a linearizable read may be served at right now, without a round: only the sole voter that leads knows it.
 * 0; -EAGAIN: use raft_read_index. */
int raft_read_now(const struct raft *r, uint64_t *ret_index);
/* Linearizable reads: the id comes back in a ready's `reads` (or never, if leadership is lost). -EAGAIN: no leader. */
int raft_read_index(struct raft *r, uint64_t id);
int raft_campaign(struct raft *r); /* now, instead of at the timeout (the only voter does this at start) */
bool raft_has_ready(const struct raft *r);
void raft_get_ready(struct raft *r, struct raft_ready *ret); /* valid until raft_advance */
void raft_advance(struct raft *r);
void raft_compact(struct raft *r, uint64_t index, uint64_t term); /* the log now starts after index */
/* Snapshots: a leader whose log no longer reaches back far enough for a peer emits RAFT_MSG_SNAPSHOT (index, log_term:
 * what the snapshot must hold at least). The driver streams its state to the peer, then reports here how that went. */
void raft_report_snapshot(struct raft *r, uint64_t peer, uint64_t index, bool ok);
/* Follower: the driver has durably installed a state that holds everything up to index. The log restarts after it
 * (unless it already holds that entry) and the leader is told. -EALREADY: the commit index is past it. Only while no
 * ready is outstanding (-EBUSY). */
int raft_restore(struct raft *r, uint64_t index, uint64_t term);
/* The peer cannot be reached just now: stop streaming to it until it answers again. */
void raft_report_unreachable(struct raft *r, uint64_t peer);
struct raft_status {
	uint64_t id, term, vote, commit, applied, last_index, leader;
	enum raft_state state;
};
void raft_get_status(const struct raft *r, struct raft_status *ret);

#endif
