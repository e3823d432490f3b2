#include "tests/lib/net/harness.h"

#include "lib/net/spdy.h"

/* What it hears, as text. */
struct hearer {
	struct spdy spdy;
	struct buf text;
	int stop_after; /* events; 0: never */
};

static void heard(struct hearer *h)
{
	if (h->stop_after && --h->stop_after == 0)
		h->spdy.stop = true;
}

static void on_stream(void *arg, uint32_t id, const struct http_header *headers, bool fin)
{
	struct hearer *h = arg;
	buf_addf(&h->text, "stream %u", id);
	for (; headers->name; headers++)
		buf_addf(&h->text, " %s=%s", headers->name, headers->value);
	buf_adds(&h->text, fin ? " fin\n" : "\n");
	heard(h);
}

static void on_reply(void *arg, uint32_t id, bool fin)
{
	struct hearer *h = arg;
	buf_addf(&h->text, "reply %u%s\n", id, fin ? " fin" : "");
	heard(h);
}

static void on_data(void *arg, uint32_t id, const void *data, size_t len, bool fin)
{
	struct hearer *h = arg;
	buf_addf(&h->text, "%u:", id);
	buf_add(&h->text, data, len);
	buf_adds(&h->text, fin ? " fin\n" : "\n");
	heard(h);
}

static void on_reset(void *arg, uint32_t id, uint32_t status)
{
	struct hearer *h = arg;
	buf_addf(&h->text, "reset %u %u\n", id, status);
	heard(h);
}

static void on_ping(void *arg, uint32_t id)
{
	struct hearer *h = arg;
	buf_addf(&h->text, "ping %u\n", id);
	heard(h);
}

static void on_goaway(void *arg)
{
	struct hearer *h = arg;
	buf_adds(&h->text, "goaway\n");
}

static const struct spdy_ops ops = {on_stream, on_reply, on_data, on_reset, on_ping, on_goaway};

static void hearer_init(struct hearer *h)
{
	*h = (struct hearer){0};
	spdy_init(&h->spdy, &ops, h);
}

static void hearer_done(struct hearer *h)
{
	spdy_done(&h->spdy);
	buf_done(&h->text);
}

static int feed(struct hearer *h, const void *bytes, size_t len, size_t step)
{
	int rc = 0;
	for (size_t i = 0; i < len && rc == 0; i += step)
		rc = spdy_feed(&h->spdy, (const char *)bytes + i, MIN(step, len - i), NULL);
	return rc;
}

/* The beginning of `kubectl exec -i` (1.27), as it was sent: four streams, "hello", the end of stdin. */
static const char kubectl[] =
	"\x80\x03\x00\x01\x00\x00\x00\x29\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x78\xf9\xe3\xc6\xa7\xc2\x62\x60\x60\x60"
	"\x04\xa7\xb3\x92\xa2\xd4\xc4\x5c\x68\x51\xc2\x9a\x0a\x0a\x68\x00\x00\x00\x00\xff\xff"
	"\x80\x03\x00\x01\x00\x00\x00\x17\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\xc2\x2e\x55\x5c\x92\x92\x99\x07\x00\x00"
	"\x00\xff\xff"
	"\x80\x03\x00\x01\x00\x00\x00\x19\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\xc2\x2a\xc5\x56\x5c\x92\x92\x5f\x5a\x02"
	"\x00\x00\x00\xff\xff"
	"\x80\x03\x00\x01\x00\x00\x00\x15\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\xc2\x29\x97\x5a\x54\x04\x00\x00\x00\xff"
	"\xff"
	"\x00\x00\x00\x03\x00\x00\x00\x05hello\x00\x00\x00\x03\x01\x00\x00\x00";

static void test_what_kubectl_sends(void **state)
{
	(void)state;
	struct hearer h;
	hearer_init(&h);
	assert_int_equal(feed(&h, kubectl, sizeof(kubectl) - 1, sizeof(kubectl)), 0);
	assert_string_equal(buf_str(&h.text), "stream 1 streamtype=error\nstream 3 streamtype=stdin\n"
					      "stream 5 streamtype=stdout\nstream 7 streamtype=stderr\n"
					      "3:hello\n3: fin\n");
	hearer_done(&h);
}

static void test_byte_by_byte(void **state)
{
	(void)state;
	struct hearer h;
	hearer_init(&h);
	assert_int_equal(feed(&h, kubectl, sizeof(kubectl) - 1, 1), 0);
	assert_non_null(strstr(buf_str(&h.text), "stream 7 streamtype=stderr\n3:h\n3:e\n3:l\n3:l\n3:o\n3: fin\n"));
	hearer_done(&h);
}

static void test_both_ends_are_ours(void **state)
{
	(void)state;
	struct hearer a, b;
	struct buf out = BUF_INIT;
	const struct http_header headers[] = {
		{"streamtype", "data"}, {"port", "8080"}, {"requestid", "0"}, {NULL, NULL}};
	hearer_init(&a);
	hearer_init(&b);
	spdy_stream(&a.spdy, &out, 1, headers);
	spdy_stream(&a.spdy, &out, 3, NULL);
	spdy_stream(&a.spdy, &out, 5, headers);
	spdy_reply(&a.spdy, &out, 2);
	spdy_data(&out, 1, "abc", 3, true);
	spdy_reset(&out, 3, SPDY_CANCEL);
	spdy_ping(&out, 8);
	spdy_data(&out, 5, "", 0, true);
	assert_int_equal(feed(&b, out.data, out.len, out.len), 0);
	assert_string_equal(buf_str(&b.text), "stream 1 streamtype=data port=8080 requestid=0\nstream 3\n"
					      "stream 5 streamtype=data port=8080 requestid=0\nreply 2\n"
					      "1:abc fin\nreset 3 5\nping 8\n5: fin\n");
	buf_done(&out);
	hearer_done(&a);
	hearer_done(&b);
}

