/* What http_client.c (the pool and its calls) and http_client_conn.c (one connection of it) share. */
#ifndef MINI_NET_HTTP_CLIENT_H
#define MINI_NET_HTTP_CLIENT_H

#include "lib/net/conn.h"
#include "lib/net/http_parse.h"

enum { CLIENT_MAGIC = 0x434c4e54, CCONN_MAGIC = 0x43434f4e, CALL_MAGIC = 0x43414c4c };

struct http_client {
	uint32_t magic;
	struct conn_group group;
	char *host, *unix_path, *server_name, *host_header;
	uint16_t port;
	struct tls_context *tls;
	struct buf session; /* of the last handshake with `tls` */
	unsigned max_connections, connect_timeout_ms, idle_s;
	struct list conns, idle; /* all; those without a call, oldest first */
	struct list waiting;     /* calls without a connection */
	unsigned n_conns;
	bool closing;
};

/* RESOLVING -> CONNECTING (and shaking hands) -> BUSY <-> IDLE; any -> closed */
enum cconn_state { CCONN_RESOLVING, CCONN_CONNECTING, CCONN_BUSY, CCONN_IDLE };

struct cconn {
	struct conn conn;
	uint32_t magic;
	enum cconn_state state;
	struct http_client *client;
	struct list node, idle_node;
	struct http_call *call;
	struct tls_context *tls;
	struct http_response_parse parse;
	bool reused;      /* the call is not its first */
	bool got_bytes;   /* of the answer to the call */
	size_t sent_base; /* conn.sent when the call began */
	struct env_timer timer;
	uv_connect_t connect_req;
	struct resolve *resolve;
	struct sockaddr_storage *addrs; /* to be tried in order */
	unsigned n_addrs, next_addr;
};

struct http_call {
	uint32_t magic;
	struct http_client *client;
	struct list node; /* in client->waiting */
	struct cconn *conn;
	struct http_call_ops ops;
	void *arg;
	struct blob *request;
	struct env_timer timer;
	bool head, safe, retried, upgraded, awaits_drain;
	bool sent; /* it failed, and some of the request may have reached the server */
};

/* Opens a connection for the call. Failures come later, as the call's end. */
void cconn__open(struct http_client *c, struct http_call *call);
void cconn__begin(struct cconn *cc, struct http_call *call);
void cconn__close(struct cconn *cc);      /* without its call, which the caller has taken care of */
bool cconn__sent(const struct cconn *cc); /* some of its call's request */
/* Hand waiting calls to connections. */
void client__pump(struct http_client *c);
/* The call's end: frees it, then tells its owner. */
void http_call__done(struct http_call *call, const struct err *err);
/* Put it back in front of the line, once, for a connection of its own. */
void http_call__retry(struct http_call *call);
void http_call__free(struct http_call *call);

#endif
