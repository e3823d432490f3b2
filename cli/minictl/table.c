#include "cli/minictl/table.h"

void table_init(struct table *t, unsigned columns)
{
	*t = (struct table){.columns = columns, .widths = NEW_N(unsigned, columns + 1)};
}

static void forget(struct table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	t->n = 0;
}

void table_done(struct table *t)
{
	forget(t);
	free(t->cells);
	free(t->widths);
	*t = (struct table){0};
}

/* Characters, not bytes. */
static unsigned width_of(const char *s)
{
	unsigned n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void table_cell(struct table *t, const char *text)
{
	size_t n = strcspn(text, "\r\n\f");
	GROW(t->cells, t->cap, t->n + 1);
	t->cells[t->n++] = text[n] ? xasprintf("%.*s...", (int)n, text) : xstrdup(text);
}

void table_print(struct table *t, struct buf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		unsigned *w = &t->widths[i % t->columns];
		*w = MAX(*w, MAX(width_of(t->cells[i]) + 3, 6));
	}
	for (size_t i = 0; i < t->n; i++) {
		unsigned column = (unsigned)(i % t->columns);
		buf_adds(out, t->cells[i]);
		if (column + 1 == t->columns)
			buf_addc(out, '\n');
		else
			buf_addf(out, "%*s", (int)(t->widths[column] - width_of(t->cells[i])), "");
	}
	forget(t);
}
