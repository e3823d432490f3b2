/* Logs and exec are passed on to the pod's node. */
#include "tests/support/apiserver/api.h"
#include "tests/support/tap.h"

struct fake_node {
	struct http_server *server;
	struct http_stream *stream;
	char target[256];
	struct buf echoed;
	bool closed;
};

static void node_data(void *arg, const void *data, size_t len)
{
	http_stream_write(((struct fake_node *)arg)->stream, data, len);
}

static void node_stream_closed(void *arg)
{
	((struct fake_node *)arg)->stream = NULL;
}

static void node_request(void *arg, struct http_request *r)
{
	static const struct http_stream_ops ops = {.on_data = node_data, .on_close = node_stream_closed};
	struct fake_node *n = arg;
	snprintf(n->target, sizeof(n->target), "%s", http_target(r));
	if (str_starts(http_path(r), "/exec/")) {
		const struct http_header headers[] = {{"Connection", "Upgrade"},
						      {"Upgrade", "websocket"},
						      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io"},
						      {NULL, NULL}};
		n->stream = http_upgrade(r, headers, &ops, n);
	} else {
		http_respond(r, 200, NULL, "hello\n", 6);
	}
}

static void node_close(void *arg, struct http_request *r)
{
	(void)arg;
	(void)r;
}

static void node_gone(void *arg)
{
	((struct fake_node *)arg)->closed = true;
}

static bool node_is_gone(void *arg)
{
	return ((struct fake_node *)arg)->closed;
}

static void exec_upgraded(void *arg, int status, const struct http_header *headers)
{
	struct fake_node *n = arg;
	(void)headers;
	assert_int_equal(status, 101);
	buf_adds(&n->echoed, "+");
}

static void exec_body(void *arg, const void *data, size_t len)
{
	buf_add(&((struct fake_node *)arg)->echoed, data, len);
}

static void exec_done(void *arg, const struct err *err)
{
	(void)err;
	buf_adds(&((struct fake_node *)arg)->echoed, "-");
}

static bool echoed_some(void *arg)
{
	return ((struct fake_node *)arg)->echoed.len >= 1;
}

static bool echoed_all(void *arg)
{
	return ((struct fake_node *)arg)->echoed.len >= 5;
}

static void logs_and_exec(void **state)
{
	struct api *f = *state;
	static const struct http_server_ops ops = {node_request, node_close};
	struct fake_node n = {0};
	n.server = http_server_new(f->env, &f->loop, f->tls, NULL, &ops, &n);
	assert_int_equal(http_server_listen(n.server, "127.0.0.1", 0, NULL), 0);
	_cleanup_free_ char *node = xasprintf(
		"{\"metadata\":{\"name\":\"n1\"},\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],"
		"\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%u}}}}",
		http_server_port(n.server));
	assert_int_equal(api_post(f, "/api/v1/nodes", node)->status, 201);
	api_default_account(f);
	api_post(f, PODS,
		 "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
	struct api_answer *a = api_get(f, PODS "/l/log"); /* nowhere yet: nothing logged */
	assert_int_equal(a->status, 200);
	assert_int_equal(a->body.len, 0);
	assert_int_equal(api_call(f, f->admin, "POST", PODS "/l/exec?command=x", "Upgrade: websocket", "")->status,
			 400);
	api_post(f, PODS "/l/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
	a = api_get(f, PODS "/l/log?tailLines=5");
	assert_int_equal(a->status, 200);
	assert_string_equal(buf_str(&a->body), "hello\n");
	assert_string_equal(n.target, "/containerLogs/default/l/c?tailLines=5");
	a = api_get(f, PODS "/l/log?container=zz");
	assert_int_equal(a->status, 400);
	assert_string_equal(api_str(a, "message"), "container zz is not valid for pod l");
	/* exec: upgraded on both sides, bytes there and back */
	static const struct http_call_ops call_ops = {
		.on_body = exec_body, .on_done = exec_done, .on_upgrade = exec_upgraded};
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "websocket"},
					      {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
					      {"Sec-WebSocket-Version", "13"},
					      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io"},
					      {NULL, NULL}};
	struct http_call *call = http_call(f->admin, "GET", PODS "/l/exec?command=a&command=b&stdout=true", headers,
					   NULL, 0, 0, &call_ops, &n);
	api_run_until(f, echoed_some, &n);
	assert_string_equal(n.target, "/exec/default/l/c?command=a&command=b&stdout=true");
	http_call_write(call, "ping", 4);
	api_run_until(f, echoed_all, &n);
	assert_string_equal(buf_str(&n.echoed), "+ping");
	http_call_cancel(call);
	buf_done(&n.echoed);
	http_server_close(n.server, 100, node_gone, &n);
	api_run_until(f, node_is_gone, &n);
	/* a node that does not answer */
	a = api_get(f, PODS "/l/log");
	assert_int_equal(a->status, 500);
	assert_non_null(strstr(api_str(a, "message"), "error dialing backend"));
	api_call(f, f->admin, "DELETE", PODS "/l?gracePeriodSeconds=0", NULL, NULL);
	api_call(f, f->admin, "DELETE", "/api/v1/nodes/n1", NULL, NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(logs_and_exec),
};

RUN_TESTS_WITH(tests, api_setup, api_teardown)
