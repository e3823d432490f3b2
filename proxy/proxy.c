#include "proxy/proxy.h"

#include <errno.h>

#include "lib/client/informer.h"
#include "lib/core/log.h"
#include "lib/core/metrics.h"

/* Syncs that fail are tried again after this long. */
#define RETRY_US 1000000u

/* Of a Service, what the rules need; strings live in the object's tree, which is held. */
struct service {
	json_t *tree;
	const char *ns, *name, *cluster_ip;
	const char **external_ips; /* NULL-terminated */
	bool affinity, external_local, internal_local;
	unsigned affinity_timeout_s;
	json_t *ports;
};

/* Of an EndpointSlice: its tree and the service it belongs to ("ns/name"). */
struct slice {
	json_t *tree;
	char *service;
};

/* The map handed to the dataplane, with the memory it points to. */
struct snapshot {
	struct proxy_service_port *ports;
	size_t n_ports, cap_ports;
	struct proxy_endpoint **endpoints; /* one array a port: owned */
	struct map ready_ips;              /* addresses that traffic may be sent to because they are ready */
	json_t *hold;                      /* trees that the strings live in */
};

struct waiter {
	struct list node;
	char ip[64];
	uint64_t after; /* the sync to wait for, whatever `applied` says: it may bring the address */
	void (*done)(void *);
	void *arg;
};

struct proxy {
	struct env *env;
	struct client *client;
	char *node_name;
	struct dataplane *dp;
	struct informer_set *set;
	struct informer *services, *slices;
	struct env_post post; /* a sync is due */
	struct env_timer retry;
	bool started, running, dirty, synced_once;
	uint64_t begun, ended; /* syncs, counted; the last that succeeded */
	struct map applied;    /* ready addresses the kernel holds */
	struct list waiters;
	struct env_post wake; /* waiters to look at */
	/* A sync still running when the proxy is freed ends on this flag. */
	struct sync_ctx *ctx;
};

struct sync_ctx {
	struct proxy *p; /* NULL once the proxy is gone */
	struct snapshot snap;
	uint64_t start_us;
};

static struct metric_family sync_seconds = {.name = "kubeproxy_sync_proxy_rules_duration_seconds",
					    .help = "Time to bring the kernel's rules up to date.",
					    .type = METRIC_HISTOGRAM};

/* ---- what is kept of each object ---- */

static void service_drop(void *p)
{
	struct service *s = p;
	if (!s)
		return;
	json_decref(s->tree);
	free(s->external_ips);
	free(s);
}

static void *service_make(struct object *obj, const json_t *tree)
{
	(void)obj;
	json_t *spec = json_object_get(tree, "spec"), *v;
	const char *ip = json_get_str(spec, "clusterIP", "");
	if (!*ip || streq(ip, "None") || streq(json_get_str(spec, "type", ""), "ExternalName") || strchr(ip, ':'))
		return NULL;
	struct service *s = NEW(struct service);
	s->tree = json_incref((json_t *)tree);
	s->ns = meta_ns(tree);
	s->name = meta_name(tree);
	s->cluster_ip = ip;
	s->ports = json_object_get(spec, "ports");
	s->affinity = streq(json_get_str(spec, "sessionAffinity", ""), "ClientIP");
	s->affinity_timeout_s = (unsigned)json_get_int(json_path(spec, "sessionAffinityConfig", "clientIP", NULL),
						       "timeoutSeconds", 10800);
	s->external_local = streq(json_get_str(spec, "externalTrafficPolicy", ""), "Local");
	s->internal_local = streq(json_get_str(spec, "internalTrafficPolicy", ""), "Local");
	json_t *given = json_object_get(spec, "externalIPs"),
	       *ingress = json_path(tree, "status", "loadBalancer", "ingress", NULL);
	size_t i, n = 0;
	s->external_ips = NEW_N(const char *, json_array_size(given) + json_array_size(ingress) + 1);
	json_array_foreach(given, i, v) if (json_is_string(v) && !strchr(json_string_value(v), ':'))
		s->external_ips[n++] = json_string_value(v);
	json_array_foreach(ingress, i, v)
	{
		const char *a = json_get_str(v, "ip", "");
		if (*a && !strchr(a, ':'))
			s->external_ips[n++] = a;
	}
	return s;
}

