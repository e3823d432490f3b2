#include "apiserver/node_proxy.h"

#include <strings.h>

#include "apiserver/encode.h"
#include "apiserver/read.h"
#include "lib/net/http.h"

#define UNSENT_MAX  (8u << 20)
#define STREAM_MAX  (256u << 10) /* waiting in one direction of a stream: beyond it the other side is not read */
#define REFUSAL_MAX (64u << 10)
#define OFFERS_MAX  8 /* protocols that a client may offer in a header each */

/* LOOK reads the pod, then its node. STREAM: `call` to the node, answered to r->http or, upgraded, to `stream`. */
struct node_proxy {
	struct request *r;
	struct http_client *client;
	struct http_call *call;     /* NULL once it is over */
	struct http_stream *stream; /* the client's side after an upgrade */
	struct tls_context *tls;
	char *address, *container;
	uint16_t port;
	bool exec, answering;
	int refused; /* the node's status when it did not agree */
	struct buf refusal;
};

static void proxy_free(void *p)
{
	struct node_proxy *x = p;
	if (x->call)
		http_call_cancel(x->call);
	if (x->stream)
		http_stream_close(x->stream);
	http_client_free(x->client);
	tls_context_unref(x->tls);
	free(x->address);
	free(x->container);
	buf_done(&x->refusal);
	free(x);
}

static int proxy_decode(struct request *r)
{
	if (!r->http)
		return err_status(&r->err, ERR_BAD_REQUEST, "%s needs an HTTP connection", r->route.subresource);
	struct node_proxy *x = NEW(struct node_proxy);
	x->r = r;
	x->exec = r->verb == V_CONNECT;
	r->extra = x;
	r->extra_free = proxy_free;
	if (x->exec && !http_header(r->http, "Upgrade"))
		return fail_bad(r, "Upgrade request required");
	return REQUEST_NEXT;
}

/* ---- which container, which node ---- */

static void names_of(const json_t *list, struct buf *out)
{
	size_t i;
	json_t *c;
	json_array_foreach(list, i, c) buf_addf(out, "%s%s", out->len ? " " : "", json_get_str(c, "name", ""));
}

static bool has_container(const json_t *spec, const char *name)
{
	static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach(json_object_get(spec, lists[l]), i, c)
		{
			if (streq(json_get_str(c, "name", ""), name))
				return true;
		}
	}
	return false;
}

static int choose_container(struct request *r, const json_t *pod)
{
	struct node_proxy *x = r->extra;
	const json_t *spec = json_object_get(pod, "spec"), *list = json_object_get(spec, "containers");
	const char *name = http_query(r->http, "container");
	if (streq(r->route.subresource, "portforward")) /* the pod's, not a container's */
		return 0;
	if (str_empty(name))
		name = meta_annotation(pod, "kubectl.kubernetes.io/default-container");
	if (str_empty(name) && json_array_size(list) == 1)
		name = json_get_str(json_array_get(list, 0), "name", "");
	if (str_empty(name)) {
		_cleanup_buf_ struct buf names = BUF_INIT;
		names_of(list, &names);
		return fail_bad(r, "a container name must be specified for pod %s, choose one of: [%s]", r->route.name,
				buf_str(&names));
	}
	if (!has_container(spec, name))
		return fail_bad(r, "container %s is not valid for pod %s", name, r->route.name);
	free(x->container);
	x->container = xstrdup(name);
	return 0;
}

static void read_node(struct node_proxy *x, const json_t *node)
{
	size_t i;
	json_t *a;
	json_array_foreach(json_path(node, "status", "addresses", NULL), i, a)
	{
		if (!x->address && streq(json_get_str(a, "type", ""), "InternalIP"))
			x->address = xstrdup(json_get_str(a, "address", ""));
	}
	x->port = (uint16_t)json_get_int(json_path(node, "status", "daemonEndpoints", "kubeletEndpoint", NULL), "Port",
					 10250);
}

