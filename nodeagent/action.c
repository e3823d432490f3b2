#include "nodeagent/action.h"

#include <arpa/inet.h>

#include "lib/api/json.h"
#include "lib/net/http.h"
#include "nodeagent/agent.h"

#define ACTION_MAGIC  0x61637430u
#define OUTPUT_MAX    4096
#define HTTP_BODY_MAX 1024

struct action {
	uint32_t magic;
	struct nodeagent *n;
	enum action_type type;
	action_cb cb;
	void *arg;
	struct env_timer timer;
	struct env_post finish;
	bool ok;
	unsigned timeout_s;
	struct buf output;
	struct runtime_exec *exec;
	struct http_client *http;
	struct http_call *call;
	char *url;
	int http_status;
	struct action_tcp *tcp;
};

/* The socket of a tcpSocket action; libuv wants it alive until its close callback. */
struct action_tcp {
	uv_tcp_t handle;
	uv_connect_t req;
	struct action *a; /* NULL: nobody waits any more */
};

/* ---- the spec ---- */

static char **strings_of(const json_t *array)
{
	size_t n = json_array_size(array);
	char **v = NEW_N(char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(array, i));
		v[i] = xstrdup(s ? s : "");
	}
	return v;
}

static uint16_t resolve_port(const json_t *port, const json_t *cspec)
{
	int64_t num = 0;
	if (json_is_integer(port)) {
		num = json_integer_value(port);
	} else if (json_is_string(port)) {
		size_t i;
		json_t *p;
		json_array_foreach(json_object_get(cspec, "ports"), i, p)
		{
			if (streq(json_get_str(p, "name", ""), json_string_value(port)))
				num = json_get_int(p, "containerPort", 0);
		}
		if (num == 0 && parse_i64(json_string_value(port), &num) < 0)
			num = 0;
	}
	return num > 0 && num < 65536 ? (uint16_t)num : 0;
}

static void http_spec(struct action_spec *s, const json_t *get, const json_t *cspec)
{
	s->type = ACTION_HTTP;
	const char *host = json_get_str(get, "host", "");
	s->host = *host ? xstrdup(host) : NULL;
	const char *path = json_get_str(get, "path", "/");
	s->path = *path == '/' ? xstrdup(path) : xasprintf("/%s", path);
	s->port = resolve_port(json_object_get(get, "port"), cspec);
	s->https = streq(json_get_str(get, "scheme", "HTTP"), "HTTPS");
	const json_t *headers = json_object_get(get, "httpHeaders");
	s->headers = NEW_N(struct action_header, json_array_size(headers) + 1);
	size_t i;
	json_t *h;
	json_array_foreach(headers, i, h)
	{
		s->headers[i].name = xstrdup(json_get_str(h, "name", ""));
		s->headers[i].value = xstrdup(json_get_str(h, "value", ""));
	}
}

void action_spec_make(struct action_spec *ret, const json_t *action, const json_t *cspec)
{
	*ret = (struct action_spec){0};
	const json_t *part;
	if ((part = json_object_get(action, "exec"))) {
		ret->type = ACTION_EXEC;
		ret->argv = strings_of(json_object_get(part, "command"));
	} else if ((part = json_object_get(action, "httpGet"))) {
		http_spec(ret, part, cspec);
	} else if ((part = json_object_get(action, "tcpSocket"))) {
		ret->type = ACTION_TCP;
		const char *host = json_get_str(part, "host", "");
		ret->host = *host ? xstrdup(host) : NULL;
		ret->port = resolve_port(json_object_get(part, "port"), cspec);
	} else if ((part = json_object_get(action, "sleep"))) {
		ret->type = ACTION_SLEEP;
		ret->sleep_s = (unsigned)MIN(MAX(json_get_int(part, "seconds", 0), 0), 1 << 20);
	} else if (json_object_get(action, "grpc")) {
		ret->type = ACTION_GRPC;
	}
}

void action_spec_done(struct action_spec *s)
{
	for (char **v = s->argv; v && *v; v++)
		free(*v);
	free(s->argv);
	free(s->host);
	free(s->path);
	for (struct action_header *h = s->headers; h && h->name; h++) {
		free(h->name);
		free(h->value);
	}
	free(s->headers);
	*s = (struct action_spec){0};
}

/* ---- one under way ---- */

static void drop_tcp(struct action *a);

static void action_free(struct action *a)
{
	env_timer_stop(a->n->env, &a->timer);
	env_post_cancel(a->n->env, &a->finish);
	drop_tcp(a);
	if (a->http)
		http_client_free(a->http);
	buf_done(&a->output);
	free(a->url);
	a->magic = 0;
	free(a);
}

