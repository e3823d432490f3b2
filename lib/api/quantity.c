#include "lib/api/quantity.h"

#include <errno.h>

#define NANO 1000000000

static const __int128 max_nano = (__int128)INT64_MAX * NANO;

struct suffix {
	char text[3];
	enum quantity_format format;
	int exponent; /* of 10, or of 2 */
};

static const struct suffix suffixes[] = {
	{"n", QUANTITY_DECIMAL_SI, -9}, {"u", QUANTITY_DECIMAL_SI, -6}, {"m", QUANTITY_DECIMAL_SI, -3},
	{"", QUANTITY_DECIMAL_SI, 0},   {"k", QUANTITY_DECIMAL_SI, 3},  {"M", QUANTITY_DECIMAL_SI, 6},
	{"G", QUANTITY_DECIMAL_SI, 9},  {"T", QUANTITY_DECIMAL_SI, 12}, {"P", QUANTITY_DECIMAL_SI, 15},
	{"E", QUANTITY_DECIMAL_SI, 18}, {"Ki", QUANTITY_BINARY_SI, 10}, {"Mi", QUANTITY_BINARY_SI, 20},
	{"Gi", QUANTITY_BINARY_SI, 30}, {"Ti", QUANTITY_BINARY_SI, 40}, {"Pi", QUANTITY_BINARY_SI, 50},
	{"Ei", QUANTITY_BINARY_SI, 60},
};

static int wrong(struct err *err, const char *why)
{
	return err_status(err, ERR_BAD_REQUEST, "%s", why);
}

