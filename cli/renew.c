#include "cli/renew.h"

#include "lib/core/log.h"

/* What a look needs, owned by the renewal: the pool may still use it when the process has let go. */
struct renew_ctx {
	char *dir, *node_name; /* or the member's name */
	char **names;
};

static void free_ctx(void *p)
{
	struct renew_ctx *x = p;
	for (char **n = x->names; *n; n++)
		free(*n);
	free(x->names);
	free(x->dir);
	free(x->node_name);
	free(x);
}

static struct renew_ctx *make_ctx(const char *dir, const char *node_name, const char *const *names)
{
	struct renew_ctx *x = NEW(struct renew_ctx);
	size_t n = 0;
	while (names[n])
		n++;
	x->dir = xstrdup(dir);
	x->node_name = node_name ? xstrdup(node_name) : NULL;
	x->names = NEW_N(char *, n + 1);
	for (size_t i = 0; i < n; i++)
		x->names[i] = xstrdup(names[i]);
	return x;
}

static int load_server(void *ctx, struct pki_pair *ret, struct err *err)
{
	struct renew_ctx *x = ctx;
	struct certs c;
	int r = certs_server(x->dir, (const char *const *)x->names, &c, err);
	if (r < 0)
		return r;
	ret[RENEWED_APISERVER] = c.apiserver;
	ret[RENEWED_KUBELET_CLIENT] = c.kubelet_client;
	ret[RENEWED_ADMIN] = c.admin;
	c.apiserver = c.kubelet_client = c.admin = (struct pki_pair){0};
	certs_done(&c);
	return 0;
}

static int load_node(void *ctx, struct pki_pair *ret, struct err *err)
{
	struct renew_ctx *x = ctx;
	struct pki_pair ca = {0};
	int r = certs_node(x->dir, x->node_name, (const char *const *)x->names, &ca, &ret[RENEWED_NODE_SERVING],
			   &ret[RENEWED_NODE_CLIENT], &ret[RENEWED_NODE_PROXY], err);
	pki_pair_done(&ca);
	return r;
}

static int load_member(void *ctx, struct pki_pair *ret, struct err *err)
{
	struct renew_ctx *x = ctx;
	return certs_member(x->dir, x->node_name, &ret[RENEWED_MEMBER_CA], &ret[RENEWED_MEMBER], err);
}

static void failed(void *arg, const struct err *err)
{
	(void)arg;
	log_warn("minid", "certificates cannot be looked at or renewed: %s", err->message);
}

struct renewal *renew_server(struct env *env, const char *dir, const char *const *names, const struct certs *current,
			     void (*renewed)(void *arg, const struct pki_pair *now), void *arg)
{
	static struct renewal_ops ops = {.load = load_server, .failed = failed, .free_ctx = free_ctx};
	const struct pki_pair pairs[] = {current->apiserver, current->kubelet_client, current->admin};
	ops.renewed = renewed;
	return renewal_new(env, &ops, make_ctx(dir, NULL, names), pairs, ARRAY_LEN(pairs), arg);
}

struct renewal *renew_node(struct env *env, const char *dir, const char *node_name, const char *const *names,
			   const struct pki_pair *current, void (*renewed)(void *arg, const struct pki_pair *now),
			   void *arg)
{
	static struct renewal_ops ops = {.load = load_node, .failed = failed, .free_ctx = free_ctx};
	ops.renewed = renewed;
	return renewal_new(env, &ops, make_ctx(dir, node_name, names), current, 3, arg);
}

struct renewal *renew_member(struct env *env, const char *dir, const char *name, const struct pki_pair *current,
			     void (*renewed)(void *arg, const struct pki_pair *now), void *arg)
{
	static struct renewal_ops ops = {.load = load_member, .failed = failed, .free_ctx = free_ctx};
	static const char *const no_names[] = {NULL};
	ops.renewed = renewed;
	return renewal_new(env, &ops, make_ctx(dir, name, no_names), current, 2, arg);
}
