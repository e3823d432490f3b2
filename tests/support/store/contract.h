/* One engine under the contract tests, ours or etcd: real loop, real time, calls that wait for their answer. What an
 * engine holds stays from test to test: revisions are told from where a test begins, keys are of its own. */
#ifndef MINI_TESTS_SUPPORT_STORE_CONTRACT_H
#define MINI_TESTS_SUPPORT_STORE_CONTRACT_H

#include <uv.h>

#include "lib/core/env_uv.h"
#include "store/store.h"
#include "tests/support/store/etcd_server.h"

struct ct {
	uv_loop_t loop;
	struct env *env;
	struct store *store;
	bool etcd;
	char dir[64];
	struct etcd_server server;
	char key[32]; /* a prefix of the test's own, "t7/" */
	unsigned tests;
};

void ct_init(struct ct *c, bool etcd); /* starts what it needs; does not open */
void ct_done(struct ct *c);
void ct_open(struct ct *c);
void ct_close(struct ct *c);
/* Turns of the loop until *done, or it takes more than 20 s: a failed test. */
void ct_await(struct ct *c, const bool *done);
void ct_run_for(struct ct *c, unsigned ms);
const char *ct_key(const struct ct *c, const char *name); /* one of sixteen buffers, in turns */

struct ct_kv {
	char *key, *value; /* value NULL: none */
	size_t len;
	uint64_t create_rev, mod_rev, version, lease;
};
struct ct_answer {
	bool done;
	int calls;
	struct err err;
	bool succeeded, more;
	uint64_t rev, count, number;
	struct ct_kv *kvs, *prev;
	size_t n_kvs, n_prev;
	struct store_status status;
};
/* Valid until the next call. */
const struct ct_answer *ct_txn(struct ct *c, const struct store_txn_req *req);
const struct ct_answer *ct_put(struct ct *c, const char *key, const char *value);
const struct ct_answer *ct_delete(struct ct *c, const char *key);
const struct ct_answer *ct_range(struct ct *c, const struct store_range_req *req);
const struct ct_answer *ct_get(struct ct *c, const char *key, uint64_t rev);
const struct ct_answer *ct_compact(struct ct *c, uint64_t rev);
const struct ct_answer *ct_status(struct ct *c);
uint64_t ct_rev(struct ct *c);
const struct ct_answer *ct_lease(struct ct *c, void (*call)(struct store *, uint64_t, store_rev_cb, void *),
				 uint64_t number);

/* For calls that do not wait. Zeroed is valid. */
void ct_on_txn(void *answer, const struct err *err, const struct store_txn_resp *r);
void ct_on_range(void *answer, const struct err *err, const struct store_range_resp *r);
void ct_on_number(void *answer, const struct err *err, uint64_t value);
void ct_on_status(void *answer, const struct err *err, const struct store_status *st);
void ct_answer_done(struct ct_answer *a);

/* A watch that writes down what it sees, revisions counted from `base`: "1:+a=1(old) 2:-a ". */
struct ct_watch {
	struct ct *c;
	struct store_watch *watch;
	uint64_t base, last_rev, progress;
	struct buf log;
	size_t n_events;
	size_t want; /* ct_watch_await: this many events */
	bool reached, ended, stop_after_first;
	int end_code;
};
/* start: relative to base, which is the revision now; -1: from now on. The key is ct_key's prefix. */
void ct_watch(struct ct_watch *w, struct ct *c, const struct store_watch_req *req, uint64_t base);
void ct_watch_await(struct ct_watch *w, size_t events);
void ct_watch_done(struct ct_watch *w);

#endif
