#include "lib/core/env_uv.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

/* A lane with a thread of its own: a queue, first in first out. */
struct lane {
	uv_thread_t thread;
	uv_mutex_t mutex;
	uv_cond_t cond;
	struct list queue;
	bool started, stop;
	struct env_uv *owner;
};

struct env_uv {
	struct env env;
	uv_loop_t *loop;
	uv_timer_t timer;     /* the earliest env_timer, or 0 when posts wait */
	uv_idle_t idle;       /* active while posts wait: keeps the loop from blocking */
	uv_check_t check;     /* runs the turn after I/O */
	uv_prepare_t prepare; /* arms the timer before the loop sleeps */
	uv_async_t async;     /* lanes have results */
	uv_mutex_t done_mutex;
	struct list done; /* finished work of the thread lanes */
	struct lane lanes[ENV_LANE_COUNT];
	unsigned in_flight;
	uint64_t turn_us, idle_us, lag_us; /* of the last turn's end */
	int closing;
};

struct pool_job {
	uv_work_t req;
	struct env_work *work;
	struct env_uv *owner;
};

static struct env_uv *of(struct env *e)
{
	return CONTAINER_OF(e, struct env_uv, env);
}

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t op_now_us(struct env *e)
{
	(void)e;
	return clock_us(CLOCK_MONOTONIC);
}

/* For tests of a process whose clock is stepped: MINI_TEST_CLOCK names a file that holds the seconds to add to the wall
 * clock (-30, 3600), looked at each time it is asked. The machine's own clock is never touched. */
static int64_t test_offset_us(void)
{
	static const char *path;
	static bool known;
	char text[32] = "";
	int64_t seconds = 0;
	if (!known)
		path = getenv("MINI_TEST_CLOCK");
	known = true;
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	text[strcspn(text, " \n")] = '\0';
	return parse_i64(text, &seconds) == 0 && seconds > -4000000000 && seconds < 4000000000 ? seconds * 1000000 : 0;
}

static int64_t op_wall_us(struct env *e)
{
	(void)e;
	return (int64_t)clock_us(CLOCK_REALTIME) + test_offset_us();
}

