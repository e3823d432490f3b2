#include "cli/minictl/rest.h"

#include <errno.h>
#include <strings.h>

#include "cli/minictl/args.h"

#define TIMEOUT_MS     60000
#define ANSWER_MAX     (256u << 20)
#define LINE_MAX_BYTES (16u << 20)

char *path_of(const struct kind *k, const char *ns, const char *name, const char *subresource)
{
	struct client_request r = {.verb = CLIENT_GET, .kind = k, .ns = ns, .name = name, .subresource = subresource};
	struct buf out = BUF_INIT;
	client_http_target(&out, &r);
	return keep(buf_steal(&out));
}

char *with_query(const char *path, const char *key, const char *value)
{
	if (str_empty(value))
		return keepf("%s", path);
	struct buf out = BUF_INIT;
	buf_addf(&out, "%s%c%s=", path, strchr(path, '?') ? '&' : '?', key);
	http_escape(&out, value);
	return keep(buf_steal(&out));
}

/* ---- one call ---- */

struct call {
	struct ctl *c;
	bool done;
	int status;
	struct buf body;
	struct err err;
};

/* Warning: 299 - "text" */
static void print_warning(const char *value)
{
	const char *start = strchr(value, '"'), *end = strrchr(value, '"');
	if (!start || end <= start)
		return;
	fputs("Warning: ", stderr);
	for (const char *p = start + 1; p < end; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		fputc(*p, stderr);
	}
	fputc('\n', stderr);
}

static void on_response(void *arg, int status, const struct http_header *headers)
{
	struct call *call = arg;
	call->status = status;
	for (const struct http_header *h = headers; h && h->name; h++) {
		if (!strcasecmp(h->name, "Warning"))
			print_warning(h->value);
	}
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct call *call = arg;
	if (call->body.len + len <= ANSWER_MAX)
		buf_add(&call->body, data, len);
	else if (!call->err.code)
		err_set(&call->err, -EFBIG, "the answer is larger than %u bytes", ANSWER_MAX);
}

static void on_done(void *arg, const struct err *err)
{
	struct call *call = arg;
	if (!call->err.code)
		err_copy(&call->err, err);
	call->done = true;
}

static const struct http_call_ops call_ops = {.on_response = on_response, .on_body = on_body, .on_done = on_done};

static void trace(struct ctl *c, const char *method, const char *path, int status, uint64_t since_ms)
{
	if (c->verbosity >= 6)
		fprintf(stderr, "%s %s%s %d in %llu milliseconds\n", method, c->config.server ? c->config.server : "",
			path, status, (unsigned long long)(ctl_now_ms() - since_ms));
}

static int timeout_of(struct ctl *c, unsigned *ret, struct err *err)
{
	int64_t ms = TIMEOUT_MS;
	if (c->request_timeout && duration_parse(c->request_timeout, &ms) < 0)
		return ctl_usage(
			err,
			"Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a "
			"corresponding time unit (e.g. 1s | 2m | 3h)");
	*ret = ms ? (unsigned)MIN(ms, 1 << 30) : 1u << 30;
	return 0;
}

static int fetch(struct ctl *c, const char *method, const char *path, const char *accept, const char *content_type,
		 const json_t *body, struct call *ret, struct err *err)
{
	unsigned timeout_ms = 0;
	int rc = ctl_connect(c, err);
	if (rc == 0)
		rc = timeout_of(c, &timeout_ms, err);
	if (rc < 0)
		return rc;
	_cleanup_buf_ struct buf text = BUF_INIT;
	struct http_header headers[3] = {{"Accept", accept ? accept : "application/json"}};
	if (body) {
		json_write(&text, body);
		headers[1] = (struct http_header){"Content-Type", content_type ? content_type : "application/json"};
	}
	if (body && c->verbosity >= 8)
		fprintf(stderr, "Request Body: %s\n", buf_str(&text));
	uint64_t begin = ctl_now_ms();
	ret->c = c;
	client_http_call(c->client, method, path, headers, text.data, text.len, timeout_ms, &call_ops, ret);
	ctl_run(c, &ret->done, 0);
	trace(c, method, path, ret->status, begin);
	if (ret->body.len && c->verbosity >= 8)
		fprintf(stderr, "Response Body: %s\n", buf_str(&ret->body));
	return ret->err.code ? err_move(err, &ret->err) : 0;
}

static void call_done(struct call *call)
{
	buf_done(&call->body);
	err_done(&call->err);
}

static int status_error(int status, const struct buf *body, struct err *err)
{
	_cleanup_json_ json_t *tree = NULL;
	struct err got = ERR_INIT;
	json_parse(buf_str(body), body->len, &tree, NULL);
	err_from_status(tree, status, &got);
	if (!json_is_object(tree) && body->len) {
		size_t n = strcspn(buf_str(body), "\r\n");
		snprintf(got.message, sizeof(got.message), "%.*s", (int)MIN(n, 900), buf_str(body));
	}
	if (!got.code)
		got.code = -EIO;
	return err_move(err, &got);
}

int rest(struct ctl *c, const char *method, const char *path, const char *accept, const char *content_type,
	 const json_t *body, json_t **ret, struct err *err)
{
	_cleanup_(call_done) struct call call = {0};
	int rc = fetch(c, method, path, accept, content_type, body, &call, err);
	if (rc < 0)
		return rc;
	if (call.status >= 300)
		return status_error(call.status, &call.body, err);
	if (!ret)
		return 0;
	json_t *tree = NULL;
	if (call.body.len && json_parse(call.body.data, call.body.len, &tree, err) < 0)
		return err_prefix(err, "the server's answer");
	*ret = tree;
	return 0;
}

