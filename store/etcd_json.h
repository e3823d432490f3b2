/* etcd's answers, read as they arrive: JSON in pieces of any size, never a tree. Private to the etcd engine.
 *
 * etcd_json is the tokenizer; etcd_msg gathers what the engine wants of the messages it knows (RangeResponse,
 * TxnResponse, WatchResponse ... of rpc.proto, in proto3's JSON form: bytes as base64, 64-bit numbers as strings).
 */
#ifndef MINI_STORE_ETCD_JSON_H
#define MINI_STORE_ETCD_JSON_H

#include "store/store.h"

#define ETCD_JSON_DEPTH 12u
#define ETCD_JSON_NAME  24u         /* longer names are nobody's: read as "" */
#define ETCD_JSON_TEXT  (48u << 20) /* one string */

struct etcd_json {
	/* name: of the field that holds it, of the array's for an element; "" for the whole. */
	void (*begin)(void *arg, const char *name, bool array);
	void (*end)(void *arg, const char *name, bool array);
	/* A string, number, true, false or null as text, NUL-terminated and borrowed. */
	void (*scalar)(void *arg, const char *name, const char *text, size_t len);
	void *arg;
	struct {
		bool array;
		char name[ETCD_JSON_NAME]; /* of the field under way in an object; an array's own */
	} stack[ETCD_JSON_DEPTH];
	unsigned depth;
	int state;
	bool is_key;
	unsigned hex_left, hex;
	struct buf text;
};
void etcd_json_init(struct etcd_json *j, void *arg);
void etcd_json_done(struct etcd_json *j);
/* Reads on to the end of a whole value, or of the data: how many bytes that took, or -EPROTO: not JSON, or beyond the
 * bounds. */
ssize_t etcd_json_feed(struct etcd_json *j, const char *data, size_t len);

enum etcd_role { ETCD_KV, ETCD_PREV };
struct etcd_item {
	enum etcd_role role;
	unsigned n; /* of which response of a transaction, or which event of a watch */
	bool deleted;
	struct store_kv kv; /* key and value are owned */
};
struct etcd_msg {
	struct etcd_json json;
	size_t strip; /* bytes of the prefix, taken off keys; keys that are not ours are left out */
	const char *prefix;
	uint64_t cluster, member, rev, term; /* the header */
	bool succeeded, more, created, canceled, fragment, no_space;
	uint64_t count, compact_rev, lease, ttl;
	uint64_t db_size, leader, raft_index, applied_index;
	char version[16];
	unsigned error_code; /* gRPC's */
	char error[256];
	struct etcd_item *items;
	size_t n_items, cap_items, bytes;
	bool whole, bad; /* a message has ended; something in it could not be read */

	unsigned n; /* while parsing, to the end */
	size_t event_at;
	int in_kv, in_header;
	bool deleting;
};
void etcd_msg_init(struct etcd_msg *m, const char *prefix); /* prefix is borrowed; m must not move after it */
void etcd_msg_clear(struct etcd_msg *m);                    /* for the next message */
void etcd_msg_done(struct etcd_msg *m);
/* As etcd_json_feed: stops behind a message, which then is `whole`. */
ssize_t etcd_msg_feed(struct etcd_msg *m, const char *data, size_t len);

#endif
