#include "cli/roles.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/statvfs.h>

#include "cli/agent.h"
#include "cli/certs.h"
#include "cli/join.h"
#include "cli/node.h"
#include "cli/server.h"
#include "lib/client/client_http.h"
#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "lib/core/metrics.h"

#define SPACE_MIN_BYTES (16ull << 20)

/*
 * A process of any role:
 *
 *   starting --everything up--> running --SIGTERM, SIGINT--> ending: node, then server --> gone
 *       `------failed: what is up is ended the same way----------^
 */
struct process {
	enum role role;
	struct options own;                /* the given ones, and what this host remembers */
	struct agent_settings was, joined; /* what an agent knew when it started; what it knows */
	struct servers *servers;           /* an agent's */
	char *own_url;
	const struct options *options;
	uv_loop_t loop;
	struct env *env;
	uv_signal_t term, interrupt;
	struct journal *journal;
	struct network *network; /* until the node has it */
	struct server *server;
	struct node *node;
	char host_name[256], node_ip[64];
	const char *node_name;
	int report;
	bool ending;
	struct err err; /* why it ended, if not by a signal */
};

static bool has_node(const struct process *p)
{
	return p->role != ROLE_SERVER;
}

int role_check(enum role role, const struct options *o, struct err *err)
{
	(void)o;
	return role == ROLE_SERVER ? 0 : node_preflight(err);
}

/* ---- ending ---- */

static void on_server_gone(void *arg)
{
	struct process *p = arg;
	p->server = NULL;
	uv_close((uv_handle_t *)&p->term, NULL);
	uv_close((uv_handle_t *)&p->interrupt, NULL);
	uv_stop(&p->loop);
}

static void on_node_gone(void *arg)
{
	struct process *p = arg;
	p->node = NULL;
	if (p->server)
		server_stop(p->server, on_server_gone, p);
	else
		on_server_gone(p);
}

static void end(struct process *p)
{
	if (p->ending)
		return;
	p->ending = true;
	if (p->node && p->role == ROLE_DEMO)
		node_shut_down(p->node, on_node_gone, p);
	else if (p->node)
		node_leave(p->node, on_node_gone, p);
	else
		on_node_gone(p);
}

static void end_with(struct process *p, struct err *err)
{
	if (!p->err.code)
		err_move(&p->err, err);
	else
		err_done(err);
	end(p);
}

static void on_signal(uv_signal_t *h, int signum)
{
	struct process *p = h->data;
	if (p->ending) {
		log_info("minid", "still stopping pods");
		return;
	}
	log_info("minid", "stopping signal=%s", strsignal(signum));
	end(p);
}

/* ---- starting ---- */

