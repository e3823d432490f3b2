/* Namespaces that are being deleted: empty them of every kind, then let them go. */
#include "controllers/internal.h"

#define NAMESPACE_MAGIC 0xc0170a5eu
#define PAGE            500
#define LOOK_AGAIN_US   500000u /* content that takes its time: graceful pods, finalizers */

struct namespace_controller {
	struct controller base;
	uint32_t magic;
};

/* One round over one namespace: list every kind, delete what is listed; nothing found: finalize. */
struct ns_round {
	struct namespace_controller *c;
	struct reconcile *r;
	struct object *ns;
	unsigned lists; /* not yet answered */
	size_t found;
	bool failed;
};

static void round_free(void *p)
{
	struct ns_round *round = p;
	object_unref(round->ns);
	free(round);
}

static bool fine_when_gone(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT || resp->err->code == -EAGAIN;
}

static void finalize(struct ns_round *round)
{
	_cleanup_json_ json_t *tree = object_edit(round->ns);
	json_t *finalizers = json_path(tree, "spec", "finalizers", NULL);
	for (size_t i = json_array_size(finalizers); i-- > 0;)
		if (streq(json_string_value(json_array_get(finalizers, i)), "kubernetes"))
			json_array_remove(finalizers, i);
	struct client_request req = request_for(CLIENT_UPDATE, round->ns);
	req.subresource = "finalize";
	req.body = tree;
	reconcile_do(round->r, &req, round->c->base.all->namespaces, fine_when_gone, NULL);
}

static bool on_listed(void *arg, const struct client_response *resp)
{
	struct ns_round *round = arg;
	bool unserved = resp->err->code == -ENOENT || resp->err->reason == ERR_METHOD_NOT_ALLOWED;
	round->failed |= resp->err->code && !unserved;
	round->found += resp->n_items;
	for (size_t i = 0; i < resp->n_items; i++) {
		struct object *o = resp->items[i];
		_cleanup_json_ json_t *tree = object_tree(o);
		if (meta_deleting(tree))
			continue;
		struct client_request req = request_for(CLIENT_DELETE, o);
		req.precondition_uid = o->uid;
		req.propagation = "Background";
		reconcile_do(round->r, &req, NULL, fine_when_gone, NULL);
	}
	if (--round->lists == 0 && !round->failed) {
		if (round->found)
			reconcile_again_after(round->r, LOOK_AGAIN_US);
		else
			finalize(round);
	}
	return unserved;
}

static int namespace_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct namespace_controller *c = arg;
	MAGIC_CHECK(c, NAMESPACE_MAGIC);
	(void)err;
	struct object *ns = informer_find(c->base.all->namespaces, "", key);
	if (!ns)
		return 0;
	_cleanup_json_ json_t *tree = object_tree(ns);
	if (!meta_deleting(tree) || !json_array_size(json_path(tree, "spec", "finalizers", NULL)))
		return 0;
	struct ns_round *round = NEW(struct ns_round);
	reconcile_defer(r, round_free, round);
	round->c = c;
	round->r = r;
	round->ns = object_ref(ns);
	for (size_t i = 0; kinds_all[i]; i++)
		round->lists += kinds_all[i]->namespaced && (kinds_all[i]->verbs & VERB_LIST);
	for (size_t i = 0; kinds_all[i]; i++) {
		if (!kinds_all[i]->namespaced || !(kinds_all[i]->verbs & VERB_LIST))
			continue;
		struct client_request req = {
			.verb = CLIENT_LIST, .kind = kinds_all[i], .ns = ns->name, .limit = PAGE, .grace_period_s = -1};
		reconcile_do(r, &req, NULL, on_listed, round);
	}
	return 0;
}

static void on_namespace(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct namespace_controller *c = arg;
	MAGIC_CHECK(c, NAMESPACE_MAGIC);
	(void)inf;
	(void)old_obj;
	if (!new_obj)
		return;
	_cleanup_json_ json_t *tree = object_tree(new_obj);
	if (meta_deleting(tree))
		reconciler_add_object(c->base.queue, new_obj);
}

static void namespace_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *namespace_controller_new(struct controllers *all)
{
	struct namespace_controller *c = NEW(struct namespace_controller);
	c->magic = NAMESPACE_MAGIC;
	c->base.all = all;
	c->base.free = namespace_free;
	struct reconciler_config config = {.name = "namespace", .reconcile = namespace_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	informer_add_handler(all->namespaces, &(struct informer_handler){on_namespace, c});
	return &c->base;
}
