#include "tests/support/tap.h"

#include <errno.h>

#include "cli/options.h"

/* What was parsed lives until the next time. */
static struct options last;
static const char *verb = "server";

static int parse(struct options *ret, struct err *err, const char *const *words)
{
	static char copies[16][200];
	char *argv[16];
	int n = 0;
	for (; words[n]; n++) {
		snprintf(copies[n], sizeof(copies[n]), "%s", words[n]);
		argv[n] = copies[n];
	}
	options_done(&last);
	int r = options_parse(verb, n, argv, 2, ret, err);
	if (r == 0)
		last = *ret;
	return r;
}
#define PARSE(o, err, ...) parse(o, err, (const char *const[]){__VA_ARGS__, NULL})

static void addresses(void **state)
{
	struct options o;
	(void)state;
	assert_int_equal(PARSE(&o, NULL, "--dir", "/x"), 0);
	assert_null(o.listen);
	assert_int_equal(o.port, 6443);
	assert_int_equal(o.peer_port, 6444);
	assert_false(o.port_given);
	assert_int_equal(PARSE(&o, NULL, "--listen", "10.0.0.1:7443", "--peer-listen=10.0.0.1:7444"), 0);
	assert_string_equal(o.listen, "10.0.0.1");
	assert_int_equal(o.port, 7443);
	assert_true(o.port_given);
	assert_string_equal(o.peer_listen, "10.0.0.1");
	assert_int_equal(o.peer_port, 7444);
	/* as before there were ports in it */
	assert_int_equal(PARSE(&o, NULL, "--port", "9443", "--listen", "10.0.0.1"), 0);
	assert_string_equal(o.listen, "10.0.0.1");
	assert_int_equal(o.port, 9443);
	assert_int_equal(PARSE(&o, NULL, "--listen", ":7443"), 0);
	assert_null(o.listen);
	assert_int_equal(o.port, 7443);
	assert_int_equal(PARSE(&o, NULL, "--listen", "[::1]:7443"), 0);
	assert_string_equal(o.listen, "::1");
	assert_int_equal(o.port, 7443);
	assert_int_equal(PARSE(&o, NULL, "--listen", "::1"), 0);
	assert_string_equal(o.listen, "::1");
	assert_int_equal(o.port, 6443);
}

static void wrong(void **state)
{
	static const char *const bad[][3] = {
		{"--listen", "h:0"},        {"--listen", "h:65536"},   {"--listen", "h:x"},
		{"--listen", "[::1"},       {"--listen", "[::1]x"},    {"--listen", "a b"},
		{"--listen", ""},           {"--peer-listen", "h:-1"}, {"--advertise", "h:80"},
		{"--name", "Upper"},        {"--name", "-x"},          {"--name", "a/b"},
		{"--join", "http://x"},     {"--token", "x"},          {"--history", "5"},
		{"--history", "5x"},        {"--history", "-5m"},      {"--history-bytes", "1Q"},
		{"--history-size", "2G b"}, {"--history-bytes", "-1"}, {"--history", "99999999w"},
		{"--ttl", "soon"},          {"--role", "king"},        {"--nonsense", "1"},
		{"--learner", "--witness"}, {"--peer", "h:1"},         {"--peer", "a=:1"},
		{"--peer", "a=h:x"},        {"--peer", "=h:1"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct options o = {.port = 1};
		struct err err = ERR_INIT;
		verb = streq(bad[i][0], "--ttl") || streq(bad[i][0], "--role") ? "token" : "server";
		assert_int_equal(PARSE(&o, &err, bad[i][0], bad[i][1]), -EINVAL);
		assert_true(*err.message);
		assert_null(strstr(err.message, "not of"));
		assert_int_equal(o.port, 1);
	}
}

static void times_and_sizes(void **state)
{
	struct options o;
	uint64_t n = 0;
	(void)state;
	verb = "token";
	assert_int_equal(PARSE(&o, NULL, "--ttl", "0"), 0);
	assert_int_equal(o.ttl_us, 0);
	verb = "server";
	assert_int_equal(PARSE(&o, NULL, "--history", "1h30m", "--history-bytes", "64Mi", "--history-size", "2Gi"), 0);
	assert_int_equal(o.history_us, 5400ull * 1000000);
	assert_int_equal(o.history_bytes, 64ull << 20);
	assert_int_equal(o.history_disk_bytes, 2ull << 30);
	assert_int_equal(PARSE(&o, NULL, "--dir", "/x"), 0);
	assert_int_equal(o.ttl_us, 86400ull * 1000000);
	assert_int_equal(options_duration("--x", "7d", &n, NULL), 0);
	assert_int_equal(n, 7 * 86400ull * 1000000);
	assert_int_equal(options_duration("--x", "250ms", &n, NULL), 0);
	assert_int_equal(n, 250000);
	assert_int_equal(options_bytes("--x", "1000", &n, NULL), 0);
	assert_int_equal(n, 1000);
	assert_int_equal(options_bytes("--x", "2G", &n, NULL), 0);
	assert_int_equal(n, 2ull << 30);
}

static void words(void **state)
{
	struct options o;
	(void)state;
	assert_int_equal(PARSE(&o, NULL, "delete", "abcdef", "--dir", "/x"), 0);
	assert_int_equal(o.n_words, 2);
	assert_string_equal(o.words[1], "abcdef");
	assert_int_equal(PARSE(&o, NULL, "a", "b", "c"), -EINVAL);
	options_done(&last);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(addresses),
	cmocka_unit_test(wrong),
	cmocka_unit_test(times_and_sizes),
	cmocka_unit_test(words),
};
RUN_TESTS(tests)
