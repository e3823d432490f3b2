#include "apiserver/authz.h"

#include "apiserver/node_authz.h"
#include "apiserver/node_graph.h"
#include "apiserver/rbac.h"

static bool decide(struct apiserver *a, const struct user *u, const struct authz_query *q, char why[NODE_AUTHZ_WHY])
{
	const char *node = node_of_user(u);
	why[0] = 0;
	return user_in_group(u, "system:masters") || (node && node_authz_allowed(a, node, q, why)) ||
	       rbac_allowed(a->rbac, u, q);
}

bool authz_allowed(struct apiserver *a, const struct user *u, const struct authz_query *q)
{
	char why[NODE_AUTHZ_WHY];
	return decide(a, u, q, why);
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

/* more: what else there is to say, or "". */
static int forbidden(const struct user *u, const struct authz_query *q, const char *more, struct err *err)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	say_cannot(u, q, &why);
	if (*more)
		buf_addf(&why, ": %s", more);
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

int authz_forbidden(const struct user *u, const struct authz_query *q, struct err *err)
{
	return forbidden(u, q, "", err);
}

static const char *method_verb(const char *method, char ret[16])
{
	size_t i = 0;
	for (; method[i] && i < 15; i++)
		ret[i] = (char)(method[i] >= 'A' && method[i] <= 'Z' ? method[i] + 32 : method[i]);
	ret[i] = 0;
	return ret;
}

static void field_selector_freep(struct field_selector **s)
{
	field_selector_free(*s);
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
	_cleanup_(field_selector_freep) struct field_selector *fields = NULL;
	if ((r->verb == V_LIST || r->verb == V_WATCH) && !str_empty(r->options.field_selector) &&
	    field_selector_parse(r->options.field_selector, &fields, NULL) == 0) {
		const char *name = field_selector_requires(fields, "metadata.name");
		q.fields = fields;
		if (name && !*q.name) /* one object, asked for as a list */
			q.name = name;
	}
	char why[NODE_AUTHZ_WHY];
	if (decide(r->server, r->user, &q, why))
		return REQUEST_NEXT;
	if (node_of_user(r->user) && node_authz_depends(&q) && !node_graph_wait(r->server->nodes, r))
		return REQUEST_WAIT;
	return forbidden(r->user, &q, why, &r->err);
}
