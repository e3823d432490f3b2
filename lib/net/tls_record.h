/* The TLS 1.2 record layer after the handshake, for AEAD suites: ChaCha20-Poly1305 and AES-GCM.
 * Sources: RFC 5246 section 6.2, RFC 5288, RFC 7905. Pure; one direction never touches the other's state.
 */
#ifndef MINI_NET_TLS_RECORD_H
#define MINI_NET_TLS_RECORD_H

#include "lib/core/util.h"

enum { TLS_HEADER = 5, TLS_PLAIN_MAX = 16384, TLS_OVERHEAD_MAX = TLS_HEADER + 8 + 16 };
enum tls_content { TLS_CHANGE_CIPHER = 20, TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_DATA = 23 };
enum tls_cipher { TLS_CHACHA20_POLY1305, TLS_AES_GCM };

struct tls_record;

/* Keys as the handshake exported them; key_len 16 or 32, iv_len 12 (ChaCha) or 4 (GCM). Both directions have sent
 * one record already: Finished. NULL when the lengths fit no suite. */
struct tls_record *tls_record_new(const uint8_t *write_key, const uint8_t *read_key, size_t key_len,
				  const uint8_t *write_iv, const uint8_t *read_iv, size_t iv_len);
void tls_record_free(struct tls_record *r);
/* Bytes of one record in front of plain_len bytes of content. */
size_t tls_record_prefix(const struct tls_record *r);
/* Seal `len` (<= TLS_PLAIN_MAX) bytes into out, which has room for len + TLS_OVERHEAD_MAX. plain may be
 * out + tls_record_prefix(r). Returns the record's length. */
size_t tls_record_seal(struct tls_record *r, enum tls_content type, const void *plain, size_t len, uint8_t *out);
/* Length of the record that begins at data (len bytes available), 0 when its header isn't complete, or -EPROTO. */
int tls_record_length(const uint8_t *data, size_t len);
/* Open one whole record in place. *ret_plain points into it. 0 or -EPROTO. */
int tls_record_open(struct tls_record *r, uint8_t *record, size_t len, enum tls_content *ret_type, uint8_t **ret_plain,
		    size_t *ret_len);

#endif
