#include "apiserver/watch.h"

#include <errno.h>

#include "apiserver/direct.h"
#include "apiserver/encode.h"
#include "apiserver/read.h"
#include "apiserver/tag.h"

#define BOOKMARK_US (60ull * 1000000)
#define PER_TURN    128 /* events handled before others get the loop */
#define UNSENT_MAX  (1u << 20)

static void watch_free(void *p)
{
	struct watch *w = p;
	if (w->freed)
		*w->freed = true;
	struct env *env = w->r->server->env;
	env_timer_stop(env, &w->timeout);
	env_timer_stop(env, &w->bookmark);
	env_post_cancel(env, &w->again);
	hub_leave(&w->w);
	hub_free(w->own_hub);
	selector_free(w->labels);
	field_selector_free(w->fields);
	free(w->prefix);
	free(w);
}

static bool in_range(const struct watch *w, const char *key)
{
	return w->exact ? streq(key, w->prefix) : str_starts(key, w->prefix);
}

static bool matches(struct watch *w, struct blob *b)
{
	return b && tag_matches(w->r->server, w->r->res, b, w->labels, w->fields);
}

/* What an event means to this watcher, whose selectors it may have entered or left. False: nothing. */
static bool event_type(struct watch *w, const struct hub_event *e, enum watch_type *ret)
{
	if (e->rev <= w->after || !in_range(w, e->key))
		return false;
	bool now = matches(w, e->cur), before = matches(w, e->prev);
	if (!now && !before)
		return false;
	*ret = !before ? WATCH_ADDED : !now ? WATCH_DELETED : WATCH_MODIFIED;
	return true;
}

static void watch_end(struct watch *w, const struct err *err)
{
	hub_leave(&w->w);
	w->sink->end(w, err);
}

static void end_expired(struct watch *w, const char *fmt, uint64_t rev)
{
	struct err err = ERR_INIT;
	err_status(&err, ERR_EXPIRED, "too old resource version: %llu (%s%llu)", (unsigned long long)w->after, fmt,
		   (unsigned long long)rev);
	watch_end(w, &err);
}

static void on_ended(struct hub_watcher *hw, const struct err *err)
{
	struct watch *w = CONTAINER_OF(hw, struct watch, w);
	if (err->code == -ESTALE)
		end_expired(w, "", hub_rev(w->r->res->hub));
	else
		watch_end(w, &(struct err){0});
}

/* False: full, freed or out of turn. */
static bool pump_initial(struct watch *w, const bool *freed, unsigned *budget)
{
	struct result *res = &w->r->result;
	while (w->next_initial < res->n_items) {
		if (w->sink->full(w))
			return false;
		if ((*budget)-- == 0) {
			env_post(w->r->server->env, &w->again);
			return false;
		}
		w->sink->initial(w, &res->items[w->next_initial++]);
		if (*freed)
			return false;
	}
	if (!w->initial_done) {
		w->initial_done = true;
		result_done(res);
		if (w->r->options.send_initial)
			w->sink->bookmark(w, w->after, true);
	}
	return !*freed;
}

void watch_pump(struct watch *w)
{
	bool freed = false, lost = false;
	unsigned budget = PER_TURN;
	if (w->freed) /* pumped from within its own pump */
		return;
	w->freed = &freed;
	bool going = pump_initial(w, &freed, &budget);
	while (going && w->w.hub && !w->sink->full(w)) {
		if (budget-- == 0) {
			env_post(w->r->server->env, &w->again);
			break;
		}
		struct hub_event *e = hub_next(&w->w, &lost);
		enum watch_type type;
		if (!e)
			break;
		if (event_type(w, e, &type)) {
			w->told = e->rev;
			w->sink->event(w, type, e);
		}
		going = !freed;
	}
	if (freed)
		return;
	w->freed = NULL;
	if (lost)
		end_expired(w, "too slow: ", hub_rev(w->w.hub));
}

static void pump_watcher(struct hub_watcher *hw)
{
	watch_pump(CONTAINER_OF(hw, struct watch, w));
}

static void pump_again(struct env_post *p)
{
	watch_pump(CONTAINER_OF(p, struct watch, again));
}

/* A bookmark says that nothing at or before its revision is missing: only to a watcher that has seen all. */
static void send_bookmark(struct watch *w)
{
	bool lost;
	if (!w->initial_done || !w->w.hub)
		return;
	struct hub_event *e = hub_next(&w->w, &lost);
	if (e || lost) {
		w->w.seq -= e ? 1 : 0;
		return;
	}
	uint64_t rev = hub_rev(w->w.hub);
	if (rev > w->told && rev > w->after) {
		w->told = rev;
		w->sink->bookmark(w, rev, false);
	}
}

static void on_bookmark_timer(struct env_timer *t)
{
	struct watch *w = CONTAINER_OF(t, struct watch, bookmark);
	env_timer_start(w->r->server->env, t, BOOKMARK_US);
	send_bookmark(w);
}

static void on_timeout(struct env_timer *t)
{
	struct watch *w = CONTAINER_OF(t, struct watch, timeout);
	watch_end(w, &(struct err){0});
}

static void join(struct watch *w)
{
	struct request *r = w->r;
	if (hub_join(r->res->hub, &w->w, w->after))
		return;
	w->own_hub = hub_new(r->server, r->res, w->after);
	hub_set_private(w->own_hub);
	hub_join(w->own_hub, &w->w, w->after);
}

