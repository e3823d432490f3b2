/* Capabilities: names to masks, and the five sets of the calling thread. Source: capabilities(7). */
#ifndef MINI_RUNTIME_CAPS_H
#define MINI_RUNTIME_CAPS_H

#include <jansson.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

struct caps {
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

/* process.capabilities; j NULL: none at all. Names the kernel does not know are skipped, unknown words are errors. */
int caps_parse(json_t *j, struct caps *ret, struct err *err);
/* While still privileged: drop from the bounding set, and keep the rest over the change of user. */
int caps_before_setuid(const struct caps *c, struct err *err);
/* After the change of user: the other four. */
int caps_apply(const struct caps *c, struct err *err);

#endif
