/* Watches: all of them are fed by one watch of etcd, through a ring of what it brought lately.
 *
 *   next_rev > root.pos   in step: gets each revision as it comes
 *   next_rev > floor      behind (new, or was paused): catches up from the ring
 *   next_rev <= floor     far behind: fed by a second watch of etcd, from the oldest revision wanted, until it is not
 *   next_rev <= compacted gone: ends with -ESTALE
 */
#include <errno.h>
#include <inttypes.h>

#include "store/etcd_internal.h"

#define MAX_PENDING 10000u
#define RING_BYTES  (16u << 20)
#define RING_EVENTS 20000u
#define SLICE       5000u /* events looked at per turn */
#define PING_US     2000000u

static void end(struct store_watch *w, const struct err *err)
{
	etcd_unwatch(&w->e->base, w);
	if (w->ops.on_end)
		w->ops.on_end(w->arg, err);
}

static bool gone(struct store_watch *w)
{
	if (w->next_rev > w->e->compacted)
		return false;
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -ESTALE, "the required revision %" PRIu64 " has been compacted (%" PRIu64 ")", w->next_rev,
		w->e->compacted);
	end(w, &err);
	return true;
}

static bool in_range(const struct store_watch *w, const char *key)
{
	if (!w->end)
		return streq(key, w->key);
	return strcmp(key, w->key) >= 0 && (!*w->end || strcmp(key, w->end) < 0);
}

/* ---- the ring ---- */

static struct store_event *ring_at(const struct etcd *e, size_t i)
{
	return &e->ring[i % e->cap_ring];
}

static size_t event_bytes(const struct store_event *ev)
{
	return sizeof(*ev) + strlen(ev->kv.key) + (ev->kv.value ? ev->kv.value->len : 0) +
	       (ev->prev.value ? ev->prev.value->len : 0);
}

static void drop(struct store_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free((char *)events[i].kv.key);
		blob_unref(events[i].kv.value);
		blob_unref(events[i].prev.value);
	}
}

static void ring_drop(struct etcd *e)
{
	struct store_event *ev = ring_at(e, e->first++);
	e->ring_bytes -= event_bytes(ev);
	e->floor = ev->kv.mod_rev;
	drop(ev, 1);
}

/* Whole revisions, until it fits. */
static void ring_trim(struct etcd *e, size_t events, size_t bytes)
{
	while (e->next > e->first && (e->next - e->first > events || e->ring_bytes > bytes)) {
		uint64_t rev = ring_at(e, e->first)->kv.mod_rev;
		while (e->next > e->first && ring_at(e, e->first)->kv.mod_rev == rev)
			ring_drop(e);
	}
}

static void ring_add(struct etcd *e, const struct store_event *ev)
{
	if (e->next - e->first == e->cap_ring) {
		size_t cap = MAX(64, e->cap_ring * 2), n = e->next - e->first;
		struct store_event *ring = NEW_N(struct store_event, cap);
		for (size_t i = 0; i < n; i++)
			ring[i] = *ring_at(e, e->first + i);
		free(e->ring);
		e->ring = ring;
		e->cap_ring = cap;
		e->first = 0;
		e->next = n;
	}
	*ring_at(e, e->next++) = *ev;
	e->ring_bytes += event_bytes(ev);
}

static size_t ring_find(const struct etcd *e, uint64_t rev)
{
	size_t lo = e->first, hi = e->next;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (ring_at(e, mid)->kv.mod_rev < rev)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- delivery ---- */

static void deliver(struct store_watch *w, uint64_t rev, const struct store_event *events, size_t n)
{
	w->next_rev = rev + 1;
	if (!n)
		return;
	w->last_us = env_now_us(w->e->env);
	w->ops.on_events(w->arg, rev, events, n);
}

/* Those of the events of one revision that w wants, in the scratch. */
static size_t gather(struct store_watch *w, const struct store_event *ev, size_t at)
{
	struct etcd *e = w->e;
	if (!in_range(w, ev->kv.key))
		return at;
	GROW(e->events, e->cap_events, at + 1);
	e->events[at] = *ev;
	return at + 1;
}

static void overflow(struct store_watch *w)
{
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -EOVERFLOW, "the watcher is too slow: more than %zu events wait", w->max_pending);
	end(w, &err);
}

static void count_pending(struct store_watch *w)
{
	struct etcd *e = w->e;
	for (size_t i = ring_find(e, MAX(w->next_rev, w->counted_rev + 1)); i < e->next; i++)
		w->pending += in_range(w, ring_at(e, i)->kv.key);
	w->counted_rev = MAX(w->counted_rev, e->root.pos);
	if (w->pending > w->max_pending)
		overflow(w);
}

