/* Client-side apply: what is recorded, and what is sent. Pure. */
#ifndef MINI_MINICTL_APPLY_H
#define MINI_MINICTL_APPLY_H

#include "lib/api/patch.h"

/* The object as it is to be: a copy of `wanted` with itself recorded in the last-applied annotation. New reference. */
json_t *apply_modified(const json_t *wanted);
/* The patch from the server's object to `modified`; an empty object when nothing is to be done. *ret_recorded: the
 * server's object carries the annotation. */
int apply_patch(const struct schema *s, const json_t *modified, const json_t *current, json_t **ret_patch,
		bool *ret_recorded, struct err *err);

#endif
