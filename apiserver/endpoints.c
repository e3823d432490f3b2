#include "apiserver/endpoints.h"

#include <arpa/inet.h>
#include <errno.h>

#include "apiserver/request.h"
#include "apiserver/service_ip.h"
#include "lib/core/log.h"
#include "store/cluster.h"

#define LOOK_US  (5ull * 1000000)
#define SOON_US  300000ull /* nobody leads yet */
#define MISSES   2u
#define LEASE_S  15u
#define LEASES   "/registry/masterleases/"
#define SLICES   "/registry/endpointslices/default/kubernetes"
#define PORTS    8u /* different ones */
#define BACKENDS STORE_MEMBERS_MAX

struct backend {
	char ip[64];
	uint16_t port;
	bool alive;
};

/* One look: MEMBERS -> ENDPOINTS -> SLICES (what is written now) -> a transaction, if it is not what it should be.
 * Over an external etcd, in place of MEMBERS: own lease kept -> LEASES (the keys of all who keep theirs). */
struct endpoints {
	struct apiserver *server;
	struct env_timer timer;
	void (*first)(struct apiserver *a);
	bool stopped;
	uint64_t lease; /* over an external etcd: under which this server's key is; 0: none yet */
	struct backend want[BACKENDS];
	unsigned n;
	struct {
		uint64_t id;
		unsigned misses;
	} missing[BACKENDS];
	json_t *old; /* Endpoints, or NULL */
	uint64_t old_rev;
	json_t *urls; /* of those listed in the last look; NULL: none yet */
};

static void look_over(struct endpoints *e, uint64_t again_us)
{
	struct apiserver *a = e->server;
	void (*first)(struct apiserver *) = e->first;
	json_decref(e->old);
	e->old = NULL;
	e->first = NULL;
	if (!e->stopped)
		env_timer_start(a->env, &e->timer, again_us);
	if (first)
		first(a);
}

/* ---- who is alive ---- */

static bool is_loopback(const char *ip)
{
	return str_starts(ip, "127.");
}

static void add(struct endpoints *e, const char *ip, uint16_t port, bool alive)
{
	uint8_t a4[4];
	if (inet_pton(AF_INET, ip, a4) != 1)
		return;
	for (unsigned i = 0; i < e->n; i++) {
		if (e->want[i].port != port || !streq(e->want[i].ip, ip))
			continue;
		e->want[i].alive |= alive;
		return;
	}
	if (e->n == BACKENDS)
		return;
	struct backend *b = &e->want[e->n++];
	snprintf(b->ip, sizeof(b->ip), "%s", ip);
	b->port = port;
	b->alive = alive;
}

/* https://HOST:PORT; a loopback address of another server is one of this host. */
static void add_api(struct endpoints *e, const char *api, bool alive)
{
	char text[STORE_ADDRESS_MAX + 1];
	int64_t port;
	snprintf(text, sizeof(text), "%s", str_starts(api, "https://") ? api + 8 : "");
	char *colon = strrchr(text, ':');
	if (!colon || parse_i64(colon + 1, &port) < 0 || port < 1 || port > 65535)
		return;
	*colon = 0;
	add(e, is_loopback(text) ? e->server->advertise_ip : text, (uint16_t)port, alive);
}

/* How often in a row the member was not heard of. */
static unsigned *misses_of(struct endpoints *e, uint64_t id)
{
	unsigned spare = 0;
	for (unsigned i = 0; i < BACKENDS; i++) {
		if (e->missing[i].id == id)
			return &e->missing[i].misses;
		if (!e->missing[i].id)
			spare = i;
	}
	e->missing[spare].id = id;
	e->missing[spare].misses = 0;
	return &e->missing[spare].misses;
}

static void forget_members(struct endpoints *e, const struct store_members *m)
{
	for (unsigned i = 0; i < BACKENDS; i++) {
		bool there = false;
		for (size_t j = 0; j < m->n; j++)
			there |= m->members[j].id == e->missing[i].id;
		if (!there)
			e->missing[i].id = 0;
	}
}

