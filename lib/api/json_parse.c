/* A strict JSON reader (RFC 8259) into jansson's trees: its own scanner, because duplicates must be named by field
 * path, and because nesting and what a text unfolds to in memory are bounded here. */
#include <math.h>

#include "lib/api/api_internal.h"
#include "lib/api/json.h"

struct json_reader {
	const char *text, *p, *end;
	unsigned depth;
	size_t containers; /* how many more may come */
	struct buf scratch;
	json_t *dups;     /* NULL: not wanted */
	struct path path; /* where we are; only kept when dups are wanted */
	struct err *err;
};

static int fail(struct json_reader *r, const char *what)
{
	size_t line = 1;
	const char *start = r->text;

	for (const char *p = r->text; p < r->p; p++) {
		if (*p == '\n') {
			line++;
			start = p + 1;
		}
	}
	return err_status(r->err, ERR_BAD_REQUEST, "line %zu, column %zu: %s", line, (size_t)(r->p - start) + 1, what);
}

static void skip_space(struct json_reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
		r->p++;
}

static int hex4(struct json_reader *r, uint32_t *ret)
{
	uint32_t v = 0;

	if (r->end - r->p < 4)
		return fail(r, "unfinished \\u escape");
	for (int i = 0; i < 4; i++) {
		char c = r->p[i];
		uint32_t d;
		if (c >= '0' && c <= '9')
			d = (uint32_t)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			d = (uint32_t)((c | 32) - 'a') + 10;
		else
			return fail(r, "bad \\u escape");
		v = v << 4 | d;
	}
	r->p += 4;
	*ret = v;
	return 0;
}

static void add_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_addc(b, (char)c);
	} else if (c < 0x800) {
		buf_addc(b, (char)(0xc0 | c >> 6));
		buf_addc(b, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_addc(b, (char)(0xe0 | c >> 12));
		buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addc(b, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_addc(b, (char)(0xf0 | c >> 18));
		buf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_addc(b, (char)(0x80 | (c & 0x3f)));
	}
}

static int unicode_escape(struct json_reader *r)
{
	uint32_t c = 0, low = 0;
	int rc = hex4(r, &c);

	if (rc)
		return rc;
	if (c == 0)
		return fail(r, "\\u0000 in a string is not supported");
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
		const char *back = r->p;
		r->p += 2;
		rc = hex4(r, &low);
		if (rc)
			return rc;
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		} else {
			r->p = back;
			c = 0xfffd;
		}
	} else if (c >= 0xd800 && c < 0xe000) {
		c = 0xfffd; /* a lone surrogate: as upstream's decoder has it */
	}
	add_utf8(&r->scratch, c);
	return 0;
}

static int escape(struct json_reader *r)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (r->p >= r->end)
		return fail(r, "unfinished string");
	char c = *r->p++;
	if (c == 'u')
		return unicode_escape(r);
	const char *at = c ? strchr(from, c) : NULL;
	if (!at) {
		r->p--;
		return fail(r, "unknown escape in a string");
	}
	buf_addc(&r->scratch, to[at - from]);
	return 0;
}

/* The string whose opening quote has been read. It stays valid until the next one: borrowed from the text when it has
 * no escapes, else from scratch. */
static int read_string(struct json_reader *r, const char **ret, size_t *ret_len)
{
	const char *start = r->p;

	buf_clear(&r->scratch);
	for (;;) {
		while (r->p < r->end && (uint8_t)*r->p >= 0x20 && (uint8_t)*r->p < 0x80 && *r->p != '"' &&
		       *r->p != '\\')
			r->p++;
		if (r->p >= r->end)
			return fail(r, "unfinished string");
		if (*r->p == '"')
			break;
		if (*r->p == '\\') {
			buf_add(&r->scratch, start, (size_t)(r->p - start));
			r->p++;
			int rc = escape(r);
			if (rc)
				return rc;
			start = r->p;
		} else if ((uint8_t)*r->p < 0x20) {
			return fail(r, "control character in a string");
		} else {
			size_t n = utf8_sequence(r->p, (size_t)(r->end - r->p));
			if (!n)
				return fail(r, "invalid UTF-8");
			r->p += n;
		}
	}
	if (r->scratch.len) {
		buf_add(&r->scratch, start, (size_t)(r->p - start));
		*ret = r->scratch.data;
		*ret_len = r->scratch.len;
	} else {
		*ret = start;
		*ret_len = (size_t)(r->p - start);
	}
	r->p++;
	return 0;
}

