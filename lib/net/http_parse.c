#include "lib/net/http_parse.h"

#include <errno.h>
#include <strings.h>

static int on_url(llhttp_t *l, const char *at, size_t len)
{
	struct http_parse *p = l->data;
	if (!p->target)
		p->target = (char *)at;
	((char *)at)[len] = 0; /* the space behind it, in our own copy */
	return 0;
}

static int on_field(llhttp_t *l, const char *at, size_t len)
{
	struct http_parse *p = l->data;
	if (p->state != HTTP_PARSE_HEAD) { /* trailers are read and dropped */
		p->trailer_bytes += len;
		return p->trailer_bytes > p->header_max ? HPE_USER : 0;
	}
	GROW(p->headers, p->cap_headers, p->n_headers + 2);
	((char *)at)[len] = 0; /* the colon */
	p->headers[p->n_headers++] = (struct http_header){at, ""};
	p->value_open = false;
	return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
	struct http_parse *p = l->data;
	if (p->state != HTTP_PARSE_HEAD) {
		p->trailer_bytes += len;
		return p->trailer_bytes > p->header_max ? HPE_USER : 0;
	}
	if (len == 0 || p->n_headers == 0)
		return 0;
	if (!p->value_open)
		p->headers[p->n_headers - 1].value = at;
	p->value_open = true; /* terminated by close_values(), when llhttp has read past it */
	return 0;
}

static int on_headers_complete(llhttp_t *l)
{
	struct http_parse *p = l->data;
	p->state = HTTP_PARSE_BODY;
	return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t len)
{
	struct http_parse *p = l->data;
	if (p->body.len + len > p->body_max)
		return HPE_USER;
	buf_add(&p->body, at, len);
	return 0;
}

static int on_message_complete(llhttp_t *l)
{
	struct http_parse *p = l->data;
	p->state = HTTP_PARSE_DONE;
	return HPE_PAUSED;
}

