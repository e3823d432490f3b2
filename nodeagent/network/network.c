#include "nodeagent/network/network.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/utsname.h>

#include "lib/core/file.h"
#include "lib/core/map.h"
#include "lib/core/proc.h"
#include "nodeagent/network/cidr.h"
#include "nodeagent/network/netlink.h"

/* One sandbox's address and the host end of its veth. Kept in DIR/<sandbox id>, one line "ip link": written before the
 * link is made, so it is the journal of links too. It needs no sync: a machine that loses it has lost the links as well. */
struct lease {
	char ip[16];
	char link[16];
	uint32_t addr;
	int pid; /* in the sandbox's namespace, once attached */
};

/* Not the network's own address, not the bridge's (and at the end not the broadcast address). */
#define FIRST_ADDRESS 2u

/* Of a sandbox's sockets, so many are looked at. */
#define SOCKETS_MAX 1000

struct network {
	struct env *env;
	struct journal *journal;
	char *dir;
	char bridge[16];
	char gateway[16];
	struct cidr pods, cluster, services;
	struct netlink nl;
	int bridge_index;
	struct map leases; /* by sandbox id */
	uint8_t *used;     /* one per address of the pod range */
	uint32_t cursor;   /* addresses are handed out in turn, so that one just freed rests longest */
};

const char *network_gateway(const struct network *n)
{
	return n->gateway;
}

const char *network_bridge(const struct network *n)
{
	return n->bridge;
}

/* A range that the host already routes elsewhere would be cut off by ours, or cut ours off. */
static int check_overlap(struct network *n, const char *text, const struct cidr *range, const char *flag,
			 struct err *err)
{
	_cleanup_free_ struct netlink_route *routes = NULL;
	size_t count = 0;
	int r = netlink_route_list(&n->nl, &routes, &count, err);
	if (r < 0)
		return r;
	int mine = netlink_link_index(&n->nl, n->bridge, NULL);
	for (size_t i = 0; i < count; i++) {
		struct cidr c = {.base = ntohl(routes[i].dst.s_addr), .prefix = routes[i].prefix};
		if (c.prefix == 0 || routes[i].index == mine || !cidr_overlap(&c, range))
			continue;
		char ip[16];
		return err_set(err, -EADDRINUSE,
			       "the range %s overlaps the host's route %s/%u: choose another one with %s", text,
			       ip_str(c.base, ip), c.prefix, flag);
	}
	return 0;
}

/* Set a sysctl, its old value journalled first. A missing one is an error only if `needed`. */
static int sysctl_set(struct network *n, const char *path, const char *value, bool needed, struct err *err)
{
	_cleanup_buf_ struct buf old = BUF_INIT;
	if (!file_exists(path))
		return needed ? err_set(err, -ENOENT, "this kernel has no %s", path) : 0;
	int r = file_read(path, 256, &old, err);
	if (r < 0)
		return r;
	while (old.len && (old.data[old.len - 1] == '\n' || old.data[old.len - 1] == ' '))
		old.data[--old.len] = 0;
	if (streq(buf_str(&old), value))
		return 0;
	r = journal_add(n->journal, JOURNAL_SYSCTL, path, buf_str(&old), err);
	return r < 0 ? r : file_write(path, value, err);
}

/* A MAC that follows from the address: a neighbour's cache stays right when an address is used again. */
static void mac_of(uint32_t addr, uint8_t ret[6])
{
	const uint8_t mac[6] = {0x0a,         0x58, (uint8_t)(addr >> 24), (uint8_t)(addr >> 16), (uint8_t)(addr >> 8),
				(uint8_t)addr};
	memcpy(ret, mac, sizeof(mac));
}

static int make_bridge(struct network *n, struct err *err)
{
	uint8_t mac[6];
	mac_of(n->pods.base + 1, mac);
	int r = journal_add(n->journal, JOURNAL_LINK, n->bridge, NULL, err);
	if (r == 0)
		r = netlink_bridge_add(&n->nl, n->bridge, mac, err);
	if (r < 0)
		return r;
	n->bridge_index = netlink_link_index(&n->nl, n->bridge, err);
	if (n->bridge_index < 0)
		return n->bridge_index;
	struct in_addr gateway = {.s_addr = htonl(n->pods.base + 1)};
	r = netlink_addr_add(&n->nl, n->bridge_index, gateway, n->pods.prefix, err);
	if (r == 0)
		r = netlink_link_up(&n->nl, n->bridge_index, err);
	return r;
}

