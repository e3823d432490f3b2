/* Historic bugs of Raft implementations, to prove that tests would catch them: -DRAFT_BUG=n switches one on at compile
 * time. A build without RAFT_BUG has none of them. RAFT_BUG may also be an int variable, for a test that tries all. */
#ifndef MINI_RAFT_BUGS_H
#define MINI_RAFT_BUGS_H

#define RAFT_BUGS(X)                                                                                                   \
	X(1, COMMIT_OLD_TERM, "an entry of an old term is committed by counting")                                      \
	X(2, VOTE_BEFORE_SYNC, "a vote leaves before it is durable, and a crash forgets it")                           \
	X(3, ACK_BEFORE_SYNC, "an append is acknowledged before its fsync")                                            \
	X(4, SINGLE_STEP, "members change in a single step, without a no-op first")                                    \
	X(5, NO_ROLLBACK, "the configuration is not rolled back when the log is cut")                                  \
	X(6, READ_UNCONFIRMED, "a leader serves reads without asking whether it still leads")                          \
	X(7, READ_BEFORE_NOOP, "a new leader serves reads before an entry of its term is committed")                   \
	X(8, SNAPSHOT_BACKWARDS, "a snapshot older than the state is installed")                                       \
	X(9, HEARTBEAT_COMMIT, "a heartbeat tells a commit index beyond what the follower matched")                    \
	X(10, CUT_ALWAYS, "an old append cuts the log though it matches")                                              \
	X(11, JOINT_NEW_ONLY, "in a joint configuration only the new majority counts")                                 \
	X(12, WITNESS_LEADS, "a witness campaigns")                                                                    \
	X(13, VOTE_TWICE, "a second vote in the same term")                                                            \
	X(14, VOTE_BY_LENGTH, "a vote compares the length of logs, not their last term")                               \
	X(15, LEARNER_COUNTS, "a learner counts in quorums")                                                           \
	X(16, FORWARD_TWICE, "a forwarded proposal that comes twice is taken twice")                                   \
	X(17, RESTART_CONFIG, "a restart forgets configurations that were not yet applied")                            \
	X(18, RESTORE_KEEPS_LOG, "a snapshot keeps a log that contradicts it")                                         \
	X(19, NO_PREVIOUS_TERM, "an append does not compare the term of the entry before")                             \
	X(20, PREVOTE_TERM, "a refused pre-vote does not tell the term")                                               \
	X(21, CONFIG_BEFORE_COMMIT, "C_new is appended before C_old,new is committed")                                 \
	X(22, CHUNK_GAP, "a chunk of a snapshot is taken wherever it belongs")                                         \
	X(23, COMMIT_UNSYNCED, "the durable commit index is ahead of the durable log")                                 \
	X(24, WITNESS_SNAPSHOT, "a witness's snapshot is beyond what is committed")                                    \
	X(25, WITNESS_AHEAD, "a witness learns of entries before any full voter but the leader")

#define RAFT_BUG_NAME(n, name, text) RAFT_BUG_##name = n,
enum raft_bug { RAFT_BUGS(RAFT_BUG_NAME) };

#ifdef RAFT_BUG
#define RAFT_HAS_BUG(name) ((RAFT_BUG) == (int)RAFT_BUG_##name)
#else
#define RAFT_HAS_BUG(name) 0
#endif

#endif
