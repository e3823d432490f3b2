#include "proxy/rules.h"

#include <stdarg.h>

#include "lib/core/sha256.h"

#define MARK "0x4000"

const struct rules_jump rules_jumps[] = {
	{"nat", "PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
	{"nat", "OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
	{"nat", "POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING"},
	{"filter", "INPUT", "-m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS"},
	{"filter", "INPUT",
	 "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j "
	 "KUBE-EXTERNAL-SERVICES"},
	{"filter", "INPUT", "-j KUBE-FIREWALL"},
	{"filter", "FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD"},
	{"filter", "FORWARD",
	 "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
	{"filter", "FORWARD",
	 "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j "
	 "KUBE-EXTERNAL-SERVICES"},
	{"filter", "OUTPUT",
	 "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"},
};
const size_t n_rules_jumps = ARRAY_LEN(rules_jumps);

void rules_done(struct rules *r)
{
	r->nat.free_value = r->filter.free_value = free;
	map_done(&r->nat);
	map_done(&r->filter);
}

void rules_chain_name(const char *prefix, const char *text, char ret[32])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint8_t digest[32];
	sha256(text, strlen(text), digest);
	size_t n = (size_t)snprintf(ret, 15, "%s", prefix);
	/* 80 bits are 16 characters. */
	for (unsigned i = 0; i < 16; i++) {
		unsigned bit = i * 5, v = (unsigned)digest[bit / 8] << 8 | digest[bit / 8 + 1];
		ret[n++] = alphabet[v >> (11 - bit % 8) & 31];
	}
	ret[n] = 0;
}

/* Rules under construction: a text per chain, appended to in the map's order. */
struct builder {
	const struct dataplane_config *config;
	struct map *nat, *filter;
	struct buf services, nodeports, filter_services, external; /* shared chains */
};

static void chain_set(struct map *table, const char *chain, struct buf *text)
{
	map_set(table, chain, buf_steal(text));
}

static void chain_text(struct map *table, const char *chain, const char *text)
{
	map_set(table, chain, xstrdup(text));
}

static const char *proto_str(enum proxy_proto p)
{
	return p == PROXY_UDP ? "udp" : p == PROXY_SCTP ? "sctp" : "tcp";
}

/* One port of one service, with the names that follow from it. */
struct port_names {
	char id[600]; /* ns/name:port */
	char svc[32], ext[32], svl[32];
	const char *proto;
};

static void name_port(const struct proxy_service_port *p, struct port_names *ret)
{
	char key[620];
	if (str_empty(p->port_name))
		snprintf(ret->id, sizeof(ret->id), "%s/%s", p->ns, p->name);
	else
		snprintf(ret->id, sizeof(ret->id), "%s/%s:%s", p->ns, p->name, p->port_name);
	ret->proto = proto_str(p->proto);
	snprintf(key, sizeof(key), "%s%s", ret->id, ret->proto);
	rules_chain_name("KUBE-SVC-", key, ret->svc);
	rules_chain_name("KUBE-EXT-", key, ret->ext);
	rules_chain_name("KUBE-SVL-", key, ret->svl);
}

static void name_endpoint(const struct port_names *n, const struct proxy_endpoint *e, char ret[32])
{
	char key[700];
	snprintf(key, sizeof(key), "%s%s%s:%u", n->id, n->proto, e->ip, e->port);
	rules_chain_name("KUBE-SEP-", key, ret);
}

static void endpoint_chain(struct builder *b, const struct proxy_service_port *p, const struct port_names *n,
			   const struct proxy_endpoint *e)
{
	char chain[32];
	struct buf t = BUF_INIT;
	name_endpoint(n, e, chain);
	/* A pod that reaches itself through its service must see another source than its own. */
	buf_addf(&t, "-A %s -m comment --comment \"%s\" -s %s -j KUBE-MARK-MASQ\n", chain, n->id, e->ip);
	buf_addf(&t, "-A %s -m comment --comment \"%s\"", chain, n->id);
	if (p->session_affinity)
		buf_addf(&t, " -m recent --name %s --set", chain);
	buf_addf(&t, " -m %s -p %s -j DNAT --to-destination %s:%u\n", n->proto, n->proto, e->ip, e->port);
	chain_set(b->nat, chain, &t);
}

/* Jumps to the endpoints: each takes 1/(those left) of what comes by, the last one the rest. */
static void spread(struct buf *t, const char *chain, const struct proxy_service_port *p, const struct port_names *n,
		   bool local_only)
{
	size_t left = 0;
	char sep[32];
	for (size_t i = 0; i < p->n_endpoints; i++)
		left += !local_only || p->endpoints[i].local;
	for (size_t i = 0; i < p->n_endpoints && p->session_affinity; i++) {
		if (local_only && !p->endpoints[i].local)
			continue;
		name_endpoint(n, &p->endpoints[i], sep);
		buf_addf(
			t,
			"-A %s -m comment --comment \"%s -> %s:%u\" -m recent --name %s --rcheck --seconds %u --reap -j %s\n",
			chain, n->id, p->endpoints[i].ip, p->endpoints[i].port, sep, p->affinity_timeout_s, sep);
	}
	for (size_t i = 0; i < p->n_endpoints; i++) {
		const struct proxy_endpoint *e = &p->endpoints[i];
		if (local_only && !e->local)
			continue;
		name_endpoint(n, e, sep);
		buf_addf(t, "-A %s -m comment --comment \"%s -> %s:%u\"", chain, n->id, e->ip, e->port);
		if (left > 1)
			buf_addf(t, " -m statistic --mode random --probability %.10f", 1.0 / (double)left);
		buf_addf(t, " -j %s\n", sep);
		left--;
	}
}

static bool has_external(const struct proxy_service_port *p)
{
	return p->node_port || (p->external_ips && p->external_ips[0]);
}

static size_t count_local(const struct proxy_service_port *p)
{
	size_t n = 0;
	for (size_t i = 0; i < p->n_endpoints; i++)
		n += p->endpoints[i].local;
	return n;
}

/* What comes from outside the cluster, by node port or external address. */
static void external_chain(struct builder *b, const struct proxy_service_port *p, const struct port_names *n)
{
	struct buf t = BUF_INIT;
	const char *cidr = b->config->cluster_cidr;
	if (!p->external_local) {
		buf_addf(
			&t,
			"-A %s -m comment --comment \"masquerade traffic for %s external destinations\" -j KUBE-MARK-MASQ\n",
			n->ext, n->id);
		buf_addf(&t, "-A %s -j %s\n", n->ext, n->svc);
		chain_set(b->nat, n->ext, &t);
		return;
	}
	/* externalTrafficPolicy Local: the client's address is kept; pods and the node itself may still use all endpoints. */
	buf_addf(&t, "-A %s -s %s -m comment --comment \"pod traffic for %s external destinations\" -j %s\n", n->ext,
		 cidr, n->id, n->svc);
	buf_addf(
		&t,
		"-A %s -m comment --comment \"masquerade LOCAL traffic for %s external destinations\" -m addrtype --src-type "
		"LOCAL -j KUBE-MARK-MASQ\n",
		n->ext, n->id);
	buf_addf(
		&t,
		"-A %s -m comment --comment \"route LOCAL traffic for %s external destinations\" -m addrtype --src-type LOCAL "
		"-j %s\n",
		n->ext, n->id, n->svc);
	if (count_local(p))
		buf_addf(&t, "-A %s -j %s\n", n->ext, n->svl);
	chain_set(b->nat, n->ext, &t);
}

static void cluster_chain(struct builder *b, const struct proxy_service_port *p, const struct port_names *n)
{
	struct buf t = BUF_INIT;
	buf_addf(
		&t,
		"-A %s ! -s %s -d %s/32 -m comment --comment \"%s cluster IP\" -m %s -p %s --dport %u -j KUBE-MARK-MASQ\n",
		n->svc, b->config->cluster_cidr, p->cluster_ip, n->id, n->proto, n->proto, p->port);
	spread(&t, n->svc, p, n, false);
	chain_set(b->nat, n->svc, &t);
	if ((p->external_local && has_external(p)) || p->internal_local) {
		if (count_local(p)) {
			spread(&t, n->svl, p, n, true);
			chain_set(b->nat, n->svl, &t);
		}
	}
}

/* Nobody to send it to: refused when there is no endpoint at all, dropped when only this node has none (a load balancer
 * then asks another node). Refused with a reset, where there is one: an ICMP error that meets a socket still inside
 * connect() is dropped by the kernel, and the caller waits a second for the next try. */
static void turn_away(struct buf *t, const char *chain, const struct port_names *n, bool local, const char *match,
		      unsigned port)
{
	const char *verdict = local ? "DROP" : streq(n->proto, "tcp") ? "REJECT --reject-with tcp-reset" : "REJECT";
	buf_addf(t, "-A %s -m comment --comment \"%s has no %sendpoints\" -m %s -p %s %s --dport %u -j %s\n", chain,
		 n->id, local ? "local " : "", n->proto, n->proto, match, port, verdict);
}

static void turn_away_inside(struct builder *b, const struct proxy_service_port *p, const struct port_names *n,
			     bool local)
{
	char match[80];
	snprintf(match, sizeof(match), "-d %s/32", p->cluster_ip);
	turn_away(&b->filter_services, "KUBE-SERVICES", n, local, match, p->port);
}

static void turn_away_outside(struct builder *b, const struct proxy_service_port *p, const struct port_names *n,
			      bool local)
{
	char match[80];
	if (p->node_port)
		turn_away(&b->external, "KUBE-EXTERNAL-SERVICES", n, local, "-m addrtype --dst-type LOCAL",
			  p->node_port);
	for (const char *const *ip = p->external_ips; ip && *ip; ip++) {
		snprintf(match, sizeof(match), "-d %s/32", *ip);
		turn_away(&b->external, "KUBE-EXTERNAL-SERVICES", n, local, match, p->port);
	}
}

static void without_endpoints(struct builder *b, const struct proxy_service_port *p, const struct port_names *n)
{
	turn_away_inside(b, p, n, false);
	turn_away_outside(b, p, n, false);
}

static void with_endpoints(struct builder *b, const struct proxy_service_port *p, const struct port_names *n)
{
	for (size_t i = 0; i < p->n_endpoints; i++)
		endpoint_chain(b, p, n, &p->endpoints[i]);
	cluster_chain(b, p, n);
	bool none_here = count_local(p) == 0;
	if (p->internal_local && none_here)
		turn_away_inside(b, p, n, true);
	else
		buf_addf(
			&b->services,
			"-A KUBE-SERVICES -m comment --comment \"%s cluster IP\" -m %s -p %s -d %s/32 --dport %u -j %s\n",
			n->id, n->proto, n->proto, p->cluster_ip, p->port, p->internal_local ? n->svl : n->svc);
	if (!has_external(p))
		return;
	if (p->external_local && none_here)
		turn_away_outside(b, p, n, true);
	external_chain(b, p, n);
	if (p->node_port)
		buf_addf(&b->nodeports, "-A KUBE-NODEPORTS -m comment --comment \"%s\" -m %s -p %s --dport %u -j %s\n",
			 n->id, n->proto, n->proto, p->node_port, n->ext);
	for (const char *const *ip = p->external_ips; ip && *ip; ip++)
		buf_addf(
			&b->services,
			"-A KUBE-SERVICES -m comment --comment \"%s external IP\" -m %s -p %s -d %s/32 --dport %u -j %s\n",
			n->id, n->proto, n->proto, *ip, p->port, n->ext);
}

static void fixed_chains(struct builder *b)
{
	const struct dataplane_config *c = b->config;
	struct buf t = BUF_INIT;
	chain_text(b->nat, "KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK --or-mark " MARK "\n");
	/* Pods that leave the cluster take the node's address. */
	buf_addf(&t,
		 "-A KUBE-POSTROUTING -s %s ! -d %s ! -o %s -m comment --comment \"pods to the outside\" -j MASQUERADE "
		 "--random-fully\n",
		 c->cluster_cidr, c->cluster_cidr, c->bridge);
	buf_adds(&t,
		 "-A KUBE-POSTROUTING -m mark ! --mark " MARK "/" MARK " -j RETURN\n"
		 "-A KUBE-POSTROUTING -j MARK --xor-mark " MARK "\n"
		 "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE "
		 "--random-fully\n");
	chain_set(b->nat, "KUBE-POSTROUTING", &t);
	/* An invalid packet let through would make the pod reset a connection that is not lost. */
	buf_addf(&t,
		 "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n"
		 "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark " MARK "/" MARK
		 " -j ACCEPT\n"
		 "-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate "
		 "RELATED,ESTABLISHED -j ACCEPT\n"
		 "-A KUBE-FORWARD -s %s -j ACCEPT\n"
		 "-A KUBE-FORWARD -d %s -j ACCEPT\n",
		 c->cluster_cidr, c->cluster_cidr);
	chain_set(b->filter, "KUBE-FORWARD", &t);
	/* route_localnet lets 127.0.0.1 reach node ports; nobody else may reach 127.0.0.0/8 by it. */
	chain_text(b->filter, "KUBE-FIREWALL",
		   "-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet "
		   "connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n");
	chain_text(b->filter, "KUBE-NODEPORTS", "");
}

void rules_build(const struct proxy_map *map, const struct dataplane_config *config, struct rules *ret)
{
	*ret = (struct rules){.nat = {.free_value = free}, .filter = {.free_value = free}};
	struct builder b = {.config = config, .nat = &ret->nat, .filter = &ret->filter};
	fixed_chains(&b);
	for (size_t i = 0; i < map->n_ports; i++) {
		struct port_names n;
		name_port(&map->ports[i], &n);
		if (map->ports[i].n_endpoints)
			with_endpoints(&b, &map->ports[i], &n);
		else
			without_endpoints(&b, &map->ports[i], &n);
	}
	/* An address of the service range that no service has is refused at once instead of timing out on the bridge. */
	buf_addf(
		&b.filter_services,
		"-A KUBE-SERVICES -d %s -p tcp -m comment --comment \"no such service\" -j REJECT --reject-with tcp-reset\n"
		"-A KUBE-SERVICES -d %s -m comment --comment \"no such service\" -j REJECT\n",
		config->service_cidr, config->service_cidr);
	buf_adds(
		&b.services,
		"-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in "
		"this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
	chain_set(b.nat, "KUBE-SERVICES", &b.services);
	chain_set(b.nat, "KUBE-NODEPORTS", &b.nodeports);
	chain_set(b.filter, "KUBE-SERVICES", &b.filter_services);
	chain_set(b.filter, "KUBE-EXTERNAL-SERVICES", &b.external);
}

static void diff_table(const char *table, const struct map *old, const struct map *now, struct buf *out)
{
	struct buf heads = BUF_INIT, body = BUF_INIT;
	MAP_EACH (now, e) {
		const char *was = map_get(old, e->key);
		if (was && streq(was, e->value))
			continue;
		/* Naming a chain makes it, or empties it. */
		buf_addf(&heads, ":%s - [0:0]\n", e->key);
		buf_adds(&body, e->value);
	}
	/* Emptied first, then removed: by then nothing points to them any more. */
	MAP_EACH (old, e) {
		if (!map_has(now, e->key))
			buf_addf(&heads, ":%s - [0:0]\n", e->key);
	}
	MAP_EACH (old, e) {
		if (!map_has(now, e->key))
			buf_addf(&body, "-X %s\n", e->key);
	}
	if (heads.len) {
		buf_addf(out, "*%s\n", table);
		buf_add(out, buf_str(&heads), heads.len);
		buf_add(out, buf_str(&body), body.len);
		buf_adds(out, "COMMIT\n");
	}
	buf_done(&heads);
	buf_done(&body);
}

void rules_diff(const struct rules *old, const struct rules *now, struct buf *out)
{
	/* filter first: a service that gets its first endpoint stops being refused no later than it is translated, and
	 * one that lost its last is refused right after. */
	diff_table("filter", &old->filter, &now->filter, out);
	diff_table("nat", &old->nat, &now->nat, out);
}
