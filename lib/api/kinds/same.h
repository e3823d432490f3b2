/* Whether two objects say the same, as the API means it: absent and zero are alike where Go has no pointer, and
 * absent and empty are alike for lists and maps. Writers leave out, or put in, such zeros as they please. */
#ifndef MINI_API_KINDS_SAME_H
#define MINI_API_KINDS_SAME_H

#include "lib/api/schema.h"

/* Either may be NULL. */
bool object_same(const struct schema *s, const json_t *a, const json_t *b);

#endif
