/* SPDY frames from a client. The first byte says in what pieces the rest comes; what is heard must not depend on it. */
#include <errno.h>

#include "lib/net/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
	uint32_t hash, n;
};

static void add(struct heard *h, const void *data, size_t len)
{
	uint32_t both[2] = {h->hash, fnv32a(data, len)};
	h->hash = fnv32a(both, sizeof(both));
	h->n++;
}

static void on_stream(void *arg, uint32_t id, const struct http_header *headers, bool fin)
{
	size_t n = 0;
	add(arg, &id, sizeof(id));
	for (; headers->name; headers++, n++) {
		add(arg, headers->name, strlen(headers->name));
		add(arg, headers->value, strlen(headers->value));
	}
	MUST(n <= 64);
	add(arg, &fin, 1);
}

static void on_reply(void *arg, uint32_t id, bool fin)
{
	add(arg, &id, sizeof(id));
	add(arg, &fin, 1);
}

static void on_data(void *arg, uint32_t id, const void *data, size_t len, bool fin)
{
	for (size_t i = 0; i < len; i++) /* byte by byte: pieces may be cut anywhere */
		add(arg, (const char *)data + i, 1);
	if (fin)
		add(arg, &id, sizeof(id));
}

static void on_reset(void *arg, uint32_t id, uint32_t status)
{
	add(arg, &id, sizeof(id));
	add(arg, &status, sizeof(status));
}

static void on_ping(void *arg, uint32_t id)
{
	add(arg, &id, sizeof(id));
}

static int feed(const uint8_t *data, size_t size, size_t step, struct heard *ret)
{
	static const struct spdy_ops ops = {on_stream, on_reply, on_data, on_reset, on_ping, NULL};
	struct spdy s;
	int rc = 0;
	spdy_init(&s, &ops, ret);
	for (size_t i = 0; i < size && rc == 0; i += step) {
		rc = spdy_feed(&s, data + i, MIN(step, size - i), NULL);
		MUST(s.control.len <= SPDY_CONTROL_MAX + 8);
	}
	MUST(rc == 0 || rc == -EPROTO || rc == -EFBIG);
	spdy_done(&s);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct heard whole = {0}, pieces = {0};
	if (size < 1)
		return 0;
	size_t step = (size_t)data[0] % 64 + 1;
	int rc = feed(data + 1, size - 1, size, &whole);
	MUST(feed(data + 1, size - 1, step, &pieces) == rc);
	MUST(whole.hash == pieces.hash && whole.n == pieces.n);
	return 0;
}
