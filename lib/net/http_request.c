#include <errno.h>
#include <time.h>

#include "lib/net/http_server.h"

void request__free(struct http_request *r)
{
	if (!r)
		return;
	r->conn->server->bodies -= r->counted;
	http_parse_done(&r->parse);
	free(r->query);
	free(r->query_text);
	r->magic = 0;
	free(r);
}

/* ---- reading ---- */

const char *http_method(const struct http_request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	return r->parse.method;
}

const char *http_target(const struct http_request *r)
{
	return r->parse.target;
}

const char *http_path(const struct http_request *r)
{
	return r->parse.path;
}

/* Cuts the query into decoded pairs, on first use: "a=1&b&c=%20". */
static void parse_query(struct http_request *r)
{
	struct buf text = BUF_INIT;
	unsigned cap = 0;
	const char *s = strchr(r->parse.target, '?');
	r->query_parsed = true;
	if (!s)
		return;
	buf_reserve(&text, 2 * strlen(s) + 64); /* never grows below: the pairs point into it */
	for (s++; *s && *s != '#';) {
		size_t n = strcspn(s, "&#"), name = strcspn(s, "=&#");
		if (n) {
			GROW(r->query, cap, r->n_query + 1);
			struct http_query_pair *q = &r->query[r->n_query++];
			q->name = text.data + text.len;
			http_unescape(s, name, true, &text);
			buf_addc(&text, 0);
			q->value = text.data + text.len;
			if (name < n)
				http_unescape(s + name + 1, n - name - 1, true, &text);
			buf_addc(&text, 0);
		}
		s += n + (s[n] == '&');
	}
	r->query_text = buf_steal(&text);
}

bool http_query_next(const struct http_request *r, unsigned *pos, const char **ret_name, const char **ret_value)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	if (!r->query_parsed)
		parse_query((struct http_request *)r);
	if (*pos >= r->n_query)
		return false;
	*ret_name = r->query[*pos].name;
	*ret_value = r->query[*pos].value;
	++*pos;
	return true;
}

bool http_query_true(const char *value)
{
	return !streq(value, "0") && strcasecmp(value, "false") != 0;
}

const char *http_query(const struct http_request *r, const char *name)
{
	const char *n, *v;
	for (unsigned pos = 0; http_query_next(r, &pos, &n, &v);)
		if (streq(n, name))
			return v;
	return NULL;
}

const char *http_header(const struct http_request *r, const char *name)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	return http_parse_header(&r->parse, name);
}

bool http_header_next(const struct http_request *r, unsigned *pos, const char **ret_name, const char **ret_value)
{
	if (*pos >= r->parse.n_headers)
		return false;
	*ret_name = r->parse.headers[*pos].name;
	*ret_value = r->parse.headers[*pos].value;
	++*pos;
	return true;
}

const struct buf *http_body(const struct http_request *r)
{
	return &r->parse.body;
}

const struct http_peer *http_peer(const struct http_request *r)
{
	return &r->conn->peer;
}

void http_request_set_data(struct http_request *r, void *data)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	r->data = data;
}

void *http_request_data(const struct http_request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	return r->data;
}

/* ---- answering ---- */

/* "Date: ...\r\n", made once a second. */
static void add_date(struct buf *out, struct env *env)
{
	static __thread time_t made;
	static __thread char line[64];
	time_t now = env_wall_s(env);
	if (now != made) {
		struct tm tm;
		gmtime_r(&now, &tm);
		strftime(line, sizeof(line), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
		made = now;
	}
	buf_adds(out, line);
}

static bool keep_alive(const struct http_request *r)
{
	return r->parse.keep_alive && r->parse.state == HTTP_PARSE_DONE && !r->conn->server->closing;
}

/* Everything in front of the content; length < 0: not known yet. */
static void add_head(struct http_request *r, struct buf *out, int status, const struct http_header *headers,
		     ssize_t length)
{
	r->started = true;
	r->head_only = r->parse.method && strcmp(r->parse.method, "HEAD") == 0;
	r->no_body = status == 204 || status == 304 || status / 100 == 1;
	r->chunked = length < 0 && !r->no_body && !r->parse.http10;
	if (length < 0 && r->parse.http10)
		r->parse.keep_alive = false; /* the end of the connection ends the content */
	buf_addf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
	for (; headers && headers->name; headers++)
		http_add_header(out, headers->name, headers->value);
	if (status != 101)
		add_date(out, r->conn->server->group.env);
	if (length >= 0 && !r->no_body)
		buf_addf(out, "Content-Length: %zd\r\n", length);
	else if (r->chunked)
		buf_adds(out, "Transfer-Encoding: chunked\r\n");
	if (status != 101 && !keep_alive(r))
		buf_adds(out, "Connection: close\r\n");
	else if (r->parse.http10 && status != 101)
		buf_adds(out, "Connection: keep-alive\r\n");
	buf_adds(out, "\r\n");
}

static void send_head(struct http_request *r, int status, const struct http_header *headers, ssize_t length)
{
	struct buf *out = conn_tail(&r->conn->conn);
	size_t old = out->len;
	if (old == 0)
		buf_reserve(out, 320 + (length > 0 && length < 8192 ? (size_t)length : 0));
	add_head(r, out, status, headers, length);
	conn_added(&r->conn->conn, out->len - old);
}

static void finish(struct http_request *r)
{
	sconn__finish(r->conn, keep_alive(r));
}

void http_respond(struct http_request *r, int status, const struct http_header *headers, const void *body, size_t len)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	MUST(r->dispatched && !r->started);
	send_head(r, status, headers, (ssize_t)len);
	if (!r->head_only && !r->no_body)
		conn_add(&r->conn->conn, body, len);
	finish(r);
}

