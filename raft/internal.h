/* What raft's own files share: the log in memory, the leader's view of each member, the core's state. */
#ifndef MINI_RAFT_INTERNAL_H
#define MINI_RAFT_INTERNAL_H

#include "raft/bugs.h"
#include "raft/raft.h"

/* For bugs only. abort() is all a pure library may do. */
#define RAFT_MUST(cond) ((cond) ? (void)0 : raft__fail())
void raft__fail(void) __attribute__((noreturn, cold));
void *raft__alloc(size_t n); /* never NULL */
void *raft__grow(void *p, size_t *cap, size_t need, size_t size);

/* ---- log.c ----
 * base < offset <= stable + 1 <= last + 1. Entries in [offset, last] are in memory, those in (base, offset) only on
 * disk. Memory that an outstanding ready may point at is not freed but buried until the ready is advanced. */
struct raft_log {
	struct raft_entry *entries; /* entries[head + i] has index offset + i; data is ours (malloc) */
	size_t head, n, cap;
	size_t bytes; /* of their data */
	uint64_t offset;
	uint64_t base, base_term;
	uint64_t last, last_term;
	uint64_t stable; /* durable on this server up to here */
	uint64_t commit, applied;
	void **grave;
	size_t n_grave, cap_grave;
	const struct raft_config *config;
};

/* 0, or what read_term said: the log cannot be read. */
int raft_log__init(struct raft_log *l, const struct raft_config *config);
void raft_log__done(struct raft_log *l);
/* -ENOENT: compacted or not there yet; else what read_term said. */
int raft_log__term(const struct raft_log *l, uint64_t index, uint64_t *ret);
bool raft_log__matches(const struct raft_log *l, uint64_t index, uint64_t term);
void raft_log__append(struct raft_log *l, uint64_t term, enum raft_entry_type type, const void *data, size_t len);
/* Drops from..last; term is that of the entry before. */
void raft_log__truncate(struct raft_log *l, uint64_t from, uint64_t term);
/* Entries [lo, hi), as many as fit max_bytes (at least one), into ret[max]; from memory or disk. Number or -errno. */
int raft_log__slice(const struct raft_log *l, uint64_t lo, uint64_t hi, size_t max_bytes, struct raft_entry *ret,
		    size_t max);
void raft_log__trim(struct raft_log *l, uint64_t upto); /* frees memory of durable entries <= upto */
void raft_log__bury(struct raft_log *l, const void *p); /* a ready may still point at it */
void raft_log__exhume(struct raft_log *l);              /* no ready is outstanding: free what was buried */
void raft_log__restart(struct raft_log *l, uint64_t index, uint64_t term);

/* ---- progress.c: how far the leader knows each member to be ---- */
#define RAFT_INFLIGHT_MAX 256
#define RAFT_LIVES        4

struct raft_progress {
	uint64_t id;
	enum raft_role role;
	bool voter, old_voter; /* counts in the new and, while joint, in the old majority */
	bool leaving;          /* leader: no longer a member; still told of that */
	enum raft_progress_state state;
	uint64_t match, next;
	uint64_t sent_commit; /* the commit index last told */
	bool want_append;     /* send one even if empty */
	bool paused;          /* PROBE: one is under way; until an answer or the next heartbeat */
	bool recent_active;   /* heard of in this check-quorum round */
	int vote;             /* campaign: 0 unknown, 1 granted, -1 refused */
	uint64_t read_ack;    /* highest read context acknowledged */
	/* SNAPSHOT: what it has of which one; asked: a piece is wanted from the driver or under way to the peer */
	uint64_t snap_id, snap_index, snap_offset;
	bool snap_asked, snap_sent, snap_last;
	unsigned snap_quiet; /* heartbeats answered since a piece was sent */
	/* the forwarded proposals taken in this term, by life (nonce) of the sender, the one heard of last first: the highest
	 * id, and which of the 64 up to it */
	struct raft_forwarded {
		uint64_t nonce, high, seen;
	} forwarded[RAFT_LIVES];
	/* what was sent and not yet acknowledged: a ring of (last index, bytes) */
	struct {
		uint64_t index;
		size_t bytes;
	} flight[RAFT_INFLIGHT_MAX];
	unsigned flight_head, flight_n;
	size_t flight_bytes;
};

void raft_progress__reset(struct raft_progress *p, uint64_t next);
void raft_progress__become_probe(struct raft_progress *p);
void raft_progress__become_replicate(struct raft_progress *p);
bool raft_progress__may_send(const struct raft_progress *p, const struct raft_config *config);
void raft_progress__sent(struct raft_progress *p, uint64_t last_index, size_t bytes);
bool raft_progress__acked(struct raft_progress *p, uint64_t index); /* true when match moved */
void raft_progress__rejected(struct raft_progress *p, uint64_t rejected, uint64_t hint);

/* ---- the core ---- */
struct raft_waiting_read {
	uint64_t id, from, index, context; /* from: the member that asked */
	uint64_t nonce;                    /* of its life */
};

struct raft_conf_at {
	uint64_t index;
	struct raft_membership membership;
};

struct raft_queued {
	struct raft_msg msg;
	void *own; /* what its pointers lead to */
};

