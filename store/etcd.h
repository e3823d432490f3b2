/* The second engine: an external etcd, 3.4 or later, over its HTTP/JSON API (etcd.io/docs/v3.4/dev-guide/api_grpc_gateway).
 *
 * The same semantics as store.h says. Every key lies under a prefix, so that the etcd may be shared; one watch of that
 * prefix feeds all watches of the process. Loop thread, no others.
 *
 * Of several endpoints one is used until it fails. A read goes on to the next one; a write goes there only when nothing
 * of it had been sent: else its fate is unknown, and its callback is told so (-ECANCELED, TIMEOUT). A call waits 5 s for
 * a server that answers, then -EHOSTUNREACH. A value may be as large as etcd's --max-request-bytes allows (-EFBIG).
 */
#ifndef MINI_STORE_ETCD_H
#define MINI_STORE_ETCD_H

#include <uv.h>

#include "store/store.h"

struct store_etcd_config {
	const char *servers;                     /* http(s)://HOST:PORT, separated by commas; all of one cluster */
	const char *ca_pem, *cert_pem, *key_pem; /* for https; cert and key may be NULL */
	const char *prefix;                      /* NULL: "/mini"; "" is allowed */
	uint64_t history_us; /* compact revisions older than this; 0: 5 minutes; UINT64_MAX: left to others */
	uint64_t wait_us;    /* a call waits this long for a server that answers; 0: 5 s */
};

/* Does not wait for etcd: calls do. -EINVAL: a URL or a certificate that is none. */
int store_etcd_open(struct env *env, uv_loop_t *loop, const struct store_etcd_config *config, struct store **ret,
		    struct err *err);

#endif
