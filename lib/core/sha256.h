/* SHA-256 (FIPS 180-4), at once or as a stream. */
#ifndef MINI_CORE_SHA256_H
#define MINI_CORE_SHA256_H

#include "lib/core/util.h"

#define SHA256_SIZE 32u

void sha256(const void *data, size_t len, uint8_t ret[SHA256_SIZE]);
struct sha256_ctx;
struct sha256_ctx *sha256_new(void);
void sha256_update(struct sha256_ctx *c, const void *data, size_t len);
void sha256_final(struct sha256_ctx *c, uint8_t ret[SHA256_SIZE]); /* also frees */

#endif
