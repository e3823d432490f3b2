/* Shared by YAML's reader and writer: how plain scalars resolve. */
#ifndef MINI_API_YAML_INTERNAL_H
#define MINI_API_YAML_INTERNAL_H

#include "lib/api/json.h"

/* The value of a plain scalar. NULL, and *ret_unsupported, for infinities and not-a-number, which JSON lacks. */
json_t *yaml_plain_value(const char *s, bool *ret_unsupported);
/* Would this string, written plain, be read back as something else than a string? */
bool yaml_reads_as_other(const char *s);

#endif
