/* Resource quantities: "100m", "1.5Gi", "2e3". Parsed to a scaled integer, compared, added, printed canonically. Pure.
 * Source: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity. */
#ifndef MINI_API_QUANTITY_H
#define MINI_API_QUANTITY_H

#include "lib/core/err.h"
#include "lib/core/util.h"

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };

struct quantity {
	__int128 nano; /* value * 10^9; upstream rounds finer values up to nano */
	enum quantity_format format;
};

int quantity_parse(const char *s, struct quantity *ret, struct err *err);
/* Canonical text, at most 63 bytes. */
char *quantity_str(const struct quantity *q, char ret[64]);
int quantity_cmp(const struct quantity *a, const struct quantity *b);
/* Rounded up: whole units (bytes, pods), and thousandths (cpu). Saturates at INT64_MAX/MIN. */
int64_t quantity_value(const struct quantity *q);
int64_t quantity_milli(const struct quantity *q);
/* From JSON text in one step; dflt when missing or bad. */
int64_t quantity_value_of(const char *s, int64_t dflt);
int64_t quantity_milli_of(const char *s, int64_t dflt);

#endif
