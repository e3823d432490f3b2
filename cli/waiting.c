#include "cli/waiting.h"

#include "lib/api/object.h"

#define GRACE_MS 200

struct waiting {
	struct http_server *http;
	uv_loop_t *loop;
	char *reason;
	bool closed;
};

static bool is_check(const char *path, const char *name)
{
	size_t n = strlen(name);
	return str_starts(path, name) && (!path[n] || path[n] == '/');
}

static void respond(struct http_request *r, int status, const char *type, struct buf *b)
{
	const struct http_header headers[] = {{"Content-Type", type}, {"Retry-After", "1"}, {NULL, NULL}};
	http_respond(r, status, headers, b->data, b->len);
}

/* In the words of apiserver/nonresource.c. */
static void on_request(void *arg, struct http_request *r)
{
	static const char text[] = "text/plain; charset=utf-8";
	struct waiting *w = arg;
	const char *path = http_path(r);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (is_check(path, "/livez")) { /* to start it again would help nobody */
		buf_adds(&b, "ok");
		respond(r, 200, text, &b);
	} else if (is_check(path, "/readyz") || is_check(path, "/healthz")) {
		buf_addf(&b, "[+]ping ok\n[-]etcd failed: %s\n%.*s check failed\n", w->reason,
			 (int)strcspn(path + 1, "/"), path + 1);
		respond(r, 500, text, &b);
	} else {
		_cleanup_err_ struct err err = ERR_INIT;
		err_status(&err, ERR_SERVICE_UNAVAILABLE, "this server cannot serve yet: %s", w->reason);
		_cleanup_json_ json_t *status = status_from_err(&err);
		json_write(&b, status);
		buf_addc(&b, '\n');
		respond(r, 503, "application/json", &b);
	}
}

static void on_close(_unused_ void *arg, _unused_ struct http_request *r) {}

static void on_closed(void *arg)
{
	((struct waiting *)arg)->closed = true;
}

struct waiting *waiting_start(struct env *env, uv_loop_t *loop, struct tls_context *tls, const char *host,
			      uint16_t port, struct err *err)
{
	static const struct http_server_ops ops = {on_request, on_close};
	const struct http_limits limits = {.body_bytes = 65536, .connections = 256};
	struct waiting *w = NEW(struct waiting);
	*w = (struct waiting){.loop = loop, .reason = xstrdup("it starts")};
	w->http = http_server_new(env, loop, tls, &limits, &ops, w);
	if (http_server_listen(w->http, host, port, err) == 0)
		return w;
	waiting_stop(w);
	return NULL;
}

void waiting_say(struct waiting *w, const char *reason)
{
	if (!w || streq(w->reason, reason))
		return;
	free(w->reason);
	w->reason = xstrdup(reason);
}

void waiting_stop(struct waiting *w)
{
	if (!w)
		return;
	http_server_close(w->http, GRACE_MS, on_closed, w);
	while (!w->closed)
		uv_run(w->loop, UV_RUN_ONCE);
	free(w->reason);
	free(w);
}
