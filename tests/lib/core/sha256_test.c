#include "lib/core/sha256.h"
#include "tests/support/tap.h"

static void test_sha256(void **state)
{
	(void)state;
	uint8_t h[32];
	char hex[65];
	sha256("abc", 3, h); /* FIPS 180-2, B.1 */
	hex_encode(h, 32, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct sha256_ctx *c = sha256_new();
	sha256_update(c, "a", 1);
	sha256_update(c, "bc", 2);
	uint8_t h2[32];
	sha256_final(c, h2);
	assert_memory_equal(h, h2, 32);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(test_sha256)};
RUN_TESTS(tests)
