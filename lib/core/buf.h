/* A growing byte buffer, always NUL-terminated, and a reference-counted immutable byte string.
 *
 * buf: zero-initialised is valid and empty. buf_done() frees. Not for data whose size a stranger decides, unless the
 * caller bounds it first.
 * blob: made once, never changed, shared by reference within one thread. A blob may carry one `tag`, something a
 * higher floor derived from the bytes (for the API server: an object's labels); it is freed with the blob.
 */
#ifndef MINI_CORE_BUF_H
#define MINI_CORE_BUF_H

#include "lib/core/util.h"

struct buf {
	char *data; /* NULL when nothing was ever added */
	size_t len;
	size_t cap;
};

#define BUF_INIT      ((struct buf){0})
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))

void buf_done(struct buf *b);
void buf_clear(struct buf *b);                 /* keeps the memory */
void buf_reserve(struct buf *b, size_t extra); /* room for `extra` more bytes */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drop n bytes from the front */
char *buf_steal(struct buf *b);            /* the string (never NULL); b is empty afterwards */
static inline const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

struct blob {
	unsigned refs;
	uint32_t len;
	void *tag;
	void (*tag_free)(void *tag);
	char data[]; /* NUL-terminated for convenience; len does not count it */
};

struct blob *blob_new(const void *data, size_t len);
struct blob *blob_alloc(size_t len); /* to be filled by its maker before it is shared */
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b); /* accepts NULL */
static inline void blob_unrefp(struct blob **b)
{
	blob_unref(*b);
}
#define _cleanup_blob_ __attribute__((cleanup(blob_unrefp)))

#endif
