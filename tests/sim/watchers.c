/* Watchers: each follows a range of keys, goes on where it was after whatever ended it, and lists when that is gone. */
#include <errno.h>
#include <inttypes.h>

#include "tests/sim/clients.h"
#include "tests/sim/ledger.h"
#include "tests/sim/sim.h"

static unsigned number(const char *name)
{
	return (unsigned)strtoul(name + 2, NULL, 10);
}

static uint64_t value(const struct store_kv *kv)
{
	return sim_value(kv->value);
}

static bool alive(const struct sim_watcher *w)
{
	return w->server && sim_server_alive(w->server) && w->server->life == w->life;
}

/* What the store knows the watch by: one that a watcher has left behind says nothing to it. A server that died may have
 * kept it, so each lives as long as the process. */
struct sim_handle {
	struct sim_watcher *watcher;
	struct sim_handle *before;
};
static struct sim_handle *handles;

static struct sim_watcher *current(void *arg)
{
	struct sim_handle *h = arg;
	return h->watcher->handle == h && alive(h->watcher) ? h->watcher : NULL;
}

static void on_events(void *arg, uint64_t rev, const struct store_event *events, size_t n)
{
	struct sim_watcher *w = current(arg);
	if (!w)
		return;
	struct session *s = w->session;
	sim_trace("watch %u-%u: revision %" PRIu64 ", %zu events", w->lo, w->hi, rev, n);
	if (rev < s->from || (s->n && rev <= s->revs[s->n - 1]) || rev <= s->upto)
		sim_violation("a watch from revision %" PRIu64 " that had seen %" PRIu64 " was told of %" PRIu64,
			      s->from, s->upto, rev);
	if (w->paused)
		sim_violation("a paused watch was told of revision %" PRIu64, rev);
	if (n == 0 || n > SIM_KEYS)
		sim_violation("a watch was told of %zu events in revision %" PRIu64, n, rev);
	struct seen *seen = ledger_add(SEEN_EVENTS);
	seen->rev = rev;
	seen->lo = w->lo;
	seen->hi = w->hi;
	seen->call = seen->ret = ledger_moment();
	for (size_t i = 0; i < n; i++) {
		const struct store_event *e = &events[i];
		struct seen_kv kv = {.key = number(e->kv.key),
				     .value = e->type == STORE_EVENT_PUT ? value(&e->kv) : 0,
				     .create = e->kv.create_rev,
				     .mod = e->kv.mod_rev,
				     .version = e->kv.version,
				     .lease = e->kv.lease,
				     .prev = value(&e->prev),
				     .has_prev = true};
		if (kv.key < w->lo || kv.key >= w->hi || kv.mod != rev)
			sim_violation("a watch of keys %u to %u was told of key %u, revision %" PRIu64
				      " in revision %" PRIu64,
				      w->lo, w->hi, kv.key, kv.mod, rev);
		for (size_t k = 0; k < i; k++)
			if (seen->kvs[k].key == kv.key)
				sim_violation("a watch was told twice of key %u in revision %" PRIu64, kv.key, rev);
		seen->kvs[seen->n++] = kv;
	}
	GROW(s->revs, s->cap, s->n + 1);
	s->revs[s->n++] = s->upto = rev;
	w->from = rev + 1;
}

static void on_progress(void *arg, uint64_t rev)
{
	struct sim_watcher *w = current(arg);
	if (!w)
		return;
	if (rev < w->session->upto)
		sim_violation("a watch that had seen revision %" PRIu64 " was bookmarked at %" PRIu64, w->session->upto,
			      rev);
	w->session->upto = rev;
	w->from = MAX(w->from, rev + 1);
}

static void on_end(void *arg, const struct err *err)
{
	struct sim_watcher *w = current(arg);
	if (!w)
		return;
	w->watch = NULL;
	w->server = NULL;
	w->next_us = sim.now_us + rand_below(&sim.rand, 20000);
	sim_trace("watch %u-%u ends: %d", w->lo, w->hi, err->code);
	if (err->code == -EOVERFLOW && !w->paused)
		sim_violation("a watcher that was not paused is called too slow");
	if (err->code == -ESTALE)
		w->from = 0;
}

