/* Historic bugs of stores like this one, each of which -DSTORE_BUG=n builds in, to see that the simulator finds it
 * (tests/sim/mutants). None in any other build: BUG(n) is then a constant false. Private to the store. */
#ifndef MINI_STORE_BUGS_H
#define MINI_STORE_BUGS_H

#ifndef STORE_BUG
#define STORE_BUG 0
#endif
#define BUG(n) (STORE_BUG == (n))

enum {
	BUG_APPLIED_NOT_ATOMIC = 1,    /* the applied index is committed before the state it speaks of */
	BUG_REVISION_FROM_KEYS = 2,    /* the revision is taken from the keys left: it goes back after a compaction */
	BUG_COMPACTION_REVIVES = 3,    /* compaction drops a deletion and leaves what it deleted */
	BUG_STARVED_WATCHER = 4,       /* a slow watcher silently loses events */
	BUG_ACK_BEFORE_SYNC = 5,       /* a small write is acknowledged without its fsync */
	BUG_WATCH_GOES_BACK = 6,       /* a resumed watch tells the last revision again */
	BUG_FUTURE_WATCH = 7,          /* a watch of a future revision begins now */
	BUG_COMPACTED_READ = 8,        /* a compacted revision is read all the same */
	BUG_SYNC_RETRIED = 9,          /* a failed fsync is tried again, and believed */
	BUG_DEPOSED_LEASES = 10,       /* a server that does not lead ends leases by its own clock */
	BUG_TORN_IS_DAMAGE = 11,       /* a torn write keeps the store from starting */
	BUG_DAMAGE_IS_TORN = 12,       /* damage in the middle of the log ends it silently */
	BUG_TAIL_UNSETTLED = 13,       /* what was read after a failed fsync is believed to be durable */
	BUG_LOG_DROPPED_EARLY = 14,    /* the log goes once the state is committed, not once it is synced */
	BUG_LOCAL_READS = 15,          /* a follower reads without asking the leader */
	BUG_MESSAGES_BEFORE_SYNC = 16, /* a follower acknowledges entries before they are durable */
	BUG_NAME_NOT_SYNCED = 17,      /* a new segment's directory is not synced */
	BUG_VOTE_NOT_DURABLE = 18,     /* term and vote are not written */
	BUG_SPLIT_REVISION = 19,       /* a watcher gets a revision in two pieces */
	BUG_FATE_GUESSED = 20,         /* a forwarded write is tried again when its fate is unknown */
	BUG_SNAPSHOT_KEEPS_LOG = 21,   /* a copy of the state is taken in, and the log goes on with what it had */
	BUG_CONFIG_NOT_STORED = 22,    /* a configuration is applied, and the state does not say so */
	BUG_REMOVED_GOES_ON = 23,      /* a removed member does not end */
	BUG_RENEWED_ENDS = 24,         /* a lease ends that was renewed after its end was proposed */
	BUG_COPY_UNVERIFIED = 25,      /* a copy's half is believed to be there, and the whole to be sound */
	BUG_PAGE_UNCHECKED = 26,       /* a page of the state is taken as it is read */
	BUG_COUNT = 26
};

#endif
