/* What the files that check pods share. Private to lib/api/kinds. */
#ifndef MINI_API_KINDS_CHECK_POD_H
#define MINI_API_KINDS_CHECK_POD_H

#include "lib/api/json.h"

bool path__has_dotdot(const char *path);
/* A container's mounts name volumes that there are, and each place once. `path` is the container's. */
void volume__check_mounts(const json_t *container, const json_t *volumes, const char *path, struct err *err);

#endif
