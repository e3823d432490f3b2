/* The proxy: Services and EndpointSlices into a service map, the map into the dataplane. */
#ifndef MINI_PROXY_PROXY_H
#define MINI_PROXY_PROXY_H

#include "lib/client/client.h"
#include "proxy/dataplane.h"

struct proxy;
struct proxy *proxy_new(struct client *client, const char *node_name, struct dataplane *dp);
void proxy_start(struct proxy *p);
/* done(arg) once the kernel holds no rule that sends traffic to this address (at once if it never did), and in
 * proxy_free at the latest. */
void proxy_when_gone(struct proxy *p, const char *pod_ip, void (*done)(void *arg), void *arg);
bool proxy_synced(const struct proxy *p);
void proxy_free(struct proxy *p); /* leaves the rules */

#endif
