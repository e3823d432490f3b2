#include <errno.h>

#include "lib/client/reconciler.h"
#include "lib/core/log.h"
#include "lib/core/metrics.h"

#define RECONCILER_MAGIC 0x4ec0c11eu
#define RUN_MAGIC        0x4ec0c11fu

/* Keys begun in one turn of the loop; the rest wait for the next, so that other work gets its share. */
#define KEYS_PER_TURN 16
/* A copy that does not catch up (a watch that is down for long) must not hold a key forever. */
#define CATCH_UP_US 30000000ull

enum key_state { KEY_IDLE, KEY_QUEUED, KEY_RUNNING };

struct queue_key {
	struct reconciler *q;
	char *key;
	enum key_state state;
	bool dirty; /* added again while running */
	unsigned failures;
	uint64_t queued_us;
	struct list node; /* in the queue */
	struct env_timer later;
	struct reconcile *run;
};

struct reconcile_write {
	struct reconcile *run;
	struct list node;
	struct client_call *call; /* NULL once answered */
	struct informer *inf;
	struct informer_wait wait;
	reconcile_cb cb;
	void *arg;
};

struct reconcile_deferred {
	void (*fn)(void *);
	void *arg;
};

struct reconcile {
	uint32_t magic;
	struct reconciler *q;
	struct queue_key *k;
	struct list writes; /* not yet answered, or not yet seen in the copy */
	bool deciding;      /* inside reconcile() */
	bool failed;
	uint64_t again_us; /* UINT64_MAX: no */
	struct env_timer catch_up;
	struct env_post finish;
	struct reconcile_deferred *deferred;
	unsigned n_deferred, cap_deferred;
};

struct reconciler {
	uint32_t magic;
	struct env *env;
	struct client *client;
	struct reconciler_config config;
	char *name;
	struct map keys; /* queue_key by key, those not idle (or failing) */
	struct list queue;
	unsigned n_running;
	bool running;
	struct env_post turn;
	struct metric_series *depth, *adds, *retries, *queue_s;
};

static struct metric_family workqueue_depth = {
	.name = "workqueue_depth", .help = "Keys waiting", .type = METRIC_GAUGE, .label_names = {"name"}};
static struct metric_family workqueue_adds = {
	.name = "workqueue_adds_total", .help = "Keys added", .type = METRIC_COUNTER, .label_names = {"name"}};
static struct metric_family workqueue_retries = {.name = "workqueue_retries_total",
						 .help = "Keys queued again after a failure",
						 .type = METRIC_COUNTER,
						 .label_names = {"name"}};
static struct metric_family workqueue_queue_s = {.name = "workqueue_queue_duration_seconds",
						 .help = "How long a key waits before it is worked on",
						 .type = METRIC_HISTOGRAM,
						 .label_names = {"name"}};

static void run__check(struct reconcile *r);

/* ---- keys ---- */

static void key__wake(struct reconciler *q)
{
	if (q->running && !list_empty(&q->queue) && q->n_running < q->config.workers)
		env_post(q->env, &q->turn);
}

static void key__queue(struct queue_key *k)
{
	struct reconciler *q = k->q;
	env_timer_stop(q->env, &k->later);
	if (k->state == KEY_RUNNING) {
		k->dirty = true;
		return;
	}
	if (k->state == KEY_QUEUED)
		return;
	k->state = KEY_QUEUED;
	k->queued_us = env_now_us(q->env);
	list_push(&q->queue, &k->node);
	metric_inc(q->adds);
	metric_add(q->depth, 1);
	key__wake(q);
}

static void key__on_later(struct env_timer *t)
{
	key__queue(CONTAINER_OF(t, struct queue_key, later));
}

static struct queue_key *key__get(struct reconciler *q, const char *key)
{
	struct queue_key *k = map_get(&q->keys, key);
	if (k)
		return k;
	k = NEW(struct queue_key);
	k->q = q;
	k->key = xstrdup(key);
	k->later.fn = key__on_later;
	list_init(&k->node);
	map_set(&q->keys, key, k);
	return k;
}

static void key__free(struct queue_key *k)
{
	env_timer_stop(k->q->env, &k->later);
	free(k->key);
	free(k);
}

static void key__start_timer(struct queue_key *k, uint64_t delay_us)
{
	uint64_t due = env_now_us(k->q->env) + delay_us;
	if (k->state == KEY_QUEUED || (env_timer_active(&k->later) && k->later.due_us <= due))
		return;
	env_timer_start(k->q->env, &k->later, delay_us);
}

static uint64_t key__backoff(const struct queue_key *k)
{
	uint64_t us = k->q->config.backoff_min_us;
	for (unsigned i = 1; i < k->failures && us < k->q->config.backoff_max_us; i++)
		us *= 2;
	return MIN(us, k->q->config.backoff_max_us);
}

