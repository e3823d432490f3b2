/* HTTP/1.1 with TLS on libuv: a server and a client, streaming both ways, and the WebSocket upgrade.
 *
 * llhttp parses, mbedTLS encrypts (1.2; ChaCha20-Poly1305 preferred), handshakes run on env's POOL lane. Everything on
 * the loop thread. Callbacks never fire inside the call that caused them. Limits are part of the configuration; beyond
 * one: 431, 413, 408, 429 or a closed connection. Pipelined requests are answered in order, one at a time.
 */
#ifndef MINI_NET_HTTP_H
#define MINI_NET_HTTP_H

#include <uv.h>

#include "lib/core/buf.h"
#include "lib/core/env.h"
#include "lib/core/err.h"

/* ---- TLS contexts: shared by many connections, reference-counted, replaceable while running (rotation) ---- */
struct tls_context;

/* Server: cert and key to present; ca_pem (may be NULL): client certificates are asked for, not required, and those
 * that do not verify against it are kept out of `peer` (tls_verified false -> the API answers 401, not a TLS alert). */
int tls_server_context(const char *cert_pem, const char *key_pem, const char *ca_pem, struct tls_context **ret,
		       struct err *err);
/* Client: ca_pem verifies the server (NULL with insecure=true only); cert/key may be NULL. */
int tls_client_context(const char *ca_pem, const char *cert_pem, const char *key_pem, bool insecure,
		       struct tls_context **ret, struct err *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);

struct http_peer {
	char address[64]; /* text of the other end */
	uint16_t port;
	bool tls;
	bool cert_given;    /* a client certificate was presented */
	bool cert_verified; /* ... and verifies against the context's CA, and is within its time */
	char cert_error[128];
	char common_name[256];
	const char *const *organizations; /* NULL-terminated */
	int64_t cert_not_after_s;
};

struct http_header {
	const char *name, *value;
};

/* ---- server ---- */
struct http_server;
struct http_request; /* one request being served; dies after its end was sent or its client left */

struct http_limits {
	size_t header_bytes; /* 0: 64 KiB in all */
	size_t body_bytes;   /* 0: 3 MiB + 4 KiB slack is the caller's business; larger: 413 */
	size_t bodies_bytes; /* 0: 256 MiB: bodies of all requests together, those up to 64 KiB not counted; 429 beyond.
			       * A quarter of it for who shows no certificate that verifies */
	unsigned connections; /* 0: 4096; the oldest idle one is closed beyond that, else accept waits */
	unsigned idle_s;      /* 0: 120: between requests */
	unsigned header_s;    /* 0: 10: from first byte to end of headers */
	unsigned body_s;      /* 0: 60 */
	size_t out_bytes;     /* 0: 16 MiB of unsent output on a streaming response: the connection is cut */
};

struct http_server_ops {
	/* A whole request has arrived (headers and body). The handler keeps `r` until it ends the response or `on_close`. */
	void (*on_request)(void *arg, struct http_request *r);
	/* The client left before the response was complete, or the server is closing: r is invalid after this returns.
	 * Not called after a response was ended. */
	void (*on_close)(void *arg, struct http_request *r);
};

/* tls may be NULL: plain HTTP (unix sockets, tests). Does not listen yet. */
struct http_server *http_server_new(struct env *env, uv_loop_t *loop, struct tls_context *tls,
				    const struct http_limits *limits, const struct http_server_ops *ops, void *arg);
/* host "0.0.0.0", "::", "127.0.0.1"; port 0 picks one (http_server_port). May be called for several addresses. */
int http_server_listen(struct http_server *s, const char *host, uint16_t port, struct err *err);
int http_server_listen_unix(struct http_server *s, const char *path, unsigned mode, struct err *err);
uint16_t http_server_port(const struct http_server *s);
void http_server_set_tls(struct http_server *s, struct tls_context *tls); /* for new connections */
/* What a request is told that is refused before it is whole (431, 413, 400 ...): by default a line of text, else what
 * render appends to body. The content type is borrowed. */
void http_server_set_refusal(struct http_server *s, const char *content_type,
			     void (*render)(int status, const char *reason, struct buf *body));
/* Stop accepting, finish what is being answered for at most grace_ms, close everything, then done(arg); s is freed. */
void http_server_close(struct http_server *s, unsigned grace_ms, void (*done)(void *arg), void *arg);

/* Reading a request. Borrowed until the response ends. */
const char *http_method(const struct http_request *r);
const char *http_target(const struct http_request *r); /* as sent: path and query */
const char *http_path(const struct http_request *r);   /* percent-decoded, without the query; no NUL, no ".." games */
/* First value of a query parameter, decoded; NULL when absent. http_query_next iterates all (pos from 0). */
const char *http_query(const struct http_request *r, const char *name);
/* A flag's value as Kubernetes reads it: all but "false" and "0" mean yes, the empty one too. */
bool http_query_true(const char *value);
bool http_query_next(const struct http_request *r, unsigned *pos, const char **ret_name, const char **ret_value);
const char *http_header(const struct http_request *r, const char *name); /* case-insensitive, first; NULL if absent */
bool http_header_next(const struct http_request *r, unsigned *pos, const char **ret_name, const char **ret_value);
const struct buf *http_body(const struct http_request *r);
const struct http_peer *http_peer(const struct http_request *r);
void http_request_set_data(struct http_request *r, void *data); /* the handler's own */
void *http_request_data(const struct http_request *r);

