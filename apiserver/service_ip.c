#include "apiserver/service_ip.h"

#include <arpa/inet.h>
#include <errno.h>

#define IP_PREFIX    "/registry/ranges/serviceips/"
#define PORT_PREFIX  "/registry/ranges/servicenodeports/"
#define RANGE_PREFIX "/registry/ranges/"

struct service_ips {
	uint32_t base, size; /* of the range; size 0: none */
	unsigned port_min, port_max;
	char first[16];
	uint8_t *ips, *ports; /* bitmaps: in use */
	struct store_watch *watch;
	void (*done)(void *arg, const struct err *err);
	void *arg;
};

static bool bit(const uint8_t *map, uint32_t i)
{
	return map[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *map, uint32_t i, bool on)
{
	uint8_t mask = (uint8_t)(1u << (i % 8));
	map[i / 8] = (uint8_t)(on ? map[i / 8] | mask : map[i / 8] & ~mask);
}

static int parse_cidr(const char *cidr, uint32_t *ret_base, uint32_t *ret_size, struct err *err)
{
	char text[64];
	int64_t bits = -1;
	struct in_addr in;
	snprintf(text, sizeof(text), "%s", cidr);
	char *slash = strchr(text, '/');
	if (slash)
		*slash++ = 0;
	if (!slash || parse_i64(slash, &bits) < 0 || bits < 8 || bits > 30 || inet_pton(AF_INET, text, &in) != 1)
		return err_set(err, -EINVAL, "service range %s is not an IPv4 range of /8 to /30", cidr);
	uint32_t mask = ~0u << (32 - bits);
	*ret_base = ntohl(in.s_addr) & mask;
	*ret_size = ~mask + 1;
	return 0;
}

static char *ip_text(uint32_t ip, char ret[16])
{
	struct in_addr in = {.s_addr = htonl(ip)};
	inet_ntop(AF_INET, &in, ret, 16);
	return ret;
}

int service_ips_new(const char *cidr, unsigned port_min, unsigned port_max, struct service_ips **ret, struct err *err)
{
	uint32_t base = 0, size = 0;
	if (cidr && parse_cidr(cidr, &base, &size, err) < 0)
		return -EINVAL;
	if (!port_min && !port_max) {
		port_min = 30000;
		port_max = 32767;
	}
	if (port_min > port_max || port_max > 65535)
		return err_set(err, -EINVAL, "node ports %u-%u are not a range", port_min, port_max);
	struct service_ips *s = NEW(struct service_ips);
	s->base = base;
	s->size = size;
	s->port_min = port_min;
	s->port_max = port_max;
	s->ips = NEW_N(uint8_t, size / 8 + 1);
	s->ports = NEW_N(uint8_t, (port_max - port_min) / 8 + 1);
	if (size)
		ip_text(base + 1, s->first);
	*ret = s;
	return 0;
}

void service_ips_free(struct service_ips *s)
{
	if (!s)
		return;
	free(s->ips);
	free(s->ports);
	free(s);
}

const char *service_ips_first(const struct service_ips *s)
{
	return s->first;
}

void service_ip_claim_done(struct service_ip_claim *c)
{
	for (unsigned i = 0; i < c->n_take; i++)
		free(c->take[i].key);
	for (unsigned i = 0; i < c->n_give; i++)
		free(c->give[i]);
	free(c->take);
	free(c->give);
	*c = (struct service_ip_claim){0};
}

/* ---- following what is in use ---- */

static bool ip_index(const struct service_ips *s, const char *text, uint32_t *ret)
{
	struct in_addr in;
	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	*ret = ntohl(in.s_addr) - s->base;
	return *ret < s->size;
}

bool service_ips_contains(const struct service_ips *s, const char *ip)
{
	uint32_t i;
	return s->size && ip_index(s, ip, &i);
}

static void mark(struct service_ips *s, const char *key, bool used)
{
	uint32_t i;
	uint64_t port;
	if (str_starts(key, IP_PREFIX) && ip_index(s, key + strlen(IP_PREFIX), &i))
		set_bit(s->ips, i, used);
	else if (str_starts(key, PORT_PREFIX) && parse_u64(key + strlen(PORT_PREFIX), &port) == 0 &&
		 port >= s->port_min && port <= s->port_max)
		set_bit(s->ports, (uint32_t)port - s->port_min, used);
}

static void on_events(void *arg, uint64_t rev, const struct store_event *events, size_t n)
{
	(void)rev;
	struct apiserver *a = arg;
	for (size_t i = 0; i < n; i++)
		mark(a->service_ips, events[i].kv.key, events[i].type == STORE_EVENT_PUT);
}

static void on_progress(void *arg, uint64_t rev)
{
	(void)arg;
	(void)rev;
}

/* The bitmap is a hint: without its watch it grows stale, and transactions still decide. */
static void on_end(void *arg, const struct err *err)
{
	(void)err;
	((struct apiserver *)arg)->service_ips->watch = NULL;
}

static void on_range(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	static const struct store_watch_ops ops = {on_events, on_progress, on_end};
	struct apiserver *a = arg;
	struct service_ips *s = a->service_ips;
	if (!store_failed(err) && !a->closing) {
		for (size_t i = 0; i < resp->n_kvs; i++)
			mark(s, resp->kvs[i].key, true);
		_cleanup_free_ char *end = store_prefix_end(RANGE_PREFIX);
		struct store_watch_req req = {.key = RANGE_PREFIX, .end = end, .start_rev = resp->rev + 1};
		s->watch = store_watch(a->store, &req, &ops, a);
	}
	s->done(s->arg, store_failed(err) ? err : &(struct err){0});
}

void service_ips_start(struct apiserver *a, void (*done)(void *arg, const struct err *err), void *arg)
{
	struct service_ips *s = a->service_ips;
	s->done = done;
	s->arg = arg;
	_cleanup_free_ char *end = store_prefix_end(RANGE_PREFIX);
	struct store_range_req req = {.key = RANGE_PREFIX, .end = end, .keys_only = true, .serializable = true};
	store_range(a->store, &req, on_range, a);
}

void service_ips_stop(struct apiserver *a)
{
	if (a->service_ips->watch)
		a->store->engine->unwatch(a->store, STEAL(a->service_ips->watch));
}

/* ---- one Service ---- */

static void take(struct service_ip_claim *c, const char *prefix, const char *value, bool asked, const char *field)
{
	GROW(c->take, c->cap_take, c->n_take + 1);
	struct service_ip_key *k = &c->take[c->n_take++];
	*k = (struct service_ip_key){.key = xasprintf("%s%s", prefix, value), .asked = asked};
	snprintf(k->field, sizeof(k->field), "%s", field);
	snprintf(k->value, sizeof(k->value), "%s", value);
}

static void give(struct service_ip_claim *c, const char *prefix, const char *value)
{
	GROW(c->give, c->cap_give, c->n_give + 1);
	c->give[c->n_give++] = xasprintf("%s%s", prefix, value);
}

/* A free one: from a random place on, so that a refused one is not tried again at once. The network's own, the first
 * (the API's) and the last address are never given out unasked. */
static bool pick_ip(struct request *r, char ret[16])
{
	struct service_ips *s = r->server->service_ips;
	if (s->size < 4)
		return false;
	uint32_t n = s->size - 3, start = (uint32_t)env_random_below(r->server->env, n);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = 2 + (start + k) % n;
		if (!bit(s->ips, i))
			return ip_text(s->base + i, ret), true;
	}
	return false;
}

