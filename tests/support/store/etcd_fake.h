/* Servers that speak as much of etcd's HTTP/JSON as the engine asks for, and fail as told. */
#ifndef MINI_TESTS_SUPPORT_STORE_ETCD_FAKE_H
#define MINI_TESTS_SUPPORT_STORE_ETCD_FAKE_H

#include "lib/net/http.h"
#include "store/etcd.h"
#include "tests/support/store/contract.h"

enum fake_does {
	FAKE_OK,
	FAKE_CUT,           /* the connection, without an answer */
	FAKE_UNAVAILABLE,   /* 503, as when a leader is lost */
	FAKE_GARBAGE,       /* 200, and no JSON */
	FAKE_NOT_ETCD,      /* 404 */
	FAKE_OTHER_CLUSTER, /* 200, from one that is not ours */
	FAKE_ERROR          /* fake->grpc and text */
};
struct fake_server {
	struct fake *fake;
	struct http_server *http;
	uint16_t port;
	enum fake_does range, txn;
	unsigned writes;
	struct http_request *stream; /* a watch that is open */
	uint64_t from;               /* where it begins */
	bool watched, stopped;
};
struct fake {
	struct ct ct;
	struct fake_server servers[2];
	uint64_t rev, compacted;
	unsigned grpc;
	const char *text;
};
#define FAKE_WAIT_US 2000000u   /* how long a call waits for a server that answers */
void fake_init(struct fake *f); /* two servers listen; revision 5 */
void fake_open(struct fake *f, unsigned n_servers);
void fake_stop(struct fake *f, unsigned server);
/* Until one of the servers is asked for a watch from this revision. */
struct fake_server *fake_await_stream(struct fake *f, uint64_t from);
void fake_done(struct fake *f);

#endif
