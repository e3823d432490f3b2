/* The HTTP server's parser on arbitrary bytes, fed in pieces whose sizes the input's first byte decides. The same bytes
 * cut differently must mean the same: that is what keeps requests from being smuggled. */
#include "lib/net/http_parse.h"

struct outcome {
	unsigned requests;
	int refused;
	uint64_t hash;
};

static void add(struct outcome *o, const char *s, size_t len)
{
	o->hash = o->hash * 0x9e3779b97f4a7c15u + hash64(s, len);
}

static void take(struct outcome *o, const struct http_parse *p)
{
	o->requests++;
	add(o, p->method, strlen(p->method));
	add(o, p->target, strlen(p->target));
	add(o, p->path, strlen(p->path));
	for (unsigned i = 0; i < p->n_headers; i++) {
		add(o, p->headers[i].name, strlen(p->headers[i].name));
		add(o, p->headers[i].value, strlen(p->headers[i].value));
		MUST(!strpbrk(p->headers[i].value, "\r\n"));
	}
	add(o, buf_str(&p->body), p->body.len);
	MUST(p->headers[p->n_headers].name == NULL);
	MUST(strlen(p->path) <= strlen(p->target));
	MUST(p->body.len <= 4096 && p->head.len <= 2048);
}

static struct outcome feed(const char *data, size_t size, size_t step)
{
	struct outcome o = {0};
	struct http_parse p;
	size_t at = 0;
	http_parse_init(&p, 2048, 4096);
	while (at < size && !o.refused) {
		size_t n = MIN(step, size - at), used = http_parse_feed(&p, data + at, n);
		MUST(used <= n && (used == n || p.state == HTTP_PARSE_DONE || p.state == HTTP_PARSE_FAILED));
		at += used;
		if (p.state == HTTP_PARSE_DONE) {
			take(&o, &p);
			http_parse_done(&p);
			http_parse_init(&p, 2048, 4096);
		} else if (p.state == HTTP_PARSE_FAILED) {
			MUST(p.status >= 400 && p.status < 600 && p.reason);
			o.refused = 1;
		}
	}
	http_parse_done(&p);
	return o;
}

static void on_head(void *arg, int status, const struct http_header *headers)
{
	(void)arg;
	(void)status;
	for (; headers->name; headers++)
		MUST(!strpbrk(headers->value, "\r\n"));
}
static void on_body(void *arg, const char *data, size_t len)
{
	(void)data;
	*(size_t *)arg += len;
}
static bool stopped(void *arg)
{
	(void)arg;
	return false;
}

/* What a server sends is a stranger's too. */
static void feed_response(const char *data, size_t size, size_t step)
{
	struct http_response_parse p;
	size_t body = 0, at = 0;
	const char *why;
	http_response_init(&p, step % 3 == 0, 2048);
	p.on_head = on_head;
	p.on_body = on_body;
	p.stopped = stopped;
	p.arg = &body;
	while (at < size && !p.complete) {
		size_t n = MIN(step, size - at);
		ssize_t used = http_response_feed(&p, data + at, n, &why);
		if (used < 0)
			break;
		MUST((size_t)used <= n && ((size_t)used == n || p.complete));
		at += (size_t)used;
	}
	if (at == size && !p.complete)
		http_response_eof(&p);
	MUST(body <= size);
	http_response_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 16384)
		return 0;
	size_t step = 1 + data[0] % 61;
	const char *text = (const char *)data + 1;
	struct outcome whole = feed(text, size - 1, size), pieces = feed(text, size - 1, step);
	MUST(whole.requests == pieces.requests && whole.refused == pieces.refused && whole.hash == pieces.hash);
	feed_response(text, size - 1, step);
	return 0;
}
