#include "tests/sim/net.h"

#include "tests/sim/sim.h"

static struct sim_net *the_net;

static void put(struct sim_net *net, unsigned from, unsigned to, const void *data, size_t len)
{
	GROW(net->packets, net->cap, net->n + 1);
	struct sim_packet *p = &net->packets[net->n++];
	*p = (struct sim_packet){.due_us = sim.now_us + rand_below(&sim.disk, net->delay_us + 1),
				 .from = from,
				 .to = to,
				 .data = xmalloc(len),
				 .len = len};
	memcpy(p->data, data, len);
}

/* A member's id is its server's number + 1. */
static void send(struct store_peer *peer, uint64_t to, const void *data, size_t len)
{
	struct sim_net *net = the_net;
	struct sim_server *s = CONTAINER_OF(peer, struct sim_server, peer);
	if (!sim_server_alive(s) || to == 0 || to > net->n_servers)
		return;
	net->sent++;
	wire_check(s, data, len);
	if (net->cut[s->id][to - 1] || rand_chance(&sim.disk, net->p_loss)) {
		net->lost++;
		return;
	}
	put(net, s->id, (unsigned)to - 1, data, len);
	if (rand_chance(&sim.disk, net->p_double))
		put(net, s->id, (unsigned)to - 1, data, len);
}

void net_init(struct sim_net *net, struct sim_server *servers, size_t n, size_t n_first)
{
	static const struct store_peer_ops ops = {.send = send};
	static struct raft_member members[SIM_DISKS];
	*net = (struct sim_net){.servers = servers, .n_servers = n};
	the_net = net;
	for (size_t i = 0; i < n; i++) {
		members[i] = (struct raft_member){.id = i + 1, .role = RAFT_VOTER};
		servers[i].peer.ops = &ops;
		servers[i].config.members = i < n_first ? members : NULL;
		servers[i].config.n_members = i < n_first ? n_first : 0;
		servers[i].config.join = i >= n_first;
		servers[i].config.cluster = 77;
		servers[i].config.member = i + 1;
		servers[i].config.peer = &servers[i].peer;
	}
}

void net_deliver(struct sim_net *net)
{
	for (size_t i = 0; i < net->n;) {
		struct sim_packet p = net->packets[i];
		if (p.due_us > sim.now_us) {
			i++;
			continue;
		}
		net->packets[i] = net->packets[--net->n]; /* which also mixes the order */
		struct sim_server *s = &net->servers[p.to];
		if (sim_server_alive(s) && s->peer.receive && !net->cut[p.from][p.to]) {
			sim_trace_bytes(p.data, p.len);
			sim_server_current = s;
			s->peer.receive(s->peer.arg, p.from + 1, p.data, p.len);
			sim_server_current = NULL;
		}
		free(p.data);
	}
}

/* A connection ends: what is on its way over it does not arrive. The end of it may be half a message, which the framing
 * holds back (peer_frame.c); here it arrives all the same, and has to be refused like anything that is no message. */
void net_break(struct sim_net *net)
{
	unsigned from = (unsigned)rand_below(&sim.rand, net->n_servers),
		 to = (unsigned)rand_below(&sim.rand, net->n_servers);
	size_t left = 0;
	sim_trace("connection from %u to %u breaks", from, to);
	for (size_t i = 0; i < net->n; i++) {
		struct sim_packet *p = &net->packets[i];
		if (p->from != from || p->to != to || (rand_below(&sim.disk, 4) == 0 && wire_cut(p))) {
			net->packets[left++] = *p;
			continue;
		}
		net->lost++;
		free(p->data);
	}
	net->n = left;
}

void net_heal(struct sim_net *net)
{
	memset(net->cut, 0, sizeof(net->cut));
	sim_trace("network heals");
}

void net_partition(struct sim_net *net)
{
	size_t n = net->n_servers;
	uint64_t how = rand_below(&sim.rand, 3), side = rand_u64(&sim.rand);
	sim_trace("network is cut, %u", (unsigned)how);
	for (size_t a = 0; a < n; a++)
		for (size_t b = 0; b < n; b++) {
			bool apart = (side >> a & 1) != (side >> b & 1);
			if (how == 0) /* two sides */
				net->cut[a][b] = apart;
			else if (how == 1) /* one direction between two sides */
				net->cut[a][b] = apart && (side >> a & 1);
			else /* any link, any direction */
				net->cut[a][b] = a != b && rand_chance(&sim.rand, 300000);
		}
}
