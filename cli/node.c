#include "cli/node.h"

#include <dirent.h>
#include <errno.h>

#include "cli/agent.h"
#include "cli/certs.h"
#include "cli/renew.h"
#include "lib/client/client_http.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "lib/core/oci_state.h"
#include "nodeagent/image/image_api.h"
#include "nodeagent/nodeagent.h"
#include "nodeagent/runtime_local.h"
#include "proxy/proxy.h"

/* The longest that pods together may take to end when the node shuts down. */
#define SHUT_DOWN_MAX_S 60

/*
 * Ending, one step after the other, each answered by a callback:
 *
 *   shut down:  pods -> agent -> image commands -> runtime -> rules, network, journal undone -> gone
 *   leave:              agent -> image commands -> runtime -----------------------------------> gone
 */
struct node {
	struct env *env;
	struct journal *journal;
	struct network *network;
	struct client *agent_client, *proxy_client;
	struct renew *renew;
	struct agent_follow *follow;
	char *ca_pem;
	bool over_tls;
	struct image_store *images;
	struct image_api *image_api;
	struct runtime *runtime;
	struct dataplane *dataplane;
	struct proxy *proxy;
	struct nodeagent *agent;
	bool undo;
	void (*done)(void *);
	void *arg;
};

/* ---- paths ---- */

/* Programs that came with this one: in its own folder, else where `make install` puts them. */
static char *companion(const char *name, const char *installed)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = 0;
		*strrchr(self, '/') = 0;
		_cleanup_free_ char *beside = xasprintf("%s/%s", self, name);
		if (access(beside, X_OK) == 0)
			return STEAL(beside);
		return xasprintf("%s/%s", self, installed);
	}
	return xstrdup(name);
}

static char *cgroup_root(const struct options *o)
{
	return *o->instance ? xasprintf("/mini-%s/kubepods", o->instance) : xstrdup("/kubepods");
}

static char *cluster_dns(const char *service_cidr)
{
	unsigned a, b, c, d;
	if (sscanf(service_cidr, "%u.%u.%u.%u/", &a, &b, &c, &d) != 4)
		return NULL;
	return xasprintf("%u.%u.%u.%u", a, b, c, d + 10);
}

/* The /24 of a single node: the first of the cluster's range. A demo is its only node; the controller allocates the same. */
static char *first_pod_cidr(const char *cluster_cidr)
{
	unsigned a, b, c, d, prefix;
	if (sscanf(cluster_cidr, "%u.%u.%u.%u/%u", &a, &b, &c, &d, &prefix) != 5)
		return xstrdup(cluster_cidr);
	return xasprintf("%u.%u.%u.%u/%u", a, b, c, d, MAX(prefix, 24u));
}

int node_network(struct env *env, const struct options *o, struct journal *j, struct network **ret, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/network", o->dir), *pods = first_pod_cidr(o->cluster_cidr);
	struct network_config c = {.dir = dir,
				   .instance = o->instance,
				   .pod_cidr = pods,
				   .cluster_cidr = o->cluster_cidr,
				   .service_cidr = o->service_cidr,
				   .journal = j};
	return network_start(env, &c, ret, err);
}

/* ---- start ---- */

static void ask_proxy(void *ctx, const char *pod_ns, const char *pod_name, const char *pod_ip, void (*done)(void *arg),
		      void *arg)
{
	(void)pod_ns;
	(void)pod_name;
	struct node *n = ctx;
	proxy_when_gone(n->proxy, pod_ip, done, arg);
}

static char **images_in_use(void *arg)
{
	struct node *n = arg;
	return n->runtime ? runtime_local_images(n->runtime) : NULL;
}

static int start_images(struct node *n, uv_loop_t *loop, const struct options *o, struct err *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/images", o->dir), *run = xasprintf("%s/run", o->dir),
			    *socket = xasprintf("%s/run/node.sock", o->dir);
	int r = image_store_open(dir, &n->images, err);
	if (r == 0)
		r = mkdir_p(run, 0700, err);
	if (r < 0)
		return r;
	struct image_api_config c = {.store = n->images, .socket_path = socket, .in_use = images_in_use, .arg = n};
	return image_api_new(n->env, loop, &c, &n->image_api, err);
}