static int read_value(struct json_reader *r, json_t **ret);

static int enter(struct json_reader *r)
{
	if (r->depth >= JSON_MAX_DEPTH)
		return fail(r, "nested too deeply");
	if (r->containers == 0)
		return fail(r, "too many objects and lists for its size");
	r->depth++;
	r->containers--;
	return 0;
}

static int read_key(struct json_reader *r, json_t *obj, const char **ret, size_t *ret_len, char *small, size_t cap,
		    char **ret_heap)
{
	if (r->p >= r->end || *r->p != '"')
		return fail(r, "expected a member name in quotes");
	r->p++;
	const char *s;
	size_t len;
	int rc = read_string(r, &s, &len);
	if (rc)
		return rc;
	/* the value may use scratch, and jansson wants the name afterwards */
	char *key = small;
	if (len >= cap)
		key = *ret_heap = xmalloc(len + 1);
	memcpy(key, s, len);
	key[len] = '\0';
	if (r->dups && json_object_getn(obj, key, len)) {
		struct path at = {.up = r->path.up, .name = key};
		_cleanup_free_ char *where = path_str(&at);
		_cleanup_free_ char *text = xasprintf("duplicate field \"%s\"", where);
		if (json_array_size(r->dups) < 100)
			json_array_append_new(r->dups, json_string_nocheck(text));
	}
	skip_space(r);
	if (r->p >= r->end || *r->p != ':')
		return fail(r, "expected ':' after a member name");
	r->p++;
	*ret = key;
	*ret_len = len;
	return 0;
}

static int read_member(struct json_reader *r, json_t *obj)
{
	char small[96];
	_cleanup_free_ char *heap = NULL;
	const char *key = NULL;
	size_t len = 0;
	_cleanup_json_ json_t *v = NULL;

	int rc = read_key(r, obj, &key, &len, small, sizeof(small), &heap);
	if (rc)
		return rc;
	struct path here = {.up = r->path.up, .name = key};
	r->path.up = &here;
	rc = read_value(r, &v);
	r->path.up = here.up;
	if (rc)
		return rc;
	MUST(json_object_setn_new_nocheck(obj, key, len, STEAL(v)) == 0);
	return 0;
}

static int read_object(struct json_reader *r, json_t **ret)
{
	int rc = enter(r);
	if (rc)
		return rc;
	_cleanup_json_ json_t *obj = json_object();
	skip_space(r);
	if (r->p < r->end && *r->p == '}') {
		r->p++;
	} else {
		for (;;) {
			skip_space(r);
			rc = read_member(r, obj);
			if (rc)
				return rc;
			skip_space(r);
			if (r->p < r->end && *r->p == ',') {
				r->p++;
				continue;
			}
			if (r->p >= r->end || *r->p != '}')
				return fail(r, "expected ',' or '}' in an object");
			r->p++;
			break;
		}
	}
	r->depth--;
	*ret = STEAL(obj);
	return 0;
}

static int read_array(struct json_reader *r, json_t **ret)
{
	int rc = enter(r);
	if (rc)
		return rc;
	_cleanup_json_ json_t *arr = json_array();
	skip_space(r);
	if (r->p < r->end && *r->p == ']') {
		r->p++;
	} else {
		for (size_t i = 0;; i++) {
			json_t *v = NULL;
			struct path here = {.up = r->path.up, .index = i};
			r->path.up = &here;
			rc = read_value(r, &v);
			r->path.up = here.up;
			if (rc)
				return rc;
			MUST(json_array_append_new(arr, v) == 0);
			skip_space(r);
			if (r->p < r->end && *r->p == ',') {
				r->p++;
				continue;
			}
			if (r->p >= r->end || *r->p != ']')
				return fail(r, "expected ',' or ']' in a list");
			r->p++;
			break;
		}
	}
	r->depth--;
	*ret = STEAL(arr);
	return 0;
}

