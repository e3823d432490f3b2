/* What a node remembers of the cluster it is in (DIR/agent.json), and where it finds the cluster's servers: any one of
 * them will do (lib/client/servers.h), and who they are is asked from time to time. */
#ifndef MINI_CLI_AGENT_H
#define MINI_CLI_AGENT_H

#include "lib/api/object.h"
#include "lib/client/client_http.h"

struct agent_settings {
	char *joined;    /* the URL it joined through; NULL: of the control plane in the same DIR, or of --server */
	json_t *servers; /* URLs, as heard last; NULL: nothing heard */
	char *node_name, *node_ip;         /* what it was told to be when it joined; NULL: nothing */
	char *cluster_cidr, *service_cidr; /* NULL: the flags' */
};
/* An absent file is no error: zeroed. */
int agent_settings_read(const char *dir, struct agent_settings *ret, struct err *err);
int agent_settings_write(const char *dir, const struct agent_settings *s, struct err *err);
/* From the answer to a node that joins (apiserver/join.c). s is empty. */
void agent_settings_take(struct agent_settings *s, const char *joined, const json_t *answer);
void agent_settings_done(struct agent_settings *s);

/* Where to ask: first, if not NULL (what was said to this agent counts), then those heard of, then the one it joined
 * through. -EINVAL: nothing of these, or no URL. */
int agent_servers(struct env *env, const struct agent_settings *s, const char *first, struct servers **ret,
		  struct err *err);

/* Keeps the list, and DIR/agent.json, as the cluster says it. as_node: asks, and is one of those that use the list; to
 * be freed after this. */
struct agent_follow;
struct agent_follow *agent_follow_new(struct env *env, const char *dir, const char *first, struct servers *servers,
				      struct client *as_node);
void agent_follow_free(struct agent_follow *f); /* NULL too */

#endif
