/* GET and LIST: selectors, pages, revisions. */
#ifndef MINI_APISERVER_READ_H
#define MINI_APISERVER_READ_H

#include "apiserver/request.h"

extern const struct handler handler_get, handler_list;

/* Parse the options' selectors; an unknown field is upstream's BadRequest. */
int read_selectors(struct request *r, struct selector **ret_labels, struct field_selector **ret_fields);
/* Look at r->key; not found is an error: r->old, r->old_rev. A handler's `look`. */
int look_named(struct request *r);
/* r->old as an object and a tree, made on first use. NULL: stored bytes that are no object (r->err is set). */
struct object *old_object(struct request *r);
json_t *old_tree(struct request *r); /* borrowed from the request; never changed */

#endif