static void pick_names(struct process *p)
{
	if (gethostname(p->host_name, sizeof(p->host_name) - 1) < 0 || !p->host_name[0])
		snprintf(p->host_name, sizeof(p->host_name), "mini");
	/* Node names are DNS names: lower case. */
	for (char *c = p->host_name; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	p->node_name = p->options->node_name ? p->options->node_name : p->host_name;
	if (p->options->node_ip)
		snprintf(p->node_ip, sizeof(p->node_ip), "%s", p->options->node_ip);
	else if (p->role == ROLE_DEMO)
		snprintf(p->node_ip, sizeof(p->node_ip), "%s", network_gateway(p->network));
	else
		settings_default_address(p->node_ip);
}

static void tell_ready(struct process *p)
{
	const struct options *o = p->options;
	if (p->report >= 0) {
		ssize_t n = write(p->report, "r", 1);
		(void)n;
		close(p->report);
		p->report = -1;
	}
	if (p->role == ROLE_AGENT)
		printf("mini is ready: node %s runs\n", p->node_name);
	else if (!server_url(p->server))
		printf("mini is ready: a witness votes, and serves nothing\n");
	else
		printf("mini is ready: %s, export KUBECONFIG=%s/admin.kubeconfig\n", server_url(p->server), o->dir);
	fflush(stdout);
}

static int start_node(struct process *p, struct client *agent, struct client *proxy, struct err *err)
{
	struct node_config c = {.options = p->options,
				.journal = p->journal,
				.network = p->network,
				.agent_client = agent,
				.proxy_client = proxy,
				.servers = p->servers,
				.first_server = p->options->server,
				.node_name = p->node_name,
				.node_ip = p->node_ip,
				.listen_host = p->role == ROLE_DEMO ? p->node_ip : "0.0.0.0"};
	int r = node_start(p->env, &p->loop, &c, &p->node, err);
	if (r < 0) {
		client_free(agent);
		client_free(proxy);
		return r;
	}
	p->network = NULL;
	return 0;
}

static void on_server_ready(void *arg, const struct err *err)
{
	struct process *p = arg;
	static const char *const nodes[] = {"system:nodes", NULL}, *const none[] = {NULL};
	struct err e = ERR_INIT;
	if (err->code) {
		err_copy(&e, err);
		end_with(p, &e);
		return;
	}
	if (p->role == ROLE_DEMO && !p->ending) {
		_cleanup_free_ char *user = xasprintf("system:node:%s", p->node_name);
		if (start_node(p, server_client(p->server, user, nodes),
			       server_client(p->server, "system:kube-proxy", none), &e) < 0) {
			end_with(p, &e);
			return;
		}
	}
	tell_ready(p);
}

static void on_server_failed(void *arg, const struct err *err)
{
	struct err e = ERR_INIT;
	err_copy(&e, err);
	log_error("minid", "ending: %s", err->message);
	end_with(arg, &e);
}

static int start_server(struct process *p, struct err *err)
{
	const char *listen[3] = {0}, *names[4] = {p->node_ip, p->node_name, NULL};
	bool demo = p->role == ROLE_DEMO;
	if (demo && p->options->listen) {
		listen[0] = p->options->listen;
	} else if (demo) {
		listen[0] = "127.0.0.1";
		listen[1] = p->node_ip;
	}
	struct server_config c = {.options = p->options,
				  .listen = demo ? listen : NULL,
				  .names = names,
				  .host_name = p->host_name,
				  .advertise_ip = p->node_ip,
				  .alone = demo,
				  .stop = &p->ending,
				  .failed = on_server_failed};
	return server_start(p->env, &p->loop, &c, on_server_ready, p, &p->server, err);
}

/* A node of a cluster elsewhere joins it, or has joined, and then knows where it is. */
static int agent_join(struct process *p, struct err *err)
{
	struct join_ctx c = {.env = p->env, .loop = &p->loop, .stop = &p->ending, .options = p->options};
	int r = agent_settings_read(p->options->dir, &p->was, err);
	if (r < 0)
		return r;
	if (!p->own.node_name)
		p->own.node_name = p->was.node_name;
	if (!p->own.node_ip)
		p->own.node_ip = p->was.node_ip;
	pick_names(p);
	r = p->options->join ? join_agent(&c, p->node_name, p->node_ip, err) : 0;
	if (r == 0)
		r = agent_settings_read(p->options->dir, &p->joined, err);
	if (r < 0)
		return r;
	if (p->joined.cluster_cidr)
		p->own.cluster_cidr = p->joined.cluster_cidr;
	if (p->joined.service_cidr)
		p->own.service_cidr = p->joined.service_cidr;
	if (!p->own.server && !p->joined.joined)
		p->own.server = p->own_url = xasprintf("https://127.0.0.1:%u", p->own.port);
	return agent_servers(p->env, &p->joined, p->own.server, &p->servers, err);
}

/* An agent of its own speaks to the API over TLS, as system:node:NAME. */
static int remote_client(struct process *p, const struct pki_pair *ca, const struct pki_pair *cert, struct client **ret,
			 struct err *err)
{
	const struct kubeconfig k = {.ca_pem = ca->cert_pem, .cert_pem = cert->cert_pem, .key_pem = cert->key_pem};
	return client_http_new_among(p->env, &p->loop, p->servers, &k, "minid-agent", ret, err);
}

static int start_agent(struct process *p, struct err *err)
{
	const char *const names[] = {p->node_name, p->node_ip, "localhost", "127.0.0.1", NULL};
	struct pki_pair ca = {0}, serving = {0}, node = {0}, proxy = {0};
	struct client *agent_client = NULL, *proxy_client = NULL;
	int r = certs_node(p->options->dir, p->node_name, names, &ca, &serving, &node, &proxy, err);
	if (r == 0)
		r = remote_client(p, &ca, &node, &agent_client, err);
	if (r == 0)
		r = remote_client(p, &ca, &proxy, &proxy_client, err);
	pki_pair_done(&ca);
	pki_pair_done(&serving);
	pki_pair_done(&node);
	pki_pair_done(&proxy);
	if (r < 0) {
		client_free(agent_client);
		return r;
	}
	r = start_node(p, agent_client, proxy_client, err);
	if (r == 0)
		tell_ready(p);
	return r;
}

/* Room for a segment of the log, the state beside it and what a start writes: better a word now than a cluster that
 * comes up and accepts nothing. */
static int check_space(const char *dir, struct err *err)
{
	struct statvfs fs;
	if (statvfs(dir, &fs) < 0)
		return err_errno(err, "look at %s", dir);
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes < SPACE_MIN_BYTES)
		return err_set(
			err, -ENOSPC,
			"the disk of %s is full: %llu MiB are free, %llu are needed to start; make room, or choose "
			"another directory with --dir",
			dir, (unsigned long long)(free_bytes >> 20), (unsigned long long)(SPACE_MIN_BYTES >> 20));
	return 0;
}

