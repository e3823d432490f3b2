/* The inside of the node API: requests go to a handler each; those that last are streams. Private to nodeagent/. */
#ifndef MINI_NODEAGENT_SERVER_H
#define MINI_NODEAGENT_SERVER_H

#include "nodeagent/pod.h"

struct node_stream {
	struct list node; /* in node_server.streams */
	struct node_server *s;
	/* Its client left, or the server closes: free it; its request is gone. */
	void (*gone)(struct node_stream *);
	/* Something about containers changed. May be NULL. */
	void (*kick)(struct node_stream *);
};

struct node_server {
	struct nodeagent *n;
	struct http_server *http;
	struct list streams;
	struct list remotes; /* upgraded connections: struct remote */
	struct env_post kick;
};

void server_text(struct http_request *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void server_json(struct http_request *r, int status, json_t *body_new);
/* By the names in a path; NULL when there is none (answered with 404 already). */
struct pod *server_find_pod(struct node_server *s, struct http_request *r, const char *ns, const char *pod);
struct pod_container *server_find_container(struct node_server *s, struct http_request *r, const char *ns,
					    const char *pod, const char *container);
void server_logs(struct node_server *s, struct http_request *r, struct pod_container *c);
void server_exec(struct node_server *s, struct http_request *r, struct pod_container *c);
void server_attach(struct node_server *s, struct http_request *r, struct pod_container *c);
void server_ports(struct node_server *s, struct http_request *r, struct pod *p);
json_t *server_stats_summary(struct nodeagent *n);

#endif
