/* Make the kernel say what this service map says. Seam 5. iptables first; IPVS and nftables later.
 *
 * The proxy (proxy.c) turns Services and EndpointSlices into a service map, deterministic in order, and hands the whole
 * of it to sync(); the dataplane finds the difference itself and applies it atomically. done(err) when the kernel has
 * it. The map is borrowed for the call only. One sync at a time; the proxy coalesces.
 */
#ifndef MINI_PROXY_DATAPLANE_H
#define MINI_PROXY_DATAPLANE_H

#include "lib/core/env.h"
#include "lib/core/err.h"

struct proxy_endpoint {
	const char *ip;
	uint16_t port;
	bool local; /* on this node */
	bool ready, serving, terminating;
};
enum proxy_proto { PROXY_TCP, PROXY_UDP, PROXY_SCTP };
struct proxy_service_port {
	const char *ns, *name, *port_name; /* "ns/name:port_name" is upstream's chain-hash input, see chain names */
	enum proxy_proto proto;
	const char *cluster_ip;          /* NULL: headless or ExternalName are not in the map at all */
	uint16_t port, node_port;        /* node_port 0: none */
	const char *const *external_ips; /* and load balancer ingress IPs; NULL-terminated */
	bool session_affinity;
	unsigned affinity_timeout_s;
	bool external_local, internal_local;    /* traffic policies */
	const struct proxy_endpoint *endpoints; /* usable ones: ready, or serving+terminating if none is ready */
	size_t n_endpoints;
};
struct proxy_map {
	const struct proxy_service_port *ports;
	size_t n_ports;
};
struct dataplane_config {
	const char *instance;     /* "" or a short id for names the kernel shares */
	const char *cluster_cidr; /* pods; traffic from elsewhere to a cluster IP is masqueraded */
	const char *service_cidr;
	const char *bridge; /* mini's own */
	struct journal *journal;
};
struct dataplane;
struct dataplane_ops {
	/* Foreign KUBE-* chains at start: -EEXIST and a message that says whose and what to do. */
	int (*start)(struct dataplane *, struct err *err);
	void (*sync)(struct dataplane *, const struct proxy_map *, void (*done)(void *arg, const struct err *err),
		     void *arg);
	int (*cleanup)(struct dataplane *, struct err *err); /* blocking: remove every rule and chain of ours */
	void (*free)(struct dataplane *);                    /* leaves the rules */
};
struct dataplane {
	const struct dataplane_ops *ops;
};
/* Remove every KUBE-* chain and the jumps to them, also without a running proxy (a crash's leftovers). Blocking. */
int dataplane_iptables_cleanup(struct err *err);
int dataplane_iptables_new(struct env *env, const struct dataplane_config *config, struct dataplane **ret,
			   struct err *err);

#endif
