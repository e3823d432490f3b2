/* What the pki_*.c files share: names, keys and extensions on mbedTLS. */
#ifndef MINI_NET_PKI_INTERNAL_H
#define MINI_NET_PKI_INTERNAL_H

#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>

#include "lib/net/pki.h"

int pki__fail(struct err *err, int rc, const char *what);
int pki__rng(void *arg, unsigned char *buf, size_t len);
int pki__parse_key(mbedtls_pk_context *ret, const char *pem, struct err *err);
int pki__generate(mbedtls_pk_context *ret, struct err *err);
int pki__key_pem(mbedtls_pk_context *key, char **ret_pem, struct err *err);
/* A subject or issuer in the order mbedTLS writes it (last first). Several organizations, any characters: what
 * mbedtls_x509_string_to_names() cannot do. Goes into a writer, which frees it. */
mbedtls_asn1_named_data *pki__subject(const char *common_name, const char *const *organizations);
mbedtls_asn1_named_data *pki__copy_name(const mbedtls_x509_name *name);
/* The content of the subjectAltName and extKeyUsage extensions in DER; len 0 when there is nothing to say. */
int pki__san(const struct pki_request *req, struct buf *ret, struct err *err);
void pki__ext_key_usage(const struct pki_request *req, struct buf *ret);

#endif
