/* IPv4 ranges as text and as numbers. Pure. */
#ifndef MINI_NODEAGENT_NETWORK_CIDR_H
#define MINI_NODEAGENT_NETWORK_CIDR_H

#include "lib/core/err.h"
#include "lib/core/util.h"

struct cidr {
	uint32_t base; /* host byte order, host bits zero */
	unsigned prefix;
};

int cidr_parse(const char *s, struct cidr *ret, struct err *err);
bool cidr_has(const struct cidr *c, uint32_t addr);
bool cidr_overlap(const struct cidr *a, const struct cidr *b);
/* Number of addresses in it. */
uint64_t cidr_size(const struct cidr *c);
char *ip_str(uint32_t addr, char ret[16]);

#endif
