#include "store/etcd_json.h"

#include <errno.h>

enum {
	WANT_VALUE,
	WANT_VALUE_OR_END,
	WANT_KEY_OR_END,
	WANT_KEY,
	WANT_COLON,
	WANT_COMMA,
	IN_STRING,
	IN_ESCAPE,
	IN_HEX,
	IN_BARE
};

void etcd_json_init(struct etcd_json *j, void *arg)
{
	*j = (struct etcd_json){.arg = arg};
}

void etcd_json_done(struct etcd_json *j)
{
	buf_done(&j->text);
}

/* What the value under way is called: the field's name, or the array's it stands in. */
static const char *name_of(const struct etcd_json *j)
{
	return j->depth ? j->stack[j->depth - 1].name : "";
}

static void value_ended(struct etcd_json *j)
{
	j->state = j->depth ? WANT_COMMA : WANT_VALUE;
}

static int push(struct etcd_json *j, bool array)
{
	if (j->depth == ETCD_JSON_DEPTH)
		return -EPROTO;
	const char *name = name_of(j);
	j->begin(j->arg, name, array);
	memcpy(j->stack[j->depth].name, name, j->depth ? ETCD_JSON_NAME : 1);
	j->stack[j->depth++].array = array;
	j->state = array ? WANT_VALUE_OR_END : WANT_KEY_OR_END;
	return 0;
}

static int pop(struct etcd_json *j, bool array)
{
	if (!j->depth || j->stack[j->depth - 1].array != array)
		return -EPROTO;
	j->depth--;
	j->end(j->arg, name_of(j), array);
	value_ended(j);
	return 0;
}

static void scalar(struct etcd_json *j)
{
	j->scalar(j->arg, name_of(j), buf_str(&j->text), j->text.len);
	value_ended(j);
}

static void string_ended(struct etcd_json *j)
{
	if (!j->is_key) {
		scalar(j);
		return;
	}
	char *name = j->stack[j->depth - 1].name;
	bool known = j->text.len < ETCD_JSON_NAME;
	memcpy(name, buf_str(&j->text), known ? j->text.len : 0);
	name[known ? j->text.len : 0] = '\0';
	j->state = WANT_COLON;
}

static int begin_text(struct etcd_json *j, int state, bool is_key)
{
	buf_clear(&j->text);
	j->state = state;
	j->is_key = is_key;
	return 0;
}

static int begin_value(struct etcd_json *j, char c)
{
	if (c == '{' || c == '[')
		return push(j, c == '[');
	if (!j->depth)
		return -EPROTO; /* messages are objects */
	if (c == '"')
		return begin_text(j, IN_STRING, false);
	if (!strchr("-0123456789tfn", c) || !c)
		return -EPROTO;
	begin_text(j, IN_BARE, false);
	buf_addc(&j->text, c);
	return 0;
}

static int between(struct etcd_json *j, char c)
{
	if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
		return 0;
	switch (j->state) {
	case WANT_VALUE_OR_END:
		return c == ']' ? pop(j, true) : begin_value(j, c);
	case WANT_VALUE:
		return begin_value(j, c);
	case WANT_KEY_OR_END:
		if (c == '}')
			return pop(j, false);
		return c == '"' ? begin_text(j, IN_STRING, true) : -EPROTO;
	case WANT_KEY:
		return c == '"' ? begin_text(j, IN_STRING, true) : -EPROTO;
	case WANT_COLON:
		j->state = WANT_VALUE;
		return c == ':' ? 0 : -EPROTO;
	default:
		break;
	}
	if (c == ',') {
		j->state = j->stack[j->depth - 1].array ? WANT_VALUE : WANT_KEY;
		return 0;
	}
	return c == '}' || c == ']' ? pop(j, c == ']') : -EPROTO;
}

static int escaped(struct etcd_json *j, char c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = c ? strchr(from, c) : NULL;
	if (c == 'u') {
		j->hex_left = 4;
		j->hex = 0;
		j->state = IN_HEX;
		return 0;
	}
	if (!at)
		return -EPROTO;
	buf_addc(&j->text, to[at - from]);
	j->state = IN_STRING;
	return 0;
}

/* Only messages for people have more than ASCII in them. */
static int hex(struct etcd_json *j, char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
	if (!at)
		return -EPROTO;
	j->hex = j->hex * 16 + (unsigned)(at - digits);
	if (--j->hex_left == 0) {
		buf_addc(&j->text, j->hex && j->hex < 0x80 ? (char)j->hex : '?');
		j->state = IN_STRING;
	}
	return 0;
}

static size_t plain(const char *p, size_t len)
{
	size_t n = 0;
	while (n < len && p[n] != '"' && p[n] != '\\' && (unsigned char)p[n] >= 0x20)
		n++;
	return n;
}

/* How many bytes were used, or -EPROTO. */
static ssize_t step(struct etcd_json *j, const char *p, size_t len)
{
	if (j->state == IN_STRING) {
		size_t n = plain(p, len);
		if (j->text.len + n > ETCD_JSON_TEXT)
			return -EPROTO;
		buf_add(&j->text, p, n);
		if (n)
			return (ssize_t)n;
		if (*p == '"')
			string_ended(j);
		else if (*p == '\\')
			j->state = IN_ESCAPE;
		else
			return -EPROTO;
		return 1;
	}
	if (j->state == IN_BARE) {
		if (!*p || !strchr("+-.0123456789Eaeflnrstu", *p)) {
			scalar(j);
			return 0;
		}
		buf_addc(&j->text, *p);
		return j->text.len > 64 ? -EPROTO : 1;
	}
	int rc = j->state == IN_ESCAPE ? escaped(j, *p) : j->state == IN_HEX ? hex(j, *p) : between(j, *p);
	return rc ? rc : 1;
}

ssize_t etcd_json_feed(struct etcd_json *j, const char *data, size_t len)
{
	size_t i = 0;
	while (i < len) {
		unsigned depth = j->depth;
		ssize_t n = step(j, data + i, len - i);
		if (n < 0)
			return n;
		i += (size_t)n;
		if (depth && !j->depth)
			break;
	}
	return (ssize_t)i;
}
