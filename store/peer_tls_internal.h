/* What peer_tls.c (members, who is dialed when), peer_dial.c (finding an address, connecting) and peer_conn.c (one
 * connection: who is it, frames in and out) share. */
#ifndef MINI_STORE_PEER_TLS_INTERNAL_H
#define MINI_STORE_PEER_TLS_INTERNAL_H

#include "lib/core/metrics.h"
#include "lib/net/conn.h"
#include "store/peer_frame.h"
#include "store/peer_tls.h"

enum {
	PEER_PENDING_MAX = 64,             /* accepted connections that have not said yet who they are */
	PEER_PENDING_PER_ADDRESS = 16,     /* of these, from one address */
	PEER_STRANGERS_MAX = 32,           /* members by certificate that ops->members has not named */
	PEER_URGENT_MAX = 1024 * 1024,     /* bytes of small messages that wait on a connection */
	PEER_CONNECT_US = 2 * 1000 * 1000, /* for a TCP connection to come about */
	PEER_HELLO_US = 5 * 1000 * 1000,   /* ... and for the rest until the hello */
	PEER_REFUSED_US = 1000 * 1000,     /* how long a refused one is read on, so that it sees why */
	PEER_PING_US = 1000 * 1000,        /* also how often silence is looked for */
	PEER_QUIET_US = 1500 * 1000,       /* after which another connection is preferred, if there is one */
	PEER_SILENCE_US = 3 * 1000 * 1000, /* after which a connection is dead */
	PEER_FORGET_US = 3 * 1000 * 1000,  /* a removed member may still hear of it */
	PEER_STABLE_US = 2 * 1000 * 1000,  /* a connection that held so long makes the next dial an eager one */
	PEER_BACKOFF_MIN_US = 50 * 1000,
	PEER_BACKOFF_MAX_US = 2 * 1000 * 1000,
	PEER_SAID_US = 60 * 1000 * 1000, /* the same sentence is logged once in this time */
	PEER_SAID_MAX = 32,
};

/* dialed:   DIALING -> SHAKING -> GREETING (our hello is out) -> OPEN -> closed
 * accepted:            SHAKING -> GREETING (theirs is awaited) -> OPEN -> closed
 *           what does not fit:    GREETING -> REFUSED (a reason is out, or came) -> closed */
enum peer_conn_state { PEER_DIALING, PEER_SHAKING, PEER_GREETING, PEER_OPEN, PEER_REFUSED };

struct peer_metrics {
	struct metric_series *sent_bytes, *sent, *received_bytes, *received, *dropped, *connects, *connected,
		*round_trip;
};

/* One other member. */
struct peer {
	struct peer_tls *p;
	struct list node; /* in p->peers */
	uint64_t id;
	char name[STORE_MEMBER_NAME_MAX + 1];
	char address[STORE_ADDRESS_MAX + 1]; /* HOST:PORT, "": not dialed */
	bool member;                         /* named by ops->members */
	bool lost;                           /* to be reported unreachable */
	uint64_t told;                       /* why it cannot be reached, as the log has it (a hash); 0: it can */
	struct peer_conn *dialing, *out, *in;
	struct peer_address heard; /* as it said itself, to us or to others; version 0: nothing */
	unsigned tries;            /* dials since the last success: walks through a name's addresses */
	uint64_t backoff_us;
	struct env_timer retry, forget;
	struct buf session; /* TLS: for a cheaper handshake next time */
	struct peer_metrics m;
};

struct peer_resolve;
struct peer_conn {
	uint32_t magic;
	struct conn conn;
	struct peer_tls *p;
	struct list node;  /* in p->conns */
	struct peer *peer; /* dialed: whom; accepted: NULL until OPEN */
	enum peer_conn_state state;
	bool dialed, counted;                /* counted: among p->n_pending */
	uint64_t cert_member;                /* whose certificate the other side showed */
	char address[STORE_ADDRESS_MAX + 1]; /* of the other side, without the port when it was accepted */
	struct tls_context *tls;
	struct peer_resolve *resolve;
	uv_connect_t connect_req;
	struct env_timer timer;
	uint64_t opened_us, heard_us;
	struct peer_stream in;
	struct list urgent, bulk; /* struct piece */
	size_t urgent_bytes, bulk_bytes;
};

/* A sentence that was logged, and when it may be again. */
struct peer_said {
	uint64_t hash, until_us;
};

struct peer_tls {
	uint32_t magic;
	struct store_peer peer;
	struct conn_group group;
	struct env *env;
	uint64_t cluster, member;
	struct tls_context *server, *client;
	uv_tcp_t listener;
	uint16_t port;
	struct peer_address own; /* version 0: not said */
	bool started, listening, closing, group_closing;
	struct list peers, conns;
	unsigned n_conns, n_pending;
	struct env_post report; /* somebody is lost */
	struct peer_said said[PEER_SAID_MAX];
	void (*done)(void *arg);
	void *done_arg;
};

/* peer_tls.c */
struct peer *peer__find(struct peer_tls *p, uint64_t id);
/* The peer of that id, made if need be; NULL: there are too many that nobody has named. */
struct peer *peer__get(struct peer_tls *p, uint64_t id);
void peer__lost(struct peer *r);                /* reported from the loop */
void peer__dial_soon(struct peer *r, bool now); /* unless there is one, or one is under way */
void peer__opened(struct peer *r, struct peer_conn *c);
void peer__ended(struct peer *r, struct peer_conn *c, const char *why);
/* Somebody says where a member is. */
void peer__heard(struct peer_tls *p, const struct peer_address *a, struct peer_conn *from);
void peer__conn_gone(struct peer_tls *p);
void peer__maybe_forget(struct peer *r);
/* A warning, unless the same was said within the last minute. */
void peer__say(struct peer_tls *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* peer_dial.c */
/* HOST:PORT or [V6]:PORT; host has room for STORE_ADDRESS_MAX + 1. -EINVAL. */
int peer__split_address(const char *address, char *host, uint16_t *ret_port);
void peer__dial(struct peer *r);
void peer__dial_cancel(struct peer_conn *c); /* a look-up under way is nobody's any more */

/* peer_conn.c */
struct peer_conn *peer_conn__new(struct peer_tls *p, bool dialed);
void peer_conn__accept(struct peer_tls *p);
void peer_conn__start(struct peer_conn *c); /* it is connected: shake hands */
void peer_conn__fail(struct peer_conn *c, const char *why);
void peer_conn__close(struct peer_conn *c); /* without a word to anybody */
void peer_conn__send_address(struct peer_conn *c, const struct peer_address *a);
bool peer_conn__send(struct peer_conn *c, const void *data, size_t len);

#endif
