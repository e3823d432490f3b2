#include "lib/net/spdy.h"

#include <errno.h>
#include <zlib.h>

#define HEAD        8
#define HEADERS_MAX 64
#define DICT_BYTES  1423
#define VERSION     3
#define FLAG_FIN    1

enum frame_type { SYN_STREAM = 1, SYN_REPLY = 2, RST_STREAM = 3, PING = 6, GOAWAY = 7, HEADERS = 8 };

struct spdy_zip {
	z_stream in, out;
	uint8_t dict[DICT_BYTES];
};

/* ---- numbers ---- */

static uint32_t get32(const char *p)
{
	const uint8_t *b = (const uint8_t *)p;
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void put32(void *to, uint32_t v)
{
	const uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
	memcpy(to, b, 4);
}

static void add32(struct buf *out, uint32_t v)
{
	char b[4];
	put32(b, v);
	buf_add(out, b, 4);
}

/* ---- the dictionary that both sides know (section 2.6.10.1): words, each behind its length, then a text ---- */

static void make_dictionary(uint8_t dict[DICT_BYTES])
{
	static const char words[] =
		"options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges "
		"age allow authorization cache-control connection content-base content-encoding content-language "
		"content-length content-location content-md5 content-range content-type date etag expect expires from "
		"host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location "
		"max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer "
		"transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK "
		"version HTTP/1.1 url public set-cookie keep-alive origin ";
	static const char text[] =
		"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
		"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
		"403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
		"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
		"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
		"text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
	uint8_t *to = dict;
	for (const char *w = words; *w;) {
		size_t n = strcspn(w, " ");
		put32(to, (uint32_t)n);
		for (size_t i = 0; i < n; i++)
			to[4 + i] = (uint8_t)(w[i] == '_' ? ' ' : w[i]);
		to += 4 + n;
		w += n + 1;
	}
	MUST(to + sizeof(text) - 1 == dict + DICT_BYTES);
	memcpy(to, text, sizeof(text) - 1);
}

/* ---- header blocks ---- */

static void pack(struct spdy *s, struct buf *out, const struct buf *plain)
{
	z_stream *z = &s->zip->out;
	z->next_in = (Bytef *)(uintptr_t)plain->data;
	z->avail_in = (uInt)plain->len;
	do {
		buf_reserve(out, 512);
		z->next_out = (Bytef *)out->data + out->len;
		z->avail_out = 512;
		int rc = deflate(z, Z_SYNC_FLUSH);
		MUST(rc == Z_OK || rc == Z_BUF_ERROR);
		out->len += 512 - z->avail_out;
	} while (z->avail_out == 0);
	out->data[out->len] = 0;
}

static int unpack(struct spdy *s, const char *block, size_t len, struct buf *plain, struct err *err)
{
	z_stream *z = &s->zip->in;
	z->next_in = (Bytef *)(uintptr_t)block;
	z->avail_in = (uInt)len;
	buf_reserve(plain, SPDY_CONTROL_MAX);
	z->next_out = (Bytef *)plain->data;
	z->avail_out = SPDY_CONTROL_MAX;
	int rc = inflate(z, Z_SYNC_FLUSH);
	if (rc == Z_NEED_DICT && inflateSetDictionary(z, s->zip->dict, DICT_BYTES) == Z_OK)
		rc = inflate(z, Z_SYNC_FLUSH);
	if ((rc != Z_OK && rc != Z_BUF_ERROR) || z->avail_in)
		return err_set(err, z->avail_out ? -EPROTO : -EFBIG, "SPDY: a header block %s",
			       z->avail_out ? "can't be unpacked" : "is too large");
	plain->len = SPDY_CONTROL_MAX - z->avail_out;
	return 0;
}

/* A text behind its length. The byte after it becomes its end: it belongs to the next length, which has been read. */
static bool take_text(char **at, size_t *left, uint32_t *next_len, bool last, const char **ret)
{
	uint32_t n = *next_len;
	if (*left < n)
		return false;
	*ret = *at;
	char *end = *at + n;
	*left -= n;
	if (!last) {
		if (*left < 4)
			return false;
		*next_len = get32(end);
		*left -= 4;
		*at = end + 4;
	}
	*end = 0;
	return true;
}

static int read_headers(struct buf *plain, struct http_header *ret, struct err *err)
{
	if (plain->len < 4)
		return err_set(err, -EPROTO, "SPDY: a header block is cut off");
	uint32_t n = get32(plain->data), next = 0;
	char *at = plain->data + 8;
	size_t left = plain->len - 4;
	if (n > HEADERS_MAX)
		return err_set(err, -EFBIG, "SPDY: %u headers are too many", n);
	ret[n] = (struct http_header){NULL, NULL};
	if (n == 0)
		return 0;
	if (left < 4)
		return err_set(err, -EPROTO, "SPDY: a header block is cut off");
	next = get32(plain->data + 4);
	left -= 4;
	for (uint32_t i = 0; i < n; i++)
		if (!take_text(&at, &left, &next, false, &ret[i].name) ||
		    !take_text(&at, &left, &next, i + 1 == n, &ret[i].value))
			return err_set(err, -EPROTO, "SPDY: a header block is cut off");
	return 0;
}

/* Every block goes through the decompressor, whoever wants it: the next one builds on it. */
static int take_block(struct spdy *s, const char *block, size_t len, struct buf *plain, struct http_header *ret,
		      struct err *err)
{
	int rc = unpack(s, block, len, plain, err);
	if (rc < 0)
		return rc;
	buf_reserve(plain, 1); /* for the last text's end */
	return read_headers(plain, ret, err);
}

/* ---- what comes in ---- */

static int take_named(struct spdy *s, unsigned type, const char *body, size_t len, bool fin, struct err *err)
{
	struct http_header headers[HEADERS_MAX + 1];
	_cleanup_buf_ struct buf plain = BUF_INIT;
	size_t skip = type == SYN_STREAM ? 10 : 4;
	if (len < skip)
		return err_set(err, -EPROTO, "SPDY: a frame is cut off");
	uint32_t id = get32(body) & 0x7fffffff;
	int rc = take_block(s, body + skip, len - skip, &plain, headers, err);
	if (rc < 0)
		return rc;
	if (type == SYN_STREAM && s->ops->on_stream)
		s->ops->on_stream(s->arg, id, headers, fin);
	else if (type == SYN_REPLY && s->ops->on_reply)
		s->ops->on_reply(s->arg, id, fin);
	else if (type == HEADERS && fin && s->ops->on_data)
		s->ops->on_data(s->arg, id, "", 0, true);
	return 0;
}

static int take_control(struct spdy *s, const char *frame, size_t len, struct err *err)
{
	unsigned version = get32(frame) >> 16 & 0x7fff, type = get32(frame) & 0xffff;
	const char *body = frame + HEAD;
	bool fin = frame[4] & FLAG_FIN;
	len -= HEAD;
	if (version != VERSION)
		return err_set(err, -EPROTO, "SPDY: a frame of version %u", version);
	switch (type) {
	case SYN_STREAM:
	case SYN_REPLY:
	case HEADERS:
		return take_named(s, type, body, len, fin, err);
	case RST_STREAM:
		if (len < 8)
			return err_set(err, -EPROTO, "SPDY: a frame is cut off");
		if (s->ops->on_reset)
			s->ops->on_reset(s->arg, get32(body) & 0x7fffffff, get32(body + 4));
		return 0;
	case PING:
		if (len < 4)
			return err_set(err, -EPROTO, "SPDY: a frame is cut off");
		if (s->ops->on_ping)
			s->ops->on_ping(s->arg, get32(body));
		return 0;
	case GOAWAY:
		if (s->ops->on_goaway)
			s->ops->on_goaway(s->arg);
		return 0;
	default:
		return 0; /* settings, windows, and what we never heard of */
	}
}

static size_t take_data(struct spdy *s, const char *data, size_t len)
{
	size_t n = MIN(len, s->data_left);
	s->data_left -= n;
	s->in_data = s->data_left > 0;
	bool fin = s->data_fin && !s->in_data;
	if (s->ops->on_data && (n || fin))
		s->ops->on_data(s->arg, s->data_id, data, n, fin);
	return n;
}

/* Gathers up to `want` bytes of a frame. True when they are there. */
static bool gather(struct spdy *s, size_t want, const char **data, size_t *len)
{
	size_t n = MIN(want - s->control.len, *len);
	buf_add(&s->control, *data, n);
	*data += n;
	*len -= n;
	return s->control.len == want;
}

/* 1: a frame, or the head of a data frame, was taken. 0: more bytes are needed. */
static int take_frame(struct spdy *s, const char **data, size_t *len, struct err *err)
{
	if (s->control.len < HEAD && !gather(s, HEAD, data, len))
		return 0;
	uint32_t first = get32(s->control.data);
	size_t body = get32(s->control.data + 4) & 0xffffff;
	if (!(first >> 31)) {
		s->data_id = first;
		s->data_left = body;
		s->data_fin = s->control.data[4] & FLAG_FIN;
		buf_clear(&s->control);
		s->in_data = body > 0;
		if (!s->in_data)
			take_data(s, "", 0);
		return 1;
	}
	if (body > SPDY_CONTROL_MAX)
		return err_set(err, -EFBIG, "SPDY: a control frame of %zu bytes", body);
	if (!gather(s, HEAD + body, data, len))
		return 0;
	int rc = take_control(s, s->control.data, s->control.len, err);
	buf_clear(&s->control);
	return rc < 0 ? rc : 1;
}

int spdy_feed(struct spdy *s, const void *data, size_t len, struct err *err)
{
	const char *at = data;
	int rc = 1;
	while (!s->stop && rc > 0 && (len || !s->in_data)) {
		if (s->in_data) {
			size_t n = take_data(s, at, len);
			at += n;
			len -= n;
		} else {
			rc = take_frame(s, &at, &len, err);
		}
	}
	return MIN(rc, 0);
}

/* ---- what goes out ---- */

static void control_head(struct buf *out, enum frame_type type, size_t len)
{
	add32(out, 0x80000000u | VERSION << 16 | type);
	add32(out, (uint32_t)len);
}

static void named(struct spdy *s, struct buf *out, enum frame_type type, uint32_t id, const struct http_header *headers)
{
	_cleanup_buf_ struct buf plain = BUF_INIT;
	uint32_t n = 0;
	add32(&plain, 0);
	for (; headers && headers[n].name; n++) {
		add32(&plain, (uint32_t)strlen(headers[n].name));
		buf_adds(&plain, headers[n].name);
		add32(&plain, (uint32_t)strlen(headers[n].value));
		buf_adds(&plain, headers[n].value);
	}
	put32(plain.data, n);
	size_t at = out->len;
	control_head(out, type, 0);
	add32(out, id);
	if (type == SYN_STREAM)
		buf_add(out, "\0\0\0\0\0\0", 6); /* no stream it belongs to, priority 0, no slot */
	pack(s, out, &plain);
	put32(out->data + at + 4, (uint32_t)(out->len - at - HEAD));
}

void spdy_stream(struct spdy *s, struct buf *out, uint32_t id, const struct http_header *headers)
{
	named(s, out, SYN_STREAM, id, headers);
}

void spdy_reply(struct spdy *s, struct buf *out, uint32_t id)
{
	named(s, out, SYN_REPLY, id, NULL);
}

void spdy_data(struct buf *out, uint32_t id, const void *data, size_t len, bool fin)
{
	const char *at = data;
	do {
		size_t n = MIN(len, (size_t)SPDY_DATA_MAX);
		len -= n;
		add32(out, id);
		add32(out, (uint32_t)n | (fin && len == 0 ? (uint32_t)FLAG_FIN << 24 : 0));
		buf_add(out, at, n);
		at += n;
	} while (len);
}

void spdy_reset(struct buf *out, uint32_t id, enum spdy_status status)
{
	control_head(out, RST_STREAM, 8);
	add32(out, id);
	add32(out, status);
}

void spdy_ping(struct buf *out, uint32_t id)
{
	control_head(out, PING, 4);
	add32(out, id);
}

/* ---- life ---- */

void spdy_init(struct spdy *s, const struct spdy_ops *ops, void *arg)
{
	*s = (struct spdy){.ops = ops, .arg = arg, .zip = NEW(struct spdy_zip)};
	make_dictionary(s->zip->dict);
	MUST(inflateInit(&s->zip->in) == Z_OK);
	/* a small window, which still covers the dictionary: headers are few and short */
	MUST(deflateInit2(&s->zip->out, 9, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) == Z_OK);
	MUST(deflateSetDictionary(&s->zip->out, s->zip->dict, DICT_BYTES) == Z_OK);
}

void spdy_done(struct spdy *s)
{
	if (!s->zip)
		return;
	inflateEnd(&s->zip->in);
	deflateEnd(&s->zip->out);
	free(STEAL(s->zip));
	buf_done(&s->control);
}
