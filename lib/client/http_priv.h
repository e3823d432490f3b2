/* What client_http.c, http_pools.c, http_watch.c, servers.c and target.c share. Private to lib/client. */
#ifndef MINI_CLIENT_HTTP_PRIV_H
#define MINI_CLIENT_HTTP_PRIV_H

#include "lib/client/client_http.h"

#define CLIENT_HTTP_MAGIC 0xc11e4770u

/* ---- servers.c ---- */

struct server_url {
	bool tls;
	char host[256];
	uint16_t port;
	const char *path; /* borrowed, without a trailing slash */
	size_t path_len;
};
int server_url__parse(const char *url, struct server_url *ret, struct err *err);

/* Whoever wants to know that another server is the current one, or the list another. `moved` may come inside any call of
 * servers.h: it does no more than post. Left with list_del(). */
struct servers_user {
	struct list node;
	void (*moved)(struct servers_user *);
};
void servers__join(struct servers *s, struct servers_user *u);
bool servers__tls(const struct servers *s);
/* That one did not answer. */
void servers__failed(struct servers *s, const char *url, const struct err *err);
/* It did, when asked at asked_us. True: another one is to be asked the same. */
bool servers__answered(struct servers *s, const char *url, int status, uint64_t asked_us);

/* ---- http_pools.c: connections to one server; those to others than the current one go when nobody uses them ---- */

struct pools {
	struct list node;
	char *url, *prefix; /* prefix: the URL's path */
	struct http_client *calls, *watches;
	unsigned users; /* calls and watches under way */
};

struct client_http {
	struct client base;
	uint32_t magic;
	uv_loop_t *loop;
	struct servers *servers;
	struct servers_user user;
	struct list pools;
	struct env_post sweep; /* away from a server that is not the current one any more */
	struct tls_context *tls;
	struct kubeconfig config;
	bool among;          /* the servers may change */
	char *authorization; /* "Bearer ...", or NULL */
	char *user_agent;
	struct list call_list, watch_list;
};

struct client_http *client_http__of(struct client *c);
/* To the current server. */
struct pools *pools__get(struct client_http *c);
static inline struct pools *pools__use(struct client_http *c)
{
	struct pools *p = pools__get(c);
	p->users++;
	return p;
}
void pools__init(struct client_http *c, struct servers *s);
void pools__drop(struct client_http *c, struct pools *p);
void pools__set_tls(struct client_http *c, struct tls_context *tls);
void pools__free_all(struct client_http *c);
/* Where there are others to ask: how long a server may take to begin with its answer. */
#define SERVER_SILENT_US 10000000u

/* Standard headers for a request; `ret` holds at least 6. */
void client_http__headers(const struct client_http *c, const char *content_type, struct http_header *ret);

/* ---- target.c ---- */

void target__path(struct buf *out, const struct kind *k, const char *ns, const char *name, const char *subresource);
void target__watch(struct buf *out, const struct client_watch_request *r);
const char *target__method(const struct client_request *r);
const char *target__content_type(const struct client_request *r);
void target__body(struct buf *out, const struct client_request *r);

/* ---- http_watch.c ---- */

struct client_watch *http_watch__new(struct client *base, const struct client_watch_request *r,
				     const struct client_watch_ops *ops, void *arg);
void http_watch__cancel(struct client *base, struct client_watch *w);
void http_watch__free_all(struct client_http *c);
/* Those at another server than the current one: their owners resume them. */
void http_watch__end_elsewhere(struct client_http *c);

#endif
