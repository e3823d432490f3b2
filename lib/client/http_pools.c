#include "lib/client/http_priv.h"

#define CONNECT_MS 5000 /* where there may be others to ask */

static void pools__free(struct pools *p)
{
	list_del(&p->node);
	http_client_free(p->calls);
	http_client_free(p->watches);
	free(p->url);
	free(p->prefix);
	free(p);
}

static struct pools *pools__new(struct client_http *c, const char *url)
{
	struct server_url u;
	struct pools *p = NEW(struct pools);
	MUST(server_url__parse(url, &u, NULL) == 0);
	struct http_client_config config = {
		.host = u.host,
		.port = u.port,
		.tls = c->tls,
		.server_name = c->config.tls_server_name,
		.connect_timeout_ms = c->among ? CONNECT_MS : 0,
	};
	p->url = xstrdup(url);
	p->prefix = xstrndup(u.path, u.path_len);
	p->calls = http_client_new(c->base.env, c->loop, &config);
	config.max_connections = 256; /* one each; they never wait in line */
	p->watches = http_client_new(c->base.env, c->loop, &config);
	list_push(&c->pools, &p->node);
	return p;
}

struct pools *pools__get(struct client_http *c)
{
	const char *url = servers_current(c->servers);
	LIST_EACH (&c->pools, p, struct pools, node)
		if (streq(p->url, url))
			return p;
	return pools__new(c, url);
}

void pools__drop(struct client_http *c, struct pools *p)
{
	p->users--;
	if (!p->users && !streq(p->url, servers_current(c->servers)))
		env_post(c->base.env, &c->sweep);
}

/* What a look into the list from inside a callback must not do. */
static void sweep(struct env_post *post)
{
	struct client_http *c = CONTAINER_OF(post, struct client_http, sweep);
	MAGIC_CHECK(c, CLIENT_HTTP_MAGIC);
	http_watch__end_elsewhere(c);
	LIST_EACH (&c->pools, p, struct pools, node)
		if (!p->users && !streq(p->url, servers_current(c->servers)))
			pools__free(p);
}

static void on_moved(struct servers_user *u)
{
	struct client_http *c = CONTAINER_OF(u, struct client_http, user);
	env_post(c->base.env, &c->sweep);
}

void pools__init(struct client_http *c, struct servers *s)
{
	list_init(&c->pools);
	c->servers = servers_ref(s);
	c->sweep.fn = sweep;
	c->user.moved = on_moved;
	servers__join(s, &c->user);
}

void pools__set_tls(struct client_http *c, struct tls_context *tls)
{
	tls_context_unref(c->tls);
	c->tls = tls_context_ref(tls);
	LIST_EACH (&c->pools, p, struct pools, node) {
		http_client_set_tls(p->calls, tls);
		http_client_set_tls(p->watches, tls);
	}
}

void pools__free_all(struct client_http *c)
{
	list_del(&c->user.node);
	env_post_cancel(c->base.env, &c->sweep);
	LIST_EACH (&c->pools, p, struct pools, node)
		pools__free(p);
	servers_unref(c->servers);
	tls_context_unref(c->tls);
}
