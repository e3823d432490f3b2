/* TLS contexts and the handshake: bytes in, bytes out, keys at the end. The handshake runs on the POOL lane, because one
 * costs milliseconds; the mbedTLS context belongs to the lane while a step is under way and to the loop in between.
 *
 * When it is done, the session keys are taken out of mbedTLS and its context (36 KB, 16 KB of each direction's buffer)
 * is freed: records are encrypted and decrypted by tls_record.h, straight from and into the caller's memory.
 */
#ifndef MINI_NET_TLS_H
#define MINI_NET_TLS_H

#include "lib/core/buf.h"
#include "lib/core/env.h"
#include "lib/core/err.h"
#include "lib/net/http.h"
#include "lib/net/tls_record.h"

struct tls_handshake;

bool tls_context_is_server(const struct tls_context *c);

struct tls_result {
	struct tls_record *record; /* to be taken over */
	struct http_peer peer;     /* the tls and cert parts */
	char **organizations;      /* what peer.organizations points to; one allocation */
	struct buf session;        /* client side: for a cheaper handshake next time; may be empty */
	struct err err;
	bool done; /* with err.code 0: success */
};
void tls_result_done(struct tls_result *r);

/* on_step is called on the loop after each step: take `out`, look at result->done, feed more. */
struct tls_handshake *tls_handshake_new(struct env *env, struct tls_context *context, const char *server_name,
					const struct buf *session, void (*on_step)(void *arg), void *arg);
/* Starts a step; not while one is under way. A client's first step has no bytes. */
void tls_handshake_feed(struct tls_handshake *h, const void *data, size_t len);
bool tls_handshake_busy(const struct tls_handshake *h);
struct buf *tls_handshake_out(struct tls_handshake *h);      /* to be sent to the other side */
struct buf *tls_handshake_leftover(struct tls_handshake *h); /* received, but not the handshake's */
struct tls_result *tls_handshake_result(struct tls_handshake *h);
void tls_handshake_free(struct tls_handshake *h); /* at any time; NULL too; no callback follows */

#endif
