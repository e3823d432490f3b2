/* Logs and exec: passed on to the API of the pod's node, with the kubelet client certificate.
 *
 * A log's bytes are passed through as they come; exec's connection is upgraded on both sides and then copied byte for
 * byte, so whatever protocol client and node agree on works. Attach goes the same way; port-forward is refused. */
#ifndef MINI_APISERVER_NODE_PROXY_H
#define MINI_APISERVER_NODE_PROXY_H

#include "apiserver/request.h"

extern const struct handler handler_log, handler_exec;

#endif
