#include "lib/core/utf8.h"

#include <stdint.h>
#include <string.h>

size_t utf8_sequence(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t need;
	uint32_t c;

	if (len == 0 || p[0] < 0x80)
		return len ? 1 : 0;
	if (p[0] >= 0xc2 && p[0] < 0xe0) {
		need = 2;
		c = p[0] & 0x1f;
	} else if (p[0] >= 0xe0 && p[0] < 0xf0) {
		need = 3;
		c = p[0] & 0x0f;
	} else if (p[0] >= 0xf0 && p[0] < 0xf5) {
		need = 4;
		c = p[0] & 0x07;
	} else {
		return 0;
	}
	if (len < need)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((need == 3 && c < 0x800) || (need == 4 && c < 0x10000) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return need;
}

bool utf8_valid(const char *s, size_t len)
{
	while (len) {
		size_t n = utf8_sequence(s, len);
		if (!n)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

void utf8_mend(char *s)
{
	size_t len = strlen(s), to = 0;

	for (size_t i = 0; i < len;) {
		size_t n = utf8_sequence(s + i, len - i);
		if (n)
			memmove(s + to, s + i, n);
		to += n;
		i += n ? n : 1;
	}
	s[to] = '\0';
}
