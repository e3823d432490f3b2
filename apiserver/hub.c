#include "apiserver/hub.h"

#include <errno.h>

#include "apiserver/tag.h"
#include "lib/core/log.h"

#define RING_MAX       8192u
#define RING_BYTES_MAX (16u << 20)
#define PROGRESS_US    (30u * 1000000u)

struct hub {
	struct apiserver *server;
	struct resource *res;
	struct store_watch *watch;
	uint64_t rev;   /* all up to here has come */
	uint64_t floor; /* events after this one are in the ring */
	struct hub_event **ring;
	size_t cap;
	uint64_t first, next; /* sequence numbers; ring[seq % cap] */
	size_t bytes;
	struct list watchers;
	size_t n_watchers;
	bool shared, pumping, doomed;
	struct env_post reopen;
};

static void event_unref(struct hub_event *e)
{
	if (!e || --e->refs > 0)
		return;
	blob_unref(e->cur);
	blob_unref(e->prev);
	object_unref(e->cur_obj);
	object_unref(e->prev_obj);
	for (unsigned f = 0; f < FORMAT_COUNT; f++)
		for (unsigned t = 0; t < WATCH_BOOKMARK; t++)
			blob_unref(e->encoded[f][t]);
	free(e->key);
	free(e);
}

static size_t event_bytes(const struct hub_event *e)
{
	return 256 + (e->cur ? e->cur->len : 0) + (e->prev ? e->prev->len : 0);
}

static void ring_drop_first(struct hub *h)
{
	MUST(h->cap > 0);
	struct hub_event *e = h->ring[h->first % h->cap];
	h->bytes -= event_bytes(e);
	h->floor = e->rev;
	h->ring[h->first % h->cap] = NULL;
	h->first++;
	event_unref(e);
}

static void ring_grow(struct hub *h)
{
	size_t cap = h->cap ? h->cap * 2 : 64;
	struct hub_event **ring = NEW_N(struct hub_event *, cap);
	for (uint64_t s = h->first; h->cap && s < h->next; s++)
		ring[s % cap] = h->ring[s % h->cap];
	free(h->ring);
	h->ring = ring;
	h->cap = cap;
}

static void ring_add(struct hub *h, struct hub_event *e)
{
	while (h->next > h->first && (h->next - h->first >= RING_MAX || h->bytes > RING_BYTES_MAX))
		ring_drop_first(h);
	if (h->next - h->first == h->cap)
		ring_grow(h);
	h->bytes += event_bytes(e);
	h->ring[h->next++ % h->cap] = e;
}

static void pump_all(struct hub *h)
{
	h->pumping = true;
	/* A pump may remove any watcher, itself included: walk by a moving marker. */
	struct list marker;
	list_unshift(&h->watchers, &marker);
	while (marker.next != &h->watchers) {
		struct hub_watcher *w = LIST_ENTRY(marker.next, struct hub_watcher, node);
		list_del(&marker);
		list_add_before(w->node.next, &marker);
		w->pump(w);
	}
	list_del(&marker);
	h->pumping = false;
	if (h->doomed)
		hub_free(h);
}

static void on_events(void *arg, uint64_t rev, const struct store_event *events, size_t n)
{
	struct hub *h = arg;
	h->rev = rev;
	if (h->floor == UINT64_MAX)
		h->floor = rev - 1;
	for (size_t i = 0; i < n; i++) {
		struct hub_event *e = NEW(struct hub_event);
		e->refs = 1;
		e->rev = rev;
		e->key = xstrdup(events[i].kv.key);
		if (events[i].type == STORE_EVENT_PUT && events[i].kv.value)
			e->cur = blob_ref(events[i].kv.value);
		if (events[i].prev.value)
			e->prev = blob_ref(events[i].prev.value);
		if (!e->cur && !e->prev) {
			event_unref(e);
			continue;
		}
		ring_add(h, e);
		if (h->shared)
			server_observe(h->server, h->res, e);
	}
	pump_all(h);
}

static void on_progress(void *arg, uint64_t rev)
{
	struct hub *h = arg;
	h->rev = MAX(h->rev, rev);
	if (h->floor == UINT64_MAX)
		h->floor = h->rev;
}

