/* Frames of the stream between two members (peer_tls.h), and the hello they begin with. Pure: bytes in, calls out.
 *
 * All little-endian. A frame: length of the payload (4), type (1), flags (1, zero), spare (2, zero), payload.
 *
 *   HELLO    first in each direction: magic (8), oldest and newest version spoken (2 each), spare (4), cluster, from, to
 *            (8 each); what a later version puts behind is ignored
 *   REFUSED  code (1) and a sentence; nothing follows
 *   MESSAGE  a whole message
 *   BEGIN    of a larger message: its length (4). MORE carries it, piece by piece; other frames may come in between
 *   PING     8 bytes, sent back as PONG
 *   ADDRESS  of some member: its id, the version of what is said (8 each), HOST:PORT
 */
#ifndef MINI_STORE_PEER_FRAME_H
#define MINI_STORE_PEER_FRAME_H

#include "store/peer.h"

#define PEER_FRAME_HEAD      8u
#define PEER_FRAME_SMALL_MAX 16384u /* payload of all but MORE */
#define PEER_FRAME_MORE_MAX  32768u
#define PEER_HELLO_SIZE      40u
#define PEER_REASON_MAX      300u
/* Which versions of the stream and of what is in it (store/peer.h) this program speaks. */
#define PEER_VERSION_MIN 1u
#define PEER_VERSION_MAX 1u

enum peer_frame_type {
	PEER_FRAME_HELLO = 1,
	PEER_FRAME_REFUSED,
	PEER_FRAME_MESSAGE,
	PEER_FRAME_BEGIN,
	PEER_FRAME_MORE,
	PEER_FRAME_PING,
	PEER_FRAME_PONG,
	PEER_FRAME_ADDRESS,
};

enum peer_refusal {
	PEER_REFUSED_CERT = 1,
	PEER_REFUSED_VERSION,
	PEER_REFUSED_CLUSTER,
	PEER_REFUSED_MEMBER,
	PEER_REFUSED_FULL
};

struct peer_hello {
	uint16_t version_min, version_max;
	uint64_t cluster, from, to;
};

void peer_frame_head(uint8_t ret[PEER_FRAME_HEAD], enum peer_frame_type type, size_t len);
void peer_hello_encode(const struct peer_hello *h, uint8_t ret[PEER_HELLO_SIZE]);
/* -EBADMSG: not a hello of mini's. */
int peer_hello_decode(const void *data, size_t len, struct peer_hello *ret);

/* Where a member is to be found, as it said itself; of two the one with the higher version holds. */
struct peer_address {
	uint64_t id, version;
	char text[STORE_ADDRESS_MAX + 1];
};
#define PEER_ADDRESS_SIZE_MAX (16u + STORE_ADDRESS_MAX)
size_t peer_address_encode(const struct peer_address *a, uint8_t ret[PEER_ADDRESS_SIZE_MAX]);
/* -EBADMSG: not such a frame, or not the text of an address. */
int peer_address_decode(const void *data, size_t len, struct peer_address *ret);

/* What was received so far of a frame and of a message. Zeroed is valid. */
struct peer_stream {
	uint8_t head[PEER_FRAME_HEAD];
	unsigned head_len;
	bool greeted;       /* the first frame was a hello: messages may come */
	struct buf frame;   /* a small frame that came in pieces */
	size_t more;        /* bytes of a MORE frame still to come */
	struct buf message; /* what BEGIN and MORE have brought */
	size_t total;       /* of it; 0: none under way */
};

struct peer_stream_ops {
	/* All but messages and their pieces. False: nothing more is wanted (s may be gone). */
	bool (*frame)(void *arg, enum peer_frame_type type, const char *data, size_t len);
	bool (*message)(void *arg, const void *data, size_t len);
};

/* A whole frame is handed on from where it lies; what came in pieces is copied once. -EPROTO with *ret_why: not a frame,
 * too large, or out of turn. 0 otherwise, also after an op has returned false. */
int peer_stream_feed(struct peer_stream *s, const char *data, size_t len, const struct peer_stream_ops *ops, void *arg,
		     const char **ret_why);
void peer_stream_done(struct peer_stream *s);

#endif
