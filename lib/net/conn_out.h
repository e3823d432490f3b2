/* The output half of a conn: a queue of segments, gathered into few writes. Private to conn*.c. */
#ifndef MINI_NET_CONN_OUT_H
#define MINI_NET_CONN_OUT_H

#include "lib/net/conn.h"

/* Write what can be written now. Failures are left in c->fail. */
void conn__flush(struct conn *c);
/* Bytes to be sent as they are, before everything queued (the handshake's). */
void conn__raw(struct conn *c, const void *data, size_t len);
void conn__alert(struct conn *c, uint8_t level, uint8_t description);
void conn__out_done(struct conn *c);

#endif
