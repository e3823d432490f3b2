/* Cells of tables: the small words the printers of several kinds share. Private to lib/api/kinds. */
#ifndef MINI_API_KINDS_PRINT_H
#define MINI_API_KINDS_PRINT_H

#include "lib/api/kinds/kinds.h"

#define COLUMN(n, t, d)                                                                                                \
	{                                                                                                              \
		.name = n, .type = t, .doc = d                                                                         \
	}
#define COLUMN_WIDE(n, t, d)                                                                                           \
	{                                                                                                              \
		.name = n, .type = t, .doc = d, .priority = 1                                                          \
	}
#define COLUMN_NAME                                                                                                    \
	{                                                                                                              \
		.name = "Name", .type = "string", .format = "name",                                                    \
		.doc = "Unique among its kind, in its namespace if it has one."                                        \
	}
#define COLUMN_AGE COLUMN("Age", "string", "Time since the object was created.")
#define COLUMNS_END                                                                                                    \
	{                                                                                                              \
		.name = NULL                                                                                           \
	}

void cell_str(json_t *cells, const char *s);
void cell_int(json_t *cells, int64_t v);
void cell_or_none(json_t *cells, const char *s); /* "<none>" for NULL and "" */
void cell_name(json_t *cells, const json_t *obj);
void cell_age(json_t *cells, const json_t *obj, int64_t now_s);
/* One member of each object in a list, joined by commas; "" if there are none. */
void cell_members(json_t *cells, const json_t *list, const char *member);
/* A map of labels as a selector: "a=b,c=d", sorted; "<none>" when empty. */
void cell_labels(json_t *cells, const json_t *map);
/* A LabelSelector in text form. */
void cell_selector(json_t *cells, const json_t *label_selector);

/* "a,b,c + 2 more...": lists that are cut after three. */
struct short_list {
	struct buf text;
	unsigned count;
};
void short_list_add(struct short_list *l, const char *s);
/* Add the cell and free the list; `none` when nothing was added. */
void short_list_cell(struct short_list *l, const char *none, json_t *cells);

#endif
