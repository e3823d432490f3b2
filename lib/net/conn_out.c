#include "lib/net/conn_out.h"

#include <errno.h>

enum {
	SMALL = 4096,             /* blobs up to this are copied behind what is queued: fewer pieces */
	TAIL_MAX = TLS_PLAIN_MAX, /* a buffer for small output is closed at this size */
	GATHER = 32,              /* pieces of one plain write */
	WRITE_MAX = 256 * 1024,   /* bytes of one plain write: progress is seen after each */
	RECORDS = 8,              /* records of one TLS write */
	TURN_MAX = 768 * 1024,    /* bytes in one turn: 2.5 ms of encryption */
	EAGER = 256 * 1024,       /* queued output beyond this does not wait for the end of the turn */
};

/* Where records are sealed. Only what the socket does not take at once is copied from here. */
static __thread uint8_t scratch[RECORDS * (TLS_PLAIN_MAX + TLS_OVERHEAD_MAX)];

static const char *seg_data(const struct out_seg *s)
{
	return (s->blob ? s->blob->data : s->mem.data) + s->off;
}

static size_t seg_len(const struct out_seg *s)
{
	return (s->blob ? s->blob->len : s->mem.len) - s->off;
}

static void seg_done(struct out_seg *s)
{
	buf_done(&s->mem);
	blob_unref(s->blob);
	*s = (struct out_seg){0};
}

static struct out_seg *seg_push(struct conn *c)
{
	if (c->seg_head == c->seg_tail && !c->seg_pinned)
		c->seg_head = c->seg_tail = 0;
	if (c->seg_tail == c->seg_cap && c->seg_head >= c->seg_cap / 2 && c->seg_cap) {
		memmove(c->segs, c->segs + c->seg_head, (c->seg_tail - c->seg_head) * sizeof(*c->segs));
		c->seg_tail -= c->seg_head;
		c->seg_head = 0;
	}
	GROW(c->segs, c->seg_cap, c->seg_tail + 1);
	c->segs[c->seg_tail] = (struct out_seg){0};
	return &c->segs[c->seg_tail++];
}

static void consume(struct conn *c, size_t n)
{
	c->queued -= n;
	while (c->seg_head < c->seg_tail) {
		struct out_seg *s = &c->segs[c->seg_head];
		size_t len = seg_len(s);
		if (n < len) {
			s->off += n;
			return;
		}
		n -= len;
		seg_done(s);
		c->seg_head++;
	}
	/* An idle connection keeps no queue. */
	free(STEAL(c->segs));
	c->seg_head = c->seg_tail = c->seg_cap = 0;
}

struct buf *conn_tail(struct conn *c)
{
	if (c->seg_tail > c->seg_head + c->seg_pinned) {
		struct out_seg *s = &c->segs[c->seg_tail - 1];
		if (!s->blob && s->mem.len < TAIL_MAX)
			return &s->mem;
	}
	return &seg_push(c)->mem;
}

static void added(struct conn *c, size_t len)
{
	c->queued += len;
	conn_mark(c);
	if (c->queued >= EAGER && !c->writing)
		conn__flush(c);
}

void conn_added(struct conn *c, size_t len)
{
	added(c, len);
}

void conn_add(struct conn *c, const void *data, size_t len)
{
	if (len == 0)
		return;
	buf_add(conn_tail(c), data, len);
	added(c, len);
}

void conn_add_buf(struct conn *c, struct buf *b)
{
	if (b->len <= SMALL) {
		conn_add(c, b->data, b->len);
		buf_done(b);
		return;
	}
	struct out_seg *s = seg_push(c);
	s->mem = *b;
	*b = BUF_INIT;
	added(c, s->mem.len);
}

void conn_add_blob(struct conn *c, struct blob *b)
{
	if (b->len <= SMALL) {
		conn_add(c, b->data, b->len);
		return;
	}
	seg_push(c)->blob = blob_ref(b);
	added(c, b->len);
}

size_t conn_unsent(const struct conn *c)
{
	return c->queued + (c->wire.len ? c->in_flight : 0) + c->raw.len;
}

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = CONTAINER_OF(req, struct conn, write_req);
	c->writing = false;
	c->progress++;
	c->sent += c->in_flight;
	if (c->wire.len)
		buf_done(&c->wire);
	else if (status == 0)
		consume(c, c->in_flight);
	c->in_flight = 0;
	c->seg_pinned = 0;
	if (c->closing)
		return;
	if (status < 0)
		conn_fail(c, status, "write");
	conn_mark(c);
}

static void start_write(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t bytes)
{
	c->in_flight = bytes;
	c->writing = true;
	int rc = uv_write(&c->write_req, &c->u.stream, bufs, n, on_written);
	if (rc < 0) {
		c->writing = false;
		c->in_flight = 0;
		c->seg_pinned = 0;
		conn_fail(c, rc, "write");
	}
}

