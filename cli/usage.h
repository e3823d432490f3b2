/* What minid's verbs are and which flags each has: one table, for --help, for refusing a flag that would have no effect, and
 * for completion. docs/man/minid.8 has them all (tests/cli/usage_test.c). */
#ifndef MINI_CLI_USAGE_H
#define MINI_CLI_USAGE_H

#include "lib/core/buf.h"

/* The help for one verb; "", or none there is: for all of minid. */
void usage_text(const char *verb, struct buf *ret);
/* "--dir", "-v". NULL: a flag of no verb. Else the verbs that have it, for people: "server, demo". */
const char *usage_verbs_of(const char *flag);
bool usage_has(const char *verb, const char *flag);
/* Of each flag in turn, from 0; NULL after the last. */
const char *usage_flag(size_t i);
/* A completion script for bash. */
void usage_completion(struct buf *ret);

#endif