static int wrong_format(struct err *err)
{
	return wrong(err, "quantities must match the regular expression "
			  "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

static int parse_suffix(const char *s, enum quantity_format *ret_format, int *ret_exponent, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (strcmp(s, suffixes[i].text) == 0) {
			*ret_format = suffixes[i].format;
			*ret_exponent = suffixes[i].exponent;
			return 0;
		}
	}
	if ((s[0] == 'e' || s[0] == 'E') && s[1]) {
		const char *p = s + 1 + (s[1] == '+' || s[1] == '-');
		size_t digits = strspn(p, "0123456789");
		if (digits && !p[digits]) {
			int e = digits > 6 ? 999999 : atoi(p);
			*ret_format = QUANTITY_DECIMAL_EXPONENT;
			*ret_exponent = s[1] == '-' ? -e : e;
			return 0;
		}
	}
	if (s[strspn(s, "eEinumkKMGTP+-0123456789")])
		return wrong_format(err);
	return wrong(err, "unable to parse quantity's suffix");
}

/* v * 10^e, saturating; what falls off the end rounds up, away from zero. */
static __int128 scale10(__int128 v, int e, bool inexact)
{
	for (; e > 0 && v; e--) {
		if (v > max_nano)
			return max_nano;
		v *= 10;
	}
	for (; e < 0 && v; e++) {
		inexact |= v % 10 != 0;
		v /= 10;
	}
	return MIN(v + inexact, max_nano);
}

/* The digits of the number as an integer times 10^*exponent; at most 30 of them matter. */
static int parse_digits(const char **p, __int128 *ret, int *ret_exponent, bool *ret_inexact)
{
	__int128 v = 0;
	int exponent = 0, kept = 0, n = 0;
	bool point = false;

	for (; (**p >= '0' && **p <= '9') || **p == '.'; (*p)++) {
		if (**p == '.') {
			if (point)
				return -EINVAL;
			point = true;
			continue;
		}
		n++;
		if (kept >= 30) {
			*ret_inexact |= **p != '0';
			exponent += !point;
			continue;
		}
		v = v * 10 + (**p - '0');
		kept += v != 0;
		exponent -= point;
	}
	if (!n)
		return -EINVAL;
	*ret = v;
	*ret_exponent = exponent;
	return 0;
}

/* v * 10^e10 * 2^bits in nano: the power of two goes in first while there is room, so that 0.5Gi is exact. */
static __int128 to_nano(__int128 v, int e10, int bits, bool inexact)
{
	e10 += 9;
	while (bits > 0 && v) {
		if (v < ((__int128)1 << 124)) {
			v <<= 1;
			bits--;
		} else if (e10 < 0) {
			inexact |= v % 10 != 0;
			v /= 10;
			e10++;
		} else {
			return max_nano;
		}
	}
	return scale10(v, e10, inexact);
}

int quantity_parse(const char *s, struct quantity *ret, struct err *err)
{
	const char *p = s;
	__int128 v;
	int e10 = 0, exponent = 0;
	bool inexact = false, negative = *p == '-';
	enum quantity_format format = QUANTITY_DECIMAL_SI;

	if (!*s || strlen(s) > 1000)
		return wrong_format(err);
	p += *p == '-' || *p == '+';
	if (parse_digits(&p, &v, &e10, &inexact))
		return wrong_format(err);
	int rc = parse_suffix(p, &format, &exponent, err);
	if (rc)
		return rc;
	__int128 nano = format == QUANTITY_BINARY_SI ? to_nano(v, e10, exponent, inexact)
						     : to_nano(v, e10 + exponent, 0, inexact);
	ret->nano = negative ? -nano : nano;
	ret->format = format;
	return 0;
}

static char *put_number(char *end, __int128 v)
{
	*--end = '\0';
	do {
		*--end = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v);
	return end;
}

char *quantity_str(const struct quantity *q, char ret[64])
{
	char tmp[48];
	bool negative = q->nano < 0;
	__int128 v = negative ? -q->nano : q->nano;
	enum quantity_format format = q->format;

	if (v == 0)
		return strcpy(ret, "0");
	/* small or broken binary values would lose precision as such */
	if (format == QUANTITY_BINARY_SI && (v < (__int128)1024 * NANO || v % NANO))
		format = QUANTITY_DECIMAL_SI;
	if (format == QUANTITY_BINARY_SI) {
		size_t i = 0;
		v /= NANO;
		for (; v % 1024 == 0 && i < 6; i++)
			v /= 1024;
		static const char binary[][3] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
		snprintf(ret, 64, "%s%s%s", negative ? "-" : "", put_number(tmp + sizeof(tmp), v), binary[i]);
		return ret;
	}
	int exponent = -9;
	for (; v % 1000 == 0 && exponent < 18; exponent += 3)
		v /= 1000;
	const char *number = put_number(tmp + sizeof(tmp), v);
	if (format == QUANTITY_DECIMAL_EXPONENT && exponent)
		snprintf(ret, 64, "%s%se%d", negative ? "-" : "", number, exponent);
	else
		snprintf(ret, 64, "%s%s%s", negative ? "-" : "", number, suffixes[exponent / 3 + 3].text);
	return ret;
}

int quantity_cmp(const struct quantity *a, const struct quantity *b)
{
	return (a->nano > b->nano) - (a->nano < b->nano);
}

/* Upstream rounds up, away from zero. */
static int64_t rounded(__int128 nano, int64_t unit)
{
	__int128 v = nano / unit;
	if (nano % unit)
		v += nano > 0 ? 1 : -1;
	if (v > INT64_MAX)
		return INT64_MAX;
	return v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

int64_t quantity_value(const struct quantity *q)
{
	return rounded(q->nano, NANO);
}

int64_t quantity_milli(const struct quantity *q)
{
	return rounded(q->nano, NANO / 1000);
}

int64_t quantity_value_of(const char *s, int64_t dflt)
{
	struct quantity q;
	return s && quantity_parse(s, &q, NULL) == 0 ? quantity_value(&q) : dflt;
}

int64_t quantity_milli_of(const char *s, int64_t dflt)
{
	struct quantity q;
	return s && quantity_parse(s, &q, NULL) == 0 ? quantity_milli(&q) : dflt;
}
