/* Several members in one process, in virtual time, on real directories: a network in memory between them that can be cut. */
#ifndef MINI_TESTS_SUPPORT_STORE_SEVERAL_H
#define MINI_TESTS_SUPPORT_STORE_SEVERAL_H

#include "raft/raft.h"
#include "store/peer.h"
#include "tests/support/store/fixture.h"

#define SEVERAL_MAX      7u
#define SEVERAL_CLUSTER  77u
#define SEVERAL_DELAY_US 200u /* a message's, from one to another */

/* A member's id is its place + 1. Its fixture's calls (fx_put and so on) ask it. */
struct several {
	struct env *env;
	struct several_server {
		struct fixture f;
		struct store_peer peer;
		struct several *all;
		uint64_t told[SEVERAL_MAX + 1]; /* the members its transport was told of last, as a set */
		char name[16], peer_address[32], api_address[48];
		bool cut; /* from all others */
	} servers[SEVERAL_MAX];
	struct {
		uint64_t from, to, us;
	} late; /* ids: messages from the one to the other take longer */
	struct list packets;
	uint64_t sent;
};

void several_init(struct several *s);
void several_done(struct several *s);
/* The same as cmocka's setup and teardown of a test. */
int several_setup(void **state);
int several_teardown(void **state);
/* The first n are voters from the first day on, and run. */
void several_found(struct several *s, size_t n);
/* A new directory that waits to be told; see several_add. */
void several_join(struct several *s, size_t i);
int several_start(struct several *s, size_t i, struct err *err); /* again, with what its directory has */
void several_stop(struct several *s, size_t i);
void several_wipe(struct several *s, size_t i, uint64_t id); /* stopped: an empty directory, and another id */
void several_run(struct several *s, uint64_t us);

/* Calls at member `at`, awaited; the error's code or 0. */
int several_add(struct several *s, size_t at, size_t i, enum store_role wish, uint64_t replaces);
int several_wish(struct several *s, size_t at, uint64_t id, enum store_role wish);
int several_move(struct several *s, size_t at, uint64_t id);
const char *several_error(void); /* the message of the last one that failed */

/* "1:voter* 2:learner>voter": the members as `at` knows them, * the leader, > where what is wished differs. */
const char *several_roles(struct several *s, size_t at);
/* Waits (10 s at most) until `at` says so. False: it does not. */
bool several_await(struct several *s, size_t at, const char *roles);
size_t several_leader(struct several *s); /* waits until a running one leads and says so; its place */
/* Waits until that one has the value. */
bool several_has(struct several *s, size_t at, const char *key, const char *value);

#endif
