/* What store.h promises, asked of every engine: ours on a real disk, and an external etcd, which is the oracle. */
#include <errno.h>
#include <inttypes.h>

#include "tests/support/store/contract.h"
#include "tests/support/tap.h"

static struct ct ours, etcd;

static int setup(struct ct *c, void **state)
{
	if (!c->env)
		ct_init(c, c == &etcd);
	ct_open(c);
	*state = c;
	return 0;
}

static int setup_ours(void **state)
{
	return setup(&ours, state);
}

static int setup_etcd(void **state)
{
	return setup(&etcd, state);
}

static int teardown(void **state)
{
	ct_close(*state);
	return 0;
}

static struct store_range_req all(const struct ct *c)
{
	static char end[32];
	snprintf(end, sizeof(end), "%.*s0", (int)strlen(c->key) - 1, c->key);
	return (struct store_range_req){.key = c->key, .end = end};
}

static struct store_watch_req watch_all(const struct ct *c, uint64_t start)
{
	struct store_range_req r = all(c);
	return (struct store_watch_req){.key = r.key, .end = r.end, .start_rev = start};
}

/* ---- values and revisions ---- */

static void put_get_delete(void **state)
{
	struct ct *c = *state;
	const char *key = ct_key(c, "a");
	uint64_t base = ct_rev(c);
	assert_true(base >= 1);
	const struct ct_answer *a = ct_put(c, key, "1");
	assert_int_equal(a->err.code, 0);
	assert_true(a->succeeded);
	assert_int_equal(a->rev, base + 1);
	assert_int_equal(a->n_prev, 1);
	assert_string_equal(a->prev[0].key, key);
	assert_null(a->prev[0].value);
	a = ct_put(c, key, "2");
	assert_int_equal(a->rev, base + 2);
	assert_string_equal(a->prev[0].value, "1");
	assert_int_equal(a->prev[0].mod_rev, base + 1);
	a = ct_get(c, key, 0);
	assert_int_equal(a->n_kvs, 1);
	assert_int_equal(a->count, 1);
	assert_false(a->more);
	assert_string_equal(a->kvs[0].key, key);
	assert_string_equal(a->kvs[0].value, "2");
	assert_int_equal(a->kvs[0].create_rev, base + 1);
	assert_int_equal(a->kvs[0].mod_rev, base + 2);
	assert_int_equal(a->kvs[0].version, 2);
	assert_int_equal(a->kvs[0].lease, 0);
	a = ct_get(c, key, base + 1);
	assert_string_equal(a->kvs[0].value, "1");
	assert_int_equal(a->rev, base + 1);
	assert_int_equal(ct_get(c, key, base)->n_kvs, 0);
	a = ct_delete(c, key);
	assert_int_equal(a->rev, base + 3);
	assert_string_equal(a->prev[0].value, "2");
	a = ct_get(c, key, 0);
	assert_int_equal(a->n_kvs, 0);
	assert_int_equal(a->count, 0);
	assert_int_equal(a->rev, base + 3);
	assert_int_equal(ct_get(c, key, base + 2)->n_kvs, 1);
	a = ct_delete(c, key); /* nothing happens, no revision */
	assert_int_equal(a->rev, base + 3);
	assert_int_equal(a->n_prev, 1);
	assert_null(a->prev[0].value);
	ct_put(c, key, "3"); /* a new life */
	a = ct_get(c, key, 0);
	assert_int_equal(a->kvs[0].create_rev, base + 4);
	assert_int_equal(a->kvs[0].version, 1);
	assert_int_equal(ct_get(c, key, base + 5)->err.code, -ERANGE);
}

static void values_are_any_bytes(void **state)
{
	struct ct *c = *state;
	static const size_t sizes[] = {0, 1, 2, 3, 255, 256, 4096, 1u << 20, (3u << 20) - 1, 3u << 20};
	const char *key = ct_key(c, "bytes");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		_cleanup_blob_ struct blob *b = blob_alloc(sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			b->data[k] = (char)((k * 7 + k / 256) ^ i);
		struct store_op ops[] = {{.type = STORE_PUT, .key = key, .value = b}, {.type = STORE_GET, .key = key}};
		const struct ct_answer *a = ct_txn(c, &(struct store_txn_req){.then_ops = ops, .n_then = 2});
		assert_int_equal(a->err.code, 0);
		assert_int_equal(a->n_prev, 1);
		assert_int_equal(a->prev[0].value != NULL, i > 0);
		if (i)
			assert_int_equal(a->prev[0].len, sizes[i - 1]);
		assert_int_equal(a->n_kvs, 1);
		assert_int_equal(a->kvs[0].len, sizes[i]);
		assert_memory_equal(a->kvs[0].value, b->data, sizes[i]);
		a = ct_get(c, key, 0);
		assert_int_equal(a->kvs[0].len, sizes[i]);
		assert_memory_equal(a->kvs[0].value, b->data, sizes[i]);
	}
}

