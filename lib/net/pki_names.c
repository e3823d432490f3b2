#include <arpa/inet.h>
#include <errno.h>
#include <mbedtls/oid.h>
#include <mbedtls/platform.h>

#include "lib/net/pki_internal.h"

/* DER (X.690): only what names need. */
static void der_length(struct buf *out, size_t len)
{
	MUST(len < 1u << 24);
	if (len >= 1u << 16) {
		buf_addc(out, (char)0x83);
		buf_addc(out, (char)(len >> 16));
	} else if (len >= 256) {
		buf_addc(out, (char)0x82);
	} else if (len >= 128) {
		buf_addc(out, (char)0x81);
	}
	if (len >= 256)
		buf_addc(out, (char)(len >> 8));
	buf_addc(out, (char)len);
}

static void der_add(struct buf *out, uint8_t tag, const void *data, size_t len)
{
	buf_addc(out, (char)tag);
	der_length(out, len);
	buf_add(out, data, len);
}

int pki__san(const struct pki_request *req, struct buf *ret, struct err *err)
{
	_cleanup_buf_ struct buf names = BUF_INIT;
	for (const char *const *n = req->dns_names; n && *n; n++) {
		if (strlen(*n) > 253 || !**n)
			return err_set(err, -EINVAL, "not a DNS name: \"%.64s\"", *n);
		der_add(&names, 0x82, *n, strlen(*n));
	}
	for (const char *const *ip = req->ips; ip && *ip; ip++) {
		uint8_t addr[16];
		if (inet_pton(AF_INET, *ip, addr) == 1)
			der_add(&names, 0x87, addr, 4);
		else if (inet_pton(AF_INET6, *ip, addr) == 1)
			der_add(&names, 0x87, addr, 16);
		else
			return err_set(err, -EINVAL, "not an IP address: \"%.64s\"", *ip);
	}
	if (names.len > 64 * 1024)
		return err_set(err, -EFBIG, "too many names in one certificate");
	if (names.len)
		der_add(ret, 0x30, names.data, names.len);
	return 0;
}

void pki__ext_key_usage(const struct pki_request *req, struct buf *ret)
{
	_cleanup_buf_ struct buf uses = BUF_INIT;
	if (req->server)
		der_add(&uses, 0x06, MBEDTLS_OID_SERVER_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH));
	if (req->client)
		der_add(&uses, 0x06, MBEDTLS_OID_CLIENT_AUTH, MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH));
	if (uses.len)
		der_add(ret, 0x30, uses.data, uses.len);
}

static mbedtls_asn1_named_data *prepend(mbedtls_asn1_named_data *list, const void *oid, size_t oid_len, int tag,
					const void *value, size_t len)
{
	/* mbedtls_free() frees them: plain calloc and free in this library, but its own to decide. */
	mbedtls_asn1_named_data *n = mbedtls_calloc(1, sizeof(*n));
	MUST(n);
	n->oid.p = mbedtls_calloc(1, oid_len);
	n->val.p = mbedtls_calloc(1, len + 1);
	MUST(n->oid.p && n->val.p);
	n->oid.tag = MBEDTLS_ASN1_OID;
	n->oid.len = oid_len;
	memcpy(n->oid.p, oid, oid_len);
	n->val.tag = tag;
	n->val.len = len;
	memcpy(n->val.p, value, len);
	n->next = list;
	return n;
}

mbedtls_asn1_named_data *pki__subject(const char *common_name, const char *const *organizations)
{
	mbedtls_asn1_named_data *list = NULL;
	for (const char *const *o = organizations; o && *o; o++)
		list = prepend(list, MBEDTLS_OID_AT_ORGANIZATION, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_ORGANIZATION),
			       MBEDTLS_ASN1_UTF8_STRING, *o, strlen(*o));
	if (common_name)
		list = prepend(list, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN), MBEDTLS_ASN1_UTF8_STRING,
			       common_name, strlen(common_name));
	return list;
}

mbedtls_asn1_named_data *pki__copy_name(const mbedtls_x509_name *name)
{
	mbedtls_asn1_named_data *list = NULL;
	for (; name && name->oid.p; name = name->next)
		list = prepend(list, name->oid.p, name->oid.len, name->val.tag, name->val.p, name->val.len);
	return list;
}
