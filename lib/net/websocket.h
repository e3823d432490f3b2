/* WebSocket framing (RFC 6455) over any byte stream: feed bytes in, get messages; build frames to send. Pure.
 * Used for exec, attach and port-forward (subprotocols v5.channel.k8s.io and v4.channel.k8s.io, where the first byte
 * of a message is the channel: 0 stdin, 1 stdout, 2 stderr, 3 error/status, 4 resize, 255 close of a channel in v5). */
#ifndef MINI_NET_WEBSOCKET_H
#define MINI_NET_WEBSOCKET_H

#include "lib/core/buf.h"
#include "lib/core/err.h"

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_parser {
	bool server;      /* we are the server: frames from the other side must be masked */
	size_t max_bytes; /* of one message */
	struct buf in, message;
	enum ws_opcode message_opcode;
	void (*on_message)(void *arg, enum ws_opcode op, const void *data, size_t len);
	void *arg;
};
/* Accept: base64(sha1(key + GUID)). Caller frees. */
char *ws_accept_key(const char *sec_websocket_key);
int ws_feed(struct ws_parser *p, const void *data, size_t len, struct err *err);
void ws_parser_done(struct ws_parser *p);
/* mask: NULL for servers, 4 bytes of randomness for clients. */
void ws_frame(struct buf *out, enum ws_opcode op, const void *data, size_t len, const uint8_t *mask);

#endif
