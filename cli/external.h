/* A server whose store is an external etcd (`--etcd-servers`): no peers, no members, nothing in DIR/store. */
#ifndef MINI_CLI_EXTERNAL_H
#define MINI_CLI_EXTERNAL_H

#include <uv.h>

#include "cli/settings.h"

bool external_wanted(const struct settings *s);
/* Reads the certificates and opens the engine; it connects by itself, and calls wait for it a moment. */
int external_open(struct env *env, uv_loop_t *loop, const struct settings *s, const struct options *o,
		  struct store **ret, struct err *err);

#endif
