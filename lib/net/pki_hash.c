/* Hashes of public keys. */
#include <errno.h>
#include <mbedtls/x509_csr.h>

#include "lib/core/sha256.h"
#include "lib/net/pki_internal.h"

enum { SPKI_SIZE = 8192 };

static int hash_of(mbedtls_pk_context *key, uint8_t ret[32], struct err *err)
{
	_cleanup_free_ unsigned char *der = xmalloc(SPKI_SIZE);
	int n = mbedtls_pk_write_pubkey_der(key, der, SPKI_SIZE);
	if (n < 0)
		return pki__fail(err, n, "public key");
	sha256(der + SPKI_SIZE - n, (size_t)n, ret); /* mbedTLS writes from the end */
	return 0;
}

int pki_cert_key_hash(const char *cert_pem, uint8_t ret[32], struct err *err)
{
	mbedtls_x509_crt crt;
	mbedtls_x509_crt_init(&crt);
	int rc = mbedtls_x509_crt_parse(&crt, (const unsigned char *)cert_pem, strlen(cert_pem) + 1);
	if (rc)
		rc = pki__fail(err, rc < 0 ? rc : MBEDTLS_ERR_X509_INVALID_FORMAT, "certificate");
	else if (crt.next) /* whoever trusts the file trusts the others in it, too */
		rc = err_set(err, -EINVAL, "certificate: there is more than one");
	else
		rc = hash_of(&crt.pk, ret, err);
	mbedtls_x509_crt_free(&crt);
	return rc;
}

int pki_key_hash(const char *key_pem, uint8_t ret[32], struct err *err)
{
	mbedtls_pk_context key;
	mbedtls_pk_init(&key);
	int rc = pki__parse_key(&key, key_pem, err);
	if (rc == 0)
		rc = hash_of(&key, ret, err);
	mbedtls_pk_free(&key);
	return rc;
}

int pki_csr_key_hash(const char *csr_pem, uint8_t ret[32], struct err *err)
{
	mbedtls_x509_csr csr;
	mbedtls_x509_csr_init(&csr);
	int rc = mbedtls_x509_csr_parse(&csr, (const unsigned char *)csr_pem, strlen(csr_pem) + 1);
	rc = rc ? pki__fail(err, rc, "signing request") : hash_of(&csr.pk, ret, err);
	mbedtls_x509_csr_free(&csr);
	return rc;
}
