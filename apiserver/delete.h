/* DELETE and DELETECOLLECTION: preconditions, grace, finalizers, propagation. */
#ifndef MINI_APISERVER_DELETE_H
#define MINI_APISERVER_DELETE_H

#include "apiserver/request.h"

extern const struct handler handler_delete, handler_deletecollection;

/* Decide the deletion of r->old by r->options: plans a removal or a mark. A `change`. */
int delete_change(struct request *r);
int delete_refused(struct request *r, const struct store_txn_resp *resp);
int delete_committed(struct request *r);

#endif
