/* Commands: what goes into the log comes out of it, and nothing else is taken for one. */
#include <errno.h>

#include "store/cmd.h"
#include "tests/support/tap.h"

static void there_and_back(void **state)
{
	(void)state;
	_cleanup_blob_ struct blob *v = blob_new("value\0with a NUL", 16), *empty = blob_new("", 0);
	struct store_cmp compares[] = {
		{.key = "a", .target = STORE_CMP_MOD_REV, .op = STORE_EQ, .number = 1234567890123},
		{.key = "b", .target = STORE_CMP_VALUE, .op = STORE_GT, .value = v}};
	struct store_op then_ops[] = {{.type = STORE_PUT, .key = "k\xc3\xa4", .value = v, .lease = 77},
				      {.type = STORE_PUT, .key = "e", .value = empty},
				      {.type = STORE_DELETE, .key = "d"}};
	struct store_op else_ops[] = {{.type = STORE_DELETE_RANGE, .key = "", .end = ""},
				      {.type = STORE_GET, .key = "g"}};
	struct store_txn_req req = {.compares = compares,
				    .n_compares = 2,
				    .then_ops = then_ops,
				    .n_then = 3,
				    .else_ops = else_ops,
				    .n_else = 2};
	struct store_cmd made, read;
	assert_int_equal(store_cmd_from_txn(&made, &req, NULL), 0);
	assert_ptr_equal(made.txn.then_ops[0].value, v);
	assert_int_equal(store_cmd_decode(&read, made.bytes.data, made.bytes.len, NULL), 0);
	assert_int_equal(read.kind, CMD_TXN);
	assert_int_equal(read.txn.n_compares, 2);
	assert_int_equal(read.txn.compares[0].number, 1234567890123);
	assert_int_equal(read.txn.compares[1].value->len, 16);
	assert_int_equal(read.txn.n_then, 3);
	assert_string_equal(read.txn.then_ops[0].key, "k\xc3\xa4");
	assert_memory_equal(read.txn.then_ops[0].value->data, v->data, 17);
	assert_int_equal(read.txn.then_ops[0].lease, 77);
	assert_int_equal(read.txn.then_ops[1].value->len, 0);
	assert_null(read.txn.then_ops[2].value);
	assert_string_equal(read.txn.else_ops[0].end, "");
	/* every truncation is refused; every flipped byte is refused or another command, never read past the end */
	for (size_t n = 0; n < made.bytes.len; n++) {
		struct store_cmd cut;
		assert_int_equal(store_cmd_decode(&cut, made.bytes.data, n, NULL), -EPROTO);
	}
	for (size_t i = 0; i < made.bytes.len * 256; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		buf_add(&b, made.bytes.data, made.bytes.len);
		b.data[i / 256] = (char)(i % 256);
		struct store_cmd other;
		if (store_cmd_decode(&other, b.data, b.len, NULL) == 0)
			store_cmd_done(&other);
	}
	store_cmd_done(&made);
	store_cmd_done(&read);
}

static void newer_format(void **state)
{
	(void)state;
	struct store_cmd c, d;
	store_cmd_number(&c, CMD_COMPACT, 300);
	assert_int_equal(store_cmd_decode(&d, c.bytes.data, c.bytes.len, NULL), 0);
	assert_int_equal(d.number, 300);
	store_cmd_done(&d);
	c.bytes.data[0] = STORE_CMD_FORMAT + 1;
	struct err err = ERR_INIT;
	assert_int_equal(store_cmd_decode(&d, c.bytes.data, c.bytes.len, &err), -EPROTO);
	assert_non_null(strstr(err.message, "newer"));
	store_cmd_done(&c);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(newer_format)};
RUN_TESTS(tests)
