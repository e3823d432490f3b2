/* YAML in block style, as `kubectl -o yaml` prints it: keys sorted, lists at their key's column. */
#include <ctype.h>

#include "lib/api/api_internal.h"
#include "lib/api/yaml_internal.h"

static void indent(struct buf *out, int columns)
{
	for (int i = 0; i < columns; i++)
		buf_addc(out, ' ');
}

/* May a string stand without quotes? */
static bool plain_ok(const char *s, size_t len)
{
	if (len == 0 || isspace((unsigned char)s[0]) || isspace((unsigned char)s[len - 1]))
		return false;
	if (strchr(",[]{}#&*!|>'\"%@`", s[0]))
		return false;
	if (strchr("-?:", s[0]) && (len == 1 || s[1] == ' '))
		return false;
	if (str_starts(s, "---") || str_starts(s, "..."))
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((uint8_t)s[i] < 0x20 || s[i] == 0x7f || (s[i] == ':' && (i + 1 == len || s[i + 1] == ' ')) ||
		    (s[i] == '#' && i > 0 && s[i - 1] == ' '))
			return false;
	}
	return true;
}

/* U+0085, U+00A0, U+2028, U+2029, U+FEFF: breaks and marks that a reader would fold or drop; and what is beyond the
 * basic plane. Returns its length in bytes and its code, 0 for any other character. */
static size_t special_at(const char *s, uint32_t *ret_code)
{
	const uint8_t *p = (const uint8_t *)s;
	uint32_t c;

	if (p[0] < 0xc2)
		return 0;
	size_t n = utf8_sequence(s, strnlen(s, 4));
	if (n == 2)
		c = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	else if (n == 3)
		c = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	else if (n == 4)
		c = (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
	else
		return 0;
	if (n < 4 && c >= 0xa0 && c != 0xa0 && c != 0x2028 && c != 0x2029 && c < 0xfe00)
		return 0;
	*ret_code = c;
	return n;
}

/* Does it hold something that only double quotes can say? Line ends count unless `lines`. */
static bool needs_double(const char *s, size_t len, bool lines)
{
	uint32_t code;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)s[i];
		if ((c < 0x20 && !(lines && c == '\n')) || c == 0x7f || special_at(s + i, &code))
			return true;
	}
	return false;
}

/* A text of lines, none of which a block scalar would change. */
static bool block_ok(const char *s, size_t len)
{
	if (!memchr(s, '\n', len) || needs_double(s, len, true) || s[len - 1] == ' ')
		return false;
	return strstr(s, " \n") == NULL;
}

static void write_block(struct buf *out, const char *s, size_t len, int at)
{
	bool ends = s[len - 1] == '\n', keep = ends && (len == 1 || s[len - 2] == '\n');

	buf_addc(out, '|');
	if (s[0] == ' ' || s[0] == '\n')
		buf_addc(out, '2');
	if (keep || !ends)
		buf_addc(out, keep ? '+' : '-');
	/* the caller ends the last line */
	const char *p = s, *end = s + len - ends;
	for (;;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);
		buf_addc(out, '\n');
		if (n)
			indent(out, at);
		buf_add(out, p, n);
		if (!eol)
			break;
		p = eol + 1;
	}
}

/* Characters since the last line end. */
static size_t column(const struct buf *out)
{
	size_t n = 0;
	for (size_t i = out->len; i > 0 && out->data[i - 1] != '\n'; i--)
		n += ((uint8_t)out->data[i - 1] & 0xc0) != 0x80;
	return n;
}

/* Lines are broken at single spaces beyond the 80th column; a reader joins them again. */
static bool break_here(const struct buf *out, const char *s, size_t i, size_t len)
{
	return s[i] == ' ' && i > 0 && i + 1 < len && s[i - 1] != ' ' && s[i + 1] != ' ' && column(out) > 80;
}

static void write_break(struct buf *out, int at)
{
	buf_addc(out, '\n');
	indent(out, at);
}

