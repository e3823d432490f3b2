#include "cli/server.h"

#include <errno.h>
#include <sys/stat.h>

#include "cli/certs.h"
#include "cli/member.h"
#include "cli/renew.h"
#include "cli/waiting.h"
#include "controllers/controllers.h"
#include "lib/client/client_http.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "scheduler/scheduler.h"

#define NAMES_MAX 48u

/* A witness is a member and nothing else: it has no API, no keys and no controllers. */
struct server {
	struct env *env;
	uv_loop_t *loop;
	struct certs certs;
	struct member *member;
	struct renew *renew;
	struct apiserver *api;
	struct client *controller_client, *scheduler_client;
	struct controllers *controllers;
	struct scheduler *scheduler;
	char *kubeconfig_path, *cluster_cidr, *service_cidr, *url;
	uint16_t port;
	void (*ready)(void *, const struct err *);
	void (*failed)(void *, const struct err *);
	void (*stopped)(void *);
	void *arg, *stopped_arg;
	struct env_post witness_ready;
	struct waiting *waiting; /* while the member opens, if that takes long */
};

const char *server_url(const struct server *s)
{
	return s->url;
}

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

static void on_renewed(void *arg, const struct pki_pair *now);

static bool is_any(const char *host)
{
	return !host || streq(host, "0.0.0.0") || streq(host, "::");
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
	_cleanup_free_ char *service_ip = first_service_ip(s->service_cidr);
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		names[n++] = fixed[i];
	names[n++] = service_ip;
	if (gethostname(host, sizeof(host) - 1) == 0 && *host)
		names[n++] = host;
	/* what others are told, and what it listens on, may differ */
	const char *listen = member_settings(s->member)->listen;
	if (!streq(member_host(s->member), "127.0.0.1"))
		names[n++] = member_host(s->member);
	if (!is_any(listen) && !streq(listen, member_host(s->member)) && !streq(listen, "127.0.0.1"))
		names[n++] = listen;
	for (const char *const *e = c->names; e && *e && n < NAMES_MAX; e++)
		names[n++] = *e;
	int r = certs_server(c->options->dir, names, &s->certs, err);
	if (r == 0)
		s->renew = renew_server(s->env, c->options->dir, names, &s->certs, on_renewed, s);
	return r;
}

static int listen_on(struct server *s, struct tls_context *tls, const char *host, struct err *err)
{
	int r = apiserver_listen(s->api, tls, host, s->port, err);
	if (r == -EADDRINUSE)
		err_set(err, r,
			"port %u of %s is taken by another program: stop that one, or choose another with --port or --listen",
			s->port, host);
	return r;
}

static int open_api(struct server *s, const struct server_config *c, struct err *err)
{
	const char *host = member_host(s->member), *listen = member_settings(s->member)->listen;
	const char *only[] = {listen ? listen : "0.0.0.0", NULL}, *const *hosts = c->listen ? c->listen : only;
	struct apiserver_config ac = {.store = member_store(s->member),
				      .service_cidr = s->service_cidr,
				      .cluster_cidr = s->cluster_cidr,
				      .name = member_settings(s->member)->name,
				      .alone = member_is_alone(s->member),
				      .node_port_min = 30000,
				      .node_port_max = 32767,
				      .ca_pem = s->certs.ca.cert_pem,
				      .ca_key_pem = s->certs.ca.key_pem,
				      .cert_life_s = certs_life_s(),
				      .sa_key_pem = s->certs.sa_key,
				      .kubelet_client_cert_pem = s->certs.kubelet_client.cert_pem,
				      .kubelet_client_key_pem = s->certs.kubelet_client.key_pem,
				      .advertise_ip = c->alone || str_starts(host, "127.") ? c->advertise_ip : host,
				      .advertise_port = s->port};
	struct tls_context *tls = NULL;
	int r = apiserver_new(s->env, s->loop, &ac, &s->api, err);
	if (r == 0)
		r = tls_server_context(s->certs.apiserver.cert_pem, s->certs.apiserver.key_pem, s->certs.ca.cert_pem,
				       &tls, err);
	for (; r == 0 && *hosts; hosts++)
		r = listen_on(s, tls, *hosts, err);
	tls_context_unref(tls);
	return r;
}

