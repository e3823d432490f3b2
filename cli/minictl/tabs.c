#include "cli/minictl/tabs.h"

struct line {
	const char *start;
	unsigned cells; /* that end with a tab */
	unsigned *widths;
};

static const char *cell_at(const struct line *l, unsigned column, size_t *ret_len)
{
	const char *p = l->start;
	for (; column > 0; column--)
		p += strcspn(p, "\t") + 1;
	*ret_len = strcspn(p, "\t\n");
	return p;
}

static unsigned characters(const char *s, size_t len)
{
	unsigned n = 0;
	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

/* Lines [from, to) all have the column. */
static void set_width(struct line *lines, size_t from, size_t to, unsigned column, unsigned padding)
{
	unsigned most = 0;
	for (size_t i = from; i < to; i++) {
		size_t len;
		const char *cell = cell_at(&lines[i], column, &len);
		most = MAX(most, characters(cell, len));
	}
	for (size_t i = from; i < to; i++)
		lines[i].widths[column] = most + padding;
}

static void set_widths(struct line *lines, size_t n, unsigned column, unsigned padding)
{
	for (size_t i = 0; i < n;) {
		size_t to = i;
		while (to < n && lines[to].cells > column)
			to++;
		if (to > i)
			set_width(lines, i, to, column, padding);
		i = MAX(to, i + 1);
	}
}

static struct line *split(const char *text, size_t *ret_n, unsigned *ret_columns)
{
	struct line *lines = NULL;
	size_t n = 0, cap = 0;
	unsigned columns = 0;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		struct line l = {.start = p};
		for (size_t i = 0; i < len; i++)
			l.cells += p[i] == '\t';
		l.widths = NEW_N(unsigned, l.cells + 1);
		columns = MAX(columns, l.cells);
		GROW(lines, cap, n + 1);
		lines[n++] = l;
		p += len + (p[len] == '\n');
	}
	*ret_n = n;
	*ret_columns = columns;
	return lines;
}

void tabs_align(const char *text, unsigned padding, struct buf *out)
{
	size_t n;
	unsigned columns;
	struct line *lines = split(text, &n, &columns);
	for (unsigned c = 0; c < columns; c++)
		set_widths(lines, n, c, padding);
	for (size_t i = 0; i < n; i++) {
		for (unsigned c = 0; c <= lines[i].cells; c++) {
			size_t len;
			const char *cell = cell_at(&lines[i], c, &len);
			buf_add(out, cell, len);
			if (c < lines[i].cells)
				buf_addf(out, "%*s", (int)(lines[i].widths[c] - characters(cell, len)), "");
		}
		buf_addc(out, '\n');
		free(lines[i].widths);
	}
	free(lines);
}
