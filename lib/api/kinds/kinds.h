/* What the rows of kinds.c take from the files beside it: columns, cells, and what the server sets before storing.
 *
 * Private to lib/api/kinds. The columns are upstream's kube-apiserver's, their order is that of the cells.
 */
#ifndef MINI_API_KINDS_KINDS_H
#define MINI_API_KINDS_KINDS_H

#include "lib/api/schema.h"

#define KIND_PRINTER(id)                                                                                               \
	extern const struct kind_column id##_columns[];                                                                \
	void id##__cells(const json_t *obj, int64_t now_s, json_t *cells)

KIND_PRINTER(plain); /* Name and age, for kinds without columns of their own. */

#endif