static void write_escape(struct buf *out, uint32_t c)
{
	static const char names[] = "\"\\\a\b\033\f\n\r\t\v", shorts[] = "\"\\abefnrtv";
	const char *known = c < 0x80 ? memchr(names, (int)c, sizeof(names)) : NULL;

	if (c == 0xa0)
		buf_adds(out, "\\_");
	else if (c == 0x85)
		buf_adds(out, "\\N");
	else if (c == 0x2028 || c == 0x2029)
		buf_adds(out, c == 0x2028 ? "\\L" : "\\P");
	else if (known && c)
		buf_addf(out, "\\%c", shorts[known - names]);
	else
		buf_addf(out, c < 0x100 ? "\\x%02X" : c < 0x10000 ? "\\u%04X" : "\\U%08X", c);
}

static void write_double(struct buf *out, const char *s, size_t len, int at, bool key)
{
	uint32_t c;

	buf_addc(out, '"');
	for (size_t i = 0; i < len; i++) {
		size_t n = special_at(s + i, &c);
		if (n) {
			write_escape(out, c);
			i += n - 1;
		} else if ((uint8_t)s[i] < 0x20 || s[i] == 0x7f || s[i] == '"' || s[i] == '\\') {
			write_escape(out, (uint8_t)s[i]);
		} else if (!key && break_here(out, s, i, len)) {
			write_break(out, at);
		} else {
			buf_addc(out, s[i]);
		}
	}
	buf_addc(out, '"');
}

static void write_flow(struct buf *out, const char *s, size_t len, int at, bool key, bool quoted)
{
	if (quoted)
		buf_addc(out, '\'');
	for (size_t i = 0; i < len; i++) {
		if (!key && break_here(out, s, i, len)) {
			write_break(out, at);
			continue;
		}
		if (quoted && s[i] == '\'')
			buf_addc(out, '\'');
		buf_addc(out, s[i]);
	}
	if (quoted)
		buf_addc(out, '\'');
}

static void write_string(struct buf *out, const char *s, size_t len, int at, bool key)
{
	if (len && !key && block_ok(s, len))
		write_block(out, s, len, MAX(at, 2));
	else if (yaml_reads_as_other(s) || needs_double(s, len, false) || (key && streq(s, "<<")))
		write_double(out, s, len, at, key);
	else
		write_flow(out, s, len, at, key, !plain_ok(s, len));
}

static void write_node(struct buf *out, const json_t *j, int at);

static int by_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_value(struct buf *out, const json_t *v, int at)
{
	if (json_is_object(v) && json_object_size(v)) {
		buf_addc(out, '\n');
		indent(out, at + 2);
		write_node(out, v, at + 2);
	} else if (json_is_array(v) && json_array_size(v)) {
		buf_addc(out, '\n');
		indent(out, at);
		write_node(out, v, at);
	} else {
		buf_addc(out, ' ');
		write_node(out, v, at + 2);
	}
}

static void write_mapping(struct buf *out, json_t *obj, int at)
{
	size_t n = json_object_size(obj), i = 0;
	_cleanup_free_ const char **keys = NEW_N(const char *, n);

	for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it))
		keys[i++] = json_object_iter_key(it);
	qsort(keys, n, sizeof(*keys), by_key);
	for (i = 0; i < n; i++) {
		if (i)
			indent(out, at);
		write_string(out, keys[i], strlen(keys[i]), at, true);
		buf_addc(out, ':');
		write_value(out, json_object_get(obj, keys[i]), at);
	}
}

/* Writes j, whose first line begins at the current column; ends with a line end. `at`: the column of further lines. */
static void write_node(struct buf *out, const json_t *j, int at)
{
	if (json_is_object(j) && json_object_size(j)) {
		write_mapping(out, (json_t *)j, at);
		return;
	}
	if (json_is_array(j) && json_array_size(j)) {
		for (size_t i = 0; i < json_array_size(j); i++) {
			if (i)
				indent(out, at);
			buf_adds(out, "- ");
			write_node(out, json_array_get(j, i), at + 2);
		}
		return;
	}
	if (json_is_string(j))
		write_string(out, json_string_value(j), json_string_length(j), at, false);
	else
		json_write(out, j);
	buf_addc(out, '\n');
}

void yaml_write(struct buf *out, const json_t *j)
{
	write_node(out, j, 0);
}
