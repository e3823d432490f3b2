/* The control plane half of minid: store, API server, controllers and scheduler in one process on one loop; and its
 * part in a cluster of servers. */
#ifndef MINI_CLI_SERVER_H
#define MINI_CLI_SERVER_H

#include <uv.h>

#include "apiserver/apiserver.h"
#include "cli/options.h"

struct server;
struct server_config {
	const struct options *options;
	const char *const *listen; /* addresses, NULL-terminated; NULL: as the settings say */
	const char *const *names;  /* further names and addresses of the serving certificate, NULL-terminated */
	const char *host_name;
	const char *advertise_ip; /* where the `kubernetes` service leads when the settings name none */
	bool alone;               /* a cluster of this server for good: no peers, nobody joins */
	const bool *stop;         /* set by a signal while it starts */
	/* It cannot go on: it was removed from the cluster. */
	void (*failed)(void *arg, const struct err *err);
};
/* Opens everything (blocking: start-up; a server that joins is brought up to date in here), listens, and calls
 * ready(err) on the loop once /readyz says ok. On failure nothing is left open. */
int server_start(struct env *env, uv_loop_t *loop, const struct server_config *config,
		 void (*ready)(void *arg, const struct err *err), void *arg, struct server **ret, struct err *err);
/* What it serves under: https://HOST:PORT; NULL: nothing (a witness). */
const char *server_url(const struct server *s);
/* A client in this process with the given identity; freed by its user before server_stop. */
struct client *server_client(struct server *s, const char *user, const char *const *groups);
/* Stop the controllers, answer what is under way, sync and close the store; then done. */
void server_stop(struct server *s, void (*done)(void *arg), void *arg);

#endif
