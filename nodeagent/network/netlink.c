#include "nodeagent/network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#define MESSAGE_MAX 1024

/* One request being built. Nested attributes are closed by setting their length afterwards. */
struct request {
	union {
		struct nlmsghdr h;
		char space[MESSAGE_MAX];
	} u;
};

int netlink_open(struct netlink *nl, struct err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return err_errno(err, "open a netlink socket");
	struct timeval limit = {.tv_sec = 5};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	*nl = (struct netlink){.fd = fd};
	return 0;
}

int netlink_open_of(struct netlink *nl, int pid, struct err *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	_cleanup_close_ int theirs = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int ours = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (theirs < 0 || ours < 0)
		return err_errno(err, "open the network namespace of process %d", pid);
	if (setns(theirs, CLONE_NEWNET) < 0)
		return err_errno(err, "enter the network namespace of process %d", pid);
	int r = netlink_open(nl, err);
	/* Staying in a pod's namespace would be a disaster that nothing later could notice. */
	MUST(setns(ours, CLONE_NEWNET) == 0);
	return r;
}

void netlink_close(struct netlink *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	nl->fd = -1;
}

static void *begin(struct request *q, uint16_t type, uint16_t flags, size_t header)
{
	memset(q, 0, sizeof(*q));
	q->u.h = (struct nlmsghdr){.nlmsg_len = (uint32_t)NLMSG_LENGTH(header),
				   .nlmsg_type = type,
				   .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)};
	return NLMSG_DATA(&q->u.h);
}

static struct rtattr *attr(struct request *q, unsigned short type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(q->u.h.nlmsg_len);
	MUST(at + RTA_SPACE(len) <= sizeof(q->u.space));
	struct rtattr *a = (struct rtattr *)(void *)(q->u.space + at);
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	q->u.h.nlmsg_len = (uint32_t)(at + RTA_SPACE(len));
	return a;
}

static void attr_str(struct request *q, unsigned short type, const char *s)
{
	attr(q, type, s, strlen(s) + 1);
}

static void attr_u32(struct request *q, unsigned short type, uint32_t v)
{
	attr(q, type, &v, sizeof(v));
}

static void nest_end(struct request *q, struct rtattr *a)
{
	a->rta_len = (unsigned short)(q->u.space + q->u.h.nlmsg_len - (char *)a);
}

/* Send, then hand every message of the answer to fn until the ack or the end of the dump. Returns 0 or -errno. */
static int talk(struct netlink *nl, struct request *q, void (*fn)(void *arg, const struct nlmsghdr *h), void *arg)
{
	q->u.h.nlmsg_seq = ++nl->seq;
	if (send(nl->fd, q->u.space, q->u.h.nlmsg_len, 0) < 0)
		return -errno;
	_cleanup_free_ char *in = xmalloc(32768);
	for (;;) {
		ssize_t n = recv(nl->fd, in, 32768, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		size_t left = (size_t)n;
		for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)in; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != nl->seq)
				continue;
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (fn)
				fn(arg, h);
		}
	}
}

static int run(struct netlink *nl, struct request *q, int fine, struct err *err, const char *what, const char *name)
{
	int r = talk(nl, q, NULL, NULL);
	if (r == 0 || r == fine)
		return 0;
	return err_set(err, r, "%s %s: %s", what, name, strerror(-r));
}

