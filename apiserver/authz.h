/* Who may do what: the decision, and upstream's sentence when it is no.
 *
 * system:masters may do everything. Nodes may do what their pods need (node_authz.h). Else the RBAC rules decide (rbac.h).
 */
#ifndef MINI_APISERVER_AUTHZ_H
#define MINI_APISERVER_AUTHZ_H

#include "apiserver/request.h"

struct authz_query {
	const char *verb;
	const char *path; /* non-resource when not NULL */
	const char *group, *resource, *subresource, *ns, *name;
	const struct field_selector *fields; /* of a list or watch; may be NULL */
};

bool authz_allowed(struct apiserver *a, const struct user *u, const struct authz_query *q);
/* Fills err with the Forbidden Status. Returns its code. */
int authz_forbidden(const struct user *u, const struct authz_query *q, struct err *err);
/* The stage. */
int authz_request(struct request *r);

#endif
