/* At every failpoint a process is killed with SIGKILL: all that it had acknowledged is there when it is opened again.
 *
 * A child uses a store (small segments, so that everything happens soon) and tells each acknowledgement through a pipe.
 * It is killed at the named place, the third time it gets there, or the first. POINT=name: only that one. */
#include "lib/core/failpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"
#include "store/cluster.h"
#include "tests/support/store/several.h"
#include "tests/support/tap.h"

#define KEYS  20u
#define WAYS  8u
#define CALLS 700u
#define TRIES 20

static const struct store_sizes small = {
	.log_segment = 32768, .state_bytes = 8192, .state_us = 50000, .checkpoint = 32768};

struct ack {
	uint64_t n, rev;
};
struct user {
	struct store *store;
	struct env *env;
	int fd;
	uint64_t next, left, rev, lease;
	bool orderly, closing;
};
struct call {
	struct user *u;
	uint64_t n;
};

static void ask(struct call *c);

static void told(struct call *c, const struct err *err, const struct ack *a)
{
	if (err && !c->u->closing)
		_exit(3);
	if (err)
		return;
	if (a->n && write(c->u->fd, a, sizeof(*a)) != (ssize_t)sizeof(*a))
		_exit(4);
	c->u->rev = MAX(c->u->rev, a->rev);
	ask(c);
}

static void on_put(void *arg, const struct err *err, const struct store_txn_resp *r)
{
	struct call *c = arg;
	told(c, err, &(struct ack){.n = c->n, .rev = r ? r->rev : 0});
}

static void on_read(void *arg, const struct err *err, const struct store_range_resp *r)
{
	told(arg, err && err->code != -ESTALE ? err : NULL, &(struct ack){.rev = r ? r->rev : 0});
}

static void on_number(void *arg, const struct err *err, uint64_t value)
{
	struct call *c = arg;
	if (!err && value)
		c->u->lease = value;
	told(c, NULL, &(struct ack){0});
}

static void put(struct call *c)
{
	char key[32], head[32];
	c->n = c->u->next++;
	snprintf(key, sizeof(key), "k/%02" PRIu64, c->n % KEYS);
	snprintf(head, sizeof(head), "%" PRIu64, c->n);
	struct blob *v = blob_alloc(200 + c->n % 7);
	memset(v->data, 0, v->len);
	memcpy(v->data, head, strlen(head));
	struct store_op op = {.type = STORE_PUT, .key = key, .value = v};
	store_txn(c->u->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1, .lazy = c->n % 16 == 3}, on_put,
		  c);
	blob_unref(v);
}

static void closed(void *arg)
{
	(void)arg;
	_exit(0);
}

static void ask(struct call *c)
{
	struct user *u = c->u;
	const struct store_engine *e = u->store->engine;
	if (u->left == 0) {
		if (!u->orderly)
			_exit(0); /* so that there is something to recover */
		if (!u->closing)
			e->close(u->store, closed, NULL);
		u->closing = true;
		return;
	}
	u->left--;
	if (u->left % 37 == 1)
		e->lease_grant(u->store, 60, on_number, c);
	else if (u->left % 37 == 2)
		e->lease_keepalive(u->store, u->lease, on_number, c);
	else if (u->left % 61 == 3)
		e->lease_revoke(u->store, u->lease, on_number, c);
	else if (u->left % 41 == 4 && u->rev > 60)
		e->compact(u->store, u->rev - 60, on_number, c);
	else if (u->left % 11 == 5 && u->rev > 60) /* mostly one that has left memory */
		store_range(u->store, &(struct store_range_req){.key = "k/", .end = "k0", .rev = u->rev - 30}, on_read,
			    c);
	else
		put(c);
}