static void start_from(struct sim_watcher *w, struct sim_server *s, uint64_t from)
{
	static const struct store_watch_ops ops = {on_events, on_progress, on_end};
	char lo[16], hi[16];
	snprintf(lo, sizeof(lo), "k/%02u", w->lo);
	snprintf(hi, sizeof(hi), "k/%02u", w->hi);
	w->server = s;
	w->life = s->life;
	w->paused = false;
	w->from = from;
	w->session = ledger_session(w->lo, w->hi, from);
	w->handle = NEW(struct sim_handle);
	*w->handle = (struct sim_handle){.watcher = w, .before = handles};
	handles = w->handle;
	w->watch = store_watch(s->store,
			       &(struct store_watch_req){.key = lo,
							 .end = hi,
							 .start_rev = from,
							 .progress_us = 50000 + rand_below(&sim.rand, 500000),
							 .max_pending = (size_t)rand_between(&sim.rand, 5, 200)},
			       &ops, w->handle);
}

/* A list: what a client does that lost its place. */
struct listing {
	struct sim_watcher *watcher;
	struct sim_server *server;
	unsigned life;
	uint64_t call;
};

static void listed(void *arg, _unused_ const struct err *err, const struct store_range_resp *r)
{
	struct listing *l = arg;
	struct sim_watcher *w = l->watcher;
	w->listing = false;
	if (r && sim_server_alive(l->server) && l->server->life == l->life) {
		struct seen *s = ledger_add(SEEN_RANGE);
		s->rev = r->rev;
		s->call = l->call;
		s->ret = ledger_moment();
		s->latest = true;
		s->lo = w->lo;
		s->hi = w->hi;
		for (size_t i = 0; i < r->n_kvs && i < SIM_KEYS; i++)
			s->kvs[s->n++] = (struct seen_kv){.key = number(r->kvs[i].key),
							  .value = value(&r->kvs[i]),
							  .create = r->kvs[i].create_rev,
							  .mod = r->kvs[i].mod_rev,
							  .version = r->kvs[i].version,
							  .lease = r->kvs[i].lease};
		w->from = r->rev + 1;
	}
	free(l);
}

static void list(struct sim_watcher *w, struct sim_server *s)
{
	char lo[16], hi[16];
	snprintf(lo, sizeof(lo), "k/%02u", w->lo);
	snprintf(hi, sizeof(hi), "k/%02u", w->hi);
	struct listing *l = NEW(struct listing);
	*l = (struct listing){.watcher = w, .server = s, .life = s->life, .call = ledger_moment()};
	w->listing = true;
	store_range(s->store, &(struct store_range_req){.key = lo, .end = hi}, listed, l);
}

static void unsettle(struct sim_watcher *w)
{
	const struct store_engine *e = w->server->store->engine;
	if (rand_chance(&sim.rand, 3000)) {
		w->paused = !w->paused;
		e->watch_pause(w->server->store, w->watch, w->paused);
	} else if (rand_chance(&sim.rand, 700)) {
		e->unwatch(w->server->store, STEAL(w->watch));
		w->server = NULL;
		w->next_us = sim.now_us + rand_below(&sim.rand, 200000);
	}
}

void users_watch(struct sim_users *u)
{
	for (size_t i = 0; i < SIM_WATCHERS; i++) {
		struct sim_watcher *w = &u->watchers[i];
		if (w->watch && !alive(w)) {
			w->watch = NULL; /* gone with its server */
			w->server = NULL;
		}
		if (w->watch) {
			if (u->quiet && w->paused) {
				w->paused = false;
				w->server->store->engine->watch_pause(w->server->store, w->watch, false);
			} else if (!u->quiet && i > 0) {
				unsettle(w);
			}
			continue;
		}
		struct sim_server *s = &u->servers[rand_below(&sim.rand, u->n_servers)];
		if (w->next_us > sim.now_us || w->listing || !sim_server_alive(s) || s->wish == STORE_ROLE_WITNESS)
			continue;
		if (w->from == 0) {
			u->expired_watches++;
			list(w, s);
		} else {
			/* now and then from a revision that is yet to come */
			start_from(w, s, w->from + (i == 1 && rand_chance(&sim.rand, 300000) ? 3 : 0));
		}
	}
}

void users_settle(struct sim_users *u)
{
	uint64_t top = ledger_max_rev();
	for (size_t i = 0; i < SIM_WATCHERS; i++) {
		struct sim_watcher *w = &u->watchers[i];
		if (!w->watch || !alive(w))
			sim_violation("watcher %zu is not watching when all is quiet", i);
		if (w->session->from <= top)
			w->session->upto = MAX(w->session->upto, top);
	}
}
