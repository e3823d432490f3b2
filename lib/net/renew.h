/* Certificates renewed while running: looked at from time to time, on the pool, and handed to those who use them when they
 * are new ones.
 *
 * A look comes a second after the start, then every hour, and more often where a certificate lives for less than a day. */
#ifndef MINI_NET_RENEW_H
#define MINI_NET_RENEW_H

#include "lib/core/env.h"
#include "lib/net/pki.h"

#define RENEW_MAX 4

struct renewal;
struct renewal_ops {
	/* On the POOL lane, one at a time: see to it that all are good for a while (pki_due), and say what they are now. Entries
	 * are filled in the order of `current`; on failure none. Touches nothing but ctx. */
	int (*load)(void *ctx, struct pki_pair *ret, struct err *err);
	/* On the loop: at least one differs from what it was. Borrowed. */
	void (*renewed)(void *arg, const struct pki_pair *now);
	/* A look went wrong; the next one comes all the same. */
	void (*failed)(void *arg, const struct err *err);
	void (*free_ctx)(void *ctx);
	/* On the loop, around a look: ctx is its caller's then. NULL: nothing to do there. */
	void (*before)(void *arg, void *ctx);
	void (*after)(void *arg, void *ctx);
};

/* ops are copied. current: the n certificates in use. ctx belongs to the renewal from here on. */
struct renewal *renewal_new(struct env *env, const struct renewal_ops *ops, void *ctx, const struct pki_pair *current,
			    unsigned n, void *arg);
/* Look now, not later. */
void renewal_look(struct renewal *r);
/* NULL too, and at any time: nobody is told any more; what runs on the pool ends by itself. */
void renewal_free(struct renewal *r);

#endif
