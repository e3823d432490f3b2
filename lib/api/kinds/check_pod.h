/* What the files that check pods share. Private to lib/api/kinds. */
#ifndef MINI_API_KINDS_CHECK_POD_H
#define MINI_API_KINDS_CHECK_POD_H

#include "lib/api/json.h"
#include "lib/core/map.h"

bool path__has_dotdot(const char *path);
/* A container's mounts name volumes that there are (name -> volume: `volumes`), and each place once. `path` is the
 * container's. */
void volume__check_mounts(const json_t *container, const struct map *volumes, const char *path, struct err *err);
/* A resourceFieldRef's resource, where it has one. */
void container__check_resource_ref(const json_t *ref, const char *path, struct err *err);

#endif
