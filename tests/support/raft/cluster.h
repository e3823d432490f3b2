/* Raft nodes in one process, with disks that keep synced and unsynced bytes apart and a network that does as told.
 * What must hold is checked from outside all the time (`broken` says what did not): one leader a term, logs match,
 * leaders only append, all states are the same at the same index, reads miss nothing, nothing happens twice, the
 * configuration in force is the one in the log. Everything that happens may be written to `out`: golden traces. */
#ifndef MINI_TESTS_SUPPORT_RAFT_CLUSTER_H
#define MINI_TESTS_SUPPORT_RAFT_CLUSTER_H

#include <stdio.h>

#include "raft/raft.h"

#define NODES_MAX     16
#define ENTRY_MAX     160
#define COMMITTED_MAX 16384
#define SEEN_MAX      32768 /* a power of two */
#define READS_MAX     16384
#define SNAPSHOT_MAX  128

struct entry {
	uint64_t term;
	enum raft_entry_type type;
	size_t len;
	char data[ENTRY_MAX];
};

struct snapshot {
	uint64_t id, index, term;
	struct raft_membership membership;
	size_t len;
	uint8_t bytes[SNAPSHOT_MAX];
};

struct node {
	uint64_t id; /* its slot + 1, and NODES_MAX more with each life */
	struct raft *raft;
	bool up, held; /* held: its disk does not finish */
	bool witness;
	bool removed; /* it was a member and is none: its slot may be used anew */
	/* the log's disk */
	struct raft_hard_state hs;
	struct entry *log; /* log[i] is entry base + 1 + i */
	size_t n_log, cap_log;
	uint64_t base, base_term;
	/* the state machine, durable as it goes */
	uint64_t n_applied, applied_term;
	struct raft_membership membership; /* as of n_applied */
	struct snapshot out_snapshot;      /* the last one made for others */
	struct snapshot in;                /* the one that comes in; in.len: so far */
	bool install;                      /* it is complete */
	/* the ready that waits for the disk */
	bool out;
	struct raft_ready rd;
	struct raft_chunk_wanted wanted[NODES_MAX];
	size_t n_wanted;
	void **arena; /* what read_entries gave out */
	size_t n_arena, cap_arena;
	uint64_t last_read;
	uint64_t led_term; /* the last write was done as the leader of that term */
	enum raft_state state;
	uint64_t term;
};

struct packet {
	struct raft_msg msg;
	struct raft_membership membership;
	struct entry entries[];
};

struct written { /* what was ever written as entry index of term */
	uint64_t index, term, prev_term, hash;
};
struct fate {
	uint64_t id, index, term;
	bool refused;
};

struct cluster {
	struct node nodes[NODES_MAX];
	struct raft_membership first;   /* what the founding members start from */
	size_t n;                       /* slots in use */
	bool cut[NODES_MAX][NODES_MAX]; /* from, to */
	struct packet **net;
	size_t n_net, cap_net;
	FILE *out; /* NULL: quiet */
	uint64_t seed, rng;
	unsigned starts;
	bool pre_vote, check_quorum;
	bool mixed;                              /* each start decides about pre-vote anew, as in an upgrade */
	unsigned slow_disk;                      /* percent of writes that are not done at once */
	bool torn;                               /* a crash keeps some of what was being written */
	unsigned bad_luck;                       /* percent of snapshots that fail or crash while they are installed */
	size_t max_inflight, max_message, chunk; /* 0: the usual */
	/* what must hold */
	uint64_t leader_of[4096];
	struct entry committed[COMMITTED_MAX];
	struct raft_membership membership; /* the last one committed that is not joint */
	size_t n_committed;
	struct written seen[SEEN_MAX];
	size_t n_seen;
	bool happened[COMMITTED_MAX]; /* proposal number n, by its text "xn" */
	uint64_t n_proposals, n_reads, n_served, n_snapshots, n_installed, n_changes, n_forwarded;
	uint64_t read_floor[READS_MAX]; /* what was committed when read id was asked for */
	struct fate fates[COMMITTED_MAX];
	size_t n_fates;
	char broken[200]; /* what did not hold */
};

void cluster_init(struct cluster *c, size_t voters, size_t learners, size_t witnesses, uint64_t seed);
void cluster_done(struct cluster *c);
void cluster_add(struct cluster *c, bool witness); /* one more slot, a server that is to join */
void cluster_recycle(struct cluster *c, size_t i); /* a removed one: a new id, an empty disk */
void cluster_start(struct cluster *c, size_t i);   /* from its disk */
void cluster_crash(struct cluster *c, size_t i);   /* what was not synced is gone */
void cluster_process(struct cluster *c, size_t i); /* its readies */
void cluster_finish(struct cluster *c, size_t i);  /* the disk is done */
void cluster_compact(struct cluster *c, size_t i, uint64_t index);
/* Deliver packet i of the network, or lose it, or deliver it and keep it (it comes again). */
enum fortune { DELIVER, LOSE, DOUBLE };
void cluster_deliver(struct cluster *c, size_t i, enum fortune fortune);
void cluster_run(struct cluster *c, unsigned rounds);               /* until nothing moves, or rounds are over */
int cluster_propose(struct cluster *c, size_t i, const char *text); /* NULL: "xn" with a fresh n */
int cluster_forward(struct cluster *c, size_t i, const char *text);
int cluster_read(struct cluster *c, size_t i); /* with a fresh id; its answer is checked */
int cluster_change(struct cluster *c, size_t i, const struct raft_member *members, size_t n);
void cluster_check_fates(struct cluster *c);
struct node *cluster_node(struct cluster *c, uint64_t id); /* NULL: that life is over */
uint64_t cluster_random(struct cluster *c, uint64_t below);

#endif