static int route_range(struct network *n, const struct cidr *c, const char *text, struct err *err)
{
	struct netlink_route route = {.dst = {.s_addr = htonl(c->base)}, .prefix = c->prefix, .index = n->bridge_index};
	int r = journal_add(n->journal, JOURNAL_ROUTE, text, n->bridge, err);
	return r < 0 ? r : netlink_route_add(&n->nl, &route, err);
}

static int lease_read(const char *path, struct lease *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct lease l = {0};
	struct in_addr in;
	int r = file_read(path, 256, &b, NULL);
	if (r < 0)
		return r;
	if (sscanf(buf_str(&b), "%15s %15s", l.ip, l.link) != 2 || inet_pton(AF_INET, l.ip, &in) != 1)
		return -EINVAL;
	l.addr = ntohl(in.s_addr);
	*ret = l;
	return 0;
}

static void load_lease(struct network *n, const char *id)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", n->dir, id);
	struct lease l;
	int r = lease_read(path, &l);
	if (r == -EINVAL || (r == 0 && !cidr_has(&n->pods, l.addr)))
		unlink(path);
	if (r < 0 || !cidr_has(&n->pods, l.addr))
		return;
	n->used[l.addr - n->pods.base] = 1;
	/* Go on behind the highest: what was freed just before a restart rests too. */
	n->cursor = MAX(n->cursor, l.addr - n->pods.base - FIRST_ADDRESS + 1);
	struct lease *kept = NEW(struct lease);
	*kept = l;
	map_set(&n->leases, id, kept);
}

static int load_leases(struct network *n, struct err *err)
{
	int r = mkdir_p(n->dir, 0700, err);
	if (r < 0)
		return r;
	DIR *d = opendir(n->dir);
	if (!d)
		return err_errno(err, "open %s", n->dir);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.' && !str_ends(e->d_name, ".tmp"))
			load_lease(n, e->d_name);
	closedir(d);
	return 0;
}

static int parse_ranges(struct network *n, const struct network_config *c, struct err *err)
{
	int r = cidr_parse(c->pod_cidr, &n->pods, err);
	if (r == 0)
		r = cidr_parse(c->cluster_cidr, &n->cluster, err);
	if (r == 0)
		r = cidr_parse(c->service_cidr, &n->services, err);
	if (r < 0)
		return r;
	if (n->pods.prefix < 12 || n->pods.prefix > 29)
		return err_set(err, -EINVAL, "the node's pod range %s must be between /12 and /29", c->pod_cidr);
	if (cidr_overlap(&n->pods, &n->services) || cidr_overlap(&n->cluster, &n->services))
		return err_set(err, -EINVAL, "the pod range %s and the service range %s overlap", c->cluster_cidr,
			       c->service_cidr);
	return 0;
}

static int load_br_netfilter(void)
{
	static const char path[] = "/proc/sys/net/bridge/bridge-nf-call-iptables";
	if (!file_exists(path)) {
		const char *const argv[] = {"modprobe", "br_netfilter", NULL};
		int status;
		proc_run(argv, NULL, NULL, NULL, &status, NULL);
	}
	return file_exists(path);
}

static int set_up_host(struct network *n, const struct network_config *c, struct err *err)
{
	int r = check_overlap(n, c->cluster_cidr, &n->cluster, "--cluster-cidr", err);
	if (r == 0)
		r = check_overlap(n, c->service_cidr, &n->services, "--service-cidr", err);
	if (r == 0)
		r = make_bridge(n, err);
	if (r == 0)
		r = route_range(n, &n->services, c->service_cidr, err);
	if (r == 0 && n->cluster.prefix < n->pods.prefix)
		r = route_range(n, &n->cluster, c->cluster_cidr, err);
	if (r == 0)
		r = sysctl_set(n, "/proc/sys/net/ipv4/ip_forward", "1", true, err);
	/* Without it, answers between two pods on the bridge skip the address translation of services. */
	if (r == 0 && !load_br_netfilter())
		r = err_set(err, -ENOENT,
			    "the kernel module br_netfilter is missing: services would not work between pods");
	if (r == 0)
		r = sysctl_set(n, "/proc/sys/net/bridge/bridge-nf-call-iptables", "1", true, err);
	return r;
}

