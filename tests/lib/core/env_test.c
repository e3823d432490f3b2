/* The same behaviour asked of both worlds: libuv's and the simulated one. */
#include "lib/core/env_sim.h"
#include "lib/core/env_uv.h"
#include "tests/support/tap.h"

#include <sys/resource.h>
#include <time.h>

struct world {
	struct env *env;
	uv_loop_t loop;
	bool sim;
	char trace[256];
	struct env_timer t[4];
	struct env_post posts[2];
	struct env_work work[3];
	int done;
};

static struct world *now_in; /* callbacks get only their own struct */

static void note(const char *s)
{
	strcat(now_in->trace, s);
}

static void run(struct world *w, uint64_t us)
{
	if (w->sim) {
		env_sim_run_for(w->env, us);
		return;
	}
	uv_run(&w->loop, UV_RUN_DEFAULT);
}

static int setup_sim(void **state)
{
	struct world *w = NEW(struct world);
	w->sim = true;
	w->env = env_sim_new(42, 1000000);
	*state = now_in = w;
	return 0;
}

static int setup_uv(void **state)
{
	struct world *w = NEW(struct world);
	uv_loop_init(&w->loop);
	w->env = env_uv_new(&w->loop);
	*state = now_in = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	if (w->sim) {
		env_sim_free(w->env);
	} else {
		env_uv_free(w->env);
		assert_int_equal(uv_loop_close(&w->loop), 0);
	}
	free(w);
	return 0;
}

static void on_a(struct env_timer *t)
{
	(void)t, note("a");
}
static void on_b(struct env_timer *t)
{
	(void)t, note("b");
}
static void on_c(struct env_timer *t)
{
	note("c");
	/* started from its own callback: fires again */
	if (strlen(now_in->trace) < 6)
		env_timer_start(now_in->env, t, 1000);
}

static void timers_fire_in_order_and_can_be_stopped(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 4; i++)
		w->t[i] = (struct env_timer){.fn = i == 0 ? on_a : i == 2 ? on_c : on_b};
	env_timer_start(w->env, &w->t[1], 20000); /* b */
	env_timer_start(w->env, &w->t[0], 10000); /* a */
	env_timer_start(w->env, &w->t[2], 30000); /* c c c */
	env_timer_start(w->env, &w->t[3], 15000);
	env_timer_stop(w->env, &w->t[3]);
	env_timer_stop(w->env, &w->t[3]);
	assert_false(env_timer_active(&w->t[3]));
	uint64_t start = env_now_us(w->env);
	run(w, 1000000);
	assert_string_equal(w->trace, "abcccc");
	assert_true(env_now_us(w->env) - start >= 33000);
}

static void on_nothing(struct env_timer *t)
{
	(void)t;
}

struct short_work {
	struct env_work work;
	struct env *env;
	uint64_t until_us;
	bool done;
};

static void work_until(struct env_work *w)
{
	struct short_work *s = CONTAINER_OF(w, struct short_work, work);
	while (env_now_us(s->env) < s->until_us)
		continue;
}

static void work_ended(struct env_work *w)
{
	CONTAINER_OF(w, struct short_work, work)->done = true;
}

/* libuv counts whole milliseconds: woken between the one in which a timer is due and the timer's own time, UV_RUN_ONCE
 * may end libuv's timer on its way out; the next call must still find something to do. */
static void a_turn_at_a_time_reaches_a_timer(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 10; i++) {
		while (env_now_us(w->env) % 1000 < 500 || env_now_us(w->env) % 1000 > 600)
			continue;
		uint64_t start = env_now_us(w->env);
		struct short_work s = {.work = {.work = work_until, .done = work_ended, .lane = ENV_LANE_LOG},
				       .env = w->env,
				       .until_us = start + 2700};
		w->t[0] = (struct env_timer){.fn = on_nothing};
		env_timer_start(w->env, &w->t[0], 3000);
		env_submit(w->env, &s.work);
		for (int turns = 0; turns < 1000 && env_timer_active(&w->t[0]); turns++)
			uv_run(&w->loop, UV_RUN_ONCE);
		assert_false(env_timer_active(&w->t[0]));
		assert_true(env_now_us(w->env) - start >= 3000);
		while (!s.done)
			uv_run(&w->loop, UV_RUN_ONCE);
	}
}

struct look {
	struct env_work work;
	int nice;
	bool done;
};

static void look_at_nice(struct env_work *w)
{
	CONTAINER_OF(w, struct look, work)->nice = getpriority(PRIO_PROCESS, 0);
}

static void looked(struct env_work *w)
{
	CONTAINER_OF(w, struct look, work)->done = true;
}

static void what_only_follows_gives_way(void **state)
{
	struct world *w = *state;
	struct look log = {.work = {.work = look_at_nice, .done = looked, .lane = ENV_LANE_LOG}}, follows = log;
	follows.work.lane = ENV_LANE_STATE;
	env_submit(w->env, &log.work);
	env_submit(w->env, &follows.work);
	while (!log.done || !follows.done)
		uv_run(&w->loop, UV_RUN_ONCE);
	assert_int_equal(log.nice, getpriority(PRIO_PROCESS, 0));
	assert_int_equal(follows.nice, MIN(log.nice + 10, 19));
}

