/* The HTTP transport against a real server on the same loop, kubeconfig files, and request targets. */
#include <errno.h>
#include <time.h>

#include "lib/client/client_http.h"
#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "lib/net/pki.h"
#include "tests/support/wait.h"

struct world {
	uv_loop_t loop;
	struct env *env;
	struct http_server *server;
	struct tls_context *tls;
	struct client *client;
	struct http_request *watching;
	bool closed, watch_left;
	char method[16], target[512], content_type[64], auth[64], body[512], peer[64];
	/* what came back */
	unsigned answers, events, ends;
	int code;
	size_t n_items;
	char name[64], kind[64], message[256], warning[64], cont[64];
	uint64_t rv;
	enum watch_type last_type;
	struct client_watch *watch;
	bool unwatch_inside;
};

static const struct kind *kind_of(const char *name)
{
	return kind_by_word(name);
}

static void set(char *to, size_t size, const char *from)
{
	size_t n = from ? strnlen(from, size - 1) : 0;
	memcpy(to, from ? from : "", n);
	to[n] = '\0';
}

static void respond(struct http_request *r, int status, const struct http_header *headers, const char *text)
{
	http_respond(r, status, headers, text, strlen(text));
}

static void on_request(void *arg, struct http_request *r)
{
	struct world *w = arg;
	set(w->method, sizeof(w->method), http_method(r));
	set(w->target, sizeof(w->target), http_target(r));
	set(w->content_type, sizeof(w->content_type), http_header(r, "Content-Type"));
	set(w->auth, sizeof(w->auth), http_header(r, "Authorization"));
	set(w->body, sizeof(w->body), buf_str(http_body(r)));
	set(w->peer, sizeof(w->peer), http_peer(r)->cert_verified ? http_peer(r)->common_name : "");
	if (http_query(r, "watch")) {
		w->watching = r;
		if (streq(http_query(r, "resourceVersion"), "1"))
			respond(r, 410, NULL,
				"{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}");
		else
			http_respond_start(r, 200, NULL);
	} else if (!strcmp(http_method(r), "DELETE")) {
		respond(r, 200, NULL, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}");
	} else if (str_ends(http_path(r), "/pods")) {
		respond(r, 200, NULL,
			"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"77\",\"continue\":"
			"\"next\",\"remainingItemCount\":5},\"items\":[{\"metadata\":{\"name\":\"a\",\"namespace\":\"x\","
			"\"resourceVersion\":\"7\"}},{\"metadata\":{\"name\":\"b\",\"namespace\":\"x\"}}]}");
	} else if (str_ends(http_path(r), "/gone")) {
		respond(r, 404, NULL,
			"{\"kind\":\"Status\",\"code\":404,\"reason\":\"NotFound\",\"message\":\"pods \\\"gone\\\" not "
			"found\"}");
	} else if (str_ends(http_path(r), "/page")) {
		respond(r, 502, NULL, "<html>bad gateway</html>");
	} else if (str_ends(http_path(r), "/broken")) {
		respond(r, 200, NULL, "{\"kind\":");
	} else {
		struct http_header headers[] = {{"Warning", "299 - \"be \\\"careful\\\"\""}, {NULL, NULL}};
		respond(r, 200, headers,
			"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"namespace\":\"x\","
			"\"resourceVersion\":\"42\"}}");
	}
}

static void on_close(void *arg, struct http_request *r)
{
	struct world *w = arg;
	if (r == w->watching)
		w->watch_left = true;
}

static const struct http_server_ops server_ops = {.on_request = on_request, .on_close = on_close};

static struct world *world_new(struct tls_context *server_tls, const struct kubeconfig *base, const char *prefix)
{
	struct world *w = NEW(struct world);
	uv_loop_init(&w->loop);
	w->env = env_uv_new(&w->loop);
	w->server = http_server_new(w->env, &w->loop, server_tls, NULL, &server_ops, w);
	struct err err = ERR_INIT;
	assert_int_equal(http_server_listen(w->server, "127.0.0.1", 0, &err), 0);
	struct kubeconfig k = base ? *base : (struct kubeconfig){.token = (char *)"secret"};
	_cleanup_free_ char *url =
		xasprintf("%s://127.0.0.1:%u%s", server_tls ? "https" : "http", http_server_port(w->server), prefix);
	k.server = url;
	if (client_http_new(w->env, &w->loop, &k, "test/1", &w->client, &err))
		fail_msg("%s", err.message);
	return w;
}

