/* The HTTP transport of the client interface, and reading kubeconfig files. */
#ifndef MINI_CLIENT_CLIENT_HTTP_H
#define MINI_CLIENT_CLIENT_HTTP_H

#include "lib/client/client.h"
#include "lib/client/servers.h"
#include "lib/net/http.h"

struct kubeconfig {
	char *server;                              /* https://host:port */
	char *ca_pem, *cert_pem, *key_pem, *token; /* NULL when absent */
	bool insecure;
	char *tls_server_name;
	char *ns; /* of the context; NULL: default */
	char *context_name, *cluster_name, *user_name;
};
/* path NULL: $KUBECONFIG (first existing of the colon list), then ~/.kube/config. context NULL: the current one. */
int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret, struct err *err);
void kubeconfig_done(struct kubeconfig *k);
/* A kubeconfig text with everything inlined. Caller frees. */
char *kubeconfig_text(const char *cluster, const char *server, const char *ca_pem, const char *user,
		      const char *cert_pem, const char *key_pem, const char *token);

/* Two connection pools inside: calls and watches. user_agent borrowed for the call. */
int client_http_new(struct env *env, uv_loop_t *loop, const struct kubeconfig *k, const char *user_agent,
		    struct client **ret, struct err *err);
/* To whichever of them answers (servers.h); k->server is not looked at. */
int client_http_new_among(struct env *env, uv_loop_t *loop, struct servers *servers, const struct kubeconfig *k,
			  const char *user_agent, struct client **ret, struct err *err);
/* What is no object: GET, or POST with a body. The answer is resp->tree. client_cancel() ends it. */
struct client_call *client_http_ask(struct client *c, const char *path, const json_t *body, client_cb cb, void *arg);
/* Of a client of one server: the raw pool, for log streams, exec, /metrics, discovery. Authorization header included by client_http_call. */
struct http_call *client_http_call(struct client *c, const char *method, const char *target,
				   const struct http_header *headers, const void *body, size_t len, unsigned timeout_ms,
				   const struct http_call_ops *ops, void *arg);
/* New certificates while running (rotation). */
int client_http_set_cert(struct client *c, const char *cert_pem, const char *key_pem, struct err *err);
/* Path of a request: /apis/apps/v1/namespaces/x/deployments/y/status?... appended to out. */
void client_http_target(struct buf *out, const struct client_request *r);

#endif
