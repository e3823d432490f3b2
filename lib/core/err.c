#define MINI_CORE_ERR_C
#include "lib/core/err.h"

#include <errno.h>

#include "lib/core/utf8.h"
#include "lib/core/util.h"

static const struct {
	const char *text;
	int http, no;
} reasons[] = {
#define X(name, text, http, no) {text, http, no},
	ERR_REASONS(X)
#undef X
};

const char *err_reason_str(enum err_reason reason)
{
	return (unsigned)reason < ARRAY_LEN(reasons) ? reasons[reason].text : "";
}

enum err_reason err_reason_from_str(const char *s)
{
	for (unsigned i = 1; s && i < ARRAY_LEN(reasons); i++)
		if (streq(reasons[i].text, s))
			return (enum err_reason)i;
	return ERR_NONE;
}

int err_reason_http(enum err_reason reason)
{
	return (unsigned)reason < ARRAY_LEN(reasons) ? reasons[reason].http : 500;
}

int err_http(const struct err *err)
{
	if (err->reason != ERR_NONE)
		return err_reason_http(err->reason);
	switch (-err->code) {
	case 0:
		return 200;
	case ENOENT:
		return 404;
	case EEXIST:
	case EAGAIN:
		return 409;
	case ESTALE:
		return 410;
	case EBUSY:
		return 429;
	case EHOSTUNREACH:
	case ENOSPC:
		return 503;
	case ETIMEDOUT:
		return 504;
	default:
		return 500;
	}
}

/* What an error was about (group, kind, name) stays: only the caller that knows it sets it. */
int err_setv(struct err *err, int code, const char *fmt, va_list ap)
{
	MUST(code < 0);
	if (!err)
		return code;
	err->code = code;
	err->reason = ERR_NONE;
	/* The arguments may point into err itself. */
	char message[sizeof(err->message)];
	vsnprintf(message, sizeof(message), fmt, ap);
	utf8_mend(message);
	memcpy(err->message, message, sizeof(message));
	return code;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_setv(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_status(struct err *err, enum err_reason reason, const char *fmt, ...)
{
	int code = -((unsigned)reason < ARRAY_LEN(reasons) ? reasons[reason].no : EIO);
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	err_setv(err, code, fmt, ap);
	va_end(ap);
	err->reason = reason;
	return code;
}

int err_errno(struct err *err, const char *fmt, ...)
{
	int code = errno ? -errno : -EIO;
	if (!err)
		return code;
	char text[sizeof(err->message)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, code, "%s: %s", text, strerror(-code));
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	if (!err)
		return -EIO;
	char text[sizeof(err->message)], joined[2 * sizeof(err->message) + 3];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(joined, sizeof(joined), "%s: %s", text, err->message);
	joined[sizeof(err->message) - 1] = 0;
	utf8_mend(joined);
	memcpy(err->message, joined, strlen(joined) + 1);
	return err->code;
}

int err_add_cause(struct err *err, const char *type, const char *field, const char *fmt, ...)
{
	if (!err)
		return -EINVAL;
	err->code = -EINVAL;
	err->reason = ERR_INVALID;
	if (err->n_causes < ERR_CAUSES_MAX) {
		if (!err->causes)
			err->causes = NEW_N(struct err_cause, ERR_CAUSES_MAX);
		struct err_cause *c = &err->causes[err->n_causes];
		snprintf(c->type, sizeof(c->type), "%s", type);
		snprintf(c->field, sizeof(c->field), "%s", field);
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(c->message, sizeof(c->message), fmt, ap);
		va_end(ap);
		utf8_mend(c->field);
		utf8_mend(c->message);
		if (err->n_causes == 0 && !err->message[0])
			snprintf(err->message, sizeof(err->message), "%s: %s", c->field, c->message);
	}
	err->n_causes++;
	return -EINVAL;
}

int err_move(struct err *dst, struct err *src)
{
	if (!src)
		return 0;
	int code = src->code;
	if (!dst) {
		err_done(src);
		return code;
	}
	err_done(dst);
	*dst = *src;
	*src = ERR_INIT;
	return code;
}

void err_copy(struct err *dst, const struct err *src)
{
	*dst = *src;
	if (src->causes) {
		dst->causes = NEW_N(struct err_cause, ERR_CAUSES_MAX);
		memcpy(dst->causes, src->causes, sizeof(*src->causes) * (size_t)MIN(src->n_causes, ERR_CAUSES_MAX));
	}
}

void err_done(struct err *err)
{
	if (!err)
		return;
	free(err->causes);
	*err = ERR_INIT;
}