void http_respond_buf(struct http_request *r, int status, const struct http_header *headers, struct buf *body)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	MUST(r->dispatched && !r->started);
	send_head(r, status, headers, (ssize_t)body->len);
	if (!r->head_only && !r->no_body)
		conn_add_buf(&r->conn->conn, body);
	else
		buf_done(body);
	finish(r);
}

void request__refuse(struct http_request *r, int status, const char *reason)
{
	struct sconn *c = r->conn;
	_cleanup_buf_ struct buf body = BUF_INIT;
	const struct http_header headers[] = {
		{"Content-Type", c->server->refusal_type}, {status == 429 ? "Retry-After" : NULL, "1"}, {NULL, NULL}};
	c->server->refusal(status, reason, &body);
	r->parse.keep_alive = false;
	send_head(r, status, headers, (ssize_t)body.len);
	if (!r->head_only)
		conn_add(&c->conn, body.data, body.len);
	sconn__finish(c, false);
}

void http_respond_start(struct http_request *r, int status, const struct http_header *headers)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	MUST(r->dispatched && !r->started);
	send_head(r, status, headers, -1);
}

/* Too much waits for a client that does not read: cut it off, from the loop. */
static void check_unsent(struct http_request *r)
{
	struct conn *c = &r->conn->conn;
	if (conn_unsent(c) > r->conn->server->limits.out_bytes)
		conn_fail(c, -EPROTO, "the client reads too slowly");
}

static void begin_chunk(struct http_request *r, size_t len)
{
	char line[24];
	if (r->chunked)
		conn_add(&r->conn->conn, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", len));
}

static void end_chunk(struct http_request *r)
{
	if (r->chunked)
		conn_add(&r->conn->conn, "\r\n", 2);
	check_unsent(r);
}

static bool can_write(struct http_request *r, size_t len)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	MUST(r->started);
	return len && !r->head_only && !r->no_body && !r->conn->conn.fail;
}

void http_write(struct http_request *r, const void *data, size_t len)
{
	if (!can_write(r, len))
		return;
	begin_chunk(r, len);
	conn_add(&r->conn->conn, data, len);
	end_chunk(r);
}

void http_write_blob(struct http_request *r, struct blob *b)
{
	if (!can_write(r, b->len))
		return;
	begin_chunk(r, b->len);
	conn_add_blob(&r->conn->conn, b);
	end_chunk(r);
}

void http_end(struct http_request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	MUST(r->started);
	if (r->chunked && !r->head_only)
		conn_add(&r->conn->conn, "0\r\n\r\n", 5);
	finish(r);
}

void http_abort(struct http_request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	r->dispatched = false; /* so that nobody is told */
	sconn__close(r->conn);
}

size_t http_unsent(const struct http_request *r)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	return conn_unsent(&r->conn->conn);
}

void http_on_drain(struct http_request *r, void (*fn)(void *arg, struct http_request *r), void *arg)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	r->on_drain = fn;
	r->drain_arg = arg;
	conn_mark(&r->conn->conn);
}

/* ---- upgraded connections ---- */

struct http_stream *http_upgrade(struct http_request *r, const struct http_header *headers,
				 const struct http_stream_ops *ops, void *arg)
{
	MAGIC_CHECK(r, REQUEST_MAGIC);
	MUST(r->dispatched && !r->started);
	struct sconn *c = r->conn;
	struct http_stream *s = NEW(struct http_stream);
	*s = (struct http_stream){.magic = STREAM_MAGIC, .conn = c, .ops = ops, .arg = arg};
	send_head(r, 101, headers, -1);
	request__free(STEAL(c->request));
	c->state = SCONN_STREAMING;
	c->stream = s;
	conn_pause(&c->conn, false);
	return s;
}

void http_stream_write(struct http_stream *s, const void *data, size_t len)
{
	MAGIC_CHECK(s, STREAM_MAGIC);
	struct conn *c = &s->conn->conn;
	if (c->fail)
		return;
	conn_add(c, data, len);
	if (conn_unsent(c) > s->conn->server->limits.out_bytes)
		conn_fail(c, -EPROTO, "the client reads too slowly");
}

size_t http_stream_unsent(const struct http_stream *s)
{
	return conn_unsent(&s->conn->conn);
}

void http_stream_pause(struct http_stream *s, bool pause)
{
	MAGIC_CHECK(s, STREAM_MAGIC);
	s->paused = pause;
	conn_pause(&s->conn->conn, pause);
	conn_mark(&s->conn->conn);
}

void http_stream_await_drain(struct http_stream *s)
{
	MAGIC_CHECK(s, STREAM_MAGIC);
	s->awaits_drain = true;
	conn_mark(&s->conn->conn);
}

void http_stream_close(struct http_stream *s)
{
	MAGIC_CHECK(s, STREAM_MAGIC);
	struct sconn *c = s->conn;
	c->stream = NULL;
	s->magic = 0;
	free(s);
	sconn__linger(c);
}
