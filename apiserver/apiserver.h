/* The API server: requests in, objects and streams out. It alone opens the store.
 *
 * A request is a struct walked through its stages by one tick function (request.h); HTTP (http_front.c) and the direct
 * transport (direct.c) are two doors into the same pipeline: authn -> authz -> decode -> default -> admission ->
 * validate -> store. See ARCHITECTURE.md, "The life of a write".
 */
#ifndef MINI_APISERVER_APISERVER_H
#define MINI_APISERVER_APISERVER_H

#include <uv.h>

#include "lib/client/client.h"
#include "lib/net/http.h"
#include "lib/net/pki.h"
#include "store/store.h"

struct apiserver;

struct apiserver_config {
	struct store *store;
	const char *service_cidr;              /* "10.96.0.0/16": cluster IPs are allocated here */
	unsigned node_port_min, node_port_max; /* 30000..32767 */
	const char *cluster_cidr;              /* what a node that joins is told; may be NULL */
	const char *name;                      /* of this server; may be NULL */
	bool alone;                            /* no other server can join this one */
	const char *ca_key_pem;                /* signs what joins; NULL: nobody can, here */
	int64_t cert_life_s;                   /* of what it signs; 0: a year */
	const char *ca_pem;                    /* client certificates are verified against it; also kube-root-ca.crt */
	const char *sa_key_pem;                /* signs and verifies ServiceAccount tokens */
	const char *kubelet_client_cert_pem, *kubelet_client_key_pem; /* for logs and exec on nodes */
	const char *advertise_ip; /* the `kubernetes` endpoint: address and port below; NULL: no endpoint is kept */
	uint16_t advertise_port;
	unsigned max_requests; /* in flight; 0: 400 reading + 200 writing, as upstream */
};
/* loop may be NULL (simulation): then only the direct transport works, and log/exec answer 503. */
int apiserver_new(struct env *env, uv_loop_t *loop, const struct apiserver_config *config, struct apiserver **ret,
		  struct err *err);
/* Bootstrap objects (namespaces, bootstrap roles and bindings, the kubernetes service) are written; then ready. */
void apiserver_start(struct apiserver *a, void (*ready)(void *arg, const struct err *err), void *arg);
bool apiserver_ready(const struct apiserver *a);
int apiserver_listen(struct apiserver *a, struct tls_context *tls, const char *host, uint16_t port, struct err *err);
void apiserver_set_tls(struct apiserver *a, struct tls_context *tls);
/* The server's own client certificate towards nodes, for the calls that follow. */
void apiserver_set_kubelet_client(struct apiserver *a, const char *cert_pem, const char *key_pem);
void apiserver_close(struct apiserver *a, void (*done)(void *arg), void *arg);

/* The in-process transport: acts as `user` in `groups` (NULL-terminated; system:authenticated is added). Same
 * authorization and admission as over HTTP, the object itself is shared. Works as soon as the server has been made;
 * requests wait until it has started. */
struct client *apiserver_direct_client(struct apiserver *a, const char *user, const char *const *groups);

#endif
