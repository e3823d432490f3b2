#include "tests/support/store/etcd_fake.h"

#include <inttypes.h>
#include <signal.h>

static void answer(struct http_request *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void answer(struct http_request *r, int status, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	http_respond(r, status, NULL, text, strlen(text));
}

static uint64_t number_in(const struct http_request *r, const char *name)
{
	const char *at = strstr(buf_str(http_body(r)), name);
	return at ? strtoull(at + strlen(name) + 3, NULL, 10) : 0;
}

static void do_as_told(struct fake_server *s, enum fake_does how, struct http_request *r)
{
	const struct fake *f = s->fake;
	uint64_t rev = number_in(r, "revision");
	switch (how) {
	case FAKE_OK:
		if (rev && rev < f->compacted)
			answer(r, 400,
			       "{\"message\":\"etcdserver: mvcc: required revision has been compacted\",\"code\":11}");
		else
			answer(r, 200,
			       "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"%" PRIu64 "\"},\"succeeded\":true}\n",
			       f->rev);
		break;
	case FAKE_CUT:
		http_abort(r);
		break;
	case FAKE_UNAVAILABLE:
		answer(r, 503, "{\"error\":\"x\",\"message\":\"etcdserver: leader changed\",\"code\":14}");
		break;
	case FAKE_GARBAGE:
		answer(r, 200, "<html>");
		break;
	case FAKE_NOT_ETCD:
		answer(r, 404, "Not Found");
		break;
	case FAKE_OTHER_CLUSTER:
		answer(r, 200, "{\"header\":{\"cluster_id\":\"2\",\"revision\":\"500\"}}\n");
		break;
	case FAKE_ERROR:
		answer(r, 400, "{\"error\":\"x\",\"message\":\"%s\",\"code\":%u}", f->text, f->grpc);
		break;
	}
}

static void on_request(void *arg, struct http_request *r)
{
	struct fake_server *s = arg;
	const char *path = http_path(r);
	if (streq(path, "/v3/watch")) {
		s->from = number_in(r, "start_revision");
		s->stream = r;
		s->watched = true;
		http_respond_start(r, 200, NULL);
	} else if (streq(path, "/v3/kv/txn")) {
		s->writes++;
		do_as_told(s, s->txn, r);
	} else {
		/* the engine's own look at the revisions is never in the way of a test */
		do_as_told(s, strstr(buf_str(http_body(r)), "count_only") ? FAKE_OK : s->range, r);
	}
}

static void on_close(void *arg, struct http_request *r)
{
	struct fake_server *s = arg;
	if (s->stream == r)
		s->stream = NULL;
}

void fake_init(struct fake *f)
{
	static const struct http_server_ops ops = {.on_request = on_request, .on_close = on_close};
	*f = (struct fake){.rev = 5};
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&f->ct.loop);
	f->ct.env = env_uv_new(&f->ct.loop);
	for (unsigned i = 0; i < 2; i++) {
		struct fake_server *s = &f->servers[i];
		s->fake = f;
		s->http = http_server_new(f->ct.env, &f->ct.loop, NULL, NULL, &ops, s);
		MUST(http_server_listen(s->http, "127.0.0.1", 0, NULL) == 0);
		s->port = http_server_port(s->http);
	}
}

void fake_open(struct fake *f, unsigned n_servers)
{
	char urls[100];
	snprintf(urls, sizeof(urls), "http://127.0.0.1:%u", f->servers[0].port);
	if (n_servers > 1)
		snprintf(urls + strlen(urls), 50, ",http://127.0.0.1:%u", f->servers[1].port);
	struct store_etcd_config c = {.servers = urls, .wait_us = FAKE_WAIT_US};
	MUST(store_etcd_open(f->ct.env, &f->ct.loop, &c, &f->ct.store, NULL) == 0);
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

void fake_stop(struct fake *f, unsigned server)
{
	struct fake_server *s = &f->servers[server];
	if (s->stopped)
		return;
	http_server_close(s->http, 0, set_true, &s->stopped);
	ct_await(&f->ct, &s->stopped);
}

struct fake_server *fake_await_stream(struct fake *f, uint64_t from)
{
	for (;;) {
		for (unsigned i = 0; i < 2; i++) {
			struct fake_server *s = &f->servers[i];
			if (s->stream && s->watched && s->from == from) {
				s->watched = false;
				return s;
			}
		}
		uv_run(&f->ct.loop, UV_RUN_ONCE);
	}
}

void fake_done(struct fake *f)
{
	ct_close(&f->ct);
	fake_stop(f, 0);
	fake_stop(f, 1);
	env_uv_free(f->ct.env);
	while (uv_loop_close(&f->ct.loop) == UV_EBUSY)
		uv_run(&f->ct.loop, UV_RUN_ONCE);
}
