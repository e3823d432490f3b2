/* The etcd engine behind store.h: opening and closing. */
#include "store/etcd.h"

#include <errno.h>

#include "store/etcd_internal.h"

#define PREFIX       "/mini"
#define HISTORY_US   300000000u
#define WAIT_US      5000000u
#define CONNECTIONS  64u
#define CONNECT_MS   2000u
#define PREFIX_MAX   256u
#define HOST_MAX     255u
#define PORT_OF_ETCD 2379u

struct url {
	bool tls;
	char host[HOST_MAX + 1];
	uint16_t port;
};

static int bad_url(const char *text, size_t len, struct err *err)
{
	return err_set(err, -EINVAL, "\"%.*s\" is no URL of an etcd server: https://HOST:PORT", (int)MIN(len, 300),
		       text);
}

static int parse_url(const char *text, size_t len, struct url *ret, struct err *err)
{
	_cleanup_free_ char *url = xstrndup(text, len);
	struct url u = {.tls = str_starts(url, "https://"), .port = PORT_OF_ETCD};
	char *host = strstr(url, "://"), *port;
	if (!host || (!u.tls && !str_starts(url, "http://")))
		return bad_url(text, len, err);
	host += 3;
	for (size_t n = strlen(host); n && host[n - 1] == '/';)
		host[--n] = '\0';
	if (*host == '[') {
		char *close = strchr(++host, ']');
		if (!close || (close[1] && close[1] != ':'))
			return bad_url(text, len, err);
		port = close[1] ? close + 2 : NULL;
		*close = '\0';
	} else {
		port = strchr(host, ':');
		if (port)
			*port++ = '\0';
	}
	uint64_t number = PORT_OF_ETCD;
	if ((port && parse_u64(port, &number)) || !number || number > UINT16_MAX || !*host || strlen(host) > HOST_MAX ||
	    strpbrk(host, "/?#@ "))
		return bad_url(text, len, err);
	u.port = (uint16_t)number;
	snprintf(u.host, sizeof(u.host), "%s", host);
	*ret = u;
	return 0;
}

static void add_server(struct etcd *e, const struct url *u, const char *text, size_t len, struct tls_context *tls)
{
	struct etcd_server *s = &e->servers[e->n_servers++];
	struct http_client_config hc = {.host = u->host,
					.port = u->port,
					.tls = u->tls ? tls : NULL,
					.max_connections = CONNECTIONS,
					.connect_timeout_ms = CONNECT_MS};
	s->url = xstrndup(text, len);
	s->calls = http_client_new(e->env, e->loop, &hc);
	s->streams = http_client_new(e->env, e->loop, &hc);
}

static int add_servers(struct etcd *e, const struct store_etcd_config *c, struct tls_context *tls, struct err *err)
{
	for (const char *p = c->servers; *p;) {
		size_t len = strcspn(p, ",");
		struct url u;
		int rc = len ? parse_url(p, len, &u, err) : 0;
		if (rc)
			return rc;
		if (len && u.tls && !tls)
			return err_set(err, -EINVAL, "%.*s needs the CA that verifies it", (int)len, p);
		if (len && e->n_servers == ETCD_SERVERS_MAX)
			return err_set(err, -EINVAL, "more than %u etcd servers", ETCD_SERVERS_MAX);
		if (len)
			add_server(e, &u, p, len, tls);
		p += len + (p[len] == ',');
	}
	return e->n_servers ? 0 : err_set(err, -EINVAL, "no etcd server is named");
}

static void on_compact(struct env_timer *t)
{
	struct etcd *e = CONTAINER_OF(t, struct etcd, compact_timer);
	env_timer_start(e->env, t, e->history_us);
	/* Others that share the history may have been there first: nobody waits for the answer. */
	if (e->compact_rev > e->compacted)
		etcd_compact(&e->base, e->compact_rev, NULL, NULL);
	e->compact_rev = e->seen;
}

static void etcd_free(struct etcd *e)
{
	env_timer_stop(e->env, &e->compact_timer);
	env_post_cancel(e->env, &e->pump);
	for (unsigned i = 0; i < e->n_servers; i++) {
		http_client_free(e->servers[i].calls);
		http_client_free(e->servers[i].streams);
		free(e->servers[i].url);
	}
	free(e->prefix);
	free(e->prefix_end);
	e->magic = 0;
	free(e);
}

static void close_step(struct etcd *e)
{
	_cleanup_err_ struct err err = ERR_INIT;
	err_status(&err, ERR_CANCELED, "the store is closing");
	if (!list_empty(&e->jobs)) {
		etcd_cancel_jobs(e, &err);
		env_post(e->env, &e->pump); /* once more: an answer may have asked for something, and was refused */
	} else if (!list_empty(&e->answers) || !etcd_watch_close(e, &err)) {
		env_post(e->env, &e->pump);
	} else {
		void (*done)(void *) = e->close_done;
		void *arg = e->close_arg;
		etcd_free(e);
		if (done)
			done(arg);
	}
}

static void on_pump(struct env_post *p)
{
	struct etcd *e = CONTAINER_OF(p, struct etcd, pump);
	MAGIC_CHECK(e, ETCD_MAGIC);
	etcd_answers(e);
	if (e->closing)
		close_step(e);
	else
		etcd_watch_pump(e);
}

static void etcd_close(struct store *s, void (*done)(void *arg), void *arg)
{
	struct etcd *e = etcd_of(s);
	MUST(!e->closing);
	e->closing = true;
	e->close_done = done;
	e->close_arg = arg;
	env_post(e->env, &e->pump);
}

static const struct store_engine etcd_ops = {
	.range = etcd_range,
	.txn = etcd_txn,
	.watch = etcd_watch,
	.watch_pause = etcd_watch_pause,
	.unwatch = etcd_unwatch,
	.compact = etcd_compact,
	.lease_grant = etcd_lease_grant,
	.lease_keepalive = etcd_lease_keepalive,
	.lease_revoke = etcd_lease_revoke,
	.status = etcd_status,
	.close = etcd_close,
};

int store_etcd_open(struct env *env, uv_loop_t *loop, const struct store_etcd_config *config, struct store **ret,
		    struct err *err)
{
	struct tls_context *tls = NULL;
	const char *prefix = config->prefix ? config->prefix : PREFIX;
	int rc = 0;
	if (strlen(prefix) > PREFIX_MAX)
		return err_set(err, -EINVAL, "the prefix of keys is longer than %u bytes", PREFIX_MAX);
	if (config->ca_pem)
		rc = tls_client_context(config->ca_pem, config->cert_pem, config->key_pem, false, &tls, err);
	if (rc)
		return err_prefix(err, "etcd");
	struct etcd *e = NEW(struct etcd);
	e->base = (struct store){.engine = &etcd_ops, .env = env};
	e->magic = ETCD_MAGIC;
	e->env = env;
	e->loop = loop;
	e->prefix = xstrdup(prefix);
	e->prefix_end = store_prefix_end(prefix);
	e->pump.fn = on_pump;
	e->compact_timer.fn = on_compact;
	e->history_us = config->history_us ? config->history_us : HISTORY_US;
	e->wait_us = config->wait_us ? config->wait_us : WAIT_US;
	list_init(&e->line);
	list_init(&e->jobs);
	list_init(&e->answers);
	list_init(&e->watches);
	rc = add_servers(e, config, tls, err);
	tls_context_unref(tls);
	if (rc) {
		etcd_free(e);
		return rc;
	}
	if (e->history_us != UINT64_MAX)
		env_timer_start(env, &e->compact_timer, e->history_us);
	etcd_watch_open(e);
	*ret = &e->base;
	return 0;
}
