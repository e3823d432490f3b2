/* The node half of minid: images, network, runtime, agent and proxy in one process on one loop. */
#ifndef MINI_CLI_NODE_H
#define MINI_CLI_NODE_H

#include <uv.h>

#include "cli/options.h"
#include "lib/client/client.h"
#include "lib/client/servers.h"
#include "lib/core/journal.h"
#include "nodeagent/network/network.h"

struct node;
struct node_config {
	const struct options *options;
	struct journal *journal;
	struct network *network; /* made by the caller (the control plane may need its addresses): owned from here on */
	struct client *agent_client; /* as system:node:NAME; owned */
	struct client *proxy_client; /* as system:kube-proxy; owned */
	struct servers *servers;     /* of both clients, which have certificates of this node's; NULL: in process */
	const char *first_server;    /* asked before all others; NULL: none in particular */
	const char *node_name, *node_ip, *listen_host;
};

/* Is this host able to run containers? One line that says what is missing and what to do. */
int node_preflight(struct err *err);
/* The network of this node, journalled. */
int node_network(struct env *env, const struct options *o, struct journal *j, struct network **ret, struct err *err);
/* On failure the clients and the network are left to the caller. */
int node_start(struct env *env, uv_loop_t *loop, const struct node_config *config, struct node **ret, struct err *err);
/* Like a reboot: pods stopped gracefully, then everything on the host undone. */
void node_shut_down(struct node *n, void (*done)(void *arg), void *arg);
/* Let go: containers, network and rules stay (an upgrade). */
void node_leave(struct node *n, void (*done)(void *arg), void *arg);
/* Undo all that the journal holds: rules, routes, links, sysctls, mounts, cgroups. Blocking. */
int node_undo(struct journal *j, struct err *err);
/* End and forget what an earlier run left: containers, then all of the journal (--reset). Blocking. */
int node_reset(const struct options *o, struct journal *j, struct err *err);

#endif