static void on_finish(struct env_post *post)
{
	struct action *a = CONTAINER_OF(post, struct action, finish);
	MAGIC_CHECK(a, ACTION_MAGIC);
	action_cb cb = a->cb;
	void *arg = a->arg;
	bool ok = a->ok;
	_cleanup_free_ char *out = buf_steal(&a->output);
	action_free(a);
	cb(arg, ok, out);
}

static void finish(struct action *a, bool ok, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void finish(struct action *a, bool ok, const char *fmt, ...)
{
	if (a->finish.posted)
		return;
	a->ok = ok;
	if (*fmt) {
		va_list ap;
		char line[OUTPUT_MAX];
		va_start(ap, fmt);
		vsnprintf(line, sizeof(line), fmt, ap);
		va_end(ap);
		buf_adds(&a->output, line);
	}
	env_post(a->n->env, &a->finish);
}

static void on_timer(struct env_timer *t)
{
	struct action *a = CONTAINER_OF(t, struct action, timer);
	MAGIC_CHECK(a, ACTION_MAGIC);
	switch (a->type) {
	case ACTION_SLEEP:
		finish(a, true, "%s", "");
		return;
	case ACTION_EXEC:
		if (a->exec) {
			a->n->runtime->ops->exec_cancel(a->exec);
			a->exec = NULL;
		}
		buf_clear(&a->output);
		finish(a, false, "command timed out after %us", a->timeout_s);
		return;
	case ACTION_HTTP:
		if (a->call)
			http_call_cancel(a->call);
		a->call = NULL;
		buf_clear(&a->output);
		finish(a, false,
		       "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
		       a->url);
		return;
	default:
		drop_tcp(a);
		finish(a, false, "dial tcp %s: i/o timeout", a->url ? a->url : "");
	}
}

/* exec */
static void on_exec_output(void *arg, int fd, const void *data, size_t len)
{
	(void)fd;
	struct action *a = arg;
	MAGIC_CHECK(a, ACTION_MAGIC);
	size_t room = OUTPUT_MAX - MIN(a->output.len, OUTPUT_MAX);
	buf_add(&a->output, data, MIN(len, room));
}

static void on_exec_done(void *arg, const struct err *err, int code)
{
	struct action *a = arg;
	MAGIC_CHECK(a, ACTION_MAGIC);
	a->exec = NULL;
	if (err && err->code)
		finish(a, false, "%s", err->message);
	else if (code != 0 && a->output.len == 0)
		finish(a, false, "command exited with %d", code);
	else
		finish(a, code == 0, "%s", "");
}

static void start_exec(struct action *a, const struct action_spec *spec, const char *container_id)
{
	static const struct runtime_exec_ops ops = {.on_output = on_exec_output, .on_done = on_exec_done};
	a->exec = a->n->runtime->ops->exec(a->n->runtime, container_id, (const char *const *)spec->argv, 0,
					   a->timeout_s, &ops, a);
	if (!a->exec)
		finish(a, false, "%s", "the command could not be started");
}

/* http */
static void on_http_response(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	struct action *a = arg;
	a->http_status = status;
}

static void on_http_body(void *arg, const void *data, size_t len)
{
	struct action *a = arg;
	size_t room = HTTP_BODY_MAX - MIN(a->output.len, HTTP_BODY_MAX);
	buf_add(&a->output, data, MIN(len, room));
}

static void on_http_done(void *arg, const struct err *err)
{
	struct action *a = arg;
	MAGIC_CHECK(a, ACTION_MAGIC);
	a->call = NULL;
	bool answered = a->http_status >= 200 && a->http_status < 400;
	if (!answered)
		buf_clear(&a->output);
	if (a->http_status == 0)
		finish(a, false, "Get \"%s\": %s", a->url, err->message);
	else if (!answered)
		finish(a, false, "HTTP probe failed with statuscode: %d", a->http_status);
	else
		finish(a, true, "%s", "");
}

static void start_http(struct action *a, const struct action_spec *spec, const char *host)
{
	static const struct http_call_ops ops = {
		.on_response = on_http_response, .on_body = on_http_body, .on_done = on_http_done};
	a->url = xasprintf("%s://%s:%u%s", spec->https ? "https" : "http", host, spec->port, spec->path);
	struct tls_context *tls = NULL;
	struct err err = ERR_INIT;
	if (spec->https && tls_client_context(NULL, NULL, NULL, true, &tls, &err) < 0) {
		finish(a, false, "Get \"%s\": %s", a->url, err.message);
		return;
	}
	struct http_client_config config = {
		.host = host, .port = spec->port, .tls = tls, .max_connections = 1, .idle_s = 1};
	a->http = http_client_new(a->n->env, a->n->loop, &config);
	tls_context_unref(tls);
	struct http_header headers[64] = {
		{"User-Agent", "kube-probe/1.32"}, {"Accept", "*/*"}, {"Connection", "close"}};
	size_t n = 3;
	for (struct action_header *h = spec->headers; h && h->name && n < ARRAY_LEN(headers) - 1; h++)
		headers[n++] = (struct http_header){h->name, h->value};
	a->call = http_call(a->http, "GET", spec->path, headers, NULL, 0, 0, &ops, a);
}

/* tcp */
static void on_tcp_closed(uv_handle_t *h)
{
	free(CONTAINER_OF((uv_tcp_t *)h, struct action_tcp, handle));
}

static void drop_tcp(struct action *a)
{
	if (!a->tcp)
		return;
	a->tcp->a = NULL;
	uv_close((uv_handle_t *)&a->tcp->handle, on_tcp_closed);
	a->tcp = NULL;
}

static void on_tcp_connect(uv_connect_t *req, int status)
{
	struct action_tcp *t = CONTAINER_OF(req, struct action_tcp, req);
	struct action *a = t->a;
	if (!a)
		return;
	if (status < 0)
		finish(a, false, "dial tcp %s: connect: %s", a->url, uv_strerror(status));
	else
		finish(a, true, "%s", "");
}

static void start_tcp(struct action *a, const struct action_spec *spec, const char *host)
{
	struct sockaddr_storage addr;
	a->url = xasprintf("%s:%u", host, spec->port);
	if (uv_ip4_addr(host, spec->port, (struct sockaddr_in *)&addr) != 0 &&
	    uv_ip6_addr(host, spec->port, (struct sockaddr_in6 *)&addr) != 0) {
		finish(a, false, "tcpSocket: host \"%s\" is not an address", host);
		return;
	}
	a->tcp = NEW(struct action_tcp);
	a->tcp->a = a;
	uv_tcp_init(a->n->loop, &a->tcp->handle);
	int rc = uv_tcp_connect(&a->tcp->req, &a->tcp->handle, (struct sockaddr *)&addr, on_tcp_connect);
	if (rc < 0)
		finish(a, false, "dial tcp %s: %s", a->url, uv_strerror(rc));
}

static void start_network(struct action *a, const struct action_spec *spec, const char *pod_ip)
{
	const char *host = spec->host ? spec->host : pod_ip;
	if (!a->n->loop)
		finish(a, false, "%s", "no network here");
	else if (str_empty(host))
		finish(a, false, "%s", "the pod has no address");
	else if (spec->port == 0)
		finish(a, false, "%s", "the port's name is not one of the container's ports");
	else if (spec->type == ACTION_HTTP)
		start_http(a, spec, host);
	else
		start_tcp(a, spec, host);
}

struct action *action_start(struct nodeagent *n, const struct action_spec *spec, const char *container_id,
			    const char *pod_ip, unsigned timeout_s, action_cb cb, void *arg)
{
	struct action *a = NEW(struct action);
	*a = (struct action){.magic = ACTION_MAGIC, .n = n, .type = spec->type, .cb = cb, .arg = arg};
	a->timeout_s = MAX(timeout_s, 1u);
	a->timer.fn = on_timer;
	a->finish.fn = on_finish;
	switch (spec->type) {
	case ACTION_EXEC:
		start_exec(a, spec, container_id);
		break;
	case ACTION_HTTP:
	case ACTION_TCP:
		start_network(a, spec, pod_ip);
		break;
	case ACTION_SLEEP:
		env_timer_start(n->env, &a->timer, MIN(spec->sleep_s, a->timeout_s) * SECOND_US);
		return a;
	case ACTION_GRPC:
		finish(a, false, "%s", "grpc probes are not supported by this node agent");
		break;
	case ACTION_NONE:
		finish(a, true, "%s", "");
		break;
	}
	env_timer_start(n->env, &a->timer, a->timeout_s * SECOND_US);
	return a;
}

void action_cancel(struct action *a)
{
	if (!a)
		return;
	MAGIC_CHECK(a, ACTION_MAGIC);
	if (a->exec)
		a->n->runtime->ops->exec_cancel(a->exec);
	if (a->call)
		http_call_cancel(a->call);
	a->exec = NULL;
	a->call = NULL;
	action_free(a);
}
