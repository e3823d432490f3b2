/* The control plane half of minid: store, API server, controllers and scheduler in one process on one loop. */
#ifndef MINI_CLI_SERVER_H
#define MINI_CLI_SERVER_H

#include <uv.h>

#include "apiserver/apiserver.h"
#include "cli/options.h"

struct server;
struct server_config {
	const struct options *options;
	const char *const *listen;   /* addresses, NULL-terminated */
	const char *const *names;    /* further names and addresses of the serving certificate, NULL-terminated */
	const char *advertise_ip;    /* where the `kubernetes` service leads; NULL: no endpoint */
	const char *identity;        /* stable name: holder of the Leases */
	const char *kubeconfig_host; /* in DIR/admin.kubeconfig */
};
/* Opens everything (blocking: start-up), listens, and calls ready(err) on the loop once /readyz says ok. On failure
 * nothing is left open. */
int server_start(struct env *env, uv_loop_t *loop, const struct server_config *config,
		 void (*ready)(void *arg, const struct err *err), void *arg, struct server **ret, struct err *err);
/* A client in this process with the given identity; freed by its user before server_stop. */
struct client *server_client(struct server *s, const char *user, const char *const *groups);
/* Stop the controllers, answer what is under way, sync and close the store; then done. */
void server_stop(struct server *s, void (*done)(void *arg), void *arg);

#endif
