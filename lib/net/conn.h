/* One byte stream on libuv, plain or TLS, with gathered output: what the HTTP server and client stand on.
 *
 * A conn lives inside its owner's struct. Its memory may go only in on_closed. Nothing is ever reported inside a call
 * to a conn_ function: output leaves at the end of the loop's turn (or at once when much of it waits), and failures are
 * reported from the loop. TLS handshakes run on the POOL lane; the records after it are ours (tls_record.h).
 */
#ifndef MINI_NET_CONN_H
#define MINI_NET_CONN_H

#include <uv.h>

#include "lib/core/buf.h"
#include "lib/core/env.h"
#include "lib/core/err.h"
#include "lib/net/tls.h"

struct conn;

/* What connections of one server or client share: the place where a turn's output is flushed. */
struct conn_group {
	struct env *env;
	uv_loop_t *loop;
	uv_idle_t idle;    /* active while `dirty` has entries */
	struct list dirty; /* connections with something to do at the end of this turn */
	void (*on_closed)(struct conn_group *g);
	bool closing;
};

struct conn_ops {
	void (*on_open)(struct conn *c); /* connected and, with TLS, authenticated */
	void (*on_data)(struct conn *c, const char *data, size_t len);
	void (*on_tick)(struct conn *c); /* after each flush */
	/* The other side has ended (code 0: once; it may still read what we send) or the connection failed (once). */
	void (*on_end)(struct conn *c, const struct err *err);
	void (*on_closed)(struct conn *c);
};

struct out_seg {
	struct buf mem;
	struct blob *blob; /* instead of mem */
	size_t off;
};

struct conn {
	uint32_t magic;
	struct conn_group *group;
	const struct conn_ops *ops;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	struct list node;                /* in group->dirty */
	struct tls_handshake *handshake; /* its result may be read, and taken from, in on_open */
	struct tls_record *record;
	struct buf in; /* part of a record, or bytes that wait for the handshake */
	struct out_seg *segs;
	unsigned seg_head, seg_tail, seg_cap, seg_pinned;
	size_t queued;    /* bytes of content in segs */
	size_t in_flight; /* bytes in the write under way */
	struct buf wire;  /* encrypted bytes of the write under way */
	struct buf raw;   /* bytes to be sent as they are, before segs: handshake, alerts */
	uv_write_t write_req;
	uv_shutdown_t shutdown_req;
	uint64_t progress; /* counts completed writes: tells a slow reader from a dead one */
	size_t sent;       /* bytes the kernel has taken, in all */
	struct err *fail;  /* to be reported */
	bool opened, reading, paused, writing, closing, ended, failed, shut_wanted, shut_done, alert_sent;
	bool truncated; /* a TLS connection that ended without saying so */
};

void conn_group_init(struct conn_group *g, struct env *env, uv_loop_t *loop, void (*on_closed)(struct conn_group *g));
void conn_group_close(struct conn_group *g); /* on_closed follows; no conn may be open any more by then */

/* Initialises the libuv handle; c is zeroed by the caller. */
int conn_init(struct conn *c, struct conn_group *g, bool pipe, const struct conn_ops *ops);
/* The stream is connected: read and, with tls, shake hands. server_name and session: for clients (may be NULL). */
void conn_start(struct conn *c, struct tls_context *tls, const char *server_name, const struct buf *session);
void conn_add(struct conn *c, const void *data, size_t len);
void conn_add_buf(struct conn *c, struct buf *b); /* takes the memory over */
void conn_add_blob(struct conn *c, struct blob *b);
/* Room for small output: append to the returned buffer, then conn_added(). */
struct buf *conn_tail(struct conn *c);
void conn_added(struct conn *c, size_t len);
size_t conn_unsent(const struct conn *c);
void conn_mark(struct conn *c); /* wants its tick */
void conn_pause(struct conn *c, bool pause);
void conn_shutdown(struct conn *c); /* send what is queued, then say that no more comes */
void conn_fail(struct conn *c, int code, const char *message);
void conn_close(struct conn *c); /* at once; on_closed follows */

#endif
