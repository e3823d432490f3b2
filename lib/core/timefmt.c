#include <ctype.h>
#include <errno.h>
#include <time.h>

#include "lib/core/util.h"

static char *format(int64_t wall_s, int64_t fraction, int digits, char *buf)
{
	struct tm tm;
	time_t t = (time_t)wall_s;
	if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
		t = 0;
		gmtime_r(&t, &tm);
	}
	size_t n = strftime(buf, 21, "%Y-%m-%dT%H:%M:%S", &tm);
	if (digits)
		n += (size_t)snprintf(buf + n, (size_t)digits + 2, ".%0*lld", digits, (long long)fraction);
	buf[n] = 'Z';
	buf[n + 1] = 0;
	return buf;
}

/* Floor division, so that times before the epoch keep a positive fraction. */
static int64_t split(int64_t t, int64_t unit, int64_t *fraction)
{
	int64_t s = t / unit, f = t % unit;
	if (f < 0) {
		f += unit;
		s--;
	}
	*fraction = f;
	return s;
}

char *time_format_s(int64_t wall_s, char *buf)
{
	return format(wall_s, 0, 0, buf);
}

char *time_format_us(int64_t wall_us, char *buf)
{
	int64_t f, s = split(wall_us, 1000000, &f);
	return format(s, f, 6, buf);
}

char *time_format_ns(int64_t wall_ns, char *buf)
{
	int64_t f, s = split(wall_ns, 1000000000, &f);
	return format(s, f, 9, buf);
}

static bool digits(const char **p, int n, int *ret)
{
	int v = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return true;
}

static bool parse_offset(const char **p, int *ret_s)
{
	if (**p == 'Z' || **p == 'z') {
		(*p)++;
		*ret_s = 0;
		return true;
	}
	int sign = **p == '-' ? -1 : 1, h, m;
	if (**p != '+' && **p != '-')
		return false;
	(*p)++;
	if (!digits(p, 2, &h) || *(*p)++ != ':' || !digits(p, 2, &m) || h > 23 || m > 59)
		return false;
	*ret_s = sign * (h * 3600 + m * 60);
	return true;
}

int time_parse_us(const char *s, int64_t *ret_us)
{
	struct tm tm = {0};
	const char *p = s;
	int64_t us = 0;
	int offset;
	if (!s || !digits(&p, 4, &tm.tm_year) || *p++ != '-' || !digits(&p, 2, &tm.tm_mon) || *p++ != '-' ||
	    !digits(&p, 2, &tm.tm_mday) || (*p != 'T' && *p != 't'))
		return -EINVAL;
	p++;
	if (!digits(&p, 2, &tm.tm_hour) || *p++ != ':' || !digits(&p, 2, &tm.tm_min) || *p++ != ':' ||
	    !digits(&p, 2, &tm.tm_sec))
		return -EINVAL;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return -EINVAL;
	if (*p == '.') {
		p++;
		if (!isdigit((unsigned char)*p))
			return -EINVAL;
		for (int64_t scale = 100000; isdigit((unsigned char)*p); p++, scale /= 10)
			us += (*p - '0') * scale;
	}
	if (!parse_offset(&p, &offset) || *p)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int day = tm.tm_mday;
	time_t t = timegm(&tm);
	if (tm.tm_mday != day) /* 31 April became 1 May */
		return -EINVAL;
	*ret_us = ((int64_t)t - offset) * 1000000 + us;
	return 0;
}
