/* The etcd engine against servers that lie, break and stall; and its reader of JSON. */
#include <errno.h>

#include "store/etcd_json.h"
#include "tests/support/store/etcd_fake.h"
#include "tests/support/tap.h"

static const struct ct_answer *range(struct fake *f, struct ct_answer *a)
{
	ct_answer_done(a);
	store_range(f->ct.store, &(struct store_range_req){.key = "k", .end = "l"}, ct_on_range, a);
	ct_await(&f->ct, &a->done);
	return a;
}

static const struct ct_answer *put(struct fake *f, struct ct_answer *a)
{
	ct_answer_done(a);
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	struct store_op op = {.type = STORE_PUT, .key = "k", .value = v};
	store_txn(f->ct.store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, ct_on_txn, a);
	ct_await(&f->ct, &a->done);
	return a;
}

static int setup(void **state)
{
	struct fake *f = NEW(struct fake);
	fake_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fake_done(*state);
	free(*state);
	return 0;
}

/* ---- what is asked again, and what never ---- */

static void a_read_goes_to_the_next_server(void **state)
{
	struct fake *f = *state;
	struct ct_answer a = {0};
	f->servers[0].range = f->servers[1].range = FAKE_OK;
	fake_open(f, 2);
	assert_int_equal(range(f, &a)->err.code, 0);
	static const enum fake_does ways[] = {FAKE_CUT, FAKE_UNAVAILABLE, FAKE_GARBAGE, FAKE_NOT_ETCD};
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		f->servers[0].range = ways[i];
		f->servers[1].range = FAKE_OK;
		assert_int_equal(range(f, &a)->err.code, 0);
		f->servers[0].range = FAKE_OK;
		f->servers[1].range = ways[i];
		assert_int_equal(range(f, &a)->err.code, 0);
	}
	ct_answer_done(&a);
}

static void a_write_is_never_repeated(void **state)
{
	struct fake *f = *state;
	struct ct_answer a = {0};
	fake_open(f, 2);
	static const enum fake_does ways[] = {FAKE_CUT, FAKE_UNAVAILABLE, FAKE_GARBAGE, FAKE_OTHER_CLUSTER};
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		unsigned before = f->servers[0].writes + f->servers[1].writes;
		f->servers[0].txn = f->servers[1].txn = ways[i];
		put(f, &a);
		assert_int_equal(a.err.code, -ECANCELED);
		assert_int_equal(a.err.reason, ERR_TIMEOUT);
		assert_int_equal(f->servers[0].writes + f->servers[1].writes, before + 1);
	}
	f->servers[0].txn = f->servers[1].txn = FAKE_OK;
	assert_int_equal(put(f, &a)->err.code, 0);
	ct_answer_done(&a);
}

static void a_write_that_was_not_sent_goes_to_the_next_server(void **state)
{
	struct fake *f = *state;
	struct ct_answer a = {0};
	fake_open(f, 2);
	assert_int_equal(put(f, &a)->err.code, 0);
	fake_stop(f, 0);
	assert_int_equal(put(f, &a)->err.code, 0);
	assert_int_equal(put(f, &a)->err.code, 0);
	assert_int_equal(f->servers[0].writes + f->servers[1].writes, 3);
	fake_stop(f, 1);
	uint64_t start = env_now_us(f->ct.env);
	assert_int_equal(put(f, &a)->err.code, -EHOSTUNREACH);
	assert_int_equal(a.err.reason, ERR_SERVICE_UNAVAILABLE);
	assert_true(env_now_us(f->ct.env) - start > FAKE_WAIT_US / 2);
	ct_answer_done(&a);
}