int network_start(struct env *env, const struct network_config *c, struct network **ret, struct err *err)
{
	struct network *n = NEW(struct network);
	n->env = env;
	n->journal = c->journal;
	n->nl.fd = -1;
	n->leases.free_value = free;
	n->dir = xstrdup(c->dir);
	if (str_empty(c->instance))
		snprintf(n->bridge, sizeof(n->bridge), "mini0");
	else
		snprintf(n->bridge, sizeof(n->bridge), "mini-%.8s", c->instance);
	int r = parse_ranges(n, c, err);
	if (r == 0) {
		ip_str(n->pods.base + 1, n->gateway);
		n->used = xcalloc(cidr_size(&n->pods), 1);
		r = load_leases(n, err);
	}
	if (r == 0)
		r = netlink_open(&n->nl, err);
	if (r == 0)
		r = set_up_host(n, c, err);
	if (r < 0) {
		network_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

static int pick_address(struct network *n, uint32_t *ret, struct err *err)
{
	uint32_t first = FIRST_ADDRESS, count = (uint32_t)cidr_size(&n->pods) - 3;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = first + (n->cursor + i) % count;
		if (n->used[at])
			continue;
		n->cursor = (at - first + 1) % count;
		*ret = n->pods.base + at;
		return 0;
	}
	return err_set(err, -ENOSPC, "no free address left in the node's pod range");
}

static void lease_drop(struct network *n, const char *sandbox_id)
{
	struct lease *l = map_get(&n->leases, sandbox_id);
	_cleanup_free_ char *path = xasprintf("%s/%s", n->dir, sandbox_id);
	unlink(path);
	if (!l)
		return;
	n->used[l->addr - n->pods.base] = 0;
	map_del(&n->leases, sandbox_id);
}

static int lease_make(struct network *n, const char *sandbox_id, struct lease **ret, struct err *err)
{
	struct lease l = {0};
	int r = pick_address(n, &l.addr, err);
	if (r < 0)
		return r;
	ip_str(l.addr, l.ip);
	snprintf(l.link, sizeof(l.link), "veth%08x", (uint32_t)hash64(sandbox_id, strlen(sandbox_id)));
	_cleanup_free_ char *path = xasprintf("%s/%s", n->dir, sandbox_id);
	char line[40];
	int len = snprintf(line, sizeof(line), "%s %s\n", l.ip, l.link);
	r = file_write_replace(path, line, (size_t)len, 0600, err);
	if (r < 0)
		return r;
	struct lease *kept = NEW(struct lease);
	*kept = l;
	n->used[l.addr - n->pods.base] = 1;
	map_set(&n->leases, sandbox_id, kept);
	*ret = kept;
	return 0;
}

/* Inside the pod: lo and eth0 up, its address, the bridge as the way out. */
static int configure_inside(struct network *n, const struct lease *l, int pid, struct err *err)
{
	struct netlink in;
	int r = netlink_open_of(&in, pid, err);
	if (r < 0)
		return r;
	int lo = netlink_link_index(&in, "lo", err), eth0 = netlink_link_index(&in, "eth0", err);
	r = lo < 0 ? lo : eth0 < 0 ? eth0 : netlink_link_up(&in, lo, err);
	if (r == 0)
		r = netlink_addr_add(&in, eth0, (struct in_addr){htonl(l->addr)}, n->pods.prefix, err);
	if (r == 0)
		r = netlink_link_up(&in, eth0, err);
	if (r == 0) {
		struct netlink_route out = {.gateway = {htonl(n->pods.base + 1)}, .index = eth0};
		r = netlink_route_add(&in, &out, err);
	}
	netlink_close(&in);
	return r;
}

int network_attach(struct network *n, const char *sandbox_id, int pid, char ret_ip[64], struct err *err)
{
	struct lease *l = map_get(&n->leases, sandbox_id);
	int r = l ? 0 : lease_make(n, sandbox_id, &l, err);
	if (r < 0)
		return r;
	struct netlink in;
	r = netlink_open_of(&in, pid, err);
	if (r < 0)
		return r;
	bool there = netlink_link_index(&in, "eth0", NULL) >= 0;
	netlink_close(&in);
	if (!there) {
		/* A host end without its peer here is left from an attempt that died. */
		r = netlink_link_del(&n->nl, l->link, err);
		uint8_t mac[6];
		mac_of(l->addr, mac);
		if (r == 0)
			r = netlink_veth_add(&n->nl, l->link, "eth0", mac, pid, n->bridge_index, err);
	}
	if (r == 0)
		r = configure_inside(n, l, pid, err);
	l->pid = pid;
	if (r < 0) {
		netlink_link_del(&n->nl, l->link, NULL);
		lease_drop(n, sandbox_id);
		return r;
	}
	snprintf(ret_ip, 64, "%s", l->ip);
	return 0;
}

int network_detach(struct network *n, const char *sandbox_id, struct err *err)
{
	struct lease *l = map_get(&n->leases, sandbox_id);
	if (!l)
		return 0;
	int r = netlink_link_del(&n->nl, l->link, err);
	if (r == 0)
		lease_drop(n, sandbox_id);
	return r;
}

const char *network_ip(const struct network *n, const char *sandbox_id)
{
	const struct lease *l = map_get(&n->leases, sandbox_id);
	return l ? l->ip : NULL;
}

/* The kernel tells of listening sockets first, with the length of the queue in the column of the bytes to read
 * (proc(5), /proc/net/tcp). */
static bool any_queue(int pid, const char *table)
{
	char path[48], line[256];
	snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, table);
	FILE *f = fopen(path, "re");
	bool any = false;
	for (unsigned i = 0; f && !any && i < SOCKETS_MAX && fgets(line, sizeof(line), f); i++) {
		unsigned state, queue;
		any = sscanf(line, " %*u: %*[0-9A-F:] %*[0-9A-F:] %x %*x:%x", &state, &queue) == 2 &&
		      state == TCP_LISTEN && queue;
	}
	if (f)
		fclose(f);
	return any;
}

