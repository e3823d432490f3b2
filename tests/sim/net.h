/* The network between simulated servers: loses, doubles, delays and reorders messages, and cuts one direction or both. */
#ifndef MINI_TESTS_SIM_NET_H
#define MINI_TESTS_SIM_NET_H

#include "tests/sim/server.h"

struct sim_net {
	struct sim_server *servers;
	size_t n_servers;
	uint64_t p_loss, p_double, delay_us; /* per million; up to */
	bool cut[SIM_DISKS][SIM_DISKS];      /* from, to */
	struct sim_packet {
		uint64_t due_us;
		unsigned from, to;
		char *data;
		size_t len;
	} * packets;
	size_t n, cap;
	uint64_t sent, lost;
};

/* Gives each server its end. The first n_first are members from the first day on, the others are to join. */
void net_init(struct sim_net *net, struct sim_server *servers, size_t n, size_t n_first);
void net_deliver(struct sim_net *net);   /* what is due by now */
void net_partition(struct sim_net *net); /* cut something, anew */
void net_heal(struct sim_net *net);
void net_break(struct sim_net *net); /* what is on its way over one link is lost, or cut */

/* wire.c: a message as it leaves its sender. */
void wire_check(const struct sim_server *s, const void *data, size_t len);
/* Only the beginning of a message arrives: that must be no message. False: nothing of it does. */
bool wire_cut(struct sim_packet *p);

#endif
