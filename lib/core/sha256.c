#include "lib/core/sha256.h"

#include <mbedtls/sha256.h>

struct sha256_ctx {
	mbedtls_sha256_context m;
};

void sha256(const void *data, size_t len, uint8_t ret[32])
{
	MUST(mbedtls_sha256_ret(data, len, ret, 0) == 0);
}

struct sha256_ctx *sha256_new(void)
{
	struct sha256_ctx *c = NEW(struct sha256_ctx);
	mbedtls_sha256_init(&c->m);
	MUST(mbedtls_sha256_starts_ret(&c->m, 0) == 0);
	return c;
}

void sha256_update(struct sha256_ctx *c, const void *data, size_t len)
{
	MUST(mbedtls_sha256_update_ret(&c->m, data, len) == 0);
}

void sha256_final(struct sha256_ctx *c, uint8_t ret[32])
{
	MUST(mbedtls_sha256_finish_ret(&c->m, ret) == 0);
	mbedtls_sha256_free(&c->m);
	free(c);
}