static void errors_have_their_codes(void **state)
{
	struct fake *f = *state;
	struct ct_answer a = {0};
	static const struct {
		unsigned grpc;
		const char *text;
		int code;
	} cases[] = {
		{11, "etcdserver: mvcc: required revision has been compacted", -ESTALE},
		{11, "etcdserver: mvcc: required revision is a future revision", -ERANGE},
		{3, "etcdserver: request is too large", -EFBIG},
		{3, "etcdserver: duplicate key given in txn request", -EINVAL},
		{5, "etcdserver: requested lease not found", -ENOENT},
		{8, "etcdserver: mvcc: database space exceeded", -ENOSPC},
		{8, "etcdserver: too many requests", -EBUSY},
		{8, "grpc: received message larger than max (16000008 vs. 2097152)", -EFBIG},
		{7, "etcdserver: permission denied", -EACCES},
		{16, "etcdserver: invalid auth token", -EACCES},
		{12, "unknown service", -ENOTSUP},
	};
	fake_open(f, 1);
	f->servers[0].range = f->servers[0].txn = FAKE_ERROR;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		f->grpc = cases[i].grpc;
		f->text = cases[i].text;
		assert_int_equal(range(f, &a)->err.code, cases[i].code);
		assert_int_equal(put(f, &a)->err.code, cases[i].code);
	}
	ct_answer_done(&a);
}

static void another_cluster_is_not_believed(void **state)
{
	struct fake *f = *state;
	struct ct_answer a = {0};
	fake_open(f, 2);
	assert_int_equal(range(f, &a)->err.code, 0);
	f->servers[0].range = f->servers[1].range = FAKE_OTHER_CLUSTER;
	assert_int_equal(range(f, &a)->err.code, -EHOSTUNREACH);
	assert_non_null(strstr(a.err.message, "another etcd cluster"));
	ct_answer_done(&a);
}

/* ---- the stream ---- */

#define MSG(rest) "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"revision\":\"99\"}," rest "}}\n"
#define EVENT(key, value, rev)                                                                                         \
	"{\"kv\":{\"key\":\"" key "\",\"mod_revision\":\"" rev "\",\"create_revision\":\"6\",\"version\":\"1\","       \
	"\"value\":\"" value "\"}}"
/* /mini + k1, k2, k3 */
#define K1 "L21pbmlrMQ=="
#define K2 "L21pbmlrMg=="
#define K3 "L21pbmlrMw=="

static void revisions_are_put_together(void **state)
{
	struct fake *f = *state;
	struct ct_watch w = {0};
	fake_open(f, 1);
	ct_watch(&w, &f->ct, &(struct store_watch_req){.key = "k", .end = "l", .start_rev = 6}, 0);
	fake_await_stream(f, 6);
	/* a revision in two fragments, then two revisions in one message; one byte at a time */
	static const char all[] = MSG("\"created\":true")
		MSG("\"fragment\":true,\"events\":[" EVENT(K1, "YQ==", "6") "," EVENT(K2, "Yg==", "7") "]")
			MSG("\"fragment\":true,\"events\":[" EVENT(K1, "Yw==", "7") "]")
				MSG("\"events\":[" EVENT(K3, "ZA==", "7") "]") MSG("\"events\":[" EVENT(
					K1, "ZQ==", "8") ",{\"type\":\"DELETE\",\"kv\":{\"key\":\"" K2
							 "\",\"mod_revision\":\"9\"},\"prev_kv\":{\"key\":\"" K2
							 "\",\"mod_revision\":\"7\",\"value\":\"Yg==\"}}]");
	for (size_t i = 0; i + 1 < sizeof(all); i++) {
		http_write(f->servers[0].stream, all + i, 1);
		if (i % 64 == 0)
			ct_run_for(&f->ct, 1);
	}
	ct_watch_await(&w, 6);
	assert_string_equal(buf_str(&w.log), "6:+k1=a 7:+k2=b+k1=c+k3=d 8:+k1=e 9:-k2(b) ");
	ct_watch_done(&w);
}