static void take_index(void *arg, const struct nlmsghdr *h)
{
	if (h->nlmsg_type == RTM_NEWLINK)
		*(int *)arg = ((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index;
}

int netlink_link_index(struct netlink *nl, const char *name, struct err *err)
{
	struct request q;
	int index = -ENODEV;
	begin(&q, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	attr_str(&q, IFLA_IFNAME, name);
	int r = talk(nl, &q, take_index, &index);
	if (r < 0 || index < 0)
		return err_set(err, r < 0 ? r : index, "no interface %s", name);
	return index;
}

static int set_mac(struct netlink *nl, const char *name, const uint8_t mac[6], struct err *err)
{
	struct request q;
	begin(&q, RTM_SETLINK, 0, sizeof(struct ifinfomsg));
	attr_str(&q, IFLA_IFNAME, name);
	attr(&q, IFLA_ADDRESS, mac, 6);
	return run(nl, &q, 0, err, "set the MAC of", name);
}

int netlink_bridge_add(struct netlink *nl, const char *name, const uint8_t mac[6], struct err *err)
{
	struct request q;
	begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	attr_str(&q, IFLA_IFNAME, name);
	struct rtattr *info = attr(&q, IFLA_LINKINFO, NULL, 0);
	attr_str(&q, IFLA_INFO_KIND, "bridge");
	nest_end(&q, info);
	int r = run(nl, &q, -EEXIST, err, "make bridge", name);
	return r < 0 ? r : set_mac(nl, name, mac, err);
}

static int hairpin(struct netlink *nl, int index, struct err *err, const char *name)
{
	struct request q;
	struct ifinfomsg *i = begin(&q, RTM_SETLINK, 0, sizeof(*i));
	i->ifi_family = AF_BRIDGE;
	i->ifi_index = index;
	uint8_t on = 1;
	struct rtattr *port = attr(&q, IFLA_PROTINFO | NLA_F_NESTED, NULL, 0);
	attr(&q, IFLA_BRPORT_MODE, &on, 1);
	nest_end(&q, port);
	return run(nl, &q, 0, err, "set hairpin mode of", name);
}

int netlink_veth_add(struct netlink *nl, const char *name, const char *peer, const uint8_t mac[6], int pid,
		     int bridge_index, struct err *err)
{
	struct request q;
	struct ifinfomsg *i = begin(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));
	i->ifi_flags = IFF_UP;
	i->ifi_change = IFF_UP;
	attr_str(&q, IFLA_IFNAME, name);
	attr_u32(&q, IFLA_MASTER, (uint32_t)bridge_index);
	struct rtattr *info = attr(&q, IFLA_LINKINFO, NULL, 0);
	attr_str(&q, IFLA_INFO_KIND, "veth");
	struct rtattr *data = attr(&q, IFLA_INFO_DATA, NULL, 0);
	struct ifinfomsg other = {0};
	struct rtattr *p = attr(&q, VETH_INFO_PEER, &other, sizeof(other));
	attr_str(&q, IFLA_IFNAME, peer);
	attr(&q, IFLA_ADDRESS, mac, 6);
	attr_u32(&q, IFLA_NET_NS_PID, (uint32_t)pid);
	nest_end(&q, p);
	nest_end(&q, data);
	nest_end(&q, info);
	int r = run(nl, &q, 0, err, "make veth", name);
	if (r < 0)
		return r;
	int index = netlink_link_index(nl, name, err);
	return index < 0 ? index : hairpin(nl, index, err, name);
}

int netlink_link_up(struct netlink *nl, int index, struct err *err)
{
	struct request q;
	struct ifinfomsg *i = begin(&q, RTM_NEWLINK, 0, sizeof(*i));
	i->ifi_index = index;
	i->ifi_flags = IFF_UP;
	i->ifi_change = IFF_UP;
	return run(nl, &q, 0, err, "bring up", "link");
}

int netlink_link_del(struct netlink *nl, const char *name, struct err *err)
{
	struct request q;
	begin(&q, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	attr_str(&q, IFLA_IFNAME, name);
	return run(nl, &q, -ENODEV, err, "delete link", name);
}

int netlink_addr_add(struct netlink *nl, int index, struct in_addr addr, unsigned prefix, struct err *err)
{
	struct request q;
	struct ifaddrmsg *a = begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*a));
	a->ifa_family = AF_INET;
	a->ifa_prefixlen = (uint8_t)prefix;
	a->ifa_index = (uint32_t)index;
	struct in_addr broadcast = {.s_addr = addr.s_addr | (prefix < 32 ? htonl(UINT32_MAX >> prefix) : 0)};
	attr(&q, IFA_LOCAL, &addr, sizeof(addr));
	attr(&q, IFA_ADDRESS, &addr, sizeof(addr));
	attr(&q, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	return run(nl, &q, -EEXIST, err, "add address", inet_ntoa(addr));
}

static void route_fill(struct request *q, uint16_t type, uint16_t flags, const struct netlink_route *r)
{
	struct rtmsg *m = begin(q, type, flags, sizeof(*m));
	m->rtm_family = AF_INET;
	m->rtm_dst_len = (uint8_t)r->prefix;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = r->gateway.s_addr ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	m->rtm_type = RTN_UNICAST;
	if (r->prefix)
		attr(q, RTA_DST, &r->dst, sizeof(r->dst));
	if (r->gateway.s_addr)
		attr(q, RTA_GATEWAY, &r->gateway, sizeof(r->gateway));
	attr_u32(q, RTA_OIF, (uint32_t)r->index);
}

int netlink_route_add(struct netlink *nl, const struct netlink_route *r, struct err *err)
{
	struct request q;
	route_fill(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r);
	return run(nl, &q, 0, err, "add route", inet_ntoa(r->dst));
}

struct route_list {
	struct netlink_route *v;
	size_t n, cap;
};

static void take_route(void *arg, const struct nlmsghdr *h)
{
	struct route_list *l = arg;
	const struct rtmsg *m = NLMSG_DATA(h);
	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_family != AF_INET || m->rtm_type != RTN_UNICAST)
		return;
	struct netlink_route r = {.prefix = m->rtm_dst_len, .table = m->rtm_table};
	size_t left = RTM_PAYLOAD(h);
	for (struct rtattr *a = RTM_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == RTA_DST)
			memcpy(&r.dst, RTA_DATA(a), sizeof(r.dst));
		else if (a->rta_type == RTA_GATEWAY)
			memcpy(&r.gateway, RTA_DATA(a), sizeof(r.gateway));
		else if (a->rta_type == RTA_OIF)
			memcpy(&r.index, RTA_DATA(a), sizeof(r.index));
		else if (a->rta_type == RTA_TABLE)
			memcpy(&r.table, RTA_DATA(a), sizeof(r.table));
	}
	if (r.table != RT_TABLE_MAIN)
		return;
	GROW(l->v, l->cap, l->n + 1);
	l->v[l->n++] = r;
}

int netlink_route_list(struct netlink *nl, struct netlink_route **ret, size_t *ret_n, struct err *err)
{
	struct request q;
	struct route_list l = {0};
	struct rtmsg *m = begin(&q, RTM_GETROUTE, NLM_F_DUMP, sizeof(*m));
	m->rtm_family = AF_INET;
	int r = talk(nl, &q, take_route, &l);
	if (r < 0) {
		free(l.v);
		return err_set(err, r, "list routes: %s", strerror(-r));
	}
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}
