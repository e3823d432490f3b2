/* The certificates of a running server or node, renewed in DIR/pki and taken into use without a restart: signed here
 * where the CA's key is, else by a server that is asked (rotate.h). */
#ifndef MINI_CLI_RENEW_H
#define MINI_CLI_RENEW_H

#include "cli/certs.h"
#include "lib/client/client.h"

typedef void renewed_fn(void *arg, const struct pki_pair *now); /* on the loop; borrowed */

struct renew;

/* The server's: {serving, client of nodes, admin}. names as for certs_server(). */
struct renew *renew_server(struct env *env, const char *dir, const char *const *names, const struct certs *current,
			   renewed_fn *renewed, void *arg);
enum { RENEWED_APISERVER, RENEWED_KUBELET_CLIENT, RENEWED_ADMIN };

/* A node's: {serving, client, proxy}; current in this order too. node_name and names as for certs_node(). ask: as this
 * node, over HTTP; NULL: the CA's key is here. It is used until renew_free(). */
struct renew *renew_node(struct env *env, const char *dir, const char *node_name, const char *const *names,
			 const struct pki_pair *current, struct client *ask, const char *node_ip, renewed_fn *renewed,
			 void *arg);
enum { RENEWED_NODE_SERVING, RENEWED_NODE_CLIENT, RENEWED_NODE_PROXY };

/* A member's towards the other servers: {its own, the CA's (no key)}. name: its common name. ask: as this member; NULL
 * as above. */
struct renew *renew_member(struct env *env, const char *dir, const char *name, const struct pki_pair *current,
			   struct client *ask, renewed_fn *renewed, void *arg);
enum { RENEWED_MEMBER, RENEWED_MEMBER_CA };

/* NULL too. Nobody is told any more. */
void renew_free(struct renew *w);

#endif