static void slice_drop(void *p)
{
	struct slice *s = p;
	if (!s)
		return;
	json_decref(s->tree);
	free(s->service);
	free(s);
}

static void *slice_make(struct object *obj, const json_t *tree)
{
	const char *service = meta_label(tree, "kubernetes.io/service-name");
	if (!service || !streq(json_get_str(tree, "addressType", ""), "IPv4"))
		return NULL;
	struct slice *s = NEW(struct slice);
	s->tree = json_incref((json_t *)tree);
	s->service = xasprintf("%s/%s", obj->ns, service);
	return s;
}

static void index_service(struct object *obj, void (*emit)(void *, const char *), void *ctx)
{
	json_t *tree = object_tree(obj);
	const char *service = meta_label(tree, "kubernetes.io/service-name");
	if (service) {
		_cleanup_free_ char *key = xasprintf("%s/%s", obj->ns, service);
		emit(ctx, key);
	}
	json_decref(tree);
}

/* ---- the map ---- */

static void snapshot_done(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_ports; i++)
		free(s->endpoints[i]);
	free(s->endpoints);
	free(s->ports);
	map_done(&s->ready_ips);
	json_decref(s->hold);
	*s = (struct snapshot){0};
}

static enum proxy_proto proto_of(const char *s)
{
	return streq(s, "UDP") ? PROXY_UDP : streq(s, "SCTP") ? PROXY_SCTP : PROXY_TCP;
}

/* Upstream's rule for conditions: ready and serving count as true when they are not given. */
static struct proxy_endpoint endpoint_of(const struct proxy *p, const json_t *e, const char *ip, int64_t port)
{
	const json_t *c = json_object_get(e, "conditions");
	return (struct proxy_endpoint){.ip = ip,
				       .port = (uint16_t)port,
				       .local = streq(json_get_str(e, "nodeName", ""), p->node_name),
				       .ready = json_get_bool(c, "ready", true),
				       .serving = json_get_bool(c, "serving", true),
				       .terminating = json_get_bool(c, "terminating", false)};
}

static int by_address(const void *a, const void *b)
{
	const struct proxy_endpoint *x = a, *y = b;
	int c = strcmp(x->ip, y->ip);
	return c ? c : (int)x->port - (int)y->port;
}

struct endpoint_list {
	struct proxy_endpoint *v;
	size_t n, cap;
};

static void take_slice(const struct proxy *p, const struct slice *s, const char *port_name, enum proxy_proto proto,
		       struct endpoint_list *out)
{
	json_t *ports = json_object_get(s->tree, "ports"), *endpoints = json_object_get(s->tree, "endpoints"), *port,
	       *e, *a;
	size_t i, k;
	int64_t number = 0;
	json_array_foreach(ports, i, port)
	{
		if (streq(json_get_str(port, "name", ""), port_name) &&
		    proto_of(json_get_str(port, "protocol", "TCP")) == proto)
			number = json_get_int(port, "port", 0);
	}
	if (number <= 0 || number > 65535)
		return;
	json_array_foreach(endpoints, i, e)
	{
		json_array_foreach(json_object_get(e, "addresses"), k, a)
		{
			if (!json_is_string(a))
				continue;
			GROW(out->v, out->cap, out->n + 1);
			out->v[out->n++] = endpoint_of(p, e, json_string_value(a), number);
		}
	}
}

/* Keep the ready ones; if there are none, those that still serve while they end. Sorted, each address once. */
static void choose(struct endpoint_list *l)
{
	bool any_ready = false;
	for (size_t i = 0; i < l->n; i++)
		any_ready |= l->v[i].ready;
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++)
		if (any_ready ? l->v[i].ready : l->v[i].serving && l->v[i].terminating)
			l->v[n++] = l->v[i];
	if (n)
		qsort(l->v, n, sizeof(l->v[0]), by_address);
	l->n = 0;
	for (size_t i = 0; i < n; i++)
		if (!l->n || by_address(&l->v[l->n - 1], &l->v[i]) != 0)
			l->v[l->n++] = l->v[i];
}

