/* What raft's own files share: the log in memory, the leader's view of each member, the core's state. */
#ifndef MINI_RAFT_INTERNAL_H
#define MINI_RAFT_INTERNAL_H

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
	uint64_t offset;
	uint64_t base, base_term;
	uint64_t last, last_term;
	uint64_t stable; /* durable on this server up to here */
	uint64_t commit, applied;
	void **grave;
	size_t n_grave, cap_grave;
	const struct raft_config *config;
};

void raft_log__init(struct raft_log *l, const struct raft_config *config);
void raft_log__done(struct raft_log *l);
int raft_log__term(const struct raft_log *l, uint64_t index, uint64_t *ret); /* -ENOENT: compacted or not there yet */
bool raft_log__matches(const struct raft_log *l, uint64_t index, uint64_t term);
void raft_log__append(struct raft_log *l, uint64_t term, enum raft_entry_type type, const void *data, size_t len);
void raft_log__truncate(struct raft_log *l, uint64_t from); /* drops from..last */
/* Entries [lo, hi), as many as fit max_bytes (at least one), into ret[max]; from memory or disk. Number or -errno. */
int raft_log__slice(const struct raft_log *l, uint64_t lo, uint64_t hi, size_t max_bytes, struct raft_entry *ret,
		    size_t max);
void raft_log__trim(struct raft_log *l, uint64_t upto); /* frees memory of durable entries <= upto */
void raft_log__exhume(struct raft_log *l);              /* no ready is outstanding: free what was buried */
void raft_log__restart(struct raft_log *l, uint64_t index, uint64_t term);

/* ---- progress.c: how far the leader knows each member to be ---- */
enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };
#define RAFT_INFLIGHT_MAX 256

struct raft_progress {
	uint64_t id;
	enum raft_role role;
	enum raft_progress_state state;
	uint64_t match, next;
	uint64_t sent_commit;      /* the commit index last told */
	bool want_append;          /* send one even if empty */
	bool paused;               /* PROBE: one is under way; until an answer or the next heartbeat */
	bool recent_active;        /* heard of in this check-quorum round */
	int vote;                  /* campaign: 0 unknown, 1 granted, -1 refused */
	uint64_t read_ack;         /* highest read context acknowledged */
	uint64_t pending_snapshot; /* SNAPSHOT: the index it holds */
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
};

struct raft {
	struct raft_config config;
	struct raft_log log;
	struct raft_hard_state durable; /* what the driver has on disk (commit: as last handed out) */
	uint64_t term, vote, leader;
	enum raft_state state;
	struct raft_progress *members;
	size_t n_members;
	unsigned election_elapsed, heartbeat_elapsed, timeout;
	uint64_t rng;

	struct raft_msg *msgs; /* waiting for the next ready */
	size_t n_msgs, cap_msgs;
	struct raft_read *reads;
	size_t n_reads, cap_reads;
	struct raft_waiting_read *waiting; /* leader: by context; context 0 = no entry of this term committed yet */
	size_t n_waiting, cap_waiting;
	uint64_t read_context;

	/* the ready that is out */
	bool out;
	struct raft_ready ready;
	struct raft_entry *out_entries, *out_committed, *out_sends;
	struct raft_msg *out_msgs;
	struct raft_read *out_reads;
	size_t cap_out_entries, cap_out_committed, cap_out_sends, cap_out_msgs, cap_out_reads;
	bool out_full; /* the last slice of committed entries was cut: there is more */
	uint64_t told_leader;
	enum raft_state told_state;
};

struct raft_progress *raft__member(struct raft *r, uint64_t id);
struct raft_progress *raft__self(struct raft *r);
bool raft__is_voter(const struct raft_progress *p);
size_t raft__n_voters(const struct raft *r);
struct raft_msg *raft__send(struct raft *r, enum raft_msg_type type, uint64_t to);
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
void raft__read_request(struct raft *r, uint64_t from, uint64_t id);
void raft__reads_acked(struct raft *r);
void raft__reads_committed(struct raft *r); /* an entry of this term is committed: reads that waited for it go */

/* ready.c */
bool raft__peer_has_work(const struct raft *r, const struct raft_progress *p);

#endif
