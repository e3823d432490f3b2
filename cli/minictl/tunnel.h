/* Local ports that lead into a pod: SPDY/3.1 streams inside a WebSocket (SPDY/3.1+portforward.k8s.io), a pair for each
 * connection. Source: k8s.io/client-go/tools/portforward. */
#ifndef MINI_MINICTL_TUNNEL_H
#define MINI_MINICTL_TUNNEL_H

#include "cli/minictl/rest.h"

struct tunnel_port {
	uint16_t local, remote; /* local 0: whichever is free */
};

/* Listens on each address (all must work but ::1 beside 127.0.0.1), says so, and forwards until the server or a signal ends
 * it: always an error. path: of the pod's portforward. */
int tunnel_run(struct ctl *c, const char *path, const char *const *addresses, const struct tunnel_port *ports,
	       size_t n_ports, struct err *err);

#endif
