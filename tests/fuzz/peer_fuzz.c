/* What another server says: the stream of frames with its hello, and the messages in it. */
#include <errno.h>

#include "store/peer_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	size_t frames, messages, bytes;
};

static void message(const void *data, size_t len)
{
	struct store_peer_msg m;
	_cleanup_buf_ struct buf again = BUF_INIT;
	(void)store_peer_in_order(data, len);
	if (store_peer_decode(data, len, &m))
		return;
	/* what was understood can be said again, in no more bytes */
	MUST(store_peer_encode(&m.msg, &again) == 0);
	MUST(again.len <= len);
	store_peer_msg_done(&m);
}

static bool on_frame(void *arg, enum peer_frame_type type, const char *data, size_t len)
{
	struct seen *s = arg;
	struct peer_hello h;
	struct peer_address a;
	uint8_t text[PEER_ADDRESS_SIZE_MAX];
	uint8_t bytes[PEER_HELLO_SIZE];
	s->frames++;
	s->bytes += len;
	MUST(len <= PEER_FRAME_SMALL_MAX);
	if (type == PEER_FRAME_HELLO && peer_hello_decode(data, len, &h) == 0) {
		peer_hello_encode(&h, bytes);
		MUST(memcmp(bytes, data, 12) == 0 && memcmp(bytes + 16, data + 16, 24) == 0);
	}
	if (type == PEER_FRAME_ADDRESS && peer_address_decode(data, len, &a) == 0)
		MUST(peer_address_encode(&a, text) == len && memcmp(text, data, len) == 0);
	return type != PEER_FRAME_REFUSED;
}

static bool on_message(void *arg, const void *data, size_t len)
{
	struct seen *s = arg;
	s->messages++;
	s->bytes += len;
	MUST(len <= STORE_PEER_MESSAGE_MAX);
	message(data, len);
	return true;
}

/* The same bytes, cut into pieces of that size, must mean the same. */
static int feed(const uint8_t *data, size_t size, size_t step, struct seen *ret)
{
	static const struct peer_stream_ops ops = {.frame = on_frame, .message = on_message};
	struct peer_stream s = {0};
	const char *why;
	int rc = 0;
	*ret = (struct seen){0};
	for (size_t i = 0; i < size && !rc; i += step) {
		size_t n = MIN(step, size - i);
		_cleanup_free_ char *piece = xmalloc(n); /* of its own, so that reading beyond it is noticed */
		memcpy(piece, data + i, n);
		rc = peer_stream_feed(&s, piece, n, &ops, ret, &why);
	}
	peer_stream_done(&s);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole, pieces;
	if (size == 0)
		return 0;
	message(data + 1, size - 1);
	int rc = feed(data + 1, size - 1, size, &whole);
	/* A refusal ends the feeding of the piece it was in: what follows is of no meaning. */
	int rc2 = feed(data + 1, size - 1, 1 + data[0] % 64, &pieces);
	bool refused = false;
	for (size_t i = 0; i + 4 < size; i++)
		refused |= data[i] == PEER_FRAME_REFUSED;
	if (!refused)
		MUST(rc == rc2 && whole.frames == pieces.frames && whole.messages == pieces.messages &&
		     whole.bytes == pieces.bytes);
	return 0;
}
