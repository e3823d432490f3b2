#include "lib/api/selector.h"

#define TERMS_MAX 64

struct term {
	char *path, *value;
	bool negated;
};

struct field_selector {
	struct term terms[TERMS_MAX];
	unsigned n;
};

void field_selector_free(struct field_selector *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++) {
		free(s->terms[i].path);
		free(s->terms[i].value);
	}
	free(s);
}

static void field_selector_freep(struct field_selector **s)
{
	field_selector_free(*s);
}

/* A value may hold '\\', ',' and '=' behind a backslash. NULL: an escape that is none. */
static char *unescape(const char *s, size_t len)
{
	_cleanup_free_ char *out = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\') {
			i++;
			if (i >= len || !strchr("\\,=", s[i]))
				return NULL;
		} else if (s[i] == '=') {
			return NULL;
		}
		out[n++] = s[i];
	}
	out[n] = '\0';
	return STEAL(out);
}

/* Up to the next comma that is not escaped. */
static size_t term_length(const char *s)
{
	size_t n = 0;
	while (s[n] && s[n] != ',')
		n += s[n] == '\\' && s[n + 1] ? 2 : 1;
	return n;
}

static int parse_term(struct field_selector *fs, const char *s, size_t len, struct err *err)
{
	size_t at = strcspn(s, "=!");
	size_t op = at < len && str_starts(s + at, "!=") ? 2 : at < len && str_starts(s + at, "==") ? 2 : 1;

	if (at >= len || at == 0 || (s[at] == '!' && op != 2))
		return err_status(err, ERR_BAD_REQUEST, "invalid selector: '%.*s'; can't understand '%.*s'",
				  (int)MIN(len, 200), s, (int)MIN(len, 200), s);
	char *value = unescape(s + at + op, len - at - op);
	if (!value)
		return err_status(err, ERR_BAD_REQUEST,
				  "invalid field selector: invalid escape sequence or '=' in '%.*s'",
				  (int)MIN(len, 200), s);
	fs->terms[fs->n++] = (struct term){.path = xstrndup(s, at), .value = value, .negated = s[at] == '!'};
	return 0;
}

int field_selector_parse(const char *text, struct field_selector **ret, struct err *err)
{
	_cleanup_(field_selector_freep) struct field_selector *fs = NEW(struct field_selector);

	for (const char *p = text; *p;) {
		size_t len = term_length(p);
		if (len) {
			if (fs->n >= TERMS_MAX)
				return err_status(err, ERR_BAD_REQUEST, "a field selector may have at most %d terms",
						  TERMS_MAX);
			int rc = parse_term(fs, p, len, err);
			if (rc)
				return rc;
		}
		p += len;
		p += *p == ',';
	}
	*ret = STEAL(fs);
	return 0;
}

static const json_t *at_path(const json_t *obj, const char *path)
{
	while (obj && *path) {
		size_t n = strcspn(path, ".");
		obj = json_object_getn(obj, path, n);
		path += n + (path[n] == '.');
	}
	return obj;
}

static bool term_matches(const struct term *t, const json_t *obj)
{
	const json_t *v = at_path(obj, t->path);
	char number[24];
	const char *s = "";

	if (json_is_string(v)) {
		s = json_string_value(v);
	} else if (json_is_boolean(v)) {
		s = json_is_true(v) ? "true" : "false";
	} else if (json_is_integer(v)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		s = number;
	}
	return streq(s, t->value) != t->negated;
}

bool field_selector_matches(const struct field_selector *s, const json_t *obj)
{
	for (unsigned i = 0; s && i < s->n; i++) {
		if (!term_matches(&s->terms[i], obj))
			return false;
	}
	return true;
}

const char *field_selector_requires(const struct field_selector *s, const char *path)
{
	for (unsigned i = 0; s && i < s->n; i++) {
		if (!s->terms[i].negated && streq(s->terms[i].path, path))
			return s->terms[i].value;
	}
	return NULL;
}

unsigned field_selector_count(const struct field_selector *s)
{
	return s ? s->n : 0;
}

const char *field_selector_path(const struct field_selector *s, unsigned i)
{
	MUST(s && i < s->n);
	return s->terms[i].path;
}
