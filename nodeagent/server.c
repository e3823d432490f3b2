/* The node API on 10250: who may ask, and which handler answers. Only the API server's client certificate, or one of
 * group system:masters, is served. */
#include "nodeagent/remote.h"

#include "lib/core/log.h"
#include "lib/core/metrics.h"

#define API_SERVER_CN "kube-apiserver-kubelet-client"
#define MASTERS       "system:masters"
#define CLOSE_MS      500

/* ---- answers ---- */

void server_text(struct http_request *r, int status, const char *fmt, ...)
{
	static const struct http_header headers[] = {
		{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}, {NULL, NULL}};
	char text[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	http_respond(r, status, headers, text, strlen(text));
}

void server_json(struct http_request *r, int status, json_t *body_new)
{
	static const struct http_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	struct buf out = BUF_INIT;
	json_write(&out, body_new);
	json_decref(body_new);
	http_respond_buf(r, status, headers, &out);
	buf_done(&out);
}

struct pod *server_find_pod(struct node_server *s, struct http_request *r, const char *ns, const char *pod)
{
	struct pod *p = NULL;
	MAP_EACH (&s->n->pods, e) {
		struct pod *it = e->value;
		/* of two with one name, the one that is not on its way out */
		if (streq(it->ns, ns) && streq(it->name, pod) && it->obj && (!p || p->gone))
			p = it;
	}
	if (!p)
		server_text(r, 404, "pod \"%s/%s\" not found\n", ns, pod);
	return p;
}

struct pod_container *server_find_container(struct node_server *s, struct http_request *r, const char *ns,
					    const char *pod, const char *container)
{
	struct pod *p = server_find_pod(s, r, ns, pod);
	struct pod_container *c = p ? pod_find_container(p, container) : NULL;
	if (p && !c)
		server_text(r, 404, "container \"%s\" not found in pod \"%s_%s\"\n", container, pod, ns);
	return c;
}

/* ---- who may ask ---- */

static bool in_masters(const struct http_peer *peer)
{
	for (const char *const *o = peer->organizations; o && *o; o++) {
		if (streq(*o, MASTERS))
			return true;
	}
	return false;
}

/* True when allowed; otherwise answered. */
static bool authorize(struct http_request *r)
{
	const struct http_peer *peer = http_peer(r);
	if (!peer->cert_verified) {
		server_text(r, 401, "Unauthorized");
		return false;
	}
	if (streq(peer->common_name, API_SERVER_CN) || in_masters(peer))
		return true;
	server_text(r, 403, "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[proxy])", peer->common_name,
		    streq(http_method(r), "GET") ? "get" : "create");
	return false;
}

/* ---- plain handlers ---- */

static void serve_pods(struct node_server *s, struct http_request *r)
{
	static const struct http_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	struct buf out = BUF_INIT;
	bool first = true;
	buf_adds(&out, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	MAP_EACH (&s->n->pods, e) {
		struct pod *p = e->value;
		if (!p->obj)
			continue;
		if (!first)
			buf_addc(&out, ',');
		first = false;
		object_write(&out, p->obj);
	}
	buf_adds(&out, "]}");
	http_respond_buf(r, 200, headers, &out);
	buf_done(&out);
}

static void serve_metrics(struct http_request *r)
{
	static const struct http_header headers[] = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"},
						     {NULL, NULL}};
	struct buf out = BUF_INIT;
	metrics_render(&out);
	http_respond_buf(r, 200, headers, &out);
	buf_done(&out);
}

/* "ns/pod/container" -> its parts. False when there are more or fewer than n. */
static bool split_path(const char *path, int n, char *ret[3], char **ret_memory)
{
	char *text = xstrdup(path), *save = NULL;
	int got = 0;
	*ret_memory = text;
	for (char *w = strtok_r(text, "/", &save); w && got <= n; w = strtok_r(NULL, "/", &save)) {
		if (got < n)
			ret[got] = w;
		got++;
	}
	return got == n;
}

/* Paths that name a pod, or a container in it. False when it is none of them. */
static bool serve_container(struct node_server *s, struct http_request *r)
{
	static const struct {
		const char *prefix;
		void (*serve)(struct node_server *, struct http_request *, struct pod_container *);
	} verbs[] = {{"/containerLogs/", server_logs}, {"/exec/", server_exec}, {"/attach/", server_attach}};
	const char *path = http_path(r);
	char *part[3];
	_cleanup_free_ char *memory = NULL;
	if (str_starts(path, "/portForward/") && split_path(path + strlen("/portForward/"), 2, part, &memory)) {
		struct pod *p = server_find_pod(s, r, part[0], part[1]);
		if (p)
			server_ports(s, r, p);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!str_starts(path, verbs[i].prefix) || !split_path(path + strlen(verbs[i].prefix), 3, part, &memory))
			continue;
		struct pod_container *c = server_find_container(s, r, part[0], part[1], part[2]);
		if (c)
			verbs[i].serve(s, r, c);
		return true;
	}
	return false;
}