static void hub_open(struct hub *h);

static void reopen(struct env_post *p)
{
	hub_open(CONTAINER_OF(p, struct hub, reopen));
}

static void on_end(void *arg, const struct err *err)
{
	struct hub *h = arg;
	bool shared = h->shared;
	h->watch = NULL;
	while (!list_empty(&h->watchers)) {
		struct hub_watcher *w = LIST_ENTRY(h->watchers.next, struct hub_watcher, node);
		hub_leave(w);
		w->ended(w, err);
		/* a private hub went with its only watcher */
		if (!shared)
			return;
	}
	if (!h->shared || h->server->closing || err->code == -ECANCELED)
		return;
	log_warn("apiserver", "watch of %s ended, starting again: %s", h->res->resource, err->message);
	while (h->next > h->first)
		ring_drop_first(h);
	h->floor = UINT64_MAX; /* unknown until something comes */
	if (err->code == -ESTALE)
		h->rev = UINT64_MAX; /* from now on */
	env_post(h->server->env, &h->reopen);
}

static void hub_open(struct hub *h)
{
	static const struct store_watch_ops ops = {on_events, on_progress, on_end};
	_cleanup_free_ char *end = store_prefix_end(h->res->prefix);
	struct store_watch_req req = {
		.key = h->res->prefix, .end = end, .start_rev = h->rev + 1, .progress_us = PROGRESS_US};
	h->watch = store_watch(h->server->store, &req, &ops, h);
}

struct hub *hub_new(struct apiserver *a, struct resource *res, uint64_t after)
{
	struct hub *h = NEW(struct hub);
	h->server = a;
	h->res = res;
	h->rev = h->floor = after;
	h->shared = true;
	h->reopen.fn = reopen;
	list_init(&h->watchers);
	hub_open(h);
	return h;
}

void hub_set_private(struct hub *h)
{
	h->shared = false;
}

void hub_free(struct hub *h)
{
	if (!h)
		return;
	if (h->pumping) { /* freed by what it feeds: after that */
		h->doomed = true;
		return;
	}
	MUST(list_empty(&h->watchers));
	env_post_cancel(h->server->env, &h->reopen);
	if (h->watch)
		h->server->store->engine->unwatch(h->server->store, h->watch);
	while (h->next > h->first)
		ring_drop_first(h);
	free(h->ring);
	free(h);
}

bool hub_join(struct hub *h, struct hub_watcher *w, uint64_t after)
{
	if (after < h->floor)
		return false;
	uint64_t lo = h->first, hi = h->next;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		if (h->ring[mid % h->cap]->rev <= after)
			lo = mid + 1;
		else
			hi = mid;
	}
	w->hub = h;
	w->seq = lo;
	list_push(&h->watchers, &w->node);
	h->n_watchers++;
	return true;
}

void hub_leave(struct hub_watcher *w)
{
	if (!w->hub)
		return;
	list_del(&w->node);
	w->hub->n_watchers--;
	w->hub = NULL;
}

struct hub_event *hub_next(struct hub_watcher *w, bool *ret_lost)
{
	struct hub *h = w->hub;
	*ret_lost = w->seq < h->first;
	if (*ret_lost || w->seq >= h->next)
		return NULL;
	return h->ring[w->seq++ % h->cap];
}

uint64_t hub_rev(const struct hub *h)
{
	return h->rev;
}

size_t hub_watchers(const struct hub *h)
{
	return h ? h->n_watchers : 0;
}

struct object *hub_event_object(struct apiserver *a, const struct resource *res, struct hub_event *e,
				enum watch_type type)
{
	bool old = type == WATCH_DELETED && e->prev;
	struct object **slot = old ? &e->prev_obj : &e->cur_obj;
	if (*slot)
		return *slot;
	if (old) {
		/* its version is the deletion's: an object of its own, but with the tree that is at hand, if any */
		if (object_from_bytes(res->kind, e->prev, e->rev, slot, NULL) < 0)
			return NULL;
		return *slot;
	}
	*slot = e->cur ? recent_object(a, res, e->cur, e->rev) : NULL;
	return *slot;
}
