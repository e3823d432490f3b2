/* For tests of the store: a directory of its own, a store in virtual time, calls that wait for their answer, and a disk
 * that can be told to fail. */
#ifndef MINI_TESTS_SUPPORT_STORE_FIXTURE_H
#define MINI_TESTS_SUPPORT_STORE_FIXTURE_H

#include "lib/core/env_sim.h"
#include "store/disk.h"
#include "store/store.h"

struct faulty_disk {
	struct store_disk disk;
	int fail_sync_after; /* -1: never; else this many syncs from now one fails */
	bool full;           /* preallocation says there is no room */
	bool no_sync;        /* one is counted, and done by nobody */
	bool unreadable;     /* no file gives a byte back */
	unsigned syncs, failed_syncs;
	char trace[64]; /* the last calls: w write, s sync, d sync of a directory */
};
struct store_disk *faulty_disk_init(struct faulty_disk *f);

struct fixture {
	struct env *env;
	char dir[64];
	struct store *store;
	struct store_config config;
	struct faulty_disk disk;
	struct err fatal;
	bool stopped;
};

void fixture_init(struct fixture *f); /* opens */
void fixture_done(struct fixture *f); /* closes if open, removes the directory */
int fixture_open(struct fixture *f, struct err *err);
void fixture_close(struct fixture *f);

/* Answers of the calls below; strings and blobs are copies or referenced until the next call. */
struct answer {
	bool done;
	struct err err;
	bool succeeded, more;
	uint64_t rev, count, number;
	struct {
		char key[64];
		char value[64];
		bool exists;
		uint64_t create_rev, mod_rev, version;
	} kvs[64], prev[64]; /* the first 64 */
	size_t n_kvs, n_prev;
	struct store_status status;
};
const struct answer *fx_txn(struct fixture *f, const struct store_txn_req *req);
const struct answer *fx_put(struct fixture *f, const char *key, const char *value);
const struct answer *fx_delete(struct fixture *f, const char *key);
const struct answer *fx_range(struct fixture *f, const struct store_range_req *req);
const struct answer *fx_get(struct fixture *f, const char *key, uint64_t rev);
const struct answer *fx_compact(struct fixture *f, uint64_t rev);
const struct answer *fx_status(struct fixture *f);
const struct answer *fx_lease(struct fixture *f, void (*call)(struct store *, uint64_t, store_rev_cb, void *),
			      uint64_t number);

/* A watch that writes down what it sees: "5:+a=1 6:-a " ... */
struct watcher {
	struct store_watch *watch;
	struct buf log;
	uint64_t last_rev, progress;
	bool ended;
	int end_code;
	struct fixture *f;
	bool stop_after_first;
};
void watcher_start(struct watcher *w, struct fixture *f, const struct store_watch_req *req);
void watcher_done(struct watcher *w);

#endif
