/* Compaction of many revisions while writes go on: the longest a write waits before, and from then on.
 * Usage: compact_bench DIR [REVISIONS [SECONDS]] */
#include <inttypes.h>
#include <time.h>

#include "lib/core/env_uv.h"
#include "store/store.h"

#define KEYS    1000u
#define FILLERS 1000u
#define WRITERS 4u
#define BLOCKED 10.0 /* ms: what compaction may add */

struct bench {
	struct store *store;
	struct blob *value;
	uint64_t sent, done, n, rev;
	double max_ms, loop_ms; /* of a put; of a turn of the loop */
	uint64_t turn_ns, idle_ns;
	uv_check_t after_poll;
	uint64_t over; /* that took longer than BLOCKED */
	bool closed, compacted;
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
	snprintf(key, sizeof(key), "/registry/configmaps/default/cm-%06" PRIu64, b->sent++ * 7919 % KEYS);
	p->start_ns = now_ns();
	struct store_op op = {.type = STORE_PUT, .key = key, .value = b->value};
	store_txn(b->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, put_done, p);
}

static void put_done(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct put *p = arg;
	struct bench *b = p->b;
	if (err) {
		fprintf(stderr, "put: %s\n", err->message);
		exit(1);
	}
	double ms = (double)(now_ns() - p->start_ns) / 1e6;
	b->max_ms = MAX(b->max_ms, ms);
	b->over += ms > BLOCKED;
	b->done++;
	b->rev = resp->rev;
	if (b->sent < b->n)
		put_next(p);
}

/* Until n puts are answered, or the time is over. */
static void run(struct bench *b, struct env *env, unsigned writers, uint64_t n, double seconds)
{
	struct put *puts = NEW_N(struct put, writers);
	uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
	b->sent = b->done = b->over = 0;
	b->max_ms = b->loop_ms = 0;
	b->n = n;
	for (unsigned i = 0; i < writers; i++) {
		puts[i].b = b;
		put_next(&puts[i]);
	}
	while (b->done < b->sent) {
		uv_run(env_uv_loop(env), UV_RUN_ONCE);
		if (now_ns() > end)
			b->n = b->sent;
	}
	free(puts);
}

static void say(const struct bench *b, const char *what)
{
	printf("%-22s %8" PRIu64 " puts, longest %7.2f ms, %" PRIu64
	       " above %.0f ms; longest turn of the loop %.2f ms\n",
	       what, b->done, b->max_ms, b->over, BLOCKED, b->loop_ms);
}

/* What it did not spend waiting since the last turn. */
static void turned(uv_check_t *h)
{
	struct bench *b = h->data;
	uint64_t now = now_ns(), idle = uv_metrics_idle_time(h->loop);
	if (b->turn_ns)
		b->loop_ms = MAX(b->loop_ms, (double)(now - b->turn_ns - (idle - b->idle_ns)) / 1e6);
	b->turn_ns = now;
	b->idle_ns = idle;
}

static void watch_loop(struct bench *b, uv_loop_t *loop)
{
	uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
	uv_check_init(loop, &b->after_poll);
	b->after_poll.data = b;
	uv_check_start(&b->after_poll, turned);
}

static void compacted(void *arg, const struct err *err, _unused_ uint64_t value)
{
	struct bench *b = arg;
	if (err) {
		fprintf(stderr, "compact: %s\n", err->message);
		exit(1);
	}
	b->compacted = true;
}

static void closed(void *arg)
{
	((struct bench *)arg)->closed = true;
}

int main(int argc, char **argv)
{
	uv_loop_t loop;
	struct err err = ERR_INIT;
	if (argc < 2) {
		fprintf(stderr, "usage: compact_bench DIR [REVISIONS [SECONDS]]\n");
		return 2;
	}
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	double seconds = argc > 3 ? atof(argv[3]) : 10;
	uv_loop_init(&loop);
	struct env *env = env_uv_new(&loop);
	struct bench b = {.value = blob_alloc(256)};
	memset(b.value->data, 'v', 256);
	if (store_open(env, &(struct store_config){.dir = argv[1], .history_us = 86400000000u}, &b.store, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	watch_loop(&b, &loop);
	run(&b, env, FILLERS, n, 1e9);
	say(&b, "filling");
	run(&b, env, WRITERS, UINT64_MAX, seconds);
	say(&b, "before");
	b.store->engine->compact(b.store, b.rev, compacted, &b);
	run(&b, env, WRITERS, UINT64_MAX, seconds);
	say(&b, "while it is compacted");
	MUST(b.compacted);
	b.store->engine->close(b.store, closed, &b);
	while (!b.closed)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&b.after_poll, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	blob_unref(b.value);
	env_uv_free(env);
	return 0;
}
