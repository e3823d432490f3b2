/* The node API over real TLS on the loopback, and network probes; the runtime behind it is a fake. */
#include "tests/support/tap.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/net/pki.h"
#include "lib/net/spdy.h"
#include "lib/net/websocket.h"
#include "nodeagent/pod.h"
#include "tests/support/fake_client.h"
#include "tests/support/nodeagent/fake_runtime.h"

struct world {
	uv_loop_t loop;
	struct env *env;
	struct client *client;
	struct runtime *runtime;
	struct host *host;
	struct nodeagent *agent;
	struct pki_pair ca, other_ca;
	struct tls_context *serving;
	char dir[64];
	struct env_timer limit;
	bool late;
	void *answer; /* for what wait_for waits for */
};

static void issue(const struct pki_pair *ca, const char *cn, const char *org, bool server, struct pki_pair *ret)
{
	const char *orgs[] = {org, NULL}, *ips[] = {"127.0.0.1", NULL};
	const struct pki_request req = {.common_name = cn,
					.organizations = org ? orgs : NULL,
					.ips = server ? ips : NULL,
					.server = server,
					.client = !server,
					.not_before_s = 0,
					.not_after_s = 4000000000};
	struct err err = ERR_INIT;
	assert_int_equal(pki_issue(ca, &req, ret, &err), 0);
}

static void on_limit(struct env_timer *t)
{
	CONTAINER_OF(t, struct world, limit)->late = true;
}

/* Turn the loop until the flag is set; fails after a minute. */
static void turn_until(struct world *w, const bool *flag)
{
	w->limit.fn = on_limit;
	w->late = false;
	env_timer_start(w->env, &w->limit, 60 * SECOND_US);
	while (!*flag && !w->late)
		uv_run(&w->loop, UV_RUN_ONCE);
	env_timer_stop(w->env, &w->limit);
	assert_true(*flag);
}

static struct pod *the_pod(struct world *w)
{
	MAP_EACH (&w->agent->pods, e)
		return e->value;
	return NULL;
}

static struct pod_container *the_container(struct world *w)
{
	struct pod *p = the_pod(w);
	return p ? &p->containers[0] : NULL;
}

static bool (*wanted)(struct world *w);
static void wait_for(struct world *w, bool (*fn)(struct world *w))
{
	wanted = fn;
	w->limit.fn = on_limit;
	w->late = false;
	env_timer_start(w->env, &w->limit, 60 * SECOND_US);
	while (!fn(w) && !w->late)
		uv_run(&w->loop, UV_RUN_ONCE);
	env_timer_stop(w->env, &w->limit);
	assert_true(fn(w));
}

static bool is_running(struct world *w)
{
	struct pod_container *c = the_container(w);
	return c && c->state == CONTAINER_RUNNING;
}

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	struct err err = ERR_INIT;
	struct pki_pair server = {0};
	snprintf(w->dir, sizeof(w->dir), "/tmp/mini-server-test-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	uv_loop_init(&w->loop);
	w->env = env_uv_new(&w->loop);
	assert_int_equal(pki_make_ca("ca", 0, 4000000000, &w->ca, &err), 0);
	assert_int_equal(pki_make_ca("other", 0, 4000000000, &w->other_ca, &err), 0);
	issue(&w->ca, "system:node:n1", "system:nodes", true, &server);
	assert_int_equal(tls_server_context(server.cert_pem, server.key_pem, w->ca.cert_pem, &w->serving, &err), 0);
	pki_pair_done(&server);
	w->client = fake_client_new(w->env);
	w->runtime = fake_runtime_new(w->env);
	w->host = fake_host_new();
	fake_runtime_image(w->runtime, "web");
	const struct nodeagent_config k = {.node_name = "n1",
					   .node_ip = "127.0.0.1",
					   .dir = w->dir,
					   .client = w->client,
					   .runtime = w->runtime,
					   .serving_tls = w->serving,
					   .listen_host = "127.0.0.1"};
	assert_int_equal(nodeagent_new(w->env, &w->loop, &k, &w->agent, &err), 0);
	nodeagent__set_host(w->agent, w->host);
	nodeagent_start(w->agent);
	*state = w;
	return 0;
}

static void on_flag(void *arg)
{
	*(bool *)arg = true;
}

static int teardown(void **state)
{
	struct world *w = *state;
	bool closed = false;
	nodeagent_close(w->agent, on_flag, &closed);
	turn_until(w, &closed);
	fake_runtime_free(w->runtime);
	client_free(w->client);
	w->host->ops->free(w->host);
	tls_context_unref(w->serving);
	pki_pair_done(&w->ca);
	pki_pair_done(&w->other_ca);
	rm_rf(w->dir, NULL);
	env_uv_free(w->env);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	free(w);
	return 0;
}

