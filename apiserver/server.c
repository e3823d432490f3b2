/* Making, starting and closing the server, and the small helpers everything uses. */
#include "apiserver/server.h"

#include "apiserver/authn.h"
#include "apiserver/bootstrap.h"
#include "apiserver/bootstrap_token.h"
#include "apiserver/direct.h"
#include "apiserver/discovery.h"
#include "apiserver/endpoints.h"
#include "apiserver/http_front.h"
#include "apiserver/hub.h"
#include "apiserver/mini_api.h"
#include "apiserver/node_graph.h"
#include "apiserver/nonresource.h"
#include "apiserver/rbac.h"
#include "apiserver/request.h"
#include "apiserver/service_ip.h"
#include "apiserver/stats.h"
#include "apiserver/tag.h"

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void make_resources(struct apiserver *a)
{
	size_t n = 0;
	while (kinds_all[n])
		n++;
	a->resources = NEW_N(struct resource, n);
	a->n_resources = n;
	for (size_t i = 0; i < n; i++) {
		const struct kind *k = kinds_all[i];
		struct resource *res = &a->resources[i];
		res->kind = k;
		res->prefix = xasprintf("/registry/%s/", k->storage_prefix ? k->storage_prefix : k->plural);
		res->resource = kind_resource(k);
		res->api_version = kind_api_version(k);
		res->head =
			xasprintf("{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{", k->kind, res->api_version);
		res->head_len = strlen(res->head);
		res->stored = (k->verbs & VERB_GET) != 0;
		_cleanup_free_ char *path = xasprintf("%s/%s/%s", k->group, k->version, k->plural);
		map_set(&a->by_path, path, res);
	}
}

int apiserver_new(struct env *env, uv_loop_t *loop, const struct apiserver_config *config, struct apiserver **ret,
		  struct err *err)
{
	struct service_ips *ips;
	int r = service_ips_new(config->service_cidr, config->node_port_min, config->node_port_max, &ips, err);
	if (r < 0)
		return r;
	struct apiserver *a = NEW(struct apiserver);
	a->magic = APISERVER_MAGIC;
	a->env = env;
	a->loop = loop;
	a->store = config->store;
	a->made_us = env_now_us(env);
	a->service_ips = ips;
	a->service_cidr = dup_or_null(config->service_cidr);
	a->cluster_cidr = dup_or_null(config->cluster_cidr);
	a->alone = config->alone;
	a->name = dup_or_null(config->name);
	a->ca_pem = dup_or_null(config->ca_pem);
	a->ca_key_pem = dup_or_null(config->ca_key_pem);
	a->sa_key_pem = dup_or_null(config->sa_key_pem);
	a->kubelet_cert_pem = dup_or_null(config->kubelet_client_cert_pem);
	a->kubelet_key_pem = dup_or_null(config->kubelet_client_key_pem);
	a->advertise_ip = dup_or_null(config->advertise_ip);
	a->advertise_port = config->advertise_port;
	a->cert_life_s = config->cert_life_s ? config->cert_life_s : MINI_CERT_LIFE_S;
	a->max_reading = config->max_requests ? MAX(1u, config->max_requests * 2 / 3) : 400;
	a->max_writing = config->max_requests ? MAX(1u, config->max_requests / 3) : 200;
	list_init(&a->requests);
	list_init(&a->queued);
	list_init(&a->clients);
	a->by_path = MAP_INIT;
	a->namespaces = (struct map){.free_value = free};
	a->documents = (struct map){.free_value = document_free};
	a->recent = recent_new();
	a->rbac = rbac_new();
	a->nodes = node_graph_new(a);
	a->authn_cache = authn_cache_new();
	a->token_tries = token_tries_new();
	make_resources(a);
	stats_init(a);
	*ret = a;
	return 0;
}

/* Let in what has been waiting. */
static void let_in(struct apiserver *a)
{
	if (!a->closing) {
		a->started = true;
		node_graph_start(a->nodes);
		struct list waiting;
		list_init(&waiting);
		struct list *n;
		while ((n = list_pop(&a->queued)))
			list_push(&waiting, n);
		while ((n = list_pop(&waiting)))
			request_tick(LIST_ENTRY(n, struct request, queue_node));
	}
	a->ready_fn(a->ready_arg, &(struct err){0});
}

static void on_bootstrapped(void *arg, const struct err *err)
{
	struct apiserver *a = arg;
	a->bootstrap = NULL;
	if (err->code && a->closing)
		return;
	if (err->code)
		a->ready_fn(a->ready_arg, err);
	else if (a->advertise_ip && *service_ips_first(a->service_ips))
		endpoints_start(a, let_in);
	else
		let_in(a);
	if (a->vital_gone)
		bootstrap_mend(a);
}

void apiserver_start(struct apiserver *a, void (*ready)(void *arg, const struct err *err), void *arg)
{
	a->ready_fn = ready;
	a->ready_arg = arg;
	a->bootstrap = bootstrap_start(a, on_bootstrapped, a);
}

void apiserver_set_kubelet_client(struct apiserver *a, const char *cert_pem, const char *key_pem)
{
	free(a->kubelet_cert_pem);
	free(a->kubelet_key_pem);
	a->kubelet_cert_pem = dup_or_null(cert_pem);
	a->kubelet_key_pem = dup_or_null(key_pem);
}

