#include "lib/client/informer_priv.h"

static void set__on_synced(struct env_post *p)
{
	struct informer_set *s = CONTAINER_OF(p, struct informer_set, synced_post);
	if (!informer_set_synced(s))
		return;
	/* A callback may register another: work on what was there. */
	struct informer_synced_cb *cbs = STEAL(s->synced);
	unsigned n = s->n_synced;
	s->n_synced = s->cap_synced = 0;
	for (unsigned i = 0; i < n; i++)
		cbs[i].fn(cbs[i].arg);
	free(cbs);
}

struct informer_set *informer_set_new(struct client *client)
{
	struct informer_set *s = NEW(struct informer_set);
	s->client = client;
	s->synced_post.fn = set__on_synced;
	return s;
}

void informer_set_free(struct informer_set *s)
{
	if (!s)
		return;
	env_post_cancel(s->client->env, &s->synced_post);
	for (unsigned i = 0; i < s->n; i++)
		informer__free(s->v[i]);
	free(s->v);
	free(s->synced);
	free(s);
}

static bool same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

struct informer *informer_get(struct informer_set *s, const struct kind *kind, const char *ns,
			      const char *label_selector, const char *field_selector)
{
	MUST(kind != NULL);
	for (unsigned i = 0; i < s->n; i++) {
		struct informer *inf = s->v[i];
		if (inf->kind == kind && same(inf->ns, ns) && same(inf->label_selector, label_selector) &&
		    same(inf->field_selector, field_selector))
			return inf;
	}
	struct informer *inf = informer__new(s, kind, ns, label_selector, field_selector);
	GROW(s->v, s->cap, s->n + 1);
	s->v[s->n++] = inf;
	if (s->started)
		informer__start(inf);
	return inf;
}

void informer_set_start(struct informer_set *s)
{
	if (s->started)
		return;
	s->started = true;
	for (unsigned i = 0; i < s->n; i++)
		informer__start(s->v[i]);
	informer__set_check(s);
}

bool informer_set_synced(const struct informer_set *s)
{
	if (!s->started)
		return false;
	for (unsigned i = 0; i < s->n; i++)
		if (!s->v[i]->synced)
			return false;
	return true;
}

void informer__set_check(struct informer_set *s)
{
	if (s->n_synced && informer_set_synced(s))
		env_post(s->client->env, &s->synced_post);
}

void informer_set_on_synced(struct informer_set *s, void (*fn)(void *arg), void *arg)
{
	GROW(s->synced, s->cap_synced, s->n_synced + 1);
	s->synced[s->n_synced++] = (struct informer_synced_cb){fn, arg};
	informer__set_check(s);
}