static int read_real(struct json_reader *r, const char *start, json_t **ret)
{
	size_t len = (size_t)(r->p - start);
	char small[64];
	_cleanup_free_ char *heap = NULL;
	char *s = len < sizeof(small) ? small : (heap = xmalloc(len + 1));

	memcpy(s, start, len);
	s[len] = '\0';
	double d = strtod(s, NULL);
	if (!isfinite(d)) {
		r->p = start;
		return fail(r, "number out of range");
	}
	*ret = json_real(d);
	return 0;
}

static bool read_digits(struct json_reader *r)
{
	const char *start = r->p;
	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > start;
}

static int read_number(struct json_reader *r, json_t **ret)
{
	const char *start = r->p;
	bool negative = *r->p == '-', real = false;

	r->p += negative;
	const char *first = r->p;
	if (!read_digits(r) || (*first == '0' && r->p - first > 1))
		return fail(r, "malformed number");
	size_t n_digits = (size_t)(r->p - first);
	if (r->p < r->end && *r->p == '.') {
		real = true;
		r->p++;
		if (!read_digits(r))
			return fail(r, "malformed number");
	}
	if (r->p < r->end && (*r->p | 32) == 'e') {
		real = true;
		r->p++;
		if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
			r->p++;
		if (!read_digits(r))
			return fail(r, "malformed number");
	}
	if (real || n_digits > 19)
		return read_real(r, start, ret);
	uint64_t v = 0;
	for (const char *p = first; p < first + n_digits; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	if (v > (uint64_t)INT64_MAX + negative)
		return read_real(r, start, ret);
	*ret = json_integer(negative ? (json_int_t)(0 - v) : (json_int_t)v);
	return 0;
}

static int read_word(struct json_reader *r, const char *word, json_t *value, json_t **ret)
{
	size_t n = strlen(word);
	if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
		return fail(r, "expected a value");
	r->p += n;
	*ret = value;
	return 0;
}

static int read_value(struct json_reader *r, json_t **ret)
{
	skip_space(r);
	if (r->p >= r->end)
		return fail(r, "unexpected end");
	switch (*r->p) {
	case '{':
		r->p++;
		return read_object(r, ret);
	case '[':
		r->p++;
		return read_array(r, ret);
	case '"': {
		const char *s = NULL;
		size_t len = 0;
		r->p++;
		int rc = read_string(r, &s, &len);
		if (rc)
			return rc;
		*ret = json_stringn_nocheck(s, len);
		return 0;
	}
	case 't':
		return read_word(r, "true", json_true(), ret);
	case 'f':
		return read_word(r, "false", json_false(), ret);
	case 'n':
		return read_word(r, "null", json_null(), ret);
	case '-':
	case '0' ... '9':
		return read_number(r, ret);
	default:
		return fail(r, "expected a value");
	}
}

int json_parse_dups(const char *text, size_t len, json_t **ret, json_t *ret_dups, struct err *err)
{
	/* A container costs some 200 bytes of memory: a text may hold one for each 8 of its own bytes. */
	struct json_reader r = {.text = text,
				.p = text,
				.end = text + len,
				.containers = len / 8 + 10000,
				.dups = ret_dups,
				.err = err};
	_cleanup_json_ json_t *v = NULL;

	int rc = read_value(&r, &v);
	if (!rc) {
		skip_space(&r);
		if (r.p < r.end)
			rc = fail(&r, "something follows the value");
	}
	buf_done(&r.scratch);
	if (rc)
		return rc;
	*ret = STEAL(v);
	return 0;
}

int json_parse(const char *text, size_t len, json_t **ret, struct err *err)
{
	return json_parse_dups(text, len, ret, NULL, err);
}
