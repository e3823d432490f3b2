/* To etcd: gRPC on nghttp2, protobuf by hand (etcd's rpc.proto). */
#include <nghttp2/nghttp2.h>

#include "tests/bench/store/link.h"

#define WINDOW           (16 << 20)
#define WATCHES_A_STREAM 100u

/* One gRPC call: a stream of HTTP/2. A watch stream carries many watches. */
struct call {
	struct link *l;
	uint64_t id;
	uint64_t (*number)(const char *msg, size_t len); /* of the answer */
	struct buf out, in;
	size_t sent;
	bool open_ended, ok, failed;
	uint64_t value;
	int32_t stream;
	uint64_t *watches; /* their ids, in the order they were asked for */
	unsigned n_watches;
};

struct session {
	nghttp2_session *h2;
	struct call *watching; /* the stream that takes the next watch */
};

/* ---- protobuf ---- */

static void put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_addc(b, (char)(v | 0x80));
	buf_addc(b, (char)v);
}

static void put_bytes(struct buf *b, unsigned field, const void *data, size_t len)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, len);
	buf_add(b, data, len);
}

static void put_number(struct buf *b, unsigned field, uint64_t v)
{
	put_varint(b, field << 3);
	put_varint(b, v);
}

static bool get_varint(const char **p, const char *end, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t c = (uint8_t) * (*p)++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* The next field; a number's value or a string's length in *ret, its bytes at *ret_data. 0: the end. */
static unsigned next_field(const char **p, const char *end, uint64_t *ret, const char **ret_data)
{
	uint64_t tag;
	if (!get_varint(p, end, &tag) || !get_varint(p, end, ret))
		return 0;
	*ret_data = *p;
	if ((tag & 7) == 2) {
		if (*ret > (uint64_t)(end - *p))
			return 0;
		*p += *ret;
	}
	return (unsigned)(tag >> 3);
}

static uint64_t field_number(const char *msg, size_t len, unsigned field)
{
	const char *p = msg, *data;
	uint64_t v;
	for (unsigned f; (f = next_field(&p, msg + len, &v, &data));)
		if (f == field)
			return v;
	return 0;
}

static const char *field_bytes(const char *msg, size_t len, unsigned field, size_t *ret_len)
{
	const char *p = msg, *data;
	uint64_t v;
	for (unsigned f; (f = next_field(&p, msg + len, &v, &data));) {
		if (f == field) {
			*ret_len = (size_t)v;
			return data;
		}
	}
	*ret_len = 0;
	return "";
}

static uint64_t revision_of(const char *msg, size_t len)
{
	size_t n;
	const char *header = field_bytes(msg, len, 1, &n);
	return field_number(header, n, 3);
}

static uint64_t count_of(const char *msg, size_t len)
{
	return field_number(msg, len, 4);
}

static uint64_t leads(const char *msg, size_t len)
{
	size_t n;
	const char *header = field_bytes(msg, len, 1, &n);
	return field_number(header, n, 2) == field_number(msg, len, 4);
}

/* ---- HTTP/2 ---- */

static void flush(struct link *l)
{
	struct session *s = l->session;
	const uint8_t *data;
	ssize_t n;
	while ((n = nghttp2_session_mem_send(s->h2, &data)) > 0)
		conn_add(&l->conn, data, (size_t)n);
}

static ssize_t read_body(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t max, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct call *c = source->ptr;
	size_t n = MIN(max, c->out.len - c->sent);
	(void)h2;
	(void)stream;
	(void)arg;
	if (!n && c->open_ended)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(buf, c->out.data + c->sent, n);
	c->sent += n;
	if (c->sent == c->out.len && !c->open_ended)
		*flags = NGHTTP2_DATA_FLAG_EOF;
	if (c->sent == c->out.len) {
		buf_clear(&c->out);
		c->sent = 0;
	}
	return (ssize_t)n;
}

/* gRPC's five bytes in front of a message. */
static void add_message(struct buf *out, const struct buf *msg)
{
	uint8_t head[5] = {0, (uint8_t)(msg->len >> 24), (uint8_t)(msg->len >> 16), (uint8_t)(msg->len >> 8),
			   (uint8_t)msg->len};
	buf_add(out, head, sizeof(head));
	buf_add(out, msg->data, msg->len);
}

#define HEADER(name, value)                                                                                            \
	{                                                                                                              \
		(uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value),                                    \
			NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                                   \
	}

/* path: a constant. */
static struct call *call_new(struct link *l, uint64_t id, const char *path, const struct buf *msg, bool open_ended)
{
	struct session *s = l->session;
	struct call *c = NEW(struct call);
	*c = (struct call){.l = l, .id = id, .open_ended = open_ended};
	add_message(&c->out, msg);
	const nghttp2_nv headers[] = {HEADER(":method", "POST"),
				      HEADER(":scheme", "https"),
				      HEADER(":path", path),
				      HEADER(":authority", "127.0.0.1"),
				      HEADER("content-type", "application/grpc"),
				      HEADER("te", "trailers"),
				      HEADER("user-agent", "bench")};
	nghttp2_data_provider body = {.source.ptr = c, .read_callback = read_body};
	c->stream = nghttp2_submit_request(s->h2, NULL, headers, ARRAY_LEN(headers), &body, c);
	MUST(c->stream > 0);
	return c;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct call *c = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	(void)flags;
	(void)arg;
	if (c && name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
		c->ok = value_len == 1 && *value == '0';
		c->failed = !c->ok;
	}
	return 0;
}

static void watch_message(struct call *c, const char *msg, size_t len)
{
	const char *p = msg, *data;
	uint64_t v, watch = 0;
	bool created = false, events = false;
	for (unsigned f; (f = next_field(&p, msg + len, &v, &data));) {
		if (f == 2)
			watch = v;
		created |= f == 3 && v;
		events |= f == 11;
	}
	if (watch >= c->n_watches)
		return;
	if (created)
		c->l->ops->answered(c->l, c->watches[watch], false, 0);
	else if (events)
		c->l->ops->event(c->l, c->watches[watch]);
}

static int on_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
	struct call *c = nghttp2_session_get_stream_user_data(h2, stream);
	size_t at = 0;
	(void)flags;
	(void)arg;
	if (!c)
		return 0;
	buf_add(&c->in, data, len);
	while (c->in.len - at >= 5) {
		const uint8_t *h = (const uint8_t *)c->in.data + at;
		size_t n = (size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4];
		if (c->in.len - at - 5 < n)
			break;
		if (c->watches)
			watch_message(c, c->in.data + at + 5, n);
		else if (c->number)
			c->value = c->number(c->in.data + at + 5, n);
		at += 5 + n;
	}
	buf_consume(&c->in, at);
	return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t code, void *arg)
{
	struct call *c = nghttp2_session_get_stream_user_data(h2, stream);
	struct link *l = arg;
	(void)code;
	if (!c)
		return 0;
	struct session *s = l->session;
	uint64_t id = c->id, value = c->value;
	bool ok = c->ok, watch = c->watches != NULL;
	if (s->watching == c)
		s->watching = NULL;
	buf_done(&c->in);
	buf_done(&c->out);
	free(c->watches);
	free(c);
	if (!watch && !l->conn.closing)
		l->ops->answered(l, id, !ok, value);
	return 0;
}