static void keys_are_any_bytes(void **state)
{
	struct ct *c = *state;
	char key[3] = "", name[16] = "";
	struct ct_watch w = {0};
	uint64_t base = ct_rev(c);
	struct store_watch_req wr = watch_all(c, 0);
	ct_watch(&w, c, &wr, base);
	for (int i = 255; i >= 1; i--) {
		key[0] = (char)i;
		key[1] = 'x';
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(ct_put(c, ct_key(c, key), name)->err.code, 0);
	}
	struct store_range_req q = all(c);
	const struct ct_answer *a = ct_range(c, &q);
	assert_int_equal(a->n_kvs, 255);
	for (int i = 1; i <= 255; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal((unsigned char)a->kvs[i - 1].key[strlen(c->key)], i);
		assert_string_equal(a->kvs[i - 1].value, name);
	}
	ct_watch_await(&w, 255);
	ct_watch_done(&w);
	q.key = ct_key(c, "\x80");
	q.end = ct_key(c, "\xfe");
	assert_int_equal(ct_range(c, &q)->count, 0xfe - 0x80);
}

static void bounds(void **state)
{
	struct ct *c = *state;
	_cleanup_blob_ struct blob *big = blob_alloc((3u << 20) + 1), *v = blob_new("v", 1);
	memset(big->data, 'x', big->len);
	_cleanup_free_ char *key = xmalloc(5001);
	memset(key, 'k', 5000);
	key[5000] = '\0';
	uint64_t base = ct_rev(c);
	struct store_op op = {.type = STORE_PUT, .key = "a", .value = big};
	struct store_txn_req t = {.then_ops = &op, .n_then = 1};
	assert_int_equal(ct_txn(c, &t)->err.code, -EFBIG);
	op = (struct store_op){.type = STORE_PUT, .key = key, .value = v};
	assert_int_equal(ct_txn(c, &t)->err.code, -EFBIG);
	op.key = "";
	assert_int_equal(ct_txn(c, &t)->err.code, -EINVAL);
	op = (struct store_op){.type = STORE_PUT, .key = ct_key(c, "a"), .value = v, .lease = 4711};
	assert_int_equal(ct_txn(c, &t)->err.code, -ENOENT);
	struct store_op twice[] = {{.type = STORE_PUT, .key = "a", .value = v},
				   {.type = STORE_PUT, .key = "a", .value = v}};
	assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = twice, .n_then = 2})->err.code, -EINVAL);
	twice[1] = (struct store_op){.type = STORE_DELETE_RANGE, .key = "", .end = ""};
	assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = twice, .n_then = 2})->err.code, -EINVAL);
	struct store_op many[129];
	for (size_t i = 0; i < 129; i++)
		many[i] = (struct store_op){.type = STORE_GET, .key = "a"};
	assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = many, .n_then = 129})->err.code, -EFBIG);
	assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = many, .n_then = 128})->n_kvs, 128);
	assert_int_equal(ct_rev(c), base);
}

/* ---- ranges ---- */

static void ranges(void **state)
{
	struct ct *c = *state;
	char name[32];
	uint64_t base = ct_rev(c);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "p/%02d", (i * 37) % 50);
		ct_put(c, ct_key(c, name), "v");
	}
	ct_put(c, ct_key(c, "q"), "v");
	const char *key = ct_key(c, "p/");
	_cleanup_free_ char *end = store_prefix_end(key);
	struct store_range_req q = {.key = key, .end = end};
	const struct ct_answer *a = ct_range(c, &q);
	assert_int_equal(a->n_kvs, 50);
	assert_int_equal(a->count, 50);
	assert_int_equal(a->rev, base + 51);
	assert_false(a->more);
	for (size_t i = 1; i < 50; i++)
		assert_true(strcmp(a->kvs[i - 1].key, a->kvs[i].key) < 0);
	q.limit = 7;
	a = ct_range(c, &q);
	assert_int_equal(a->n_kvs, 7);
	assert_int_equal(a->count, 50);
	assert_true(a->more);
	q.limit = 50;
	assert_false(ct_range(c, &q)->more);
	q = (struct store_range_req){.key = ct_key(c, "p/06\1"), .end = end, .limit = 7, .keys_only = true};
	a = ct_range(c, &q);
	assert_string_equal(a->kvs[0].key, ct_key(c, "p/07"));
	assert_null(a->kvs[0].value);
	assert_true(a->kvs[0].mod_rev > base);
	assert_int_equal(a->count, 43);
	q = (struct store_range_req){.key = key, .end = end, .count_only = true};
	a = ct_range(c, &q);
	assert_int_equal(a->n_kvs, 0);
	assert_int_equal(a->count, 50);
	assert_false(a->more);
	q = (struct store_range_req){.key = key, .end = end, .rev = base + 10, .limit = 4};
	a = ct_range(c, &q);
	assert_int_equal(a->n_kvs, 4);
	assert_int_equal(a->count, 10);
	assert_int_equal(a->rev, base + 10);
	assert_true(a->more);
	q.serializable = true;
	assert_int_equal(ct_range(c, &q)->n_kvs, 4);
	q = (struct store_range_req){.key = end, .end = key};
	assert_int_equal(ct_range(c, &q)->n_kvs, 0);
	q = (struct store_range_req){.key = ct_key(c, "q"), .end = ""}; /* to the end of the space */
	a = ct_range(c, &q);
	assert_string_equal(a->kvs[0].key, ct_key(c, "q"));
	q = (struct store_range_req){.key = "", .end = ""};
	assert_true(ct_range(c, &q)->count >= 51);
}