/* From the ring, at most a slice. Returns how many events it looked at. */
static size_t advance(struct store_watch *w)
{
	struct etcd *e = w->e;
	size_t i = ring_find(e, w->next_rev), begun = i;
	while (i < e->next && i - begun < SLICE && !w->dead && !w->paused) {
		uint64_t rev = ring_at(e, i)->kv.mod_rev;
		size_t n = 0;
		for (; i < e->next && ring_at(e, i)->kv.mod_rev == rev; i++)
			n = gather(w, ring_at(e, i), n);
		deliver(w, rev, e->events, n);
	}
	if (!w->dead && !w->paused && i >= e->next)
		w->next_rev = MAX(w->next_rev, e->root.pos + 1);
	return i - begun;
}

static bool lags(const struct store_watch *w)
{
	return !w->dead && !w->paused && w->next_rev && w->next_rev <= w->e->floor;
}

/* One turn's share of one watch. */
static size_t step(struct store_watch *w)
{
	struct etcd *e = w->e;
	if (w->next_rev > e->root.pos)
		return 0;
	if (w->paused) {
		count_pending(w);
		return 1;
	}
	return gone(w) || lags(w) ? 1 : advance(w);
}

static void sweep(struct etcd *e)
{
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		if (!w->dead)
			continue;
		list_del(&w->node);
		e->n_watches--;
		free(w->key);
		free(w->end);
		free(w);
	}
}

/* ---- the feeds ---- */

static void root_rev(struct etcd_feed *f, _unused_ uint64_t rev, struct store_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ring_add(f->e, &events[i]);
	env_post(f->e->env, &f->e->pump);
}

/* What was between the last revision seen and this one will never be told: who had not seen it is sent to the back feed,
 * which knows why. */
static void root_skip(struct etcd *e, uint64_t rev)
{
	ring_trim(e, 0, 0);
	e->root.pos = e->floor = rev;
	env_post(e->env, &e->pump);
}

static void root_lost(struct etcd *e, const struct err *why)
{
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		if (w->dead || !w->next_rev)
			continue;
		_cleanup_err_ struct err err = ERR_INIT;
		err_set(&err, -ESTALE, "etcd's history is another one than before: %s", why->message);
		end(w, &err);
	}
	e->root.pos = e->seen = e->compacted = 0;
}

static void root_checked(struct etcd_feed *f, const struct err *err, uint64_t rev)
{
	struct etcd *e = f->e;
	if (err->code) {
		if (err->code == -ERANGE)
			root_lost(e, err);
		etcd_feed_start(f, true);
		return;
	}
	if (f->latest)
		root_skip(e, rev);
	f->latest = false;
	if (e->known)
		return;
	e->known = true;
	LIST_EACH (&e->watches, w, struct store_watch, node)
		if (!w->next_rev)
			w->next_rev = rev + 1;
	etcd_line_go(e);
}

/* Whoever has seen all that this run brought so far; another was paused, and missed some: the next run is its. */
static bool in_run(const struct store_watch *w)
{
	return lags(w) && w->next_rev > w->e->back_seen;
}

static void back_rev(struct etcd_feed *f, uint64_t rev, struct store_event *events, size_t n)
{
	struct etcd *e = f->e;
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		if (!in_run(w) || w->next_rev > rev)
			continue;
		size_t wanted = 0;
		for (size_t i = 0; i < n; i++)
			wanted = gather(w, &events[i], wanted);
		deliver(w, rev, e->events, wanted);
	}
	e->back_seen = rev;
	drop(events, n);
	env_post(e->env, &e->pump);
}

static void back_checked(struct etcd_feed *f, const struct err *err, _unused_ uint64_t rev)
{
	if (err->code == -ESTALE)
		f->e->compacted = MAX(f->e->compacted, f->pos + 1);
	if (err->code)
		env_post(f->e->env, &f->e->pump);
}

static void back_tick(struct etcd *e)
{
	uint64_t from = UINT64_MAX;
	bool running = false;
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		if (lags(w))
			from = MIN(from, w->next_rev);
		running |= in_run(w);
	}
	if (e->back.state != FEED_IDLE && !running)
		etcd_feed_stop(&e->back);
	if (from == UINT64_MAX || e->back.state != FEED_IDLE)
		return;
	e->back.pos = e->back_seen = from - 1;
	etcd_feed_start(&e->back, false);
}

