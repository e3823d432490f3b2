/* All controllers of the controller manager, started together over one client and one set of informers. */
#ifndef MINI_CONTROLLERS_CONTROLLERS_H
#define MINI_CONTROLLERS_CONTROLLERS_H

#include "lib/client/client.h"

struct controllers;
struct controllers_config {
	const char *cluster_cidr;       /* Node.spec.podCIDR is allocated from it, /24 each */
	const char *ca_pem;             /* kube-root-ca.crt in every namespace */
	const char *identity;           /* holder of the kube-controller-manager Lease: the server's stable name */
	unsigned node_monitor_grace_s;  /* 0: 40 */
	unsigned eviction_toleration_s; /* 0: 300 */
};
struct controllers *controllers_new(struct client *client, const struct controllers_config *config);
void controllers_start(struct controllers *c);
/* True when every queue is empty and every informer synced (tests). */
bool controllers_idle(const struct controllers *c);
void controllers_free(struct controllers *c);

#endif
