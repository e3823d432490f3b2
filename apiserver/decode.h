/* Request bodies into trees: JSON, YAML, protobuf; unknown and duplicate fields by fieldValidation; patches. */
#ifndef MINI_APISERVER_DECODE_H
#define MINI_APISERVER_DECODE_H

#include "apiserver/request.h"

/* r->body from the door's bytes, checked to be of kind k (NULL: any). Direct requests have a tree already: decoded all
 * the same, on a copy. */
int decode_body(struct request *r, const struct kind *k, const struct schema *s);
/* `decode` of creates and updates of the kind itself. */
int decode_object(struct request *r);
/* Name and namespace of the body and of the path must agree; those the body lacks are filled in. */
int decode_check_names(struct request *r);
/* r->body is the patch, whatever its shape. */
int decode_patch(struct request *r);
/* DeleteOptions from body and query into r->options. */
int decode_delete_options(struct request *r);
/* Type checks and unknown fields of a tree by fieldValidation; in place. */
int decode_tree(struct request *r, const struct kind *k, const struct schema *s, json_t *tree, json_t *dups);

#endif