static void take_members(struct endpoints *e, const struct store_members *m)
{
	forget_members(e, m);
	for (size_t i = 0; i < m->n; i++) {
		const struct store_member *x = &m->members[i];
		unsigned *misses = misses_of(e, x->id);
		bool self = x->id == m->self;
		*misses = self || x->active ? 0 : *misses + 1;
		if (self || !*x->api || x->wish == STORE_ROLE_NONE || x->role != x->wish)
			continue;
		if (*misses < MISSES)
			add_api(e, x->api, *misses == 0);
	}
}

/* ---- what is to be written ---- */

static int by_port_and_ip(const void *a, const void *b)
{
	const struct backend *x = a, *y = b;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return strcmp(x->ip, y->ip);
}

/* Who was not heard of this time stays where it is listed, and is not listed anew. */
static bool is_listed(const json_t *endpoints, const struct backend *b)
{
	size_t i, j;
	json_t *subset, *address;
	json_array_foreach(json_object_get(endpoints, "subsets"), i, subset)
	{
		const json_t *port = json_array_get(json_object_get(subset, "ports"), 0);
		if (json_get_int(port, "port", 0) != b->port)
			continue;
		json_array_foreach(json_object_get(subset, "addresses"), j, address)
		{
			if (streq(json_get_str(address, "ip", ""), b->ip))
				return true;
		}
	}
	return false;
}

static void settle(struct endpoints *e)
{
	unsigned n = 0;
	for (unsigned i = 0; i < e->n; i++)
		if (e->want[i].alive || is_listed(e->old, &e->want[i]))
			e->want[n++] = e->want[i];
	e->n = n;
	qsort(e->want, n, sizeof(*e->want), by_port_and_ip);
	json_decref(e->urls);
	e->urls = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(e->urls, json_sprintf("https://%s:%u", e->want[i].ip, e->want[i].port));
}

json_t *endpoints_urls(const struct apiserver *a)
{
	return a->endpoints && a->endpoints->urls ? json_incref(a->endpoints->urls) : json_array();
}

static json_t *ports_tree(uint16_t port)
{
	return json_make("[{s:s, s:i, s:s}]", "name", "https", "port", port, "protocol", "TCP");
}

/* From i on all with the same port; *ret_next is the first with another. */
static json_t *addresses_tree(const struct endpoints *e, unsigned i, bool slice, unsigned *ret_next)
{
	json_t *list = json_array();
	uint16_t port = e->want[i].port;
	for (; i < e->n && e->want[i].port == port; i++)
		json_array_append_new(list, slice ? json_make("{s:[s], s:{s:b}}", "addresses", e->want[i].ip,
							      "conditions", "ready", 1)
						  : json_make("{s:s}", "ip", e->want[i].ip));
	*ret_next = i;
	return list;
}

static json_t *endpoints_tree(const struct endpoints *e)
{
	json_t *subsets = json_array();
	for (unsigned i = 0, next; i < e->n; i = next) {
		json_t *addresses = addresses_tree(e, i, false, &next);
		json_array_append_new(
			subsets, json_make("{s:o, s:o}", "addresses", addresses, "ports", ports_tree(e->want[i].port)));
	}
	return json_make("{s:{s:s, s:s, s:{s:s}}, s:o}", "metadata", "name", "kubernetes", "namespace", "default",
			 "labels", "endpointslice.kubernetes.io/skip-mirror", "true", "subsets", subsets);
}

static json_t *slice_tree(const struct endpoints *e, unsigned i, unsigned *ret_next)
{
	char name[32] = "kubernetes";
	if (i > 0)
		snprintf(name, sizeof(name), "kubernetes-%u", e->want[i].port);
	json_t *addresses = addresses_tree(e, i, true, ret_next);
	return json_make("{s:{s:s, s:s, s:{s:s}}, s:s, s:o, s:o}", "metadata", "name", name, "namespace", "default",
			 "labels", "kubernetes.io/service-name", "kubernetes", "addressType", "IPv4", "endpoints",
			 addresses, "ports", ports_tree(e->want[i].port));
}

/* ---- writing ---- */

static bool says_the_same(const json_t *old, const json_t *tree)
{
	static const char *const parts[] = {"subsets", "endpoints", "ports"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const json_t *was = json_object_get(old, parts[i]), *is = json_object_get(tree, parts[i]);
		if ((was || is) && !json_equal(was, is))
			return false;
	}
	return old != NULL;
}