/* ---- one run ---- */

static void run__free(struct reconcile *r)
{
	struct reconciler *q = r->q;
	LIST_EACH (&r->writes, w, struct reconcile_write, node) {
		if (w->call)
			client_cancel(q->client, w->call);
		informer_wait_cancel(&w->wait);
		free(w);
	}
	env_timer_stop(q->env, &r->catch_up);
	env_post_cancel(q->env, &r->finish);
	while (r->n_deferred) {
		struct reconcile_deferred d = r->deferred[--r->n_deferred];
		d.fn(d.arg);
	}
	free(r->deferred);
	free(r);
}

static void run__on_finish(struct env_post *p)
{
	struct reconcile *r = CONTAINER_OF(p, struct reconcile, finish);
	MAGIC_CHECK(r, RUN_MAGIC);
	struct reconciler *q = r->q;
	struct queue_key *k = r->k;
	bool failed = r->failed;
	uint64_t again_us = r->again_us;
	run__free(r);
	k->run = NULL;
	k->state = KEY_IDLE;
	q->n_running--;
	if (failed) {
		k->failures++;
		k->dirty = false;
		metric_inc(q->retries);
		key__start_timer(k, MIN(key__backoff(k), again_us));
	} else {
		k->failures = 0;
		if (k->dirty) /* the copy changed meanwhile */
			key__queue(k);
		k->dirty = false;
		if (again_us != UINT64_MAX)
			key__start_timer(k, again_us);
	}
	if (k->state == KEY_IDLE && !k->failures && !env_timer_active(&k->later)) {
		map_del(&q->keys, k->key);
		key__free(k);
	}
	key__wake(q);
}

static void run__check(struct reconcile *r)
{
	if (!r->deciding && list_empty(&r->writes))
		env_post(r->q->env, &r->finish);
}

static void write__done(struct reconcile_write *w)
{
	struct reconcile *r = w->run;
	list_del(&w->node);
	free(w);
	run__check(r);
}

static void write__on_seen(struct informer_wait *wait)
{
	write__done(CONTAINER_OF(wait, struct reconcile_write, wait));
}

static void run__on_catch_up(struct env_timer *t)
{
	struct reconcile *r = CONTAINER_OF(t, struct reconcile, catch_up);
	MAGIC_CHECK(r, RUN_MAGIC);
	bool waiting = false;
	LIST_EACH (&r->writes, w, struct reconcile_write, node) {
		if (w->call) {
			waiting = true;
			continue;
		}
		log_warn("reconciler", "copy is late queue=%s key=%s kind=%s", r->q->name, r->k->key,
			 informer_kind(w->inf)->kind);
		informer_wait_cancel(&w->wait);
		list_del(&w->node);
		free(w);
	}
	if (waiting)
		env_timer_start(r->q->env, &r->catch_up, CATCH_UP_US);
	run__check(r);
}

static void write__on_answer(void *arg, const struct client_response *resp)
{
	struct reconcile_write *w = arg;
	struct reconcile *r = w->run;
	MAGIC_CHECK(r, RUN_MAGIC);
	w->call = NULL;
	r->deciding = true; /* the callback may submit more */
	bool fine = w->cb && w->cb(w->arg, resp);
	r->deciding = false;
	if (resp->err->code && !fine) {
		r->failed = true;
		bool expected = resp->err->code == -EAGAIN || resp->err->code == -ENOENT;
		log_line(expected ? LOG_DEBUG : LOG_WARN, r->q->name, "write failed key=%s error=\"%s\"", r->k->key,
			 resp->err->message);
	}
	uint64_t rv = resp->rv ? resp->rv : resp->object ? resp->object->rv : 0;
	if (resp->err->code || !w->inf || !rv) {
		write__done(w);
		return;
	}
	informer_wait(w->inf, &w->wait, rv, write__on_seen);
	if (!env_timer_active(&r->catch_up))
		env_timer_start(r->q->env, &r->catch_up, CATCH_UP_US);
}

void reconcile_do(struct reconcile *r, const struct client_request *req, struct informer *inf, reconcile_cb cb,
		  void *arg)
{
	if (!r->q->running) { /* leadership is lost: nothing more goes out */
		r->failed = true;
		return;
	}
	struct reconcile_write *w = NEW(struct reconcile_write);
	w->run = r;
	w->inf = inf;
	w->cb = cb;
	w->arg = arg;
	list_push(&r->writes, &w->node);
	struct client_request named = *req;
	if (!named.field_manager)
		named.field_manager = r->q->name;
	w->call = client_do(r->q->client, &named, write__on_answer, w);
}