static void on_node(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct node_proxy *x = r->extra;
	if (store_failed(err)) {
		fail_store(r, err);
	} else if (resp->n_kvs) {
		_cleanup_json_ json_t *node = NULL;
		json_parse(resp->kvs[0].value->data, resp->kvs[0].value->len, &node, NULL);
		read_node(x, node);
	}
	if (r->err.code == 0 && !x->address)
		err_status(&r->err, ERR_INTERNAL_ERROR, "the node of pod \"%s\" is gone or has no address",
			   r->route.name);
	request_resume(r, r->err.code ? REQUEST_ANSWER : REQUEST_CHANGE);
}

/* The pod is known: its container and its node's address. */
static int look_node(struct request *r)
{
	struct node_proxy *x = r->extra;
	json_t *pod = old_tree(r);
	int rc = pod ? choose_container(r, pod) : r->err.code;
	if (rc < 0)
		return rc;
	const char *on = json_get_str(json_object_get(pod, "spec"), "nodeName", "");
	if (!*on && !x->exec) { /* nothing has been logged yet */
		struct buf none = BUF_INIT;
		result_bytes(r, &none, "text/plain", 200);
		return REQUEST_SKIP_TO_ANSWER;
	}
	if (!*on)
		return fail_bad(r, "pod %s does not have a host assigned", r->route.name);
	_cleanup_free_ char *key = resource_key(server_resource(r->server, "", "v1", "nodes"), "", on);
	struct store_range_req req = {.key = key};
	request_submitted(r);
	store_range(r->server->store, &req, on_node, r);
	return REQUEST_WAIT;
}

/* ---- the call to the node ---- */

static void proxy_end(struct node_proxy *x)
{
	request_finish(x->r);
}

static void refuse(struct node_proxy *x, const char *why)
{
	struct request *r = x->r;
	int code = x->refused;
	enum err_reason reason = code == 404 ? ERR_NOT_FOUND : code == 400 ? ERR_BAD_REQUEST : ERR_INTERNAL_ERROR;
	err_status(&r->err, reason, "%s", why);
	request_resume(r, REQUEST_ANSWER);
}

static const char *header_of(const struct http_header *h, const char *name)
{
	for (; h && h->name; h++)
		if (strcasecmp(h->name, name) == 0)
			return h->value;
	return NULL;
}

static void on_response(void *arg, int status, const struct http_header *headers)
{
	struct node_proxy *x = arg;
	if (x->exec || status != 200) {
		x->refused = status;
		return;
	}
	const char *type = header_of(headers, "Content-Type");
	http_respond_start(x->r->http, 200,
			   (const struct http_header[]){{"Content-Type", type ? type : "text/plain"}, {NULL, NULL}});
	x->answering = true;
}

/* Each side is read as fast as the other takes it. */
static void stream_out(struct node_proxy *x, const void *data, size_t len)
{
	http_stream_write(x->stream, data, len);
	if (http_stream_unsent(x->stream) < STREAM_MAX)
		return;
	http_call_pause(x->call, true);
	http_stream_await_drain(x->stream);
}

static void stream_drained(void *arg)
{
	struct node_proxy *x = arg;
	if (x->call)
		http_call_pause(x->call, false);
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct node_proxy *x = arg;
	if (x->stream) {
		stream_out(x, data, len);
	} else if (x->answering) {
		/* a reader that stopped reading is cut, as any slow stream: logs can be asked for again */
		http_write(x->r->http, data, len);
		if (http_unsent(x->r->http) > UNSENT_MAX) {
			http_abort(STEAL(x->r->http));
			proxy_end(x);
		}
	} else if (x->refusal.len + len < REFUSAL_MAX) {
		buf_add(&x->refusal, data, len);
	}
}

static void on_done(void *arg, const struct err *err)
{
	struct node_proxy *x = arg;
	x->call = NULL;
	if (x->stream) {
		http_stream_close(STEAL(x->stream));
		proxy_end(x);
	} else if (x->answering) {
		if (err->code)
			http_abort(STEAL(x->r->http));
		else
			http_end(STEAL(x->r->http));
		proxy_end(x);
	} else if (err->code) {
		char text[700];
		snprintf(text, sizeof(text), "error dialing backend: %.500s", err->message);
		refuse(x, text);
	} else {
		refuse(x, x->refusal.len ? buf_str(&x->refusal) : "the node refused");
	}
}

