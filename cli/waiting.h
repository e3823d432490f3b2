/* What stands at a server's address while it starts and cannot serve yet: alive, not ready, and why; 503 for all else.
 * Before the API server, which then listens there. */
#ifndef MINI_CLI_WAITING_H
#define MINI_CLI_WAITING_H

#include "lib/net/http.h"

struct waiting;
struct waiting *waiting_start(struct env *env, uv_loop_t *loop, struct tls_context *tls, const char *host,
			      uint16_t port, struct err *err); /* NULL: it cannot listen */
void waiting_say(struct waiting *w, const char *reason);       /* accepts NULL */
/* Turns the loop until the address is free again. Accepts NULL. */
void waiting_stop(struct waiting *w);

#endif