void reconcile_again_after(struct reconcile *r, uint64_t delay_us)
{
	r->again_us = MIN(r->again_us, delay_us);
}

struct env *reconcile_env(struct reconcile *r)
{
	return r->q->env;
}

void reconcile_defer(struct reconcile *r, void (*fn)(void *), void *arg)
{
	GROW(r->deferred, r->cap_deferred, r->n_deferred + 1);
	r->deferred[r->n_deferred++] = (struct reconcile_deferred){fn, arg};
}

void *reconcile_alloc(struct reconcile *r, size_t size)
{
	void *p = xcalloc(1, size);
	reconcile_defer(r, free, p);
	return p;
}

static void key__run(struct queue_key *k)
{
	struct reconciler *q = k->q;
	k->state = KEY_RUNNING;
	k->dirty = false;
	q->n_running++;
	metric_add(q->depth, -1);
	metric_observe(q->queue_s, (double)(env_now_us(q->env) - k->queued_us) / 1e6);
	struct reconcile *r = NEW(struct reconcile);
	r->magic = RUN_MAGIC;
	r->q = q;
	r->k = k;
	k->run = r;
	r->again_us = UINT64_MAX;
	r->catch_up.fn = run__on_catch_up;
	r->finish.fn = run__on_finish;
	list_init(&r->writes);
	r->deciding = true;
	_cleanup_err_ struct err err = ERR_INIT;
	if (q->config.reconcile(q->config.arg, r, k->key, &err) < 0) {
		r->failed = true;
		log_warn(q->name, "failed key=%s error=\"%s\"", k->key, err.message);
	}
	r->deciding = false;
	run__check(r);
}

static void reconciler__on_turn(struct env_post *p)
{
	struct reconciler *q = CONTAINER_OF(p, struct reconciler, turn);
	MAGIC_CHECK(q, RECONCILER_MAGIC);
	for (unsigned i = 0; i < KEYS_PER_TURN && q->running && q->n_running < q->config.workers; i++) {
		struct list *node = list_pop(&q->queue);
		if (!node)
			return;
		key__run(LIST_ENTRY(node, struct queue_key, node));
	}
	key__wake(q);
}

/* ---- the whole ---- */

struct reconciler *reconciler_new(struct env *env, struct client *client, const struct reconciler_config *config)
{
	struct reconciler *q = NEW(struct reconciler);
	q->magic = RECONCILER_MAGIC;
	q->env = env;
	q->client = client;
	q->config = *config;
	q->name = xstrdup(config->name);
	if (!q->config.workers)
		q->config.workers = 16;
	if (!q->config.backoff_min_us)
		q->config.backoff_min_us = 5000;
	if (!q->config.backoff_max_us)
		q->config.backoff_max_us = 1000000000ull;
	list_init(&q->queue);
	q->turn.fn = reconciler__on_turn;
	q->depth = metric_get(&workqueue_depth, q->name, NULL);
	q->adds = metric_get(&workqueue_adds, q->name, NULL);
	q->retries = metric_get(&workqueue_retries, q->name, NULL);
	q->queue_s = metric_get(&workqueue_queue_s, q->name, NULL);
	return q;
}

void reconciler_free(struct reconciler *q)
{
	if (!q)
		return;
	env_post_cancel(q->env, &q->turn);
	MAP_EACH (&q->keys, e) {
		struct queue_key *k = e->value;
		if (k->run)
			run__free(k->run);
		key__free(k);
	}
	map_done(&q->keys);
	metric_set(q->depth, 0);
	free(q->name);
	free(q);
}

void reconciler_add(struct reconciler *q, const char *key)
{
	key__queue(key__get(q, key));
}

void reconciler_add_after(struct reconciler *q, const char *key, uint64_t delay_us)
{
	key__start_timer(key__get(q, key), delay_us);
}

void reconciler_add_object(struct reconciler *q, struct object *obj)
{
	if (!*obj->ns) {
		reconciler_add(q, obj->name);
		return;
	}
	char key[600];
	snprintf(key, sizeof(key), "%s/%s", obj->ns, obj->name);
	reconciler_add(q, key);
}

void reconciler_run(struct reconciler *q)
{
	q->running = true;
	key__wake(q);
}

void reconciler_pause(struct reconciler *q)
{
	q->running = false;
}

/* Deadlines that lie ahead (reconcile_again_after) do not count; retries of failures do. */
bool reconciler_idle(const struct reconciler *q)
{
	if (!list_empty(&q->queue) || q->n_running)
		return false;
	MAP_EACH (&q->keys, e)
		if (((struct queue_key *)e->value)->failures)
			return false;
	return true;
}