static void on_closed(void *arg)
{
	((struct world *)arg)->closed = true;
}

static void world_free(struct world *w)
{
	client_free(w->client);
	http_server_close(w->server, 0, on_closed, w);
	WAIT(w, w->closed);
	env_uv_free(w->env);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	free(w);
}

static void on_answer(void *arg, const struct client_response *resp)
{
	struct world *w = arg;
	w->answers++;
	w->code = resp->err->code;
	w->n_items = resp->n_items;
	w->rv = resp->rv;
	struct object *o = resp->object ? resp->object : resp->n_items ? resp->items[0] : NULL;
	set(w->name, sizeof(w->name), o ? o->name : "");
	set(w->kind, sizeof(w->kind), o && o->kind ? o->kind->kind : "");
	set(w->message, sizeof(w->message), resp->err->message);
	set(w->warning, sizeof(w->warning), resp->warnings ? resp->warnings[0] : "");
	set(w->cont, sizeof(w->cont), resp->continue_token);
}

static void call(struct world *w, const struct client_request *req)
{
	unsigned before = w->answers;
	client_do(w->client, req, on_answer, w);
	assert_int_equal(w->answers, before);
	WAIT(w, w->answers > before);
}

static void test_calls(void **state)
{
	(void)state;
	struct world *w = world_new(NULL, NULL, "/base/");
	struct client_request req = {
		.verb = CLIENT_GET, .kind = kind_of("pods"), .ns = "x", .name = "p", .grace_period_s = -1};
	call(w, &req);
	assert_int_equal(w->code, 0);
	assert_string_equal(w->target, "/base/api/v1/namespaces/x/pods/p");
	assert_string_equal(w->auth, "Bearer secret");
	assert_string_equal(w->name, "p");
	assert_int_equal(w->rv, 42);
	assert_string_equal(w->warning, "be \"careful\"");
	req.verb = CLIENT_LIST;
	req.limit = 2;
	req.label_selector = "a in (b,c)";
	call(w, &req);
	assert_string_equal(w->target, "/base/api/v1/namespaces/x/pods?labelSelector=a%20in%20%28b%2Cc%29&limit=2");
	assert_int_equal(w->n_items, 2);
	assert_string_equal(w->kind, "Pod");
	assert_int_equal(w->rv, 77);
	assert_string_equal(w->cont, "next");
	req = (struct client_request){.verb = CLIENT_DELETE,
				      .kind = kind_of("pods"),
				      .ns = "x",
				      .name = "p",
				      .grace_period_s = 0,
				      .propagation = "Background",
				      .precondition_uid = "u"};
	call(w, &req);
	assert_int_equal(w->code, 0);
	assert_string_equal(w->name, "");
	assert_non_null(strstr(w->body, "\"gracePeriodSeconds\":0"));
	assert_non_null(strstr(w->body, "\"propagationPolicy\":\"Background\""));
	assert_non_null(strstr(w->body, "\"preconditions\":{\"uid\":\"u\"}"));
	_cleanup_json_ json_t *patch = json_make("{s:{s:i}}", "spec", "x", 1);
	req = (struct client_request){.verb = CLIENT_PATCH,
				      .patch = CLIENT_PATCH_STRATEGIC,
				      .kind = kind_of("pods"),
				      .ns = "x",
				      .name = "p",
				      .subresource = "status",
				      .body = patch,
				      .field_manager = "me"};
	call(w, &req);
	assert_string_equal(w->method, "PATCH");
	assert_string_equal(w->target, "/base/api/v1/namespaces/x/pods/p/status?fieldManager=me");
	assert_string_equal(w->content_type, "application/strategic-merge-patch+json");
	world_free(w);
}

static void test_failures(void **state)
{
	(void)state;
	struct world *w = world_new(NULL, NULL, "");
	struct client_request req = {.verb = CLIENT_GET, .kind = kind_of("pods"), .ns = "x", .name = "gone"};
	call(w, &req);
	assert_int_equal(w->code, -ENOENT);
	assert_string_equal(w->message, "pods \"gone\" not found");
	req.name = "page";
	call(w, &req);
	assert_int_not_equal(w->code, 0);
	req.name = "broken";
	call(w, &req);
	assert_int_not_equal(w->code, 0);
	/* cancelled: no answer */
	req.name = "p";
	unsigned before = w->answers;
	client_cancel(w->client, client_do(w->client, &req, on_answer, w));
	call(w, &req);
	assert_int_equal(w->answers, before + 1);
	world_free(w);
}

