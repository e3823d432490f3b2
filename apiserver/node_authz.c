#include "apiserver/node_authz.h"

#include "apiserver/bootstrap.h"
#include "apiserver/node_graph.h"

#define LEASE_NS "kube-node-lease"
#define MIRROR   "kubernetes.io/config.mirror"

const char *node_of_user(const struct user *u)
{
	static const char prefix[] = "system:node:";
	return str_starts(u->name, prefix) && user_in_group(u, "system:nodes") ? u->name + strlen(prefix) : NULL;
}

/* ---- the authorizer ---- */

struct decision {
	struct apiserver *server;
	const char *node;
	const struct authz_query *q;
	char *why;
};

static bool no(struct decision *d, const char *why)
{
	snprintf(d->why, NODE_AUTHZ_WHY, "%s", why);
	return false;
}

/* Is `word` one of the space-separated words? */
static bool one_of(const char *words, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = words; n && (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
			return true;
	return false;
}

static bool unrelated(struct decision *d)
{
	snprintf(d->why, NODE_AUTHZ_WHY, "no relationship found between node '%.80s' and this object", d->node);
	return false;
}

static bool related(struct decision *d, enum node_edge kind)
{
	if (!*d->q->name)
		return no(d, "No Object name found");
	return node_graph_has(d->server->nodes, kind, d->node, d->q->ns, d->q->name) || unrelated(d);
}

static bool read_object(struct decision *d)
{
	if (!one_of("get list watch", d->q->verb))
		return no(d, "can only read resources of this type");
	if (*d->q->subresource)
		return no(d, "cannot read subresource");
	if (!*d->q->ns)
		return no(d, "can only read namespaced object of this type");
	return related(d, streq(d->q->resource, "secrets") ? EDGE_SECRET : EDGE_CONFIGMAP);
}

static bool get_claim(struct decision *d)
{
	if (!streq(d->q->verb, "get"))
		return no(d, "can only get individual resources of this type");
	if (*d->q->subresource)
		return no(d, "cannot get subresource");
	return related(d, EDGE_CLAIM);
}

static bool create_token(struct decision *d)
{
	if (!streq(d->q->verb, "create") || !*d->q->name)
		return no(d, "can only create tokens for individual service accounts");
	if (!streq(d->q->subresource, "token"))
		return no(d, "can only create token subresource of serviceaccount");
	return related(d, EDGE_ACCOUNT);
}

static bool use_lease(struct decision *d)
{
	if (!one_of("get create update patch delete", d->q->verb))
		return no(d, "can only get, create, update, patch, or delete a node lease");
	if (!streq(d->q->ns, LEASE_NS))
		return no(d, "can only access leases in the \"" LEASE_NS "\" system namespace");
	/* a create does not tell the name yet: the restriction looks at it */
	if (!streq(d->q->verb, "create") && !streq(d->q->name, d->node))
		return no(d, "can only access node lease with the same name as the requesting node");
	return true;
}

static bool use_node(struct decision *d)
{
	const char *verb = d->q->verb, *sub = d->q->subresource;
	if (streq(sub, "status"))
		return one_of("update patch", verb);
	if (*sub)
		return false;
	if (one_of("create update patch", verb))
		return true;
	if (!one_of("get list watch", verb))
		return false;
	if (streq(d->q->name, d->node))
		return true;
	if (!*d->q->name)
		snprintf(d->why, NODE_AUTHZ_WHY, "node '%.60s' cannot read all nodes, only its own Node object",
			 d->node);
	else
		snprintf(d->why, NODE_AUTHZ_WHY, "node '%.60s' cannot read '%.60s', only its own Node object", d->node,
			 d->q->name);
	return false;
}

static bool read_pods(struct decision *d)
{
	const char *on = d->q->fields ? field_selector_requires(d->q->fields, "spec.nodeName") : NULL;
	if (!streq(d->q->verb, "get") && streq(on, d->node))
		return true;
	if (!*d->q->name)
		return no(d, "can only list/watch pods with spec.nodeName field selector");
	return node_graph_has_pod(d->server->nodes, d->node, d->q->ns, d->q->name) || unrelated(d);
}

static bool use_pod(struct decision *d)
{
	const char *verb = d->q->verb, *sub = d->q->subresource;
	if (streq(sub, "status"))
		return one_of("update patch", verb);
	if (streq(sub, "eviction"))
		return streq(verb, "create");
	if (*sub)
		return false;
	if (one_of("create delete", verb))
		return true;
	return one_of("get list watch", verb) && read_pods(d);
}

/* What every node may do, whatever it runs: the role system:node as it is built in. */
static bool by_rules(const struct authz_query *q)
{
	const struct bootstrap_role *role = bootstrap_roles;
	char resource[300];
	if (q->path)
		return false;
	snprintf(resource, sizeof(resource), "%s%s%s", q->resource, *q->subresource ? "/" : "", q->subresource);
	while (role->name && !streq(role->name, "system:node"))
		role++;
	for (const struct bootstrap_rule *rule = role->rules; rule && rule->verbs; rule++)
		if (rule->groups && one_of(rule->verbs, q->verb) &&
		    one_of(rule->groups, *q->group ? q->group : "core") && one_of(rule->resources, resource))
			return true;
	return false;
}

static const struct {
	const char *group, *resource;
	bool (*allowed)(struct decision *);
	bool by_pods; /* the answer depends on which pods run where */
} divided[] = {
	{"", "secrets", read_object, true},
	{"", "configmaps", read_object, true},
	{"", "persistentvolumeclaims", get_claim, true},
	{"", "serviceaccounts", create_token, true},
	{"", "pods", use_pod, true},
	{"", "nodes", use_node, false},
	{"coordination.k8s.io", "leases", use_lease, false},
};

bool node_authz_allowed(struct apiserver *a, const char *node, const struct authz_query *q, char why[NODE_AUTHZ_WHY])
{
	struct decision d = {a, node, q, why};
	why[0] = 0;
	for (unsigned i = 0; i < ARRAY_LEN(divided) && !q->path; i++)
		if (streq(divided[i].group, q->group) && streq(divided[i].resource, q->resource))
			return divided[i].allowed(&d);
	return by_rules(q);
}

bool node_authz_depends(const struct authz_query *q)
{
	for (unsigned i = 0; i < ARRAY_LEN(divided) && !q->path && *q->name; i++)
		if (streq(divided[i].group, q->group) && streq(divided[i].resource, q->resource))
			return divided[i].by_pods;
	return false;
}

/* ---- NodeRestriction ---- */

/* Empty and absent are the same. */
static bool same(const json_t *a, const json_t *b)
{
	bool no_a = json_array_size(a) + json_object_size(a) == 0, no_b = json_array_size(b) + json_object_size(b) == 0;
	return no_a || no_b ? no_a && no_b : json_equal(a, b);
}

static const char *bound_to(const json_t *pod)
{
	return json_get_str(json_object_get(pod, "spec"), "nodeName", "");
}

static int restrict_owner(struct request *r, const char *node, const json_t *pod)
{
	const json_t *owners = json_path(pod, "metadata", "ownerReferences", NULL);
	const json_t *o = json_array_get(owners, 0);
	if (json_array_size(owners) > 1)
		return fail_forbidden(r, "node \"%s\" can only create pods with a single owner reference set to itself",
				      node);
	if (!o || !streq(json_get_str(o, "apiVersion", ""), "v1") || !streq(json_get_str(o, "kind", ""), "Node") ||
	    !streq(json_get_str(o, "name", ""), node))
		return fail_forbidden(r, "node \"%s\" can only create pods with an owner reference set to itself",
				      node);
	if (!json_get_bool(o, "controller", false))
		return fail_forbidden(
			r, "node \"%s\" can only create pods with a controller owner reference set to itself", node);
	if (json_get_bool(o, "blockOwnerDeletion", false))
		return fail_forbidden(r, "node \"%s\" must not set blockOwnerDeletion on an owner reference", node);
	return 0;
}

static int restrict_pod_create(struct request *r, const char *node, const json_t *pod)
{
	if (!meta_annotation(pod, MIRROR))
		return fail_forbidden(
			r, "pod does not have \"" MIRROR "\" annotation, node \"%s\" can only create mirror pods",
			node);
	if (!streq(bound_to(pod), node))
		return fail_forbidden(r, "node \"%s\" can only create pods with spec.nodeName set to itself", node);
	int rc = restrict_owner(r, node, pod);
	if (rc < 0)
		return rc;
	const char *what = node_graph_refers(pod);
	return what ? fail_forbidden(r, "node \"%s\" can not create pods that reference %s", node, what) : 0;
}

static int restrict_pod(struct request *r, const char *node, const json_t *tree, const json_t *old)
{
	const char *sub = r->route.subresource;
	if (streq(sub, "status")) {
		if (!streq(bound_to(old), node))
			return fail_forbidden(
				r, "node \"%s\" can only update pod status for pods with spec.nodeName set to itself",
				node);
		if (!same(json_path(old, "metadata", "labels", NULL), json_path(tree, "metadata", "labels", NULL)))
			return fail_forbidden(r, "node \"%s\" cannot update labels through pod status", node);
		return 0;
	}
	if (streq(sub, "eviction"))
		return streq(bound_to(old), node)
			       ? 0
			       : fail_forbidden(r, "node %s can only evict pods with spec.nodeName set to itself",
						node);
	if (*sub)
		return fail_forbidden(r, "unexpected pod subresource \"%s\", only 'status' and 'eviction' are allowed",
				      sub);
	if (!old)
		return restrict_pod_create(r, node, tree);
	if (tree)
		return fail_forbidden(
			r, "unexpected operation \"UPDATE\", node \"%s\" can only create and delete mirror pods", node);
	return streq(bound_to(old), node)
		       ? 0
		       : fail_forbidden(r, "node \"%s\" can only delete pods with spec.nodeName set to itself", node);
}

static bool in_domain(const char *ns, size_t len, const char *domain)
{
	size_t n = strlen(domain);
	return len >= n && strncmp(ns + len - n, domain, n) == 0 && (len == n || ns[len - n - 1] == '.');
}

/* Labels by which workloads are steered are not a node's to give itself; those a kubelet sets are. */
static bool label_forbidden(const char *key)
{
	static const char kubelet[] =
		"kubernetes.io/hostname topology.kubernetes.io/zone topology.kubernetes.io/region "
		"failure-domain.beta.kubernetes.io/zone failure-domain.beta.kubernetes.io/region "
		"beta.kubernetes.io/instance-type node.kubernetes.io/instance-type kubernetes.io/os kubernetes.io/arch "
		"beta.kubernetes.io/os beta.kubernetes.io/arch";
	const char *slash = strchr(key, '/');
	size_t n = slash ? (size_t)(slash - key) : 0;
	if (!n || (!in_domain(key, n, "kubernetes.io") && !in_domain(key, n, "k8s.io")))
		return false;
	if (in_domain(key, n, "node-restriction.kubernetes.io"))
		return true;
	return !one_of(kubelet, key) && !in_domain(key, n, "kubelet.kubernetes.io") &&
	       !in_domain(key, n, "node.kubernetes.io");
}

/* Forbidden labels of `have` that `other` has not, or has with another value. */
static void changed_labels(const json_t *have, const json_t *other, struct map *out)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)(uintptr_t)have, key, v)
	{
		if (label_forbidden(key) && !json_equal(v, json_object_get(other, key)))
			map_set(out, key, NULL);
	}
}

