#include <errno.h>

#include "lib/client/informer_priv.h"
#include "lib/core/log.h"

#define LIST_PAGE      500
#define BACKOFF_MIN_US 100000ull
#define BACKOFF_MAX_US 30000000ull
/* A watch that lasted less than this counts as a failure, so that a server closing at once is not hammered. */
#define WATCH_SHORT_US 1000000ull

static void informer__list(struct informer *inf);
static void informer__watch(struct informer *inf);

/* ---- the copy ---- */

static int item_cmp(const struct informer_item *item, const char *ns, const char *name)
{
	int c = strcmp(item->obj->ns, ns);
	return c ? c : strcmp(item->obj->name, name);
}

size_t informer__position(const struct informer_items *items, const char *ns, const char *name, bool *ret_found)
{
	size_t lo = 0, hi = items->n;
	*ret_found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = item_cmp(items->v[mid], ns, name);
		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void informer__insert(struct informer_items *items, struct informer_item *item)
{
	bool found;
	size_t at = informer__position(items, item->obj->ns, item->obj->name, &found);
	MUST(!found);
	GROW(items->v, items->cap, items->n + 1);
	memmove(items->v + at + 1, items->v + at, (items->n - at) * sizeof(*items->v));
	items->v[at] = item;
	items->n++;
}

void informer__take_out(struct informer_items *items, const struct informer_item *item)
{
	bool found;
	size_t at = informer__position(items, item->obj->ns, item->obj->name, &found);
	MUST(found && items->v[at] == item);
	memmove(items->v + at, items->v + at + 1, (items->n - at - 1) * sizeof(*items->v));
	items->n--;
}

static void *informer__make_extract(struct informer *inf, struct object *obj)
{
	if (!inf->make)
		return NULL;
	_cleanup_json_ json_t *tree = object_tree(obj);
	return inf->make(obj, tree);
}

static void informer__drop_extract(struct informer *inf, void *extract)
{
	if (inf->drop && extract)
		inf->drop(extract);
}

static void informer__notify(struct informer *inf, struct object *old_obj, void *old_extract, struct object *new_obj)
{
	inf->old_obj = old_obj;
	inf->old_extract = old_extract;
	for (unsigned i = 0; i < inf->n_listeners; i++) {
		struct informer_listener *l = inf->listeners[i];
		if (l->live && l->handler.on_change)
			l->handler.on_change(l->handler.arg, inf, old_obj, new_obj);
	}
	inf->old_obj = NULL;
	inf->old_extract = NULL;
}

static void item_free(struct informer *inf, struct informer_item *item)
{
	informer__drop_extract(inf, item->extract);
	object_unref(item->obj);
	free(item);
}

static void informer__put(struct informer *inf, struct object *obj)
{
	bool found;
	size_t at = informer__position(&inf->items, obj->ns, obj->name, &found);
	/* Held for as long as indexes, extract and handlers want it: one parse for all of them. */
	_cleanup_json_ _unused_ json_t *tree = inf->make || inf->n_index ? object_tree(obj) : NULL;
	if (!found) {
		struct informer_item *item = NEW(struct informer_item);
		item->obj = object_ref(obj);
		item->extract = informer__make_extract(inf, obj);
		informer__insert(&inf->items, item);
		informer__index_add(inf, item);
		informer__notify(inf, NULL, NULL, obj);
		return;
	}
	struct informer_item *item = inf->items.v[at];
	if (item->obj == obj || (obj->rv && item->obj->rv == obj->rv))
		return;
	struct object *old_obj = item->obj;
	void *old_extract = item->extract;
	informer__index_remove(inf, item);
	item->obj = object_ref(obj);
	item->extract = informer__make_extract(inf, obj);
	informer__index_add(inf, item);
	informer__notify(inf, old_obj, old_extract, obj);
	informer__drop_extract(inf, old_extract);
	object_unref(old_obj);
}

static void informer__remove_at(struct informer *inf, size_t at)
{
	struct informer_item *item = inf->items.v[at];
	informer__index_remove(inf, item);
	informer__take_out(&inf->items, item);
	informer__notify(inf, item->obj, item->extract, NULL);
	item_free(inf, item);
}

static void informer__remove(struct informer *inf, const char *ns, const char *name)
{
	bool found;
	size_t at = informer__position(&inf->items, ns, name, &found);
	if (found)
		informer__remove_at(inf, at);
}

static void informer__reached(struct informer *inf, uint64_t rv)
{
	if (rv > inf->rv)
		inf->rv = rv;
	LIST_EACH (&inf->waits, w, struct informer_wait, node) {
		if (w->rv > inf->rv)
			continue;
		list_del(&w->node);
		env_post(inf->set->client->env, &w->post);
	}
}

/* ---- list ---- */

static void informer__drop_page(struct informer *inf)
{
	for (size_t i = 0; i < inf->n_page; i++)
		object_unref(inf->page[i]);
	free(inf->page);
	inf->page = NULL;
	inf->n_page = inf->cap_page = 0;
	free(inf->continue_token);
	inf->continue_token = NULL;
}

static int object_order(const void *a, const void *b)
{
	const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
	int c = strcmp(x->ns, y->ns);
	return c ? c : strcmp(x->name, y->name);
}

/* Make the copy equal to what was listed; only differences are told. */
static void informer__replace(struct informer *inf)
{
	if (inf->n_page)
		qsort(inf->page, inf->n_page, sizeof(*inf->page), object_order);
	size_t at = 0;
	for (size_t i = 0; i < inf->n_page; i++) {
		struct object *obj = inf->page[i];
		while (at < inf->items.n && item_cmp(inf->items.v[at], obj->ns, obj->name) < 0)
			informer__remove_at(inf, at);
		struct object *have = at < inf->items.n ? inf->items.v[at]->obj : NULL;
		bool same_name = have && !strcmp(have->ns, obj->ns) && !strcmp(have->name, obj->name);
		if (same_name && strcmp(have->uid, obj->uid) != 0)
			informer__remove_at(inf, at); /* another object under the same name: gone, then added */
		informer__put(inf, obj);
		at++;
	}
	while (at < inf->items.n)
		informer__remove_at(inf, inf->items.n - 1);
}

static void informer__fail(struct informer *inf, const char *what, const struct err *err)
{
	inf->state = INFORMER_BACKOFF;
	inf->backoff_us = inf->backoff_us ? MIN(inf->backoff_us * 2, BACKOFF_MAX_US) : BACKOFF_MIN_US;
	if (err && err->code)
		log_debug("informer", "%s failed kind=%s retry_ms=%llu error=\"%s\"", what, inf->kind->kind,
			  (unsigned long long)(inf->backoff_us / 1000), err->message);
	/* Spread retries of many informers a little. */
	uint64_t jitter = env_random_below(inf->set->client->env, inf->backoff_us / 10 + 1);
	env_timer_start(inf->set->client->env, &inf->retry, inf->backoff_us + jitter);
}

static void informer__on_list(void *arg, const struct client_response *resp)
{
	struct informer *inf = arg;
	MAGIC_CHECK(inf, INFORMER_MAGIC);
	inf->call = NULL;
	if (resp->err->code) {
		bool expired = inf->continue_token && resp->err->code == -ESTALE;
		informer__drop_page(inf);
		if (expired) /* the pages outlived their revision: from the start */
			informer__list(inf);
		else
			informer__fail(inf, "list", resp->err);
		return;
	}
	GROW(inf->page, inf->cap_page, inf->n_page + resp->n_items);
	for (size_t i = 0; i < resp->n_items; i++)
		inf->page[inf->n_page++] = object_ref(resp->items[i]);
	free(inf->continue_token);
	inf->continue_token = NULL;
	if (!str_empty(resp->continue_token)) {
		inf->continue_token = xstrdup(resp->continue_token);
		informer__list(inf);
		return;
	}
	uint64_t rv = resp->rv;
	informer__replace(inf);
	informer__drop_page(inf);
	inf->need_list = false;
	inf->backoff_us = 0;
	/* A server restored from a backup may be behind what we had seen. */
	inf->rv = rv;
	informer__reached(inf, rv);
	bool first = !inf->synced;
	inf->synced = true;
	informer__watch(inf);
	if (first)
		informer__set_check(inf->set);
}

static void informer__list(struct informer *inf)
{
	inf->state = INFORMER_LISTING;
	struct client_request req = {
		.verb = CLIENT_LIST,
		.kind = inf->kind,
		.ns = inf->ns,
		.label_selector = inf->label_selector,
		.field_selector = inf->field_selector,
		.limit = LIST_PAGE,
		.continue_token = inf->continue_token,
		.grace_period_s = -1,
	};
	inf->call = client_do(inf->set->client, &req, informer__on_list, inf);
}

/* ---- watch ---- */

static void informer__on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct informer *inf = arg;
	MAGIC_CHECK(inf, INFORMER_MAGIC);
	uint64_t rv = obj->rv;
	switch (type) {
	case WATCH_ADDED:
	case WATCH_MODIFIED:
		informer__put(inf, obj);
		break;
	case WATCH_DELETED:
		informer__remove(inf, obj->ns, obj->name);
		break;
	case WATCH_BOOKMARK:
		break;
	}
	inf->backoff_us = 0;
	informer__reached(inf, rv);
}