static void add_port(struct proxy *p, struct snapshot *snap, const struct service *s, const json_t *port,
		     struct object *const *slices, size_t n_slices)
{
	struct endpoint_list list = {0};
	const char *name = json_get_str(port, "name", "");
	enum proxy_proto proto = proto_of(json_get_str(port, "protocol", "TCP"));
	for (size_t i = 0; i < n_slices; i++) {
		const struct slice *sl = informer_extract(p->slices, slices[i]);
		if (!sl)
			continue;
		json_array_append(snap->hold, sl->tree);
		take_slice(p, sl, name, proto, &list);
	}
	choose(&list);
	for (size_t i = 0; i < list.n; i++)
		if (list.v[i].ready)
			map_set(&snap->ready_ips, list.v[i].ip, snap);
	if (snap->n_ports == snap->cap_ports) {
		size_t cap = snap->cap_ports ? snap->cap_ports * 2 : 16;
		snap->ports = xrealloc(snap->ports, cap * sizeof(*snap->ports));
		snap->endpoints = xrealloc(snap->endpoints, cap * sizeof(*snap->endpoints));
		snap->cap_ports = cap;
	}
	snap->endpoints[snap->n_ports] = list.v;
	snap->ports[snap->n_ports++] =
		(struct proxy_service_port){.ns = s->ns,
					    .name = s->name,
					    .port_name = name,
					    .proto = proto,
					    .cluster_ip = s->cluster_ip,
					    .port = (uint16_t)json_get_int(port, "port", 0),
					    .node_port = (uint16_t)json_get_int(port, "nodePort", 0),
					    .external_ips = s->external_ips,
					    .session_affinity = s->affinity,
					    .affinity_timeout_s = s->affinity_timeout_s,
					    .external_local = s->external_local,
					    .internal_local = s->internal_local,
					    .endpoints = list.v,
					    .n_endpoints = list.n};
}

static void snapshot_make(struct proxy *p, struct snapshot *ret)
{
	struct object **services, **slices;
	size_t n = informer_list(p->services, NULL, &services);
	*ret = (struct snapshot){.hold = json_array()};
	for (size_t i = 0; i < n; i++) {
		const struct service *s = informer_extract(p->services, services[i]);
		if (!s)
			continue;
		json_array_append(ret->hold, s->tree);
		_cleanup_free_ char *key = xasprintf("%s/%s", s->ns, s->name);
		size_t n_slices = informer_by_index(p->slices, "service", key, &slices), k;
		json_t *port;
		json_array_foreach(s->ports, k, port) add_port(p, ret, s, port, slices, n_slices);
		free(slices);
	}
	free(services);
}

/* ---- syncing ---- */

/* The first one that has nothing left to wait for, taken out of the line; NULL when there is none. */
static struct waiter *take_waiter(struct proxy *p)
{
	LIST_EACH (&p->waiters, w, struct waiter, node) {
		if (p->ended < w->after || map_has(&p->applied, w->ip))
			continue;
		list_del(&w->node);
		return w;
	}
	return NULL;
}

static void serve_waiters(struct proxy *p)
{
	for (struct waiter *w; (w = take_waiter(p));) {
		w->done(w->arg);
		free(w);
	}
}

static void on_wake(struct env_post *post)
{
	serve_waiters(CONTAINER_OF(post, struct proxy, wake));
}

static void on_synced(void *arg, const struct err *err)
{
	struct sync_ctx *ctx = arg;
	struct proxy *p = ctx->p;
	if (p) {
		p->ctx = NULL;
		p->running = false;
		metric_observe(metric_get(&sync_seconds, NULL), (double)(env_now_us(p->env) - ctx->start_us) / 1e6);
		if (err->code) {
			log_error("proxy", "rules not applied, trying again: %s", err->message);
			p->dirty = true;
			env_timer_start(p->env, &p->retry, RETRY_US);
		} else {
			p->synced_once = true;
			p->ended = p->begun;
			map_done(&p->applied);
			p->applied = ctx->snap.ready_ips;
			ctx->snap.ready_ips = MAP_INIT;
			serve_waiters(p);
			if (p->dirty)
				env_post(p->env, &p->post);
		}
	}
	snapshot_done(&ctx->snap);
	free(ctx);
}

