/* Coming into a cluster, as its new server or node: pins the CA that the token names, proves the token, has its
 * certificates signed (its own keys never leave), and fetches what it needs. Blocking: start-up only.
 *
 *   key made -> CA fetched, its hash compared -> signing request and token sent -> added, certificate written
 *     -> (a server, over mutual TLS) the cluster's keys fetched and written -> the store waits to be told all
 *
 * Each step is written down before the next, and asking again with the same key is the same member: after a crash the
 * same command goes on; once the certificate is there, a start without flags does too.
 */
#ifndef MINI_CLI_JOIN_H
#define MINI_CLI_JOIN_H

#include <uv.h>

#include "cli/settings.h"

struct join_ctx {
	struct env *env;
	uv_loop_t *loop;
	const bool *stop; /* a signal came: -ECANCELED */
	const struct options *options;
	const char *api, *peer; /* where others find this server: "https://HOST:PORT" ("" for a witness), "HOST:PORT" */
};

/* --join and --token. s: name, wish and addresses as they are to be; then cluster, member, joining too, and written.
 * Nothing to do (0) where this server is of that cluster already. */
int join_server(const struct join_ctx *c, struct settings *s, struct err *err);
/* What a crash left open: the cluster's keys, from whichever server answers. 0 when they are there. */
int join_finish(const struct join_ctx *c, const struct settings *s, struct err *err);
/* DIR/store is gone or damaged: another member in place of the one it was; s as after join_server. -EAGAIN: nobody takes
 * it in just now. */
int join_again(const struct join_ctx *c, struct settings *s, const struct others *others, struct err *err);
/* Are there servers besides this one? */
bool join_has_others(const struct settings *s, const struct others *others);

/* A node: its client, serving and proxy certificates; DIR/agent.json then says where the cluster is and which ranges it
 * has. Nothing to do where that is so already, and its certificates are not near their end. */
int join_agent(const struct join_ctx *c, const char *node_name, const char *node_ip, struct err *err);

/* One line for people: what was refused, and what to do. For tests. */
int join_explain(const char *url, struct err *err);
/* The clocks of two hosts that are to trust each other's certificates. */
int join_check_clock(int64_t own_s, int64_t other_s, struct err *err);

#endif
