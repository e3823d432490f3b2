/* A snapshot's file: what is put in comes out, and every damage and every cut is told. */
#include <errno.h>
#include <unistd.h>

#include "lib/core/buf.h"
#include "lib/core/file.h"
#include "lib/core/snapshot_file.h"
#include "tests/support/tap.h"

#define DATA 3000u

static const struct snapshot_file_info wanted = {.cluster = 0x1122334455667788,
						 .rev = 41,
						 .index = 99,
						 .term = 7,
						 .keys = 12,
						 .data_bytes = DATA,
						 .time_us = 1700000000000000,
						 .program = "0.1.0"};

static void make(struct buf *b)
{
	uint8_t header[SNAPSHOT_FILE_HEADER], sum[SHA256_SIZE];
	snapshot_file_put_header(&wanted, header);
	buf_add(b, header, sizeof(header));
	for (unsigned i = 0; i < DATA; i++)
		buf_addc(b, (char)(i * 7 + i / 256));
	sha256(b->data, b->len, sum);
	buf_add(b, sum, sizeof(sum));
}

/* In pieces of n bytes. */
static int check(const char *data, size_t len, size_t n, struct snapshot_file_info *ret, struct err *err)
{
	struct snapshot_check *c = snapshot_check_new();
	for (size_t at = 0; at < len; at += n)
		snapshot_check_add(c, data + at, MIN(n, len - at), NULL);
	return snapshot_check_end(c, ret, err);
}

static void what_is_put_in_comes_out(void **state)
{
	(void)state;
	static const size_t pieces[] = {1, 3, 255, 256, 257, 4096, 100000};
	_cleanup_buf_ struct buf b = BUF_INIT;
	make(&b);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct snapshot_file_info info = {0};
		assert_int_equal(check(b.data, b.len, pieces[i], &info, NULL), 0);
		assert_true(info.cluster == wanted.cluster);
		assert_int_equal(info.rev, 41);
		assert_int_equal(info.index, 99);
		assert_int_equal(info.term, 7);
		assert_int_equal(info.keys, 12);
		assert_int_equal(info.data_bytes, DATA);
		assert_true(info.time_us == wanted.time_us);
		assert_string_equal(info.program, "0.1.0");
		assert_memory_equal(info.sha256, b.data + b.len - SHA256_SIZE, SHA256_SIZE);
		assert_int_equal(snapshot_file_bytes(&info), b.len);
	}
}

static void every_flipped_bit_is_told(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	make(&b);
	for (size_t i = 0; i < b.len; i++) {
		struct snapshot_file_info info = {.index = 1};
		_cleanup_err_ struct err err = ERR_INIT;
		char was = b.data[i];
		b.data[i] = (char)(was ^ 1 << i % 8);
		int rc = check(b.data, b.len, 512, &info, &err);
		/* a version is refused as one that is not known */
		assert_int_equal(rc, i >= 8 && i < 12 ? -EPROTO : -EUCLEAN);
		assert_true(err.message[0]);
		assert_int_equal(info.index, 1);
		b.data[i] = was;
	}
}

static void every_cut_is_told(void **state)
{
	(void)state;
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct snapshot_file_info info;
	make(&b);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(check(b.data, len, 500, &info, NULL), -EUCLEAN);
	buf_addc(&b, 0);
	assert_int_equal(check(b.data, b.len, 500, &info, NULL), -EUCLEAN);
	assert_int_equal(check(b.data, b.len, 1, &info, NULL), -EUCLEAN);
}

static void files(void **state)
{
	(void)state;
	char path[] = "/tmp/mini-snapshot-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct snapshot_file_info info;
	_cleanup_err_ struct err err = ERR_INIT;
	make(&b);
	assert_int_equal(file_write_atomic(path, b.data, b.len, 0600, NULL), 0);
	assert_int_equal(snapshot_file_verify(path, &info, &err), 0);
	assert_int_equal(info.keys, 12);
	b.data[1000]++;
	assert_int_equal(file_write_atomic(path, b.data, b.len, 0600, NULL), 0);
	assert_int_equal(snapshot_file_verify(path, &info, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, path));
	assert_non_null(strstr(err.message, "damaged"));
	assert_int_equal(file_write_atomic(path, "hello", 5, 0600, NULL), 0);
	assert_int_equal(snapshot_file_verify(path, &info, &err), -EUCLEAN);
	unlink(path);
	assert_int_equal(snapshot_file_verify(path, &info, &err), -ENOENT);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(what_is_put_in_comes_out),
	cmocka_unit_test(every_flipped_bit_is_told),
	cmocka_unit_test(every_cut_is_told),
	cmocka_unit_test(files),
};
RUN_TESTS(tests)