static void informer__on_end(void *arg, const struct err *err)
{
	struct informer *inf = arg;
	MAGIC_CHECK(inf, INFORMER_MAGIC);
	inf->watch = NULL;
	if (err->code == -ESTALE) {
		inf->need_list = true;
		informer__list(inf);
		return;
	}
	bool brief = env_now_us(inf->set->client->env) - inf->watch_began_us < WATCH_SHORT_US;
	if (err->code || brief)
		informer__fail(inf, "watch", err);
	else
		informer__watch(inf);
}

static const struct client_watch_ops watch_ops = {
	.on_event = informer__on_event,
	.on_end = informer__on_end,
};

static void informer__watch(struct informer *inf)
{
	inf->state = INFORMER_WATCHING;
	inf->watch_began_us = env_now_us(inf->set->client->env);
	struct client_watch_request req = {
		.kind = inf->kind,
		.ns = inf->ns,
		.label_selector = inf->label_selector,
		.field_selector = inf->field_selector,
		.rv = inf->rv,
		.bookmarks = true,
	};
	inf->watch = client_watch(inf->set->client, &req, &watch_ops, inf);
}

static void informer__on_retry(struct env_timer *t)
{
	struct informer *inf = CONTAINER_OF(t, struct informer, retry);
	MAGIC_CHECK(inf, INFORMER_MAGIC);
	if (inf->need_list)
		informer__list(inf);
	else
		informer__watch(inf);
}

