/* ClusterRoles with an aggregationRule get the rules of all ClusterRoles that it selects, in the order of their names. */
#include "controllers/internal.h"

#define AGGREGATION_MAGIC 0xc017a997u

struct aggregation_controller {
	struct controller base;
	uint32_t magic;
	struct informer *roles;
};

static bool holds(const json_t *list, const json_t *rule)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v)
	{
		if (json_equal(v, rule))
			return true;
	}
	return false;
}

/* The rules of the roles that one selector of `name`'s matches, behind those that are there. */
static void gather(struct object **roles, size_t n, const char *name, const json_t *selector, json_t *rules)
{
	_cleanup_selector_ struct selector *s = NULL;
	if (selector_from_json(selector, &s, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *tree = object_tree(roles[i]);
		size_t j;
		json_t *rule;
		if (streq(roles[i]->name, name) || !selector_matches(s, json_path(tree, "metadata", "labels", NULL)))
			continue;
		json_array_foreach(json_object_get(tree, "rules"), j, rule)
		{
			if (!holds(rules, rule))
				json_array_append(rules, rule);
		}
	}
}

static int aggregation_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct aggregation_controller *c = arg;
	MAGIC_CHECK(c, AGGREGATION_MAGIC);
	(void)err;
	struct object *role = informer_find(c->roles, "", key);
	if (!role)
		return 0;
	_cleanup_json_ json_t *tree = object_edit(role), *rules = json_array();
	json_t *selectors = json_path(tree, "aggregationRule", "clusterRoleSelectors", NULL), *selector;
	if (!json_object_get(tree, "aggregationRule") || meta_deleting(tree))
		return 0;
	_cleanup_free_ struct object **roles = NULL;
	size_t n = informer_list(c->roles, NULL, &roles), i;
	json_array_foreach(selectors, i, selector) gather(roles, n, key, selector, rules);
	json_t *had = json_object_get(tree, "rules");
	if (json_array_size(had) == json_array_size(rules) && (!had || json_equal(had, rules)))
		return 0;
	json_put(tree, "rules", json_incref(rules));
	struct client_request req = request_for(CLIENT_UPDATE, role);
	req.body = tree;
	reconcile_do(r, &req, c->roles, NULL, NULL);
	return 0;
}

/* Any role may be part of any that gathers: those look again. */
static void on_role(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct aggregation_controller *c = arg;
	MAGIC_CHECK(c, AGGREGATION_MAGIC);
	(void)inf;
	(void)old_obj;
	(void)new_obj;
	_cleanup_free_ struct object **gathering = NULL;
	size_t n = informer_by_index(c->roles, "gathering", "", &gathering);
	for (size_t i = 0; i < n; i++)
		reconciler_add_object(c->base.queue, gathering[i]);
}

static void index_gathering(struct object *obj, void (*emit)(void *ctx, const char *key), void *ctx)
{
	_cleanup_json_ json_t *tree = object_tree(obj);
	if (json_object_get(tree, "aggregationRule"))
		emit(ctx, "");
}

static void aggregation_free(struct controller *base)
{
	reconciler_free(base->queue);
	free(base);
}

struct controller *clusterroleaggregation_controller_new(struct controllers *all)
{
	struct aggregation_controller *c = NEW(struct aggregation_controller);
	c->magic = AGGREGATION_MAGIC;
	c->base.all = all;
	c->base.free = aggregation_free;
	struct reconciler_config config = {
		.name = "clusterrole_aggregation", .reconcile = aggregation_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	c->roles = informer_get(all->informers, kind_by_kind("rbac.authorization.k8s.io", "v1", "ClusterRole"), NULL,
				NULL, NULL);
	informer_add_index(c->roles, "gathering", index_gathering);
	informer_add_handler(c->roles, &(struct informer_handler){on_role, c});
	return &c->base;
}