static void a_broken_stream_is_resumed(void **state)
{
	struct fake *f = *state;
	struct ct_watch w = {0};
	fake_open(f, 2);
	ct_watch(&w, &f->ct, &(struct store_watch_req){.key = "k", .end = "l", .start_rev = 6}, 0);
	struct fake_server *s = fake_await_stream(f, 6);
	static const char first[] = MSG("\"created\":true") MSG("\"events\":[" EVENT(K1, "YQ==", "6") "]")
		MSG("\"fragment\":true,\"events\":[" EVENT(K2, "Yg==", "7") "]");
	http_write(s->stream, first, sizeof(first) - 1);
	ct_watch_await(&w, 1);
	http_abort(STEAL(s->stream));
	s = fake_await_stream(f, 7); /* of the revision that was not whole nothing was passed on */
	static const char second[] = MSG("\"created\":true") MSG("\"events\":[" EVENT(K1, "Yg==", "7") "]");
	http_write(s->stream, second, sizeof(second) - 1);
	ct_watch_await(&w, 2);
	static const char error[] = "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n";
	http_write(s->stream, error, sizeof(error) - 1);
	s = fake_await_stream(f, 8);
	http_write(s->stream, "no JSON", 7);
	s = fake_await_stream(f, 8);
	http_end(STEAL(s->stream));
	s = fake_await_stream(f, 8);
	static const char third[] = MSG("\"events\":[" EVENT(K3, "Yw==", "8") "]");
	http_write(s->stream, third, sizeof(third) - 1);
	ct_watch_await(&w, 3);
	assert_string_equal(buf_str(&w.log), "6:+k1=a 7:+k1=b 8:+k3=c ");
	ct_watch_done(&w);
}

static void what_was_compacted_meanwhile_ends_watches(void **state)
{
	struct fake *f = *state;
	struct ct_watch w = {0}, next = {0};
	fake_open(f, 1);
	ct_watch(&w, &f->ct, &(struct store_watch_req){.key = "k", .end = "l", .start_rev = 6}, 0);
	struct fake_server *s = fake_await_stream(f, 6);
	f->compacted = 20;
	f->rev = 30;
	http_abort(STEAL(s->stream));
	ct_await(&f->ct, &w.ended);
	assert_int_equal(w.end_code, -ESTALE);
	fake_await_stream(f, 31);
	ct_watch(&next, &f->ct, &(struct store_watch_req){.key = "k", .end = "l", .start_rev = 31}, 0);
	static const char more[] = MSG("\"events\":[" EVENT(K3, "Yw==", "31") "]");
	http_write(s->stream, more, sizeof(more) - 1);
	ct_watch_await(&next, 1);
	ct_watch_done(&w);
	ct_watch_done(&next);
}

/* ---- JSON ---- */

static const char sample[] =
	"{\"header\":{\"cluster_id\":\"14841639068965178418\",\"revision\":\"12\"},\"kvs\":[{\"key\":\"" K1 "\","
	"\"create_revision\":\"2\",\"mod_revision\":\"3\",\"version\":\"2\",\"value\":\"Mg==\"},"
	"{\"key\":\"Zm9yZWlnbg==\",\"value\":\"eA==\"},"
	"{\"key\":\"" K2 "\",\"mod_revision\":\"4\",\"lease\":\"7587862094\"}],\"more\":true,\"count\":\"2\","
	"\"unknown\":[1,-2.5e3,null,{\"a\":[[]]}],\"a name that is longer than any\":\"\\u00e9\\n\\\"\"}\n";

static void check_sample(struct etcd_msg *m)
{
	assert_true(m->whole);
	assert_true(m->cluster == 14841639068965178418ull);
	assert_int_equal(m->rev, 12);
	assert_true(m->more);
	assert_int_equal(m->count, 2);
	assert_int_equal(m->n_items, 2); /* a key that is not under the prefix is not ours */
	assert_string_equal(m->items[0].kv.key, "k1");
	assert_string_equal(m->items[0].kv.value->data, "2");
	assert_int_equal(m->items[0].kv.version, 2);
	assert_string_equal(m->items[1].kv.key, "k2");
	assert_int_equal(m->items[1].kv.lease, 7587862094);
}