void etcd_watch_pump(struct etcd *e)
{
	size_t looked = 0, left = e->n_watches;
	for (; e->known && left && looked < SLICE; left--) {
		struct store_watch *w = LIST_ENTRY(list_pop(&e->watches), struct store_watch, node);
		list_push(&e->watches, &w->node);
		if (!w->dead)
			looked += step(w);
	}
	/* A slice may have ended in the middle of a watch, too. */
	if (left || looked >= SLICE)
		env_post(e->env, &e->pump);
	else if (e->known)
		ring_trim(e, RING_EVENTS, RING_BYTES);
	sweep(e);
	if (e->known && !e->closing)
		back_tick(e);
}

/* ---- is the root's server still alive, and of the quorum ---- */

static void ping_done(struct etcd_call *c, const struct err *err)
{
	struct etcd *e = CONTAINER_OF(c, struct etcd, ping);
	if (err->code && e->root.state == FEED_STREAMING && e->root.server == c->server)
		etcd_feed_broken(&e->root);
}

static void on_ping(struct env_timer *t)
{
	struct etcd *e = CONTAINER_OF(t, struct etcd, ping_timer);
	env_timer_start(e->env, t, PING_US);
	if (e->root.state != FEED_STREAMING)
		return;
	if (e->root.silent && !e->ping.http) {
		e->ping.server = e->root.server;
		etcd_call_begin(&e->ping);
	}
	e->root.silent = true;
}

void etcd_watch_open(struct etcd *e)
{
	etcd_feed_init(&e->root, e);
	etcd_feed_init(&e->back, e);
	e->root.on_rev = root_rev;
	e->root.on_checked = root_checked;
	e->back.on_rev = back_rev;
	e->back.on_checked = back_checked;
	etcd_call_init(&e->ping, e, "/v3/kv/range");
	e->ping.early = e->ping.one = true;
	e->ping.done = ping_done;
	buf_addc(&e->ping.body, '{');
	etcd_add_key(&e->ping.body, e, "key", "");
	buf_adds(&e->ping.body, "\"count_only\":true}");
	e->ping_timer.fn = on_ping;
	env_timer_start(e->env, &e->ping_timer, PING_US);
	etcd_feed_start(&e->root, true);
}

bool etcd_watch_close(struct etcd *e, const struct err *err)
{
	bool any = false;
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		any |= !w->dead;
		if (!w->dead)
			end(w, err);
	}
	if (any)
		return false;
	sweep(e);
	env_timer_stop(e->env, &e->ping_timer);
	etcd_call_done(&e->ping);
	etcd_feed_done(&e->root);
	etcd_feed_done(&e->back);
	ring_trim(e, 0, 0);
	free(e->ring);
	free(e->events);
	return true;
}

/* ---- the interface ---- */

static void progress(struct env_timer *t)
{
	struct store_watch *w = CONTAINER_OF(t, struct store_watch, timer);
	struct etcd *e = w->e;
	uint64_t now = env_now_us(e->env), idle = now - w->last_us;
	if (idle + 1000 < w->progress_us) {
		env_timer_start(e->env, t, w->progress_us - idle);
		return;
	}
	env_timer_start(e->env, t, w->progress_us);
	if (w->paused || !e->known || w->next_rev != e->root.pos + 1)
		return;
	w->last_us = now;
	w->ops.on_progress(w->arg, e->root.pos);
}

struct store_watch *etcd_watch(struct store *s, const struct store_watch_req *req, const struct store_watch_ops *ops,
			       void *arg)
{
	struct etcd *e = etcd_of(s);
	struct store_watch *w = NEW(struct store_watch);
	w->e = e;
	w->key = xstrdup(req->key);
	w->end = req->end ? xstrdup(req->end) : NULL;
	w->ops = *ops;
	w->arg = arg;
	w->next_rev = req->start_rev ? req->start_rev : e->known ? e->seen + 1 : 0;
	w->max_pending = req->max_pending ? req->max_pending : MAX_PENDING;
	w->progress_us = ops->on_progress ? req->progress_us : 0;
	w->last_us = env_now_us(e->env);
	w->timer.fn = progress;
	if (w->progress_us)
		env_timer_start(e->env, &w->timer, w->progress_us);
	list_push(&e->watches, &w->node);
	e->n_watches++;
	env_post(e->env, &e->pump);
	return w;
}

void etcd_watch_pause(struct store *s, struct store_watch *w, bool paused)
{
	if (w->paused == paused)
		return;
	w->paused = paused;
	w->pending = 0;
	w->counted_rev = 0;
	env_post(s->env, &etcd_of(s)->pump);
}

/* Freed by the next sweep: someone may be walking the list. */
void etcd_unwatch(struct store *s, struct store_watch *w)
{
	MUST(!w->dead);
	w->dead = true;
	env_timer_stop(s->env, &w->timer);
	env_post(s->env, &etcd_of(s)->pump);
}
