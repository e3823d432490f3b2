/* HTTP server and client against each other in one process, each on a loop and thread of its own:
 * small POST requests a second over TLS and plain, bulk output in MB/s, handshakes a second, memory of an idle
 * connection. Prints lines "name value unit". Usage: http_bench [seconds per figure, default 2] */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/core/env_uv.h"
#include "lib/net/http.h"
#include "lib/net/pki.h"

struct side {
	uv_loop_t loop;
	struct env *env;
};

static struct pki_pair ca, server_pair, client_pair;
static double seconds = 2;

static void must(int rc, const struct err *err)
{
	if (rc) {
		fprintf(stderr, "http_bench: %s\n", err->message);
		exit(1);
	}
}

static double cpu_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- the server's thread ---- */

struct server_thread {
	struct side side;
	struct http_server *server;
	struct tls_context *tls;
	struct blob *bulk;
	pthread_t thread;
	uv_async_t stop;
	pthread_barrier_t ready;
	bool with_tls;
	double cpu; /* of the loop, at the end */
};

static void on_request(void *arg, struct http_request *r)
{
	struct server_thread *t = arg;
	static const struct http_header json[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
	if (http_path(r)[1] != 'b') {
		http_respond(r, 201, json, http_body(r)->data, http_body(r)->len);
		return;
	}
	http_respond_start(r, 200, json);
	http_write_blob(r, t->bulk);
	http_end(r);
}

static void server_stopped(void *arg)
{
	struct server_thread *t = arg;
	uv_close((uv_handle_t *)&t->stop, NULL);
}

static void on_stop(uv_async_t *a)
{
	struct server_thread *t = a->data;
	t->cpu = cpu_s();
	http_server_close(t->server, 0, server_stopped, t);
}

static void *server_main(void *arg)
{
	struct server_thread *t = arg;
	struct err err = ERR_INIT;
	static const struct http_server_ops ops = {.on_request = on_request};
	uv_loop_init(&t->side.loop);
	t->side.env = env_uv_new(&t->side.loop);
	if (t->with_tls)
		must(tls_server_context(server_pair.cert_pem, server_pair.key_pem, ca.cert_pem, &t->tls, &err), &err);
	t->bulk = blob_alloc(4 << 20);
	memset(t->bulk->data, 'x', t->bulk->len);
	t->server = http_server_new(t->side.env, &t->side.loop, t->tls, NULL, &ops, t);
	must(http_server_listen(t->server, "127.0.0.1", 0, &err), &err);
	t->stop.data = t;
	uv_async_init(&t->side.loop, &t->stop, on_stop);
	pthread_barrier_wait(&t->ready);
	uv_run(&t->side.loop, UV_RUN_DEFAULT);
	env_uv_free(t->side.env);
	uv_loop_close(&t->side.loop);
	tls_context_unref(t->tls);
	blob_unref(t->bulk);
	return NULL;
}

static void server_start(struct server_thread *t, bool tls)
{
	*t = (struct server_thread){.with_tls = tls};
	pthread_barrier_init(&t->ready, NULL, 2);
	pthread_create(&t->thread, NULL, server_main, t);
	pthread_barrier_wait(&t->ready);
}

static void server_stop(struct server_thread *t)
{
	uv_async_send(&t->stop);
	pthread_join(t->thread, NULL);
	pthread_barrier_destroy(&t->ready);
}

/* ---- the client's ---- */

struct load {
	struct side side;
	struct http_client *client;
	const char *method, *target, *body;
	const struct http_header *headers;
	double end;
	uint64_t done, bytes, failed;
	unsigned open;
};

static void on_body(void *arg, const void *data, size_t len)
{
	(void)data;
	((struct load *)arg)->bytes += len;
}

static void next(struct load *l);

static void on_done(void *arg, const struct err *err)
{
	struct load *l = arg;
	l->done++;
	l->failed += err->code != 0;
	l->open--;
	next(l);
}

static void next(struct load *l)
{
	static const struct http_call_ops ops = {.on_body = on_body, .on_done = on_done};
	if (now_s() >= l->end)
		return;
	l->open++;
	http_call(l->client, l->method, l->target, l->headers, l->body, l->body ? strlen(l->body) : 0, 0, &ops, l);
}

static void load(const char *name, bool tls, unsigned connections, const char *method, const char *target,
		 const char *body, const struct http_header *headers)
{
	struct server_thread server;
	struct load l = {.method = method, .target = target, .body = body, .headers = headers};
	struct tls_context *context = NULL;
	struct err err = ERR_INIT;
	server_start(&server, tls);
	uv_loop_init(&l.side.loop);
	l.side.env = env_uv_new(&l.side.loop);
	if (tls)
		must(tls_client_context(ca.cert_pem, client_pair.cert_pem, client_pair.key_pem, false, &context, &err),
		     &err);
	struct http_client_config config = {.host = "127.0.0.1",
					    .port = http_server_port(server.server),
					    .tls = context,
					    .max_connections = connections};
	l.client = http_client_new(l.side.env, &l.side.loop, &config);
	double start = now_s();
	l.end = start + seconds;
	for (unsigned i = 0; i < connections; i++)
		next(&l);
	while (l.open)
		uv_run(&l.side.loop, UV_RUN_ONCE);
	double took = now_s() - start;
	http_client_free(l.client);
	env_uv_free(l.side.env);
	uv_run(&l.side.loop, UV_RUN_DEFAULT);
	uv_loop_close(&l.side.loop);
	server_stop(&server);
	tls_context_unref(context);
	if (l.bytes > l.done * 100000)
		printf("%-28s %10.0f MB/s   server loop busy %3.0f%%: %.0f MB/s of its CPU\n", name,
		       (double)l.bytes / took / 1e6, 100 * server.cpu / took, (double)l.bytes / server.cpu / 1e6);
	else
		printf("%-28s %10.0f req/s  server loop busy %3.0f%%: %.0f req/s of its CPU, %llu failed\n", name,
		       (double)l.done / took, 100 * server.cpu / took, (double)l.done / server.cpu,
		       (unsigned long long)l.failed);
}

/* What N idle connections cost, both ends of them. */
static void memory(bool tls)
{
	enum { N = 400 };
	struct load l = {.method = "GET", .target = "/", .end = now_s() + 3600};
	static const struct http_call_ops ops = {.on_done = on_done};
	struct server_thread server;
	struct tls_context *context = NULL;
	struct err err = ERR_INIT;
	server_start(&server, tls);
	uv_loop_init(&l.side.loop);
	l.side.env = env_uv_new(&l.side.loop);
	if (tls)
		must(tls_client_context(ca.cert_pem, client_pair.cert_pem, client_pair.key_pem, false, &context, &err),
		     &err);
	struct http_client_config config = {
		.host = "127.0.0.1", .port = http_server_port(server.server), .tls = context, .max_connections = N};
	size_t before = 0;
	for (int round = 0; round < 2; round++) {
		/* The first round warms up what is allocated once. */
		l.client = http_client_new(l.side.env, &l.side.loop, &config);
		l.end = 0;
		before = mallinfo2().uordblks;
		for (int i = 0; i < N; i++) {
			l.open++;
			http_call(l.client, "GET", "/", NULL, NULL, 0, 0, &ops, &l);
		}
		while (l.open)
			uv_run(&l.side.loop, UV_RUN_ONCE);
		if (round == 0) {
			http_client_free(l.client);
			for (double end = now_s() + 0.2; now_s() < end;)
				uv_run(&l.side.loop, UV_RUN_NOWAIT);
		}
	}
	printf("%-28s %10.0f bytes  of heap, client's and server's half together\n",
	       tls ? "idle connection, TLS" : "idle connection, plain", (double)(mallinfo2().uordblks - before) / N);
	http_client_free(l.client);
	env_uv_free(l.side.env);
	uv_run(&l.side.loop, UV_RUN_DEFAULT);
	uv_loop_close(&l.side.loop);
	server_stop(&server);
	tls_context_unref(context);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	int64_t now = time(NULL);
	static const struct http_header close_headers[] = {{"Connection", "close"}, {NULL, NULL}};
	static const char body[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"bench-000001\","
		"\"namespace\":\"default\"},\"data\":{\"key\":\"0123456789012345678901234567890123456789"
		"012345678901234567890123456789012345678901234567\"}}";
	if (argc > 1)
		seconds = atof(argv[1]);
	must(pki_make_ca("bench-ca", now - 60, now + 3600, &ca, &err), &err);
	struct pki_request req = {.common_name = "s",
				  .ips = (const char *const[]){"127.0.0.1", NULL},
				  .server = true,
				  .client = true,
				  .not_before_s = now - 60,
				  .not_after_s = now + 3600};
	must(pki_issue(&ca, &req, &server_pair, &err), &err);
	must(pki_issue(&ca, &req, &client_pair, &err), &err);
	/* In a process of its own with one arena: mallinfo2() looks at the first one only. */
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		mallopt(M_ARENA_MAX, 1);
		memory(true);
		memory(false);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	load("POST 200 B, TLS, 16 conn", true, 16, "POST", "/small", body, NULL);
	load("POST 200 B, TLS, 1 conn", true, 1, "POST", "/small", body, NULL);
	load("POST 200 B, plain, 16 conn", false, 16, "POST", "/small", body, NULL);
	load("GET 4 MiB, TLS, 4 conn", true, 4, "GET", "/bulk", NULL, NULL);
	load("GET 4 MiB, plain, 4 conn", false, 4, "GET", "/bulk", NULL, NULL);
	load("new TLS connection, resumed", true, 4, "GET", "/x", NULL, close_headers);
	pki_pair_done(&ca);
	pki_pair_done(&server_pair);
	pki_pair_done(&client_pair);
	return 0;
}