void informer__start(struct informer *inf)
{
	if (inf->state == INFORMER_IDLE)
		informer__list(inf);
}

/* ---- life ---- */

static char *dup_or_null(const char *s)
{
	return str_empty(s) ? NULL : xstrdup(s);
}

struct informer *informer__new(struct informer_set *set, const struct kind *kind, const char *ns,
			       const char *label_selector, const char *field_selector)
{
	struct informer *inf = NEW(struct informer);
	inf->magic = INFORMER_MAGIC;
	inf->set = set;
	inf->kind = kind;
	inf->ns = dup_or_null(ns);
	inf->label_selector = dup_or_null(label_selector);
	inf->field_selector = dup_or_null(field_selector);
	inf->need_list = true;
	inf->retry.fn = informer__on_retry;
	list_init(&inf->waits);
	return inf;
}

void informer__free(struct informer *inf)
{
	struct env *env = inf->set->client->env;
	if (inf->call)
		client_cancel(inf->set->client, inf->call);
	if (inf->watch)
		client_unwatch(inf->set->client, inf->watch);
	env_timer_stop(env, &inf->retry);
	informer__drop_page(inf);
	LIST_EACH (&inf->waits, w, struct informer_wait, node) {
		list_del(&w->node);
		w->inf = NULL;
	}
	for (unsigned i = 0; i < inf->n_listeners; i++) {
		env_post_cancel(env, &inf->listeners[i]->post);
		free(inf->listeners[i]);
	}
	free(inf->listeners);
	for (size_t i = 0; i < inf->items.n; i++) {
		informer__index_remove(inf, inf->items.v[i]);
		item_free(inf, inf->items.v[i]);
	}
	free(inf->items.v);
	for (unsigned i = 0; i < inf->n_index; i++) {
		free(inf->index[i].name);
		map_done(&inf->index[i].buckets);
	}
	free(inf->ns);
	free(inf->label_selector);
	free(inf->field_selector);
	free(inf);
}