/* Bytes taken by the kernel at once; 0 when it wants to be asked later; negative: failed (and reported). */
static ssize_t try_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
	int rc = uv_try_write(&c->u.stream, bufs, n);
	if (rc == UV_EAGAIN)
		return 0;
	if (rc < 0) {
		conn_fail(c, rc, "write");
		return -1;
	}
	c->sent += (size_t)rc;
	if (rc)
		c->progress++;
	return rc;
}

/* Bytes that are nobody's but the wire's: sent at once or kept in c->wire until they are. */
static void write_wire(struct conn *c, const uint8_t *data, size_t len)
{
	uv_buf_t b = uv_buf_init((char *)data, (unsigned)len);
	ssize_t n = try_write(c, &b, 1);
	if (n < 0 || (size_t)n == len)
		return;
	buf_clear(&c->wire);
	buf_add(&c->wire, data + n, len - (size_t)n);
	b = uv_buf_init(c->wire.data, (unsigned)c->wire.len);
	start_write(c, &b, 1, c->wire.len);
}

static bool write_plain(struct conn *c)
{
	uv_buf_t bufs[GATHER] = {{0}};
	unsigned n = 0;
	size_t bytes = 0;
	for (unsigned i = c->seg_head; i < c->seg_tail && n < GATHER && bytes < WRITE_MAX; i++, n++) {
		size_t len = MIN(seg_len(&c->segs[i]), WRITE_MAX - bytes);
		bufs[n] = uv_buf_init((char *)seg_data(&c->segs[i]), (unsigned)len);
		bytes += len;
	}
	ssize_t done = try_write(c, bufs, n);
	if (done < 0)
		return false;
	if ((size_t)done == bytes) {
		consume(c, bytes);
		return true;
	}
	unsigned first = 0;
	size_t skip = (size_t)done;
	for (; skip >= bufs[first].len; first++)
		skip -= bufs[first].len;
	bufs[first].base += skip;
	bufs[first].len -= skip;
	consume(c, (size_t)done);
	c->seg_pinned = n - first;
	start_write(c, bufs + first, n - first, bytes - (size_t)done);
	return true;
}

/* Seals up to one record of what is queued behind out. */
static size_t seal_next(struct conn *c, uint8_t *out)
{
	struct out_seg *s = &c->segs[c->seg_head];
	size_t first = seg_len(s), n = MIN(c->queued, (size_t)TLS_PLAIN_MAX), prefix = tls_record_prefix(c->record);
	size_t sealed;
	if (first >= n) {
		sealed = tls_record_seal(c->record, TLS_DATA, seg_data(s), n, out);
	} else {
		size_t have = 0;
		for (unsigned i = c->seg_head; have < n; i++) {
			size_t len = MIN(seg_len(&c->segs[i]), n - have);
			memcpy(out + prefix + have, seg_data(&c->segs[i]), len);
			have += len;
		}
		sealed = tls_record_seal(c->record, TLS_DATA, out + prefix, n, out);
	}
	consume(c, n);
	return sealed;
}

static bool write_tls(struct conn *c)
{
	size_t bytes = 0;
	for (unsigned i = 0; i < RECORDS && c->queued; i++)
		bytes += seal_next(c, scratch + bytes);
	write_wire(c, scratch, bytes);
	return !c->fail;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	(void)req;
	(void)status; /* the other side's end or a timeout follows; nothing more can be said to it */
}

static void finish_output(struct conn *c)
{
	if (c->record && !c->alert_sent) {
		conn__alert(c, 1, 0); /* close_notify */
		return;
	}
	c->shut_done = true;
	int rc = uv_shutdown(&c->shutdown_req, &c->u.stream, on_shutdown);
	if (rc < 0 && rc != UV_ENOTCONN)
		conn_fail(c, rc, "shutdown");
}

void conn__flush(struct conn *c)
{
	size_t before = c->queued;
	while (!c->writing && !c->fail && !c->closing) {
		if (c->raw.len) {
			struct buf raw = c->raw;
			c->raw = BUF_INIT;
			write_wire(c, (uint8_t *)raw.data, raw.len);
			buf_done(&raw);
		} else if (c->queued && c->opened) {
			if (before - c->queued >= TURN_MAX) {
				conn_mark(c);
				return;
			}
			if (!(c->record ? write_tls(c) : write_plain(c)))
				return;
		} else if (c->shut_wanted && !c->shut_done && c->opened) {
			finish_output(c);
		} else {
			return;
		}
	}
}

void conn__raw(struct conn *c, const void *data, size_t len)
{
	buf_add(&c->raw, data, len);
	conn_mark(c);
}

void conn__alert(struct conn *c, uint8_t level, uint8_t description)
{
	uint8_t out[2 + TLS_OVERHEAD_MAX], alert[2] = {level, description};
	c->alert_sent = true;
	conn__raw(c, out, tls_record_seal(c->record, TLS_ALERT, alert, sizeof(alert), out));
}

void conn__out_done(struct conn *c)
{
	for (unsigned i = c->seg_head; i < c->seg_tail; i++)
		seg_done(&c->segs[i]);
	free(STEAL(c->segs));
	c->seg_head = c->seg_tail = c->seg_cap = 0;
	c->queued = 0;
	buf_done(&c->wire);
	buf_done(&c->raw);
}
