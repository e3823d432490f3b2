/* Everything that was seen of a store from outside, and whether it can all be true at once.
 *
 * Acknowledged transactions and watches say what each revision held; replaying them gives the state at every revision,
 * which every read, comparison, replaced value and event is then held against. Values are numbers that are written
 * once in a run; 0 stands for "not there". A moment is a place in the order in which things were seen.
 */
#ifndef MINI_TESTS_SIM_LEDGER_H
#define MINI_TESTS_SIM_LEDGER_H

#include "tests/sim/linear.h"

#define SIM_KEYS   12u
#define SIM_LEASED 3u /* the last ones of them: only their keepers put them, so that their end is always a lease's */

struct seen_kv {
	unsigned key;
	uint64_t value; /* 0: deleted, or not there */
	uint64_t create, mod, version, lease;
	uint64_t prev;       /* what it replaced */
	bool has_prev, bare; /* bare: only the value is known */
};
enum seen_kind {
	SEEN_WRITE, /* an acknowledged transaction: exactly the last ones of them: only ever put, so that their end is always a lease's keys changed at rev */
	SEEN_EVENTS, /* a watch: the last ones of them: only ever put, so that their end is always a lease's are the changes at rev of keys in [lo, hi) */
	SEEN_RANGE, /* a read: the last ones of them: only ever put, so that their end is always a lease's are the keys of [lo, hi) at rev */
	SEEN_VALUES, /* the last ones of them: only ever put, so that their end is always a lease's keys had these values at rev (and others are not spoken of) */
};
struct seen {
	enum seen_kind kind;
	uint64_t rev, call, ret, us; /* moments; when it was seen */
	bool latest; /* the answer is to be the latest state of its time, so its revision is bound by real time */
	unsigned lo, hi;
	size_t n;
	struct seen_kv kvs[SIM_KEYS];
};
struct seen *ledger_add(enum seen_kind kind); /* to be filled */

/* All that a server holds, at a revision: the same wherever that revision is held. At once, not at the end. */
void ledger_state(unsigned server, const struct seen *s);

/* One life of one watch: all events of keys in [lo, hi) from `from` to `upto` came, in order, each revision once. */
struct session {
	unsigned lo, hi;
	uint64_t from, upto;
	uint64_t *revs; /* delivered */
	size_t n, cap;
};
struct session *ledger_session(unsigned lo, unsigned hi, uint64_t from);

/* What clients did to one key, for the check of linearizability. */
void ledger_lin(unsigned key, struct lin_op op);

struct sim_lease {
	uint64_t id, ttl_s;
	uint64_t renewed_us; /* when the last renewal that was acknowledged was asked for */
	bool revoked;        /* somebody asked for it */
};
struct sim_lease *ledger_lease(uint64_t id); /* made if new */
void ledger_clock_jumped(void);              /* leases may end early by the world's clock from here on */
void ledger_unknown_delete(unsigned key);    /* a deletion of unknown fate: its revision may be nobody's */

uint64_t ledger_moment(void);
uint64_t ledger_max_rev(void); /* the highest seen in any answer */

struct ledger_stats {
	size_t writes, reads, events, sessions, revisions, gaps, undecided;
};
/* Ends the run with a violation if it can't all be true. */
void ledger_check(struct ledger_stats *ret);

#endif
