/* JSONPath templates as kubectl reads them: text, {.a.b[0]}, {..x}, {.a[?(@.b=="c")]}, {range .items[*]}...{end}, {"\n"}.
 * Source: kubernetes.io/docs/reference/kubectl/jsonpath. Pure. Missing members give nothing, an index that is out of
 * bounds is an error. */
#ifndef MINI_MINICTL_JSONPATH_H
#define MINI_MINICTL_JSONPATH_H

#include "lib/api/json.h"

/* Run a whole template and append what it prints. */
int jsonpath_print(const char *template_text, const json_t *doc, struct buf *out, struct err *err);
/* The values of one expression, with or without braces and leading dot: {.a.b}, .a.b, a.b. Appended to the array. */
int jsonpath_values(const char *expression, const json_t *doc, json_t *ret_values, struct err *err);
/* A value as templates print it: strings bare, the rest as compact JSON with sorted keys. */
void jsonpath_text(struct buf *out, const json_t *v);

#endif