static void add_pod(struct world *w, const char *more)
{
	fake_add(
		w->client,
		"{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'nodeName':'n1',"
		"'hostNetwork':true,'containers':[{'name':'web','image':'web','imagePullPolicy':'Never'%s}]}}",
		more);
	wait_for(w, is_running);
}

/* ---- a request ---- */

struct answer {
	int status;
	struct buf body;
	bool done, upgraded;
	size_t want; /* stop when so much has come; 0: the end */
	bool enough;
	int code;
};

static void on_response(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	((struct answer *)arg)->status = status;
}

static void on_body(void *arg, const void *data, size_t len)
{
	struct answer *a = arg;
	buf_add(&a->body, data, len);
	a->enough = a->want && a->body.len >= a->want;
}

static void on_done(void *arg, const struct err *err)
{
	struct answer *a = arg;
	a->code = err->code;
	a->done = a->enough = true;
}

static void on_upgrade(void *arg, int status, const struct http_header *headers)
{
	(void)headers;
	struct answer *a = arg;
	a->status = status;
	a->upgraded = true;
}

static const struct http_call_ops call_ops = {
	.on_response = on_response, .on_body = on_body, .on_done = on_done, .on_upgrade = on_upgrade};

static struct http_client *connect_as(struct world *w, const struct pki_pair *ca, const char *cn, const char *org)
{
	struct err err = ERR_INIT;
	struct tls_context *tls = NULL;
	struct pki_pair pair = {0};
	if (ca)
		issue(ca, cn, org, false, &pair);
	assert_int_equal(tls_client_context(w->ca.cert_pem, pair.cert_pem, pair.key_pem, false, &tls, &err), 0);
	pki_pair_done(&pair);
	const struct http_client_config k = {
		.host = "127.0.0.1", .port = node_server_port(w->agent->server), .tls = tls};
	struct http_client *c = http_client_new(w->env, &w->loop, &k);
	tls_context_unref(tls);
	return c;
}

static struct http_client *api_server(struct world *w)
{
	return connect_as(w, &w->ca, "kube-apiserver-kubelet-client", NULL);
}

/* GET and the whole answer; the caller frees the body. */
static struct answer get(struct world *w, struct http_client *c, const char *target)
{
	struct answer a = {0};
	http_call(c, "GET", target, NULL, NULL, 0, 0, &call_ops, &a);
	turn_until(w, &a.done);
	assert_int_equal(a.code, 0);
	return a;
}

static void check(struct world *w, struct http_client *c, const char *target, int status, const char *body)
{
	struct answer a = get(w, c, target);
	if (a.status != status || (body && !streq(buf_str(&a.body), body)))
		fail_msg("%s: %d %s", target, a.status, buf_str(&a.body));
	buf_done(&a.body);
}

/* ---- tests ---- */

static void only_the_api_server_may_ask(void **state)
{
	struct world *w = *state;
	struct http_client *c = connect_as(w, NULL, NULL, NULL);
	check(w, c, "/pods", 401, "Unauthorized");
	http_client_free(c);
	c = connect_as(w, &w->other_ca, "kube-apiserver-kubelet-client", NULL);
	check(w, c, "/pods", 401, "Unauthorized");
	http_client_free(c);
	c = connect_as(w, &w->ca, "system:node:n1", "system:nodes");
	check(w, c, "/pods", 403, NULL);
	http_client_free(c);
	c = connect_as(w, &w->ca, "admin", "system:masters");
	check(w, c, "/healthz", 200, "ok");
	http_client_free(c);
	c = api_server(w);
	check(w, c, "/healthz", 200, "ok");
	check(w, c, "/nothing", 404, NULL);
	check(w, c, "/containerLogs/a/b/c/d", 404, NULL);
	check(w, c, "/stats/summary", 200, NULL);
	check(w, c, "/metrics", 200, NULL);
	http_client_free(c);
}

