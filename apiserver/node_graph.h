/* Which nodes may see what: from every pod that is bound to a node, edges to what it refers to.
 *
 * Kept current by the pods' events; the pods there are at start are read and looked at in small portions beside the
 * server's work. Until that is over a "no" is not final: node_graph_wait(). Lives as long as its server.
 * Source: kubernetes, plugin/pkg/auth/authorizer/node. */
#ifndef MINI_APISERVER_NODE_GRAPH_H
#define MINI_APISERVER_NODE_GRAPH_H

#include "apiserver/request.h"

struct node_graph;
enum node_edge { EDGE_SECRET, EDGE_CONFIGMAP, EDGE_ACCOUNT, EDGE_CLAIM, EDGE_COUNT };

struct node_graph *node_graph_new(struct apiserver *a);
void node_graph_free(struct node_graph *g); /* not while it is busy */
/* Begin to read the pods there are; their events are already coming. */
void node_graph_start(struct node_graph *g);
/* Something submitted has not come back. */
bool node_graph_busy(const struct node_graph *g);

/* A pod as of revision rev; cur NULL: deleted. `rest` is "ns/name". */
void node_graph_observe(struct node_graph *g, struct resource *pods, const char *rest, struct blob *cur, uint64_t rev);

/* Does a pod of this node refer to ns/name? */
bool node_graph_has(const struct node_graph *g, enum node_edge kind, const char *node, const char *ns,
		    const char *name);
bool node_graph_has_pod(const struct node_graph *g, const char *node, const char *ns, const char *name);
/* All pods have been looked at: what node_graph_has() says counts. False: the request has been put aside, and its stage
 * is run again then. */
bool node_graph_wait(struct node_graph *g, struct request *r);
/* What a pod refers to first, in words ("secrets"), or NULL when it refers to nothing. */
const char *node_graph_refers(const json_t *pod);

#endif
