/* The server's Tables on the terminal: which columns, in front and behind, and rows that come one by one. */
#ifndef MINI_MINICTL_VIEW_H
#define MINI_MINICTL_VIEW_H

#include "cli/minictl/args.h"
#include "cli/minictl/table.h"

struct view {
	/* set by the owner */
	bool wide, with_ns, with_labels, no_headers, with_events;
	struct strings label_columns; /* -L */
	const char *prefix;           /* "deployment.apps/" before names, or NULL */
	/* its own */
	bool begun;
	unsigned *columns, n_columns; /* of the Table, those that are shown */
	struct table table;
};

/* Print the rows of a Table; the header comes with the first. event: the watch event's type, or NULL. */
void view_print(struct view *v, const json_t *table, const char *event);
void view_done(struct view *v);

#endif