static void on_request(void *arg, struct http_request *r)
{
	struct node_server *s = arg;
	const char *path = http_path(r);
	if (!authorize(r))
		return;
	if (streq(path, "/healthz"))
		server_text(r, 200, "ok");
	else if (streq(path, "/pods") || streq(path, "/pods/"))
		serve_pods(s, r);
	else if (streq(path, "/metrics"))
		serve_metrics(r);
	else if (streq(path, "/stats/summary"))
		server_json(r, 200, server_stats_summary(s->n));
	else if (!serve_container(s, r))
		server_text(r, 404, "404 page not found\n");
}

static void on_close(void *arg, struct http_request *r)
{
	(void)arg;
	struct node_stream *st = http_request_data(r);
	if (st)
		st->gone(st);
}

/* ---- life ---- */

static void on_kick(struct env_post *post)
{
	struct node_server *s = CONTAINER_OF(post, struct node_server, kick);
	LIST_EACH (&s->streams, st, struct node_stream, node) {
		if (st->kick)
			st->kick(st);
	}
}

void node_server_kick(struct node_server *s)
{
	if (s && !list_empty(&s->streams))
		env_post(s->n->env, &s->kick);
}

static void on_refused(void *arg)
{
	free(arg);
}

int node_server_new(struct nodeagent *n, struct node_server **ret, struct err *err)
{
	static const struct http_server_ops ops = {.on_request = on_request, .on_close = on_close};
	struct node_server *s = NEW(struct node_server);
	s->n = n;
	s->kick.fn = on_kick;
	list_init(&s->streams);
	list_init(&s->remotes);
	s->http = http_server_new(n->env, n->loop, n->config.serving_tls, NULL, &ops, s);
	const char *host = n->listen_host ? n->listen_host : "0.0.0.0";
	int rc = http_server_listen(s->http, host, n->config.listen_port, err);
	if (rc < 0) {
		http_server_close(s->http, 0, on_refused, s);
		return err_prefix(err, "the node API cannot listen on %s:%u", host, n->config.listen_port);
	}
	*ret = s;
	return 0;
}

void nodeagent_set_tls(struct nodeagent *n, struct tls_context *tls)
{
	if (n->server)
		http_server_set_tls(n->server->http, tls);
}

uint16_t node_server_port(const struct node_server *s)
{
	return http_server_port(s->http);
}

struct closing {
	struct node_server *s;
	void (*done)(void *arg);
	void *arg;
};

static void on_closed(void *arg)
{
	struct closing *c = arg;
	env_post_cancel(c->s->n->env, &c->s->kick);
	free(c->s);
	c->done(c->arg);
	free(c);
}

void node_server_close(struct node_server *s, void (*done)(void *arg), void *arg)
{
	struct closing *c = NEW(struct closing);
	*c = (struct closing){s, done, arg};
	remote_close_all(s);
	http_server_close(s->http, CLOSE_MS, on_closed, c);
}