static void test_much_data_is_cut_into_frames(void **state)
{
	(void)state;
	struct hearer h;
	struct buf out = BUF_INIT;
	char *much = xcalloc(1, SPDY_DATA_MAX * 2 + 1);
	hearer_init(&h);
	memset(much, 'x', SPDY_DATA_MAX * 2 + 1);
	spdy_data(&out, 1, much, SPDY_DATA_MAX * 2 + 1, true);
	assert_int_equal(out.len, SPDY_DATA_MAX * 2 + 1 + 3 * 8);
	assert_int_equal(feed(&h, out.data, out.len, out.len), 0);
	assert_int_equal(h.text.len, SPDY_DATA_MAX * 2 + 1 + 3 * 3 + 4);
	assert_true(h.spdy.control.cap < 100); /* data is not gathered */
	assert_string_equal(h.text.data + h.text.len - 9, "\n1:x fin\n");
	free(much);
	buf_done(&out);
	hearer_done(&h);
}

static void test_a_receiver_may_have_had_enough(void **state)
{
	(void)state;
	struct hearer h;
	hearer_init(&h);
	h.stop_after = 2;
	assert_int_equal(feed(&h, kubectl, sizeof(kubectl) - 1, sizeof(kubectl)), 0);
	assert_string_equal(buf_str(&h.text), "stream 1 streamtype=error\nstream 3 streamtype=stdin\n");
	hearer_done(&h);
}

static void check_bad(const char *bytes, size_t len, int code)
{
	for (size_t step = 1; step <= len; step += len) {
		struct hearer h;
		hearer_init(&h);
		assert_int_equal(feed(&h, bytes, len, step), code);
		hearer_done(&h);
	}
}
#define BAD(bytes, code) check_bad(bytes, sizeof(bytes) - 1, code)

static void test_bad_frames(void **state)
{
	(void)state;
	BAD("\x80\x02\x00\x01\x00\x00\x00\x00", -EPROTO);                                     /* version 2 */
	BAD("\x80\x03\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01", -EPROTO);                     /* no headers */
	BAD("\x80\x03\x00\x01\x00\x01\x00\x01", -EFBIG);                                      /* 65537 bytes */
	BAD("\x80\x03\x00\x01\x00\x00\x00\x0e\0\0\0\1\0\0\0\0\0\0 \x78\xf9 ", -EPROTO);       /* not packed */
	BAD("\x80\x03\x00\x03\x00\x00\x00\x04\0\0\0\1", -EPROTO);                             /* half a reset */
	BAD("\x80\x03\x00\x06\x00\x00\x00\x02\0\0", -EPROTO);                                 /* half a ping */
	BAD("\x80\x03\x00\x02\x00\x00\x00\x0c\0\0\0\1\x78\xf9\xe3\xc6\xa7\xc3\0\0", -EPROTO); /* another dictionary */
}

/* Header blocks that lie about themselves, packed by ourselves: a name that is really the whole block. */
static void test_bad_headers(void **state)
{
	(void)state;
	struct hearer a, b;
	struct buf out = BUF_INIT;
	struct http_header many[66] = {{NULL, NULL}};
	for (int i = 0; i < 65; i++)
		many[i] = (struct http_header){"n", "v"};
	hearer_init(&a);
	hearer_init(&b);
	spdy_stream(&a.spdy, &out, 1, many);
	assert_int_equal(feed(&b, out.data, out.len, out.len), -EFBIG);
	hearer_done(&a);
	hearer_done(&b);

	char *huge = xcalloc(1, SPDY_CONTROL_MAX + 1);
	memset(huge, 'x', SPDY_CONTROL_MAX);
	const struct http_header bomb[] = {{"name", huge}, {NULL, NULL}};
	hearer_init(&a);
	hearer_init(&b);
	buf_clear(&out);
	spdy_stream(&a.spdy, &out, 1, bomb);
	assert_true(out.len < 1000);
	assert_int_equal(feed(&b, out.data, out.len, out.len), -EFBIG);
	free(huge);
	buf_done(&out);
	hearer_done(&a);
	hearer_done(&b);
}

static void test_unknown_frames_are_passed_over(void **state)
{
	(void)state;
	static const char bytes[] = "\x80\x03\x00\x04\x00\x00\x00\x0c\0\0\0\1\0\0\0\4\0\0\0\x64" /* SETTINGS */
				    "\x80\x03\x00\x09\x00\x00\x00\x08\0\0\0\1\0\0\1\0"           /* WINDOW_UPDATE */
				    "\x80\x03\x00\x63\x00\x00\x00\x01x"
				    "\x80\x03\x00\x07\x00\x00\x00\x08\0\0\0\0\0\0\0\0"
				    "\x80\x03\x00\x06\x00\x00\x00\x04\0\0\0\x05";
	struct hearer h;
	hearer_init(&h);
	assert_int_equal(feed(&h, bytes, sizeof(bytes) - 1, 3), 0);
	assert_string_equal(buf_str(&h.text), "goaway\nping 5\n");
	hearer_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_kubectl_sends),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_both_ends_are_ours),
		cmocka_unit_test(test_much_data_is_cut_into_frames),
		cmocka_unit_test(test_a_receiver_may_have_had_enough),
		cmocka_unit_test(test_bad_frames),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_unknown_frames_are_passed_over),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