/* Larger than any page, and while others write. */
static void large_ranges(void **state)
{
	struct ct *c = *state;
	enum { TXNS = 30, EACH = 100 };
	_cleanup_blob_ struct blob *v = blob_alloc(3000);
	memset(v->data, 'v', v->len);
	static char keys[EACH][64];
	struct store_op ops[EACH];
	uint64_t base = ct_rev(c);
	for (unsigned i = 0; i < TXNS; i++) {
		for (unsigned k = 0; k < EACH; k++) {
			snprintf(keys[k], sizeof(keys[k]), "%s%05u", c->key, k * TXNS + i);
			ops[k] = (struct store_op){.type = STORE_PUT, .key = keys[k], .value = v};
		}
		assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = ops, .n_then = EACH})->err.code, 0);
	}
	struct store_range_req q = all(c);
	struct ct_answer big = {0}, put = {0};
	store_range(c->store, &q, ct_on_range, &big);
	for (unsigned i = 0; !big.done; i++) {
		struct store_op op = {.type = STORE_PUT, .key = ct_key(c, i % 2 ? "zzz" : "000"), .value = v};
		ct_answer_done(&put);
		store_txn(c->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, ct_on_txn, &put);
		ct_await(c, &put.done);
	}
	assert_int_equal(big.err.code, 0);
	/* as of one revision, whichever */
	uint64_t extra = big.rev - base - TXNS;
	assert_int_equal(big.n_kvs, TXNS * EACH + MIN(extra, 2));
	assert_int_equal(big.count, big.n_kvs);
	assert_false(big.more);
	for (size_t i = 0; i < big.n_kvs; i++) {
		assert_true(big.kvs[i].mod_rev <= big.rev);
		assert_int_equal(big.kvs[i].len, 3000);
		assert_true(!i || strcmp(big.kvs[i - 1].key, big.kvs[i].key) < 0);
	}
	ct_answer_done(&big);
	ct_answer_done(&put);
	q.limit = 2500;
	const struct ct_answer *a = ct_range(c, &q);
	assert_int_equal(a->n_kvs, 2500);
	assert_true(a->more);
	q = all(c);
	q.rev = base + 3;
	assert_int_equal(ct_range(c, &q)->n_kvs, 3 * EACH);
}

/* ---- transactions ---- */

