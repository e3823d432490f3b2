/* Between the two writers of OpenAPI v2. */
#ifndef MINI_API_OPENAPI_INTERNAL_H
#define MINI_API_OPENAPI_INTERNAL_H

#include "lib/api/schema.h"

/* The v2 document as a tree. New reference. */
json_t *openapi_v2_tree(void);

#endif
