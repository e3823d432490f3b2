/* Plain scalars: what type a word without quotes has. The rules are YAML 1.1's as Kubernetes' readers apply them. */
#include <ctype.h>
#include <errno.h>
#include <math.h>

#include "lib/api/yaml_internal.h"

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++) {
		if (strcmp(s, *words) == 0)
			return true;
	}
	return false;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y", NULL};
static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N", NULL};

/* Digits of a base with '_' between; NULL when there are others. Returns a copy without '_'. */
static char *plain_digits(const char *s, const char *allowed)
{
	_cleanup_free_ char *out = xmalloc(strlen(s) + 1);
	size_t n = 0;

	for (; *s; s++) {
		if (*s == '_')
			continue;
		if (!strchr(allowed, *s))
			return NULL;
		out[n++] = *s;
	}
	out[n] = '\0';
	return n ? STEAL(out) : NULL;
}

static json_t *integer_of(const char *text)
{
	bool negative = *text == '-';
	const char *s = text + (*text == '-' || *text == '+'), *allowed = "0123456789";
	int base = 10;

	if (s[0] == '0' && (s[1] | 32) == 'x') {
		base = 16;
		allowed = "0123456789abcdefABCDEF";
		s += 2;
	} else if (s[0] == '0' && (s[1] | 32) == 'o') {
		base = 8;
		allowed = "01234567";
		s += 2;
	} else if (s[0] == '0' && (s[1] | 32) == 'b') {
		base = 2;
		allowed = "01";
		s += 2;
	} else if (s[0] == '0' && s[1]) {
		base = 8;
		allowed = "01234567";
	}
	_cleanup_free_ char *digits = plain_digits(s, allowed);
	if (!digits)
		return NULL;
	errno = 0;
	unsigned long long v = strtoull(digits, NULL, base);
	if (errno == ERANGE || v > (uint64_t)INT64_MAX + negative)
		return json_real((negative ? -1 : 1) * strtod(digits, NULL));
	return json_integer(negative ? (json_int_t)(0 - v) : (json_int_t)v);
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool float_shaped(const char *s)
{
	s += *s == '-' || *s == '+';
	size_t whole = strspn(s, "0123456789"), part = 0;
	s += whole;
	if (*s == '.') {
		part = strspn(s + 1, "0123456789");
		s += 1 + part;
	}
	if (whole + part == 0)
		return false;
	if ((*s | 32) == 'e') {
		s++;
		s += *s == '-' || *s == '+';
		size_t e = strspn(s, "0123456789");
		if (!e)
			return false;
		s += e;
	}
	return *s == '\0';
}

/* On the way to JSON a whole float becomes an integer, as upstream's encoder writes it. */
static json_t *float_of(const char *s)
{
	_cleanup_free_ char *plain = plain_digits(s, "0123456789+-.eE");
	if (!plain || *s == '_' || !float_shaped(plain))
		return NULL;
	double d = strtod(plain, NULL);
	if (!isfinite(d))
		return NULL;
	if (d == floor(d) && fabs(d) < 9e18)
		return json_integer((json_int_t)d);
	return json_real(d);
}

json_t *yaml_plain_value(const char *s, bool *ret_unsupported)
{
	static const char *const infinite[] = {".inf",  ".Inf",  ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
					       "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL};
	*ret_unsupported = false;
	if (one_of(s, nulls))
		return json_null();
	if (one_of(s, trues))
		return json_true();
	if (one_of(s, falses))
		return json_false();
	if (one_of(s, infinite)) {
		*ret_unsupported = true;
		return NULL;
	}
	if (isdigit((unsigned char)*s) || strchr("+-.", *s)) {
		json_t *v = integer_of(s);
		if (!v)
			v = float_of(s);
		if (v)
			return v;
	}
	return json_string_nocheck(s);
}

/* YYYY-M-D, with a time or without: yaml.v2 would read a time there, so writers quote it. */
static bool looks_like_time(const char *s)
{
	size_t year = strspn(s, "0123456789");
	return year == 4 && s[4] == '-' && isdigit((unsigned char)s[5]);
}

/* 12:30:45 was a number to base 60 in YAML 1.1: not read as such, but quoted. */
static bool looks_sexagesimal(const char *s)
{
	s += *s == '-' || *s == '+';
	size_t n = strspn(s, "0123456789_");
	if (!n || *s == '_' || s[n] != ':')
		return false;
	for (s += n; *s == ':'; s += n) {
		s++;
		n = strspn(s, "0123456789");
		if (n < 1 || n > 2 || (n == 2 && *s > '5'))
			return false;
	}
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789_");
	return *s == '\0';
}

bool yaml_reads_as_other(const char *s)
{
	bool unsupported;
	json_t *v = yaml_plain_value(s, &unsupported);
	bool other = !json_is_string(v) || looks_like_time(s) || looks_sexagesimal(s);
	json_decref(v);
	return other;
}
