/* What the files of the HTTP server share: http_server.c (listening, limits), http_conn.c (a connection's life),
 * http_request.c (the handler's view). */
#ifndef MINI_NET_HTTP_SERVER_H
#define MINI_NET_HTTP_SERVER_H

#include "lib/net/conn.h"
#include "lib/net/http_parse.h"

enum { SERVER_MAGIC = 0x53525652, SCONN_MAGIC = 0x53434e4e, REQUEST_MAGIC = 0x52455153, STREAM_MAGIC = 0x5354524d };

struct listener {
	struct http_server *server;
	struct listener *next;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	bool pipe;
	bool waiting; /* a connection waits to be accepted: too many are open */
};

struct http_server {
	uint32_t magic;
	struct conn_group group;
	struct tls_context *tls;
	struct http_limits limits;
	struct http_server_ops ops;
	void *arg;
	const char *refusal_type;
	void (*refusal)(int status, const char *reason, struct buf *body);
	struct listener *listeners;
	unsigned n_listeners; /* handles not closed yet */
	uint16_t port;
	struct list conns, idle; /* all; those between requests, oldest first */
	unsigned n_conns;
	size_t bodies; /* bytes of large bodies that are held */
	bool closing, freeing;
	struct env_timer grace;
	void (*done)(void *arg);
	void *done_arg;
};

/*           bytes                  complete                 ended                  more bytes or pending
 * SHAKING -> IDLE ---------> READING ---------> SERVING ------------------> IDLE ...
 *                              | refused             \ not keep-alive   \ http_upgrade()
 *                              '-----> LINGERING <----'                  '-> STREAMING
 */
enum sconn_state { SCONN_SHAKING, SCONN_IDLE, SCONN_READING, SCONN_SERVING, SCONN_STREAMING, SCONN_LINGERING };

struct sconn {
	struct conn conn;
	uint32_t magic;
	enum sconn_state state;
	struct http_server *server;
	struct list node, idle_node;
	struct http_request *request;
	struct http_stream *stream;
	struct buf pending; /* bytes behind the request being served */
	struct http_peer peer;
	char **organizations;
	struct env_timer timer;
	uint64_t deadline_us; /* 0: none */
	uint64_t progress;    /* conn.progress when the deadline for unsent output was set */
	bool watching_output;
};

struct http_query_pair {
	char *name, *value;
};

struct http_request {
	uint32_t magic;
	struct sconn *conn;
	struct http_parse parse;
	size_t counted; /* of its body, in server->bodies */
	void *data;
	bool dispatched, started, chunked, head_only, no_body;
	struct http_query_pair *query;
	char *query_text;
	unsigned n_query;
	bool query_parsed;
	void (*on_drain)(void *arg, struct http_request *r);
	void *drain_arg;
};

struct http_stream {
	uint32_t magic;
	struct sconn *conn;
	const struct http_stream_ops *ops;
	void *arg;
	bool paused, awaits_drain;
};

void sconn__accept(struct http_server *s, struct listener *l);
void sconn__close(struct sconn *c); /* tells the handler if a request or stream is under way */
/* The response is complete: free the request and go on. */
void sconn__finish(struct sconn *c, bool keep_alive);
void sconn__deadline(struct sconn *c, uint64_t delay_us);
void sconn__linger(struct sconn *c);
void request__free(struct http_request *r);
/* An answer of the server's own, which ends the connection. */
void request__refuse(struct http_request *r, int status, const char *reason);
void server__conn_gone(struct http_server *s);
bool server__crowded(const struct http_server *s); /* someone waits for a connection to go */

#endif
