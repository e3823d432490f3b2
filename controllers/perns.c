#include "controllers/perns.h"

#define PERNS_MAGIC 0xc017be45u

struct perns_controller {
	struct controller base;
	uint32_t magic;
	struct perns_config config;
	struct informer *objects;
};

static bool fine_when_raced(void *arg, const struct client_response *resp)
{
	(void)arg;
	/* Somebody else made it; or the namespace is on its way out. */
	return resp->err->code == -EEXIST || strstr(resp->err->message, "because it is being terminated") != NULL;
}

static int perns_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct perns_controller *c = arg;
	MAGIC_CHECK(c, PERNS_MAGIC);
	(void)err;
	struct object *ns = informer_find(c->base.all->namespaces, "", key);
	if (!ns)
		return 0;
	_cleanup_json_ json_t *ns_tree = object_tree(ns);
	if (meta_deleting(ns_tree))
		return 0;
	const struct perns_config *want = &c->config;
	struct object *have = informer_find(c->objects, key, want->name);
	_cleanup_json_ json_t *tree = have ? object_edit(have) : NULL;
	if (have && (!want->member || json_equal(json_object_get(tree, want->member), want->value)))
		return 0;
	if (!tree)
		tree = json_make("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", want->kind, "metadata", "name",
				 want->name, "namespace", key);
	if (want->member)
		json_put(tree, want->member, json_deep_copy(want->value));
	struct client_request req = {.verb = have ? CLIENT_UPDATE : CLIENT_CREATE,
				     .kind = informer_kind(c->objects),
				     .ns = key,
				     .name = want->name,
				     .body = tree,
				     .grace_period_s = -1};
	reconcile_do(r, &req, c->objects, fine_when_raced, NULL);
	return 0;
}

static void on_object(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct perns_controller *c = arg;
	MAGIC_CHECK(c, PERNS_MAGIC);
	(void)inf;
	struct object *o = new_obj ? new_obj : old_obj;
	if (old_obj && !strcmp(o->name, c->config.name))
		reconciler_add(c->base.queue, o->ns);
}

static void perns_free(struct controller *base)
{
	struct perns_controller *c = (struct perns_controller *)(void *)base;
	reconciler_free(base->queue);
	json_decref(c->config.value);
	free(c);
}

struct controller *perns_new(struct controllers *all, const struct perns_config *config)
{
	struct perns_controller *c = NEW(struct perns_controller);
	c->magic = PERNS_MAGIC;
	c->base.all = all;
	c->base.free = perns_free;
	c->config = *config;
	struct reconciler_config queue = {.name = config->queue, .reconcile = perns_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &queue);
	c->objects = informer_get(all->informers, kind_by_kind("", "v1", config->kind), NULL, NULL, NULL);
	informer_add_handler(all->namespaces, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(c->objects, &(struct informer_handler){on_object, c});
	return &c->base;
}