bool network_backlog(const struct network *n, const char *sandbox_id)
{
	const struct lease *l = map_get(&n->leases, sandbox_id);
	return l && l->pid > 0 && (any_queue(l->pid, "tcp") || any_queue(l->pid, "tcp6"));
}

void network_retain(struct network *n, const char *const *ids)
{
	MAP_EACH (&n->leases, e) {
		bool keep = false;
		for (size_t i = 0; ids[i] && !keep; i++)
			keep = streq(ids[i], e->key);
		if (keep)
			continue;
		_cleanup_free_ char *id = xstrdup(e->key);
		network_detach(n, id, NULL);
	}
}

int network_undo(void *arg, enum journal_kind kind, const char *what, const char *value, struct err *err)
{
	(void)arg;
	(void)value;
	struct netlink nl;
	/* Routes go with the link they point to. */
	if (kind != JOURNAL_LINK)
		return 0;
	int r = netlink_open(&nl, err);
	if (r < 0)
		return r;
	r = netlink_link_del(&nl, what, err);
	netlink_close(&nl);
	return r;
}

int network_stop(struct network *n, struct err *err)
{
	static const char *const none[] = {NULL};
	network_retain(n, none);
	int r = netlink_link_del(&n->nl, n->bridge, err);
	if (r < 0)
		return r;
	return 0;
}

int network_forget(const char *dir, struct err *err)
{
	struct netlink nl = {.fd = -1};
	DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, "open %s", dir);
	int r = netlink_open(&nl, err);
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, e->d_name);
		struct lease l;
		if (e->d_name[0] == '.' || lease_read(path, &l) < 0)
			continue;
		r = netlink_link_del(&nl, l.link, err);
		if (r == 0)
			unlink(path);
	}
	netlink_close(&nl);
	closedir(d);
	return r;
}

void network_free(struct network *n)
{
	if (!n)
		return;
	netlink_close(&n->nl);
	map_done(&n->leases);
	free(n->used);
	free(n->dir);
	free(n);
}
