/* HTTP/1.1 messages out of bytes, on llhttp, without sockets: requests with the defences a server needs, responses as
 * they stream in. Sources: RFC 9112 (framing), RFC 9110 (fields).
 */
#ifndef MINI_NET_HTTP_PARSE_H
#define MINI_NET_HTTP_PARSE_H

#include <llhttp.h>

#include "lib/core/buf.h"
#include "lib/net/http.h"

/* ---- requests: the head is collected whole, judged, then handed to llhttp; the body is collected too ---- */

enum http_parse_state { HTTP_PARSE_HEAD, HTTP_PARSE_BODY, HTTP_PARSE_DONE, HTTP_PARSE_FAILED };

struct http_parse {
	enum http_parse_state state;
	int status;         /* FAILED: what to answer */
	const char *reason; /* ... and why */
	size_t header_max, body_max;
	llhttp_t llhttp;
	struct buf head; /* all bytes up to the body; names and values point into it once parsed */
	unsigned blank;  /* line breaks before it */
	size_t scanned;  /* of head: known not to hold its end */
	char *target;
	const char *method;
	char *path;                  /* decoded */
	struct http_header *headers; /* NULL-name terminated once parsed */
	unsigned n_headers, cap_headers;
	bool value_open;
	struct buf body;
	size_t trailer_bytes;
	bool keep_alive, http10, upgrade;
	bool wants_continue; /* Expect: 100-continue, and no byte of the body so far: the caller answers and clears it */
};

void http_parse_init(struct http_parse *p, size_t header_max, size_t body_max);
void http_parse_done(struct http_parse *p);
/* Takes bytes until the request is complete (DONE) or refused (FAILED); returns how many it took. */
size_t http_parse_feed(struct http_parse *p, const char *data, size_t len);
const char *http_parse_header(const struct http_parse *p, const char *name);

/* ---- responses: events as they come ---- */

struct http_response_parse {
	llhttp_t llhttp;
	struct buf head;
	size_t header_max;
	unsigned *offsets; /* of names and values, alternating, in head */
	unsigned n_offsets, cap_offsets;
	struct http_header *headers;
	bool value_open, head_done, skip_body, complete, upgraded;
	int status;
	void (*on_head)(void *arg, int status, const struct http_header *headers);
	void (*on_body)(void *arg, const char *data, size_t len);
	bool (*stopped)(void *arg); /* true: the owner has lost interest (inside a callback) */
	void *arg;
};

void http_response_init(struct http_response_parse *p, bool to_head_request, size_t header_max);
void http_response_done(struct http_response_parse *p);
/* Returns the bytes taken (all, unless complete), or -EPROTO with *ret_why; -ECANCELED when stopped. */
ssize_t http_response_feed(struct http_response_parse *p, const char *data, size_t len, const char **ret_why);
/* The connection has ended: 0 when that completes the response. */
int http_response_eof(struct http_response_parse *p);

/* ---- text ---- */

/* Decode %XX (and + when asked) in place of a copy; false when the result would hold a NUL. Bad escapes stay. */
bool http_unescape(const char *s, size_t len, bool plus, struct buf *out);
const char *http_status_text(int status);
/* A header line; line breaks in a value become spaces, so that nobody's data ends a header. */
void http_add_header(struct buf *out, const char *name, const char *value);

#endif
