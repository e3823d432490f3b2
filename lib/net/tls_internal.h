/* What tls_context.c and tls_handshake.c share. */
#ifndef MINI_NET_TLS_INTERNAL_H
#define MINI_NET_TLS_INTERNAL_H

#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>

#include "lib/net/http.h"
#include "lib/net/tls.h"

struct tls_context {
	unsigned refs;
	bool server, insecure, wants_cert;
	mbedtls_ssl_config conf;
	mbedtls_x509_crt cert, ca;
	mbedtls_pk_context key;
	mbedtls_ssl_ticket_context ticket;
};

/* Where tls__export_keys() puts the keys of the handshake that runs on this thread. */
struct tls_export {
	uint8_t key_block[2 * 32 + 2 * 12];
	size_t key_len, iv_len; /* 0: none yet */
};
extern __thread struct tls_export *tls__export;

int tls__random(void *arg, unsigned char *buf, size_t len);
/* Does the certificate's subjectAltName hold this address? mbedTLS 2.28 looks at names only. */
bool tls__cert_has_ip(const mbedtls_x509_crt *cert, const uint8_t *ip, size_t len);
/* 4 or 16 when host is an address (then in ret), else 0. */
size_t tls__parse_ip(const char *host, uint8_t ret[16]);
/* Fills the cert parts of peer; organizations into one fresh allocation. */
void tls__peer_from_cert(const mbedtls_x509_crt *cert, struct http_peer *peer, char ***ret_organizations);
/* Walks the names of subjectAltName: pos NULL at first. Tag 0x82 is a DNS name, 0x87 an address. */
bool tls__san_next(const mbedtls_x509_crt *cert, const uint8_t **pos, const uint8_t **end, uint8_t *ret_tag,
		   const uint8_t **ret, size_t *ret_len);
/* Common name (the last) and organizations: a NULL-terminated list in one fresh allocation. */
void tls__subject(const mbedtls_x509_crt *cert, char *common_name, size_t cn_size, char ***ret_organizations);
int64_t tls__time(const mbedtls_x509_time *t);
void tls__strerror(int rc, char *buf, size_t len);

#endif
