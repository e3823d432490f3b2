#include "tests/lib/net/harness.h"

static void echo(struct world *w, struct http_request *r)
{
	(void)w;
	const char *path = http_path(r);
	struct http_header headers[] = {{"Content-Type", "text/plain"}, {"X-Evil", "a\r\nB: c"}, {NULL, NULL}};
	if (streq(path, "/stream")) {
		http_respond_start(r, 200, headers);
		http_write(r, "one,", 4);
		http_write(r, "", 0);
		http_write(r, "two,", 4);
		http_end(r);
	} else if (streq(path, "/empty")) {
		http_respond(r, 204, NULL, NULL, 0);
	} else if (streq(path, "/hold")) {
		w->held = r;
	} else if (streq(path, "/query")) {
		struct buf out = BUF_INIT;
		const char *n, *v;
		for (unsigned pos = 0; http_query_next(r, &pos, &n, &v);)
			buf_addf(&out, "%s=%s;", n, v);
		http_respond_buf(r, 200, headers, &out);
	} else if (streq(path, "/body")) {
		http_respond(r, 200, headers, http_body(r)->data, http_body(r)->len);
	} else {
		http_respond(r, 404, headers, path, strlen(path));
	}
}

static void test_basics(void **state)
{
	bool tls = *state != NULL;
	struct world *w = world_new(tls, NULL, echo);
	struct reply p;
	call(w, &p, "POST", "/body", "hello");
	assert_int_equal(p.code, 0);
	assert_int_equal(p.status, 200);
	assert_string_equal(buf_str(&p.body), "hello");
	assert_non_null(strstr(p.headers, "Content-Length: 5\n"));
	assert_non_null(strstr(p.headers, "X-Evil: a  B: c\n"));
	assert_non_null(strstr(p.headers, "Date: "));
	buf_done(&p.body);
	call(w, &p, "GET", "/stream", NULL);
	assert_string_equal(buf_str(&p.body), "one,two,");
	assert_non_null(strstr(p.headers, "Transfer-Encoding: chunked\n"));
	buf_done(&p.body);
	call(w, &p, "HEAD", "/nothing", NULL);
	assert_int_equal(p.status, 404);
	assert_int_equal(p.body.len, 0);
	assert_non_null(strstr(p.headers, "Content-Length: 8\n"));
	call(w, &p, "HEAD", "/stream", NULL);
	assert_int_equal(p.status, 200);
	assert_int_equal(p.body.len, 0);
	call(w, &p, "DELETE", "/empty", NULL);
	assert_int_equal(p.status, 204);
	assert_null(strstr(p.headers, "Content-Length"));
	call(w, &p, "GET", "/query?a=1&b=x%20y+z&c&&a=2&d=%zz#f=1", NULL);
	assert_string_equal(buf_str(&p.body), "a=1;b=x y z;c=;a=2;d=%zz;");
	buf_done(&p.body);
	call(w, &p, "GET", "/a%2fb%20c", NULL);
	assert_string_equal(buf_str(&p.body), "/a/b c");
	buf_done(&p.body);
	assert_int_equal(w->closes, 0);
	world_free(w);
}

static void big_blob(struct world *w, struct http_request *r)
{
	if (streq(http_path(r), "/buf")) {
		struct buf b = BUF_INIT;
		buf_add(&b, w->blob->data, w->blob->len);
		http_respond_buf(r, 200, NULL, &b);
		return;
	}
	http_respond_start(r, 200, NULL);
	http_write(r, "x", 1);
	http_write_blob(r, w->blob);
	http_write(r, "y", 1);
	http_write_blob(r, w->blob);
	http_end(r);
}

static void test_bulk(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, big_blob);
	struct reply p;
	w->blob = blob_alloc(5 * 1000 * 1000);
	for (size_t i = 0; i < w->blob->len; i++)
		w->blob->data[i] = (char)(i * 31 + i / 977);
	call(w, &p, "GET", "/buf", NULL);
	assert_int_equal(p.body.len, w->blob->len);
	assert_memory_equal(p.body.data, w->blob->data, w->blob->len);
	buf_done(&p.body);
	call(w, &p, "GET", "/blobs", NULL);
	assert_int_equal(p.body.len, 2 * w->blob->len + 2);
	assert_memory_equal(p.body.data + 1, w->blob->data, w->blob->len);
	assert_memory_equal(p.body.data + 2 + w->blob->len, w->blob->data, w->blob->len);
	buf_done(&p.body);
	assert_int_equal(w->blob->refs, 1);
	world_free(w);
}

static void test_upload(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, echo);
	struct reply p = {0};
	struct buf body = BUF_INIT;
	for (int i = 0; i < 300000; i++)
		buf_addf(&body, "%06d,", i);
	http_call(w->client, "PUT", "/body", NULL, body.data, body.len, 5000, &reply_ops, &p);
	WAIT(w, p.done);
	assert_int_equal(p.code, 0);
	assert_int_equal(p.body.len, body.len);
	assert_memory_equal(p.body.data, body.data, body.len);
	buf_done(&p.body);
	buf_done(&body);
	world_free(w);
}

static void test_many(void **state)
{
	struct world *w = world_new(*state != NULL, NULL, echo);
	enum { N = 300 };
	struct reply p[N] = {0};
	int done = 0;
	for (int i = 0; i < N; i++) {
		char body[16];
		snprintf(body, sizeof(body), "n%d", i);
		http_call(w->client, "POST", "/body", NULL, body, strlen(body), 0, &reply_ops, &p[i]);
	}
	for (; done < N; done++)
		WAIT(w, p[done].done);
	for (int i = 0; i < N; i++) {
		assert_int_equal(p[i].code, 0);
		assert_int_equal(atoi(buf_str(&p[i].body) + 1), i);
		buf_done(&p[i].body);
	}
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
	const struct CMUnitTest tests[] = {BOTH(test_basics), BOTH(test_bulk), BOTH(test_upload), BOTH(test_many)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