static void txn_compares(void **state)
{
	struct ct *c = *state;
	_cleanup_blob_ struct blob *x = blob_new("x", 1), *y = blob_new("y", 1), *none = blob_new("", 0),
				   *xx = blob_new("xx", 2), *far = blob_new("\xff", 1), *low = blob_new("\0", 1);
	const char *key = ct_key(c, "k"), *absent = ct_key(c, "absent");
	struct store_op get = {.type = STORE_GET, .key = key};
	ct_put(c, key, "x");
	uint64_t created = ct_rev(c), now = ct_put(c, key, "x")->rev;
	const struct {
		const char *key;
		enum store_cmp_target target;
		enum store_cmp_op op;
		uint64_t number;
		const struct blob *value;
		bool holds;
	} cases[] = {
		{key, STORE_CMP_MOD_REV, STORE_EQ, now, NULL, true},
		{key, STORE_CMP_MOD_REV, STORE_EQ, created, NULL, false},
		{key, STORE_CMP_MOD_REV, STORE_NE, now, NULL, false},
		{key, STORE_CMP_MOD_REV, STORE_NE, created, NULL, true},
		{key, STORE_CMP_MOD_REV, STORE_LT, now + 1, NULL, true},
		{key, STORE_CMP_MOD_REV, STORE_LT, now, NULL, false},
		{key, STORE_CMP_MOD_REV, STORE_GT, created, NULL, true},
		{key, STORE_CMP_MOD_REV, STORE_GT, now, NULL, false},
		{key, STORE_CMP_MOD_REV, STORE_EQ, 0, NULL, false},
		{key, STORE_CMP_CREATE_REV, STORE_EQ, created, NULL, true},
		{key, STORE_CMP_CREATE_REV, STORE_NE, created, NULL, false},
		{key, STORE_CMP_CREATE_REV, STORE_LT, created, NULL, false},
		{key, STORE_CMP_CREATE_REV, STORE_GT, created - 1, NULL, true},
		{key, STORE_CMP_VERSION, STORE_EQ, 2, NULL, true},
		{key, STORE_CMP_VERSION, STORE_NE, 1, NULL, true},
		{key, STORE_CMP_VERSION, STORE_LT, 2, NULL, false},
		{key, STORE_CMP_VERSION, STORE_GT, 1, NULL, true},
		{key, STORE_CMP_VALUE, STORE_EQ, 0, x, true},
		{key, STORE_CMP_VALUE, STORE_EQ, 0, xx, false},
		{key, STORE_CMP_VALUE, STORE_NE, 0, y, true},
		{key, STORE_CMP_VALUE, STORE_LT, 0, xx, true},
		{key, STORE_CMP_VALUE, STORE_LT, 0, x, false},
		{key, STORE_CMP_VALUE, STORE_GT, 0, none, true},
		{key, STORE_CMP_VALUE, STORE_GT, 0, y, false},
		{key, STORE_CMP_VALUE, STORE_LT, 0, far, true}, /* not by one alone */
		{key, STORE_CMP_VALUE, STORE_GT, 0, far, false},
		{key, STORE_CMP_VALUE, STORE_GT, 0, low, true},
		{key, STORE_CMP_VALUE, STORE_LT, 0, low, false},
		{absent, STORE_CMP_MOD_REV, STORE_EQ, 0, NULL, true},
		{absent, STORE_CMP_CREATE_REV, STORE_EQ, 0, NULL, true},
		{absent, STORE_CMP_VERSION, STORE_EQ, 0, NULL, true},
		{absent, STORE_CMP_VERSION, STORE_GT, 0, NULL, false},
		{absent, STORE_CMP_MOD_REV, STORE_LT, 1, NULL, true},
		{absent, STORE_CMP_VALUE, STORE_EQ, 0, none, false},
		{absent, STORE_CMP_VALUE, STORE_NE, 0, x, false},
		{absent, STORE_CMP_VALUE, STORE_LT, 0, x, false},
		{absent, STORE_CMP_VALUE, STORE_GT, 0, none, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_cmp cmp = {cases[i].key, cases[i].target, cases[i].op, cases[i].number, cases[i].value};
		struct store_txn_req t = {.compares = &cmp, .n_compares = 1, .then_ops = &get, .n_then = 1};
		const struct ct_answer *a = ct_txn(c, &t);
		assert_int_equal(a->err.code, 0);
		if (a->succeeded != cases[i].holds)
			fail_msg("compare %zu", i);
		assert_int_equal(a->n_kvs, cases[i].holds);
		assert_int_equal(a->rev, now);
	}
}

static void txn_else(void **state)
{
	struct ct *c = *state;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	const char *key = ct_key(c, "k"), *other = ct_key(c, "other");
	struct store_op put = {.type = STORE_PUT, .key = key, .value = v};
	struct store_op otherwise[] = {{.type = STORE_GET, .key = key}, {.type = STORE_PUT, .key = other, .value = v}};
	struct store_cmp cmps[] = {{.key = key, .target = STORE_CMP_MOD_REV, .op = STORE_EQ},
				   {.key = other, .target = STORE_CMP_VERSION, .op = STORE_EQ}};
	struct store_txn_req t = {
		.compares = cmps, .n_compares = 2, .then_ops = &put, .n_then = 1, .else_ops = otherwise, .n_else = 2};
	uint64_t base = ct_rev(c);
	assert_true(ct_txn(c, &t)->succeeded);
	const struct ct_answer *a = ct_txn(c, &t);
	assert_false(a->succeeded);
	assert_int_equal(a->rev, base + 2);
	assert_string_equal(a->kvs[0].value, "v");
	assert_int_equal(a->kvs[0].mod_rev, base + 1);
	assert_int_equal(a->n_prev, 1);
	assert_string_equal(a->prev[0].key, other);
	t.n_else = 0; /* nothing to do otherwise */
	a = ct_txn(c, &t);
	assert_false(a->succeeded);
	assert_int_equal(a->rev, base + 2);
	assert_int_equal(a->n_kvs + a->n_prev, 0);
	a = ct_txn(c, &(struct store_txn_req){0}); /* nothing at all */
	assert_int_equal(a->err.code, 0);
	assert_true(a->succeeded);
	assert_int_equal(a->rev, base + 2);
}

static void txn_is_one_revision(void **state)
{
	struct ct *c = *state;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	struct ct_watch w = {0};
	uint64_t base = ct_rev(c);
	struct store_watch_req wr = watch_all(c, 0);
	ct_watch(&w, c, &wr, base);
	const char *c1 = ct_key(c, "c/1"), *c2 = ct_key(c, "c/2");
	ct_put(c, c1, "old");
	ct_put(c, c2, "older");
	struct store_op ops[] = {{.type = STORE_PUT, .key = ct_key(c, "b"), .value = v},
				 {.type = STORE_DELETE_RANGE, .key = ct_key(c, "c/"), .end = ct_key(c, "c0")},
				 {.type = STORE_GET, .key = c1},
				 {.type = STORE_DELETE, .key = ct_key(c, "d")},
				 {.type = STORE_DELETE_RANGE, .key = ct_key(c, "e"), .end = ct_key(c, "f")},
				 {.type = STORE_PUT, .key = ct_key(c, "a"), .value = v},
				 {.type = STORE_GET, .key = ct_key(c, "a")}};
	const struct ct_answer *a = ct_txn(c, &(struct store_txn_req){.then_ops = ops, .n_then = ARRAY_LEN(ops)});
	assert_int_equal(a->err.code, 0);
	assert_int_equal(a->rev, base + 3);
	assert_int_equal(a->n_prev, 5);
	assert_null(a->prev[0].value);
	assert_string_equal(a->prev[1].key, c1);
	assert_string_equal(a->prev[1].value, "old");
	assert_string_equal(a->prev[2].value, "older");
	assert_string_equal(a->prev[3].key, ops[3].key);
	assert_null(a->prev[3].value);
	assert_null(a->prev[4].value);
	assert_int_equal(a->n_kvs, 2);
	assert_string_equal(a->kvs[0].key, c1);
	assert_null(a->kvs[0].value); /* what came before it in the transaction is seen */
	assert_string_equal(a->kvs[1].value, "v");
	assert_int_equal(a->kvs[1].mod_rev, base + 3);
	ct_watch_await(&w, 6);
	assert_string_equal(buf_str(&w.log), "1:+c/1=old 2:+c/2=older 3:+b=v-c/1(old)-c/2(older)+a=v ");
	ct_watch_done(&w);
}

static void delete_range_of_many(void **state)
{
	struct ct *c = *state;
	enum { N = 300 };
	char name[32];
	uint64_t base = ct_rev(c);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		ct_put(c, ct_key(c, name), name);
	}
	struct store_range_req q = all(c);
	struct store_op op = {.type = STORE_DELETE_RANGE, .key = q.key, .end = q.end};
	const struct ct_answer *a = ct_txn(c, &(struct store_txn_req){.then_ops = &op, .n_then = 1});
	assert_int_equal(a->rev, base + N + 1);
	assert_int_equal(a->n_prev, N);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "%03d", i);
		assert_string_equal(a->prev[i].value, name);
	}
	assert_int_equal(ct_range(c, &q)->n_kvs, 0);
	q.rev = base + N;
	assert_int_equal(ct_range(c, &q)->n_kvs, N);
	struct ct_watch w = {0};
	struct store_watch_req wr = watch_all(c, base + N + 1);
	ct_watch(&w, c, &wr, base);
	ct_watch_await(&w, N);
	assert_int_equal(w.n_events, N); /* one revision: one callback */
	ct_watch_done(&w);
}