/* ---- the handler ---- */

static int watch_decode(struct request *r)
{
	struct request_options *o = &r->options;
	struct watch *w = NEW(struct watch);
	w->r = r;
	r->extra = w;
	r->extra_free = watch_free;
	w->w.pump = pump_watcher;
	w->w.ended = on_ended;
	w->again.fn = pump_again;
	w->timeout.fn = on_timeout;
	w->bookmark.fn = on_bookmark_timer;
	int rc = read_selectors(r, &w->labels, &w->fields);
	if (rc < 0)
		return rc;
	w->exact = *r->route.name && (!r->kind->namespaced || *r->route.ns);
	w->prefix = w->exact ? resource_key(r->res, r->route.ns, r->route.name) : resource_range(r->res, r->route.ns);
	if (o->rv && *o->rv && parse_u64(o->rv, &w->after) < 0)
		return fail_bad(r, "Invalid value: \"%.100s\": strconv.ParseUint: parsing \"%.100s\": invalid syntax",
				o->rv, o->rv);
	return REQUEST_NEXT;
}

static void on_initial(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	struct watch *w = r->extra;
	if (store_failed(err)) {
		fail_store(r, err);
		request_resume(r, REQUEST_ANSWER);
		return;
	}
	w->after = resp->rev;
	for (size_t i = 0; i < resp->n_kvs; i++)
		if (matches(w, resp->kvs[i].value))
			result_item(&r->result, resp->kvs[i].value, resp->kvs[i].mod_rev, NULL);
	request_resume(r, REQUEST_CHANGE);
}

static int watch_look(struct request *r)
{
	struct watch *w = r->extra;
	if (w->after && !r->options.send_initial)
		return REQUEST_NEXT;
	_cleanup_free_ char *end = w->exact ? NULL : store_prefix_end(w->prefix);
	struct store_range_req req = {.key = w->prefix, .end = end, .serializable = streq(r->options.rv, "0")};
	request_submitted(r);
	store_range(r->server->store, &req, on_initial, r);
	return REQUEST_WAIT;
}

static int watch_change(struct request *r)
{
	struct watch *w = r->extra;
	struct env *env = r->server->env;
	if (r->http)
		http_respond_start(r->http, 200,
				   (const struct http_header[]){{"Content-Type", "application/json"},
								{"Cache-Control", "no-cache, private"},
								{NULL, NULL}});
	w->sink = r->http ? &watch_sink_http : &watch_sink_direct;
	unsigned timeout_s = r->options.timeout_s;
	if (!timeout_s && r->http)
		timeout_s = 1800 + (unsigned)env_random_below(env, 1800);
	if (timeout_s)
		env_timer_start(env, &w->timeout, (uint64_t)timeout_s * 1000000);
	if (r->options.bookmarks)
		env_timer_start(env, &w->bookmark, BOOKMARK_US);
	join(w);
	env_post(env, &w->again);
	return REQUEST_STREAMS;
}

const struct handler handler_watch = {.decode = watch_decode, .look = watch_look, .change = watch_change};

/* ---- HTTP ---- */

static void http_drained(void *arg, struct http_request *hr)
{
	(void)hr;
	watch_pump(arg);
}

static bool http_full(struct watch *w)
{
	if (http_unsent(w->r->http) < UNSENT_MAX)
		return false;
	http_on_drain(w->r->http, http_drained, w);
	return true;
}

static void http_event(struct watch *w, enum watch_type type, struct hub_event *e)
{
	struct request *r = w->r;
	struct blob *source = type == WATCH_DELETED && e->prev ? e->prev : e->cur, *made = NULL;
	bool shared = r->format != FORMAT_TABLE || r->table_include == INCLUDE_METADATA;
	struct blob **slot = shared ? &e->encoded[r->format][type] : &made;
	if (!*slot) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		encode_event(r->server, r->res, type, source, e->rev, r->format, r->table_include, &b);
		*slot = blob_new(b.data, b.len);
	}
	http_write_blob(r->http, *slot);
	blob_unref(made);
}

static void http_initial(struct watch *w, const struct item *item)
{
	struct request *r = w->r;
	_cleanup_buf_ struct buf b = BUF_INIT;
	encode_event(r->server, r->res, WATCH_ADDED, item->bytes, item->rv, r->format, r->table_include, &b);
	http_write(r->http, b.data, b.len);
}

static void http_bookmark(struct watch *w, uint64_t rv, bool initial_end)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	encode_bookmark(w->r->res, rv, w->r->format, initial_end, &b);
	http_write(w->r->http, b.data, b.len);
}

static void http_watch_end(struct watch *w, const struct err *err)
{
	struct request *r = w->r;
	if (err->code) {
		_cleanup_buf_ struct buf b = BUF_INIT;
		encode_error_event(err, &b);
		http_write(r->http, b.data, b.len);
	}
	http_end(STEAL(r->http));
	request_finish(r);
}

const struct watch_sink watch_sink_http = {http_full, http_event, http_initial, http_bookmark, http_watch_end};

void watches_close_all(struct apiserver *a)
{
	LIST_EACH (&a->requests, r, struct request, node) {
		if (r->verb == V_WATCH && r->stage == REQUEST_STREAM && !r->finished && !r->cancelled)
			watch_end(r->extra, &(struct err){0});
	}
}
