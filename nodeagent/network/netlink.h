/* rtnetlink, as much of it as pod networking needs: links, addresses, routes, each one request with its answer.
 *
 * A socket belongs to the network namespace it was opened in. Requests block for the kernel's answer (tens of
 * microseconds). Source: rtnetlink(7), linux/rtnetlink.h.
 */
#ifndef MINI_NODEAGENT_NETWORK_NETLINK_H
#define MINI_NODEAGENT_NETWORK_NETLINK_H

#include <netinet/in.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

struct netlink {
	int fd; /* -1: closed */
	uint32_t seq;
};

int netlink_open(struct netlink *nl, struct err *err);
/* The same inside the network namespace of a process; the calling thread is back in its own on return. */
int netlink_open_of(struct netlink *nl, int pid, struct err *err);
void netlink_close(struct netlink *nl);

/* Interface index, or -ENODEV. */
int netlink_link_index(struct netlink *nl, const char *name, struct err *err);
/* A bridge with this MAC. Left without, it takes its ports' lowest, another whenever they change. Exists: 0, MAC set. */
int netlink_bridge_add(struct netlink *nl, const char *name, const uint8_t mac[6], struct err *err);
/* A veth pair: `name` here, in the bridge with hairpin, and `peer` with this MAC in the namespace of process pid. */
int netlink_veth_add(struct netlink *nl, const char *name, const char *peer, const uint8_t mac[6], int pid,
		     int bridge_index, struct err *err);
int netlink_link_up(struct netlink *nl, int index, struct err *err);
int netlink_link_del(struct netlink *nl, const char *name, struct err *err); /* absent: 0 */
int netlink_addr_add(struct netlink *nl, int index, struct in_addr addr, unsigned prefix,
		     struct err *err); /* exists: 0 */

struct netlink_route {
	struct in_addr dst;
	unsigned prefix;
	struct in_addr gateway; /* 0: on link */
	int index;              /* outgoing interface */
	uint32_t table;
};
int netlink_route_add(struct netlink *nl, const struct netlink_route *r, struct err *err); /* exists: replaced */
/* All IPv4 routes of the main table. Fresh array; caller frees. */
int netlink_route_list(struct netlink *nl, struct netlink_route **ret, size_t *ret_n, struct err *err);

#endif
