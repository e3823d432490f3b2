/* CREATE, UPDATE and PATCH of objects and their status. */
#ifndef MINI_APISERVER_WRITE_H
#define MINI_APISERVER_WRITE_H

#include "apiserver/request.h"

#define WRITE_ATTEMPTS 5

extern const struct handler handler_create, handler_update, handler_patch, handler_update_status, handler_patch_status;

/* Replace the stored object (r->old) by tree (taken over), as an update of all but what the server owns: carries over,
 * defaults, validates, plans. status_only: tree's status on the old rest. Subresources end here too. */
int write_update(struct request *r, json_t *tree, bool status_only);
/* The same for a tree the server itself has changed: no validation of what was there before. */
int write_replace(struct request *r, json_t *tree);
/* Encode r->tree, expect r->old_rev (0: nothing there) and put. */
int write_plan(struct request *r);
/* `refused` and `committed` that fit them. */
int write_refused(struct request *r, const struct store_txn_resp *resp);
int write_committed(struct request *r);
/* Apply the request's patch to doc; *ret a new reference. */
int write_apply_patch(struct request *r, const struct schema *s, const json_t *doc, json_t **ret);

#endif
