/* Watches: each holds no more than the first revision it has not delivered yet.
 *
 *   next_rev == rev + 1   in step: gets each revision as it is written
 *   next_rev <= rev       behind (new, or was paused): catches up from the history in memory, a slice per turn,
 *                         or, before that reaches, from the state in the pool
 *   next_rev <= compacted gone: ends with -ESTALE
 */
#include <errno.h>
#include <inttypes.h>

#include "store/engine.h"

#define MAX_PENDING 10000u
#define SLICE       2000u /* events looked at per watch and turn */
#define READ_ROWS   1000u

static void progress(struct env_timer *t)
{
	struct store_watch *w = CONTAINER_OF(t, struct store_watch, timer);
	struct engine *e = w->engine;
	uint64_t now = env_now_us(e->env), idle = now - w->last_us;
	if (idle + 1000 < w->progress_us) {
		env_timer_start(e->env, t, w->progress_us - idle);
		return;
	}
	env_timer_start(e->env, t, w->progress_us);
	if (w->paused || !w->next_rev || w->next_rev != e->mvcc.rev + 1)
		return;
	w->last_us = now;
	w->ops.on_progress(w->arg, e->mvcc.rev);
}

struct store_watch *watch__add(struct engine *e, const struct store_watch_req *req, const struct store_watch_ops *ops,
			       void *arg)
{
	struct store_watch *w = NEW(struct store_watch);
	w->key = xstrdup(req->key);
	w->end = req->end ? xstrdup(req->end) : NULL;
	w->ops = *ops;
	w->arg = arg;
	w->engine = e;
	w->next_rev = req->start_rev ? req->start_rev : e->recovered ? e->mvcc.rev + 1 : 0;
	if (BUG(BUG_FUTURE_WATCH) && w->next_rev > e->mvcc.rev + 1)
		w->next_rev = e->mvcc.rev + 1;
	w->max_pending = req->max_pending ? req->max_pending : MAX_PENDING;
	w->progress_us = ops->on_progress ? req->progress_us : 0;
	w->last_us = env_now_us(e->env);
	w->timer.fn = progress;
	if (w->progress_us)
		env_timer_start(e->env, &w->timer, w->progress_us);
	list_push(&e->watches, &w->node);
	if (w->next_rev <= e->mvcc.rev || e->closing || e->failed || e->witness) {
		e->watches_lag = true;
		env_post(e->env, &e->pump);
	}
	return w;
}

/* Freed by the next sweep: someone may be walking the list. */
void watch__remove(struct engine *e, struct store_watch *w)
{
	MUST(!w->dead);
	w->dead = true;
	env_timer_stop(e->env, &w->timer);
	e->watches_dead = true;
	env_post(e->env, &e->pump);
}

void watch__sweep(struct engine *e)
{
	if (!e->watches_dead)
		return;
	e->watches_dead = false;
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		if (!w->dead)
			continue;
		if (w->reading) { /* comes back here when its read is done */
			e->watches_dead = true;
			continue;
		}
		list_del(&w->node);
		free(w->key);
		free(w->end);
		free(w);
	}
}

static void end(struct engine *e, struct store_watch *w, const struct err *err)
{
	watch__remove(e, w);
	if (w->ops.on_end)
		w->ops.on_end(w->arg, err);
}

void watch__end_all(struct engine *e, const struct err *err)
{
	LIST_EACH (&e->watches, w, struct store_watch, node)
		if (!w->dead)
			end(e, w, err);
}

void watch__pause(struct engine *e, struct store_watch *w, bool paused)
{
	if (w->paused == paused)
		return;
	w->paused = paused;
	w->pending = 0;
	if (BUG(BUG_WATCH_GOES_BACK) && !paused && w->next_rev > 2)
		w->next_rev--;
	if (!paused && w->next_rev <= e->mvcc.rev) {
		e->watches_lag = true;
		env_post(e->env, &e->pump);
	}
}

static struct store_event event_of(const struct mvcc_rev *v)
{
	struct store_event ev = {.type = v->value ? STORE_EVENT_PUT : STORE_EVENT_DELETE, .kv = mvcc_kv(v, false)};
	ev.prev = v->older && v->older->value ? mvcc_kv(v->older, false) : (struct store_kv){.key = v->key->name};
	return ev;
}

/* Events of the revision at history place i that are in the watch's range; ret_next: where the next revision begins. */
static size_t gather(struct engine *e, const struct store_watch *w, size_t i, size_t *ret_next)
{
	uint64_t rev = mvcc_at(&e->mvcc, i)->mod_rev;
	size_t n = 0;
	for (; i < e->mvcc.n && mvcc_at(&e->mvcc, i)->mod_rev == rev; i++) {
		const struct mvcc_rev *v = mvcc_at(&e->mvcc, i);
		if (!mvcc_in_range(v->key->name, w->key, w->end))
			continue;
		GROW(e->events, e->cap_events, n + 1);
		e->events[n++] = event_of(v);
	}
	*ret_next = i;
	return n;
}

static void deliver(struct engine *e, struct store_watch *w, uint64_t rev, size_t n)
{
	w->next_rev = rev + 1;
	if (!n)
		return;
	w->last_us = env_now_us(e->env);
	if (BUG(BUG_SPLIT_REVISION) && n > 1) {
		w->ops.on_events(w->arg, rev, e->events, 1);
		w->ops.on_events(w->arg, rev, e->events + 1, n - 1);
		return;
	}
	w->ops.on_events(w->arg, rev, e->events, n);
}

