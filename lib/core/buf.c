#include "lib/core/buf.h"

#include <stdarg.h>

void buf_done(struct buf *b)
{
	free(b->data);
	*b = BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = 0;
}

void buf_reserve(struct buf *b, size_t extra)
{
	size_t need = b->len + extra + 1;
	MUST(need > extra);
	if (need <= b->cap)
		return;
	size_t cap = b->cap ? b->cap + b->cap / 2 : 64;
	if (cap < need)
		cap = need;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	buf_reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = 0;
}

void buf_addc(struct buf *b, char c)
{
	buf_reserve(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = 0;
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	buf_reserve(b, 64);
	int n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	va_end(ap);
	MUST(n >= 0);
	if ((size_t)n >= b->cap - b->len) {
		buf_reserve(b, (size_t)n);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
	}
	va_end(again);
	b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
	MUST(n <= b->len);
	b->len -= n;
	if (b->data) {
		memmove(b->data, b->data + n, b->len);
		b->data[b->len] = 0;
	}
}

char *buf_steal(struct buf *b)
{
	buf_reserve(b, 0);
	b->data[b->len] = 0;
	char *s = b->data;
	*b = BUF_INIT;
	return s;
}

struct blob *blob_alloc(size_t len)
{
	MUST(len <= UINT32_MAX);
	struct blob *b = xmalloc(sizeof(*b) + len + 1);
	*b = (struct blob){.refs = 1, .len = (uint32_t)len};
	b->data[len] = 0;
	return b;
}

struct blob *blob_new(const void *data, size_t len)
{
	struct blob *b = blob_alloc(len);
	if (len)
		memcpy(b->data, data, len);
	return b;
}

struct blob *blob_ref(struct blob *b)
{
	if (b) {
		MUST(b->refs > 0);
		b->refs++;
	}
	return b;
}

void blob_unref(struct blob *b)
{
	if (!b)
		return;
	MUST(b->refs > 0);
	if (--b->refs)
		return;
	if (b->tag && b->tag_free)
		b->tag_free(b->tag);
	free(b);
}