static void append_log(struct world *w, const char *text)
{
	_cleanup_free_ char *path = log_path(the_container(w), the_container(w)->cur.attempt);
	FILE *f = fopen(path, "ae");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

#define LINE(n, text) "2026-01-02T15:04:0" #n ".000000000Z stdout F " text "\n"

static void logs_are_served(void **state)
{
	struct world *w = *state;
	add_pod(w, "");
	append_log(w, LINE(1, "one") LINE(2, "two") "2026-01-02T15:04:03.000000000Z stderr P thr\n"
						    "2026-01-02T15:04:03.000000000Z stderr F ee\n");
	struct http_client *c = api_server(w);
	check(w, c, "/containerLogs/default/p/web", 200, "one\ntwo\nthree\n");
	check(w, c, "/containerLogs/default/p/web?tailLines=3", 200, "two\nthree\n");
	check(w, c, "/containerLogs/default/p/web?tailLines=0", 200, "");
	check(w, c, "/containerLogs/default/p/web?limitBytes=5", 200, "one\nt");
	check(w, c, "/containerLogs/default/p/web?timestamps=true&limitBytes=35", 200,
	      "2026-01-02T15:04:01.000000000Z one\n");
	check(w, c, "/containerLogs/default/p/web?sinceTime=2026-01-02T15:04:03Z", 200, "three\n");
	check(w, c, "/containerLogs/default/p/web?tailLines=x", 400, NULL);
	check(w, c, "/containerLogs/default/p/web?previous=true", 400,
	      "previous terminated container \"web\" in pod \"p\" not found\n");
	check(w, c, "/containerLogs/default/p/db", 404, "container \"db\" not found in pod \"p_default\"\n");
	check(w, c, "/containerLogs/default/q/web", 404, "pod \"default/q\" not found\n");
	http_client_free(c);
}

static void logs_follow_to_the_end_and_across_rotation(void **state)
{
	struct world *w = *state;
	struct answer a = {.want = 4};
	add_pod(w, "");
	append_log(w, LINE(1, "one"));
	struct http_client *c = api_server(w);
	http_call(c, "GET", "/containerLogs/default/p/web?follow=true", NULL, NULL, 0, 0, &call_ops, &a);
	turn_until(w, &a.enough);
	assert_string_equal(buf_str(&a.body), "one\n");
	a.want = 8;
	a.enough = false;
	append_log(w, LINE(2, "two"));
	turn_until(w, &a.enough);
	assert_string_equal(buf_str(&a.body), "one\ntwo\n");
	_cleanup_free_ char *path = log_path(the_container(w), 0), *aside = xasprintf("%s.old", path);
	assert_int_equal(rename(path, aside), 0);
	a.want = 14;
	a.enough = false;
	append_log(w, LINE(3, "three"));
	turn_until(w, &a.enough);
	assert_false(a.done);
	assert_true(fake_runtime_exit(w->runtime, the_container(w)->cur.id, 0, false));
	turn_until(w, &a.done);
	assert_string_equal(buf_str(&a.body), "one\ntwo\nthree\n");
	assert_int_equal(a.code, 0);
	buf_done(&a.body);
	http_client_free(c);
}

struct messages {
	struct buf out, status;
	bool closed;
};

static void on_message(void *arg, enum ws_opcode op, const void *data, size_t len)
{
	struct messages *m = arg;
	const char *s = data;
	if (op == WS_CLOSE)
		m->closed = true;
	else if (op == WS_BINARY && len > 0 && (s[0] == 1 || s[0] == 3))
		buf_add(s[0] == 1 ? &m->out : &m->status, s + 1, len - 1);
}

/* What a SPDY client hears: replies (+) and resets (-) of streams, their data and ends. */
struct heard {
	struct spdy spdy;
	struct buf text, data[10];
	bool fin[10];
};

static void heard_reply(void *arg, uint32_t id, bool fin)
{
	(void)fin;
	buf_addf(&((struct heard *)arg)->text, "+%u ", id);
}

static void heard_data(void *arg, uint32_t id, const void *data, size_t len, bool fin)
{
	struct heard *h = arg;
	assert_true(id < ARRAY_LEN(h->data));
	buf_add(&h->data[id], data, len);
	h->fin[id] |= fin;
}

static void heard_reset(void *arg, uint32_t id, uint32_t status)
{
	(void)status;
	buf_addf(&((struct heard *)arg)->text, "-%u ", id);
}

static void heard_ping(void *arg, uint32_t id)
{
	buf_addf(&((struct heard *)arg)->text, "ping%u ", id);
}

static const struct spdy_ops heard_ops = {
	.on_reply = heard_reply, .on_data = heard_data, .on_reset = heard_reset, .on_ping = heard_ping};

static void exec_ends_with_a_status(void **state)
{
	struct world *w = *state;
	struct answer a = {0};
	struct messages m = {0};
	struct err err = ERR_INIT;
	add_pod(w, "");
	fake_runtime_exec(w->runtime, "web", 3, "hello\n");
	struct http_client *c = api_server(w);
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "websocket"},
					      {"Sec-WebSocket-Version", "13"},
					      {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
					      {"Sec-WebSocket-Protocol", "v5.channel.k8s.io, v4.channel.k8s.io"},
					      {NULL, NULL}};
	http_call(c, "GET", "/exec/default/p/web?command=echo&command=hello&stdin=False&stdout=True&stderr=True",
		  headers, NULL, 0, 0, &call_ops, &a);
	turn_until(w, &a.done);
	assert_true(a.upgraded);
	struct ws_parser ws = {.max_bytes = 65536, .on_message = on_message, .arg = &m};
	assert_int_equal(ws_feed(&ws, a.body.data, a.body.len, &err), 0);
	assert_string_equal(buf_str(&m.out), "hello\n");
	assert_non_null(strstr(buf_str(&m.status), "\"reason\":\"NonZeroExitCode\""));
	assert_non_null(strstr(buf_str(&m.status), "{\"reason\":\"ExitCode\",\"message\":\"3\"}"));
	assert_true(m.closed);
	ws_parser_done(&ws);
	buf_done(&m.out);
	buf_done(&m.status);
	buf_done(&a.body);
	check(w, c, "/exec/default/p/web?command=sh&stdout=true&tty=true", 400, NULL);
	check(w, c, "/exec/default/p/web?stdout=true", 400, NULL);
	http_client_free(c);
}

