/* Text with tabs made into columns, as Go's text/tabwriter does: lines that follow each other and have a cell in a
 * column share its width; what stands behind the last tab belongs to no column. Pure. */
#ifndef MINI_MINICTL_TABS_H
#define MINI_MINICTL_TABS_H

#include "lib/core/buf.h"

void tabs_align(const char *text, unsigned padding, struct buf *out);

#endif
