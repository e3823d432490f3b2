/* Where a Deployment's rollout stands, in upstream's words. Pure. */
#ifndef MINI_MINICTL_ROLLOUT_H
#define MINI_MINICTL_ROLLOUT_H

#include "lib/api/object.h"

/* True when it is over: done, or (*ret_failed) beyond its progress deadline. */
bool rollout_status_text(const json_t *deployment, char *ret, size_t size, bool *ret_failed);

#endif
