#include "lib/net/tls_record.h"

#include <errno.h>
#include <mbedtls/chachapoly.h>
#include <mbedtls/gcm.h>
#include <mbedtls/platform_util.h>

enum { TAG = 16 };

struct direction {
	uint8_t key[32]; /* ChaCha; GCM keeps its expanded key */
	uint8_t iv[12];
	uint64_t seq;
	mbedtls_gcm_context *gcm;
};

struct tls_record {
	enum tls_cipher cipher;
	struct direction write, read;
};

static int direction_init(struct direction *d, enum tls_cipher cipher, const uint8_t *key, size_t key_len,
			  const uint8_t *iv, size_t iv_len)
{
	memcpy(d->iv, iv, iv_len);
	d->seq = 1;
	if (cipher == TLS_CHACHA20_POLY1305) {
		memcpy(d->key, key, sizeof(d->key));
		return 0;
	}
	d->gcm = NEW(mbedtls_gcm_context);
	mbedtls_gcm_init(d->gcm);
	return mbedtls_gcm_setkey(d->gcm, MBEDTLS_CIPHER_ID_AES, key, (unsigned)key_len * 8);
}

static void direction_done(struct direction *d)
{
	if (d->gcm) {
		mbedtls_gcm_free(d->gcm);
		free(d->gcm);
	}
	mbedtls_platform_zeroize(d, sizeof(*d));
}

struct tls_record *tls_record_new(const uint8_t *write_key, const uint8_t *read_key, size_t key_len,
				  const uint8_t *write_iv, const uint8_t *read_iv, size_t iv_len)
{
	bool chacha = key_len == 32 && iv_len == 12;
	if (!chacha && !((key_len == 16 || key_len == 32) && iv_len == 4))
		return NULL;
	struct tls_record *r = NEW(struct tls_record);
	r->cipher = chacha ? TLS_CHACHA20_POLY1305 : TLS_AES_GCM;
	if (direction_init(&r->write, r->cipher, write_key, key_len, write_iv, iv_len) ||
	    direction_init(&r->read, r->cipher, read_key, key_len, read_iv, iv_len)) {
		tls_record_free(r);
		return NULL;
	}
	return r;
}

void tls_record_free(struct tls_record *r)
{
	if (!r)
		return;
	direction_done(&r->write);
	direction_done(&r->read);
	free(r);
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* seq, type, version, length of the content: what the tag also covers (RFC 5246, 6.2.3.3). */
static void make_aad(uint8_t aad[13], uint64_t seq, uint8_t type, size_t len)
{
	put64(aad, seq);
	aad[8] = type;
	aad[9] = aad[10] = 3;
	put16(aad + 11, len);
}

static void chacha_nonce(uint8_t nonce[12], const struct direction *d)
{
	uint8_t seq[8];
	put64(seq, d->seq);
	memcpy(nonce, d->iv, 12);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= seq[i];
}

size_t tls_record_prefix(const struct tls_record *r)
{
	return TLS_HEADER + (r->cipher == TLS_AES_GCM ? 8 : 0);
}

size_t tls_record_seal(struct tls_record *r, enum tls_content type, const void *plain, size_t len, uint8_t *out)
{
	struct direction *d = &r->write;
	size_t prefix = tls_record_prefix(r), total = prefix + len + TAG;
	uint8_t aad[13], nonce[12], *body = out + prefix;
	MUST(len <= TLS_PLAIN_MAX);
	make_aad(aad, d->seq, (uint8_t)type, len);
	if (r->cipher == TLS_CHACHA20_POLY1305) {
		mbedtls_chachapoly_context ctx;
		mbedtls_chachapoly_init(&ctx);
		chacha_nonce(nonce, d);
		MUST(mbedtls_chachapoly_setkey(&ctx, d->key) == 0);
		MUST(mbedtls_chachapoly_encrypt_and_tag(&ctx, len, nonce, aad, sizeof(aad), plain, body, body + len) ==
		     0);
		mbedtls_chachapoly_free(&ctx);
	} else {
		/* The explicit half of the nonce is the sequence number: unique under this key by construction. */
		memcpy(nonce, d->iv, 4);
		put64(nonce + 4, d->seq);
		MUST(mbedtls_gcm_crypt_and_tag(d->gcm, MBEDTLS_GCM_ENCRYPT, len, nonce, sizeof(nonce), aad, sizeof(aad),
					       plain, body, TAG, body + len) == 0);
		memcpy(out + TLS_HEADER, nonce + 4, 8);
	}
	d->seq++;
	out[0] = (uint8_t)type;
	out[1] = out[2] = 3;
	put16(out + 3, total - TLS_HEADER);
	return total;
}

int tls_record_length(const uint8_t *data, size_t len)
{
	if (len < TLS_HEADER)
		return 0;
	size_t n = (size_t)data[3] << 8 | data[4];
	if (data[0] < TLS_CHANGE_CIPHER || data[0] > TLS_DATA || data[1] != 3 || data[2] != 3 || n < TAG ||
	    n > TLS_PLAIN_MAX + 8 + TAG)
		return -EPROTO;
	return (int)(TLS_HEADER + n);
}

int tls_record_open(struct tls_record *r, uint8_t *record, size_t len, enum tls_content *ret_type, uint8_t **ret_plain,
		    size_t *ret_len)
{
	struct direction *d = &r->read;
	size_t prefix = tls_record_prefix(r);
	if (len < prefix + TAG)
		return -EPROTO;
	size_t n = len - prefix - TAG;
	uint8_t aad[13], nonce[12], *body = record + prefix;
	int rc;
	make_aad(aad, d->seq, record[0], n);
	if (r->cipher == TLS_CHACHA20_POLY1305) {
		mbedtls_chachapoly_context ctx;
		mbedtls_chachapoly_init(&ctx);
		chacha_nonce(nonce, d);
		MUST(mbedtls_chachapoly_setkey(&ctx, d->key) == 0);
		rc = mbedtls_chachapoly_auth_decrypt(&ctx, n, nonce, aad, sizeof(aad), body + n, body, body);
		mbedtls_chachapoly_free(&ctx);
	} else {
		memcpy(nonce, d->iv, 4);
		memcpy(nonce + 4, record + TLS_HEADER, 8);
		rc = mbedtls_gcm_auth_decrypt(d->gcm, n, nonce, sizeof(nonce), aad, sizeof(aad), body + n, TAG, body,
					      body);
	}
	if (rc || n > TLS_PLAIN_MAX)
		return -EPROTO;
	d->seq++;
	*ret_type = (enum tls_content)record[0];
	*ret_plain = body;
	*ret_len = n;
	return 0;
}
