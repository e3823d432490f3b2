/* What a node (user system:node:NAME in group system:nodes) may do: upstream's Node authorizer and NodeRestriction.
 *
 * The authorizer grants; what it does not grant, RBAC still may. Secrets, ConfigMaps, claims and tokens only for the pods
 * the node runs (node_graph.h), pods and Nodes only its own, by selector or by name. The restriction is admission: it
 * refuses what a right that was granted must not be used for.
 * Source: kubernetes 1.32, plugin/pkg/auth/authorizer/node and plugin/pkg/admission/noderestriction. */
#ifndef MINI_APISERVER_NODE_AUTHZ_H
#define MINI_APISERVER_NODE_AUTHZ_H

#include "apiserver/authz.h"

#define NODE_AUTHZ_WHY 200

/* NULL: not a node. Borrowed from u. */
const char *node_of_user(const struct user *u);
/* why: filled when the answer is no and there is more to say; "" else. */
bool node_authz_allowed(struct apiserver *a, const char *node, const struct authz_query *q, char why[NODE_AUTHZ_WHY]);
/* The answer depends on which pods run where, and not all have been looked at. */
bool node_authz_depends(const struct authz_query *q);

/* A change is about to be made: old NULL on create, tree NULL on delete. 0 or Forbidden. */
int node_restriction(struct request *r, const json_t *tree, const json_t *old);

#endif
