/* Ages as people read them in tables: 45s, 5m12s, 3h, 2d4h. The same steps as upstream's. Pure. */
#ifndef MINI_API_KINDS_DURATION_H
#define MINI_API_KINDS_DURATION_H

#include "lib/core/util.h"

#define HUMAN_DURATION_MAX 32

/* A number of seconds; "<invalid>" for one that lies more than a second in the future. Returns ret. */
char *human_duration(int64_t seconds, char ret[HUMAN_DURATION_MAX]);
/* The time since an RFC 3339 time; "<unknown>" when it is NULL, empty or no time. Returns ret. */
char *human_age(const char *rfc3339, int64_t now_s, char ret[HUMAN_DURATION_MAX]);

#endif
