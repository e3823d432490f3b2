/* Unpack one layer: a tar stream, plain or compressed, into a directory that becomes an overlayfs lowerdir.
 *
 * Blocking. Nothing outside the directory is ever touched: every path is resolved inside it by the kernel (openat2 with
 * RESOLVE_IN_ROOT). Whiteouts become overlayfs whiteouts. Source: OCI image-spec, layer.md.
 */
#ifndef MINI_NODEAGENT_IMAGE_UNPACK_H
#define MINI_NODEAGENT_IMAGE_UNPACK_H

#include "lib/core/err.h"
#include "lib/core/util.h"

#define UNPACK_MAX_BYTES   (8ull << 30)
#define UNPACK_MAX_ENTRIES (1u << 20)

/* `file`: the layer blob. `dir`: exists, empty. On success ret_diff_id is the sha256 of the uncompressed tar and
 * ret_bytes the sum of its file sizes. Bad input is -EPROTO, beyond a bound -EFBIG. */
int unpack_layer(const char *file, const char *dir, uint8_t ret_diff_id[32], uint64_t *ret_bytes, struct err *err);

#endif