static unsigned pick_port(struct request *r, const struct service_ip_claim *c)
{
	struct service_ips *s = r->server->service_ips;
	uint32_t n = s->port_max - s->port_min + 1, start = (uint32_t)env_random_below(r->server->env, n);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (start + k) % n;
		char key[64];
		snprintf(key, sizeof(key), PORT_PREFIX "%u", s->port_min + i);
		bool mine = false;
		for (unsigned t = 0; t < c->n_take; t++)
			mine |= streq(c->take[t].key, key);
		if (!bit(s->ports, i) && !mine)
			return s->port_min + i;
	}
	return 0;
}

static bool wants_ip(const json_t *spec)
{
	return spec && !streq(json_get_str(spec, "type", ""), "ExternalName") &&
	       !streq(json_get_str(spec, "clusterIP", ""), "None");
}

static bool wants_ports(const json_t *spec)
{
	const char *type = json_get_str(spec, "type", "");
	if (streq(type, "NodePort"))
		return true;
	return streq(type, "LoadBalancer") && json_get_bool(spec, "allocateLoadBalancerNodePorts", true);
}

static int invalid(struct request *r, const char *field, const char *fmt, const char *value)
{
	char text[300];
	snprintf(text, sizeof(text), fmt, value);
	err_add_cause(&r->err, "FieldValueInvalid", field, "Invalid value: \"%s\": %s", value, text);
	schema_invalid_message(&r->err, r->kind, r->route.name);
	return r->err.code;
}

