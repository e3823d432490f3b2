/* The node agent: registers its node, runs the pods bound to it, reports their status, serves logs and exec. */
#ifndef MINI_NODEAGENT_NODEAGENT_H
#define MINI_NODEAGENT_NODEAGENT_H

#include <uv.h>

#include "lib/client/client.h"
#include "lib/net/http.h"
#include "nodeagent/network/network.h"
#include "nodeagent/runtime.h"

struct nodeagent;
struct nodeagent_config {
	const char *node_name, *node_ip;
	const char *dir;         /* DIR */
	const char *cgroup_root; /* "/kubepods", or "/mini-<instance>/kubepods" */
	struct client *client;   /* as system:node:NAME */
	struct runtime *runtime;
	struct network *network;
	struct journal *journal;
	const char *cluster_dns;         /* for /etc/resolv.conf of pods; NULL: the host's */
	const char *ca_pem;              /* verifies the API server's client certificate on the node API */
	struct tls_context *serving_tls; /* node API; listens on listen_host:listen_port (10250) */
	const char *listen_host;
	uint16_t listen_port;
	/* Asked before SIGTERM of a deleted pod: has the local proxy removed this pod's endpoints? done(arg) when it has.
	 * NULL: nobody to ask. The agent waits at most 2 s. */
	void (*endpoints_gone)(void *ctx, const char *pod_ns, const char *pod_name, const char *pod_ip,
			       void (*done)(void *arg), void *arg);
	void *endpoints_gone_ctx;
};
int nodeagent_new(struct env *env, uv_loop_t *loop, const struct nodeagent_config *config, struct nodeagent **ret,
		  struct err *err);
void nodeagent_start(struct nodeagent *n);
/* A new serving certificate of the node API, for connections to come. */
void nodeagent_set_tls(struct nodeagent *n, struct tls_context *tls);
/* Like the reboot of a node: stop every pod gracefully (at most max_s), undo what they had; then done. */
void nodeagent_stop_pods(struct nodeagent *n, unsigned max_s, void (*done)(void *arg), void *arg);
/* Let go: containers live on (upgrade). */
void nodeagent_close(struct nodeagent *n, void (*done)(void *arg), void *arg);

#endif
