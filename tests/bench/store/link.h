/* One TLS connection of the bench's client, to our store's server or to etcd. Many requests may be under way; each has
 * an id of the user's. Loop thread. */
#ifndef MINI_TESTS_BENCH_STORE_LINK_H
#define MINI_TESTS_BENCH_STORE_LINK_H

#include "lib/net/conn.h"

struct link;
struct link_ops {
	void (*opened)(struct link *l);
	/* number: a put's revision, a count, 1 of a status: it leads */
	void (*answered)(struct link *l, uint64_t id, bool failed, uint64_t number);
	void (*event)(struct link *l, uint64_t id); /* of the watch with this id */
	void (*ended)(struct link *l, const char *why);
};
struct link_proto {
	const char *name, *spoken; /* as an argument; in the table */
	const char *const *alpn;
	void (*start)(struct link *l); /* TLS is up */
	int (*data)(struct link *l, const char *data, size_t len);
	void (*put)(struct link *l, uint64_t id, const char *key, const void *value, size_t len);
	void (*count)(struct link *l, uint64_t id); /* of all keys, linearizable */
	void (*status)(struct link *l, uint64_t id);
	void (*compact)(struct link *l, uint64_t id, uint64_t rev);
	void (*watch)(struct link *l, uint64_t id, const char *prefix);
	void (*stop)(struct link *l);
};
extern const struct link_proto link_mini, link_etcd;

struct link {
	struct conn conn;
	const struct link_proto *proto;
	const struct link_ops *ops;
	void *arg;
	uv_connect_t connect;
	struct tls_context *tls;
	bool open;
	struct buf in;
	void *session; /* of the protocol */
};
/* To 127.0.0.1:port. */
struct link *link_new(struct conn_group *g, const struct link_proto *proto, struct tls_context *tls, uint16_t port,
		      const struct link_ops *ops, void *arg);
void link_close(struct link *l); /* no callback follows */

#endif
