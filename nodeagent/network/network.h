/* Pod networking: built-in bridge + veth + host-local addresses, one /24 per node. Blocking netlink calls are short
 * (tens of microseconds) and done on the loop; what waits goes to the pool.
 *
 * network_start makes the bridge (name from the cluster id: "mini0" or "mini-<4 hex>"), gives it the first address of
 * the pod range, routes the node's pod range and the cluster's service range to it, sets the sysctls it needs and
 * journals every change first. Pods get veth pairs named "veth<8 hex of the sandbox id>"; addresses are kept in DIR so
 * that a restarted agent knows whose is whose.
 */
#ifndef MINI_NODEAGENT_NETWORK_NETWORK_H
#define MINI_NODEAGENT_NETWORK_NETWORK_H

#include "lib/core/env.h"
#include "lib/core/err.h"
#include "lib/core/journal.h"

struct network;
struct network_config {
	const char *dir;          /* DIR/network: leases */
	const char *instance;     /* short id made from the directory; "" for the default one */
	const char *pod_cidr;     /* of this node: 10.244.0.0/24 */
	const char *cluster_cidr; /* 10.244.0.0/16 */
	const char *service_cidr; /* 10.96.0.0/16 */
	struct journal *journal;
};
/* -EADDRINUSE with a message when a range overlaps a route of the host. Finds and keeps what an earlier run left. */
int network_start(struct env *env, const struct network_config *config, struct network **ret, struct err *err);
/* Before Node.spec.podCIDR is known a demo uses the config's; the address of the bridge: "10.244.0.1". */
const char *network_gateway(const struct network *n);
const char *network_bridge(const struct network *n);
/* Connect the network namespace of process `pid`: eth0 with an address, default route, lo up. Idempotent per id. */
int network_attach(struct network *n, const char *sandbox_id, int pid, char ret_ip[64], struct err *err);
int network_detach(struct network *n, const char *sandbox_id, struct err *err); /* absent: 0 */
/* The address of a sandbox, or NULL. */
const char *network_ip(const struct network *n, const char *sandbox_id);
/* Connections lie in the queue of one of its servers that has not taken them yet. */
bool network_backlog(const struct network *n, const char *sandbox_id);
/* Give back addresses and links of sandboxes not in the list (after a restart). */
void network_retain(struct network *n, const char *const *ids);
/* Remove what is left of pods, and the bridge with its routes; the pods must be gone. What else was changed (sysctls)
 * stands in the journal: journal_undo_all() with network_undo(). */
int network_stop(struct network *n, struct err *err);
/* A journal_undo_fn for LINK and ROUTE, also without a running network. */
int network_undo(void *arg, enum journal_kind kind, const char *what, const char *value, struct err *err);
/* Without a running network: end the links of all pods that DIR (config.dir) has leases of. The kernel ends them with
 * their namespaces too, but only some time after. */
int network_forget(const char *dir, struct err *err);
void network_free(struct network *n); /* leaves the host as it is (upgrade) */

#endif