bool apiserver_ready(const struct apiserver *a)
{
	return a->started && !a->closing;
}

static void free_secret(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

static void server_free(struct apiserver *a)
{
	for (size_t i = 0; i < a->n_resources; i++) {
		hub_free(a->resources[i].hub);
		free(a->resources[i].prefix);
		free(a->resources[i].resource);
		free(a->resources[i].api_version);
		free(a->resources[i].head);
	}
	free(a->resources);
	endpoints_free(a);
	map_done(&a->by_path);
	map_done(&a->namespaces);
	recent_free(a->recent);
	rbac_free(a->rbac);
	node_graph_free(a->nodes);
	service_ips_free(a->service_ips);
	authn_cache_free(a->authn_cache);
	token_tries_free(a->token_tries);
	discovery_free(a->discovery);
	map_done(&a->documents);
	stats_fini(a);
	free(a->service_cidr);
	free(a->cluster_cidr);
	free(a->name);
	free(a->ca_pem);
	free_secret(a->ca_key_pem);
	free_secret(a->sa_key_pem);
	free(a->kubelet_cert_pem);
	free(a->kubelet_key_pem);
	free(a->advertise_ip);
	a->magic = 0;
	free(a);
}

/* Everything submitted has to come back before the memory may go. */
static void close_step(struct env_post *p)
{
	struct apiserver *a = CONTAINER_OF(p, struct apiserver, close_post);
	LIST_EACH (&a->requests, r, struct request, node) {
		if (!r->cancelled)
			request_cancel(r);
	}
	if (!list_empty(&a->requests) || a->bootstrap || a->nudging || node_graph_busy(a->nodes)) {
		env_post(a->env, p);
		return;
	}
	void (*fn)(void *) = a->close_fn;
	void *arg = a->close_arg;
	server_free(a);
	fn(arg);
}

static void on_nudged(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	(void)err;
	(void)resp;
	((struct apiserver *)arg)->nudging = false;
}

/* A heartbeat may be waiting for a write whose commit it could share: an empty one will do. */
static void nudge_store(struct apiserver *a)
{
	const struct store_op nothing = {.type = STORE_DELETE, .key = "/registry/ranges/none"};
	const struct store_txn_req req = {.then_ops = &nothing, .n_then = 1};
	bool lazy = false;
	LIST_EACH (&a->requests, r, struct request, node)
		lazy |= r->lazy;
	if (!lazy)
		return;
	a->nudging = true;
	store_txn(a->store, &req, on_nudged, a);
}

static void on_http_closed(void *arg)
{
	struct apiserver *a = arg;
	a->http = NULL;
	nudge_store(a);
	a->close_post.fn = close_step;
	env_post(a->env, &a->close_post);
}

void apiserver_close(struct apiserver *a, void (*done)(void *arg), void *arg)
{
	a->closing = true;
	a->close_fn = done;
	a->close_arg = arg;
	direct_close_all(a);
	watches_close_all(a);
	service_ips_stop(a);
	endpoints_stop(a);
	if (a->http)
		http_server_close(a->http, 2000, on_http_closed, a);
	else
		on_http_closed(a);
}

/* ---- helpers ---- */

struct resource *server_resource(struct apiserver *a, const char *group, const char *version, const char *plural)
{
	char path[400];
	if (snprintf(path, sizeof(path), "%s/%s/%s", group, version, plural) >= (int)sizeof(path))
		return NULL;
	return map_get(&a->by_path, path);
}

struct resource *server_resource_of(struct apiserver *a, const struct kind *k)
{
	for (size_t i = 0; i < a->n_resources; i++)
		if (a->resources[i].kind == k)
			return &a->resources[i];
	return NULL;
}

char *resource_key(const struct resource *res, const char *ns, const char *name)
{
	bool namespaced = res->kind->namespaced && !str_empty(ns);
	return xasprintf("%s%s%s%s", res->prefix, namespaced ? ns : "", namespaced ? "/" : "", name);
}

char *resource_range(const struct resource *res, const char *ns)
{
	return resource_key(res, ns, "");
}

const char *resource_key_rest(const struct resource *res, const char *key)
{
	return key + strlen(res->prefix);
}

void server_uuid(struct apiserver *a, char ret[37])
{
	uint8_t b[16];
	env_random(a->env, b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	char hex[33];
	hex_encode(b, sizeof(b), hex);
	snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

void server_random_suffix(struct apiserver *a, char *ret, unsigned n)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	for (unsigned i = 0; i < n; i++)
		ret[i] = alphabet[env_random_below(a->env, sizeof(alphabet) - 1)];
	ret[n] = 0;
}

const char *server_now(struct apiserver *a, char ret[21])
{
	return time_format_s(env_wall_s(a->env), ret);
}

void server_stamp(struct apiserver *a, json_t *tree)
{
	json_t *meta = json_need_object(tree, "metadata");
	char uid[37], now[21];
	server_uuid(a, uid);
	json_put_str(meta, "uid", uid);
	json_put_str(meta, "creationTimestamp", server_now(a, now));
}
