/* A client's upgraded connection as a set of streams, whichever way it speaks:
 *
 *   WebSocket v5.channel.k8s.io, v4.channel.k8s.io    a message's first byte is its stream: five fixed ones
 *   SPDY/3.1 (kubectl up to 1.29, any curl-like tool)  streams as the client opens them
 *   WebSocket SPDY/3.1+portforward.k8s.io              the same within a WebSocket's messages
 *
 * Exec and attach take the first two, port-forward the last two. A remote lives until remote_close() or its on_close;
 * either may happen inside any of its callbacks. Private to nodeagent/.
 * Source: k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/client-go/tools/portforward.
 */
#ifndef MINI_NODEAGENT_REMOTE_H
#define MINI_NODEAGENT_REMOTE_H

#include "nodeagent/server.h"

enum remote_use { REMOTE_COMMAND, REMOTE_PORTS };

struct remote_ops {
	/* The client opened a stream: headers streamtype (stdin, stdout, stderr, error, resize, data), port, requestid.
	 * False refuses it. */
	bool (*on_stream)(void *arg, uint32_t id, const struct http_header *headers);
	void (*on_data)(void *arg, uint32_t id, const void *data, size_t len);
	void (*on_end)(void *arg, uint32_t id, bool reset); /* the client says no more on it; reset: nor listens */
	void (*on_drain)(void *arg);                        /* remote_send takes more again */
	void (*on_close)(void *arg);                        /* the connection is gone, and the remote with it */
};

/* Upgrades r, or answers it with an error and returns NULL. Streams are told from the loop. */
struct remote *remote_accept(struct node_server *s, struct http_request *r, enum remote_use use,
			     const struct remote_ops *ops, void *arg);
/* False: taken, but enough waits now; on_drain follows. */
bool remote_send(struct remote *m, uint32_t id, const void *data, size_t len);
void remote_end(struct remote *m, uint32_t id);  /* we say no more on it */
void remote_pause(struct remote *m, bool pause); /* read nothing; what has been read already still comes */
void remote_close(struct remote *m);             /* what was sent still goes out; no callback follows */
void remote_close_all(struct node_server *s);    /* as if every client had left */
const char *remote_header(const struct http_header *headers, const char *name); /* "" if absent */

#endif
