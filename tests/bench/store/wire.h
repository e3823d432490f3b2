/* What the bench's server of our store speaks, over TLS: frames of {length of what follows these four bytes, operation,
 * error, id}, little-endian, many in flight on one connection. Only for measuring. */
#ifndef MINI_TESTS_BENCH_STORE_WIRE_H
#define MINI_TESTS_BENCH_STORE_WIRE_H

#include "lib/core/buf.h"

#define WIRE_MAX (4u << 20)

enum wire_op {
	WIRE_PUT,     /* key length, key, value; the answer's id */
	WIRE_COUNT,   /* of all keys: answers the number */
	WIRE_STATUS,  /* answers 1 if it leads */
	WIRE_COMPACT, /* to the latest revision */
	WIRE_WATCH,   /* key: a prefix; answered once, then an EVENT with the same id for each revision */
	WIRE_EVENT
};
struct wire_head {
	uint32_t len;
	uint8_t op, failed;
	uint16_t key_len;
	uint64_t id, number;
} __attribute__((packed));

#endif
