/* The blocking half of taking in a copy of the state: its files, and the state they become. Private to the store; all of
 * it on the state lane, or at open and close. */
#ifndef MINI_STORE_SNAPSHOT_TAKE_H
#define MINI_STORE_SNAPSHOT_TAKE_H

#include "store/snapshot_internal.h"

struct taking {
	struct store_disk *disk;
	char *dir, *data_path, *head_path, *state_path;
	struct store_file *data, *head;
	struct raft_partial at; /* what of which is there */
	uint64_t recorded, piece_bytes;
	struct snapshot_file_info info;
	/* the state: handed over for take__replace(), and what it is then */
	struct store_state *state;
	struct store_state_reader *reader;
	struct store_state_meta meta;
	struct mvcc mvcc;  /* initialized, empty */
	struct map leases; /* with their keys */
	struct store_state_member *members;
	size_t n_members, cap_members;
	bool replaced, lost; /* the new one stands there; the old one could not be opened again */
};

/* A piece: the first one begins anew. -EBADMSG: not the next one. After an error: take__forget(). */
int take__piece(struct taking *t, const struct raft_chunk *c, struct err *err);
/* It was the last one: all is there and undamaged, becomes this member's own, and durable. */
int take__whole(struct taking *t, const struct raft_chunk *c, const struct store_state_own *own, struct err *err);
/* Rename it over the state, and open and load that. Where it fails and not `replaced`, the state is the old one, opened
 * again (or `lost`). */
int take__replace(struct taking *t, struct err *err);
void take__forget(struct taking *t);
/* What an earlier life left: fills t->at, or removes it. */
void take__resume(struct taking *t, uint64_t applied);
void take__close(struct taking *t);
void take__done(struct taking *t);

#endif