/* Fifty clients raise one number by compare and swap: none is lost, none counts twice. */
struct adder {
	struct ct *c;
	const char *key;
	unsigned left;
	unsigned *running;
	uint64_t rev;
	unsigned value;
};

static void add_one(struct adder *a);

static void on_read(void *arg, const struct err *err, const struct store_range_resp *r)
{
	struct adder *a = arg;
	assert_null(err && err->code ? err : NULL);
	a->value = r->n_kvs ? (unsigned)atoi(r->kvs[0].value->data) : 0;
	a->rev = r->n_kvs ? r->kvs[0].mod_rev : 0;
	add_one(a);
}

static void on_added(void *arg, const struct err *err, const struct store_txn_resp *r)
{
	struct adder *a = arg;
	assert_null(err && err->code ? err : NULL);
	a->left -= r->succeeded;
	if (a->left)
		store_range(a->c->store, &(struct store_range_req){.key = a->key}, on_read, a);
	else
		--*a->running;
}

static void add_one(struct adder *a)
{
	char text[16];
	snprintf(text, sizeof(text), "%u", a->value + 1);
	_cleanup_blob_ struct blob *b = blob_new(text, strlen(text));
	struct store_op op = {.type = STORE_PUT, .key = a->key, .value = b};
	struct store_cmp cmp = {.key = a->key, .target = STORE_CMP_MOD_REV, .op = STORE_EQ, .number = a->rev};
	store_txn(a->c->store, &(struct store_txn_req){.compares = &cmp, .n_compares = 1, .then_ops = &op, .n_then = 1},
		  on_added, a);
}

static void compare_and_swap_races(void **state)
{
	struct ct *c = *state;
	enum { CLIENTS = 12, TIMES = 5 };
	struct adder adders[CLIENTS];
	unsigned running = CLIENTS;
	const char *key = ct_key(c, "sum");
	for (unsigned i = 0; i < CLIENTS; i++) {
		adders[i] = (struct adder){.c = c, .key = key, .left = TIMES, .running = &running};
		store_range(c->store, &(struct store_range_req){.key = key}, on_read, &adders[i]);
	}
	while (running)
		uv_run(&c->loop, UV_RUN_ONCE);
	char sum[16];
	snprintf(sum, sizeof(sum), "%d", CLIENTS * TIMES);
	const struct ct_answer *a = ct_get(c, key, 0);
	assert_string_equal(a->kvs[0].value, sum);
	assert_int_equal(a->kvs[0].version, CLIENTS * TIMES);
}

/* ---- watches ---- */

static void watch_from_past_now_and_future(void **state)
{
	struct ct *c = *state;
	const char *a1 = ct_key(c, "a/1"), *a2 = ct_key(c, "a/2"), *b = ct_key(c, "b");
	uint64_t base = ct_rev(c);
	ct_put(c, a1, "1");
	ct_put(c, b, "x");
	ct_put(c, a1, "2");
	ct_delete(c, a1);
	ct_put(c, a2, "3"); /* + 5 */
	struct ct_watch past = {0}, one = {0}, now = {0}, future = {0};
	struct store_watch_req r = {.key = ct_key(c, "a/"), .end = ct_key(c, "a0"), .start_rev = base + 2};
	ct_watch(&past, c, &r, base);
	ct_watch(&one, c, &(struct store_watch_req){.key = b, .start_rev = base + 1}, base);
	r = watch_all(c, 0);
	ct_watch(&now, c, &r, base);
	r.start_rev = base + 7;
	ct_watch(&future, c, &r, base);
	ct_put(c, a2, "4");
	ct_put(c, a2, "5");
	ct_watch_await(&past, 5);
	ct_watch_await(&one, 1);
	ct_watch_await(&now, 2);
	ct_watch_await(&future, 1);
	assert_string_equal(buf_str(&past.log), "3:+a/1=2(1) 4:-a/1(2) 5:+a/2=3 6:+a/2=4(3) 7:+a/2=5(4) ");
	assert_string_equal(buf_str(&one.log), "2:+b=x ");
	assert_string_equal(buf_str(&now.log), "6:+a/2=4(3) 7:+a/2=5(4) ");
	assert_string_equal(buf_str(&future.log), "7:+a/2=5(4) ");
	ct_watch_done(&past);
	ct_watch_done(&one);
	ct_watch_done(&now);
	ct_watch_done(&future);
	/* after a restart the same comes from the disk, then goes on */
	ct_close(c);
	unsigned tests = c->tests;
	char key[32];
	memcpy(key, c->key, sizeof(key));
	ct_open(c);
	c->tests = tests;
	memcpy(c->key, key, sizeof(key));
	struct ct_watch again = {0};
	r = (struct store_watch_req){.key = c->key, .end = all(c).end, .start_rev = base + 3};
	ct_watch(&again, c, &r, base);
	ct_watch_await(&again, 5);
	ct_put(c, b, "y");
	ct_watch_await(&again, 6);
	assert_string_equal(buf_str(&again.log), "3:+a/1=2(1) 4:-a/1(2) 5:+a/2=3 6:+a/2=4(3) 7:+a/2=5(4) 8:+b=y(x) ");
	ct_watch_done(&again);
}