static int claim_ip(struct request *r, json_t *spec, const json_t *old, struct service_ip_claim *c)
{
	struct service_ips *s = r->server->service_ips;
	const char *had = wants_ip(old) ? json_get_str(old, "clusterIP", "") : "";
	if (!wants_ip(spec)) {
		if (*had)
			give(c, IP_PREFIX, had);
		if (streq(json_get_str(spec, "clusterIP", ""), "None"))
			json_put(spec, "clusterIPs", json_make("[s]", "None"));
		return 0;
	}
	const char *ip = json_get_str(spec, "clusterIP", "");
	uint32_t i;
	char picked[16];
	if (!*ip && *had)
		ip = had;
	if (!*ip && !pick_ip(r, picked))
		return err_status(&r->err, ERR_INTERNAL_ERROR,
				  "failed to allocate a serviceIP: range is full or none is configured");
	if (*ip && !ip_index(s, ip, &i))
		return invalid(r, "spec.clusterIPs",
			       "failed to allocate IP %s: the provided IP is not in the valid range", ip);
	/* a change of the address is refused by validation; a second take of the same is no change */
	if (!*ip || !streq(ip, had))
		take(c, IP_PREFIX, *ip ? ip : picked, *ip != 0, "spec.clusterIPs");
	_cleanup_free_ char *text = xstrdup(*ip ? ip : picked);
	json_put_str(spec, "clusterIP", text);
	json_put(spec, "clusterIPs", json_make("[s]", text));
	if (!json_object_get(spec, "ipFamilies"))
		json_put(spec, "ipFamilies", json_make("[s]", "IPv4"));
	if (!json_object_get(spec, "ipFamilyPolicy"))
		json_put_str(spec, "ipFamilyPolicy", "SingleStack");
	if (!json_object_get(spec, "internalTrafficPolicy"))
		json_put_str(spec, "internalTrafficPolicy", "Cluster");
	return 0;
}

static int64_t old_node_port(const json_t *old, const json_t *port)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(old, "ports"), i, p)
	{
		if (json_get_int(p, "port", 0) == json_get_int(port, "port", 0) &&
		    streq(json_get_str(p, "protocol", "TCP"), json_get_str(port, "protocol", "TCP")))
			return json_get_int(p, "nodePort", 0);
	}
	return 0;
}

static bool has_node_port(const json_t *spec, int64_t want)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(spec, "ports"), i, p)
	{
		if (json_get_int(p, "nodePort", 0) == want)
			return true;
	}
	return false;
}

static bool taken_here(const struct service_ip_claim *c, const char *value)
{
	for (unsigned i = 0; i < c->n_take; i++)
		if (streq(c->take[i].value, value))
			return true;
	return false;
}

static int claim_port(struct request *r, json_t *port, size_t at, const json_t *old, struct service_ip_claim *c)
{
	struct service_ips *s = r->server->service_ips;
	char text[16], field[64];
	int64_t n = json_get_int(port, "nodePort", 0);
	bool asked = n != 0;
	snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", at);
	if (!n)
		n = old_node_port(old, port);
	if (!n)
		n = pick_port(r, c);
	if (!n)
		return err_status(&r->err, ERR_INTERNAL_ERROR, "failed to allocate a nodePort: range is full");
	snprintf(text, sizeof(text), "%lld", (long long)n);
	json_put_int(port, "nodePort", n);
	if (old && has_node_port(old, n))
		return 0;
	if (n < s->port_min || n > s->port_max) {
		char range[100];
		snprintf(range, sizeof(range),
			 "provided port is not in the valid range. The range of valid ports is %u-%u", s->port_min,
			 s->port_max);
		err_add_cause(&r->err, "FieldValueInvalid", field, "Invalid value: %s: %s", text, range);
		schema_invalid_message(&r->err, r->kind, r->route.name);
		return r->err.code;
	}
	if (!taken_here(c, text))
		take(c, PORT_PREFIX, text, asked, field);
	return 0;
}