static void informer__on_late(struct env_post *p)
{
	struct informer_listener *l = CONTAINER_OF(p, struct informer_listener, post);
	l->live = true;
	for (size_t i = 0; i < l->inf->items.n; i++)
		l->handler.on_change(l->handler.arg, l->inf, NULL, l->inf->items.v[i]->obj);
}

void informer_add_handler(struct informer *inf, const struct informer_handler *h)
{
	struct informer_listener *l = NEW(struct informer_listener);
	l->handler = *h;
	l->inf = inf;
	l->post.fn = informer__on_late;
	GROW(inf->listeners, inf->cap_listeners, inf->n_listeners + 1);
	inf->listeners[inf->n_listeners++] = l;
	if (inf->items.n)
		env_post(inf->set->client->env, &l->post);
	else
		l->live = true;
}

const struct kind *informer_kind(const struct informer *inf)
{
	return inf->kind;
}

bool informer_synced(const struct informer *inf)
{
	return inf->synced;
}

uint64_t informer_rv(const struct informer *inf)
{
	return inf->rv;
}

/* ---- waiting for a revision ---- */

static void informer__on_wait(struct env_post *p)
{
	struct informer_wait *w = CONTAINER_OF(p, struct informer_wait, post);
	w->inf = NULL;
	w->fn(w);
}

void informer_wait(struct informer *inf, struct informer_wait *w, uint64_t rv, void (*fn)(struct informer_wait *))
{
	*w = (struct informer_wait){.rv = rv, .fn = fn, .inf = inf, .post.fn = informer__on_wait};
	list_init(&w->node);
	if (inf->synced && rv <= inf->rv)
		env_post(inf->set->client->env, &w->post);
	else
		list_push(&inf->waits, &w->node);
}

void informer_wait_cancel(struct informer_wait *w)
{
	if (!w->inf)
		return;
	list_del(&w->node);
	env_post_cancel(w->inf->set->client->env, &w->post);
	w->inf = NULL;
}

/* ---- listers ---- */

struct object *informer_find(const struct informer *inf, const char *ns, const char *name)
{
	bool found;
	size_t at = informer__position(&inf->items, ns ? ns : "", name, &found);
	return found ? inf->items.v[at]->obj : NULL;
}

size_t informer_count(const struct informer *inf)
{
	return inf->items.n;
}

size_t informer_list(const struct informer *inf, const char *ns, struct object ***ret)
{
	size_t from = 0, to = inf->items.n;
	if (!str_empty(ns)) {
		bool found;
		from = informer__position(&inf->items, ns, "", &found);
		for (to = from; to < inf->items.n && !strcmp(inf->items.v[to]->obj->ns, ns);)
			to++;
	}
	struct object **v = NEW_N(struct object *, to - from + 1);
	for (size_t i = from; i < to; i++)
		v[i - from] = inf->items.v[i]->obj;
	*ret = v;
	return to - from;
}

void informer_set_extract(struct informer *inf, void *(*make)(struct object *obj, const json_t *tree),
			  void (*drop)(void *))
{
	if (inf->make == make)
		return;
	MUST(!inf->make && !inf->items.n);
	inf->make = make;
	inf->drop = drop;
}

void *informer_extract(const struct informer *inf, struct object *obj)
{
	if (inf->old_obj == obj)
		return inf->old_extract;
	bool found;
	size_t at = informer__position(&inf->items, obj->ns, obj->name, &found);
	return found && inf->items.v[at]->obj == obj ? inf->items.v[at]->extract : NULL;
}