static void watch_over_many(void **state)
{
	struct ct *c = *state;
	enum { N = 3000 };
	static char keys[100][64];
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	uint64_t base = ct_rev(c);
	struct ct_answer puts[50] = {0};
	for (unsigned i = 0; i < N; i += 50) {
		for (unsigned k = 0; k < 50; k++) {
			snprintf(keys[k], sizeof(keys[k]), "%s%u", c->key, (i + k) % 700);
			struct store_op op = {.type = STORE_PUT, .key = keys[k], .value = v};
			store_txn(c->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, ct_on_txn, &puts[k]);
		}
		for (unsigned k = 0; k < 50; k++) {
			ct_await(c, &puts[k].done);
			assert_int_equal(puts[k].err.code, 0);
			ct_answer_done(&puts[k]);
		}
	}
	ct_close(c); /* nothing is in memory any more */
	unsigned tests = --c->tests;
	ct_open(c);
	assert_int_equal(c->tests, tests + 1);
	struct ct_watch w[3] = {0};
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		struct store_watch_req r = watch_all(c, base + 1 + i * 1000);
		ct_watch(&w[i], c, &r, base);
	}
	for (int i = 0; i < 50; i++)
		ct_put(c, ct_key(c, "meanwhile"), "x");
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		ct_watch_await(&w[i], N + 50 - i * 1000);
		assert_int_equal(w[i].last_rev, base + N + 50);
		assert_int_equal(w[i].n_events, N + 50 - i * 1000);
		ct_watch_done(&w[i]);
	}
}

static void watch_pauses(void **state)
{
	struct ct *c = *state;
	const char *key = ct_key(c, "a");
	uint64_t base = ct_rev(c);
	struct ct_watch w = {0}, slow = {0}, live = {0};
	ct_watch(&w, c, &(struct store_watch_req){.key = key}, base);
	ct_watch(&slow, c, &(struct store_watch_req){.key = key, .max_pending = 2}, base);
	ct_watch(&live, c, &(struct store_watch_req){.key = key}, base);
	c->store->engine->watch_pause(c->store, w.watch, true);
	c->store->engine->watch_pause(c->store, slow.watch, true);
	ct_put(c, key, "1");
	ct_put(c, ct_key(c, "elsewhere"), "x");
	ct_put(c, key, "2");
	ct_watch_await(&live, 2);
	ct_run_for(c, 20);
	assert_false(slow.ended);
	ct_put(c, key, "3");
	ct_await(c, &slow.ended);
	assert_int_equal(slow.end_code, -EOVERFLOW);
	assert_string_equal(buf_str(&w.log), "");
	assert_string_equal(buf_str(&slow.log), "");
	c->store->engine->watch_pause(c->store, w.watch, false);
	ct_watch_await(&w, 3);
	assert_string_equal(buf_str(&w.log), "1:+a=1 3:+a=2(1) 4:+a=3(2) ");
	ct_put(c, key, "4");
	ct_watch_await(&w, 4);
	ct_watch_done(&w);
	ct_watch_done(&slow);
	ct_watch_done(&live);
}

static void watch_ends_itself(void **state)
{
	struct ct *c = *state;
	const char *key = ct_key(c, "a");
	uint64_t base = ct_rev(c);
	struct ct_watch w = {.stop_after_first = true}, other = {0};
	ct_watch(&w, c, &(struct store_watch_req){.key = key}, base);
	ct_watch(&other, c, &(struct store_watch_req){.key = key}, base);
	ct_put(c, key, "1");
	ct_put(c, key, "2");
	ct_watch_await(&other, 2);
	assert_string_equal(buf_str(&w.log), "1:+a=1 ");
	assert_string_equal(buf_str(&other.log), "1:+a=1 2:+a=2(1) ");
	ct_watch_done(&w);
	ct_watch_done(&other);
}

static void watch_progress(void **state)
{
	struct ct *c = *state;
	struct ct_watch w = {0};
	uint64_t base = ct_rev(c);
	ct_watch(&w, c, &(struct store_watch_req){.key = ct_key(c, "a"), .progress_us = 100000}, base);
	ct_put(c, ct_key(c, "b"), "elsewhere");
	while (w.progress < base + 1)
		ct_watch_await(&w, 0);
	assert_int_equal(w.progress, base + 1);
	ct_put(c, ct_key(c, "a"), "here");
	while (w.progress < base + 2)
		ct_watch_await(&w, 0);
	assert_string_equal(buf_str(&w.log), "2:+a=here ");
	ct_watch_done(&w);
}