static void exec_over_spdy(void **state)
{
	struct world *w = *state;
	struct answer a = {0};
	add_pod(w, "");
	fake_runtime_exec(w->runtime, "web", 3, "hello\n");
	struct http_client *c = api_server(w);
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "SPDY/3.1"},
					      {"X-Stream-Protocol-Version", "v5.channel.k8s.io"},
					      {"X-Stream-Protocol-Version", "v4.channel.k8s.io"},
					      {NULL, NULL}};
	static const char *const types[] = {"error", "stdin", "stdout", "resize"};
	struct http_call *call = http_call(c, "POST", "/exec/default/p/web?command=sh&stdin=1&stdout=1&stderr=1&tty=1",
					   headers, NULL, 0, 0, &call_ops, &a);
	turn_until(w, &a.upgraded);
	struct heard h = {0};
	struct buf out = BUF_INIT;
	spdy_init(&h.spdy, &heard_ops, &h);
	for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
		const struct http_header stream[] = {{"streamtype", types[i]}, {NULL, NULL}};
		spdy_stream(&h.spdy, &out, 2 * i + 1, stream);
	}
	/* a second stdin is refused; sizes come in any pieces, and what is none is passed over */
	spdy_stream(&h.spdy, &out, 9, (const struct http_header[]){{"streamtype", "stdin"}, {NULL, NULL}});
	spdy_data(&out, 7, "{\"Width\":80,\"Hei", 16, false);
	spdy_data(&out, 7, "ght\":24}\n{\"Width\":70000}}{}", 27, false);
	spdy_ping(&out, 1);
	http_call_write(call, out.data, out.len);
	turn_until(w, &a.done);
	assert_int_equal(spdy_feed(&h.spdy, a.body.data, a.body.len, NULL), 0);
	assert_string_equal(buf_str(&h.text), "+1 +3 +5 +7 -9 ping1 ");
	assert_string_equal(buf_str(&h.data[5]), "hello\n");
	assert_non_null(strstr(buf_str(&h.data[1]), "{\"reason\":\"ExitCode\",\"message\":\"3\"}"));
	assert_true(h.fin[1] && h.fin[5]);
	assert_int_equal(fake_runtime_asked(w->runtime, "resize 80x24"), 1);
	spdy_done(&h.spdy);
	for (unsigned i = 0; i < ARRAY_LEN(h.data); i++)
		buf_done(&h.data[i]);
	buf_done(&h.text);
	buf_done(&out);
	buf_done(&a.body);
	http_client_free(c);
}

static void add_stream(struct heard *h, struct buf *out, uint32_t id, const char *type, const char *port,
		       const char *request)
{
	const struct http_header headers[] = {
		{"streamtype", type}, {"port", port}, {"requestid", request}, {NULL, NULL}};
	spdy_stream(&h->spdy, out, id, headers);
}

