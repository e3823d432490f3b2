#include "nodeagent/network/cidr.h"

#include <arpa/inet.h>
#include <errno.h>

static uint32_t mask(unsigned prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

int cidr_parse(const char *s, struct cidr *ret, struct err *err)
{
	char addr[16];
	const char *slash = s ? strchr(s, '/') : NULL;
	int64_t prefix;
	struct in_addr in;
	if (!slash || (size_t)(slash - s) >= sizeof(addr) || parse_i64(slash + 1, &prefix) < 0 || prefix < 0 ||
	    prefix > 32)
		return err_set(err, -EINVAL, "\"%s\" is no IPv4 range; write it like 10.244.0.0/16", s ? s : "");
	memcpy(addr, s, (size_t)(slash - s));
	addr[slash - s] = 0;
	if (inet_pton(AF_INET, addr, &in) != 1)
		return err_set(err, -EINVAL, "\"%s\" is no IPv4 range; write it like 10.244.0.0/16", s);
	struct cidr c = {.base = ntohl(in.s_addr), .prefix = (unsigned)prefix};
	if (c.base & ~mask(c.prefix))
		return err_set(err, -EINVAL, "\"%s\" has bits set behind its prefix", s);
	*ret = c;
	return 0;
}

bool cidr_has(const struct cidr *c, uint32_t addr)
{
	return (addr & mask(c->prefix)) == c->base;
}

bool cidr_overlap(const struct cidr *a, const struct cidr *b)
{
	return cidr_has(a, b->base) || cidr_has(b, a->base);
}

uint64_t cidr_size(const struct cidr *c)
{
	return 1ull << (32 - c->prefix);
}

char *ip_str(uint32_t addr, char ret[16])
{
	snprintf(ret, 16, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255);
	return ret;
}