static int claim_ports(struct request *r, json_t *spec, const json_t *old, struct service_ip_claim *c)
{
	const json_t *had = old && wants_ports(old) ? old : NULL;
	size_t i;
	json_t *p;
	int rc = 0;
	bool wants = wants_ports(spec);
	json_array_foreach(json_object_get(spec, "ports"), i, p)
	{
		if (wants && rc >= 0)
			rc = claim_port(r, p, i, had, c);
		else if (!wants && old && wants_ports(old))
			json_object_del(p, "nodePort");
	}
	json_array_foreach(json_object_get(had, "ports"), i, p)
	{
		int64_t n = json_get_int(p, "nodePort", 0);
		char text[16];
		snprintf(text, sizeof(text), "%lld", (long long)n);
		if (n && !(wants && has_node_port(spec, n)))
			give(c, PORT_PREFIX, text);
	}
	return rc;
}

static bool is_service(const struct request *r)
{
	return streq(r->kind->kind, "Service") && !*r->kind->group;
}

int service_ip_claim(struct request *r, json_t *tree, const json_t *old, struct service_ip_claim *claim)
{
	if (!is_service(r))
		return 0;
	service_ip_claim_done(claim);
	json_t *spec = json_need_object(tree, "spec");
	const json_t *old_spec = json_object_get(old, "spec");
	const char *type = json_get_str(spec, "type", "ClusterIP");
	bool outside = streq(type, "NodePort") || streq(type, "LoadBalancer");
	if (outside && !json_object_get(spec, "externalTrafficPolicy"))
		json_put_str(spec, "externalTrafficPolicy", "Cluster");
	if (!outside && old && json_array_size(json_object_get(spec, "externalIPs")) == 0)
		json_object_del(spec, "externalTrafficPolicy");
	int rc = claim_ip(r, spec, old_spec, claim);
	return rc < 0 ? rc : claim_ports(r, spec, old_spec, claim);
}

void service_ip_plan(struct request *r, const struct service_ip_claim *claim)
{
	if (claim->n_take == 0 && claim->n_give == 0)
		return;
	_cleanup_free_ char *owner = xasprintf("%s/%s", r->route.ns, r->route.name);
	_cleanup_blob_ struct blob *value = blob_new(owner, strlen(owner));
	for (unsigned i = 0; i < claim->n_take; i++) {
		plan_expect(&r->plan, claim->take[i].key, STORE_CMP_CREATE_REV, STORE_EQ, 0);
		plan_put(&r->plan, claim->take[i].key, value);
		plan_get_else(&r->plan, claim->take[i].key);
	}
	for (unsigned i = 0; i < claim->n_give; i++)
		plan_delete(&r->plan, claim->give[i]);
}

void service_ip_plan_release(struct request *r, const json_t *tree)
{
	if (!is_service(r))
		return;
	struct service_ip_claim c = {0};
	const json_t *spec = json_object_get(tree, "spec");
	const char *ip = json_get_str(spec, "clusterIP", "");
	if (wants_ip(spec) && *ip)
		give(&c, IP_PREFIX, ip);
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(spec, "ports"), i, p)
	{
		char text[24];
		snprintf(text, sizeof(text), "%lld", (long long)json_get_int(p, "nodePort", 0));
		if (!streq(text, "0"))
			give(&c, PORT_PREFIX, text);
	}
	service_ip_plan(r, &c);
	service_ip_claim_done(&c);
}

int service_ip_refused(struct request *r, const struct service_ip_claim *claim, const struct store_txn_resp *resp)
{
	for (unsigned i = 0; i < claim->n_take && 1 + i < resp->n_got; i++) {
		const struct service_ip_key *k = &claim->take[i];
		if (!resp->got[1 + i].value)
			continue;
		mark(r->server->service_ips, k->key, true);
		if (!k->asked)
			continue;
		bool ip = str_starts(k->key, IP_PREFIX);
		err_add_cause(&r->err, "FieldValueInvalid", k->field, "Invalid value: %s%s%s: %s%s%s",
			      ip ? "[]string{\"" : "", k->value, ip ? "\"}" : "", ip ? "failed to allocate IP " : "",
			      ip ? k->value : "",
			      ip ? ": provided IP is already allocated" : "provided port is already allocated");
		schema_invalid_message(&r->err, r->kind, r->route.name);
		return r->err.code;
	}
	return 0;
}
