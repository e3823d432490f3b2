/* Patches on object trees. Each returns a new tree (new reference) and leaves its inputs alone. Pure.
 * Sources: RFC 6902, RFC 7386, and upstream's strategic merge patch. */
#ifndef MINI_API_PATCH_H
#define MINI_API_PATCH_H

#include "lib/api/schema.h"

int patch_json(const json_t *doc, const json_t *ops, json_t **ret,
	       struct err *err); /* RFC 6902; bounded to 10,000 ops */
int patch_merge(const json_t *doc, const json_t *patch, json_t **ret, struct err *err); /* RFC 7386 */
/* Directives $patch (replace, delete, merge), $deleteFromPrimitiveList/x, $setElementOrder/x, $retainKeys. */
int patch_strategic(const struct schema *s, const json_t *doc, const json_t *patch, json_t **ret, struct err *err);

/* The patch that client-side apply sends: what `modified` wants, what `original` (last applied) had and `modified`
 * dropped, against `current`. Strategic when s is given, JSON merge otherwise. An empty object means no change. */
int patch_three_way(const struct schema *s, const json_t *original, const json_t *modified, const json_t *current,
		    json_t **ret, struct err *err);

#endif