static bool all_answered(struct world *w)
{
	struct answer *a = w->answer;
	struct heard h = {0};
	spdy_init(&h.spdy, &heard_ops, &h);
	assert_int_equal(spdy_feed(&h.spdy, a->body.data, a->body.len, NULL), 0);
	bool all = h.fin[1] && strstr(buf_str(&h.text), "-9");
	if (all) {
		assert_string_equal(buf_str(&h.text), "+1 +3 -5 -7 -9 ");
		assert_non_null(strstr(buf_str(&h.data[1]), "inside the pod: connection refused"));
		assert_true(h.fin[3] && h.data[3].len == 0);
	}
	spdy_done(&h.spdy);
	for (unsigned i = 0; i < ARRAY_LEN(h.data); i++)
		buf_done(&h.data[i]);
	buf_done(&h.text);
	return all;
}

static void ports_are_asked_for_well_or_refused(void **state)
{
	struct world *w = *state;
	struct answer a = {0};
	add_pod(w, "");
	struct http_client *c = api_server(w);
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "SPDY/3.1"},
					      {"X-Stream-Protocol-Version", "portforward.k8s.io"},
					      {NULL, NULL}};
	struct http_call *call = http_call(c, "POST", "/portForward/default/p", headers, NULL, 0, 0, &call_ops, &a);
	turn_until(w, &a.upgraded);
	/* a port that is free: nobody listens */
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(to);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &len), 0);
	char port[8];
	snprintf(port, sizeof(port), "%u", ntohs(to.sin_port));
	struct heard h = {0};
	struct buf out = BUF_INIT;
	spdy_init(&h.spdy, &heard_ops, &h);
	add_stream(&h, &out, 1, "error", port, "0");
	add_stream(&h, &out, 3, "data", port, "0");
	spdy_data(&out, 3, "before it is connected", 22, false);
	add_stream(&h, &out, 5, "data", "0", "1");
	add_stream(&h, &out, 7, "stdin", port, "1");
	add_stream(&h, &out, 9, "data", port, "");
	http_call_write(call, out.data, out.len);
	w->answer = &a;
	wait_for(w, all_answered);
	close(fd);
	http_call_cancel(call);
	spdy_done(&h.spdy);
	buf_done(&out);
	buf_done(&a.body);
	check(w, c, "/portForward/default/p", 400, NULL);
	check(w, c, "/portForward/default/none", 404, NULL);
	http_client_free(c);
}

static void garbage_ends_an_exec(void **state)
{
	struct world *w = *state;
	struct answer a = {0};
	add_pod(w, "");
	struct http_client *c = api_server(w);
	const struct http_header headers[] = {{"Connection", "Upgrade"},
					      {"Upgrade", "SPDY/3.1"},
					      {"X-Stream-Protocol-Version", "v4.channel.k8s.io"},
					      {NULL, NULL}};
	struct http_call *call =
		http_call(c, "POST", "/exec/default/p/web?command=sh&stdout=1", headers, NULL, 0, 0, &call_ops, &a);
	turn_until(w, &a.upgraded);
	http_call_write(call, "\x80\x03\x00\x01\x00\xff\xff\xff", 8);
	turn_until(w, &a.done);
	assert_int_equal(fake_runtime_asked(w->runtime, "exec"), 0);
	buf_done(&a.body);
	http_client_free(c);
}

/* ---- network probes: against the node API itself, which answers 401 without a certificate ---- */

static bool is_ready(struct world *w)
{
	return the_container(w)->ready;
}

static bool is_unhealthy(struct world *w)
{
	for (size_t i = 0;; i++) {
		struct object *o = fake_nth(w->client, "Event", NULL, i);
		if (!o)
			return false;
		json_t *t = object_tree(o);
		bool hit = streq(json_get_str(t, "message", ""),
				 "Readiness probe failed: HTTP probe failed with statuscode: 401");
		json_decref(t);
		if (hit)
			return true;
	}
}

static void tcp_probe(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *probe =
		xasprintf(",'readinessProbe':{'tcpSocket':{'port':%u}}", node_server_port(w->agent->server));
	add_pod(w, probe);
	wait_for(w, is_ready);
}

static void http_probe(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *probe = xasprintf(
		",'readinessProbe':{'httpGet':{'port':%u,'scheme':'HTTPS','path':'/healthz'},'periodSeconds':1}",
		node_server_port(w->agent->server));
	add_pod(w, probe);
	wait_for(w, is_unhealthy);
	assert_false(the_container(w)->ready);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(only_the_api_server_may_ask),
	T(logs_are_served),
	T(logs_follow_to_the_end_and_across_rotation),
	T(exec_ends_with_a_status),
	T(exec_over_spdy),
	T(garbage_ends_an_exec),
	T(ports_are_asked_for_well_or_refused),
	T(tcp_probe),
	T(http_probe),
};

RUN_TESTS(tests)
