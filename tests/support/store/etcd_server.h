/* A real etcd of the test's own: one member on loopback ports, its data in a temporary directory, TLS with client
 * certificates or plain. It dies with the test. */
#ifndef MINI_TESTS_SUPPORT_STORE_ETCD_SERVER_H
#define MINI_TESTS_SUPPORT_STORE_ETCD_SERVER_H

#include <sys/types.h>

#include "lib/net/pki.h"

struct etcd_server {
	char dir[64], url[64], peer[64];
	bool tls;
	struct pki_pair ca, cert; /* cert: its own, and good as a client's */
	pid_t pid;
};

bool etcd_server_installed(void);
void etcd_server_init(struct etcd_server *s, bool tls);   /* makes the directory and certificates, and starts it */
void etcd_server_start(struct etcd_server *s);            /* again, on the same port and data */
void etcd_server_kill(struct etcd_server *s, int signal); /* and waits until it is gone */
void etcd_server_done(struct etcd_server *s);             /* kills it, removes the directory */

#endif
