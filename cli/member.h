/* A server's place among the servers: its store opened with the way to its peers, and kept in step with what the
 * cluster knows. Follows settings.h and join.h; used by server.c. */
#ifndef MINI_CLI_MEMBER_H
#define MINI_CLI_MEMBER_H

#include "cli/join.h"

struct member;
struct member_config {
	struct join_ctx join; /* env, loop, stop, options; its addresses are made here */
	const char *host_name;
	bool alone;
	void (*removed)(void *arg, const struct err *err); /* this server is out of the cluster; once */
	void (*waits)(void *arg, const char *reason); /* in member_open: it cannot serve yet, and why; may be NULL */
	void *arg;
};
/* Settings, joining if asked for, what a crash left open. The certificates are the caller's next step. */
int member_new(const struct member_config *config, struct member **ret, struct err *err);
/* Opens the store, tells it of the peers, and waits until a server that joins has caught up. */
int member_open(struct member *m, struct err *err);
const struct settings *member_settings(const struct member *m);
struct store *member_store(struct member *m);
const char *member_host(const struct member *m); /* where others find this server */
bool member_is_witness(const struct member *m);
bool member_is_alone(const struct member *m); /* nobody can reach it as a peer */
/* Closes the store, then the peers; frees. Accepts one that was never opened. */
void member_close(struct member *m, void (*done)(void *arg), void *arg);

#endif
