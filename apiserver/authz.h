/* Who may do what: the decision, and upstream's sentence when it is no.
 *
 * system:masters may do everything. Else the RBAC rules decide (rbac.h). Nodes: instead of upstream's Node authorizer
 * the system:node role is bound to the system:nodes group, and a node's identity may in addition write only the Node
 * and Lease of its own name and pods bound to it (authz_node_restriction, admission-like, in write.c and delete.c).
 */
#ifndef MINI_APISERVER_AUTHZ_H
#define MINI_APISERVER_AUTHZ_H

#include "apiserver/request.h"

struct authz_query {
	const char *verb;
	const char *path; /* non-resource when not NULL */
	const char *group, *resource, *subresource, *ns, *name;
};

bool authz_allowed(struct apiserver *a, const struct user *u, const struct authz_query *q);
/* Fills err with the Forbidden Status. Returns its code. */
int authz_forbidden(const struct user *u, const struct authz_query *q, struct err *err);
/* The stage. */
int authz_request(struct request *r);
/* A node may change only what is its own. 0 or a Forbidden error. */
int authz_node_restriction(struct request *r, const json_t *tree);

#endif
