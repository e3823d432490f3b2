/* ConfigMaps and Secrets that pods of this node refer to: each listed and watched by name, as long as somebody needs it.
 *
 *   LOADING --list--> FOUND | ABSENT --watch events--> FOUND | ABSENT
 *      ^                  | watch ended: watch again; revision gone: list again
 *      '--- after a backoff --- FAILED
 */
#include "nodeagent/pod.h"

#define BACKOFF_MIN_US (SECOND_US / 2)
#define BACKOFF_MAX_US (60 * SECOND_US)

static void ref_list(struct ref *r);

static void ref_set(struct ref *r, enum ref_state state, struct object *obj)
{
	bool same = r->state == state && (!obj || (r->obj && r->obj->rv == obj->rv));
	if (obj)
		object_ref(obj);
	object_unref(r->obj);
	r->obj = obj;
	r->state = state;
	if (same)
		return;
	MAP_EACH (&r->n->pods, e)
		pod_refs_changed(e->value, r);
}

static void retry_later(struct ref *r)
{
	r->backoff_us = r->backoff_us ? MIN(r->backoff_us * 2, BACKOFF_MAX_US) : (uint64_t)BACKOFF_MIN_US;
	env_timer_start(r->n->env, &r->retry, r->backoff_us);
}

static void on_event(void *arg, enum watch_type type, struct object *obj)
{
	struct ref *r = arg;
	if (type == WATCH_BOOKMARK) {
		r->rv = obj->rv;
		return;
	}
	r->rv = obj->rv;
	r->backoff_us = 0;
	if (!streq(obj->name, r->name))
		return;
	if (type == WATCH_DELETED)
		ref_set(r, REF_ABSENT, NULL);
	else
		ref_set(r, REF_FOUND, obj);
}

static void on_end(void *arg, const struct err *err)
{
	struct ref *r = arg;
	r->watch = NULL;
	if (err->code)
		r->rv = 0;
	retry_later(r);
}

static void ref_watch(struct ref *r)
{
	static const struct client_watch_ops ops = {.on_event = on_event, .on_end = on_end};
	_cleanup_free_ char *field = xasprintf("metadata.name=%s", r->name);
	const struct client_watch_request req = {
		.kind = r->kind, .ns = r->ns, .field_selector = field, .rv = r->rv, .bookmarks = true};
	r->watch = client_watch(r->n->client, &req, &ops, r);
}

static void on_listed(void *arg, const struct client_response *resp)
{
	struct ref *r = arg;
	r->call = NULL;
	if (resp->err->code) {
		free(r->problem);
		r->problem = xstrdup(resp->err->message);
		if (r->state != REF_FOUND) /* a copy at hand is better than none */
			ref_set(r, REF_FAILED, NULL);
		retry_later(r);
		return;
	}
	struct object *obj = NULL;
	for (size_t i = 0; i < resp->n_items; i++) {
		if (streq(resp->items[i]->name, r->name))
			obj = resp->items[i];
	}
	r->rv = resp->rv;
	r->backoff_us = 0;
	ref_set(r, obj ? REF_FOUND : REF_ABSENT, obj);
	ref_watch(r);
}

static void ref_list(struct ref *r)
{
	_cleanup_free_ char *field = xasprintf("metadata.name=%s", r->name);
	const struct client_request req = {
		.verb = CLIENT_LIST, .kind = r->kind, .ns = r->ns, .field_selector = field, .grace_period_s = -1};
	r->call = client_do(r->n->client, &req, on_listed, r);
}

static void on_retry(struct env_timer *t)
{
	struct ref *r = CONTAINER_OF(t, struct ref, retry);
	if (r->rv)
		ref_watch(r);
	else
		ref_list(r);
}

struct ref *ref_get(struct nodeagent *n, const struct kind *kind, const char *ns, const char *name)
{
	_cleanup_free_ char *key = xasprintf("%s/%s/%s", kind->kind, ns, name);
	struct ref *r = map_get(&n->refs, key);
	if (r) {
		r->users++;
		return r;
	}
	r = NEW(struct ref);
	*r = (struct ref){.n = n, .kind = kind, .users = 1, .state = REF_LOADING};
	r->key = xstrdup(key);
	r->ns = xstrdup(ns);
	r->name = xstrdup(name);
	r->retry.fn = on_retry;
	map_set(&n->refs, key, r);
	ref_list(r);
	return r;
}

void ref_put(struct ref *r)
{
	if (--r->users > 0)
		return;
	if (r->call)
		client_cancel(r->n->client, r->call);
	if (r->watch)
		client_unwatch(r->n->client, r->watch);
	env_timer_stop(r->n->env, &r->retry);
	map_del(&r->n->refs, r->key);
	object_unref(r->obj);
	free(r->problem);
	free(r->key);
	free(r->ns);
	free(r->name);
	free(r);
}
