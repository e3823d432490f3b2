#include <errno.h>
#include <mbedtls/ecdsa.h>

#include "lib/core/sha256.h"
#include "lib/net/pki_internal.h"

/* JSON Web Signature in compact form (RFC 7515), algorithm ES256 (RFC 7518, 3.4): the signature is r and s as 32 bytes
 * each, not DER. */

enum { TOKEN_MAX = 16 * 1024 };

static void key_hash(mbedtls_pk_context *key, char **ret)
{
	unsigned char der[256], hash[32];
	int n = mbedtls_pk_write_pubkey_der(key, der, sizeof(der));
	MUST(n > 0); /* written at the end of the buffer */
	sha256(der + sizeof(der) - n, (size_t)n, hash);
	*ret = base64url_encode(hash, sizeof(hash));
}

static int load_key(mbedtls_pk_context *key, const char *pem, struct err *err)
{
	/* The public half is enough to verify. */
	int rc = strstr(pem, "PUBLIC KEY")
			 ? mbedtls_pk_parse_public_key(key, (const unsigned char *)pem, strlen(pem) + 1)
			 : mbedtls_pk_parse_key(key, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0);
	if (rc)
		return pki__fail(err, rc, "token key");
	if (!mbedtls_pk_can_do(key, MBEDTLS_PK_ECKEY) || mbedtls_pk_ec(*key)->grp.id != MBEDTLS_ECP_DP_SECP256R1)
		return err_set(err, -EINVAL, "token keys are P-256 keys");
	return 0;
}

static int sign_hash(mbedtls_ecp_keypair *k, const uint8_t hash[32], uint8_t ret[64])
{
	mbedtls_mpi r, s;
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	int rc = mbedtls_ecdsa_sign_det_ext(&k->grp, &r, &s, &k->d, hash, 32, MBEDTLS_MD_SHA256, pki__rng, NULL);
	if (rc == 0)
		rc = mbedtls_mpi_write_binary(&r, ret, 32);
	if (rc == 0)
		rc = mbedtls_mpi_write_binary(&s, ret + 32, 32);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	return rc;
}

static int verify_hash(mbedtls_ecp_keypair *k, const uint8_t hash[32], const uint8_t sig[64])
{
	mbedtls_mpi r, s;
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	int rc = mbedtls_mpi_read_binary(&r, sig, 32);
	if (rc == 0)
		rc = mbedtls_mpi_read_binary(&s, sig + 32, 32);
	if (rc == 0)
		rc = mbedtls_ecdsa_verify(&k->grp, hash, 32, &k->Q, &r, &s);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	return rc;
}

int jwt_sign(const char *key_pem, const char *claims_json, char **ret_token, struct err *err)
{
	_cleanup_(mbedtls_pk_free) mbedtls_pk_context key;
	_cleanup_buf_ struct buf token = BUF_INIT;
	_cleanup_free_ char *kid = NULL, *header = NULL, *header64 = NULL, *claims64 = NULL, *sig64 = NULL;
	uint8_t hash[32], sig[64];
	mbedtls_pk_init(&key);
	int rc = load_key(&key, key_pem, err);
	if (rc)
		return rc;
	key_hash(&key, &kid);
	header = xasprintf("{\"alg\":\"ES256\",\"kid\":\"%s\"}", kid);
	header64 = base64url_encode(header, strlen(header));
	claims64 = base64url_encode(claims_json, strlen(claims_json));
	buf_addf(&token, "%s.%s", header64, claims64);
	sha256(token.data, token.len, hash);
	if ((rc = sign_hash(mbedtls_pk_ec(key), hash, sig)))
		return pki__fail(err, rc, "signing a token");
	sig64 = base64url_encode(sig, sizeof(sig));
	buf_addf(&token, ".%s", sig64);
	if (token.len > TOKEN_MAX)
		return err_set(err, -EFBIG, "token claims are too large");
	*ret_token = buf_steal(&token);
	return 0;
}

/* The header must name exactly our algorithm. A string search is enough: what it accepts wrongly still has to carry a
 * signature that only our key can make over this very header. */
static bool header_ok(const char *header64, size_t len)
{
	_cleanup_free_ uint8_t *header = NULL;
	size_t n;
	if (base64url_decode(header64, len, &header, &n) || memchr(header, 0, n))
		return false;
	return memmem(header, n, "\"ES256\"", 7) != NULL && memmem(header, n, "\"crit\"", 6) == NULL;
}

int jwt_verify(const char *key_pem, const char *token, char **ret_claims_json, struct err *err)
{
	_cleanup_(mbedtls_pk_free) mbedtls_pk_context key;
	_cleanup_free_ uint8_t *sig = NULL, *claims = NULL;
	uint8_t hash[32];
	size_t sig_len, claims_len;
	mbedtls_pk_init(&key);
	if (strnlen(token, TOKEN_MAX + 1) > TOKEN_MAX)
		return err_set(err, -EFBIG, "token is too long");
	const char *dot1 = strchr(token, '.'), *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;
	if (!dot2 || strchr(dot2 + 1, '.'))
		return err_set(err, -EINVAL, "not a token: three parts are expected");
	if (!header_ok(token, (size_t)(dot1 - token)))
		return err_set(err, -EINVAL, "the token's algorithm is not ES256");
	if (base64url_decode(dot2 + 1, strlen(dot2 + 1), &sig, &sig_len) || sig_len != 64)
		return err_set(err, -EINVAL, "the token's signature has the wrong form");
	/* One spelling of a signature only: base64 leaves bits of its last character unused. */
	_cleanup_free_ char *again = base64url_encode(sig, sig_len);
	if (!streq(again, dot2 + 1))
		return err_set(err, -EINVAL, "the token's signature has the wrong form");
	int rc = load_key(&key, key_pem, err);
	if (rc)
		return rc;
	sha256(token, (size_t)(dot2 - token), hash);
	if (verify_hash(mbedtls_pk_ec(key), hash, sig))
		return err_set(err, -EACCES, "the token's signature does not verify");
	if (base64url_decode(dot1 + 1, (size_t)(dot2 - dot1 - 1), &claims, &claims_len) ||
	    memchr(claims, 0, claims_len))
		return err_set(err, -EINVAL, "the token's claims have the wrong form");
	*ret_claims_json = xstrndup((char *)claims, claims_len);
	return 0;
}