/* A large transaction is one callback, however the engine's parts pass it on. */
static void watch_of_a_large_revision(void **state)
{
	struct ct *c = *state;
	enum { N = 60 };
	static char keys[N][64];
	_cleanup_blob_ struct blob *v = blob_alloc(60000);
	memset(v->data, 'v', v->len);
	struct store_op ops[N];
	uint64_t base = ct_rev(c);
	struct ct_watch w = {0}, late = {0};
	struct store_watch_req r = watch_all(c, 0);
	ct_watch(&w, c, &r, base);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			snprintf(keys[i], sizeof(keys[i]), "%s%02u", c->key, i);
			ops[i] = (struct store_op){.type = STORE_PUT, .key = keys[i], .value = v};
		}
		assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = ops, .n_then = N})->err.code, 0);
	}
	ct_watch_await(&w, 2 * N);
	r.start_rev = base + 1;
	ct_watch(&late, c, &r, base);
	ct_watch_await(&late, 2 * N);
	assert_int_equal(w.last_rev, base + 2);
	assert_string_equal(buf_str(&w.log), buf_str(&late.log));
	unsigned callbacks = 0;
	for (const char *p = buf_str(&w.log); *p; p++)
		callbacks += *p == ' ';
	assert_int_equal(callbacks, 2);
	ct_watch_done(&w);
	ct_watch_done(&late);
}

/* ---- compaction ---- */

static void compaction(void **state)
{
	struct ct *c = *state;
	const char *a = ct_key(c, "a"), *b = ct_key(c, "b");
	uint64_t base = ct_rev(c);
	ct_put(c, a, "1");
	ct_put(c, a, "2");
	ct_put(c, b, "1");
	ct_delete(c, b); /* + 4 */
	ct_put(c, a, "3");
	assert_int_equal(ct_compact(c, base + 99)->err.code, -ERANGE);
	const struct ct_answer *r = ct_compact(c, base + 4);
	assert_int_equal(r->err.code, 0);
	assert_int_equal(r->number, base + 4);
	assert_int_equal(ct_compact(c, base + 4)->err.code, -ESTALE);
	assert_int_equal(ct_compact(c, base + 2)->err.code, -ESTALE);
	for (int reopened = 0; reopened < 2; reopened++) {
		assert_int_equal(ct_get(c, a, base + 3)->err.code, -ESTALE);
		assert_string_equal(ct_get(c, a, base + 4)->kvs[0].value, "2");
		assert_int_equal(ct_get(c, b, base + 4)->n_kvs, 0);
		assert_string_equal(ct_get(c, a, 0)->kvs[0].value, "3");
		struct ct_watch gone = {0}, at = {0}, ok = {0};
		ct_watch(&gone, c, &(struct store_watch_req){.key = a, .start_rev = base + 2}, base);
		ct_watch(&at, c, &(struct store_watch_req){.key = b, .start_rev = base + 4}, base);
		ct_watch(&ok, c, &(struct store_watch_req){.key = a, .start_rev = base + 5}, base);
		ct_await(c, &gone.ended);
		assert_int_equal(gone.end_code, -ESTALE);
		/* the deletion at the very revision is not there any more: better nothing than a part */
		ct_await(c, &at.ended);
		assert_int_equal(at.end_code, -ESTALE);
		ct_watch_await(&ok, 1);
		assert_string_equal(buf_str(&ok.log), "5:+a=3(2) ");
		ct_watch_done(&gone);
		ct_watch_done(&at);
		ct_watch_done(&ok);
		ct_close(c);
		c->tests--;
		ct_open(c);
	}
}

/* ---- leases ---- */

static void leases(void **state)
{
	struct ct *c = *state;
	const struct store_engine *g = c->store->engine;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	assert_int_equal(ct_lease(c, g->lease_grant, 0)->err.code, -EINVAL);
	assert_int_equal(ct_lease(c, g->lease_grant, 9000000001)->err.code, -EINVAL);
	uint64_t id = ct_lease(c, g->lease_grant, 60)->number, base = ct_rev(c);
	assert_true(id > 0);
	struct store_op ops[] = {{.type = STORE_PUT, .key = ct_key(c, "b"), .value = v, .lease = id},
				 {.type = STORE_PUT, .key = ct_key(c, "a"), .value = v, .lease = id},
				 {.type = STORE_PUT, .key = ct_key(c, "c"), .value = v, .lease = id}};
	assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = ops, .n_then = 3})->err.code, 0);
	assert_int_equal(ct_get(c, ops[0].key, 0)->kvs[0].lease, id);
	ct_put(c, ops[2].key, "its own now");
	assert_int_equal(ct_get(c, ops[2].key, 0)->kvs[0].lease, 0);
	assert_int_equal(ct_lease(c, g->lease_keepalive, id)->number, 60);
	struct ct_watch w = {0};
	struct store_watch_req r = watch_all(c, 0);
	ct_watch(&w, c, &r, base);
	const struct ct_answer *a = ct_lease(c, g->lease_revoke, id);
	assert_int_equal(a->err.code, 0);
	assert_int_equal(a->number, base + 3);
	ct_watch_await(&w, 2);
	assert_string_equal(buf_str(&w.log), "3:-a(v)-b(v) ");
	assert_int_equal(ct_lease(c, g->lease_keepalive, id)->err.code, -ENOENT);
	assert_int_equal(ct_lease(c, g->lease_revoke, id)->err.code, -ENOENT);
	assert_int_equal(ct_get(c, ops[2].key, 0)->n_kvs, 1);
	ct_watch_done(&w);
}

