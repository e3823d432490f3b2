#include "apiserver/authz.h"

#include "apiserver/rbac.h"

bool authz_allowed(struct apiserver *a, const struct user *u, const struct authz_query *q)
{
	return user_in_group(u, "system:masters") || rbac_allowed(a->rbac, u, q);
}

/* `User "u" cannot get resource "pods/log" in API group "" in the namespace "x"` */
static void say_cannot(const struct user *u, const struct authz_query *q, struct buf *out)
{
	if (q->path) {
		buf_addf(out, "User \"%s\" cannot %s path \"%s\"", u->name, q->verb, q->path);
		return;
	}
	buf_addf(out, "User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\"", u->name, q->verb, q->resource,
		 *q->subresource ? "/" : "", q->subresource, q->group);
	if (*q->ns)
		buf_addf(out, " in the namespace \"%s\"", q->ns);
	else
		buf_adds(out, " at the cluster scope");
}

int authz_forbidden(const struct user *u, const struct authz_query *q, struct err *err)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	say_cannot(u, q, &why);
	if (q->path)
		return err_status(err, ERR_FORBIDDEN, "forbidden: %s", buf_str(&why));
	const char *dot = *q->group ? "." : "";
	if (*q->name)
		err_status(err, ERR_FORBIDDEN, "%s%s%s \"%s\" is forbidden: %s", q->resource, dot, q->group, q->name,
			   buf_str(&why));
	else
		err_status(err, ERR_FORBIDDEN, "%s%s%s is forbidden: %s", q->resource, dot, q->group, buf_str(&why));
	snprintf(err->group, sizeof(err->group), "%s", q->group);
	snprintf(err->kind, sizeof(err->kind), "%s", q->resource);
	snprintf(err->name, sizeof(err->name), "%s", q->name);
	return err->code;
}

static const char *method_verb(const char *method, char ret[16])
{
	size_t i = 0;
	for (; method[i] && i < 15; i++)
		ret[i] = (char)(method[i] >= 'A' && method[i] <= 'Z' ? method[i] + 32 : method[i]);
	ret[i] = 0;
	return ret;
}

int authz_request(struct request *r)
{
	char lower[16];
	struct authz_query q = {.verb = r->verb == V_CONNECT && streq(r->method, "GET") ? "get" : verb_str(r->verb),
				.group = r->route.group,
				.resource = r->route.plural,
				.subresource = r->route.subresource,
				.ns = r->route.ns,
				.name = r->route.name};
	if (!r->route.is_resource) {
		q.path = r->route.path;
		q.verb = method_verb(r->method, lower);
	}
	if (authz_allowed(r->server, r->user, &q))
		return REQUEST_NEXT;
	return authz_forbidden(r->user, &q, &r->err);
}

int authz_node_restriction(struct request *r, const json_t *tree)
{
	static const char prefix[] = "system:node:";
	if (!str_starts(r->user->name, prefix) || !user_in_group(r->user, "system:nodes") || *r->kind->group)
		return 0;
	const char *node = r->user->name + strlen(prefix);
	if (streq(r->kind->plural, "nodes") && !streq(r->route.name, node))
		return fail_forbidden(r, "node \"%s\" is not allowed to modify node \"%s\"", node, r->route.name);
	if (!streq(r->kind->plural, "pods"))
		return 0;
	const char *on = json_get_str(json_object_get(tree, "spec"), "nodeName", "");
	if (streq(on, node))
		return 0;
	return fail_forbidden(r, "node \"%s\" can only update or delete pods with spec.nodeName set to itself", node);
}
