#include "lib/net/websocket.h"

#include <errno.h>
#include <mbedtls/sha1.h>

char *ws_accept_key(const char *sec_websocket_key)
{
	uint8_t hash[20];
	char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", sec_websocket_key);
	MUST(mbedtls_sha1_ret((unsigned char *)text, strlen(text), hash) == 0);
	free(text);
	return base64_encode(hash, sizeof(hash));
}

/* A frame's head, RFC 6455 section 5.2. */
struct frame {
	bool fin, masked;
	unsigned opcode;
	uint64_t len;
	size_t head;
	uint8_t mask[4];
};

/* 1: a head was read; 0: more bytes are needed; negative: no such frame may be sent to us. */
static int read_head(const struct ws_parser *p, const uint8_t *d, size_t n, struct frame *f, struct err *err)
{
	if (n < 2)
		return 0;
	*f = (struct frame){.fin = d[0] & 0x80, .opcode = d[0] & 15, .masked = d[1] & 0x80, .len = d[1] & 0x7f};
	size_t extra = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
	f->head = 2 + extra + (f->masked ? 4 : 0);
	if (d[0] & 0x70)
		return err_set(err, -EPROTO, "WebSocket: reserved bits are set");
	if (f->masked != p->server)
		return err_set(err, -EPROTO, "WebSocket: frame is %smasked", f->masked ? "" : "not ");
	bool control = f->opcode & 8;
	if ((f->opcode > WS_BINARY && f->opcode < WS_CLOSE) || f->opcode > WS_PONG)
		return err_set(err, -EPROTO, "WebSocket: unknown opcode %u", f->opcode);
	if (control && (!f->fin || f->len > 125))
		return err_set(err, -EPROTO, "WebSocket: control frame is fragmented or too long");
	if (n < f->head)
		return 0;
	if (extra) {
		f->len = 0;
		for (size_t i = 0; i < extra; i++)
			f->len = f->len << 8 | d[2 + i];
		if (f->len < (extra == 2 ? 126u : 65536u))
			return err_set(err, -EPROTO, "WebSocket: length is not in its shortest form");
	}
	if (f->masked)
		memcpy(f->mask, d + 2 + extra, 4);
	if (f->len > p->max_bytes)
		return err_set(err, -EFBIG, "WebSocket: message is larger than %zu bytes", p->max_bytes);
	return 1;
}

static int take_frame(struct ws_parser *p, const struct frame *f, char *data, struct err *err)
{
	size_t len = (size_t)f->len;
	for (size_t i = 0; f->masked && i < len; i++)
		data[i] = (char)(data[i] ^ f->mask[i & 3]);
	if (f->opcode & 8) {
		if (f->opcode == WS_CLOSE && len == 1)
			return err_set(err, -EPROTO, "WebSocket: malformed close frame");
		p->on_message(p->arg, (enum ws_opcode)f->opcode, data, len);
		return 0;
	}
	bool begun = p->message_opcode != WS_CONTINUATION;
	if (begun == (f->opcode != WS_CONTINUATION))
		return err_set(err, -EPROTO, "WebSocket: fragments out of order");
	if (p->message.len + len > p->max_bytes)
		return err_set(err, -EFBIG, "WebSocket: message is larger than %zu bytes", p->max_bytes);
	if (f->fin && !begun) {
		p->on_message(p->arg, (enum ws_opcode)f->opcode, data, len);
		return 0;
	}
	if (!begun)
		p->message_opcode = (enum ws_opcode)f->opcode;
	buf_add(&p->message, data, len);
	if (f->fin) {
		enum ws_opcode op = p->message_opcode;
		p->message_opcode = WS_CONTINUATION;
		p->on_message(p->arg, op, buf_str(&p->message), p->message.len);
		buf_clear(&p->message);
	}
	return 0;
}

int ws_feed(struct ws_parser *p, const void *data, size_t len, struct err *err)
{
	struct frame f;
	size_t at = 0;
	int rc;
	buf_add(&p->in, data, len);
	while ((rc = read_head(p, (uint8_t *)p->in.data + at, p->in.len - at, &f, err)) > 0) {
		if (p->in.len - at - f.head < f.len)
			break;
		if ((rc = take_frame(p, &f, p->in.data + at + f.head, err)))
			return rc;
		at += f.head + (size_t)f.len;
		if (p->in.len < at)
			return 0; /* the receiver has ended the parser */
	}
	buf_consume(&p->in, at);
	return MIN(rc, 0);
}

void ws_parser_done(struct ws_parser *p)
{
	buf_done(&p->in);
	buf_done(&p->message);
	p->message_opcode = WS_CONTINUATION;
}

void ws_frame(struct buf *out, enum ws_opcode op, const void *data, size_t len, const uint8_t *mask)
{
	uint8_t head[14], bit = mask ? 0x80 : 0;
	size_t n = 2;
	head[0] = (uint8_t)(0x80 | op);
	if (len < 126) {
		head[1] = (uint8_t)(bit | len);
	} else if (len < 65536) {
		head[1] = bit | 126;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		n = 4;
	} else {
		head[1] = bit | 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)((uint64_t)len >> (8 * (7 - i)));
		n = 10;
	}
	if (mask) {
		memcpy(head + n, mask, 4);
		n += 4;
	}
	buf_reserve(out, n + len);
	buf_add(out, head, n);
	size_t at = out->len;
	buf_add(out, data, len);
	for (size_t i = 0; mask && i < len; i++)
		out->data[at + i] = (char)(out->data[at + i] ^ mask[i & 3]);
}