static void use(const char *dir, int fd, uint64_t from, const char *points)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct user u = {
		.fd = fd, .next = from, .left = CALLS, .orderly = strstr(points, "close"), .env = env_uv_new(&loop)};
	struct call calls[WAYS];
	struct err err = ERR_INIT;
	if (failpoints_parse(points, &err) ||
	    store_open(u.env, &(struct store_config){.dir = dir, .sizes = small, .history_bytes = 4000}, &u.store,
		       &err)) {
		fprintf(stderr, "# %s\n", err.message);
		_exit(2);
	}
	for (unsigned i = 0; i < WAYS; i++) {
		calls[i].u = &u;
		ask(&calls[i]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(5);
}

struct seen {
	uint64_t last[KEYS], max_rev, next;
};

/* True: it was killed. False: it came to its end. */
static bool run(const char *dir, struct seen *s, const char *points)
{
	int fds[2], status;
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		use(dir, fds[1], s->next, points);
	}
	close(fds[1]);
	for (struct ack a; read(fds[0], &a, sizeof(a)) == (ssize_t)sizeof(a);) {
		s->last[a.n % KEYS] = MAX(s->last[a.n % KEYS], a.n);
		s->max_rev = MAX(s->max_rev, a.rev);
		s->next = MAX(s->next, a.n + 1);
	}
	s->next += CALLS; /* numbers are never used twice: what was under way may or may not be there */
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) && WEXITSTATUS(status))
		print_error("%s: ended with %d\n", points, WEXITSTATUS(status));
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

static void verify(struct fixture *f, const struct seen *s, const char *points)
{
	struct err err = ERR_INIT;
	if (fixture_open(f, &err))
		print_error("%s: %s\n", points, err.message);
	assert_non_null(f->store);
	for (uint64_t k = 0; k < KEYS; k++) {
		char key[32];
		snprintf(key, sizeof(key), "k/%02" PRIu64, k);
		const struct answer *a = fx_get(f, key, 0);
		uint64_t have = a->n_kvs ? strtoull(a->kvs[0].value, NULL, 10) : 0;
		if (a->err.code || a->rev < s->max_rev || have < s->last[k])
			print_error("%s: %s is %" PRIu64 ", acknowledged was %" PRIu64 "; revision %" PRIu64
				    " of %" PRIu64 "\n",
				    points, key, have, s->last[k], a->rev, s->max_rev);
		assert_int_equal(a->err.code, 0);
		assert_true(a->rev >= s->max_rev);
		assert_true(have >= s->last[k]);
		assert_true(have == 0 || have % KEYS == k);
	}
	fixture_close(f);
}

/* Places that a store without peers never gets to. */
static bool needs_others(const char *name)
{
	return str_starts(name, "log.reset.") || str_starts(name, "members.") || str_starts(name, "snapshot.") ||
	       streq(name, "replica.config");
}

/* ---- several members in one process, in virtual time, on real files ---- */

static void put_one(struct several *v, size_t at, struct seen *s, int fd)
{
	char key[32], value[300];
	struct ack a = {.n = s->next++};
	snprintf(key, sizeof(key), "k/%02" PRIu64, a.n % KEYS);
	snprintf(value, sizeof(value), "%" PRIu64 "%-200s", a.n, " ");
	const struct answer *r = fx_put(&v->servers[at].f, key, value);
	a.rev = r->rev;
	if (r->err.code == 0 && write(fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
		_exit(4);
}

/* Three that work, one of them away for a while, and a fourth that joins: it is told all by a copy of the state. */
static void use_several(struct several *v, struct seen *s, int fd, const char *points, bool first)
{
	if (failpoints_parse(points, NULL))
		_exit(2);
	for (size_t i = 0; i < 3 && !first; i++)
		if (several_start(v, i, NULL))
			_exit(3);
	if (first)
		several_found(v, 3);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 20; i++)
			put_one(v, (size_t)i % 3, s, fd);
		several_stop(v, 2);
		for (int i = 0; i < 150; i++)
			put_one(v, (size_t)i % 2, s, fd);
		several_run(v, 300000);
		if (several_start(v, 2, NULL))
			_exit(3);
		several_has(v, 2, "k/00", "-"); /* 5 s go by */
		several_move(v, 0, (uint64_t)(round % 3) + 1);
	}
	for (int tries = 0; first && tries < 3; tries++) {
		if (several_add(v, several_leader(v), 3, STORE_ROLE_LEARNER, 0))
			continue; /* the leadership went away just then */
		several_join(v, 3);
		break;
	}
	several_run(v, 3000000);
	_exit(0);
}

