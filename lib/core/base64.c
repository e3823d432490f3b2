#include <errno.h>

#include "lib/core/util.h"

static const char std_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *encode(const void *data, size_t len, const char *alphabet, bool pad)
{
	const uint8_t *p = data;
	char *out = xmalloc((len + 2) / 3 * 4 + 1), *o = out;
	for (; len >= 3; p += 3, len -= 3) {
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*o++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*o++ = alphabet[p[2] & 63];
	}
	if (len) {
		uint8_t second = len == 2 ? p[1] : 0;
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | second >> 4];
		if (len == 2)
			*o++ = alphabet[(second & 15) << 2];
		else if (pad)
			*o++ = '=';
		if (pad)
			*o++ = '=';
	}
	*o = 0;
	return out;
}

static int value_of(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	if (c == (url ? '_' : '/'))
		return 63;
	return -1;
}

static int decode(const char *s, size_t len, bool url, uint8_t **ret, size_t *ret_len)
{
	if (!url) {
		if (len % 4)
			return -EINVAL;
		if (len && s[len - 1] == '=')
			len--;
		if (len && s[len - 1] == '=')
			len--;
	}
	if (len % 4 == 1)
		return -EINVAL;
	_cleanup_free_ uint8_t *out = xmalloc(len / 4 * 3 + 3);
	size_t n = 0;
	uint32_t acc = 0;
	int bits = 0;
	for (size_t i = 0; i < len; i++) {
		int v = value_of(s[i], url);
		if (v < 0)
			return -EINVAL;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (uint8_t)(acc >> bits);
		}
	}
	if (acc & ((1u << bits) - 1))
		return -EINVAL;
	out[n] = 0;
	*ret = STEAL(out);
	*ret_len = n;
	return 0;
}

char *base64_encode(const void *data, size_t len)
{
	return encode(data, len, std_alphabet, true);
}

int base64_decode(const char *s, size_t len, uint8_t **ret, size_t *ret_len)
{
	return decode(s, len, false, ret, ret_len);
}

char *base64url_encode(const void *data, size_t len)
{
	return encode(data, len, url_alphabet, false);
}

int base64url_decode(const char *s, size_t len, uint8_t **ret, size_t *ret_len)
{
	return decode(s, len, true, ret, ret_len);
}

void hex_encode(const void *data, size_t len, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++) {
		ret[2 * i] = digits[p[i] >> 4];
		ret[2 * i + 1] = digits[p[i] & 15];
	}
	ret[2 * len] = 0;
}