/* What this host's own clients ask: loopback where it is listened on. */
static void make_url(struct server *s, const struct server_config *c)
{
	const struct settings *st = member_settings(s->member);
	const char *host = c->listen || is_any(st->listen) ? "127.0.0.1" : st->listen;
	_cleanup_free_ char *address = settings_join_address(host, s->port);
	s->url = xasprintf("https://%s", address);
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

static struct pki_pair copy_pair(const struct pki_pair *p)
{
	return (struct pki_pair){xstrdup(p->cert_pem), xstrdup(p->key_pem)};
}

/* New certificates, in use from here on: for the connections to come, and in the kubeconfig. */
static void on_renewed(void *arg, const struct pki_pair *now)
{
	struct server *s = arg;
	struct tls_context *tls = NULL;
	_cleanup_err_ struct err err = ERR_INIT;
	const struct pki_pair *serving = &now[RENEWED_APISERVER], *kubelet = &now[RENEWED_KUBELET_CLIENT];
	if (!s->api)
		return;
	pki_pair_done(&s->certs.admin);
	s->certs.admin = copy_pair(&now[RENEWED_ADMIN]);
	int r = tls_server_context(serving->cert_pem, serving->key_pem, s->certs.ca.cert_pem, &tls, &err);
	if (r == 0)
		r = write_kubeconfig(s, &err);
	if (r == 0) {
		apiserver_set_tls(s->api, tls);
		apiserver_set_kubelet_client(s->api, kubelet->cert_pem, kubelet->key_pem);
		log_info("minid", "the server's certificates are new");
	} else {
		log_error("minid", "the server's new certificates are not in use: %s", err.message);
	}
	tls_context_unref(tls);
}

static void start_reconcilers(struct server *s)
{
	static const char *const none[] = {NULL};
	const char *identity = member_settings(s->member)->name;
	struct controllers_config cc = {
		.cluster_cidr = s->cluster_cidr, .ca_pem = s->certs.ca.cert_pem, .identity = identity};
	s->controller_client = server_client(s, "system:kube-controller-manager", none);
	s->controllers = controllers_new(s->controller_client, &cc);
	controllers_start(s->controllers);
	s->scheduler_client = server_client(s, "system:kube-scheduler", none);
	s->scheduler = scheduler_new(s->scheduler_client, identity);
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
	free(s->kubeconfig_path);
	free(s->cluster_cidr);
	free(s->service_cidr);
	free(s->url);
	free(s);
}

static void on_member_closed(void *arg)
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
	if (s->member)
		member_close(s->member, on_member_closed, s);
	else
		on_member_closed(s);
}

void server_stop(struct server *s, void (*done)(void *arg), void *arg)
{
	s->stopped = done;
	s->stopped_arg = arg;
	env_post_cancel(s->env, &s->witness_ready);
	renew_free(STEAL(s->renew));
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

static void on_removed(void *arg, const struct err *err)
{
	struct server *s = arg;
	if (s->failed)
		s->failed(s->arg, err);
}

static struct waiting *start_waiting(struct server *s, struct err *err)
{
	const char *listen = member_settings(s->member)->listen;
	struct tls_context *tls = NULL;
	int r = tls_server_context(s->certs.apiserver.cert_pem, s->certs.apiserver.key_pem, NULL, &tls, err);
	struct waiting *w =
		r < 0 ? NULL : waiting_start(s->env, s->loop, tls, listen ? listen : "0.0.0.0", s->port, err);
	tls_context_unref(tls);
	return w;
}

static void on_waits(void *arg, const char *reason)
{
	struct server *s = arg;
	_cleanup_err_ struct err err = ERR_INIT;
	if (member_is_witness(s->member))
		return; /* it has no certificate to listen with */
	if (!s->waiting)
		s->waiting = start_waiting(s, &err);
	waiting_say(s->waiting, reason);
}

static int open_member(struct server *s, const struct server_config *c, struct err *err)
{
	struct member_config mc = {.join = {.env = s->env, .loop = s->loop, .stop = c->stop, .options = c->options},
				   .host_name = c->host_name,
				   .alone = c->alone,
				   .removed = on_removed,
				   .waits = on_waits,
				   .arg = s};
	int r = member_new(&mc, &s->member, err);
	if (r < 0)
		return r;
	const struct settings *st = member_settings(s->member);
	s->port = st->port;
	s->cluster_cidr = xstrdup(st->cluster_cidr ? st->cluster_cidr : c->options->cluster_cidr);
	s->service_cidr = xstrdup(st->service_cidr ? st->service_cidr : c->options->service_cidr);
	/* a server's own certificate is signed by the CA, which the first one makes here */
	if (!member_is_witness(s->member)) {
		make_url(s, c);
		r = load_certs(s, c, err);
	}
	if (r == 0)
		r = member_open(s->member, err);
	waiting_stop(STEAL(s->waiting));
	return r;
}

static void on_witness_ready(struct env_post *p)
{
	struct server *s = CONTAINER_OF(p, struct server, witness_ready);
	s->ready(s->arg, &(struct err){0});
}

static int start_api(struct server *s, const struct server_config *c, struct err *err)
{
	if (member_is_witness(s->member)) {
		s->witness_ready.fn = on_witness_ready;
		env_post(s->env, &s->witness_ready);
		return 0;
	}
	/* Before it answers: whoever finds the port open finds the credentials too. */
	int r = write_kubeconfig(s, err);
	if (r == 0)
		r = open_api(s, c, err);
	if (r == 0)
		apiserver_start(s->api, on_ready, s);
	return r;
}

int server_start(struct env *env, uv_loop_t *loop, const struct server_config *c,
		 void (*ready)(void *arg, const struct err *err), void *arg, struct server **ret, struct err *err)
{
	struct server *s = NEW(struct server);
	s->env = env;
	s->loop = loop;
	s->ready = ready;
	s->failed = c->failed;
	s->arg = arg;
	s->kubeconfig_path = xasprintf("%s/admin.kubeconfig", c->options->dir);
	int r = open_member(s, c, err);
	if (r == 0)
		r = start_api(s, c, err);
	if (r < 0) {
		bool gone = false;
		server_stop(s, on_aborted, &gone);
		while (!gone)
			uv_run(loop, UV_RUN_ONCE);
		return r;
	}
	*ret = s;
	return 0;
}
