/* The certificates of a running server or node, renewed in DIR/pki and taken into use without a restart. */
#ifndef MINI_CLI_RENEW_H
#define MINI_CLI_RENEW_H

#include "cli/certs.h"
#include "lib/net/renew.h"

/* The server's: {serving, client of nodes, admin}. names as for certs_server(). renewed is called on the loop. */
struct renewal *renew_server(struct env *env, const char *dir, const char *const *names, const struct certs *current,
			     void (*renewed)(void *arg, const struct pki_pair *now), void *arg);
enum { RENEWED_APISERVER, RENEWED_KUBELET_CLIENT, RENEWED_ADMIN };

/* A node's: {serving, client, proxy}; current in this order too. */
struct renewal *renew_node(struct env *env, const char *dir, const char *node_name, const char *const *names,
			   const struct pki_pair *current, void (*renewed)(void *arg, const struct pki_pair *now),
			   void *arg);
enum { RENEWED_NODE_SERVING, RENEWED_NODE_CLIENT, RENEWED_NODE_PROXY };

/* A member's towards the other servers: {its own, the CA's (no key)}. name: its common name. */
struct renewal *renew_member(struct env *env, const char *dir, const char *name, const struct pki_pair *current,
			     void (*renewed)(void *arg, const struct pki_pair *now), void *arg);
enum { RENEWED_MEMBER, RENEWED_MEMBER_CA };

/* With renewal_free(); after it nobody is told any more. */

#endif
