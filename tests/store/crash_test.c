/* A writer is killed with SIGKILL at random moments, again and again: every write it saw acknowledged is there, nothing
 * is doubled, and revisions never go back. CYCLES in the environment: how often (default 12). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "tests/support/store/fixture.h"
#include "tests/support/tap.h"

#define KEYS     50u
#define INFLIGHT 16u

/* One acknowledgement, as the writer tells it. */
struct ack {
	uint64_t n, rev;
};

struct writer {
	struct store *store;
	int fd;
	uint64_t next;
};
struct put {
	struct writer *w;
	uint64_t n;
};

static void put_next(struct put *p);

static void put_done(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct put *p = arg;
	if (err)
		_exit(3);
	struct ack a = {.n = p->n, .rev = resp->rev};
	if (write(p->w->fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
		_exit(4);
	put_next(p);
}

static void put_next(struct put *p)
{
	char key[32], head[32];
	p->n = p->w->next++;
	snprintf(key, sizeof(key), "k/%02" PRIu64, p->n % KEYS);
	snprintf(head, sizeof(head), "%" PRIu64, p->n);
	/* now and then a large one, so that segments end and the state is synced */
	struct blob *v = blob_alloc(p->n % 200 == 0 ? 300000 : 200 + p->n % 7);
	memset(v->data, 0, v->len);
	memcpy(v->data, head, strlen(head));
	struct store_op op = {.type = STORE_PUT, .key = key, .value = v};
	store_txn(p->w->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1}, put_done, p);
	blob_unref(v);
}

static void write_forever(const char *dir, int fd, uint64_t from)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct writer w = {.fd = fd, .next = from};
	struct put puts[INFLIGHT];
	struct err err = ERR_INIT;
	if (store_open(env_uv_new(&loop), &(struct store_config){.dir = dir, .history_us = 300000}, &w.store, &err)) {
		fprintf(stderr, "# %s\n", err.message);
		_exit(2);
	}
	for (unsigned i = 0; i < INFLIGHT; i++) {
		puts[i].w = &w;
		put_next(&puts[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(5);
}

static void sleep_us(uint64_t us)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000}, NULL);
}

/* Runs a writer and kills it; what it had acknowledged goes to last[] (by key), the highest revision to max_rev. */
static uint64_t run_and_kill(const char *dir, uint64_t from, uint64_t *last, uint64_t *max_rev, uint64_t wait_us)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		write_forever(dir, fds[1], from);
	}
	close(fds[1]);
	struct ack a;
	uint64_t n = 0, top = from;
	/* killed some time after its first acknowledgement, so that it has got somewhere */
	while (read(fds[0], &a, sizeof(a)) == (ssize_t)sizeof(a)) {
		if (n++ == 0) {
			sleep_us(wait_us);
			kill(pid, SIGKILL);
		}
		if (a.n > last[a.n % KEYS])
			last[a.n % KEYS] = a.n;
		top = a.n > top ? a.n : top;
		*max_rev = a.rev > *max_rev ? a.rev : *max_rev;
	}
	close(fds[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(n > 0);
	return top;
}

static void killed_again_and_again(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_close(&f);
	uint64_t last[KEYS] = {0}, max_rev = 0, next = KEYS, seed = (uint64_t)time(NULL);
	const char *cycles = getenv("CYCLES");
	int n = cycles ? atoi(cycles) : 12;
	for (int cycle = 0; cycle < n; cycle++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint64_t wait_us = (seed >> 33) % (cycle % 4 == 3 ? 600000 : 60000);
		/* numbers are never used twice: what was under way may or may not be there */
		next = run_and_kill(f.dir, next, last, &max_rev, wait_us) + 2 * INFLIGHT;
		struct err err = ERR_INIT;
		if (fixture_open(&f, &err))
			print_error("%s\n", err.message);
		assert_non_null(f.store);
		char key[32];
		for (uint64_t k = 0; k < KEYS; k++) {
			snprintf(key, sizeof(key), "k/%02" PRIu64, k);
			const struct answer *a = fx_get(&f, key, 0);
			assert_int_equal(a->err.code, 0);
			assert_true(a->rev >= max_rev);
			uint64_t have = a->n_kvs ? strtoull(a->kvs[0].value, NULL, 10) : 0;
			if (have < last[k])
				print_error("cycle %d, wait %" PRIu64 " us: %s is %" PRIu64
					    ", acknowledged was %" PRIu64 "\n",
					    cycle, wait_us, key, have, last[k]);
			assert_true(have >= last[k]);
			assert_true(have == 0 || have % KEYS == k);
		}
		fixture_close(&f);
	}
	fixture_done(&f);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(killed_again_and_again)};
RUN_TESTS(tests)
