/* Raft nodes in one process, with disks that keep synced and unsynced bytes apart and a network that does as told.
 * Everything that happens may be written to `out`, which is what golden traces are made of. */
#ifndef MINI_TESTS_SUPPORT_RAFT_CLUSTER_H
#define MINI_TESTS_SUPPORT_RAFT_CLUSTER_H

#include <stdio.h>

#include "raft/raft.h"

#define NODES_MAX 7

struct entry {
	uint64_t term;
	enum raft_entry_type type;
	char text[24];
};

struct node {
	uint64_t id;
	struct raft *raft;
	bool up, held; /* held: its disk does not finish */
	/* the disk */
	struct raft_hard_state hs;
	struct entry *log; /* log[i] is entry base + 1 + i */
	size_t n_log, cap_log;
	uint64_t base, base_term;
	/* the state machine */
	struct entry *applied; /* applied[i] is entry i + 1 */
	size_t n_applied, cap_applied;
	/* the ready that waits for the disk */
	bool out;
	struct raft_ready rd;
	uint64_t last_read;
	enum raft_state state;
	uint64_t term;
};

struct packet {
	struct raft_msg msg;
	struct entry entries[512];
};

struct cluster {
	struct node nodes[NODES_MAX];
	struct raft_member members[NODES_MAX];
	size_t n, n_voters;
	bool cut[NODES_MAX][NODES_MAX]; /* from, to */
	struct packet **net;
	size_t n_net, cap_net;
	FILE *out; /* NULL: quiet */
	uint64_t seed, rng;
	bool pre_vote, check_quorum;
	size_t max_inflight, max_message; /* 0: the usual */
	/* what must hold, checked all the time */
	uint64_t leader_of[4096];
	struct entry committed[65536];
	size_t n_committed;
	uint64_t n_reads, read_floor[65536]; /* what was committed when read id was asked for */
	char broken[200];                    /* what did not hold */
};

void cluster_init(struct cluster *c, size_t voters, size_t learners, uint64_t seed);
void cluster_done(struct cluster *c);
void cluster_start(struct cluster *c, size_t i);   /* from its disk */
void cluster_crash(struct cluster *c, size_t i);   /* what was not synced is gone */
void cluster_process(struct cluster *c, size_t i); /* its readies */
void cluster_finish(struct cluster *c, size_t i);  /* the disk is done */
/* Deliver packet i of the network, or lose it. */
void cluster_deliver(struct cluster *c, size_t i, bool lose);
void cluster_run(struct cluster *c, unsigned rounds); /* until nothing moves, or rounds are over */
int cluster_propose(struct cluster *c, size_t i, const char *text);
int cluster_read(struct cluster *c, size_t i); /* with a fresh id; its answer is checked */
uint64_t cluster_random(struct cluster *c, uint64_t below);

#endif
