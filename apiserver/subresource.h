/* Subresources that are not plain objects: scale, binding, eviction, finalize, token. */
#ifndef MINI_APISERVER_SUBRESOURCE_H
#define MINI_APISERVER_SUBRESOURCE_H

#include "apiserver/request.h"

extern const struct handler handler_get_scale, handler_update_scale, handler_patch_scale, handler_binding,
	handler_eviction, handler_finalize, handler_token;
/* The three questions, and who am I. */
const struct handler *review_handler(const struct kind *k);

#endif