int rest_text(struct ctl *c, const char *path, const char *accept, struct buf *ret, struct err *err)
{
	_cleanup_(call_done) struct call call = {0};
	int rc = fetch(c, "GET", path, accept, NULL, NULL, &call, err);
	if (rc < 0)
		return rc;
	if (call.status >= 300)
		return status_error(call.status, &call.body, err);
	buf_add(ret, call.body.data, call.body.len);
	return 0;
}

int rest_list(struct ctl *c, const char *path, const char *accept, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *all = NULL;
	const char *next = "";
	do {
		_cleanup_json_ json_t *page = NULL;
		const char *at = with_query(with_query(path, "limit", "500"), "continue", next);
		int rc = rest(c, "GET", at, accept, NULL, NULL, &page, err);
		if (rc < 0)
			return rc;
		next = keepf("%s", json_get_str(json_object_get(page, "metadata"), "continue", ""));
		if (!all) {
			all = json_incref(page);
			json_object_del(json_object_get(all, "metadata"), "continue");
			json_object_del(json_object_get(all, "metadata"), "remainingItemCount");
			continue;
		}
		const char *member = json_object_get(all, "rows") ? "rows" : "items";
		json_t *to = json_object_get(all, member);
		json_array_extend(to, json_object_get(page, member));
	} while (*next);
	*ret = STEAL(all);
	return 0;
}

/* ---- streams ---- */

static void stream_on_response(void *arg, int status, const struct http_header *headers)
{
	struct stream *s = arg;
	(void)headers;
	s->status = status;
}

static void stream_on_body(void *arg, const void *data, size_t len)
{
	struct stream *s = arg;
	if (s->status >= 300) {
		if (s->text.len < 65536)
			buf_add(&s->text, data, len);
	} else if (!s->done && s->on_data(s, data, len)) {
		s->stopped = s->done = true;
	}
}

static void stream_on_done(void *arg, const struct err *err)
{
	struct stream *s = arg;
	s->call = NULL;
	s->done = true;
	if (!s->stopped && s->status < 300)
		err_copy(&s->err, err);
	else if (!s->stopped)
		status_error(s->status, &s->text, &s->err);
}

int stream_start(struct ctl *c, struct stream *s, const char *path, const char *accept, struct err *err)
{
	static const struct http_call_ops ops = {
		.on_response = stream_on_response, .on_body = stream_on_body, .on_done = stream_on_done};
	int rc = ctl_connect(c, err);
	if (rc < 0)
		return rc;
	s->c = c;
	const struct http_header headers[] = {{"Accept", accept ? accept : "application/json"}, {NULL, NULL}};
	trace(c, "GET", path, 0, ctl_now_ms());
	s->call = client_http_call(c->client, "GET", path, headers, NULL, 0, 0, &ops, s);
	return 0;
}

void stream_stop(struct stream *s)
{
	if (s->call)
		http_call_cancel(STEAL(s->call));
	buf_done(&s->text);
	err_done(&s->err);
}

int stream_wait(struct ctl *c, struct stream *s, uint64_t deadline_ms, struct err *err)
{
	int rc = ctl_run(c, &s->done, deadline_ms);
	if (rc < 0)
		return err_set(err, rc, "timed out waiting for the condition");
	if (s->err.code)
		return err_move(err, &s->err);
	return s->stopped ? 1 : 0;
}

/* ---- watches ---- */

struct watch {
	watch_fn event;
	void *arg;
	struct err err;
};

static bool watch_line(struct watch *w, const char *line, size_t len)
{
	_cleanup_json_ json_t *tree = NULL;
	if (json_parse(line, len, &tree, &w->err) < 0)
		return true;
	const char *type = json_get_str(tree, "type", "");
	json_t *obj = json_object_get(tree, "object");
	if (streq(type, "ERROR")) {
		err_from_status(obj, 0, &w->err);
		return true;
	}
	return !streq(type, "BOOKMARK") && w->event(w->arg, type, obj);
}

static bool watch_data(struct stream *s, const char *data, size_t len)
{
	struct watch *w = s->arg;
	buf_add(&s->text, data, len);
	size_t at = 0;
	bool stop = false;
	for (char *nl; !stop && (nl = memchr(s->text.data + at, '\n', s->text.len - at));
	     at = (size_t)(nl - s->text.data) + 1)
		stop = watch_line(w, s->text.data + at, (size_t)(nl - s->text.data) - at);
	buf_consume(&s->text, at);
	if (s->text.len > LINE_MAX_BYTES)
		stop = err_set(&w->err, -EFBIG, "an event is larger than %u bytes", LINE_MAX_BYTES) < 0;
	return stop;
}

int rest_watch(struct ctl *c, const char *path, const char *accept, const char *rv, uint64_t deadline_ms,
	       watch_fn event, void *arg, struct err *err)
{
	struct watch w = {.event = event, .arg = arg};
	_cleanup_(stream_stop) struct stream s = {.on_data = watch_data, .arg = &w};
	const char *url = with_query(with_query(path, "watch", "true"), "resourceVersion", rv);
	int rc = stream_start(c, &s, url, accept, err);
	if (rc < 0)
		return rc;
	rc = stream_wait(c, &s, deadline_ms, err);
	if (rc >= 0 && w.err.code)
		rc = err_move(err, &w.err);
	err_done(&w.err);
	return rc;
}
