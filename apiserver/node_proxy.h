/* Logs, exec, attach and port-forward: passed on to the API of the pod's node, with the kubelet client certificate.
 *
 * A log's bytes are passed through as they come; the connection of the others is upgraded on both sides and then copied
 * byte for byte, so whatever protocol client and node agree on works. What waits in between is bounded: a side that
 * does not take what it is sent is not sent more, and the other is not read. */
#ifndef MINI_APISERVER_NODE_PROXY_H
#define MINI_APISERVER_NODE_PROXY_H

#include "apiserver/request.h"

extern const struct handler handler_log, handler_exec;

#endif