static int restrict_labels(struct request *r, const char *node, const json_t *tree, const json_t *old)
{
	const json_t *now = json_path(tree, "metadata", "labels", NULL);
	const json_t *was = json_path(old, "metadata", "labels", NULL);
	_cleanup_map_ struct map bad = MAP_INIT;
	changed_labels(now, was, &bad);
	changed_labels(was, now, &bad);
	if (bad.count == 0)
		return 0;
	_cleanup_free_ struct map_entry **sorted = map_sorted(&bad);
	_cleanup_buf_ struct buf names = BUF_INIT;
	for (uint32_t i = 0; i < bad.count; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", sorted[i]->key);
	if (old)
		return fail_forbidden(r, "is not allowed to modify labels: %.500s", buf_str(&names));
	return fail_forbidden(r, "node \"%s\" is not allowed to set the following labels: %.500s", node,
			      buf_str(&names));
}

static int restrict_node(struct request *r, const char *node, const json_t *tree, const json_t *old)
{
	if (!streq(r->route.name, node))
		return fail_forbidden(r, "node \"%s\" is not allowed to modify node \"%s\"", node, r->route.name);
	if (!tree)
		return 0;
	if (old && !same(json_path(tree, "spec", "taints", NULL), json_path(old, "spec", "taints", NULL)))
		return fail_forbidden(r, "node \"%s\" is not allowed to modify taints", node);
	return restrict_labels(r, node, tree, old);
}

static int restrict_lease(struct request *r, const char *node)
{
	if (!streq(r->route.ns, LEASE_NS))
		return fail_forbidden(r, "can only access leases in the \"" LEASE_NS "\" system namespace");
	if (!streq(r->route.name, node))
		return fail_forbidden(r, "can only access node lease with the same name as the requesting node");
	return 0;
}

int node_restriction(struct request *r, const json_t *tree, const json_t *old)
{
	const char *node = node_of_user(r->user);
	if (!node)
		return 0;
	if (streq(r->kind->group, "coordination.k8s.io") && streq(r->kind->plural, "leases"))
		return restrict_lease(r, node);
	if (*r->kind->group)
		return 0;
	if (streq(r->kind->plural, "nodes"))
		return restrict_node(r, node, tree, old);
	return streq(r->kind->plural, "pods") ? restrict_pod(r, node, tree, old) : 0;
}