static void sync_now(struct proxy *p)
{
	if (p->running || !p->started || !informer_set_synced(p->set) || env_timer_active(&p->retry))
		return;
	struct sync_ctx *ctx = NEW(struct sync_ctx);
	ctx->p = p;
	ctx->start_us = env_now_us(p->env);
	snapshot_make(p, &ctx->snap);
	p->ctx = ctx;
	p->dirty = false;
	p->running = true;
	p->begun++;
	/* An address is in the kernel's rules from here on, as far as waiters are concerned. */
	MAP_EACH (&ctx->snap.ready_ips, e) {
		map_set(&p->applied, e->key, p);
	}
	struct proxy_map map = {.ports = ctx->snap.ports, .n_ports = ctx->snap.n_ports};
	p->dp->ops->sync(p->dp, &map, on_synced, ctx);
}

static void on_post(struct env_post *post)
{
	sync_now(CONTAINER_OF(post, struct proxy, post));
}

static void on_retry(struct env_timer *t)
{
	sync_now(CONTAINER_OF(t, struct proxy, retry));
}

static void on_change(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	(void)inf;
	(void)old_obj;
	(void)new_obj;
	struct proxy *p = arg;
	p->dirty = true;
	env_post(p->env, &p->post);
}

static void on_informers(void *arg)
{
	struct proxy *p = arg;
	p->dirty = true;
	env_post(p->env, &p->post);
}

struct proxy *proxy_new(struct client *client, const char *node_name, struct dataplane *dp)
{
	struct proxy *p = NEW(struct proxy);
	p->env = client->env;
	p->client = client;
	p->node_name = xstrdup(node_name);
	p->dp = dp;
	p->post.fn = on_post;
	p->wake.fn = on_wake;
	p->retry.fn = on_retry;
	list_init(&p->waiters);
	p->set = informer_set_new(client);
	p->services = informer_get(p->set, kind_by_resource("", "v1", "services"), NULL, NULL, NULL);
	p->slices =
		informer_get(p->set, kind_by_resource("discovery.k8s.io", "v1", "endpointslices"), NULL, NULL, NULL);
	informer_set_extract(p->services, service_make, service_drop);
	informer_set_extract(p->slices, slice_make, slice_drop);
	informer_add_index(p->slices, "service", index_service);
	struct informer_handler h = {.on_change = on_change, .arg = p};
	informer_add_handler(p->services, &h);
	informer_add_handler(p->slices, &h);
	return p;
}

void proxy_start(struct proxy *p)
{
	p->started = true;
	informer_set_on_synced(p->set, on_informers, p);
	informer_set_start(p->set);
}

void proxy_when_gone(struct proxy *p, const char *pod_ip, void (*done)(void *arg), void *arg)
{
	struct waiter *w = NEW(struct waiter);
	snprintf(w->ip, sizeof(w->ip), "%s", pod_ip);
	w->done = done;
	w->arg = arg;
	/* What is known and not yet on its way to the kernel, or what the kernel holds from before this process. */
	w->after = p->dirty || !p->synced_once ? p->begun + 1 : 0;
	list_push(&p->waiters, &w->node);
	env_post(p->env, &p->wake);
}

bool proxy_synced(const struct proxy *p)
{
	return p->synced_once && !p->dirty && !p->running;
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	if (p->ctx)
		p->ctx->p = NULL;
	env_post_cancel(p->env, &p->post);
	env_post_cancel(p->env, &p->wake);
	env_timer_stop(p->env, &p->retry);
	informer_set_free(p->set);
	for (struct list *n; (n = list_pop(&p->waiters));) {
		struct waiter *w = LIST_ENTRY(n, struct waiter, node);
		w->done(w->arg);
		free(w);
	}
	map_done(&p->applied);
	free(p->node_name);
	free(p);
}