/* Answering. Either one http_respond, or http_respond_start + http_write* + http_end. Header arrays end with a NULL
 * name and may be NULL. Content-Length/Transfer-Encoding, Date and Connection are set here. After the end r is gone. */
void http_respond(struct http_request *r, int status, const struct http_header *headers, const void *body, size_t len);
/* Takes over the buffer's memory, no copy. */
void http_respond_buf(struct http_request *r, int status, const struct http_header *headers, struct buf *body);
void http_respond_start(struct http_request *r, int status, const struct http_header *headers); /* chunked */
void http_write(struct http_request *r, const void *data, size_t len);                          /* one chunk, copied */
void http_write_blob(struct http_request *r,
		     struct blob *b); /* one chunk, shared, not copied (plain) or encrypted from it */
void http_end(struct http_request *r);
void http_abort(struct http_request *r);          /* cut the connection; r is gone; on_close is not called */
size_t http_unsent(const struct http_request *r); /* bytes queued behind the socket */
/* Called (once per call to this function) when unsent output has fallen below 64 KiB. */
void http_on_drain(struct http_request *r, void (*fn)(void *arg, struct http_request *r), void *arg);

/* ---- client ---- */
struct http_client; /* a connection pool to one server */
struct http_call;   /* one request under way; ends with on_done, or http_call_cancel() (then no callback follows) */

struct http_client_config {
	const char *host; /* name or address; or NULL with unix_path */
	uint16_t port;
	const char *unix_path;
	struct tls_context *tls;  /* NULL: plain */
	const char *server_name;  /* for SNI and verification; NULL: host */
	unsigned max_connections; /* 0: 32; calls beyond wait in line (watches included: give them their own client) */
	unsigned connect_timeout_ms; /* 0: 10 s */
	unsigned idle_s;             /* 0: 60 */
};

struct http_call_ops {
	/* Status line and headers are in. Header values are borrowed for the call. May be NULL. */
	void (*on_response)(void *arg, int status, const struct http_header *headers);
	/* A piece of the body, as it arrives. */
	void (*on_body)(void *arg, const void *data, size_t len);
	/* The end: err->code 0 when the response was complete. The call is gone after this. */
	void (*on_done)(void *arg, const struct err *err);
	/* 101 Switching Protocols: the socket is now a byte stream (http_call_write, on_body). May be NULL. */
	void (*on_upgrade)(void *arg, int status, const struct http_header *headers);
	/* If set, told of failures in place of on_done. sent: some of the request may have reached the server. */
	void (*on_failed)(void *arg, const struct err *err, bool sent);
	/* See http_call_await_drain. */
	void (*on_drain)(void *arg);
};

struct http_client *http_client_new(struct env *env, uv_loop_t *loop, const struct http_client_config *config);
void http_client_set_tls(struct http_client *c, struct tls_context *tls);
/* Cancels what is under way (no callbacks), closes, frees. The pool's memory goes when libuv has closed its handles. */
void http_client_free(struct http_client *c);
/* body is copied. timeout_ms 0: none (watches). A call on a reused connection that died before any byte of the answer
 * came is tried once more on a fresh one when the method is safe (GET, HEAD) or nothing had been sent. */
struct http_call *http_call(struct http_client *c, const char *method, const char *target,
			    const struct http_header *headers, const void *body, size_t len, unsigned timeout_ms,
			    const struct http_call_ops *ops, void *arg);
void http_call_write(struct http_call *call, const void *data, size_t len); /* after on_upgrade */
/* Back pressure, after on_upgrade: stop reading what the server sends (its end, too, is seen only afterwards); and be
 * told once, by on_drain, when what waits to be sent has fallen below 64 KiB. */
void http_call_pause(struct http_call *call, bool pause);
size_t http_call_unsent(const struct http_call *call);
void http_call_await_drain(struct http_call *call);
void http_call_cancel(struct http_call *call);

/* ---- upgraded connections on the server side: raw bytes both ways ---- */
struct http_stream_ops {
	void (*on_data)(void *arg, const void *data, size_t len);
	void (*on_close)(void *arg); /* the other side left, or an error; the stream is gone */
	void (*on_drain)(void *arg); /* see http_stream_await_drain; may be NULL */
};
struct http_stream;
/* Answer 101 with these headers and take over the connection. r is gone, the stream takes its place. */
struct http_stream *http_upgrade(struct http_request *r, const struct http_header *headers,
				 const struct http_stream_ops *ops, void *arg);
void http_stream_write(struct http_stream *s, const void *data, size_t len);
size_t http_stream_unsent(const struct http_stream *s);
/* Back pressure, as for calls. A few bytes that were read already may still come after a pause. */
void http_stream_pause(struct http_stream *s, bool pause);
void http_stream_await_drain(struct http_stream *s);
void http_stream_close(struct http_stream *s); /* flushes, then closes; no callback follows */

/* Percent-encode a path segment or query value into out. */
void http_escape(struct buf *out, const char *s);

#endif
