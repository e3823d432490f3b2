#include "cli/server.h"

#include <errno.h>
#include <sys/stat.h>

#include "cli/certs.h"
#include "controllers/controllers.h"
#include "lib/client/client_http.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "scheduler/scheduler.h"

#define NAMES_MAX 48u

struct server {
	struct env *env;
	uv_loop_t *loop;
	struct certs certs;
	struct store *store;
	struct apiserver *api;
	struct client *controller_client, *scheduler_client;
	struct controllers *controllers;
	struct scheduler *scheduler;
	char *identity, *kubeconfig_path, *cluster_cidr, *url;
	void (*ready)(void *, const struct err *);
	void (*stopped)(void *);
	void *arg, *stopped_arg;
};

struct client *server_client(struct server *s, const char *user, const char *const *groups)
{
	return apiserver_direct_client(s->api, user, groups);
}

/* The first address of the service range: the `kubernetes` service's. */
static char *first_service_ip(const char *cidr)
{
	unsigned a, b, c, d;
	if (sscanf(cidr, "%u.%u.%u.%u/", &a, &b, &c, &d) != 4)
		return xstrdup("10.96.0.1");
	return xasprintf("%u.%u.%u.%u", a, b, c, d + 1);
}

static int load_certs(struct server *s, const struct server_config *c, struct err *err)
{
	static const char *const fixed[] = {"localhost",
					    "127.0.0.1",
					    "kubernetes",
					    "kubernetes.default",
					    "kubernetes.default.svc",
					    "kubernetes.default.svc.cluster.local"};
	const char *names[NAMES_MAX + 1] = {0};
	unsigned n = 0;
	char host[256] = "";
	_cleanup_free_ char *service_ip = first_service_ip(c->options->service_cidr);
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		names[n++] = fixed[i];
	names[n++] = service_ip;
	if (gethostname(host, sizeof(host) - 1) == 0 && *host)
		names[n++] = host;
	for (const char *const *e = c->names; e && *e && n < NAMES_MAX; e++)
		names[n++] = *e;
	return certs_server(c->options->dir, names, &s->certs, err);
}

static int open_store(struct server *s, const struct server_config *c, struct err *err)
{
	struct store_config sc = {.dir = c->options->dir};
	return store_open(s->env, &sc, &s->store, err);
}

static int open_api(struct server *s, const struct server_config *c, struct err *err)
{
	struct apiserver_config ac = {.store = s->store,
				      .service_cidr = c->options->service_cidr,
				      .node_port_min = 30000,
				      .node_port_max = 32767,
				      .ca_pem = s->certs.ca.cert_pem,
				      .sa_key_pem = s->certs.sa_key,
				      .kubelet_client_cert_pem = s->certs.kubelet_client.cert_pem,
				      .kubelet_client_key_pem = s->certs.kubelet_client.key_pem,
				      .advertise_ip = c->advertise_ip,
				      .advertise_port = c->options->port};
	struct tls_context *tls = NULL;
	int r = apiserver_new(s->env, s->loop, &ac, &s->api, err);
	if (r == 0)
		r = tls_server_context(s->certs.apiserver.cert_pem, s->certs.apiserver.key_pem, s->certs.ca.cert_pem,
				       &tls, err);
	for (const char *const *host = c->listen; r == 0 && *host; host++) {
		r = apiserver_listen(s->api, tls, *host, c->options->port, err);
		if (r == -EADDRINUSE)
			err_set(err, r,
				"port %u of %s is taken by another program: stop that one, or choose another with --port",
				c->options->port, *host);
	}
	tls_context_unref(tls);
	return r;
}

static int write_kubeconfig(struct server *s, struct err *err)
{
	_cleanup_free_ char *text = kubeconfig_text("mini", s->url, s->certs.ca.cert_pem, "kubernetes-admin",
						    s->certs.admin.cert_pem, s->certs.admin.key_pem, NULL);
	_cleanup_buf_ struct buf old = BUF_INIT;
	if (file_read(s->kubeconfig_path, 1u << 20, &old, NULL) == 0 && streq(buf_str(&old), text))
		return 0;
	return file_write_atomic(s->kubeconfig_path, text, strlen(text), 0600, err);
}

static void start_reconcilers(struct server *s)
{
	static const char *const none[] = {NULL};
	struct controllers_config cc = {
		.cluster_cidr = s->cluster_cidr, .ca_pem = s->certs.ca.cert_pem, .identity = s->identity};
	s->controller_client = server_client(s, "system:kube-controller-manager", none);
	s->controllers = controllers_new(s->controller_client, &cc);
	controllers_start(s->controllers);
	s->scheduler_client = server_client(s, "system:kube-scheduler", none);
	s->scheduler = scheduler_new(s->scheduler_client, s->identity);
	scheduler_start(s->scheduler);
}

static void on_ready(void *arg, const struct err *err)
{
	struct server *s = arg;
	if (err->code == 0)
		start_reconcilers(s);
	s->ready(s->arg, err);
}

static void server_free(struct server *s)
{
	certs_done(&s->certs);
	free(s->identity);
	free(s->kubeconfig_path);
	free(s->cluster_cidr);
	free(s->url);
	free(s);
}

static void on_store_closed(void *arg)
{
	struct server *s = arg;
	void (*done)(void *) = s->stopped;
	void *done_arg = s->stopped_arg;
	server_free(s);
	done(done_arg);
}

static void on_api_closed(void *arg)
{
	struct server *s = arg;
	if (s->store)
		s->store->engine->close(s->store, on_store_closed, s);
	else
		on_store_closed(s);
}

void server_stop(struct server *s, void (*done)(void *arg), void *arg)
{
	s->stopped = done;
	s->stopped_arg = arg;
	scheduler_free(s->scheduler);
	controllers_free(s->controllers);
	client_free(s->scheduler_client);
	client_free(s->controller_client);
	if (s->api)
		apiserver_close(s->api, on_api_closed, s);
	else
		on_api_closed(s);
}

static void on_aborted(void *arg)
{
	*(bool *)arg = true;
}

int server_start(struct env *env, uv_loop_t *loop, const struct server_config *c,
		 void (*ready)(void *arg, const struct err *err), void *arg, struct server **ret, struct err *err)
{
	struct server *s = NEW(struct server);
	s->env = env;
	s->loop = loop;
	s->ready = ready;
	s->arg = arg;
	s->identity = xstrdup(c->identity);
	s->cluster_cidr = xstrdup(c->options->cluster_cidr);
	s->kubeconfig_path = xasprintf("%s/admin.kubeconfig", c->options->dir);
	s->url = xasprintf("https://%s:%u", c->kubeconfig_host, c->options->port);
	int r = load_certs(s, c, err);
	if (r == 0)
		r = open_store(s, c, err);
	/* Before it answers: whoever finds the port open finds the credentials too. */
	if (r == 0)
		r = write_kubeconfig(s, err);
	if (r == 0)
		r = open_api(s, c, err);
	if (r < 0) {
		bool gone = false;
		server_stop(s, on_aborted, &gone);
		while (!gone)
			uv_run(loop, UV_RUN_ONCE);
		return r;
	}
	apiserver_start(s->api, on_ready, s);
	*ret = s;
	return 0;
}
