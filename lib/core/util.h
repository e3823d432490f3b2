/* Small things every file needs: cleanup attributes, ownership transfer, checked allocation, asserts that stay.
 *
 * Running out of memory for small things aborts (x-functions). What a stranger sizes is bounded before it is allocated.
 */
#ifndef MINI_CORE_UTIL_H
#define MINI_CORE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _unused_       __attribute__((unused))
#define _printf_(f, a) __attribute__((format(printf, f, a)))

#undef MIN
#undef MAX
#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                     ((a) < (b) ? (a) : (b))
#define MAX(a, b)                     ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* Take the pointer (or fd) out of a variable that has a cleanup attribute. */
#define STEAL(p)                                                                                                       \
	({                                                                                                             \
		__typeof__(p) steal_ = (p);                                                                            \
		(p) = NULL;                                                                                            \
		steal_;                                                                                                \
	})
#define STEAL_FD(fd)                                                                                                   \
	({                                                                                                             \
		int steal_ = (fd);                                                                                     \
		(fd) = -1;                                                                                             \
		steal_;                                                                                                \
	})

/* For bugs only; never for input. Stays in release builds. */
#define MUST(cond) ((cond) ? (void)0 : must_fail(#cond, __FILE__, __LINE__))
void must_fail(const char *cond, const char *file, int line) __attribute__((noreturn, cold));

/* A struct that crosses a void pointer begins with `uint32_t magic;`. */
#define MAGIC_CHECK(p, m) MUST((p) != NULL && (p)->magic == (m))

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));
#define NEW(type)      ((type *)xcalloc(1, sizeof(type)))
#define NEW_N(type, n) ((type *)xcalloc((n), sizeof(type)))

/* Grow a dynamic array to hold at least `need` elements: GROW(v->items, v->cap, v->n + 1). */
#define GROW(ptr, cap, need)                                                                                           \
	do {                                                                                                           \
		if ((size_t)(need) > (size_t)(cap)) {                                                                  \
			size_t grow_n_ = (size_t)(cap) ? (size_t)(cap)*2 : 8;                                          \
			if (grow_n_ < (size_t)(need))                                                                  \
				grow_n_ = (size_t)(need);                                                              \
			(ptr) = xrealloc((ptr), grow_n_ * sizeof(*(ptr)));                                             \
			(cap) = (__typeof__(cap))grow_n_;                                                              \
		}                                                                                                      \
	} while (0)

static inline void freep(void *pp)
{
	free(*(void **)pp);
}
static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define _cleanup_free_   _cleanup_(freep)
#define _cleanup_close_  _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

static inline bool streq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}
bool str_ends(const char *s, const char *suffix);
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

/* Whole-string numbers; 0 or -EINVAL/-ERANGE, *ret untouched on failure. */
int parse_i64(const char *s, int64_t *ret);
int parse_u64(const char *s, uint64_t *ret);

/* RFC 3339. time_format_s: "2026-01-02T15:04:05Z" into buf[>=21]; time_format_us: micro seconds, buf[>=28];
 * time_format_ns: nine digits, as CRI logs want, buf[>=31]. Returns buf. */
char *time_format_s(int64_t wall_s, char *buf);
char *time_format_us(int64_t wall_us, char *buf);
char *time_format_ns(int64_t wall_ns, char *buf);
/* Any RFC 3339 time, to microseconds since the epoch. 0 or -EINVAL. */
int time_parse_us(const char *s, int64_t *ret_us);

/* Hashes for tables and names (not for security). FNV-1a 32 is the one upstream's pod-template-hash uses. */
uint32_t fnv32a(const void *data, size_t len);
uint64_t hash64(const void *data, size_t len);
/* CRC-32C (RFC 3720), by the processor's instruction where it has one; and without it. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
uint32_t crc32c_by_tables(uint32_t crc, const void *data, size_t len);

/* Standard base64. Encode returns a fresh string. Decode: 0 or -EINVAL. */
char *base64_encode(const void *data, size_t len);
int base64_decode(const char *s, size_t len, uint8_t **ret, size_t *ret_len);
/* url alphabet, no padding (JWT). */
char *base64url_encode(const void *data, size_t len);
int base64url_decode(const char *s, size_t len, uint8_t **ret, size_t *ret_len);
void hex_encode(const void *data, size_t len, char *ret /* 2*len+1 */);

#endif
