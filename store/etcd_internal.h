/* The etcd engine's inside, shared by its files: calls and where they go, jobs, the feed, watches. Loop thread. */
#ifndef MINI_STORE_ETCD_INTERNAL_H
#define MINI_STORE_ETCD_INTERNAL_H

#include "lib/core/list.h"
#include "lib/net/http.h"
#include "store/etcd.h"
#include "store/etcd_json.h"

#define ETCD_MAGIC       0x65746364u
#define ETCD_SERVERS_MAX 16u
#define ETCD_QUEUE_MAX   (64u << 20) /* requests not answered, in bytes */
#define ETCD_READ_MS     5000u
#define ETCD_NEXT_MS     2000u  /* a read, where there are others to ask */
#define ETCD_WRITE_MS    10000u /* longer than etcd itself waits for a quorum */
#define ETCD_RETRY_US    100000u

struct etcd;

/* One question to etcd, asked of one server after the other where that is safe.
 *
 *   LINE (no server has answered yet) -> ASKED <-> PAUSED -> done
 */
struct etcd_call {
	struct list node; /* in etcd->line */
	struct etcd *e;
	const char *path;
	struct buf body;
	bool write; /* never asked twice */
	bool early; /* does not wait in line: it is what the line waits for */
	bool one;   /* only of `server` */
	unsigned server, tries;
	uint64_t since_us;
	struct http_call *http;
	int status;
	bool unreadable;
	struct etcd_msg msg; /* the answer; valid in done */
	struct env_timer timer;
	void (*done)(struct etcd_call *c, const struct err *err); /* from the loop; c may be begun anew, or freed */
};
void etcd_call_init(struct etcd_call *c, struct etcd *e, const char *path);
void etcd_call_begin(struct etcd_call *c); /* body, write, done are set */
void etcd_call_stop(struct etcd_call *c);  /* no callback follows */
void etcd_call_done(struct etcd_call *c);  /* stops and frees what is in it */
/* The error a message carries, with the code store.h wants. */
int etcd_call_error(const struct etcd_msg *m, int status, struct err *err);

/* JSON of requests. */
void etcd_add_key(struct buf *b, const struct etcd *e, const char *name, const char *key);
void etcd_add_end(struct buf *b, const struct etcd *e, const char *end);
void etcd_add_bytes(struct buf *b, const char *name, const void *data, size_t len);
void etcd_add_number(struct buf *b, const char *name, uint64_t v);

struct etcd_server {
	char *url;
	struct http_client *calls, *streams;
};

/* The events of one watch of etcd, over the whole prefix.
 *
 *   IDLE -> CHECKING (is the revision still there, and which is the latest) -> STREAMING
 *    ^          \------------> RESTING (broken: a moment) <------------------------/
 */
struct etcd_feed {
	struct etcd *e;
	enum { FEED_IDLE, FEED_CHECKING, FEED_STREAMING, FEED_RESTING } state;
	uint64_t pos; /* everything up to this revision has been seen */
	bool latest;  /* checking: only the latest revision is asked for */
	bool silent;  /* nothing came since the last ping */
	unsigned server;
	struct etcd_call check;
	struct http_call *http;
	struct etcd_msg msg;
	struct store_event *held; /* of a revision that is not whole yet; owned */
	size_t n_held, cap_held;
	struct env_timer timer;
	/* One whole revision. Events are the taker's. */
	void (*on_rev)(struct etcd_feed *f, uint64_t rev, struct store_event *events, size_t n);
	/* code 0: the check has told the latest revision, `rev`; streaming follows. -ESTALE: pos + 1 is compacted. -ERANGE:
	 * pos is in the future: etcd's history is another one. Idle afterwards. */
	void (*on_checked)(struct etcd_feed *f, const struct err *err, uint64_t rev);
};
void etcd_feed_init(struct etcd_feed *f, struct etcd *e);
void etcd_feed_start(struct etcd_feed *f, bool latest); /* from pos + 1 on */
void etcd_feed_broken(struct etcd_feed *f);             /* it goes on after a moment, with another server */
void etcd_feed_stop(struct etcd_feed *f);
void etcd_feed_done(struct etcd_feed *f);

struct store_watch {
	struct list node;
	struct etcd *e;
	char *key, *end;
	struct store_watch_ops ops;
	void *arg;
	uint64_t next_rev;    /* the first not yet delivered; 0: "now", once there is one */
	uint64_t counted_rev; /* while paused: events up to here are in pending */
	uint64_t progress_us, last_us;
	size_t max_pending, pending;
	bool paused, dead;
	struct env_timer timer;
};

struct etcd {
	struct store base;
	uint32_t magic;
	struct env *env;
	uv_loop_t *loop;
	struct etcd_server servers[ETCD_SERVERS_MAX];
	unsigned n_servers, current;
	char *prefix;
	char *prefix_end; /* "" : to the end of the space */
	uint64_t cluster;
	uint64_t seen, compacted; /* the latest revision, and what is compacted, as far as this process knows */
	uint64_t history_us, wait_us, compact_rev;
	struct env_timer compact_timer;

	struct list line, jobs, answers;
	size_t queued_bytes;
	struct env_post pump;

	/* What the root feed brought, oldest first: places first <= i < next of a ring. Beneath the floor it is gone. */
	struct etcd_feed root, back;
	struct store_event *ring; /* owned keys and values; kv.mod_rev says which revision */
	size_t first, next, cap_ring, ring_bytes;
	uint64_t floor;
	bool known;         /* root.pos and floor are */
	uint64_t back_seen; /* the back feed's run has brought everything up to here */
	struct list watches;
	size_t n_watches;
	struct env_timer ping_timer;
	struct etcd_call ping;
	struct store_event *events; /* scratch */
	size_t cap_events;

	bool closing;
	void (*close_done)(void *arg);
	void *close_arg;
};
static inline struct etcd *etcd_of(struct store *s)
{
	struct etcd *e = CONTAINER_OF(s, struct etcd, base);
	MAGIC_CHECK(e, ETCD_MAGIC);
	return e;
}

/* etcd_call.c */
void etcd_line_go(struct etcd *e);

/* etcd_job.c: what the engine's user asked for */
void etcd_range(struct store *s, const struct store_range_req *req, store_range_cb cb, void *arg);
void etcd_txn(struct store *s, const struct store_txn_req *req, store_txn_cb cb, void *arg);
void etcd_compact(struct store *s, uint64_t rev, store_rev_cb cb, void *arg);
void etcd_lease_grant(struct store *s, uint64_t ttl_s, store_rev_cb cb, void *arg);
void etcd_lease_keepalive(struct store *s, uint64_t lease, store_rev_cb cb, void *arg);
void etcd_lease_revoke(struct store *s, uint64_t lease, store_rev_cb cb, void *arg);
void etcd_status(struct store *s, store_status_cb cb, void *arg);
void etcd_answers(struct etcd *e);                            /* what was refused */
void etcd_cancel_jobs(struct etcd *e, const struct err *err); /* all of them */

/* etcd_watch.c */
void etcd_watch_open(struct etcd *e);
struct store_watch *etcd_watch(struct store *s, const struct store_watch_req *req, const struct store_watch_ops *ops,
			       void *arg);
void etcd_watch_pause(struct store *s, struct store_watch *w, bool paused);
void etcd_unwatch(struct store *s, struct store_watch *w);
void etcd_watch_pump(struct etcd *e);
/* Ends what is watched; true: there was nothing left, and all is freed. */
bool etcd_watch_close(struct etcd *e, const struct err *err);

#endif