static int start_runtime(struct node *n, uv_loop_t *loop, const struct options *o, struct err *err)
{
	_cleanup_free_ char *minirun = companion("minirun", "minirun"),
			    *pause = companion("pause", "../libexec/mini/pause"),
			    *parent = xasprintf("/mini-%s", o->instance),
			    *shims = *o->instance ? xasprintf("%s/shims", parent) : xstrdup("/mini-shims");
	struct runtime_local_config c = {.dir = o->dir,
					 .minirun_path = minirun,
					 .pause_path = pause,
					 .images = n->images,
					 .cgroup_shims = shims,
					 .journal = n->journal};
	/* The instance's own group holds the pods' and the shims': journalled first, so it is removed last. */
	int r = *o->instance ? journal_add(n->journal, JOURNAL_CGROUP, parent, NULL, err) : 0;
	return r < 0 ? r : runtime_local_new(n->env, loop, &c, &n->runtime, err);
}

static int start_proxy(struct node *n, const struct node_config *c, struct err *err)
{
	struct dataplane_config dc = {.instance = c->options->instance,
				      .cluster_cidr = c->options->cluster_cidr,
				      .service_cidr = c->options->service_cidr,
				      .bridge = network_bridge(n->network),
				      .journal = n->journal};
	int r = dataplane_iptables_new(n->env, &dc, &n->dataplane, err);
	if (r == 0)
		r = n->dataplane->ops->start(n->dataplane, err);
	if (r < 0)
		return r;
	n->proxy = proxy_new(n->proxy_client, c->node_name, n->dataplane);
	proxy_start(n->proxy);
	return 0;
}

/* New certificates: for the connections to come, of the node API and of the clients. */
static void on_renewed(void *arg, const struct pki_pair *now)
{
	struct node *n = arg;
	struct tls_context *tls = NULL;
	_cleanup_err_ struct err err = ERR_INIT;
	const struct pki_pair *s = &now[RENEWED_NODE_SERVING], *c = &now[RENEWED_NODE_CLIENT],
			      *p = &now[RENEWED_NODE_PROXY];
	int r = tls_server_context(s->cert_pem, s->key_pem, n->ca_pem, &tls, &err);
	if (r == 0)
		nodeagent_set_tls(n->agent, tls);
	if (r == 0 && n->over_tls)
		r = client_http_set_cert(n->agent_client, c->cert_pem, c->key_pem, &err);
	if (r == 0 && n->over_tls)
		r = client_http_set_cert(n->proxy_client, p->cert_pem, p->key_pem, &err);
	if (r == 0)
		log_info("node", "the node's certificates are new");
	else
		log_error("node", "the node's new certificates are not in use: %s", err.message);
	tls_context_unref(tls);
}

static int start_agent(struct node *n, uv_loop_t *loop, const struct node_config *c, struct err *err)
{
	const char *const names[] = {c->node_name, c->node_ip, "localhost", "127.0.0.1", NULL};
	struct pki_pair ca = {0}, serving = {0}, client = {0}, proxy = {0};
	struct tls_context *tls = NULL;
	_cleanup_free_ char *root = cgroup_root(c->options), *dns = cluster_dns(c->options->service_cidr);
	int r = certs_node(c->options->dir, c->node_name, names, &ca, &serving, &client, &proxy, err);
	if (r == 0)
		r = tls_server_context(serving.cert_pem, serving.key_pem, ca.cert_pem, &tls, err);
	if (r == 0) {
		struct nodeagent_config ac = {.node_name = c->node_name,
					      .node_ip = c->node_ip,
					      .dir = c->options->dir,
					      .cgroup_root = root,
					      .client = n->agent_client,
					      .runtime = n->runtime,
					      .network = n->network,
					      .journal = n->journal,
					      .cluster_dns = dns,
					      .ca_pem = ca.cert_pem,
					      .serving_tls = tls,
					      .listen_host = c->listen_host,
					      .listen_port = c->options->node_port,
					      .endpoints_gone = ask_proxy,
					      .endpoints_gone_ctx = n};
		r = nodeagent_new(n->env, loop, &ac, &n->agent, err);
	}
	if (r == 0) {
		const struct pki_pair pairs[] = {serving, client, proxy};
		nodeagent_start(n->agent);
		n->ca_pem = xstrdup(ca.cert_pem);
		n->renew = renew_node(n->env, c->options->dir, c->node_name, names, pairs,
				      n->over_tls ? n->agent_client : NULL, c->node_ip, on_renewed, n);
		if (n->over_tls)
			n->follow =
				agent_follow_new(n->env, c->options->dir, c->first_server, c->servers, n->agent_client);
	}
	tls_context_unref(tls);
	pki_pair_done(&ca);
	pki_pair_done(&serving);
	pki_pair_done(&client);
	pki_pair_done(&proxy);
	return r;
}

static void on_aborted(void *arg)
{
	*(bool *)arg = true;
}

