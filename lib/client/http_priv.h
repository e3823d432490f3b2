/* What client_http.c, http_watch.c and target.c share. Private to lib/client. */
#ifndef MINI_CLIENT_HTTP_PRIV_H
#define MINI_CLIENT_HTTP_PRIV_H

#include "lib/client/client_http.h"

#define CLIENT_HTTP_MAGIC 0xc11e4770u

struct client_http {
	struct client base;
	uint32_t magic;
	struct http_client *calls, *watches;
	struct kubeconfig config;
	char *prefix;        /* path of the server URL, without a trailing slash */
	char *authorization; /* "Bearer ...", or NULL */
	char *user_agent;
	struct list call_list, watch_list;
};

struct client_http *client_http__of(struct client *c);
/* Standard headers for a request; `ret` holds at least 6. */
void client_http__headers(const struct client_http *c, const char *content_type, struct http_header *ret);

void target__path(struct buf *out, const struct kind *k, const char *ns, const char *name, const char *subresource);
void target__watch(struct buf *out, const struct client_watch_request *r);
const char *target__method(const struct client_request *r);
const char *target__content_type(const struct client_request *r);
void target__body(struct buf *out, const struct client_request *r);

struct client_watch *http_watch__new(struct client *base, const struct client_watch_request *r,
				     const struct client_watch_ops *ops, void *arg);
void http_watch__cancel(struct client *base, struct client_watch *w);
void http_watch__free_all(struct client_http *c);

#endif
