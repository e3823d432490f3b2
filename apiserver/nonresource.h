/* Paths that are no resources: health, version, metrics, discovery, OpenAPI. */
#ifndef MINI_APISERVER_NONRESOURCE_H
#define MINI_APISERVER_NONRESOURCE_H

#include "apiserver/request.h"

#define API_GIT_VERSION "v1.32.4+mini"

/* The handler of r->route.path, or NULL with r->err set. */
const struct handler *nonresource_handler(struct request *r);
/* Of the server's rendered documents: a map's free_value. */
void document_free(void *p);

#endif
