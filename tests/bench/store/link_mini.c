/* To the bench's own server of our store (wire.h). */
#include "tests/bench/store/link.h"
#include "tests/bench/store/wire.h"

static void send_frame(struct link *l, enum wire_op op, uint64_t id, const char *key, const void *value, size_t len)
{
	size_t key_len = key ? strlen(key) : 0;
	struct wire_head h = {.len = (uint32_t)(sizeof(h) - 4 + key_len + len),
			      .op = (uint8_t)op,
			      .key_len = (uint16_t)key_len,
			      .id = id};
	conn_add(&l->conn, &h, sizeof(h));
	if (key_len)
		conn_add(&l->conn, key, key_len);
	if (len)
		conn_add(&l->conn, value, len);
}

static int mini_data(struct link *l, const char *data, size_t len)
{
	size_t at = 0;
	buf_add(&l->in, data, len);
	for (struct wire_head h; l->in.len - at >= sizeof(h); at += h.len + 4) {
		memcpy(&h, l->in.data + at, sizeof(h));
		if (h.len > WIRE_MAX)
			return -1;
		if (l->in.len - at < h.len + 4)
			break;
		if (h.op == WIRE_EVENT)
			l->ops->event(l, h.id);
		else
			l->ops->answered(l, h.id, h.failed, h.number);
	}
	buf_consume(&l->in, at);
	return 0;
}

static void mini_put(struct link *l, uint64_t id, const char *key, const void *value, size_t len)
{
	send_frame(l, WIRE_PUT, id, key, value, len);
}

static void mini_count(struct link *l, uint64_t id)
{
	send_frame(l, WIRE_COUNT, id, NULL, NULL, 0);
}

static void mini_status(struct link *l, uint64_t id)
{
	send_frame(l, WIRE_STATUS, id, NULL, NULL, 0);
}

static void mini_compact(struct link *l, uint64_t id, uint64_t rev)
{
	(void)rev;
	send_frame(l, WIRE_COMPACT, id, NULL, NULL, 0);
}

static void mini_watch(struct link *l, uint64_t id, const char *prefix)
{
	send_frame(l, WIRE_WATCH, id, prefix, NULL, 0);
}

static void nothing(struct link *l)
{
	(void)l;
}

const struct link_proto link_mini = {.name = "mini",
				     .spoken = "framed binary over TLS",
				     .start = nothing,
				     .data = mini_data,
				     .put = mini_put,
				     .count = mini_count,
				     .status = mini_status,
				     .compact = mini_compact,
				     .watch = mini_watch,
				     .stop = nothing};
