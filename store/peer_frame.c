#include "store/peer_frame.h"

#include <errno.h>

#define MAGIC      "minipeer"
#define KEPT_BYTES (256u * 1024) /* a message's memory up to this is kept for the next one */

/* The machines mini runs on are little-endian; so is the stream. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "peer frames");

void peer_frame_head(uint8_t ret[PEER_FRAME_HEAD], enum peer_frame_type type, size_t len)
{
	uint32_t n = (uint32_t)len;
	memset(ret, 0, PEER_FRAME_HEAD);
	memcpy(ret, &n, sizeof(n));
	ret[4] = (uint8_t)type;
}

void peer_hello_encode(const struct peer_hello *h, uint8_t ret[PEER_HELLO_SIZE])
{
	memset(ret, 0, PEER_HELLO_SIZE);
	memcpy(ret, MAGIC, 8);
	memcpy(ret + 8, &h->version_min, 2);
	memcpy(ret + 10, &h->version_max, 2);
	memcpy(ret + 16, &h->cluster, 8);
	memcpy(ret + 24, &h->from, 8);
	memcpy(ret + 32, &h->to, 8);
}

int peer_hello_decode(const void *data, size_t len, struct peer_hello *ret)
{
	const uint8_t *p = data;
	if (len < PEER_HELLO_SIZE || memcmp(p, MAGIC, 8) != 0)
		return -EBADMSG;
	struct peer_hello h = {0};
	memcpy(&h.version_min, p + 8, 2);
	memcpy(&h.version_max, p + 10, 2);
	memcpy(&h.cluster, p + 16, 8);
	memcpy(&h.from, p + 24, 8);
	memcpy(&h.to, p + 32, 8);
	if (h.version_min > h.version_max || h.from == 0)
		return -EBADMSG;
	*ret = h;
	return 0;
}

size_t peer_address_encode(const struct peer_address *a, uint8_t ret[PEER_ADDRESS_SIZE_MAX])
{
	size_t n = strlen(a->text);
	memcpy(ret, &a->id, 8);
	memcpy(ret + 8, &a->version, 8);
	memcpy(ret + 16, a->text, n);
	return 16 + n;
}

int peer_address_decode(const void *data, size_t len, struct peer_address *ret)
{
	const char *p = data;
	struct peer_address a = {0};
	if (len <= 16 || len > PEER_ADDRESS_SIZE_MAX)
		return -EBADMSG;
	for (size_t i = 16; i < len; i++)
		if (p[i] <= ' ' || p[i] > '~')
			return -EBADMSG;
	memcpy(&a.id, p, 8);
	memcpy(&a.version, p + 8, 8);
	memcpy(a.text, p + 16, len - 16);
	if (a.id == 0 || a.version == 0)
		return -EBADMSG;
	*ret = a;
	return 0;
}

struct feed {
	struct peer_stream *s;
	const struct peer_stream_ops *ops;
	void *arg;
	const char *why;
};

static bool bad(struct feed *f, const char *why)
{
	f->why = why;
	return false;
}

/* A head is complete: may this frame come now, and is it of a size it may have? */
static bool check_head(struct feed *f, uint8_t type, uint32_t len)
{
	struct peer_stream *s = f->s;
	if (type < PEER_FRAME_HELLO || type > PEER_FRAME_ADDRESS || s->head[5] || s->head[6] || s->head[7])
		return bad(f, "not a frame of mini's");
	if (s->greeted == (type == PEER_FRAME_HELLO) && type != PEER_FRAME_REFUSED)
		return bad(f, s->greeted ? "a second hello" : "no hello");
	if (len > (type == PEER_FRAME_MORE ? PEER_FRAME_MORE_MAX : PEER_FRAME_SMALL_MAX))
		return bad(f, "a frame that is too large");
	if (type == PEER_FRAME_MORE && (len == 0 || len > s->total - s->message.len))
		return bad(f, "a piece of no message");
	return true;
}

static bool begin(struct feed *f, const char *data, size_t len)
{
	struct peer_stream *s = f->s;
	uint32_t total;
	if (len != sizeof(total) || s->total)
		return bad(f, "a message within another");
	memcpy(&total, data, sizeof(total));
	if (total == 0 || total > STORE_PEER_MESSAGE_MAX)
		return bad(f, "a message that is too large");
	s->total = total;
	buf_reserve(&s->message, total);
	return true;
}

static bool whole_frame(struct feed *f, uint8_t type, const char *data, size_t len)
{
	switch (type) {
	case PEER_FRAME_MESSAGE:
		return f->ops->message(f->arg, data, len);
	case PEER_FRAME_BEGIN:
		return begin(f, data, len);
	case PEER_FRAME_HELLO:
		f->s->greeted = true; /* fallthrough */
	default:
		return f->ops->frame(f->arg, (enum peer_frame_type)type, data, len);
	}
}

/* Whoever is called may end it all, and the stream with it: what is still needed is taken out before. */
static bool whole_message(struct feed *f)
{
	struct peer_stream *s = f->s;
	struct buf message = s->message;
	s->message = BUF_INIT;
	s->total = 0;
	bool go_on = f->ops->message(f->arg, message.data, message.len);
	if (go_on && message.cap <= KEPT_BYTES && !s->message.data) {
		buf_clear(&message);
		s->message = message;
	} else {
		buf_done(&message);
	}
	return go_on;
}

/* Takes some of data; false: stop. */
static bool take(struct feed *f, const char **data, size_t *len)
{
	struct peer_stream *s = f->s;
	const char *p = *data;
	uint32_t size;
	if (s->more) {
		size_t n = MIN(s->more, *len);
		buf_add(&s->message, p, n);
		s->more -= n;
		*data += n;
		*len -= n;
		return s->message.len < s->total || whole_message(f);
	}
	if (s->head_len < PEER_FRAME_HEAD) {
		size_t n = MIN(PEER_FRAME_HEAD - s->head_len, *len);
		memcpy(s->head + s->head_len, p, n);
		s->head_len += (unsigned)n;
		*data += n;
		*len -= n;
		if (s->head_len < PEER_FRAME_HEAD)
			return true;
		memcpy(&size, s->head, sizeof(size));
		if (!check_head(f, s->head[4], size))
			return false;
		if (s->head[4] == PEER_FRAME_MORE) {
			s->more = size;
			s->head_len = 0;
		} else if (size == 0) {
			s->head_len = 0;
			return whole_frame(f, s->head[4], "", 0);
		}
		return true;
	}
	memcpy(&size, s->head, sizeof(size));
	if (s->frame.len == 0 && *len >= size) {
		*data += size;
		*len -= size;
		s->head_len = 0;
		return whole_frame(f, s->head[4], p, size);
	}
	size_t n = MIN(size - s->frame.len, *len);
	buf_add(&s->frame, p, n);
	*data += n;
	*len -= n;
	if (s->frame.len < size)
		return true;
	_cleanup_buf_ struct buf frame = s->frame;
	s->frame = BUF_INIT;
	s->head_len = 0;
	return whole_frame(f, s->head[4], frame.data, frame.len);
}

int peer_stream_feed(struct peer_stream *s, const char *data, size_t len, const struct peer_stream_ops *ops, void *arg,
		     const char **ret_why)
{
	struct feed f = {.s = s, .ops = ops, .arg = arg};
	while (len)
		if (!take(&f, &data, &len)) {
			if (!f.why)
				return 0;
			*ret_why = f.why;
			return -EPROTO;
		}
	return 0;
}

void peer_stream_done(struct peer_stream *s)
{
	buf_done(&s->frame);
	buf_done(&s->message);
	*s = (struct peer_stream){0};
}
