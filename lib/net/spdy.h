/* SPDY/3.1 framing over any byte stream, as kubectl speaks it: many streams in one connection. Feed bytes in, get streams
 * and their data; build frames to send. Pure, and the same for both sides.
 *
 * Left out, as by every peer there is (moby/spdystream): flow control (WINDOW_UPDATE is ignored, none is sent; back
 * pressure is the connection's), SETTINGS, priorities, pushed streams. Bounded: a control frame to SPDY_CONTROL_MAX
 * bytes, its headers unpacked to as many; data is handed on as it arrives and never gathered.
 * Source: draft-mbelshe-httpbis-spdy-00 and SPDY/3.1 at dev.chromium.org.
 */
#ifndef MINI_NET_SPDY_H
#define MINI_NET_SPDY_H

#include "lib/net/http.h"

#define SPDY_CONTROL_MAX 65536
#define SPDY_DATA_MAX    16384 /* of a frame we send */

enum spdy_status { SPDY_PROTOCOL_ERROR = 1, SPDY_INVALID_STREAM = 2, SPDY_REFUSED_STREAM = 3, SPDY_CANCEL = 5 };

/* Names are in small letters; names and values are borrowed for the call, and end with a NULL name. Any may be NULL. */
struct spdy_ops {
	void (*on_stream)(void *arg, uint32_t id, const struct http_header *headers, bool fin); /* SYN_STREAM */
	void (*on_reply)(void *arg, uint32_t id, bool fin);                                     /* SYN_REPLY */
	/* Data, a piece of a frame at a time; fin: the last the other side sends on it, maybe empty. */
	void (*on_data)(void *arg, uint32_t id, const void *data, size_t len, bool fin);
	void (*on_reset)(void *arg, uint32_t id, uint32_t status);
	void (*on_ping)(void *arg, uint32_t id); /* ours come back, theirs are to be sent back */
	void (*on_goaway)(void *arg);
};

struct spdy {
	const struct spdy_ops *ops;
	void *arg;
	bool stop; /* set by a callback: what follows is left alone */
	/* inside */
	struct buf control; /* the frame being gathered: a head, or a whole control frame */
	uint32_t data_id;   /* of the data frame under way */
	size_t data_left;
	bool in_data, data_fin;
	struct spdy_zip *zip; /* both directions' compression, which outlive a frame */
};

void spdy_init(struct spdy *s, const struct spdy_ops *ops, void *arg);
void spdy_done(struct spdy *s); /* never in a callback: set stop there */
/* -EPROTO, -EFBIG: the connection is of no further use. */
int spdy_feed(struct spdy *s, const void *data, size_t len, struct err *err);

/* Frames, appended to out. headers may be NULL. The order of these two is the order they must be sent in. */
void spdy_stream(struct spdy *s, struct buf *out, uint32_t id, const struct http_header *headers);
void spdy_reply(struct spdy *s, struct buf *out, uint32_t id);
/* As many frames as it takes; fin on the last (len may be 0). */
void spdy_data(struct buf *out, uint32_t id, const void *data, size_t len, bool fin);
void spdy_reset(struct buf *out, uint32_t id, enum spdy_status status);
void spdy_ping(struct buf *out, uint32_t id);

#endif
