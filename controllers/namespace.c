/* Namespaces that are being deleted: empty them of every kind, then let them go. */
#include "controllers/internal.h"

#define NAMESPACE_MAGIC 0xc0170a5eu
#define PAGE            500
#define LOOK_AGAIN_US   500000u /* content that takes its time: graceful pods, finalizers */
#define MESSAGE_MAX     1000    /* finalizers have whatever names people give them */

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
	json_t *remaining;  /* what stays though it is deleted: {"pods.": 2} */
	json_t *finalizers; /* and what holds it: {"example.com/x": 1} */
	bool failed;
};

static void round_free(void *p)
{
	struct ns_round *round = p;
	object_unref(round->ns);
	json_decref(round->remaining);
	json_decref(round->finalizers);
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

/* ---- what the namespace waits for, in its status ---- */

static void count_one(json_t *counts, const char *what)
{
	json_put_int(counts, what, json_get_int(counts, what, 0) + 1);
}

static void count_remaining(struct ns_round *round, const struct object *o, const json_t *tree)
{
	_cleanup_free_ char *what = xasprintf("%s.%s", o->kind->plural, o->kind->group);
	size_t i;
	json_t *f;
	count_one(round->remaining, what);
	json_array_foreach(json_path(tree, "metadata", "finalizers", NULL), i, f)
		count_one(round->finalizers, json_string_value(f));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "Head: a in 1 resource instances, b in 2 resource instances", or `none` where there is nothing to count. */
static char *counts_text(json_t *counts, const char *head, const char *verb, const char *none)
{
	size_t n = 0;
	_cleanup_free_ const char **names = NEW_N(const char *, json_object_size(counts) + 1);
	struct buf b = BUF_INIT;
	const char *key;
	json_t *v;
	json_object_foreach(counts, key, v) names[n++] = key;
	qsort(names, n, sizeof(*names), by_name);
	buf_adds(&b, n ? head : none);
	for (size_t i = 0; i < n && b.len < MESSAGE_MAX; i++)
		buf_addf(&b, "%s%s %s %lld resource instances", i ? ", " : "", names[i], verb,
			 (long long)json_get_int(counts, names[i], 0));
	return buf_steal(&b);
}

static void put_condition(struct ns_round *round, json_t *conditions, const char *type, bool yes, const char *reason,
			  const char *message)
{
	char now[32];
	const char *status = yes ? "True" : "False", *since = NULL;
	size_t i, at = json_array_size(conditions);
	json_t *c;
	json_array_foreach(conditions, i, c)
	{
		if (!streq(json_get_str(c, "type", ""), type))
			continue;
		at = i;
		if (streq(json_get_str(c, "status", ""), status))
			since = json_get_str(c, "lastTransitionTime", NULL);
	}
	if (!since)
		since = time_format_s(env_wall_s(reconcile_env(round->r)), now);
	c = json_make("{s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status, "lastTransitionTime", since,
		      "reason", reason, "message", message);
	if (at < json_array_size(conditions))
		json_array_set_new(conditions, at, c);
	else
		json_array_append_new(conditions, c);
}

static void write_conditions(struct ns_round *round)
{
	bool held = json_object_size(round->finalizers) > 0;
	_cleanup_json_ json_t *tree = object_edit(round->ns), *before = json_deep_copy(tree);
	json_t *conditions = json_need_array(json_need_object(tree, "status"), "conditions");
	_cleanup_free_ char *remaining = counts_text(round->remaining, "Some resources are remaining: ", "has",
						     "All content successfully removed");
	_cleanup_free_ char *finalizers =
		counts_text(round->finalizers, "Some content in the namespace has finalizers remaining: ", "in",
			    "All content-preserving finalizers finished");
	put_condition(round, conditions, "NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered",
		      "All resources successfully discovered");
	put_condition(round, conditions, "NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
		      "All legacy kube types successfully parsed");
	put_condition(round, conditions, "NamespaceDeletionContentFailure", false, "ContentDeleted",
		      "All content successfully deleted, may be waiting on finalization");
	put_condition(round, conditions, "NamespaceContentRemaining", true, "SomeResourcesRemain", remaining);
	put_condition(round, conditions, "NamespaceFinalizersRemaining", held,
		      held ? "SomeFinalizersRemain" : "ContentHasNoFinalizers", finalizers);
	if (json_equal(before, tree))
		return;
	struct client_request req = request_for(CLIENT_UPDATE, round->ns);
	req.subresource = "status";
	req.body = tree;
	reconcile_do(round->r, &req, round->c->base.all->namespaces, fine_when_gone, NULL);
}

/* ---- a round ---- */

static void all_listed(struct ns_round *round)
{
	if (round->failed)
		return;
	if (!round->found) {
		finalize(round);
		return;
	}
	if (json_object_size(round->remaining))
		write_conditions(round);
	reconcile_again_after(round->r, LOOK_AGAIN_US);
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
		if (meta_deleting(tree)) {
			count_remaining(round, o, tree);
			continue;
		}
		struct client_request req = request_for(CLIENT_DELETE, o);
		req.precondition_uid = o->uid;
		req.propagation = "Background";
		reconcile_do(round->r, &req, NULL, fine_when_gone, NULL);
	}
	if (--round->lists == 0)
		all_listed(round);
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
	round->remaining = json_object();
	round->finalizers = json_object();
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