static void on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct world *w = arg;
	w->events++;
	w->last_type = type;
	w->rv = obj->rv;
	set(w->name, sizeof(w->name), obj->name);
	if (w->unwatch_inside)
		client_unwatch(w->client, w->watch);
}

static void on_end(void *arg, const struct err *err)
{
	struct world *w = arg;
	w->ends++;
	w->code = err->code;
	w->watch = NULL;
}

static const struct client_watch_ops watch_ops = {.on_event = on_event, .on_end = on_end};

static void start_watch(struct world *w, uint64_t rv)
{
	struct client_watch_request req = {.kind = kind_of("deployments"), .rv = rv, .bookmarks = true};
	w->watching = NULL;
	w->watch_left = false;
	w->watch = client_watch(w->client, &req, &watch_ops, w);
}

static void send_text(struct world *w, const char *s)
{
	http_write(w->watching, s, strlen(s));
}

static void test_watch(void **state)
{
	(void)state;
	struct world *w = world_new(NULL, NULL, "");
	start_watch(w, 5);
	WAIT(w, w->watching);
	assert_string_equal(w->target,
			    "/apis/apps/v1/deployments?watch=true&allowWatchBookmarks=true&resourceVersion=5");
	send_text(
		w,
		"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"na");
	send_text(
		w,
		"me\":\"d\",\"namespace\":\"x\",\"resourceVersion\":\"6\"}}}\n{\"type\":\"DELETED\",\"object\":{"
		"\"metadata\":{\"name\":\"e\",\"resourceVersion\":\"7\"}}}\n{\"type\":\"BOOKMARK\",\"object\":{\"kind\":"
		"\"Deployment\",\"metadata\":{\"resourceVersion\":\"9\"}}}\n");
	WAIT(w, w->events == 3);
	assert_int_equal(w->last_type, WATCH_BOOKMARK);
	assert_int_equal(w->rv, 9);
	send_text(w, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\","
		     "\"message\":\"gone\"}}\n");
	WAIT(w, w->ends == 1);
	assert_int_equal(w->code, -ESTALE);
	WAIT(w, w->watch_left);

	start_watch(w, 1); /* refused at once */
	WAIT(w, w->ends == 2);
	assert_int_equal(w->code, -ESTALE);

	start_watch(w, 0); /* the server closes it */
	WAIT(w, w->watching);
	http_end(w->watching);
	WAIT(w, w->ends == 3);
	assert_int_equal(w->code, 0);

	start_watch(w, 0); /* nonsense */
	WAIT(w, w->watching);
	send_text(w, "not json\n");
	WAIT(w, w->ends == 4);
	assert_int_not_equal(w->code, 0);
	world_free(w);
}

static void test_unwatch_inside(void **state)
{
	(void)state;
	struct world *w = world_new(NULL, NULL, "");
	w->unwatch_inside = true;
	start_watch(w, 0);
	WAIT(w, w->watching);
	send_text(w, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n"
		     "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"b\"}}}\n");
	WAIT(w, w->watch_left);
	assert_int_equal(w->events, 1);
	assert_int_equal(w->ends, 0);
	world_free(w);
}

/* ---- kubeconfig ---- */

static void test_kubeconfig_round_trip(void **state)
{
	(void)state;
	char path[] = "/tmp/mini-kubeconfig-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	_cleanup_free_ char *text =
		kubeconfig_text("mini", "https://127.0.0.1:6443", "CA\n", "admin", "CERT\n", "KEY\n", NULL);
	struct err err = ERR_INIT;
	assert_int_equal(file_write(path, text, &err), 0);
	struct kubeconfig k = {0};
	if (kubeconfig_load(path, NULL, &k, &err))
		fail_msg("%s", err.message);
	assert_string_equal(k.server, "https://127.0.0.1:6443");
	assert_string_equal(k.ca_pem, "CA\n");
	assert_string_equal(k.cert_pem, "CERT\n");
	assert_string_equal(k.key_pem, "KEY\n");
	assert_string_equal(k.user_name, "admin");
	assert_null(k.token);
	kubeconfig_done(&k);
	assert_int_not_equal(kubeconfig_load(path, "other", &k, &err), 0);
	assert_non_null(strstr(err.message, "context \"other\" does not exist"));
	unlink(path);
	assert_int_not_equal(kubeconfig_load(path, NULL, &k, &err), 0);
}

static void test_kubeconfig_files(void **state)
{
	(void)state;
	char dir[] = "/tmp/mini-kubeconfig-XXXXXX";
	assert_non_null(mkdtemp(dir));
	_cleanup_free_ char *ca = xasprintf("%s/ca.pem", dir), *token = xasprintf("%s/token", dir),
			    *config = xasprintf("%s/config", dir), *list = xasprintf("/nonexistent:%s", config);
	struct err err = ERR_INIT;
	assert_int_equal(file_write_replace(ca, "PEM", 3, 0600, &err), 0);
	assert_int_equal(file_write_replace(token, "tok\n", 4, 0600, &err), 0);
	_cleanup_free_ char *text = xasprintf(
		"apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {cluster: k, user: u, "
		"namespace: team}\nclusters:\n- name: k\n  cluster:\n    server: https://host:1\n    "
		"certificate-authority: ca.pem\n    tls-server-name: other\nusers:\n- name: u\n  user: {tokenFile: %s}\n",
		token);
	assert_int_equal(file_write_replace(config, text, strlen(text), 0600, &err), 0);
	setenv("KUBECONFIG", list, 1);
	struct kubeconfig k = {0};
	if (kubeconfig_load(NULL, NULL, &k, &err))
		fail_msg("%s", err.message);
	assert_string_equal(k.ca_pem, "PEM");
	assert_string_equal(k.token, "tok");
	assert_string_equal(k.ns, "team");
	assert_string_equal(k.tls_server_name, "other");
	kubeconfig_done(&k);
	assert_int_equal(rm_rf(dir, &err), 0);
	assert_int_equal(kubeconfig_load(NULL, NULL, &k, &err), -ENOENT);
	unsetenv("KUBECONFIG");
}

static void test_tls(void **state)
{
	(void)state;
	struct err err = ERR_INIT;
	struct pki_pair ca = {0}, server = {0}, client = {0};
	int64_t now = time(NULL);
	const char *ips[] = {"127.0.0.1", NULL};
	struct pki_request for_server = {
		.common_name = "s", .ips = ips, .server = true, .not_before_s = now - 60, .not_after_s = now + 600};
	struct pki_request for_client = {
		.common_name = "alice", .client = true, .not_before_s = now - 60, .not_after_s = now + 600};
	assert_int_equal(pki_make_ca("ca", now - 60, now + 600, &ca, &err), 0);
	assert_int_equal(pki_issue(&ca, &for_server, &server, &err), 0);
	assert_int_equal(pki_issue(&ca, &for_client, &client, &err), 0);
	struct tls_context *tls = NULL;
	assert_int_equal(tls_server_context(server.cert_pem, server.key_pem, ca.cert_pem, &tls, &err), 0);
	struct kubeconfig k = {.ca_pem = ca.cert_pem, .cert_pem = client.cert_pem, .key_pem = client.key_pem};
	struct world *w = world_new(tls, &k, "");
	struct client_request req = {.verb = CLIENT_GET, .kind = kind_of("pods"), .ns = "x", .name = "p"};
	call(w, &req);
	assert_int_equal(w->code, 0);
	assert_string_equal(w->peer, "alice");
	world_free(w);
	k.ca_pem = client.cert_pem; /* not who signed it */
	w = world_new(tls, &k, "");
	call(w, &req);
	assert_int_not_equal(w->code, 0);
	world_free(w);
	tls_context_unref(tls);
	pki_pair_done(&ca);
	pki_pair_done(&server);
	pki_pair_done(&client);
}

static void test_bad_urls(void **state)
{
	(void)state;
	static const char *const bad[] = {"ftp://x",         "https://",     "https://h:0",
					  "https://h:99999", "https://[::1", "https://h:x"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct kubeconfig k = {.server = (char *)bad[i], .insecure = true};
		struct client *c = NULL;
		struct err err = ERR_INIT;
		assert_int_not_equal(client_http_new(NULL, NULL, &k, "t", &c, &err), 0);
		assert_null(c);
	}
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_unwatch_inside),
		cmocka_unit_test(test_kubeconfig_round_trip),
		cmocka_unit_test(test_kubeconfig_files),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_bad_urls),
	};
	return cmocka_run_group_tests_name("client_http", tests, NULL, NULL);
}
