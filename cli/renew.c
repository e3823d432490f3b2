#include "cli/renew.h"

#include <time.h>

#include "apiserver/mini_api.h"
#include "cli/rotate.h"
#include "lib/client/client_http.h"
#include "lib/core/log.h"
#include "lib/net/renew.h"

/* What a look needs, owned by the renewal: the pool may still use it when the process has let go. Where the CA's key is
 * elsewhere, a look writes the answer that has come since the last one, and makes the next request when it is time. */
struct look {
	int (*load)(const struct look *x, struct pki_pair *ret, struct err *err);
	char *dir, *name; /* the node's, or the member's common name */
	char **names;
	const struct rotate_file *files; /* NULL: nobody is asked */
	json_t *answer, *request;
};

struct renew {
	struct renewal *renewal;
	renewed_fn *renewed;
	void *arg;
	struct client *ask;
	json_t *form; /* what a request says besides the signing requests */
	struct client_call *call;
	json_t *answer; /* until the next look */
};

static void look_free(void *p)
{
	struct look *x = p;
	for (char **n = x->names; n && *n; n++)
		free(*n);
	free(x->names);
	free(x->dir);
	free(x->name);
	json_decref(x->answer);
	json_decref(x->request);
	free(x);
}

static struct look *look_new(const char *dir, const char *name, const char *const *names)
{
	struct look *x = NEW(struct look);
	size_t n = 0;
	while (names && names[n])
		n++;
	x->dir = xstrdup(dir);
	x->name = name ? xstrdup(name) : NULL;
	x->names = NEW_N(char *, n + 1);
	for (size_t i = 0; i < n; i++)
		x->names[i] = xstrdup(names[i]);
	return x;
}

/* ---- on the pool ---- */

static int load_server(const struct look *x, struct pki_pair *ret, struct err *err)
{
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

static int load_node(const struct look *x, struct pki_pair *ret, struct err *err)
{
	struct pki_pair ca = {0};
	int r = certs_node(x->dir, x->name, (const char *const *)x->names, &ca, &ret[RENEWED_NODE_SERVING],
			   &ret[RENEWED_NODE_CLIENT], &ret[RENEWED_NODE_PROXY], err);
	pki_pair_done(&ca);
	return r;
}

static int load_member(const struct look *x, struct pki_pair *ret, struct err *err)
{
	return certs_member(x->dir, x->name, &ret[RENEWED_MEMBER_CA], &ret[RENEWED_MEMBER], err);
}

static int load(void *ctx, struct pki_pair *ret, struct err *err)
{
	struct look *x = ctx;
	_cleanup_json_ json_t *answer = STEAL(x->answer), *request = NULL;
	int r = answer ? rotate_take(x->dir, x->files, answer, time(NULL), err) : 0;
	if (r == 0 && x->files && rotate_due(x->dir, x->files, time(NULL))) {
		request = json_object();
		r = rotate_make(x->dir, x->files, request, err);
	}
	if (r == 0)
		r = x->load(x, ret, err);
	if (r == 0)
		x->request = STEAL(request);
	return r;
}

/* ---- on the loop ---- */

static void failed(void *arg, const struct err *err)
{
	(void)arg;
	log_warn("minid", "certificates cannot be looked at or renewed: %s", err->message);
}

static void renewed(void *arg, const struct pki_pair *now)
{
	struct renew *w = arg;
	w->renewed(w->arg, now);
}

static void before(void *arg, void *ctx)
{
	struct renew *w = arg;
	((struct look *)ctx)->answer = STEAL(w->answer);
}

static void on_answer(void *arg, const struct client_response *resp)
{
	struct renew *w = arg;
	w->call = NULL;
	if (resp->err->code) {
		log_warn("minid", "new certificates were asked for in vain: %s", resp->err->message);
		return;
	}
	w->answer = json_incref(resp->tree);
	renewal_look(w->renewal);
}

static void after(void *arg, void *ctx)
{
	struct renew *w = arg;
	_cleanup_json_ json_t *request = STEAL(((struct look *)ctx)->request);
	if (!request || w->call)
		return;
	json_object_update(request, w->form);
	w->call = client_http_ask(w->ask, MINI_PATH "renew", request, on_answer, w);
}

static const struct renewal_ops ops = {
	.load = load, .renewed = renewed, .failed = failed, .free_ctx = look_free, .before = before, .after = after};

static struct renew *start(struct env *env, struct look *x, const struct pki_pair *current, unsigned n,
			   struct client *ask, renewed_fn *fn, void *arg)
{
	struct renew *w = NEW(struct renew);
	w->renewed = fn;
	w->arg = arg;
	w->ask = ask;
	w->form = json_object();
	if (!ask)
		x->files = NULL;
	w->renewal = renewal_new(env, &ops, x, current, n, w);
	return w;
}

struct renew *renew_server(struct env *env, const char *dir, const char *const *names, const struct certs *current,
			   renewed_fn *fn, void *arg)
{
	const struct pki_pair pairs[] = {current->apiserver, current->kubelet_client, current->admin};
	struct look *x = look_new(dir, NULL, names);
	x->load = load_server;
	return start(env, x, pairs, ARRAY_LEN(pairs), NULL, fn, arg);
}

struct renew *renew_node(struct env *env, const char *dir, const char *node_name, const char *const *names,
			 const struct pki_pair *current, struct client *ask, const char *node_ip, renewed_fn *fn,
			 void *arg)
{
	struct look *x = look_new(dir, node_name, names);
	x->load = load_node;
	x->files = rotate_node;
	struct renew *w = start(env, x, current, 3, ask, fn, arg);
	json_put_str(w->form, "name", node_name);
	json_put_str(w->form, "nodeIP", node_ip);
	return w;
}

struct renew *renew_member(struct env *env, const char *dir, const char *name, const struct pki_pair *current,
			   struct client *ask, renewed_fn *fn, void *arg)
{
	struct look *x = look_new(dir, name, NULL);
	x->load = load_member;
	x->files = rotate_member;
	return start(env, x, current, 2, ask, fn, arg);
}

void renew_free(struct renew *w)
{
	if (!w)
		return;
	if (w->call)
		client_cancel(w->ask, w->call);
	renewal_free(w->renewal);
	json_decref(w->form);
	json_decref(w->answer);
	free(w);
}
