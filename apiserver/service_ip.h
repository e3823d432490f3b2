/* Cluster IPs and node ports: given out, checked and returned in the same transaction that writes the Service.
 *
 * An address in use is a key of its own under /registry/ranges/, whose creation the transaction expects, so that several
 * servers never give out one twice. A bitmap, kept by a watch on those keys, only says where to look for a free one.
 */
#ifndef MINI_APISERVER_SERVICE_IP_H
#define MINI_APISERVER_SERVICE_IP_H

#include "apiserver/request.h"

struct service_ips;

/* What one write takes and returns. Zeroed is valid and empty. */
struct service_ip_claim {
	struct service_ip_key {
		char *key;
		bool asked; /* the client named it: taken is an error, not a reason to look for another */
		char field[64];
		char value[64];
	} * take;
	unsigned n_take, cap_take;
	char **give;
	unsigned n_give, cap_give;
};
void service_ip_claim_done(struct service_ip_claim *c);

/* cidr NULL: no service addresses (creating one that needs an address fails). -EINVAL for bad ranges. */
int service_ips_new(const char *cidr, unsigned port_min, unsigned port_max, struct service_ips **ret, struct err *err);
void service_ips_free(struct service_ips *s);
/* Read what is in use and follow it. */
void service_ips_start(struct apiserver *a, void (*done)(void *arg, const struct err *err), void *arg);
void service_ips_stop(struct apiserver *a);
/* The first address of the range, for the `kubernetes` Service. */
const char *service_ips_first(const struct service_ips *s);
bool service_ips_contains(const struct service_ips *s, const char *ip);

/* Fill in addresses and ports of a Service in place (other kinds: nothing), against what it had. 0 or an error. */
int service_ip_claim(struct request *r, json_t *tree, const json_t *old, struct service_ip_claim *claim);
void service_ip_plan(struct request *r, const struct service_ip_claim *claim);
/* A Service goes: all it had. */
void service_ip_plan_release(struct request *r, const json_t *tree);
/* After a refused transaction; got[0] is the object, then the keys of `take`. An error, or 0 to try again. */
int service_ip_refused(struct request *r, const struct service_ip_claim *claim, const struct store_txn_resp *resp);

#endif