static void op_random(struct env *e, void *buf, size_t len)
{
	(void)e;
	for (char *p = buf; len;) {
		ssize_t n = getrandom(p, MIN(len, 256), 0);
		MUST(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

static void on_idle(uv_idle_t *h)
{
	(void)h;
}

/* Waking is all it is for: the check handle runs the turn. The last thing UV_RUN_ONCE does is to look at timers, and a
 * loop without any would not run again. */
static void on_timer(uv_timer_t *h)
{
	uv_idle_start(&CONTAINER_OF(h, struct env_uv, timer)->idle, on_idle);
}

/* libuv counts the same clock in whole milliseconds: rounded up, so that a timer is never early. */
static void arm_timer(struct env_uv *u)
{
	uint64_t due_ms = u->env.heap[1]->due_us / 1000 + (u->env.heap[1]->due_us % 1000 != 0);
	uv_update_time(u->loop);
	uint64_t now_ms = uv_now(u->loop);
	uv_timer_start(&u->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* Before the loop sleeps: tell libuv how long it may. */
static void arm(struct env_uv *u)
{
	if (list_empty(&u->env.posts))
		uv_idle_stop(&u->idle);
	if (u->env.n_heap)
		arm_timer(u);
	else
		uv_timer_stop(&u->timer);
}

/* Posts and timers keep the loop alive, whether it runs already or not yet. */
static void op_wake(struct env *e)
{
	struct env_uv *u = of(e);
	if (u->closing)
		return;
	if (!list_empty(&e->posts))
		uv_idle_start(&u->idle, on_idle);
	if (e->n_heap)
		arm_timer(u);
}

/* So does work under way. */
static void in_flight_add(struct env_uv *u)
{
	if (u->in_flight++ == 0)
		uv_ref((uv_handle_t *)&u->async);
}

static void in_flight_drop(struct env_uv *u)
{
	if (--u->in_flight == 0)
		uv_unref((uv_handle_t *)&u->async);
}

static void run_done(struct env_uv *u)
{
	struct list batch;
	list_init(&batch);
	uv_mutex_lock(&u->done_mutex);
	for (struct list *n; (n = list_pop(&u->done));)
		list_push(&batch, n);
	uv_mutex_unlock(&u->done_mutex);
	for (struct list *n; (n = list_pop(&batch));) {
		struct env_work *w = LIST_ENTRY(n, struct env_work, node);
		in_flight_drop(u);
		w->done(w);
	}
}

static void on_async(uv_async_t *h)
{
	run_done(CONTAINER_OF(h, struct env_uv, async));
}

static void on_check(uv_check_t *h)
{
	env_turn(&CONTAINER_OF(h, struct env_uv, check)->env);
}

static void on_prepare(uv_prepare_t *h)
{
	struct env_uv *u = CONTAINER_OF(h, struct env_uv, prepare);
	/* What went by since the last turn, less the time spent waiting in poll: how long callbacks held the loop. */
	uint64_t now = op_now_us(&u->env), idle = uv_metrics_idle_time(u->loop) / 1000;
	uint64_t went_by = now - u->turn_us, waited = idle - u->idle_us;
	if (u->turn_us && went_by > waited)
		u->lag_us = MAX(u->lag_us, went_by - waited);
	u->turn_us = now;
	u->idle_us = idle;
	arm(u);
}

/* What only follows gives way to the loop and the log, on which somebody waits. Not by more: where others keep all cores
 * busy it still has to keep up. Of one thread: that is what Linux takes the numbers for. */
static void give_way(void)
{
	(void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 10);
}

static void lane_main(void *arg)
{
	struct lane *l = arg;
	struct env_uv *u = l->owner;
	if (l == &u->lanes[ENV_LANE_STATE])
		give_way();
	uv_mutex_lock(&l->mutex);
	for (;;) {
		struct list *n = list_pop(&l->queue);
		if (!n) {
			if (l->stop)
				break;
			uv_cond_wait(&l->cond, &l->mutex);
			continue;
		}
		uv_mutex_unlock(&l->mutex);
		struct env_work *w = LIST_ENTRY(n, struct env_work, node);
		w->work(w);
		uv_mutex_lock(&u->done_mutex);
		list_push(&u->done, &w->node);
		uv_mutex_unlock(&u->done_mutex);
		uv_async_send(&u->async);
		uv_mutex_lock(&l->mutex);
	}
	uv_mutex_unlock(&l->mutex);
}

static void pool_work(uv_work_t *req)
{
	struct env_work *w = CONTAINER_OF(req, struct pool_job, req)->work;
	w->work(w);
}

static void pool_done(uv_work_t *req, int status)
{
	(void)status;
	struct pool_job *job = CONTAINER_OF(req, struct pool_job, req);
	struct env_work *w = job->work;
	in_flight_drop(job->owner);
	free(job);
	w->done(w);
}

static void op_submit(struct env *e, struct env_work *w)
{
	struct env_uv *u = of(e);
	in_flight_add(u);
	if (w->lane == ENV_LANE_POOL) {
		struct pool_job *job = NEW(struct pool_job);
		job->work = w;
		job->owner = u;
		MUST(uv_queue_work(u->loop, &job->req, pool_work, pool_done) == 0);
		return;
	}
	struct lane *l = &u->lanes[w->lane];
	if (!l->started) {
		l->started = true;
		uv_thread_options_t opts = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 512 * 1024};
		MUST(uv_thread_create_ex(&l->thread, &opts, lane_main, l) == 0);
	}
	uv_mutex_lock(&l->mutex);
	list_push(&l->queue, &w->node);
	uv_mutex_unlock(&l->mutex);
	uv_cond_signal(&l->cond); /* without the mutex, which whoever wakes takes first */
}

static const struct env_ops ops = {
	.now_us = op_now_us,
	.wall_us = op_wall_us,
	.random = op_random,
	.wake = op_wake,
	.submit = op_submit,
};

struct env *env_uv_new(uv_loop_t *loop)
{
	struct env_uv *u = NEW(struct env_uv);
	env_init(&u->env, &ops);
	u->loop = loop;
	uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
	list_init(&u->done);
	uv_mutex_init(&u->done_mutex);
	for (int i = 0; i < ENV_LANE_COUNT; i++) {
		struct lane *l = &u->lanes[i];
		l->owner = u;
		list_init(&l->queue);
		uv_mutex_init(&l->mutex);
		uv_cond_init(&l->cond);
	}
	uv_timer_init(loop, &u->timer);
	uv_idle_init(loop, &u->idle);
	uv_check_init(loop, &u->check);
	uv_prepare_init(loop, &u->prepare);
	uv_async_init(loop, &u->async, on_async);
	uv_check_start(&u->check, on_check);
	uv_prepare_start(&u->prepare, on_prepare);
	/* None of them keeps the loop alive by itself but a waiting timer or post, or work under way. */
	uv_unref((uv_handle_t *)&u->check);
	uv_unref((uv_handle_t *)&u->prepare);
	uv_unref((uv_handle_t *)&u->async);
	return &u->env;
}

static void on_closed(uv_handle_t *h)
{
	struct env_uv *u = h->data;
	u->closing++;
}

void env_uv_free(struct env *e)
{
	if (!e)
		return;
	struct env_uv *u = of(e);
	while (u->in_flight) {
		uv_run(u->loop, UV_RUN_ONCE);
		run_done(u);
	}
	for (int i = 0; i < ENV_LANE_COUNT; i++) {
		struct lane *l = &u->lanes[i];
		if (l->started) {
			uv_mutex_lock(&l->mutex);
			l->stop = true;
			uv_cond_signal(&l->cond);
			uv_mutex_unlock(&l->mutex);
			uv_thread_join(&l->thread);
		}
		uv_mutex_destroy(&l->mutex);
		uv_cond_destroy(&l->cond);
	}
	uv_handle_t *handles[] = {(uv_handle_t *)&u->timer, (uv_handle_t *)&u->idle, (uv_handle_t *)&u->check,
				  (uv_handle_t *)&u->prepare, (uv_handle_t *)&u->async};
	for (unsigned i = 0; i < ARRAY_LEN(handles); i++) {
		handles[i]->data = u;
		uv_close(handles[i], on_closed);
	}
	while (u->closing < (int)ARRAY_LEN(handles))
		uv_run(u->loop, UV_RUN_NOWAIT);
	uv_mutex_destroy(&u->done_mutex);
	env_fini(e);
	free(u);
}

uv_loop_t *env_uv_loop(struct env *e)
{
	return of(e)->loop;
}

uint64_t env_uv_lag_us(struct env *e)
{
	struct env_uv *u = of(e);
	uint64_t lag = u->lag_us;
	u->lag_us = 0;
	return lag;
}