static void json_in_pieces(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < sizeof(sample); piece++) {
		struct etcd_msg m;
		etcd_msg_init(&m, "/mini");
		for (size_t at = 0; at < sizeof(sample) - 2; at += piece) {
			size_t len = MIN(piece, sizeof(sample) - 2 - at);
			assert_int_equal(etcd_msg_feed(&m, sample + at, len), len);
		}
		check_sample(&m);
		etcd_msg_done(&m);
	}
}

static void json_that_is_none(void **state)
{
	(void)state;
	static const char *const bad[] = {"x",
					  "1",
					  "\"a\"",
					  "{]",
					  "{\"a\"}",
					  "{\"a\":}",
					  "{\"a\":1,}",
					  "[1 2]",
					  "{\"a\":\"\x01\"}",
					  "{\"a\":\"\\x\"}",
					  "{\"a\":\"\\u12g4\"}",
					  "{,}",
					  "[}",
					  "{\"a\":tru!",
					  "]",
					  "[[[[[[[[[[[[[[[[[[[[",
					  "{\"kvs\":[{\"key\":\"***\"}]}",
					  "{\"kvs\":[{\"key\":\"\",\"mod_revision\":\"x\"}]}",
					  "{\"kvs\":[{\"kv\":{\"kvs\":[{}]}}]}"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct etcd_msg m;
		etcd_msg_init(&m, "/mini");
		if (etcd_msg_feed(&m, bad[i], strlen(bad[i])) >= 0)
			fail_msg("taken: %s", bad[i]);
		etcd_msg_done(&m);
	}
	/* whatever is broken in the sample, it ends */
	uint32_t seed = 1;
	for (int round = 0; round < 20000; round++) {
		char text[sizeof(sample)];
		struct etcd_msg m;
		memcpy(text, sample, sizeof(sample));
		for (int k = 0; k < 3; k++) {
			seed = seed * 1664525 + 1013904223;
			text[(seed >> 8) % (sizeof(sample) - 1)] = sample[(seed >> 16) % (sizeof(sample) - 1)];
		}
		etcd_msg_init(&m, "/mini");
		for (size_t at = 0; at < sizeof(sample) - 1;) {
			ssize_t n = etcd_msg_feed(&m, text + at, sizeof(sample) - 1 - at);
			if (n <= 0)
				break;
			at += (size_t)n;
		}
		etcd_msg_done(&m);
	}
}

static void bad_configurations(void **state)
{
	(void)state;
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct env *env = env_uv_new(&loop);
	static const char *const servers[] = {"",
					      ",",
					      "127.0.0.1:2379",
					      "ftp://a:1",
					      "http://",
					      "http://a:0",
					      "http://a:65536",
					      "http://a:b",
					      "http://[::1:2379",
					      "http://[::1]2379",
					      "http://a:1/path",
					      "https://a:1",
					      "http://a:1,http://user@b:1"};
	for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
		struct store *s = NULL;
		_cleanup_err_ struct err err = ERR_INIT;
		struct store_etcd_config c = {.servers = servers[i]};
		if (store_etcd_open(env, &loop, &c, &s, &err) != -EINVAL || !*err.message)
			fail_msg("taken: %s", servers[i]);
	}
	env_uv_free(env);
	while (uv_loop_close(&loop) == UV_EBUSY)
		uv_run(&loop, UV_RUN_ONCE);
}

#define T(f)                                                                                                           \
	{                                                                                                              \
#f, f, setup, teardown, NULL                                                                           \
	}
static const struct CMUnitTest tests[] = {
	T(a_read_goes_to_the_next_server),
	T(a_write_is_never_repeated),
	T(a_write_that_was_not_sent_goes_to_the_next_server),
	T(errors_have_their_codes),
	T(another_cluster_is_not_believed),
	T(revisions_are_put_together),
	T(a_broken_stream_is_resumed),
	T(what_was_compacted_meanwhile_ends_watches),
	cmocka_unit_test(json_in_pieces),
	cmocka_unit_test(json_that_is_none),
	cmocka_unit_test(bad_configurations),
};
RUN_TESTS(tests)