static int start(struct process *p, struct err *err)
{
	_cleanup_free_ char *journal = xasprintf("%s/host.journal", p->options->dir);
	int r = check_space(p->options->dir, err);
	if (r == 0 && p->role == ROLE_AGENT)
		r = agent_join(p, err);
	if (r < 0)
		return r;
	if (has_node(p)) {
		r = journal_open(journal, &p->journal, err);
		if (r == 0)
			r = node_network(p->env, p->options, p->journal, &p->network, err);
	}
	if (r < 0)
		return r;
	pick_names(p);
	return p->role == ROLE_AGENT ? start_agent(p, err) : start_server(p, err);
}

static void undo_host(struct process *p)
{
	struct err err = ERR_INIT;
	if (p->network) {
		network_stop(p->network, NULL);
		network_free(p->network);
		p->network = NULL;
	}
	if (p->journal && p->role == ROLE_DEMO && node_undo(p->journal, &err) < 0)
		log_error("minid", "left behind on this host: %s", err.message);
	err_done(&err);
}

static struct metric_family loop_lag = {.name = "mini_loop_lag_seconds",
					.help = "Longest time one turn of the loop took since the last scrape.",
					.type = METRIC_GAUGE};

static void read_loop_lag(void *arg)
{
	metric_set(metric_get(&loop_lag, NULL), (double)env_uv_lag_us(arg) / 1e6);
}

int role_run(enum role role, const struct options *o, int report, struct err *err)
{
	struct process *p = NEW(struct process);
	p->role = role;
	p->own = *o;
	p->options = &p->own;
	p->report = report;
	uv_loop_init(&p->loop);
	p->env = env_uv_new(&p->loop);
	metrics_add_process();
	metrics_on_render(read_loop_lag, p->env);
	uv_signal_init(&p->loop, &p->term);
	uv_signal_init(&p->loop, &p->interrupt);
	p->term.data = p->interrupt.data = p;
	uv_signal_start(&p->term, on_signal, SIGTERM);
	uv_signal_start(&p->interrupt, on_signal, SIGINT);
	struct err e = ERR_INIT;
	if (start(p, &e) < 0)
		end_with(p, &e);
	if (p->ending && !p->server && !p->node)
		uv_stop(&p->loop); /* a signal came while it started: that loop is over already */
	uv_run(&p->loop, UV_RUN_DEFAULT);
	undo_host(p);
	/* What fails before it is ready is for the terminal too, which this process may have left. */
	if (p->report >= 0 && p->err.code) {
		ssize_t n = write(p->report, p->err.message, strlen(p->err.message));
		(void)n;
	}
	journal_close(p->journal);
	env_uv_free(p->env);
	uv_loop_close(&p->loop);
	int r = err_move(err, &p->err);
	servers_unref(p->servers);
	agent_settings_done(&p->was);
	agent_settings_done(&p->joined);
	free(p->own_url);
	free(p);
	return r;
}

/* Stores that were moved aside. */
static int remove_damaged(const char *dir, struct err *err)
{
	DIR *d = opendir(dir);
	int r = 0;
	if (!d)
		return 0;
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		if (!str_starts(e->d_name, "store.damaged-"))
			continue;
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		r = rm_rf(path, err);
	}
	closedir(d);
	return r;
}

/* What minid makes in its directory. Nothing else in it is touched: it may be a directory that someone keeps more in. */
static int remove_state(const char *dir, struct err *err)
{
	static const char *const made[] = {
		"store",   "pki",          "images",           "run",       "containers",  "pods",       "network",
		"log",     "host.journal", "admin.kubeconfig", "minid.log", "server.lock", "agent.lock", "server.json",
		"members", "agent.json",   "restore.snapshot"};
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, made[i]);
		int r = rm_rf(path, err);
		if (r < 0)
			return r;
	}
	int r = remove_damaged(dir, err);
	rmdir(dir);
	return r;
}

int role_reset(const struct options *o, struct err *err)
{
	struct journal *j;
	_cleanup_free_ char *path = xasprintf("%s/host.journal", o->dir);
	int r = journal_open(path, &j, err);
	if (r < 0)
		return r;
	r = node_reset(o, j, err);
	journal_close(j);
	return r < 0 ? r : remove_state(o->dir, err);
}