static void lease_expires(void **state)
{
	struct ct *c = *state;
	const struct store_engine *g = c->store->engine;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	uint64_t id = ct_lease(c, g->lease_grant, 2)->number, base = ct_rev(c);
	struct store_op op = {.type = STORE_PUT, .key = ct_key(c, "a"), .value = v, .lease = id};
	struct ct_watch w = {0};
	struct store_watch_req r = watch_all(c, 0);
	ct_watch(&w, c, &r, base);
	assert_int_equal(ct_txn(c, &(struct store_txn_req){.then_ops = &op, .n_then = 1})->err.code, 0);
	ct_watch_await(&w, 2);
	assert_string_equal(buf_str(&w.log), "1:+a=v 2:-a(v) ");
	assert_int_equal(ct_lease(c, g->lease_keepalive, id)->err.code, -ENOENT);
	ct_watch_done(&w);
}

/* ---- status, closing ---- */

static void status(void **state)
{
	struct ct *c = *state;
	uint64_t rev = ct_put(c, ct_key(c, "a"), "1")->rev;
	const struct ct_answer *a = ct_status(c);
	assert_int_equal(a->err.code, 0);
	assert_int_equal(a->status.rev, rev);
	assert_true(a->status.has_quorum);
	assert_false(a->status.read_only);
	assert_true(a->status.is_leader);
	assert_true(a->status.keys >= 1);
	assert_true(a->status.raft_term >= 1 && a->status.raft_index >= rev);
	assert_true(a->status.member_id && a->status.cluster_id);
	assert_string_equal(a->status.engine, c->etcd ? "etcd" : "mini");
}

static void closes_with_things_under_way(void **state)
{
	struct ct *c = *state;
	_cleanup_blob_ struct blob *v = blob_new("v", 1);
	struct ct_answer puts[20] = {0}, gets[20] = {0}, others[3] = {0};
	struct ct_watch w = {0};
	char name[8];
	struct store_watch_req r = watch_all(c, 0);
	ct_watch(&w, c, &r, 0);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%u", i);
		struct store_op op = {.type = STORE_PUT, .key = ct_key(c, name), .value = v};
		store_txn(c->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, ct_on_txn, &puts[i]);
		store_range(c->store, &(struct store_range_req){.key = ct_key(c, name)}, ct_on_range, &gets[i]);
	}
	c->store->engine->lease_grant(c->store, 100, ct_on_number, &others[0]);
	c->store->engine->status(c->store, ct_on_status, &others[1]);
	c->store->engine->compact(c->store, 1, ct_on_number, &others[2]);
	ct_close(c);
	assert_true(w.ended);
	assert_int_equal(w.end_code, -ECANCELED);
	ct_watch_done(&w);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(puts[i].calls, 1);
		assert_int_equal(gets[i].calls, 1);
		assert_true(puts[i].err.code == 0 || puts[i].err.code == -ECANCELED);
		assert_true(gets[i].err.code == 0 || gets[i].err.code == -ECANCELED);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(others[i].calls, 1);
	/* what was acknowledged is there */
	c->tests--;
	ct_open(c);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%u", i);
		if (!puts[i].err.code)
			assert_int_equal(ct_get(c, ct_key(c, name), 0)->n_kvs, 1);
		ct_answer_done(&puts[i]);
		ct_answer_done(&gets[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		ct_answer_done(&others[i]);
}

#define CONTRACT(T)                                                                                                    \
	T(put_get_delete), T(values_are_any_bytes), T(keys_are_any_bytes), T(bounds), T(ranges), T(large_ranges),      \
		T(txn_compares), T(txn_else), T(txn_is_one_revision), T(delete_range_of_many),                         \
		T(compare_and_swap_races), T(watch_from_past_now_and_future), T(watch_over_many), T(watch_pauses),     \
		T(watch_ends_itself), T(watch_progress), T(watch_of_a_large_revision), T(compaction), T(leases),       \
		T(lease_expires), T(status), T(closes_with_things_under_way)
#define OURS(f)                                                                                                        \
	{                                                                                                              \
		"ours: " #f, f, setup_ours, teardown, NULL                                                             \
	}
#define ETCD(f)                                                                                                        \
	{                                                                                                              \
		"etcd: " #f, f, setup_etcd, teardown, NULL                                                             \
	}

static void no_etcd(_unused_ void **state)
{
	skip();
}

int main(void)
{
	static const struct CMUnitTest both[] = {CONTRACT(OURS), CONTRACT(ETCD)};
	static const struct CMUnitTest one[] = {CONTRACT(OURS),
						{"etcd-server is not installed", no_etcd, NULL, NULL, NULL}};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	int failed = etcd_server_installed() ? cmocka_run_group_tests(both, NULL, NULL)
					     : cmocka_run_group_tests(one, NULL, NULL);
	ct_done(&ours);
	if (etcd.env)
		ct_done(&etcd);
	return failed;
}
