/* A witness's way to the API, which it does not serve itself: any of the other servers, as the member it is. */
#ifndef MINI_CLI_WITNESS_H
#define MINI_CLI_WITNESS_H

#include <uv.h>

#include "cli/settings.h"
#include "lib/client/client_http.h"
#include "lib/net/pki.h"

struct witness {
	struct servers *servers;
	struct client *client; /* NULL: nobody to ask is known */
};

/* own: its certificate and key; the others are those of DIR/members. On failure w is untouched. */
int witness_open(struct env *env, uv_loop_t *loop, const char *dir, const struct pki_pair *own, const char *ca_pem,
		 struct witness *w, struct err *err);
/* Who they are now. */
void witness_follow(struct witness *w, const struct store_member *members, size_t n);
void witness_close(struct witness *w); /* zeroed too */

#endif