struct raft {
	struct raft_config config;
	struct raft_log log;
	struct raft_hard_state durable; /* what the driver has on disk (commit: as last handed out) */
	uint64_t term, vote, leader;
	enum raft_state state;
	struct raft_progress *members; /* made from the last of confs; a leader's has those that are leaving too */
	size_t n_members;
	/* confs[0] is as of `applied` or before, the others stand in the log after it; the last one is in force */
	struct raft_conf_at *confs;
	size_t n_confs, cap_confs;
	unsigned election_elapsed, heartbeat_elapsed, timeout;
	uint64_t rng;
	uint64_t nonce; /* of this life: answers to an earlier one are not mistaken for this one's */
	uint64_t transferee;
	unsigned transfer_elapsed;
	struct raft_partial incoming; /* the snapshot that is being received; id 0 and index 0: none */
	bool installing;              /* it is complete and with the driver */

	struct raft_queued *msgs; /* waiting for the next ready */
	size_t n_msgs, cap_msgs;
	struct raft_read *reads;
	size_t n_reads, cap_reads;
	struct raft_waiting_read *waiting; /* leader: by context; context 0 = no entry of this term committed yet */
	size_t n_waiting, cap_waiting;
	uint64_t read_context;
	struct raft_chunk *chunks;
	size_t n_chunks, cap_chunks;
	struct raft_fate *fates;
	size_t n_fates, cap_fates;

	/* the ready that is out */
	bool out;
	struct raft_ready ready;
	struct raft_entry *out_entries, *out_committed, *out_sends;
	struct raft_msg *out_msgs;
	struct raft_read *out_reads;
	struct raft_chunk *out_chunks;
	struct raft_fate *out_fates;
	struct raft_chunk_wanted *out_wanted;
	size_t cap_out_entries, cap_out_committed, cap_out_sends, cap_out_msgs, cap_out_reads, cap_out_chunks,
		cap_out_fates, cap_out_wanted;
	bool out_full; /* the last slice of committed entries was cut: there is more */
	uint64_t told_leader;
	enum raft_state told_state;
};

struct raft_progress *raft__member(struct raft *r, uint64_t id);
struct raft_progress *raft__self(struct raft *r);
struct raft_msg *raft__send(struct raft *r, enum raft_msg_type type, uint64_t to);
struct raft_msg *raft__send_owning(struct raft *r, enum raft_msg_type type, uint64_t to, void *own);
/* To the log; a configuration takes effect, or ceases to. */
void raft__append(struct raft *r, uint64_t term, enum raft_entry_type type, const void *data, size_t len);
void raft__truncate(struct raft *r, uint64_t from, uint64_t term_before);
bool raft__committed_in_term(const struct raft *r); /* an entry of this term is committed */
void raft__become_follower(struct raft *r, uint64_t term, uint64_t leader);
void raft__become_leader(struct raft *r);
bool raft__maybe_commit(struct raft *r);
void raft__broadcast_heartbeat(struct raft *r);

/* election.c */
void raft__campaign(struct raft *r, bool pre, bool transfer);
void raft__step_vote(struct raft *r, const struct raft_msg *m);
void raft__step_vote_resp(struct raft *r, const struct raft_msg *m);
bool raft__quorum_active(struct raft *r);
unsigned raft__random_timeout(struct raft *r);

/* read.c */
void raft__read_request(struct raft *r, uint64_t from, uint64_t id, uint64_t nonce);
void raft__reads_acked(struct raft *r);
void raft__step_read_resp(struct raft *r, const struct raft_msg *m);
void raft__reads_committed(struct raft *r); /* an entry of this term is committed: reads that waited for it go */

/* membership.c */
const struct raft_conf_at *raft__conf(const struct raft *r);
bool raft__conf_valid(const struct raft_membership *m);
bool raft__joint(const struct raft *r);
bool raft__quorum(const struct raft *r, bool (*yes)(const struct raft *r, const struct raft_progress *p, uint64_t arg),
		  uint64_t arg);             /* a majority says yes; of both while joint */
bool raft__may_lead(struct raft *r);         /* a full voter of the configuration in force */
bool raft__sole_voter(const struct raft *r); /* and nobody else votes */
void raft__conf_push(struct raft *r, uint64_t index, const struct raft_membership *m);
void raft__conf_cut(struct raft *r, uint64_t from); /* the log's entries from there on are gone */
void raft__conf_applied(struct raft *r);            /* forget those that `applied` has passed */
void raft__conf_restart(struct raft *r, uint64_t index, const struct raft_membership *m);
int raft__conf_load(struct raft *r);       /* at start, from the log */
void raft__conf_members(struct raft *r);   /* make the members anew */
void raft__conf_committed(struct raft *r); /* leader, commit moved: leave the joint configuration, or step down */
void raft__conf_sweep(struct raft *r);     /* leader, each election timeout: members that left are let go */

/* transfer.c */
void raft__transfer_try(struct raft *r);
void raft__transfer_tick(struct raft *r);

/* forward.c */
void raft__step_propose(struct raft *r, const struct raft_msg *m);
void raft__step_propose_resp(struct raft *r, const struct raft_msg *m);

/* snapshot.c */
void raft__snapshot_begin(struct raft *r, struct raft_progress *p);
void raft__snapshot_answered(struct raft *r, struct raft_progress *p); /* a heartbeat was */
bool raft__snapshot_wanted(const struct raft *r, const struct raft_progress *p);
void raft__step_snapshot(struct raft *r, const struct raft_msg *m);
void raft__step_snapshot_resp(struct raft *r, const struct raft_msg *m);

/* ready.c */
bool raft__peer_has_work(const struct raft *r, const struct raft_progress *p);

#endif
