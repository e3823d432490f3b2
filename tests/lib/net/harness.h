/* A loop with a server and a client on it, for the tests of this folder. Waiting is always for an event. */
#ifndef MINI_TESTS_NET_HARNESS_H
#define MINI_TESTS_NET_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "lib/core/env_uv.h"
#include "lib/net/http.h"
#include "lib/net/pki.h"

struct world {
	uv_loop_t loop;
	struct env *env;
	struct http_server *server;
	struct http_client *client;
	struct tls_context *server_tls, *client_tls;
	struct pki_pair ca, server_pair, client_pair;
	void (*handler)(struct world *w, struct http_request *r);
	struct http_request *held; /* by a handler that does not answer at once */
	int requests, closes, server_closed;
	struct blob *blob;
	struct buf seen;
	struct http_stream *stream;
};

static void pump_timer(struct env_timer *t)
{
	*(void **)(t + 1) = NULL;
}

/* Run the loop until cond holds; fails after a minute. */
#define WAIT(w, cond)                                                                                                  \
	do {                                                                                                           \
		struct {                                                                                               \
			struct env_timer t;                                                                            \
			void *on;                                                                                      \
		} guard = {.t = {.fn = pump_timer}, .on = (w)};                                                        \
		env_timer_start((w)->env, &guard.t, 60 * 1000 * 1000);                                                 \
		while (!(cond) && guard.on)                                                                            \
			uv_run(&(w)->loop, UV_RUN_ONCE);                                                               \
		env_timer_stop((w)->env, &guard.t);                                                                    \
		if (!guard.on)                                                                                         \
			fail_msg("waited in vain for: %s", #cond);                                                     \
	} while (0)

_unused_ static void run_for(struct world *w, unsigned ms)
{
	struct {
		struct env_timer t;
		void *on;
	} guard = {.t = {.fn = pump_timer}, .on = w};
	env_timer_start(w->env, &guard.t, ms * 1000);
	while (guard.on)
		uv_run(&w->loop, UV_RUN_ONCE);
}

static void world_request(void *arg, struct http_request *r)
{
	struct world *w = arg;
	w->requests++;
	w->handler(w, r);
}

static void world_close(void *arg, struct http_request *r)
{
	struct world *w = arg;
	w->closes++;
	if (w->held == r)
		w->held = NULL;
}

static const struct http_server_ops world_ops = {.on_request = world_request, .on_close = world_close};

/* What came back of one call. */
struct reply {
	int status, done, code;
	struct buf body;
	char headers[4096];
	char message[1024];
	bool upgraded;
};

_unused_ static void reply_response(void *arg, int status, const struct http_header *headers)
{
	struct reply *p = arg;
	p->status = status;
	p->headers[0] = 0;
	for (; headers->name; headers++) {
		size_t n = strlen(p->headers);
		snprintf(p->headers + n, sizeof(p->headers) - n, "%s: %s\n", headers->name, headers->value);
	}
}
_unused_ static void reply_upgrade(void *arg, int status, const struct http_header *headers)
{
	((struct reply *)arg)->upgraded = true;
	reply_response(arg, status, headers);
}
_unused_ static void reply_body(void *arg, const void *data, size_t len)
{
	buf_add(&((struct reply *)arg)->body, data, len);
}
_unused_ static void reply_done(void *arg, const struct err *err)
{
	struct reply *p = arg;
	p->done++;
	p->code = err->code;
	snprintf(p->message, sizeof(p->message), "%s", err->message);
}
_unused_ static const struct http_call_ops reply_ops = {
	.on_response = reply_response, .on_body = reply_body, .on_done = reply_done, .on_upgrade = reply_upgrade};

_unused_ static void call(struct world *w, struct reply *p, const char *method, const char *target, const char *body)
{
	*p = (struct reply){0};
	http_call(w->client, method, target, NULL, body, body ? strlen(body) : 0, 0, &reply_ops, p);
	WAIT(w, p->done);
}

_unused_ static void make_pairs(struct world *w)
{
	struct err err = ERR_INIT;
	int64_t now = env_wall_s(w->env);
	assert_int_equal(pki_make_ca("test-ca", now - 60, now + 3600, &w->ca, &err), 0);
	struct pki_request req = {.common_name = "server",
				  .dns_names = (const char *const[]){"localhost", NULL},
				  .ips = (const char *const[]){"127.0.0.1", "::1", NULL},
				  .server = true,
				  .not_before_s = now - 60,
				  .not_after_s = now + 3600};
	assert_int_equal(pki_issue(&w->ca, &req, &w->server_pair, &err), 0);
	req = (struct pki_request){.common_name = "system:node:n1",
				   .organizations = (const char *const[]){"system:nodes", "b,c=d", NULL},
				   .client = true,
				   .not_before_s = now - 60,
				   .not_after_s = now + 3600};
	assert_int_equal(pki_issue(&w->ca, &req, &w->client_pair, &err), 0);
}

_unused_ static void world_client(struct world *w, const char *host, struct tls_context *tls, const char *server_name)
{
	struct http_client_config cc = {
		.host = host, .port = http_server_port(w->server), .tls = tls, .server_name = server_name};
	http_client_free(w->client);
	w->client = http_client_new(w->env, &w->loop, &cc);
}

_unused_ static struct world *world_new(bool tls, const struct http_limits *limits,
					void (*handler)(struct world *, struct http_request *))
{
	struct world *w = NEW(struct world);
	struct err err = ERR_INIT;
	uv_loop_init(&w->loop);
	w->env = env_uv_new(&w->loop);
	w->handler = handler;
	if (tls) {
		make_pairs(w);
		assert_int_equal(tls_server_context(w->server_pair.cert_pem, w->server_pair.key_pem, w->ca.cert_pem,
						    &w->server_tls, &err),
				 0);
		assert_int_equal(tls_client_context(w->ca.cert_pem, w->client_pair.cert_pem, w->client_pair.key_pem,
						    false, &w->client_tls, &err),
				 0);
	}
	w->server = http_server_new(w->env, &w->loop, w->server_tls, limits, &world_ops, w);
	assert_int_equal(http_server_listen(w->server, "127.0.0.1", 0, &err), 0);
	world_client(w, "127.0.0.1", w->client_tls, NULL);
	return w;
}

static void world_closed(void *arg)
{
	((struct world *)arg)->server_closed++;
}

_unused_ static void world_free(struct world *w)
{
	http_client_free(w->client);
	if (w->server)
		http_server_close(w->server, 0, world_closed, w);
	WAIT(w, !w->server || w->server_closed);
	env_uv_free(w->env);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	tls_context_unref(w->server_tls);
	tls_context_unref(w->client_tls);
	pki_pair_done(&w->ca);
	pki_pair_done(&w->server_pair);
	pki_pair_done(&w->client_pair);
	buf_done(&w->seen);
	blob_unref(w->blob);
	free(w);
}

/* ---- a raw client: bytes as the test wants them ---- */

_unused_ static int raw_connect(struct world *w)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(http_server_port(w->server)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

_unused_ static void raw_send(int fd, const char *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

_unused_ static void raw_say(int fd, const char *text)
{
	raw_send(fd, text, strlen(text));
}

/* Reads what there is into out; true at the end of the connection. */
_unused_ static bool raw_read(int fd, struct buf *out)
{
	char tmp[4096];
	for (;;) {
		ssize_t n = recv(fd, tmp, sizeof(tmp), 0);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0)
			return true;
		buf_add(out, tmp, (size_t)n);
	}
}

/* Something happens at least every 5 ms, so that WAIT looks at its condition. */
struct ticker {
	struct env_timer t;
	struct env *env;
};
static void ticker_fire(struct env_timer *t)
{
	struct ticker *k = CONTAINER_OF(t, struct ticker, t);
	env_timer_start(k->env, t, 5000);
}
#define WAIT_RAW(w, cond)                                                                                              \
	do {                                                                                                           \
		struct ticker ticker = {.t = {.fn = ticker_fire}, .env = (w)->env};                                    \
		env_timer_start((w)->env, &ticker.t, 5000);                                                            \
		WAIT(w, cond);                                                                                         \
		env_timer_stop((w)->env, &ticker.t);                                                                   \
	} while (0)

/* Sends a request as it is and waits for the connection's end; the answer is in out. */
_unused_ static void raw_exchange(struct world *w, const char *request, size_t len, struct buf *out)
{
	int fd = raw_connect(w);
	raw_send(fd, request, len);
	WAIT_RAW(w, raw_read(fd, out));
	close(fd);
}

#endif
