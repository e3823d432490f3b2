/* UTF-8 in bytes that may be something else (RFC 3629). Pure. */
#ifndef MINI_CORE_UTF8_H
#define MINI_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid sequence at s, 0 when there is none. */
size_t utf8_sequence(const char *s, size_t len);
bool utf8_valid(const char *s, size_t len);
/* Takes out of s the bytes that belong to no sequence: what a text of a user's is left with when it is cut short. */
void utf8_mend(char *s);

#endif