/* tree's reference is taken. */
static void plan_object(struct endpoints *e, struct plan *plan, const char *group, const char *plural, json_t *tree,
			const json_t *old, uint64_t old_rev)
{
	struct apiserver *a = e->server;
	struct resource *res = server_resource(a, group, "v1", plural);
	_cleanup_free_ char *key = resource_key(res, "default", meta_name(tree));
	if (says_the_same(old, tree)) {
		json_decref(tree);
		return;
	}
	json_put_str(tree, "kind", res->kind->kind);
	json_put_str(tree, "apiVersion", res->api_version);
	if (old)
		json_object_set(tree, "metadata", json_object_get(old, "metadata"));
	else
		server_stamp(a, tree);
	schema_default(res->kind->schema, tree);
	struct object *o = object_from_tree(res->kind, tree);
	json_decref(tree);
	plan_expect(plan, key, STORE_CMP_MOD_REV, STORE_EQ, old_rev);
	plan_put(plan, key, o->bytes);
	object_unref(o);
}

static void on_written(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct endpoints *e = arg;
	bool failed = store_failed(err);
	if (failed && !e->stopped)
		log_debug("apiserver", "the kubernetes endpoints were not written: %s", err->message);
	look_over(e, failed || !resp->succeeded ? SOON_US : LOOK_US);
}

static json_t *tree_of(struct apiserver *a, const char *group, const char *plural, const struct store_kv *kv)
{
	struct object *o = NULL;
	const struct resource *res = server_resource(a, group, "v1", plural);
	if (object_from_bytes(res->kind, kv->value, kv->mod_rev, &o, NULL) < 0)
		return NULL;
	json_t *tree = object_tree(o);
	object_unref(o);
	return tree;
}

static void plan_slices(struct endpoints *e, struct plan *plan, const struct store_range_resp *resp)
{
	json_t *wanted[PORTS];
	unsigned n = 0;
	for (unsigned i = 0, next; i < e->n && n < PORTS; i = next)
		wanted[n++] = slice_tree(e, i, &next);
	for (size_t k = 0; k < resp->n_kvs; k++) {
		_cleanup_json_ json_t *old = tree_of(e->server, "discovery.k8s.io", "endpointslices", &resp->kvs[k]);
		bool found = false;
		if (!streq(meta_label(old, "kubernetes.io/service-name"), "kubernetes"))
			continue;
		for (unsigned i = 0; i < n && !found; i++) {
			found = wanted[i] && streq(meta_name(wanted[i]), meta_name(old));
			if (found)
				plan_object(e, plan, "discovery.k8s.io", "endpointslices", STEAL(wanted[i]), old,
					    resp->kvs[k].mod_rev);
		}
		if (!found)
			plan_delete(plan, resp->kvs[k].key);
	}
	for (unsigned i = 0; i < n; i++)
		if (wanted[i])
			plan_object(e, plan, "discovery.k8s.io", "endpointslices", wanted[i], NULL, 0);
}

static void on_slices(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct endpoints *e = arg;
	struct plan plan = {0};
	if (store_failed(err) || e->stopped) {
		look_over(e, SOON_US);
		return;
	}
	settle(e);
	plan_object(e, &plan, "", "endpoints", endpoints_tree(e), e->old, e->old_rev);
	plan_slices(e, &plan, resp);
	if (plan.n_ops) {
		struct store_txn_req req = {.compares = plan.compares,
					    .n_compares = plan.n_compares,
					    .then_ops = plan.ops,
					    .n_then = plan.n_ops};
		store_txn(e->server->store, &req, on_written, e);
	}
	bool writes = plan.n_ops > 0;
	plan_done(&plan);
	if (!writes)
		look_over(e, LOOK_US);
}

static void on_endpoints(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct endpoints *e = arg;
	if (store_failed(err) || e->stopped) {
		look_over(e, SOON_US);
		return;
	}
	if (resp->n_kvs) {
		e->old = tree_of(e->server, "", "endpoints", &resp->kvs[0]);
		e->old_rev = resp->kvs[0].mod_rev;
	} else {
		e->old_rev = 0;
	}
	_cleanup_free_ char *end = store_prefix_end(SLICES);
	struct store_range_req req = {.key = SLICES, .end = end, .limit = 200, .serializable = true};
	store_range(e->server->store, &req, on_slices, e);
}

