#include <arpa/inet.h>
#include <mbedtls/oid.h>
#include <time.h>

#include "lib/net/tls_internal.h"

size_t tls__parse_ip(const char *host, uint8_t ret[16])
{
	if (inet_pton(AF_INET, host, ret) == 1)
		return 4;
	return inet_pton(AF_INET6, host, ret) == 1 ? 16 : 0;
}

/* One step through DER: the tag and content at *p, which moves behind it. False at the end or when malformed. */
static bool der_next(const uint8_t **p, const uint8_t *end, uint8_t *ret_tag, const uint8_t **ret_data, size_t *ret_len)
{
	const uint8_t *at = *p;
	if (end - at < 2)
		return false;
	uint8_t tag = *at++;
	size_t len = *at++;
	if (len & 0x80) {
		size_t n = len & 0x7f;
		if (n == 0 || n > 3 || (size_t)(end - at) < n)
			return false;
		for (len = 0; n; n--)
			len = len << 8 | *at++;
	}
	if (len > (size_t)(end - at))
		return false;
	*ret_tag = tag;
	*ret_data = at;
	*ret_len = len;
	*p = at + len;
	return true;
}

/* The content of the subjectAltName extension's OCTET STRING among the extensions (RFC 5280, 4.2.1.6). */
static bool find_san(const mbedtls_x509_crt *cert, const uint8_t **ret, size_t *ret_len)
{
	static const uint8_t san_oid[] = {0x55, 0x1d, 0x11};
	const uint8_t *p = cert->v3_ext.p, *data, *end;
	uint8_t tag;
	size_t len;
	if (!p || !der_next(&p, p + cert->v3_ext.len, &tag, &data, &len) || tag != 0x30)
		return false;
	p = data;
	end = data + len;
	while (der_next(&p, end, &tag, &data, &len)) {
		const uint8_t *q = data, *ext_end = data + len, *value;
		size_t n;
		if (!der_next(&q, ext_end, &tag, &value, &n) || tag != 0x06 || n != sizeof(san_oid) ||
		    memcmp(value, san_oid, n) != 0)
			continue;
		while (der_next(&q, ext_end, &tag, &value, &n))
			if (tag == 0x04) {
				*ret = value;
				*ret_len = n;
				return true;
			}
	}
	return false;
}

bool tls__san_next(const mbedtls_x509_crt *cert, const uint8_t **pos, const uint8_t **end, uint8_t *ret_tag,
		   const uint8_t **ret, size_t *ret_len)
{
	uint8_t tag;
	if (!*pos) {
		const uint8_t *san, *names;
		size_t n, names_len;
		if (!find_san(cert, &san, &n) || !der_next(&san, san + n, &tag, &names, &names_len) || tag != 0x30)
			return false;
		*pos = names;
		*end = names + names_len;
	}
	return der_next(pos, *end, ret_tag, ret, ret_len);
}

bool tls__cert_has_ip(const mbedtls_x509_crt *cert, const uint8_t *ip, size_t len)
{
	const uint8_t *pos = NULL, *end = NULL, *value;
	uint8_t tag;
	size_t n;
	while (tls__san_next(cert, &pos, &end, &tag, &value, &n))
		if (tag == 0x87 && n == len && memcmp(value, ip, n) == 0)
			return true;
	return false;
}

int64_t tls__time(const mbedtls_x509_time *t)
{
	struct tm tm = {.tm_year = t->year - 1900,
			.tm_mon = t->mon - 1,
			.tm_mday = t->day,
			.tm_hour = t->hour,
			.tm_min = t->min,
			.tm_sec = t->sec};
	return timegm(&tm);
}

/* A name with a NUL in it would compare as something else than what was signed. */
static bool name_usable(const mbedtls_x509_name *n)
{
	return n->val.len && !memchr(n->val.p, 0, n->val.len);
}

void tls__subject(const mbedtls_x509_crt *cert, char *common_name, size_t cn_size, char ***ret_organizations)
{
	size_t bytes = 0, count = 0;
	common_name[0] = 0;
	for (const mbedtls_x509_name *n = &cert->subject; n; n = n->next) {
		if (!name_usable(n))
			continue;
		if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) == 0 && n->val.len < cn_size) {
			memcpy(common_name, n->val.p, n->val.len);
			common_name[n->val.len] = 0;
		} else if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_ORGANIZATION, &n->oid) == 0) {
			bytes += n->val.len + 1;
			count++;
		}
	}
	char **list = xmalloc((count + 1) * sizeof(char *) + bytes), *text = (char *)(list + count + 1);
	size_t i = 0;
	for (const mbedtls_x509_name *n = &cert->subject; n; n = n->next) {
		if (!name_usable(n) || MBEDTLS_OID_CMP(MBEDTLS_OID_AT_ORGANIZATION, &n->oid) != 0)
			continue;
		list[i++] = text;
		memcpy(text, n->val.p, n->val.len);
		text[n->val.len] = 0;
		text += n->val.len + 1;
	}
	list[i] = NULL;
	*ret_organizations = list;
}

void tls__peer_from_cert(const mbedtls_x509_crt *cert, struct http_peer *peer, char ***ret_organizations)
{
	tls__subject(cert, peer->common_name, sizeof(peer->common_name), ret_organizations);
	peer->organizations = (const char *const *)*ret_organizations;
	peer->cert_given = true;
	peer->cert_not_after_s = tls__time(&cert->valid_to);
}
