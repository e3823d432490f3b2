/* The cluster's keys and certificates under DIR/pki: made at the first start, renewed when they near their end or when
 * the names they must carry have changed. Files of keys are 0600. Blocking: start-up and the pool (renew.h).
 *
 * MINI_TEST_CERT_LIFE_SECONDS in the environment shortens the life of new leaf certificates, for tests of their renewal. */
#ifndef MINI_CLI_CERTS_H
#define MINI_CLI_CERTS_H

#include "lib/net/pki.h"

struct certs {
	struct pki_pair ca;             /* cert_pem, key_pem; key_pem NULL on a node without it */
	char *sa_key;                   /* signs ServiceAccount tokens */
	struct pki_pair apiserver;      /* serving */
	struct pki_pair kubelet_client; /* the API server, as a client of nodes */
	struct pki_pair admin;          /* system:masters, for admin.kubeconfig */
};

/* names: what the serving certificate must be valid for, NULL-terminated (DNS names and addresses mixed). */
int certs_server(const char *dir, const char *const *names, struct certs *ret, struct err *err);
/* A server's certificate among the servers; name is its common name (store/peer_tls.h). Renewed where the CA's key is. */
int certs_member(const char *dir, const char *name, struct pki_pair *ret_ca_cert_only, struct pki_pair *ret,
		 struct err *err);
/* A node's serving certificate and its client certificate (system:node:NAME), signed by the CA in DIR/pki. */
int certs_node(const char *dir, const char *node_name, const char *const *names, struct pki_pair *ret_ca_cert_only,
	       struct pki_pair *ret_serving, struct pki_pair *ret_client, struct pki_pair *ret_proxy, struct err *err);
void certs_done(struct certs *c);
/* Of a new leaf certificate. */
int64_t certs_life_s(void);

#endif