static void read_endpoints(struct endpoints *e)
{
	struct apiserver *a = e->server;
	_cleanup_free_ char *key = resource_key(server_resource(a, "", "v1", "endpoints"), "default", "kubernetes");
	/* what this server has is enough: the transaction compares */
	struct store_range_req req = {.key = key, .serializable = true};
	store_range(a->store, &req, on_endpoints, e);
}

static uint16_t own_port(const struct apiserver *a)
{
	return a->advertise_port ? a->advertise_port : 6443;
}

/* ---- over an external etcd: a key with a lease each, as upstream ---- */

static void on_leases(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct endpoints *e = arg;
	if (store_failed(err) || e->stopped) {
		look_over(e, SOON_US);
		return;
	}
	for (size_t i = 0; i < resp->n_kvs; i++) {
		_cleanup_free_ char *api = xasprintf("https://%s", resp->kvs[i].key + strlen(LEASES));
		add_api(e, api, true);
	}
	read_endpoints(e);
}

static void read_leases(struct endpoints *e)
{
	_cleanup_free_ char *end = store_prefix_end(LEASES);
	struct store_range_req req = {.key = LEASES, .end = end, .keys_only = true, .limit = BACKENDS};
	store_range(e->server->store, &req, on_leases, e);
}

static void on_lease_written(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct endpoints *e = arg;
	(void)resp;
	if (store_failed(err) || e->stopped) {
		e->lease = 0;
		look_over(e, SOON_US);
		return;
	}
	read_leases(e);
}

static void on_granted(void *arg, const struct err *err, uint64_t lease)
{
	struct endpoints *e = arg;
	struct apiserver *a = e->server;
	if (store_failed(err) || e->stopped) {
		look_over(e, SOON_US);
		return;
	}
	e->lease = lease;
	_cleanup_free_ char *key = xasprintf(LEASES "%s:%u", a->advertise_ip, own_port(a));
	_cleanup_blob_ struct blob *value = blob_new("{}", 2);
	const struct store_op op = {.type = STORE_PUT, .key = key, .value = value, .lease = lease};
	struct store_txn_req req = {.then_ops = &op, .n_then = 1};
	store_txn(a->store, &req, on_lease_written, e);
}

static void on_kept(void *arg, const struct err *err, uint64_t ttl_s)
{
	struct endpoints *e = arg;
	(void)ttl_s;
	if (store_failed(err) || e->stopped) {
		e->lease = 0; /* it may be gone: another, and the key anew */
		look_over(e, SOON_US);
		return;
	}
	read_leases(e);
}

static void keep_lease(struct endpoints *e)
{
	struct store *s = e->server->store;
	if (e->lease)
		s->engine->lease_keepalive(s, e->lease, on_kept, e);
	else
		s->engine->lease_grant(s, LEASE_S, on_granted, e);
}

/* ---- the look ---- */

static void on_members(void *arg, const struct err *err, const struct store_members *m)
{
	struct endpoints *e = arg;
	struct apiserver *a = e->server;
	e->n = 0;
	if (!e->stopped && store_failed(err) && err->code == -ENOTSUP) {
		keep_lease(e);
		return;
	}
	if (e->stopped || store_failed(err) || m->leader != m->self) {
		look_over(e, !e->stopped && !store_failed(err) && m->leader ? LOOK_US : SOON_US);
		return;
	}
	add(e, a->advertise_ip, own_port(a), true);
	take_members(e, m);
	read_endpoints(e);
}

static void on_timer(struct env_timer *t)
{
	struct endpoints *e = CONTAINER_OF(t, struct endpoints, timer);
	store_members(e->server->store, true, on_members, e);
}

void endpoints_start(struct apiserver *a, void (*done)(struct apiserver *a))
{
	struct endpoints *e = NEW(struct endpoints);
	e->server = a;
	e->first = done;
	e->timer.fn = on_timer;
	a->endpoints = e;
	store_members(a->store, true, on_members, e);
}

void endpoints_stop(struct apiserver *a)
{
	if (!a->endpoints)
		return;
	a->endpoints->stopped = true;
	env_timer_stop(a->env, &a->endpoints->timer);
}

void endpoints_free(struct apiserver *a)
{
	if (a->endpoints) {
		json_decref(a->endpoints->old);
		json_decref(a->endpoints->urls);
	}
	free(a->endpoints);
	a->endpoints = NULL;
}
