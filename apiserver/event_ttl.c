#include "apiserver/event_ttl.h"

#define EVENT_TTL_S    3600u
#define LEASE_SHARE_US (300u * 1000000ull)
#define LEASE_SHARE    1000u /* events, as upstream: they all end in one revision, which must not take long */

static void on_granted(void *arg, const struct err *err, uint64_t lease)
{
	struct request *r = arg;
	struct apiserver *a = r->server;
	if (!request_arrived(r))
		return;
	/* without a lease an event only stays longer */
	a->event_lease = store_failed(err) ? 0 : lease;
	a->event_lease_us = env_now_us(a->env);
	a->event_lease_uses = 0;
	request_resume(r, REQUEST_COMMIT);
}

int event_ttl(struct request *r)
{
	struct apiserver *a = r->server;
	if (!r->kind || !streq(r->kind->kind, "Event") || r->options.dry_run)
		return REQUEST_NEXT;
	if (!a->event_lease_us || env_now_us(a->env) - a->event_lease_us > LEASE_SHARE_US ||
	    a->event_lease_uses >= LEASE_SHARE) {
		request_submitted(r);
		a->store->engine->lease_grant(a->store, EVENT_TTL_S + LEASE_SHARE_US / 1000000, on_granted, r);
		return REQUEST_WAIT;
	}
	a->event_lease_uses++;
	for (unsigned i = 0; i < r->plan.n_ops; i++)
		if (r->plan.ops[i].type == STORE_PUT)
			r->plan.ops[i].lease = a->event_lease;
	return REQUEST_NEXT;
}
