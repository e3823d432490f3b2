/* Columns of text, aligned as kubectl aligns them: at least six wide, three spaces between, nothing behind the last. */
#ifndef MINI_MINICTL_TABLE_H
#define MINI_MINICTL_TABLE_H

#include "lib/core/buf.h"

struct table {
	char **cells; /* row by row */
	size_t n, cap;
	unsigned columns; /* of every row */
	unsigned *widths; /* remembered from what was printed before */
};

void table_init(struct table *t, unsigned columns);
void table_done(struct table *t);
/* Rows are filled cell by cell. Text is copied; line breaks end it. */
void table_cell(struct table *t, const char *text);
/* Appends the rows and forgets them; widths never shrink, so that a watch's lines stay aligned. */
void table_print(struct table *t, struct buf *out);

#endif
