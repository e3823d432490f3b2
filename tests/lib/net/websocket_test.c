#include "tests/lib/net/harness.h"

#include "lib/net/websocket.h"

struct got {
	int n;
	enum ws_opcode op[8];
	struct buf text;
};

static void on_message(void *arg, enum ws_opcode op, const void *data, size_t len)
{
	struct got *g = arg;
	if (g->n < 8)
		g->op[g->n] = op;
	g->n++;
	buf_add(&g->text, data, len);
	buf_addc(&g->text, '|');
}

static int feed(bool server, const char *bytes, size_t len, size_t step, struct got *g)
{
	struct ws_parser p = {.server = server, .max_bytes = 1000, .on_message = on_message, .arg = g};
	int rc = 0;
	for (size_t i = 0; i < len && rc == 0; i += step)
		rc = ws_feed(&p, bytes + i, MIN(step, len - i), NULL);
	ws_parser_done(&p);
	return rc;
}

#define FEED(server, bytes, step, g) feed(server, bytes, sizeof(bytes) - 1, step, g)

static void test_accept(void **state)
{
	(void)state;
	char *k = ws_accept_key("dGhlIHNhbXBsZSBub25jZQ=="); /* RFC 6455, 1.3 */
	assert_string_equal(k, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	free(k);
}

/* RFC 6455, 5.7, each whole and byte by byte. */
static void test_vectors(void **state)
{
	(void)state;
	for (size_t step = 1; step < 20; step += 17) {
		struct got g = {0};
		assert_int_equal(FEED(false, "\x81\x05\x48\x65\x6c\x6c\x6f", step, &g), 0);
		assert_int_equal(FEED(true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", step, &g), 0);
		assert_int_equal(FEED(false, "\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", step, &g), 0);
		assert_int_equal(FEED(false, "\x89\x05\x48\x65\x6c\x6c\x6f", step, &g), 0);
		assert_int_equal(g.n, 4);
		assert_string_equal(buf_str(&g.text), "Hello|Hello|Hello|Hello|");
		assert_int_equal(g.op[2], WS_TEXT);
		assert_int_equal(g.op[3], WS_PING);
		buf_done(&g.text);
	}
}

static void test_control_between_fragments(void **state)
{
	(void)state;
	struct got g = {0};
	assert_int_equal(FEED(false,
			      "\x02\x02"
			      "ab\x89\x01p\x80\x01"
			      "c",
			      100, &g),
			 0);
	assert_string_equal(buf_str(&g.text), "p|abc|");
	assert_int_equal(g.op[1], WS_BINARY);
	buf_done(&g.text);
}

static void test_refused(void **state)
{
	(void)state;
	struct got g = {0};
	assert_int_equal(FEED(true, "\x81\x01x", 9, &g), -EPROTO);               /* not masked */
	assert_int_equal(FEED(false, "\x81\x81\0\0\0\0x", 9, &g), -EPROTO);      /* masked */
	assert_int_equal(FEED(false, "\xc1\x01x", 9, &g), -EPROTO);              /* reserved bit */
	assert_int_equal(FEED(false, "\x83\x01x", 9, &g), -EPROTO);              /* opcode */
	assert_int_equal(FEED(false, "\x80\x01x", 9, &g), -EPROTO);              /* continues nothing */
	assert_int_equal(FEED(false, "\x01\x01x\x01\x01x", 9, &g), -EPROTO);     /* begins within */
	assert_int_equal(FEED(false, "\x09\x01x", 9, &g), -EPROTO);              /* fragmented ping */
	assert_int_equal(FEED(false, "\x88\x01x", 9, &g), -EPROTO);              /* close code of one byte */
	assert_int_equal(FEED(false, "\x82\x7e\x00\x05xxxxx", 20, &g), -EPROTO); /* long form of 5 */
	assert_int_equal(FEED(false, "\x82\x7e\x03\xe9", 9, &g), -EFBIG);        /* 1001 bytes */
	assert_int_equal(FEED(false, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 99, &g), -EFBIG);
	assert_int_equal(g.n, 0);
	buf_done(&g.text);
}

static void test_round_trip(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 100000};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct got g = {0};
		struct buf frame = BUF_INIT;
		char *data = xmalloc(sizes[i] + 1);
		memset(data, 'a' + (int)i, sizes[i]);
		ws_frame(&frame, WS_BINARY, data, sizes[i], (const uint8_t *)"\x01\x80\xff\x7f");
		struct ws_parser p = {.server = true, .max_bytes = 1 << 20, .on_message = on_message, .arg = &g};
		assert_int_equal(ws_feed(&p, frame.data, frame.len, NULL), 0);
		assert_int_equal(g.n, 1);
		assert_int_equal(g.text.len, sizes[i] + 1);
		assert_memory_equal(g.text.data, data, sizes[i]);
		ws_parser_done(&p);
		buf_done(&frame);
		buf_done(&g.text);
		free(data);
	}
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_accept), cmocka_unit_test(test_vectors),
					   cmocka_unit_test(test_control_between_fragments),
					   cmocka_unit_test(test_refused), cmocka_unit_test(test_round_trip)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