static void many_timers_keep_their_order(void **state)
{
	struct world *w = *state;
	enum { N = 500 };
	static struct env_timer timers[N];
	memset(timers, 0, sizeof(timers));
	for (unsigned i = 0; i < N; i++) {
		timers[i].fn = on_a;
		env_timer_start(w->env, &timers[i], (i * 7919u) % 1000);
	}
	for (unsigned i = 0; i < N; i += 2)
		env_timer_stop(w->env, &timers[i]);
	for (unsigned i = 2; i <= w->env->n_heap; i++)
		assert_true(w->env->heap[i / 2]->due_us <= w->env->heap[i]->due_us);
	assert_int_equal(w->env->n_heap, N / 2);
	for (unsigned i = 1; i < N; i += 2)
		env_timer_stop(w->env, &timers[i]);
	assert_int_equal(w->env->n_heap, 0);
}

static void on_post(struct env_post *p)
{
	note("p");
	if (strlen(now_in->trace) < 4)
		env_post(now_in->env, p);
}

static void posts_run_later_and_once(void **state)
{
	struct world *w = *state;
	w->posts[0].fn = w->posts[1].fn = on_post;
	env_post(w->env, &w->posts[0]);
	env_post(w->env, &w->posts[0]);
	env_post(w->env, &w->posts[1]);
	env_post_cancel(w->env, &w->posts[1]);
	assert_string_equal(w->trace, "");
	run(w, 1000);
	assert_string_equal(w->trace, "pppp");
}

static int worked[3];
static void do_work(struct env_work *x)
{
	worked[x - now_in->work] = ++worked[0] + 10;
}
static void work_done(struct env_work *x)
{
	(void)x;
	note("w");
}

static void work_runs_on_every_lane_and_is_answered(void **state)
{
	struct world *w = *state;
	memset(worked, 0, sizeof(worked));
	for (int i = 0; i < 3; i++) {
		w->work[i] = (struct env_work){.work = do_work, .done = work_done, .lane = ENV_LANE_LOG};
		env_submit(w->env, &w->work[i]);
	}
	assert_string_equal(w->trace, "");
	/* env_uv_free() waits for it too */
	if (w->sim)
		run(w, 1000);
	else
		while (strlen(w->trace) < 3)
			uv_run(&w->loop, UV_RUN_NOWAIT);
	assert_string_equal(w->trace, "www");
	assert_true(worked[1] < worked[2]); /* first in, first out */
}

static void the_simulated_world_is_the_same_every_time(void **state)
{
	(void)state;
	uint64_t a[4], b[4];
	for (int k = 0; k < 2; k++) {
		struct env *e = env_sim_new(7, 0);
		for (int i = 0; i < 4; i++)
			(k ? b : a)[i] = env_random_below(e, 1000000);
		env_sim_run_for(e, 3600ull * 1000000);
		assert_int_equal(env_wall_s(e), 3600);
		env_sim_free(e);
	}
	assert_memory_equal(a, b, sizeof(a));
}

/* The clock of a process under test, stepped by a file. */
static void the_wall_clock_can_be_stepped(void **state)
{
	(void)state;
	char path[] = "/tmp/mini-clock-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	setenv("MINI_TEST_CLOCK", path, 1);
	uv_loop_t loop;
	uv_loop_init(&loop);
	struct env *e = env_uv_new(&loop);
	static const struct {
		const char *text;
		int64_t shift_s;
	} steps[] = {{"", 0}, {"3600\n", 3600}, {"-120", -120}, {"much", 0}, {"0\n", 0}};
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, steps[i].text, strlen(steps[i].text), 0), strlen(steps[i].text));
		uint64_t before = env_now_us(e);
		int64_t from = time(NULL), is = env_wall_s(e) - steps[i].shift_s;
		assert_true(is >= from - 1 && is <= (int64_t)time(NULL) + 1);
		assert_true(env_now_us(e) - before < 60000000); /* the monotonic one goes on */
	}
	env_uv_free(e);
	uv_loop_close(&loop);
	close(fd);
	unlink(path);
}

#define BOTH(test)                                                                                                     \
	{#test " (sim)", test, setup_sim, teardown, NULL},                                                             \
	{                                                                                                              \
#test " (uv)", test, setup_uv, teardown, NULL                                                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(timers_fire_in_order_and_can_be_stopped),
		BOTH(many_timers_keep_their_order),
		BOTH(posts_run_later_and_once),
		BOTH(work_runs_on_every_lane_and_is_answered),
		{"a_turn_at_a_time_reaches_a_timer (uv)", a_turn_at_a_time_reaches_a_timer, setup_uv, teardown, NULL},
		{"what_only_follows_gives_way (uv)", what_only_follows_gives_way, setup_uv, teardown, NULL},
		cmocka_unit_test(the_simulated_world_is_the_same_every_time),
		cmocka_unit_test(the_wall_clock_can_be_stepped),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
