/* RBAC rules in memory, kept current by watches on the four kinds: compiled once per change, asked for every request.
 *
 * A ClusterRole with an aggregationRule has, besides its own, the rules of all ClusterRoles its selectors match. */
#ifndef MINI_APISERVER_RBAC_H
#define MINI_APISERVER_RBAC_H

#include "apiserver/authz.h"

struct rbac *rbac_new(void);
void rbac_free(struct rbac *r);
/* An object of one of the four kinds was written; tree NULL: deleted. */
void rbac_put(struct rbac *r, const struct kind *k, const char *ns, const char *name, const json_t *tree);
bool rbac_allowed(struct rbac *r, const struct user *u, const struct authz_query *q);
/* All rules that apply to u in ns, as PolicyRules: resource rules and non-resource rules (new references). */
void rbac_rules_of(struct rbac *r, const struct user *u, const char *ns, json_t *ret_resource, json_t *ret_nonresource);
/* No escalation: may the user grant what this (Cluster)Role or binding holds? old: what it was, or NULL. 0 or Forbidden. */
int rbac_may_grant(struct request *r, const json_t *tree, const json_t *old);

#endif