int node_start(struct env *env, uv_loop_t *loop, const struct node_config *c, struct node **ret, struct err *err)
{
	struct node *n = NEW(struct node);
	n->env = env;
	n->journal = c->journal;
	n->network = c->network;
	n->agent_client = c->agent_client;
	n->proxy_client = c->proxy_client;
	n->over_tls = c->servers != NULL;
	int r = start_images(n, loop, c->options, err);
	if (r == 0)
		r = start_runtime(n, loop, c->options, err);
	if (r == 0)
		r = start_proxy(n, c, err);
	if (r == 0)
		r = start_agent(n, loop, c, err);
	if (r < 0) {
		bool gone = false;
		n->network = NULL;
		n->agent_client = n->proxy_client = NULL;
		node_leave(n, on_aborted, &gone);
		while (!gone)
			uv_run(loop, UV_RUN_ONCE);
		return r;
	}
	*ret = n;
	return 0;
}

/* ---- end ---- */

static void undo_host(struct node *n)
{
	struct err err = ERR_INIT;
	if (n->dataplane && n->dataplane->ops->cleanup(n->dataplane, &err) < 0)
		log_error("node", "rules left behind: %s", err.message);
	if (n->network && network_stop(n->network, &err) < 0)
		log_error("node", "network left behind: %s", err.message);
}

static void finish(struct node *n)
{
	/* The proxy first: a rule set while cleaning up would stay. */
	proxy_free(n->proxy);
	if (n->undo)
		undo_host(n);
	if (n->dataplane)
		n->dataplane->ops->free(n->dataplane);
	network_free(n->network);
	image_store_close(n->images);
	client_free(n->agent_client);
	client_free(n->proxy_client);
	void (*done)(void *) = n->done;
	void *arg = n->arg;
	free(n->ca_pem);
	free(n);
	done(arg);
}

static void on_runtime_closed(void *arg)
{
	finish(arg);
}

static void on_images_closed(void *arg)
{
	struct node *n = arg;
	if (n->runtime)
		n->runtime->ops->close(n->runtime, on_runtime_closed, n);
	else
		finish(n);
}

static void on_agent_closed(void *arg)
{
	struct node *n = arg;
	if (n->image_api)
		image_api_close(n->image_api, on_images_closed, n);
	else
		on_images_closed(n);
}

static void close_agent(void *arg)
{
	struct node *n = arg;
	renew_free(STEAL(n->renew));
	agent_follow_free(STEAL(n->follow));
	if (n->agent)
		nodeagent_close(n->agent, on_agent_closed, n);
	else
		on_agent_closed(n);
}

void node_shut_down(struct node *n, void (*done)(void *arg), void *arg)
{
	n->undo = true;
	n->done = done;
	n->arg = arg;
	nodeagent_stop_pods(n->agent, SHUT_DOWN_MAX_S, close_agent, n);
}

void node_leave(struct node *n, void (*done)(void *arg), void *arg)
{
	n->done = done;
	n->arg = arg;
	close_agent(n);
}

static int undo_entry(void *arg, enum journal_kind kind, const char *what, const char *value, struct err *err)
{
	if (kind == JOURNAL_RULES)
		return dataplane_iptables_cleanup(err);
	return network_undo(arg, kind, what, value, err);
}

int node_undo(struct journal *j, struct err *err)
{
	return journal_undo_all(j, undo_entry, NULL, err);
}

/* End one container for good; its shim sees it and goes. */
static int delete_container(const char *minirun, const char *root, const char *id, struct err *err)
{
	const char *const argv[] = {minirun, "--root", root, "delete", "--force", id, NULL};
	_cleanup_buf_ struct buf complaint = BUF_INIT;
	int status, r = proc_run(argv, NULL, NULL, &complaint, &status, err);
	if (r < 0)
		return r;
	return status == 0 ? 0 : err_set(err, -EIO, "%s: %.300s", id, buf_str(&complaint));
}

static int delete_containers(const struct options *o, struct err *err)
{
	_cleanup_free_ char *minirun = companion("minirun", "minirun"), *root = xasprintf("%s/run/containers", o->dir);
	DIR *d = opendir(root);
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, "open %s", root);
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));)
		if (oci_id_valid(e->d_name))
			r = delete_container(minirun, root, e->d_name, err);
	closedir(d);
	return r;
}

int node_reset(const struct options *o, struct journal *j, struct err *err)
{
	_cleanup_free_ char *leases = xasprintf("%s/network", o->dir);
	int r = delete_containers(o, err);
	if (r == 0)
		r = network_forget(leases, err);
	return r < 0 ? r : node_undo(j, err);
}
