/* What uses the stores: clients that read and write, and watchers. What they see goes into the ledger. */
#ifndef MINI_TESTS_SIM_CLIENTS_H
#define MINI_TESTS_SIM_CLIENTS_H

#include "tests/sim/server.h"

#define SIM_CLIENTS  8u /* SIM_LEASED of them are keepers: each holds a key by a lease, and renews in the last moment */
#define SIM_WATCHERS 5u

struct op;
struct sim_client {
	bool busy;
	struct op *op;    /* under way; it is waited for only so long */
	uint64_t next_us; /* when it asks for something again */
	uint64_t lease;   /* a keeper's; 0: it needs one */
	bool put;         /* its key hangs on it */
};

struct session;
struct sim_handle;
struct sim_watcher {
	struct sim_server *server; /* NULL: between two */
	unsigned life;
	struct store_watch *watch;
	struct session *session;
	struct sim_handle *handle;
	unsigned lo, hi;
	uint64_t from; /* goes on here; 0: from a list */
	bool paused, listing;
	uint64_t next_us;
};

struct sim_users {
	struct sim_server *servers;
	size_t n_servers;
	struct sim_client clients[SIM_CLIENTS];
	struct sim_watcher watchers[SIM_WATCHERS];
	size_t under_way; /* calls, also those that nobody waits for any more */
	bool quiet;       /* clients ask for nothing more; watchers go on */
	uint64_t budget;  /* calls left */
	uint64_t pace_us; /* clients wait up to this long between two calls */
	uint64_t answered, refused, unknown, compactions, expired_watches;
};

uint64_t sim_value(const struct blob *b); /* its number; 0: there is none */
void users_init(struct sim_users *u, struct sim_server *servers, size_t n);
void users_run(struct sim_users *u);   /* at each step */
void users_watch(struct sim_users *u); /* the watchers' part of it */
bool users_idle(const struct sim_users *u);
/* Read everything from that server, and hold it against the ledger later. stale: whatever that server has. */
void users_read_all(struct sim_users *u, struct sim_server *s, bool stale, bool must);
/* Everything is over and has had its time: each watcher has to have seen all. */
void users_settle(struct sim_users *u);

#endif
