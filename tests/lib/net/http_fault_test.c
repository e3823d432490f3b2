#include "tests/lib/net/harness.h"

#include <sys/resource.h>
#include <sys/stat.h>

static void answer(struct world *w, struct http_request *r)
{
	const char *path = http_path(r);
	if (streq(path, "/hold")) {
		w->held = r;
		return;
	}
	if (streq(path, "/start")) {
		http_respond_start(r, 200, NULL);
		http_write(r, "begin", 5);
		w->held = r;
		return;
	}
	buf_adds(&w->seen, path);
	buf_add(&w->seen, http_body(r)->data, http_body(r)->len);
	http_respond(r, 200, NULL, path, strlen(path));
}

static int raw_status(struct world *w, const char *request, size_t len)
{
	struct buf out = BUF_INIT;
	raw_exchange(w, request, len, &out);
	int status = out.len > 12 ? atoi(out.data + 9) : 0;
	buf_done(&out);
	return status;
}
#define STATUS(w, s) raw_status(w, s, sizeof(s) - 1)

static void test_smuggling(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
#define H "Host: a\r\n"
	assert_int_equal(
		STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Content-Length : 3\r\n\r\nabc"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H
				   "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
			 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/1.1\n" H "\n\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "GET /\0 HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET /a%00b HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET /?a=%00b HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET /a/../b HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET /a/%2e%2E%2fb HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET a HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/1.1\r\n\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/1.1\r\n" H H "\r\n"), 400);
	assert_int_equal(STATUS(w, "GET / HTTP/9.9\r\n" H "\r\n"), 505);
	assert_int_equal(STATUS(w, "CONNECT a:1 HTTP/1.1\r\n" H "\r\n"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Expect: magic\r\nContent-Length: 1\r\n\r\n"), 417);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
			 400);
	assert_int_equal(STATUS(w, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400);
	assert_int_equal(w->requests, 0);
	world_free(w);
}

static void test_limits(void **state)
{
	(void)state;
	struct world *w = world_new(false, &(struct http_limits){.header_bytes = 1000, .body_bytes = 100}, answer);
	struct buf b = BUF_INIT, out = BUF_INIT;
	buf_adds(&b, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
	for (int i = 0; i < 2000; i++)
		buf_addc(&b, 'a');
	assert_int_equal(raw_status(w, b.data, b.len), 431); /* without an end */
	buf_adds(&b, "\r\n\r\n");
	assert_int_equal(raw_status(w, b.data, b.len), 431);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n"), 413);
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n"),
			 413);
	buf_clear(&b);
	buf_adds(&b, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 11; i++)
		buf_adds(&b, "a\r\n0123456789\r\n");
	assert_int_equal(raw_status(w, b.data, b.len), 413);
	/* A client that sends all of a large body before it reads still gets the answer. */
	int fd = raw_connect(w);
	fcntl(fd, F_SETFL, 0);
	raw_say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
	for (int i = 0; i < 20; i++) {
		raw_send(fd, b.data, b.len);
		run_for(w, 1);
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	WAIT_RAW(w, raw_read(fd, &out) || out.len > 12);
	assert_memory_equal(out.data, "HTTP/1.1 413 ", 13);
	close(fd);
	/* Trailers count too. */
	buf_clear(&b);
	buf_adds(&b, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
	for (int i = 0; i < 100; i++)
		buf_adds(&b, "Trailer-Name: trailer value\r\n");
	buf_adds(&b, "\r\n");
	assert_int_equal(raw_status(w, b.data, b.len), 431);
	assert_int_equal(w->requests, 0);
	buf_done(&b);
	buf_done(&out);
	world_free(w);
}

/* The first of three connections that has an answer, or -1. */
static int answered(const int fds[3], struct buf *out)
{
	for (int i = 0; i < 3; i++)
		if (raw_read(fds[i], out) || out->len > 12)
			return i;
	return -1;
}

/* However many connections: what is sent before anybody has asked who sends it has a bound. */
static void test_many_bodies(void **state)
{
	(void)state;
	struct world *w = world_new(false, &(struct http_limits){.bodies_bytes = 1 << 20}, answer);
	static char part[100 * 1000];
	struct buf out = BUF_INIT;
	int fds[3], i = -1;
	memset(part, 'x', sizeof(part));
	for (int k = 0; k < 3; k++) { /* two fit into a quarter of it */
		fds[k] = raw_connect(w);
		raw_say(fds[k], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n");
		raw_send(fds[k], part, sizeof(part));
	}
	WAIT_RAW(w, (i = answered(fds, &out)) >= 0);
	assert_memory_equal(out.data, "HTTP/1.1 429 ", 13);
	buf_clear(&out);
	/* small ones come through, and the two that were there first */
	assert_int_equal(STATUS(w, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"),
			 200);
	raw_say(fds[(i + 1) % 3], "x");
	WAIT_RAW(w, raw_read(fds[(i + 1) % 3], &out) || out.len > 12);
	assert_memory_equal(out.data, "HTTP/1.1 200 ", 13);
	buf_clear(&out);
	/* and then there is room again */
	close(fds[i]);
	fds[i] = raw_connect(w);
	raw_say(fds[i], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
	raw_send(fds[i], part, sizeof(part));
	WAIT_RAW(w, raw_read(fds[i], &out) || out.len > 12);
	assert_memory_equal(out.data, "HTTP/1.1 200 ", 13);
	for (i = 0; i < 3; i++)
		close(fds[i]);
	buf_done(&out);
	world_free(w);
}

static void test_pipelining(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
	static const char text[] =
		"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"
		"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz"
		"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
		"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nuv\r\n1;e=f\r\nw\r\n0\r\n"
		"T: t\r\n\r\n"
		"GET http://x/d HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
		"GET /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	/* Whole, and in pieces of every size up to 20. */
	for (size_t step = 1; step <= 20; step++) {
		struct buf out = BUF_INIT;
		int fd = raw_connect(w), one = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		size_t n = step == 20 ? sizeof(text) - 1 : step;
		for (size_t i = 0; i < sizeof(text) - 1; i += n) {
			raw_send(fd, text + i, MIN(n, sizeof(text) - 1 - i));
			if (step < 20)
				uv_run(&w->loop, UV_RUN_NOWAIT);
		}
		WAIT_RAW(w, w->held);
		http_respond(STEAL(w->held), 200, NULL, "held", 4);
		WAIT_RAW(w, raw_read(fd, &out));
		assert_string_equal(buf_str(&w->seen), "/a/bxyz/cuvw/d/e");
		const char *at = out.data;
		static const char *const bodies[] = {"\r\n\r\n/a", "\r\n\r\n/b", "\r\n\r\nheld",
						     "\r\n\r\n/c", "\r\n\r\n/d", "\r\n\r\n/e"};
		for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
			at = strstr(at, bodies[i]);
			assert_non_null(at);
		}
		buf_done(&out);
		buf_clear(&w->seen);
		close(fd);
	}
	world_free(w);
}

static void test_continue_and_old(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
	struct buf out = BUF_INIT;
	int fd = raw_connect(w);
	raw_say(fd, "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	WAIT_RAW(w, raw_read(fd, &out) || out.len);
	assert_string_equal(out.data, "HTTP/1.1 100 Continue\r\n\r\n");
	raw_say(fd, "hi");
	WAIT_RAW(w, raw_read(fd, &out) || strstr(out.data, "200 OK"));
	close(fd);
	/* HTTP/1.0: closed after the answer; a stream has no chunks. Half-closed clients still get their answer. */
	buf_clear(&out);
	fd = raw_connect(w);
	raw_say(fd, "GET /old HTTP/1.0\r\n\r\n");
	shutdown(fd, SHUT_WR);
	WAIT_RAW(w, raw_read(fd, &out));
	assert_non_null(strstr(out.data, "Connection: close\r\n"));
	assert_non_null(strstr(out.data, "\r\n\r\n/old"));
	close(fd);
	buf_clear(&out);
	fd = raw_connect(w);
	raw_say(fd, "GET /start HTTP/1.0\r\n\r\n");
	WAIT_RAW(w, w->held);
	http_end(STEAL(w->held));
	WAIT_RAW(w, raw_read(fd, &out));
	assert_null(strstr(out.data, "chunked"));
	assert_non_null(strstr(out.data, "\r\n\r\nbegin"));
	close(fd);
	buf_done(&out);
	world_free(w);
}

static void test_client_leaves(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, answer);
	struct reply p = {0};
	struct http_call *c = http_call(w->client, "GET", "/hold", NULL, NULL, 0, 0, &reply_ops, &p);
	WAIT(w, w->held);
	http_call_cancel(c);
	WAIT(w, w->closes == 1);
	assert_null(w->held);
	c = http_call(w->client, "GET", "/start", NULL, NULL, 0, 0, &reply_ops, &p);
	WAIT(w, p.body.len == 5);
	http_call_cancel(c);
	WAIT(w, w->closes == 2);
	assert_int_equal(p.done, 0);
	buf_done(&p.body);
	world_free(w);
}

static void cancel_in_response(void *arg, int status, const struct http_header *headers)
{
	(void)status;
	(void)headers;
	struct http_call **c = arg;
	http_call_cancel(STEAL(*c));
}
static void never_body(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	fail_msg("a callback after cancel");
}
static void never_done(void *arg, const struct err *err)
{
	(void)arg;
	fail_msg("an end after cancel: %s", err->message);
}

static void test_cancel(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, answer);
	static const struct http_call_ops ops = {
		.on_response = cancel_in_response, .on_body = never_body, .on_done = never_done};
	/* At once, while connecting, while shaking hands, in the response's head, while waiting in line. */
	for (int turns = 0; turns < 12; turns++) {
		struct http_call *c = http_call(w->client, "GET", "/hold", NULL, NULL, 0, 0, &ops, NULL);
		for (int i = 0; i < turns; i++)
			uv_run(&w->loop, UV_RUN_NOWAIT);
		http_call_cancel(c);
	}
	struct http_call *c = http_call(w->client, "GET", "/x", NULL, NULL, 0, 0, &ops, &c);
	WAIT(w, c == NULL);
	struct http_call *many[40];
	for (int i = 0; i < 40; i++)
		many[i] = http_call(w->client, "GET", "/hold", NULL, NULL, 0, 0, &ops, NULL);
	run_for(w, 50);
	for (int i = 39; i >= 0; i--)
		http_call_cancel(many[i]);
	/* The client goes while calls are in every phase. */
	for (int i = 0; i < 40; i++)
		http_call(w->client, "GET", "/hold", NULL, NULL, 0, 0, &ops, NULL);
	run_for(w, 2);
	world_client(w, "127.0.0.1", w->client_tls, NULL);
	struct reply p;
	call(w, &p, "GET", "/y", NULL);
	assert_int_equal(p.status, 200);
	buf_done(&p.body);
	w->held = NULL;
	world_free(w);
}

static void test_timeouts(void **state)
{
	(void)state;
	struct world *w = world_new(false, &(struct http_limits){.header_s = 1, .body_s = 1, .idle_s = 1}, answer);
	struct reply p = {0};
	http_call(w->client, "GET", "/hold", NULL, NULL, 0, 50, &reply_ops, &p);
	WAIT(w, p.done);
	assert_int_equal(p.code, -ETIMEDOUT);
	WAIT(w, w->closes == 1);
	/* Slowloris, a body that never comes, and an idle connection: all at once, to spare the test's time. */
	int slow = raw_connect(w), body = raw_connect(w), idle = raw_connect(w), silent = raw_connect(w);
	struct buf o1 = BUF_INIT, o2 = BUF_INIT, o3 = BUF_INIT, o4 = BUF_INIT;
	raw_say(slow, "GET / HTT");
	raw_say(body, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
	raw_say(idle, "GET /i HTTP/1.1\r\nHost: a\r\n\r\n");
	WAIT_RAW(w, raw_read(slow, &o1));
	WAIT_RAW(w, raw_read(body, &o2));
	WAIT_RAW(w, raw_read(idle, &o3));
	WAIT_RAW(w, raw_read(silent, &o4));
	assert_memory_equal(o1.data, "HTTP/1.1 408 ", 13);
	assert_memory_equal(o2.data, "HTTP/1.1 408 ", 13);
	assert_memory_equal(o3.data, "HTTP/1.1 200 ", 13);
	assert_int_equal(o4.len, 0);
	buf_done(&o1);
	buf_done(&o2);
	buf_done(&o3);
	close(slow);
	close(body);
	close(idle);
	close(silent);
	world_free(w);
}

static void flood(struct world *w, struct http_request *r)
{
	http_respond_start(r, 200, NULL);
	w->held = r;
	for (int i = 0; i < 64; i++)
		http_write_blob(r, w->blob);
}

static void drained(void *arg, struct http_request *r)
{
	struct world *w = arg;
	assert_true(http_unsent(r) < 64 * 1024);
	http_end(r);
	w->held = NULL;
}

static void test_slow_reader(void **state)
{
	(void)state;
	struct world *w = world_new(false, &(struct http_limits){.out_bytes = 32 << 20}, flood);
	struct buf out = BUF_INIT;
	w->blob = blob_alloc(1 << 20);
	memset(w->blob->data, 'z', w->blob->len);
	int fd = raw_connect(w);
	raw_say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	WAIT_RAW(w, w->closes == 1); /* 64 MB for someone who reads none of it */
	assert_null(w->held);
	assert_int_equal(w->blob->refs, 1);
	close(fd);
	/* Within the limit nobody is cut off; the drain is reported once most is gone. */
	blob_unref(w->blob);
	w->blob = blob_alloc(256 << 10);
	memset(w->blob->data, 'z', w->blob->len);
	fd = raw_connect(w);
	raw_say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	WAIT_RAW(w, w->held);
	assert_true(http_unsent(w->held) > 64 * 1024);
	http_on_drain(w->held, drained, w);
	WAIT_RAW(w, raw_read(fd, &out));
	assert_true(out.len > 64 * (256 << 10));
	assert_memory_equal(out.data + out.len - 5, "0\r\n\r\n", 5);
	buf_done(&out);
	close(fd);
	world_free(w);
}

static void test_connections(void **state)
{
	(void)state;
	struct world *w = world_new(false, &(struct http_limits){.connections = 3}, answer);
	struct buf out[6] = {{0}};
	int fd[6];
	/* Two are busy; of the others only one fits: each newcomer pushes out the idle one before it. */
	for (int i = 0; i < 6; i++) {
		fd[i] = raw_connect(w);
		if (i < 2) {
			raw_say(fd[i], "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
			WAIT_RAW(w, w->requests == i + 1);
		} else {
			raw_say(fd[i], "GET /q HTTP/1.1\r\nHost: a\r\n\r\n");
			WAIT_RAW(w, raw_read(fd[i], &out[i]) || out[i].len);
			assert_true(out[i].len > 0);
		}
	}
	for (int i = 2; i < 5; i++)
		WAIT_RAW(w, raw_read(fd[i], &out[i]));
	assert_false(raw_read(fd[5], &out[5]));
	for (int i = 0; i < 6; i++) {
		close(fd[i]);
		buf_done(&out[i]);
	}
	WAIT_RAW(w, w->closes == 2);
	world_free(w);
}

static void test_crowded(void **state)
{
	(void)state;
	struct world *w = world_new(false, &(struct http_limits){.connections = 1}, answer);
	struct buf first = BUF_INIT, second = BUF_INIT;
	int a = raw_connect(w);
	raw_say(a, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
	WAIT_RAW(w, w->held);
	int b = raw_connect(w);
	raw_say(b, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
	run_for(w, 20);
	assert_int_equal(w->requests, 1); /* waits */
	http_respond(STEAL(w->held), 200, NULL, "whole", 5);
	WAIT_RAW(w, raw_read(a, &first)); /* answered, then let go for the one that waits */
	assert_non_null(strstr(first.data, "\r\n\r\nwhole"));
	WAIT_RAW(w, raw_read(b, &second) || second.len);
	buf_done(&first);
	buf_done(&second);
	close(a);
	close(b);
	world_free(w);
}

static void test_no_descriptors(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
	struct rlimit old, low;
	struct reply p;
	int fd = raw_connect(w);
	getrlimit(RLIMIT_NOFILE, &old);
	low = (struct rlimit){(rlim_t)fd + 1, old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &low);
	uint64_t turns = 0;
	uint64_t end = env_now_ms(w->env) + 100;
	while (env_now_ms(w->env) < end) {
		struct ticker k = {.t = {.fn = ticker_fire}, .env = w->env};
		env_timer_start(w->env, &k.t, 5000);
		uv_run(&w->loop, UV_RUN_ONCE);
		env_timer_stop(w->env, &k.t);
		turns++;
	}
	assert_true(turns < 1000); /* no busy loop */
	setrlimit(RLIMIT_NOFILE, &old);
	call(w, &p, "GET", "/alive", NULL);
	assert_int_equal(p.status, 200);
	buf_done(&p.body);
	close(fd);
	world_free(w);
}

/* A server of the test's own, to say what no server of ours would. */
struct liar {
	int listen_fd, fd;
	uint16_t port;
};
static void liar_open(struct liar *l)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	l->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(l->listen_fd, (struct sockaddr *)&a, n), 0);
	listen(l->listen_fd, 8);
	getsockname(l->listen_fd, (struct sockaddr *)&a, &n);
	l->port = ntohs(a.sin_port);
}

static void lied(struct world *w, struct liar *l, const char *method, const char *text, struct reply *p)
{
	struct buf got = BUF_INIT;
	*p = (struct reply){0};
	http_call(w->client, method, "/", NULL, NULL, 0, 0, &reply_ops, p);
	WAIT_RAW(w, (l->fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
	WAIT_RAW(w, raw_read(l->fd, &got) || got.len);
	raw_send(l->fd, text, strlen(text));
	shutdown(l->fd, SHUT_WR);
	WAIT_RAW(w, p->done);
	close(l->fd);
	buf_done(&got);
}

static void test_bad_servers(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
	struct liar l;
	struct reply p;
	liar_open(&l);
	struct http_client_config cc = {.host = "localhost", .port = l.port};
	http_client_free(w->client);
	w->client = http_client_new(w->env, &w->loop, &cc);
	lied(w, &l, "GET", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", &p);
	assert_int_equal(p.code, -ECONNRESET);
	assert_string_equal(buf_str(&p.body), "half");
	buf_done(&p.body);
	lied(w, &l, "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", &p);
	assert_int_equal(p.code, -ECONNRESET);
	buf_done(&p.body);
	lied(w, &l, "GET", "HTTP/1.1 200 OK\r\n\r\nto the end", &p);
	assert_int_equal(p.code, 0);
	assert_string_equal(buf_str(&p.body), "to the end");
	buf_done(&p.body);
	lied(w, &l, "GET", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\nA: b\r\n\r\n", &p);
	assert_int_equal(p.code, 0);
	assert_int_equal(p.status, 204);
	assert_string_equal(p.headers, "A: b\n");
	lied(w, &l, "GET", "SSH-2.0-OpenSSH_9.2\r\n", &p);
	assert_int_equal(p.code, -EPROTO);
	lied(w, &l, "GET", "", &p);
	assert_int_equal(p.code, -ECONNRESET);
	close(l.listen_fd);
	call(w, &p, "GET", "/", NULL);
	assert_int_equal(p.code, -ECONNREFUSED);
	assert_non_null(strstr(p.message, "localhost:"));
	world_free(w);
}

/* A kept connection that the server closes just as it is used again: GET is tried again, POST is not. */
static void test_retry(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
	struct liar l;
	struct reply p = {0};
	struct buf got = BUF_INIT;
	liar_open(&l);
	struct http_client_config cc = {.host = "127.0.0.1", .port = l.port};
	http_client_free(w->client);
	w->client = http_client_new(w->env, &w->loop, &cc);
	for (int round = 0; round < 2; round++) {
		const char *method = round ? "POST" : "GET";
		http_call(w->client, "GET", "/", NULL, NULL, 0, 0, &reply_ops, &p);
		WAIT_RAW(w, (l.fd = accept4(l.listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
		WAIT_RAW(w, raw_read(l.fd, &got) || got.len);
		raw_say(l.fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		WAIT(w, p.done);
		p = (struct reply){0};
		buf_clear(&got);
		http_call(w->client, method, "/", NULL, NULL, 0, 0, &reply_ops, &p);
		WAIT_RAW(w, raw_read(l.fd, &got) || got.len);
		close(l.fd);
		if (round == 0) {
			WAIT_RAW(w, (l.fd = accept4(l.listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
			raw_say(l.fd, "HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n");
		}
		WAIT_RAW(w, p.done);
		assert_int_equal(p.code, round ? -ECONNRESET : 0);
		assert_int_equal(p.status, round ? 0 : 202);
		if (round == 0) {
			raw_say(l.fd, "unasked"); /* makes the pool drop it */
			run_for(w, 20);
			close(l.fd);
		}
		p = (struct reply){0};
		buf_clear(&got);
	}
	close(l.listen_fd);
	buf_done(&got);
	world_free(w);
}

static void stream_data(void *arg, const void *data, size_t len)
{
	struct world *w = arg;
	buf_add(&w->seen, data, len);
	http_stream_write(w->stream, data, len);
	if (memchr(data, '!', len))
		http_stream_close(STEAL(w->stream));
}
static void stream_close(void *arg)
{
	struct world *w = arg;
	w->closes++;
	w->stream = NULL;
}
static const struct http_stream_ops stream_ops = {.on_data = stream_data, .on_close = stream_close};

static void upgrade(struct world *w, struct http_request *r)
{
	static const struct http_header h[] = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}, {NULL, NULL}};
	w->stream = http_upgrade(r, h, &stream_ops, w);
	http_stream_write(w->stream, "hello ", 6);
}

static void test_upgrade(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, upgrade);
	static const struct http_header h[] = {{"Connection", "Upgrade"}, {"Upgrade", "echo"}, {NULL, NULL}};
	struct reply p = {0};
	struct http_call *c = http_call(w->client, "GET", "/", h, NULL, 0, 5000, &reply_ops, &p);
	WAIT(w, p.body.len == 6);
	assert_true(p.upgraded);
	assert_int_equal(p.status, 101);
	http_call_write(c, "abc", 3);
	WAIT(w, p.body.len == 9);
	http_call_write(c, "d!", 2);
	WAIT(w, p.done);
	assert_int_equal(p.code, 0);
	assert_string_equal(buf_str(&p.body), "hello abcd!");
	assert_int_equal(w->closes, 0);
	buf_done(&p.body);
	/* The client leaves. */
	p = (struct reply){0};
	c = http_call(w->client, "GET", "/", h, NULL, 0, 5000, &reply_ops, &p);
	WAIT(w, p.body.len == 6);
	http_call_cancel(c);
	WAIT(w, w->closes == 1);
	buf_done(&p.body);
	world_free(w);
}

static void test_unix(void **state)
{
	(void)state;
	struct world *w = world_new(false, NULL, answer);
	struct err err = ERR_INIT;
	char path[64];
	struct stat st;
	struct reply p;
	snprintf(path, sizeof(path), "/tmp/mini-net-test.%d", getpid());
	assert_int_equal(http_server_listen_unix(w->server, path, 0600, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(http_server_listen_unix(w->server, path, 0600, &err), -EADDRINUSE);
	struct http_client_config cc = {.unix_path = path};
	http_client_free(w->client);
	w->client = http_client_new(w->env, &w->loop, &cc);
	call(w, &p, "GET", "/u", NULL);
	assert_int_equal(p.status, 200);
	buf_done(&p.body);
	world_free(w);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_close_graceful(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, answer);
	struct reply p = {0}, q = {0};
	http_call(w->client, "GET", "/hold", NULL, NULL, 0, 0, &reply_ops, &p);
	WAIT(w, w->held);
	struct http_request *first = STEAL(w->held);
	http_call(w->client, "GET", "/hold", NULL, NULL, 0, 0, &reply_ops, &q);
	WAIT(w, w->held);
	http_server_close(STEAL(w->server), 200, world_closed, w);
	http_respond(first, 200, NULL, "bye", 3);
	WAIT(w, p.done);
	assert_int_equal(p.code, 0);
	assert_string_equal(buf_str(&p.body), "bye");
	assert_non_null(strstr(p.headers, "Connection: close"));
	WAIT(w, w->server_closed && q.done); /* the other one is cut off after the grace */
	assert_int_equal(q.code, -ECONNRESET);
	assert_int_equal(w->closes, 1);
	buf_done(&p.body);
	world_free(w);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	static int tls = 1;
#define BOTH(f)                                                                                                        \
	cmocka_unit_test(f),                                                                                           \
	{                                                                                                              \
#f " over TLS", f, NULL, NULL, &tls                                                                    \
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smuggling),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_bodies),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_continue_and_old),
		BOTH(test_client_leaves),
		BOTH(test_cancel),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_bad_servers),
		cmocka_unit_test(test_retry),
		BOTH(test_upgrade),
		cmocka_unit_test(test_unix),
		BOTH(test_close_graceful),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