static void etcd_start(struct link *l)
{
	nghttp2_session_callbacks *cb;
	const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
						   {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
	struct session *s = NEW(struct session);
	l->session = s;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_client_new(&s->h2, cb, l);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0, WINDOW);
	flush(l);
}

static int etcd_data(struct link *l, const char *data, size_t len)
{
	struct session *s = l->session;
	ssize_t n = nghttp2_session_mem_recv(s->h2, (const uint8_t *)data, len);
	if (n < 0)
		return -1;
	flush(l);
	return 0;
}

static void unary(struct link *l, uint64_t id, const char *path, struct buf *msg,
		  uint64_t (*number)(const char *msg, size_t len))
{
	call_new(l, id, path, msg, false)->number = number;
	flush(l);
	buf_done(msg);
}

static void etcd_put(struct link *l, uint64_t id, const char *key, const void *value, size_t len)
{
	struct buf msg = BUF_INIT;
	put_bytes(&msg, 1, key, strlen(key));
	put_bytes(&msg, 2, value, len);
	unary(l, id, "/etcdserverpb.KV/Put", &msg, revision_of);
}

static void etcd_count(struct link *l, uint64_t id)
{
	struct buf msg = BUF_INIT;
	put_bytes(&msg, 1, "", 1);
	put_bytes(&msg, 2, "", 1);
	put_number(&msg, 9, 1);
	unary(l, id, "/etcdserverpb.KV/Range", &msg, count_of);
}

static void etcd_status(struct link *l, uint64_t id)
{
	struct buf msg = BUF_INIT;
	unary(l, id, "/etcdserverpb.Maintenance/Status", &msg, leads);
}

static void etcd_compact(struct link *l, uint64_t id, uint64_t rev)
{
	struct buf msg = BUF_INIT;
	put_number(&msg, 1, rev);
	put_number(&msg, 2, 1); /* answered once it is done */
	unary(l, id, "/etcdserverpb.KV/Compact", &msg, revision_of);
}

static void etcd_watch(struct link *l, uint64_t id, const char *prefix)
{
	struct session *s = l->session;
	struct buf create = BUF_INIT, msg = BUF_INIT;
	_cleanup_free_ char *end = xstrdup(prefix);
	end[strlen(end) - 1]++;
	put_bytes(&create, 1, prefix, strlen(prefix));
	put_bytes(&create, 2, end, strlen(end));
	put_bytes(&msg, 1, create.data, create.len);
	if (!s->watching) {
		s->watching = call_new(l, 0, "/etcdserverpb.Watch/Watch", &msg, true);
		s->watching->watches = NEW_N(uint64_t, WATCHES_A_STREAM);
	} else {
		add_message(&s->watching->out, &msg);
		nghttp2_session_resume_data(s->h2, s->watching->stream);
	}
	s->watching->watches[s->watching->n_watches++] = id;
	if (s->watching->n_watches == WATCHES_A_STREAM)
		s->watching = NULL;
	buf_done(&create);
	buf_done(&msg);
	flush(l);
}

static void etcd_stop(struct link *l)
{
	struct session *s = l->session;
	if (s)
		nghttp2_session_del(s->h2);
	free(s);
}

static const char *const h2[] = {"h2", NULL};
const struct link_proto link_etcd = {.name = "etcd",
				     .spoken = "gRPC over TLS",
				     .alpn = h2,
				     .start = etcd_start,
				     .data = etcd_data,
				     .put = etcd_put,
				     .count = etcd_count,
				     .status = etcd_status,
				     .compact = etcd_compact,
				     .watch = etcd_watch,
				     .stop = etcd_stop};
