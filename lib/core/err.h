/* Errors: what went wrong, said once where it is known.
 *
 * A function that can fail returns 0, or a negative errno-style code, and fills the `struct err` its caller passed
 * last (NULL when the caller only wants the code). The struct is plain memory: nothing to free, may be copied.
 * An err maps straight onto a Kubernetes Status: http code, reason, message, and a list of causes in `causes`
 * (several faults of one object at once; each with its field path).
 */
#ifndef MINI_CORE_ERR_H
#define MINI_CORE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define ERR_CAUSES_MAX 32

/* Status reasons of metav1 (upstream's StatusReason), with the HTTP code and the errno each one travels as. */
#define ERR_REASONS(X)                                                                                                 \
	X(NONE, "", 500, EIO)                                                                                          \
	X(BAD_REQUEST, "BadRequest", 400, EINVAL)                                                                      \
	X(UNAUTHORIZED, "Unauthorized", 401, EACCES)                                                                   \
	X(FORBIDDEN, "Forbidden", 403, EPERM)                                                                          \
	X(NOT_FOUND, "NotFound", 404, ENOENT)                                                                          \
	X(METHOD_NOT_ALLOWED, "MethodNotAllowed", 405, ENOSYS)                                                         \
	X(NOT_ACCEPTABLE, "NotAcceptable", 406, EPROTO)                                                                \
	X(ALREADY_EXISTS, "AlreadyExists", 409, EEXIST)                                                                \
	X(CONFLICT, "Conflict", 409, EAGAIN)                                                                           \
	X(GONE, "Gone", 410, ESTALE)                                                                                   \
	X(EXPIRED, "Expired", 410, ESTALE)                                                                             \
	X(TOO_LARGE, "RequestEntityTooLarge", 413, EFBIG)                                                              \
	X(UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", 415, EPROTO)                                                 \
	X(INVALID, "Invalid", 422, EINVAL)                                                                             \
	X(TOO_MANY_REQUESTS, "TooManyRequests", 429, EBUSY)                                                            \
	X(INTERNAL_ERROR, "InternalError", 500, EIO)                                                                   \
	X(SERVICE_UNAVAILABLE, "ServiceUnavailable", 503, EHOSTUNREACH)                                                \
	X(TIMEOUT, "Timeout", 504, ETIMEDOUT)                                                                          \
	X(CANCELED, "Canceled", 499, ECANCELED)

enum err_reason {
#define X(name, text, http, no) ERR_##name,
	ERR_REASONS(X)
#undef X
		ERR_REASON_COUNT
};

struct err_cause {
	char type[32];     /* upstream's CauseType: FieldValueInvalid, FieldValueRequired, ... */
	char field[200];   /* spec.template.spec.containers[0].image */
	char message[400]; /* without the field */
};

struct err {
	int code; /* 0 or a negative errno */
	enum err_reason reason;
	int retry_after_s;        /* 0, or what to answer as Retry-After */
	char message[1024];       /* for people: what is wrong and, where it helps, what to do */
	char group[64];           /* details.group of a Status; empty when not about an object */
	char kind[64];            /* details.kind: the resource or kind it is about */
	char name[256];           /* details.name */
	int n_causes;             /* may exceed ERR_CAUSES_MAX: the rest were counted, not kept */
	struct err_cause *causes; /* NULL, or an array of min(n_causes, ERR_CAUSES_MAX) on the heap: err_done() */
};

#define ERR_INIT ((struct err){0})

/* Fill err (may be NULL) and return the code. errno-style: err_set(err, -ENOENT, "no file %s", path). */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_setv(struct err *err, int code, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* The same with a Status reason; the code follows from the reason. */
int err_status(struct err *err, enum err_reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Code from errno; the message gets ": strerror" appended. */
int err_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " in front of a message on the way up. Returns err's code. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Add one fault of an object. Makes err an INVALID one. Returns -EINVAL. */
int err_add_cause(struct err *err, const char *type, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Move src's content to dst (either may be NULL; src is left empty). Returns the code moved. */
int err_move(struct err *dst, struct err *src);

/* Copy, causes included. */
void err_copy(struct err *dst, const struct err *src);

/* Free the causes and clear. Accepts NULL. */
void err_done(struct err *err);

const char *err_reason_str(enum err_reason reason);
enum err_reason err_reason_from_str(const char *s); /* ERR_NONE when unknown */
int err_reason_http(enum err_reason reason);
/* The HTTP status for an error: its reason's, or a guess from its errno. */
int err_http(const struct err *err);

#define _cleanup_err_ __attribute__((cleanup(err_done)))

/* What the static analyzer can't see from a declaration: these never return 0. */
#if defined(__clang_analyzer__) && !defined(MINI_CORE_ERR_C)
static inline int err__negative(int rc)
{
	if (rc >= 0)
		__builtin_unreachable();
	return rc;
}
#define err_set(...)       err__negative((err_set)(__VA_ARGS__))
#define err_status(...)    err__negative((err_status)(__VA_ARGS__))
#define err_errno(...)     err__negative((err_errno)(__VA_ARGS__))
#define err_prefix(...)    err__negative((err_prefix)(__VA_ARGS__))
#define err_add_cause(...) err__negative((err_add_cause)(__VA_ARGS__))
#endif

#endif
