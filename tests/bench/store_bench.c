/* How fast the replicated engine is by itself: durable puts per second at 1, 16, 64 and 256 in flight, then reads.
 * Usage: store_bench DIR [PUTS [VALUE_BYTES]] */
#include <inttypes.h>
#include <time.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "store/store.h"

struct bench {
	struct store *store;
	struct blob *value;
	uint64_t n, sent, done, keys;
	bool closed;
	uint64_t *took_ns;
};
struct put {
	struct bench *b;
	uint64_t start_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put_done(void *arg, const struct err *err, const struct store_txn_resp *resp);

static void put_next(struct put *p)
{
	struct bench *b = p->b;
	char key[64];
	snprintf(key, sizeof(key), "/registry/configmaps/default/cm-%06" PRIu64, b->sent++ * 7919 % b->keys);
	p->start_ns = now_ns();
	struct store_op op = {.type = STORE_PUT, .key = key, .value = b->value};
	store_txn(b->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, put_done, p);
}

static void put_done(void *arg, const struct err *err, _unused_ const struct store_txn_resp *resp)
{
	struct put *p = arg;
	struct bench *b = p->b;
	if (err) {
		fprintf(stderr, "put: %s\n", err->message);
		exit(1);
	}
	b->took_ns[b->done++] = now_ns() - p->start_ns;
	if (b->sent < b->n)
		put_next(p);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void run(struct bench *b, struct env *env, unsigned inflight, uint64_t n)
{
	struct put *puts = NEW_N(struct put, inflight);
	b->n = n;
	b->sent = b->done = 0;
	b->took_ns = NEW_N(uint64_t, n + inflight);
	uint64_t start = now_ns();
	for (unsigned i = 0; i < inflight; i++) {
		puts[i].b = b;
		put_next(&puts[i]);
	}
	while (b->done < b->sent)
		uv_run(env_uv_loop(env), UV_RUN_ONCE);
	double s = (double)(now_ns() - start) / 1e9;
	qsort(b->took_ns, b->done, sizeof(uint64_t), by_value);
	printf("put %4u in flight: %8.0f/s  p50 %.3f ms  p99 %.3f ms  max %.3f ms\n", inflight, (double)b->done / s,
	       (double)b->took_ns[b->done / 2] / 1e6, (double)b->took_ns[b->done * 99 / 100] / 1e6,
	       (double)b->took_ns[b->done - 1] / 1e6);
	free(b->took_ns);
	free(puts);
}

static void closed(void *arg)
{
	((struct bench *)arg)->closed = true;
}

static void status_done(_unused_ void *arg, _unused_ const struct err *err, const struct store_status *st)
{
	printf("keys %" PRIu64 "  memory %" PRIu64 " kB  log %" PRIu64 " kB  state %" PRIu64 " kB  written %" PRIu64
	       " kB\n",
	       st->keys, st->memory_bytes / 1024, st->log_bytes / 1024, st->state_bytes / 1024,
	       st->bytes_written / 1024);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (argc < 2) {
		fprintf(stderr, "usage: store_bench DIR [PUTS [VALUE_BYTES]]\n");
		return 2;
	}
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
	size_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 256;
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct env *env = env_uv_new(&loop);
	struct bench b = {.value = blob_alloc(size), .keys = 10000};
	memset(b.value->data, 'x', size);
	uint64_t start = now_ns();
	if (store_open(env, &(struct store_config){.dir = argv[1]}, &b.store, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	double opened = (double)(now_ns() - start) / 1e6;
	run(&b, env, 1, 1);
	printf("open %.1f ms, first write acknowledged %.1f ms\n", opened, (double)(now_ns() - start) / 1e6);
	run(&b, env, 1, n / 10 + 1);
	run(&b, env, 16, n);
	run(&b, env, 64, n);
	run(&b, env, 256, n);
	b.store->engine->status(b.store, status_done, NULL);
	start = now_ns();
	b.store->engine->close(b.store, closed, &b);
	while (!b.closed)
		uv_run(&loop, UV_RUN_ONCE);
	printf("close %.1f ms\n", (double)(now_ns() - start) / 1e6);
	blob_unref(b.value);
	env_uv_free(env);
	uv_loop_close(&loop);
	return 0;
}
