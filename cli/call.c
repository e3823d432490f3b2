#include "cli/call.h"

#include <errno.h>

#define ANSWER_MAX    (4u << 20)
#define CLOSING_TURNS 4

struct one {
	bool done;
	int status;
	struct buf text;
	struct err err;
	struct http_call *call;
};

int call_split(const char *url, char ret_host[256], uint16_t *ret_port, struct err *err)
{
	const char *at = str_starts(url, "https://") ? url + 8 : NULL;
	size_t len = at ? strcspn(at, "/?#") : 0;
	char text[300];
	if (!at || len == 0 || len >= sizeof(text) - 1)
		return err_set(err, -EINVAL, "\"%.200s\" is not https://HOST:PORT", url);
	snprintf(text, sizeof(text), "%.*s", (int)len, at);
	char *host = text, *port = strrchr(text, ':');
	if (*text == '[') {
		char *close = strchr(text, ']');
		if (!close)
			return err_set(err, -EINVAL, "\"%.200s\" is not https://HOST:PORT", url);
		host = text + 1;
		port = close[1] == ':' ? close + 1 : NULL;
		*close = 0;
	}
	int64_t n = 443;
	if (port) {
		*port = 0;
		if (parse_i64(port + 1, &n) < 0 || n < 1 || n > 65535)
			return err_set(err, -EINVAL, "\"%.200s\" has no port from 1 to 65535", url);
	}
	if (!*host || strlen(host) > 255)
		return err_set(err, -EINVAL, "\"%.200s\" is not https://HOST:PORT", url);
	snprintf(ret_host, 256, "%.255s", host);
	*ret_port = (uint16_t)n;
	return 0;
}

static void on_response(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	((struct one *)arg)->status = status;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct one *o = arg;
	if (o->text.len + len <= ANSWER_MAX)
		buf_add(&o->text, data, len);
	else if (!o->err.code)
		err_set(&o->err, -EFBIG, "the answer is larger than %u bytes", ANSWER_MAX);
}

static void on_done(void *arg, const struct err *err)
{
	struct one *o = arg;
	o->done = true;
	if (!o->err.code)
		err_copy(&o->err, err);
}

static void on_tick(uv_timer_t *t)
{
	(void)t; /* only so that a loop without traffic looks at *stop */
}

static void on_tick_closed(uv_handle_t *h)
{
	*(bool *)h->data = true;
}

/* Until *done (NULL: never), the time is over (0: no bound), or somebody says stop. */
static void turn(const struct call_to *to, const bool *done, unsigned ms)
{
	uv_timer_t tick;
	bool closed = false;
	uint64_t end = uv_hrtime() / 1000000 + ms;
	uv_timer_init(to->loop, &tick);
	tick.data = &closed;
	uv_timer_start(&tick, on_tick, 20, 20);
	while (!(done && *done) && !(to->stop && *to->stop) && (!ms || uv_hrtime() / 1000000 < end))
		uv_run(to->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, on_tick_closed);
	while (!closed)
		uv_run(to->loop, UV_RUN_ONCE);
}

int call_wait(const struct call_to *to, unsigned ms)
{
	turn(to, NULL, ms);
	return to->stop && *to->stop ? -ECANCELED : 0;
}

static int take_answer(struct one *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *tree = NULL;
	if (o->err.code)
		return err_move(err, &o->err);
	int rc = o->text.len ? json_parse(o->text.data, o->text.len, &tree, NULL) : 0;
	if (o->status >= 200 && o->status < 300 && rc == 0) {
		if (ret)
			*ret = STEAL(tree);
		return 0;
	}
	if (tree && streq(json_get_str(tree, "kind", ""), "Status")) {
		err_status(err, err_reason_from_str(json_get_str(tree, "reason", "")), "%s",
			   json_get_str(tree, "message", "refused"));
		return err ? err->code : -EIO;
	}
	return err_set(err, -EPROTO, "what answers there is no server of mini (status %d)", o->status);
}

int call(const struct call_to *to, const char *method, const char *path, const json_t *body, json_t **ret,
	 struct err *err)
{
	static const struct http_call_ops ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};
	struct http_client_config config = {.connect_timeout_ms = 5000, .max_connections = 1};
	struct tls_context *tls = NULL;
	char host[256];
	_cleanup_buf_ struct buf text = BUF_INIT;
	int r = call_split(to->url, host, &config.port, err);
	if (r == 0)
		r = tls_client_context(to->ca_pem, to->cert_pem, to->key_pem, to->insecure, &tls, err);
	if (r < 0)
		return r;
	config.host = host;
	config.tls = tls;
	if (body)
		json_write(&text, body);
	_cleanup_free_ char *authorization = to->bearer ? xasprintf("Bearer %s", to->bearer) : NULL;
	struct http_header headers[3] = {{"Content-Type", "application/json"}, {NULL, NULL}, {NULL, NULL}};
	if (authorization)
		headers[1] = (struct http_header){"Authorization", authorization};
	struct one o = {0};
	struct http_client *client = http_client_new(to->env, to->loop, &config);
	o.call = http_call(client, method, path, headers, text.data, text.len, to->timeout_ms ? to->timeout_ms : 15000,
			   &ops, &o);
	turn(to, &o.done, 0);
	if (!o.done)
		http_call_cancel(o.call);
	http_client_free(client);
	/* its memory goes with its handles, and the loop may not turn again */
	for (int i = 0; i < CLOSING_TURNS; i++)
		uv_run(to->loop, UV_RUN_NOWAIT);
	tls_context_unref(tls);
	r = o.done ? take_answer(&o, ret, err) : err_set(err, -ECANCELED, "stopped");
	buf_done(&o.text);
	err_done(&o.err);
	return r;
}
