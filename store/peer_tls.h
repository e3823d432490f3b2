/* Peers over mutual TLS: the implementation of struct store_peer (store/peer.h) that real servers use.
 *
 * Loop thread only; no callback comes inside a call. Made before store_open() (config.peer = peer_tls_peer(p)): what is
 * sent before peer_tls_start() is lost, and who the members are is remembered. Closed after the store.
 *
 * A member is known by its certificate: common name "mini:server:<id as 16 hex digits>", organization "mini:servers",
 * for client and server use, signed by the cluster's CA. Addresses say where to dial and nothing else: whoever holds
 * such a certificate may connect from anywhere, also one that ops->members has not named yet (raft ignores strangers).
 * A member with an address is dialed as long as it is a member; one without is answered on the connection it made.
 * Connections carry messages both ways. One member may have two (each side has dialed): both are read, the own is
 * written to, else the other.
 *
 * Beyond what waits already (PEER_TLS_BACKLOG_MAX bytes a member) a message is dropped and the member reported
 * unreachable. Small messages (heartbeats, votes, answers) overtake entries and chunks. A connection over which
 * nothing was heard for 3 s (it is pinged every second) is closed. unreachable(), for those that ops->members has
 * named: the last connection to a member ended, a dial failed while there is none, or a message was dropped.
 *
 * Members tell each other where they are (config.advertise) and pass on what they heard: two that have both moved while
 * they could not see each other find one another through a third. Whoever answers where another one was looked for is
 * known to be there.
 *
 * The stream, little-endian: frames {length of what follows the 8 bytes (4), type, flags (1 each), spare (2)}. HELLO is
 * the first in each direction, the dialer's first: magic, protocol versions from and to, cluster, from, to. What does
 * not fit is answered with REFUSED (a code, a sentence), which both sides log.
 */
#ifndef MINI_STORE_PEER_TLS_H
#define MINI_STORE_PEER_TLS_H

#include <uv.h>

#include "store/peer.h"

#define PEER_TLS_ORGANIZATION "mini:servers"
#define PEER_TLS_NAME_PREFIX  "mini:server:"
#define PEER_TLS_NAME_MAX     32u
#define PEER_TLS_BACKLOG_MAX  (16u << 20)

struct peer_tls;

struct peer_tls_config {
	const char *cert_pem, *key_pem, *ca_pem; /* copied where needed */
	uint64_t cluster, member;
	const char *advertise; /* HOST:PORT where the others find this one; NULL: not said */
	const char *listen;    /* HOST:PORT or [V6]:PORT, an IP address; port 0 picks one; NULL: only dials */
};

/* "mini:server:00c0ffee00c0ffee": the common name of that member's certificate. */
void peer_tls_name(uint64_t member, char ret[PEER_TLS_NAME_MAX]);
/* The id such a name is of; 0: it is none. */
uint64_t peer_tls_name_member(const char *common_name);

struct peer_tls *peer_tls_new(struct env *env, uv_loop_t *loop);
/* What goes into store_config.peer; lives as long as p. */
struct store_peer *peer_tls_peer(struct peer_tls *p);
/* Listens and begins to dial. -EINVAL: bad PEM, a certificate that is not this member's, or a bad address;
 * -EADDRINUSE and the like. After a failure it may be tried again, in another turn of the loop. */
int peer_tls_start(struct peer_tls *p, const struct peer_tls_config *config, struct err *err);
/* Where a member was found in an earlier life: dialed while nothing better is known (the entry that says it may be in a
 * log that nobody has told yet what of it is committed). */
void peer_tls_hint(struct peer_tls *p, uint64_t member, const char *address);
uint16_t peer_tls_port(const struct peer_tls *p); /* 0: does not listen */
/* Renewal: for connections made from now on; those there are stay. The same checks as at the start. */
int peer_tls_set_cert(struct peer_tls *p, const char *cert_pem, const char *key_pem, const char *ca_pem,
		      struct err *err);
/* Is there a connection to that member just now? */
bool peer_tls_connected(const struct peer_tls *p, uint64_t member);
/* Ends everything; no receive() or unreachable() any more. p is freed before done(arg), which may be NULL. */
void peer_tls_close(struct peer_tls *p, void (*done)(void *arg), void *arg);

#endif
