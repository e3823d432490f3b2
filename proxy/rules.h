/* A service map as iptables rules, chain by chain, with upstream's chain names. Pure.
 * Source: kubernetes.io/docs/reference/networking/virtual-ips, and the names that kube-proxy's users know from
 * iptables-save: KUBE-SERVICES, KUBE-SVC-*, KUBE-SEP-*, KUBE-EXT-*, KUBE-SVL-*, KUBE-NODEPORTS, KUBE-MARK-MASQ. */
#ifndef MINI_PROXY_RULES_H
#define MINI_PROXY_RULES_H

#include "lib/core/buf.h"
#include "lib/core/map.h"
#include "proxy/dataplane.h"

/* Chains of one table: name -> rules text ("-A CHAIN ...\n" lines, maybe none). Values are heap strings. */
struct rules {
	struct map nat, filter;
};
void rules_done(struct rules *r);
void rules_build(const struct proxy_map *map, const struct dataplane_config *config, struct rules *ret);

/* Input for `iptables-restore --noflush` that turns `old` into `now`; only what differs. Empty when nothing does. */
void rules_diff(const struct rules *old, const struct rules *now, struct buf *out);

/* The jumps from built-in chains: argument lists without the -A/-I/-D and table. n: number of them. */
struct rules_jump {
	const char *table, *chain, *rule;
};
extern const struct rules_jump rules_jumps[];
extern const size_t n_rules_jumps;

/* Upstream's chain suffix: 16 characters of base32(sha256(text)). */
void rules_chain_name(const char *prefix, const char *text, char ret[32]);

#endif