void watch__dispatch(struct engine *e, uint64_t rev)
{
	size_t at = e->mvcc.n, next;
	while (at && mvcc_at(&e->mvcc, at - 1)->mod_rev == rev) /* it is the last one: no search */
		at--;
	LIST_EACH (&e->watches, w, struct store_watch, node) {
		if (w->dead)
			continue;
		if (BUG(BUG_STARVED_WATCHER) && w->paused && w->pending > 2)
			w->next_rev = rev + 1;
		if (w->paused && w->next_rev && w->next_rev <= rev) {
			w->pending += gather(e, w, at, &next);
			if (w->pending > w->max_pending) {
				_cleanup_err_ struct err err = ERR_INIT;
				err_set(&err, -EOVERFLOW, "the watcher is too slow: more than %zu events wait",
					w->max_pending);
				end(e, w, &err);
			}
		} else if (w->next_rev == rev) {
			deliver(e, w, rev, gather(e, w, at, &next));
		}
	}
}

void watch__recovered(struct engine *e)
{
	LIST_EACH (&e->watches, w, struct store_watch, node)
		if (!w->next_rev)
			w->next_rev = e->mvcc.rev + 1;
}

void watch__restored(struct engine *e)
{
	struct raft_status rs;
	raft_get_status(e->raft, &rs);
	e->watches_lag = true;
	if (e->recovered || e->applied_term != rs.term)
		return;
	e->recovered = true;
	watch__recovered(e);
}

static void read_state(struct engine *e, struct store_watch *w)
{
	struct history_read *h = NEW(struct history_read);
	h->watch = w;
	h->query = (struct store_state_query){.key = xstrdup(w->key),
					      .end = w->end ? xstrdup(w->end) : NULL,
					      .events = true,
					      .from = w->next_rev,
					      .to = e->mvcc.floor,
					      .limit = READ_ROWS};
	w->reading = true;
	history__submit(e, h);
}

static bool gone(struct engine *e, struct store_watch *w)
{
	if (w->next_rev > e->mvcc.compacted)
		return false;
	_cleanup_err_ struct err err = ERR_INIT;
	err_set(&err, -ESTALE, "the required revision %" PRIu64 " has been compacted (%" PRIu64 ")", w->next_rev,
		e->mvcc.compacted);
	end(e, w, &err);
	return true;
}

static void step(struct engine *e, struct store_watch *w)
{
	if (gone(e, w))
		return;
	if (w->next_rev <= e->mvcc.floor) {
		read_state(e, w);
		return;
	}
	size_t i = mvcc_find(&e->mvcc, w->next_rev), stop = i + SLICE;
	while (i < e->mvcc.n && i < stop && !w->dead && !w->paused) {
		uint64_t rev = mvcc_at(&e->mvcc, i)->mod_rev;
		size_t n = gather(e, w, i, &i);
		deliver(e, w, rev, n);
	}
	if (!w->dead && i >= e->mvcc.n && w->next_rev <= e->mvcc.rev)
		w->next_rev = e->mvcc.rev + 1; /* the last revisions wrote nothing that is kept */
	if (!w->dead && !w->paused && w->next_rev <= e->mvcc.rev)
		e->watches_lag = true;
}

void watch__catch_up(struct engine *e)
{
	if (!e->watches_lag || !e->recovered)
		return;
	e->watches_lag = false;
	LIST_EACH (&e->watches, w, struct store_watch, node)
		if (!w->dead && !w->paused && !w->reading && w->next_rev && w->next_rev <= e->mvcc.rev)
			step(e, w);
	if (e->watches_lag)
		env_post(e->env, &e->pump);
}

static struct store_kv row_kv(const struct store_state_row *r)
{
	return (struct store_kv){.key = r->key,
				 .value = r->value,
				 .create_rev = r->create_rev,
				 .mod_rev = r->mod_rev,
				 .version = r->version,
				 .lease = r->lease};
}

static size_t gather_rows(struct engine *e, const struct store_state_query *q, size_t i, size_t *ret_next)
{
	uint64_t rev = q->rows[i].mod_rev;
	size_t n = 0;
	while (i < q->n_rows && q->rows[i].mod_rev == rev && !q->rows[i].prev) {
		const struct store_state_row *r = &q->rows[i++];
		GROW(e->events, e->cap_events, n + 1);
		struct store_event *ev = &e->events[n++];
		*ev = (struct store_event){.type = r->value ? STORE_EVENT_PUT : STORE_EVENT_DELETE,
					   .kv = row_kv(r),
					   .prev = {.key = r->key}};
		if (i < q->n_rows && q->rows[i].prev) {
			if (q->rows[i].value)
				ev->prev = row_kv(&q->rows[i]);
			i++;
		}
	}
	*ret_next = i;
	return n;
}

void watch__history(struct engine *e, struct history_read *h)
{
	struct store_watch *w = h->watch;
	struct store_state_query *q = &h->query;
	w->reading = false;
	if (w->dead || gone(e, w))
		return;
	if (q->result) {
		_cleanup_err_ struct err err = ERR_INIT;
		err_set(&err, q->result, "the state cannot be read: %s", strerror(-q->result));
		end(e, w, &err);
		return;
	}
	for (size_t i = 0; i < q->n_rows && !w->dead && !w->paused;) {
		uint64_t rev = q->rows[i].mod_rev;
		size_t n = gather_rows(e, q, i, &i);
		deliver(e, w, rev, n);
	}
	if (w->dead)
		return;
	if (!w->paused)
		w->next_rev = MAX(w->next_rev, q->next);
	e->watches_lag = true;
}