static const llhttp_settings_t request_settings = {
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void http_parse_init(struct http_parse *p, size_t header_max, size_t body_max)
{
	*p = (struct http_parse){.header_max = header_max, .body_max = body_max};
	llhttp_init(&p->llhttp, HTTP_REQUEST, &request_settings);
	p->llhttp.data = p;
}

void http_parse_done(struct http_parse *p)
{
	buf_done(&p->head);
	buf_done(&p->body);
	free(STEAL(p->headers));
	free(STEAL(p->path));
}

static void refuse(struct http_parse *p, int status, const char *reason)
{
	p->state = HTTP_PARSE_FAILED;
	p->status = status;
	p->reason = reason;
}

const char *http_parse_header(const struct http_parse *p, const char *name)
{
	for (unsigned i = 0; i < p->n_headers; i++)
		if (strcasecmp(p->headers[i].name, name) == 0)
			return p->headers[i].value;
	return NULL;
}

/* What llhttp forgives and a server behind or before another one must not (RFC 9112, 2.2 and 5.2). */
static bool check_lines(struct http_parse *p)
{
	const char *h = p->head.data, *end = h + p->head.len;
	if (memchr(h, 0, p->head.len)) {
		refuse(p, 400, "NUL in the request head");
		return false;
	}
	for (const char *at = h; (at = memchr(at, '\r', (size_t)(end - at))); at++)
		if (at + 1 == end || at[1] != '\n') {
			refuse(p, 400, "bare CR in the request head");
			return false;
		}
	for (const char *at = h; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) {
		if (at == h || at[-1] != '\r') {
			refuse(p, 400, "bare LF in the request head");
			return false;
		}
		if (at + 1 < end && (at[1] == ' ' || at[1] == '\t')) {
			refuse(p, 400, "folded header line");
			return false;
		}
	}
	return true;
}

/* Values end where their line does. */
static void close_values(struct http_parse *p)
{
	for (unsigned i = 0; i < p->n_headers; i++) {
		char *v = (char *)p->headers[i].value;
		size_t n = strcspn(v, "\r\n");
		while (n && (v[n - 1] == ' ' || v[n - 1] == '\t'))
			n--;
		if (n || *v)
			v[n] = 0;
	}
	p->headers[p->n_headers] = (struct http_header){NULL, NULL};
}

static bool all_digits(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

/* One way to tell where the body ends, or none is trusted: request smuggling lives on the second. */
static bool check_framing(struct http_parse *p)
{
	unsigned hosts = 0, lengths = 0, encodings = 0;
	const char *encoding = NULL;
	for (unsigned i = 0; i < p->n_headers; i++) {
		const char *name = p->headers[i].name, *value = p->headers[i].value;
		if (strcasecmp(name, "Host") == 0)
			hosts++;
		else if (strcasecmp(name, "Content-Length") == 0) {
			lengths++;
			if (!all_digits(value) || strlen(value) > 18) {
				refuse(p, 400, "bad Content-Length");
				return false;
			}
		} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
			encodings++;
			encoding = value;
		}
	}
	if (lengths > 1 || encodings > 1 || (lengths && encodings))
		refuse(p, 400, "more than one of Content-Length and Transfer-Encoding");
	else if (encoding && (p->http10 || strcasecmp(encoding, "chunked") != 0))
		refuse(p, 400, "transfer encoding other than chunked");
	else if (hosts > 1 || (hosts == 0 && !p->http10))
		refuse(p, 400, "exactly one Host header is required");
	return p->state != HTTP_PARSE_FAILED;
}

static bool has_dot_segment(const char *path)
{
	for (const char *s = path; s; s = strchr(s, '/')) {
		s += *s == '/';
		size_t n = strcspn(s, "/");
		if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
			return true;
	}
	return false;
}

static bool check_target(struct http_parse *p)
{
	struct buf path = BUF_INIT;
	for (const char *s = p->target; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f) {
			refuse(p, 400, "control character in the request target");
			return false;
		}
	/* The absolute form (RFC 9112, 3.2.2): what follows the authority. */
	if (strncasecmp(p->target, "http://", 7) == 0 || strncasecmp(p->target, "https://", 8) == 0) {
		char *slash = strchr(strstr(p->target, "//") + 2, '/');
		p->target = slash ? slash : (char *)"/";
	}
	if (p->target[0] != '/' && strcmp(p->target, "*") != 0) {
		refuse(p, 400, "bad request target");
		return false;
	}
	size_t n = strcspn(p->target, "?#");
	if (!http_unescape(p->target, n, false, &path) || strstr(p->target + n, "%00")) {
		buf_done(&path);
		refuse(p, 400, "NUL in the request target");
		return false;
	}
	p->path = buf_steal(&path);
	if (has_dot_segment(p->path)) {
		refuse(p, 400, "dot segment in the path");
		return false;
	}
	return true;
}

static void refuse_for_llhttp(struct http_parse *p)
{
	if (llhttp_get_errno(&p->llhttp) == HPE_INVALID_VERSION)
		refuse(p, 505, "HTTP version not supported");
	else
		refuse(p, 400, "malformed request");
}

/* The head is whole. */
static void judge_head(struct http_parse *p)
{
	if (!check_lines(p))
		return;
	enum llhttp_errno e = llhttp_execute(&p->llhttp, p->head.data, p->head.len);
	/* PAUSED_UPGRADE: no body, and the rest could be another protocol. Whether it is, the handler decides. */
	if ((e != HPE_OK && e != HPE_PAUSED && e != HPE_PAUSED_UPGRADE) || p->state == HTTP_PARSE_HEAD) {
		refuse_for_llhttp(p);
		return;
	}
	const char *expect;
	p->http10 = p->llhttp.http_major == 1 && p->llhttp.http_minor == 0;
	p->upgrade = p->llhttp.upgrade;
	p->keep_alive = llhttp_should_keep_alive(&p->llhttp);
	p->method = llhttp_method_name(p->llhttp.method);
	GROW(p->headers, p->cap_headers, p->n_headers + 1);
	close_values(p);
	if (p->llhttp.http_major != 1)
		refuse(p, 505, "HTTP version not supported");
	else if (!p->target || p->llhttp.method == HTTP_CONNECT)
		refuse(p, 400, "bad request target");
	else if (!check_framing(p) || !check_target(p))
		return;
	else if ((p->llhttp.flags & F_CONTENT_LENGTH) && p->state == HTTP_PARSE_BODY &&
		 p->llhttp.content_length > p->body_max)
		refuse(p, 413, "request body too large");
	else if ((expect = http_parse_header(p, "Expect"))) {
		if (strcasecmp(expect, "100-continue") != 0)
			refuse(p, 417, "unknown expectation");
		else
			p->wants_continue = p->state == HTTP_PARSE_BODY && !p->http10;
	}
}

/* Where the head ends in data, given what came before; 0 when it goes on. */
static size_t head_end(struct http_parse *p)
{
	char *end = memmem(p->head.data + p->scanned, p->head.len - p->scanned, "\r\n\r\n", 4);
	if (end)
		return (size_t)(end - p->head.data) + 4;
	p->scanned = p->head.len > 3 ? p->head.len - 3 : 0;
	return 0;
}

static size_t feed_head(struct http_parse *p, const char *data, size_t len)
{
	size_t used = 0;
	/* Empty lines before a request are ignored (RFC 9112, 2.2), within reason: the rest is judged as a head. */
	while (p->head.len == 0 && used < len && (data[used] == '\r' || data[used] == '\n') && p->blank < 8) {
		used++;
		p->blank++;
	}
	if (used == len)
		return used;
	size_t old = p->head.len, n = MIN(len - used, p->header_max + 4 - old);
	buf_add(&p->head, data + used, n);
	size_t end = head_end(p);
	if (end == 0) {
		if (p->head.len >= p->header_max + 4)
			refuse(p, 431, "request header too large");
		return used + n;
	}
	/* What lies behind the head is the body's. */
	p->head.len = end;
	p->head.data[end] = 0;
	if (end > p->header_max)
		refuse(p, 431, "request header too large");
	else
		judge_head(p);
	return used + end - old;
}

size_t http_parse_feed(struct http_parse *p, const char *data, size_t len)
{
	size_t used = 0;
	if (p->state == HTTP_PARSE_HEAD)
		used = feed_head(p, data, len);
	if (p->state != HTTP_PARSE_BODY || used == len)
		return used;
	p->wants_continue = false;
	if ((p->llhttp.flags & F_CONTENT_LENGTH) && p->body.cap == 0)
		buf_reserve(&p->body, MIN((size_t)p->llhttp.content_length, 64 * 1024));
	enum llhttp_errno e = llhttp_execute(&p->llhttp, data + used, len - used);
	if (e == HPE_OK)
		return len;
	if (p->state == HTTP_PARSE_DONE && (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE))
		return (size_t)(llhttp_get_error_pos(&p->llhttp) - data);
	if (e == HPE_USER)
		refuse(p, p->trailer_bytes > p->header_max ? 431 : 413,
		       p->trailer_bytes > p->header_max ? "trailers too large" : "request body too large");
	else
		refuse(p, 400, "malformed request body");
	return len;
}
