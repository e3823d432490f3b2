/* Copies of the state: made to be sent or saved, and taken in from a leader. Private to the store; loop thread.
 *
 * A member that is too far behind the log is sent a copy of the leader's state.db as it stood after some entry. The
 * bytes come in pieces, are verified as a whole, become the state, and memory is filled from it anew:
 *
 *   sending: wanted -> (a copy that holds enough is made, in the pool) -> a piece is read -> raft_send_chunk, and so on
 *   taking in: chunks -> a file beside the state -> the last one: verified, made ours (member, term, vote), synced
 *     -> what runs on the state ends -> renamed over it, folder synced -> raft_restore -> the log starts after it
 *     -> memory is filled in the pool, and swapped in
 *
 * A crash at any point leaves the old state, or the new one: where the log's entry `applied` then has another term than
 * the state says, or the log ends before it, the log is reset to start after it (replica__open).
 */
#ifndef MINI_STORE_SNAPSHOT_H
#define MINI_STORE_SNAPSHOT_H

#include "raft/raft.h"

#define SNAPSHOT_PIECE   (512u << 10)
#define SNAPSHOT_IDLE_US 30000000u

struct engine;
/* What a half received copy left: raft goes on from there. Called before raft_new. */
void snapshot__open(struct engine *e, struct raft_partial *ret);
void snapshot__close(struct engine *e); /* nothing is under way any more */
/* Answered later by raft_send_chunk or raft_chunk_failed, and the pump is posted. */
void snapshot__wanted(struct engine *e, const struct raft_chunk_wanted *w);
/* Pieces of a ready: copied. Ends by itself in raft_restore or raft_restore_failed, and posts the pump. */
void snapshot__chunks(struct engine *e, const struct raft_chunk *chunks, size_t n);
/* A step of whatever is under way. No ready of raft is out, or it is being written. */
void snapshot__pump(struct engine *e);
/* The state's next batch is to be made durable at once. */
bool snapshot__sync_due(const struct engine *e);
/* One is being put in the state's place: nothing is to be applied, read from the state or written to it. */
bool snapshot__installing(const struct engine *e);
/* Files or lanes are in use: not to be closed yet. */
bool snapshot__busy(const struct engine *e);
/* The log may not go beyond this: a copy that holds only so much is under way to a member. UINT64_MAX: none is. */
uint64_t snapshot__keeps(const struct engine *e);

#endif