static void stream_data(void *arg, const void *data, size_t len)
{
	struct node_proxy *x = arg;
	if (!x->call)
		return;
	http_call_write(x->call, data, len);
	if (http_call_unsent(x->call) < STREAM_MAX)
		return;
	http_stream_pause(x->stream, true);
	http_call_await_drain(x->call);
}

static void call_drained(void *arg)
{
	struct node_proxy *x = arg;
	if (x->stream)
		http_stream_pause(x->stream, false);
}

static void stream_close(void *arg)
{
	struct node_proxy *x = arg;
	x->stream = NULL;
	proxy_end(x);
}

static void on_upgrade(void *arg, int status, const struct http_header *headers)
{
	static const struct http_stream_ops ops = {stream_data, stream_close, stream_drained};
	static const char *const passed[] = {"Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol",
					     "X-Stream-Protocol-Version"};
	(void)status;
	struct node_proxy *x = arg;
	struct http_header list[8] = {{"Connection", "Upgrade"}};
	size_t n = 1;
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		const char *v = header_of(headers, passed[i]);
		if (v)
			list[n++] = (struct http_header){passed[i], v};
	}
	x->stream = http_upgrade(STEAL(x->r->http), list, &ops, x);
}

/* The query as it came, but for the container, which is in the path. */
static void add_query(struct request *r, struct buf *target)
{
	unsigned pos = 0;
	const char *name, *value;
	char sep = '?';
	while (http_query_next(r->http, &pos, &name, &value)) {
		if (streq(name, "container"))
			continue;
		buf_addc(target, sep);
		http_escape(target, name);
		buf_addc(target, '=');
		http_escape(target, value);
		sep = '&';
	}
}

/* Room in list: for each name once, the offers, the end. */
static void upgrade_headers(struct request *r, struct http_header *list)
{
	static const char *const passed[] = {"Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version",
					     "Sec-WebSocket-Protocol"};
	const char *name, *value;
	size_t n = 0, offers = 0;
	unsigned pos = 0;
	list[n++] = (struct http_header){"Connection", "Upgrade"};
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		const char *v = http_header(r->http, passed[i]);
		if (v)
			list[n++] = (struct http_header){passed[i], v};
	}
	while (offers < OFFERS_MAX && http_header_next(r->http, &pos, &name, &value))
		if (strcasecmp(name, "X-Stream-Protocol-Version") == 0) {
			list[n++] = (struct http_header){"X-Stream-Protocol-Version", value};
			offers++;
		}
	list[n] = (struct http_header){NULL, NULL};
}

static int proxy_call(struct request *r)
{
	static const struct http_call_ops ops = {.on_response = on_response,
						 .on_body = on_body,
						 .on_done = on_done,
						 .on_upgrade = on_upgrade,
						 .on_drain = call_drained};
	struct node_proxy *x = r->extra;
	struct apiserver *a = r->server;
	int rc = tls_client_context(a->ca_pem, a->kubelet_cert_pem, a->kubelet_key_pem, false, &x->tls, &r->err);
	if (rc < 0)
		return rc;
	const struct http_client_config config = {.host = x->address, .port = x->port, .tls = x->tls};
	x->client = http_client_new(a->env, a->loop, &config);
	_cleanup_buf_ struct buf target = BUF_INIT;
	const char *sub = r->route.subresource;
	const char *verb = streq(sub, "log") ? "containerLogs" : streq(sub, "portforward") ? "portForward" : sub;
	buf_addf(&target, "/%s/%s/%s", verb, r->route.ns, r->route.name);
	if (x->container) {
		buf_addc(&target, '/');
		http_escape(&target, x->container);
	}
	add_query(r, &target);
	struct http_header headers[6 + OFFERS_MAX] = {{NULL, NULL}};
	if (x->exec)
		upgrade_headers(r, headers);
	x->call = http_call(x->client, r->method, buf_str(&target), headers, NULL, 0, 0, &ops, x);
	return REQUEST_STREAMS;
}

/* Entered twice: with the pod, then with its node. */
static int proxy_change(struct request *r)
{
	struct node_proxy *x = r->extra;
	return x->address ? proxy_call(r) : look_node(r);
}

const struct handler handler_log = {.decode = proxy_decode, .look = look_named, .change = proxy_change};
const struct handler handler_exec = {.decode = proxy_decode, .look = look_named, .change = proxy_change};