static bool run_several(struct several *v, struct seen *s, const char *points, bool first)
{
	int fds[2], status;
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		use_several(v, s, fds[1], points, first);
	}
	close(fds[1]);
	for (struct ack a; read(fds[0], &a, sizeof(a)) == (ssize_t)sizeof(a);) {
		s->last[a.n % KEYS] = MAX(s->last[a.n % KEYS], a.n);
		s->max_rev = MAX(s->max_rev, a.rev);
	}
	s->next += 2000;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) && WEXITSTATUS(status))
		print_error("%s: ended with %d\n", points, WEXITSTATUS(status));
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

static void verify_several(struct several *v, const struct seen *s, const char *points, bool first)
{
	struct err err = ERR_INIT;
	if (first && s->max_rev == 0) /* it never came to an answer, nor maybe to all three directories */
		return;
	for (size_t i = 0; i < 3; i++) {
		if (several_start(v, i, &err))
			print_error("%s: %s\n", points, err.message);
		assert_non_null(v->servers[i].f.store);
	}
	size_t leader = several_leader(v);
	assert_true(leader < 3);
	for (uint64_t k = 0; k < KEYS; k++) {
		char key[32];
		snprintf(key, sizeof(key), "k/%02" PRIu64, k);
		const struct answer *a = fx_get(&v->servers[leader].f, key, 0);
		uint64_t have = a->n_kvs ? strtoull(a->kvs[0].value, NULL, 10) : 0;
		if (a->err.code || a->rev < s->max_rev || have < s->last[k])
			print_error("%s: %s is %" PRIu64 ", acknowledged was %" PRIu64 "\n", points, key, have,
				    s->last[k]);
		assert_int_equal(a->err.code, 0);
		assert_true(a->rev >= s->max_rev && have >= s->last[k]);
	}
	for (size_t i = 0; i < 3; i++)
		several_stop(v, i);
}

static bool drive_several(const char *name)
{
	struct several v;
	struct seen s = {.next = KEYS};
	bool reached = false;
	several_init(&v);
	for (size_t i = 0; i < SEVERAL_MAX; i++) {
		v.servers[i].f.config.sizes = small;
		v.servers[i].f.config.sizes.log_segment = 8192;
		v.servers[i].f.config.sizes.log_keep = 1;
		v.servers[i].f.config.sizes.snapshot_piece = 2048;
	}
	/* the first time from an empty directory on */
	for (int i = 0; i < 2 || (!reached && i < TRIES); i++) {
		_cleanup_free_ char *points = xasprintf("%s=kill%s", name, i ? "" : ":2");
		reached |= run_several(&v, &s, points, i == 0);
		verify_several(&v, &s, points, i == 0);
	}
	several_done(&v);
	return reached;
}

static bool drive(const char *name)
{
	struct fixture f;
	struct seen s = {.next = KEYS};
	bool reached = false;
	fixture_init(&f);
	fixture_close(&f);
	rm_rf(f.dir, NULL); /* its segments are large */
	f.config.disk = NULL;
	f.config.sizes = small;
	/* something to begin with, its state behind; a busy machine may end a run before its state's thread came this far */
	for (int i = 0; !run(f.dir, &s, "state.commit.before=kill"); i++)
		assert_true(i < TRIES);
	static const char *const times[] = {"kill", "kill:3"};
	for (size_t i = 0; i < ARRAY_LEN(times) || (!reached && i < TRIES); i++) {
		_cleanup_free_ char *points = xasprintf("%s=%s", name, times[i % ARRAY_LEN(times)]);
		bool killed = run(f.dir, &s, points);
		verify(&f, &s, points);
		reached = reached || killed;
	}
	fixture_done(&f);
	return reached;
}

/* No disk is full here, and no log is begun anew at a start: for that a process would have to die twice. */
static bool unreachable(const char *name)
{
	return streq(name, "replica.full") || streq(name, "log.reset.before");
}

static void killed_at_every_failpoint(void **state)
{
	(void)state;
	const char *only = getenv("POINT");
	for (int i = 0; i < FAILPOINT_COUNT; i++) {
		const char *name = failpoint_name((enum failpoint)i);
		if ((only && !streq(only, name)) || unreachable(name))
			continue;
		bool reached = needs_others(name) ? drive_several(name) : drive(name);
		if (!reached)
			print_error("%s was not reached\n", name);
		assert_true(reached);
	}
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_every_failpoint)};
RUN_TESTS(tests)
