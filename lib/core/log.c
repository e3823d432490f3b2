#include "lib/core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/core/buf.h"

static atomic_int min_level = LOG_INFO;
static atomic_bool as_json;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
	atomic_store(&min_level, (int)level);
}

void log_set_json(bool json)
{
	atomic_store(&as_json, json);
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load(&min_level);
}

static size_t json_text(char *out, size_t cap, const char *s)
{
	size_t n = 0;
	for (; *s && n + 7 < cap; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20) {
			n += (size_t)snprintf(out + n, cap - n, "\\u%04x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = 0;
	return n;
}

void log_line(enum log_level level, const char *module, const char *fmt, ...)
{
	if (!log_enabled(level))
		return;
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	char when[32], text[2048], line[2 * sizeof(text) + 200];
	time_format_us((int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000, when);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* One event, one line: what came from outside may hold line breaks. */
	for (char *p = text; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	int n;
	if (atomic_load(&as_json)) {
		char escaped[2 * sizeof(text)];
		json_text(escaped, sizeof(escaped), text);
		n = snprintf(line, sizeof(line), "{\"ts\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",\"msg\":\"%s\"}\n",
			     when, level_names[level], module, escaped);
	} else {
		n = snprintf(line, sizeof(line), "%s %-5s %s: %s\n", when, level_names[level], module, text);
	}
	ssize_t r = write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1));
	(void)r;
}
