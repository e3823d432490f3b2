/* Trees to JSON text. The compact form is the hot path: every stored object and every answer goes through it. */
#include <math.h>

#include "lib/api/api_internal.h"
#include "lib/api/json.h"

/* Is there a byte in these eight that needs an escape: below 0x20, '"' or '\\'? (May say yes for bytes >= 0x80 next to
 * one; never no wrongly.) */
static inline bool needs_escape8(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = w ^ (ones * '"'), back = w ^ (ones * '\\');
	uint64_t hit = ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((back - ones) & ~back);
	return (hit & high) != 0;
}

static inline bool needs_escape(char c)
{
	return (uint8_t)c < 0x20 || c == '"' || c == '\\';
}

static void escape(struct buf *out, char c)
{
	static const char hex[] = "0123456789abcdef";
	char esc[6] = {'\\', c};
	size_t n = 2;

	switch (c) {
	case '"':
	case '\\':
		break;
	case '\n':
		esc[1] = 'n';
		break;
	case '\r':
		esc[1] = 'r';
		break;
	case '\t':
		esc[1] = 't';
		break;
	default:
		memcpy(esc, "\\u00", 4);
		esc[4] = hex[(uint8_t)c >> 4];
		esc[5] = hex[c & 15];
		n = 6;
	}
	buf_add(out, esc, n);
}

/* How many bytes from s on need no escape. */
static size_t clean_run(const char *s, size_t len)
{
	size_t i = 0;
	uint64_t w;

	while (len - i >= 8 && (memcpy(&w, s + i, 8), !needs_escape8(w)))
		i += 8;
	while (i < len && !needs_escape(s[i]))
		i++;
	return i;
}

void json_write_string(struct buf *out, const char *s, size_t len)
{
	size_t n = clean_run(s, len);

	buf_reserve(out, len + 3); /* room for a ':' or ',' after it, too */
	char *to = out->data + out->len;
	*to++ = '"';
	memcpy(to, s, n);
	out->len += n + 1;
	while (n < len) {
		escape(out, s[n++]);
		size_t run = clean_run(s + n, len - n);
		buf_add(out, s + n, run);
		n += run;
	}
	buf_addc(out, '"');
}

static void write_integer(struct buf *out, int64_t v)
{
	char tmp[20], *p = tmp + sizeof(tmp);
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		buf_addc(out, '-');
	buf_add(out, p, (size_t)(tmp + sizeof(tmp) - p));
}

/* The shortest digits that read back the same, in plain notation between 1e-6 and 1e21 as Go's encoder has it. A whole
 * number keeps ".0", so that it stays a real one. */
static void write_real(struct buf *out, double d)
{
	char e[40], digits[24];
	size_t n = 0;

	for (int prec = 0; prec < 17; prec++) {
		snprintf(e, sizeof(e), "%.*e", prec, fabs(d));
		if (strtod(e, NULL) == fabs(d))
			break;
	}
	const char *p = e;
	for (; *p && *p != 'e'; p++) {
		if (*p != '.')
			digits[n++] = *p;
	}
	int exp10 = *p ? atoi(p + 1) : 0;
	if (signbit(d))
		buf_addc(out, '-');
	if (d != 0 && (exp10 < -6 || exp10 >= 21)) {
		buf_add(out, e, (size_t)(p - e));
		buf_addf(out, "e%c%d", exp10 < 0 ? '-' : '+', abs(exp10));
		return;
	}
	if (exp10 < 0)
		buf_add(out, "0.000000", (size_t)(1 - exp10));
	for (int i = 0; i <= MAX(exp10, (int)n - 1); i++) {
		buf_addc(out, i < (int)n ? digits[i] : '0');
		if (i == exp10)
			buf_addc(out, '.');
	}
	if (exp10 >= (int)n - 1)
		buf_addc(out, '0');
}

static void write_scalar(struct buf *out, const json_t *j)
{
	switch (json_typeof(j)) {
	case JSON_STRING:
		json_write_string(out, json_string_value(j), json_string_length(j));
		break;
	case JSON_INTEGER:
		write_integer(out, json_integer_value(j));
		break;
	case JSON_REAL:
		write_real(out, json_real_value(j));
		break;
	case JSON_TRUE:
		buf_add(out, "true", 4);
		break;
	case JSON_FALSE:
		buf_add(out, "false", 5);
		break;
	default:
		buf_add(out, "null", 4);
	}
}

static void write_key(struct buf *out, void *iter)
{
	json_write_string(out, json_object_iter_key(iter), json_object_iter_key_len(iter));
	buf_addc(out, ':');
}

void json_write(struct buf *out, const json_t *j)
{
	if (json_is_object(j)) {
		json_t *obj = (json_t *)j;
		buf_addc(out, '{');
		for (void *it = json_object_iter(obj); it;) {
			write_key(out, it);
			json_write(out, json_object_iter_value(it));
			it = json_object_iter_next(obj, it);
			if (it)
				buf_addc(out, ',');
		}
		buf_addc(out, '}');
	} else if (json_is_array(j)) {
		size_t n = json_array_size(j);
		buf_addc(out, '[');
		for (size_t i = 0; i < n; i++) {
			if (i)
				buf_addc(out, ',');
			json_write(out, json_array_get(j, i));
		}
		buf_addc(out, ']');
	} else if (j) {
		write_scalar(out, j);
	} else {
		buf_add(out, "null", 4);
	}
}

static void new_line(struct buf *out, int columns)
{
	buf_addc(out, '\n');
	for (int i = 0; i < columns; i++)
		buf_addc(out, ' ');
}

static void write_pretty(struct buf *out, const json_t *j, int indent, int at)
{
	if (json_is_object(j) && json_object_size(j)) {
		json_t *obj = (json_t *)j;
		buf_addc(out, '{');
		for (void *it = json_object_iter(obj); it;) {
			new_line(out, at + indent);
			write_key(out, it);
			buf_addc(out, ' ');
			write_pretty(out, json_object_iter_value(it), indent, at + indent);
			it = json_object_iter_next(obj, it);
			if (it)
				buf_addc(out, ',');
		}
		new_line(out, at);
		buf_addc(out, '}');
	} else if (json_is_array(j) && json_array_size(j)) {
		size_t n = json_array_size(j);
		buf_addc(out, '[');
		for (size_t i = 0; i < n; i++) {
			if (i)
				buf_addc(out, ',');
			new_line(out, at + indent);
			write_pretty(out, json_array_get(j, i), indent, at + indent);
		}
		new_line(out, at);
		buf_addc(out, ']');
	} else {
		json_write(out, j);
	}
}

void json_write_pretty(struct buf *out, const json_t *j, int indent)
{
	write_pretty(out, j, indent, 0);
}
