/* The endpoints of the `kubernetes` Service: every server that is alive.
 *
 * Upstream's servers each hold a key with a lease and all of them write; here the store's leader knows who answers, and
 * it alone writes, when something has changed: an idle cluster writes nothing. A server that was not heard of in two
 * looks is taken out. Servers with different ports get a subset, and an EndpointSlice, each. Over an external etcd
 * it is as upstream's.
 */
#ifndef MINI_APISERVER_ENDPOINTS_H
#define MINI_APISERVER_ENDPOINTS_H

#include "apiserver/server.h"

struct endpoints;
/* Looks at once; done (never inside the call) when that look is over, whatever came of it. Then every 5 s. */
void endpoints_start(struct apiserver *a, void (*done)(struct apiserver *a));
void endpoints_stop(struct apiserver *a);
/* Over an external etcd: ["https://HOST:PORT", ...] of those that were alive in the last look; new reference. */
json_t *endpoints_urls(const struct apiserver *a);
void endpoints_free(struct apiserver *a);

#endif
