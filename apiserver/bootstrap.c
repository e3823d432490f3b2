#include "apiserver/bootstrap.h"

#include <errno.h>

#include "apiserver/hub.h"
#include "apiserver/node_graph.h"
#include "apiserver/rbac.h"
#include "apiserver/request.h"
#include "apiserver/service_ip.h"
#include "apiserver/tag.h"
#include "lib/core/log.h"

#define BATCH        40 /* objects a transaction */
#define MAX_ATTEMPTS 10
#define BOOT_LABEL   "kubernetes.io/bootstrapping"

#define AGAIN_US 500000u

/* ADDRESSES -> READ (each kind in turn) -> [hubs] -> WRITE (what is missing, in batches) -> done
 *                ^                                     |
 *                +------- another server was faster ---+
 *                +------- the store cannot just now: it has no leader, or this member is far behind: after a while
 *
 * When somebody deletes a namespace or the service that the cluster lives on, the same is done for these alone. */
struct bootstrap {
	struct apiserver *server;
	void (*done)(void *arg, const struct err *err);
	void *arg;
	unsigned reading; /* index into kinds_read */
	unsigned attempts;
	uint64_t rev;           /* of the first read */
	bool hubs, told, vital; /* vital: only what kinds_read begins with */
	struct env_timer again;
	struct map have;   /* keys there are -> mod revision + 1 as a pointer */
	struct map values; /* of what may have to be mended: key -> struct blob */
	struct wanted {
		char *key;
		struct object *obj;
		uint64_t replaces; /* mod revision, 0: must not be there */
		char *also;        /* a reservation key that goes with it, or NULL */
	} * wanted;
	size_t n_wanted, cap_wanted, next;
};

static const struct {
	const char *group, *plural;
} kinds_read[] = {
	{"", "namespaces"},
	{"", "services"},
	{"rbac.authorization.k8s.io", "clusterroles"},
	{"rbac.authorization.k8s.io", "clusterrolebindings"},
	{"rbac.authorization.k8s.io", "roles"},
	{"rbac.authorization.k8s.io", "rolebindings"},
};
#define KINDS_VITAL 2

static const char *const namespaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

static void read_next(struct bootstrap *b);

static void blob_free(void *p)
{
	blob_unref(p);
}

static void wanted_clear(struct bootstrap *b)
{
	for (size_t i = 0; i < b->n_wanted; i++) {
		free(b->wanted[i].key);
		free(b->wanted[i].also);
		object_unref(b->wanted[i].obj);
	}
	b->n_wanted = b->next = 0;
}

static void finish(struct bootstrap *b, const struct err *err)
{
	struct bootstrap copy = *b;
	wanted_clear(b);
	free(b->wanted);
	map_done(&b->have);
	map_done(&b->values);
	free(b);
	copy.done(copy.arg, err);
}

/* ---- what is wanted ---- */

static struct wanted *want(struct bootstrap *b, const char *group, const char *plural, json_t *tree, uint64_t replaces)
{
	struct apiserver *a = b->server;
	struct resource *res = server_resource(a, group, "v1", plural);
	json_t *meta = json_object_get(tree, "metadata");
	_cleanup_free_ char *key =
		resource_key(res, json_get_str(meta, "namespace", ""), json_get_str(meta, "name", ""));
	if (!replaces && map_has(&b->have, key)) {
		json_decref(tree);
		return NULL;
	}
	json_put_str(tree, "kind", res->kind->kind);
	json_put_str(tree, "apiVersion", res->api_version);
	if (!json_object_get(meta, "uid"))
		server_stamp(a, tree);
	schema_default(res->kind->schema, tree);
	GROW(b->wanted, b->cap_wanted, b->n_wanted + 1);
	struct wanted *w = &b->wanted[b->n_wanted++];
	*w = (struct wanted){STEAL(key), object_from_tree(res->kind, tree), replaces, NULL};
	json_decref(tree);
	return w;
}

/* A fresh array of the words of s; "core" is the group "". */
static json_t *words(const char *s)
{
	json_t *list = json_array();
	_cleanup_free_ char *text = xstrdup(s);
	for (char *save = NULL, *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save))
		json_array_append_new(list, json_string(streq(p, "core") ? "" : p));
	return list;
}

static json_t *rules_tree(const struct bootstrap_rule *rule)
{
	json_t *rules = json_array();
	for (; rule->verbs; rule++) {
		json_t *r = json_object();
		if (rule->groups)
			json_put(r, "apiGroups", words(rule->groups));
		if (rule->resources)
			json_put(r, "resources", words(rule->resources));
		if (rule->names)
			json_put(r, "resourceNames", words(rule->names));
		if (rule->urls)
			json_put(r, "nonResourceURLs", words(rule->urls));
		json_put(r, "verbs", words(rule->verbs));
		json_array_append_new(rules, r);
	}
	return rules;
}

static json_t *boot_metadata(const char *name, const char *ns)
{
	json_t *meta = json_make("{s:s}", "name", name);
	json_put_str(meta, "namespace", ns);
	json_put(meta, "labels", json_make("{s:s}", BOOT_LABEL, "rbac-defaults"));
	json_put(meta, "annotations", json_make("{s:s}", "rbac.authorization.kubernetes.io/autoupdate", "true"));
	return meta;
}

static bool holds_value(const json_t *list, const json_t *want)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
	{
		if (json_equal(v, want))
			return true;
	}
	return false;
}

/* A role that is there gets what a newer version (or a mistake) left out of it; what was added to it stays. */
static void mend(struct bootstrap *b, const char *group, const char *plural, const json_t *wanted, const char *part)
{
	struct resource *res = server_resource(b->server, group, "v1", plural);
	const json_t *meta = json_object_get(wanted, "metadata");
	_cleanup_free_ char *key =
		resource_key(res, json_get_str(meta, "namespace", ""), json_get_str(meta, "name", ""));
	const struct blob *old = map_get(&b->values, key);
	_cleanup_json_ json_t *tree = NULL;
	if (!old || json_parse(old->data, old->len, &tree, NULL) < 0 ||
	    streq(meta_annotation(tree, "rbac.authorization.kubernetes.io/autoupdate"), "false"))
		return;
	bool missing = false;
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(wanted, part), i, v)
	{
		if (holds_value(json_object_get(tree, part), v))
			continue;
		json_array_append(json_need_array(tree, part), v);
		missing = true;
	}
	if (missing)
		want(b, group, plural, json_incref(tree), (uint64_t)(uintptr_t)map_get(&b->have, key) - 1);
}

static void want_role(struct bootstrap *b, const struct bootstrap_role *role)
{
	json_t *meta = boot_metadata(role->name, role->ns);
	if (role->labels) {
		char key[100];
		size_t n = strcspn(role->labels, "=");
		snprintf(key, sizeof(key), "%.*s", (int)n, role->labels);
		json_put_str(json_object_get(meta, "labels"), key, role->labels + n + 1);
	}
	json_t *tree = json_make("{s:o, s:o}", "metadata", meta, "rules", rules_tree(role->rules));
	if (role->aggregate)
		json_put(tree, "aggregationRule",
			 json_make("{s:[{s:{s:s}}]}", "clusterRoleSelectors", "matchLabels", role->aggregate, "true"));
	mend(b, "rbac.authorization.k8s.io", role->ns ? "roles" : "clusterroles", tree, "rules");
	want(b, "rbac.authorization.k8s.io", role->ns ? "roles" : "clusterroles", tree, 0);
}

static json_t *subjects_tree(const char *text)
{
	json_t *list = json_array(), *split = words(text), *v;
	size_t i;
	json_array_foreach(split, i, v)
	{
		const char *s = json_string_value(v), *name = strchr(s, ':') + 1;
		_cleanup_free_ char *kind = xstrndup(s, (size_t)(name - 1 - s));
		if (streq(kind, "ServiceAccount")) {
			const char *slash = strchr(name, '/');
			_cleanup_free_ char *ns = xstrndup(name, (size_t)(slash - name));
			json_array_append_new(
				list, json_make("{s:s, s:s, s:s}", "kind", kind, "name", slash + 1, "namespace", ns));
			continue;
		}
		json_array_append_new(list, json_make("{s:s, s:s, s:s}", "kind", kind, "apiGroup",
						      "rbac.authorization.k8s.io", "name", name));
	}
	json_decref(split);
	return list;
}

static void want_binding(struct bootstrap *b, const struct bootstrap_binding *binding)
{
	json_t *tree = json_make("{s:o, s:{s:s, s:s, s:s}, s:o}", "metadata", boot_metadata(binding->name, binding->ns),
				 "roleRef", "apiGroup", "rbac.authorization.k8s.io", "kind",
				 binding->cluster_role ? "ClusterRole" : "Role", "name", binding->role, "subjects",
				 subjects_tree(binding->subjects));
	mend(b, "rbac.authorization.k8s.io", binding->ns ? "rolebindings" : "clusterrolebindings", tree, "subjects");
	want(b, "rbac.authorization.k8s.io", binding->ns ? "rolebindings" : "clusterrolebindings", tree, 0);
}

static void want_namespace(struct bootstrap *b, const char *name)
{
	want(b, "", "namespaces",
	     json_make("{s:{s:s, s:{s:s}}, s:{s:[s]}, s:{s:s}}", "metadata", "name", name, "labels",
		       "kubernetes.io/metadata.name", name, "spec", "finalizers", "kubernetes", "status", "phase",
		       "Active"),
	     0);
}

/* The API itself as a Service: the first address of the range. */
static void want_service(struct bootstrap *b)
{
	const char *ip = service_ips_first(b->server->service_ips);
	if (!*ip)
		return;
	int port = b->server->advertise_port ? b->server->advertise_port : 6443;
	struct wanted *w = want(
		b, "", "services",
		json_make(
			"{s:{s:s, s:s, s:{s:s, s:s}}, s:{s:s, s:[s], s:s, s:s, s:[s], s:s, s:s, s:[{s:s, s:i, s:s, s:i}]}, "
			"s:{s:{}}}",
			"metadata", "name", "kubernetes", "namespace", "default", "labels", "component", "apiserver",
			"provider", "kubernetes", "spec", "clusterIP", ip, "clusterIPs", ip, "type", "ClusterIP",
			"sessionAffinity", "None", "ipFamilies", "IPv4", "ipFamilyPolicy", "SingleStack",
			"internalTrafficPolicy", "Cluster", "ports", "name", "https", "port", 443, "protocol", "TCP",
			"targetPort", port, "status", "loadBalancer"),
		0);
	if (w)
		w->also = xasprintf("/registry/ranges/serviceips/%s", ip);
}

static void want_all(struct bootstrap *b)
{
	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		want_namespace(b, namespaces[i]);
	want_service(b);
	if (b->vital)
		return;
	for (const struct bootstrap_role *r = bootstrap_roles; r->name; r++)
		want_role(b, r);
	for (const struct bootstrap_binding *x = bootstrap_bindings; x->name; x++)
		want_binding(b, x);
}

/* ---- writing ---- */

static void write_next(struct bootstrap *b);

static void begin_again(struct bootstrap *b)
{
	wanted_clear(b);
	b->reading = 0;
	read_next(b);
}

static void again(struct env_timer *t)
{
	struct bootstrap *b = CONTAINER_OF(t, struct bootstrap, again);
	if (b->server->closing)
		finish(b, &(struct err){.code = -ECANCELED, .message = "the server is closing"});
	else
		begin_again(b);
}

static void failed(struct bootstrap *b, const struct err *err)
{
	bool later = err->reason == ERR_SERVICE_UNAVAILABLE || err->reason == ERR_TIMEOUT;
	if (!later || b->server->closing) {
		finish(b, err);
		return;
	}
	if (!b->told)
		log_warn("apiserver", "not ready yet, it is tried again: %s", err->message);
	b->told = true;
	b->attempts = MAX(b->attempts, 1u); /* what it knows by itself was not enough */
	b->again.fn = again;
	env_timer_start(b->server->env, &b->again, AGAIN_US);
}

static void on_written(void *arg, const struct err *err, const struct store_txn_resp *resp)
{
	struct bootstrap *b = arg;
	if (store_failed(err)) {
		failed(b, err);
		return;
	}
	if (resp->succeeded) {
		write_next(b);
		return;
	}
	if (++b->attempts > MAX_ATTEMPTS) {
		finish(b, &(struct err){.code = -EAGAIN, .message = "the bootstrap objects keep changing"});
		return;
	}
	begin_again(b);
}

static void write_next(struct bootstrap *b)
{
	if (b->next == b->n_wanted) {
		finish(b, &(struct err){0});
		return;
	}
	struct plan plan = {0};
	for (unsigned n = 0; n < BATCH && b->next < b->n_wanted; n++) {
		struct wanted *w = &b->wanted[b->next++];
		plan_expect(&plan, w->key, STORE_CMP_MOD_REV, STORE_EQ, w->replaces);
		plan_put(&plan, w->key, w->obj->bytes);
		if (!w->also)
			continue;
		_cleanup_blob_ struct blob *owner = blob_new("default/kubernetes", 18);
		plan_put(&plan, w->also, owner);
	}
	struct store_txn_req req = {
		.compares = plan.compares, .n_compares = plan.n_compares, .then_ops = plan.ops, .n_then = plan.n_ops};
	store_txn(b->server->store, &req, on_written, b);
	plan_done(&plan);
}

/* ---- reading ---- */

static void open_hubs(struct bootstrap *b)
{
	struct apiserver *a = b->server;
	if (b->hubs)
		return;
	b->hubs = true;
	for (size_t i = 0; i < a->n_resources; i++)
		if (a->resources[i].stored)
			a->resources[i].hub = hub_new(a, &a->resources[i], b->rev);
}

static void take_kind(struct bootstrap *b, struct resource *res, const struct store_range_resp *resp)
{
	struct apiserver *a = b->server;
	bool rbac = streq(res->kind->group, "rbac.authorization.k8s.io");
	for (size_t i = 0; i < resp->n_kvs; i++) {
		const struct store_kv *kv = &resp->kvs[i];
		map_set(&b->have, kv->key, (void *)(uintptr_t)(kv->mod_rev + 1));
		if (rbac)
			map_set(&b->values, kv->key, blob_ref(kv->value));
		if (!rbac)
			continue;
		_cleanup_object_ struct object *o = recent_object(a, res, kv->value, kv->mod_rev);
		_cleanup_json_ json_t *tree = o ? object_tree(o) : NULL;
		if (tree)
			rbac_put(a->rbac, res->kind, o->ns, o->name, tree);
	}
}

static void on_kind(void *arg, const struct err *err, const struct store_range_resp *resp)
{
	struct bootstrap *b = arg;
	if (store_failed(err)) {
		failed(b, err);
		return;
	}
	if (!b->rev)
		b->rev = b->server->start_rev = resp->rev;
	take_kind(b, server_resource(b->server, kinds_read[b->reading].group, "v1", kinds_read[b->reading].plural),
		  resp);
	b->reading++;
	read_next(b);
}

static void read_next(struct bootstrap *b)
{
	struct apiserver *a = b->server;
	if (b->reading == 0) {
		map_clear(&b->have);
		map_clear(&b->values);
	}
	if (b->reading == (b->vital ? KINDS_VITAL : ARRAY_LEN(kinds_read))) {
		open_hubs(b);
		want_all(b);
		write_next(b);
		return;
	}
	struct resource *res = server_resource(a, kinds_read[b->reading].group, "v1", kinds_read[b->reading].plural);
	/* of what may be many, only the one in question */
	bool all = *res->kind->group || streq(res->kind->plural, "namespaces");
	_cleanup_free_ char *key = all ? resource_range(res, "") : resource_key(res, "default", "kubernetes");
	_cleanup_free_ char *end = all ? store_prefix_end(key) : NULL;
	/* what this server has will do: nothing is written on it without comparing. So it can start, and serve what it has,
	 * without a quorum. */
	struct store_range_req req = {.key = key, .end = end, .serializable = b->attempts == 0};
	store_range(a->store, &req, on_kind, b);
}

static void on_addresses(void *arg, const struct err *err)
{
	struct bootstrap *b = arg;
	if (err->code)
		finish(b, err);
	else
		read_next(b);
}

struct bootstrap *bootstrap_start(struct apiserver *a, void (*done)(void *arg, const struct err *err), void *arg)
{
	struct bootstrap *b = NEW(struct bootstrap);
	b->server = a;
	b->done = done;
	b->arg = arg;
	b->values.free_value = blob_free;
	service_ips_start(a, on_addresses, b);
	return b;
}

/* ---- what must not stay away ---- */

static void on_mended(void *arg, const struct err *err)
{
	struct apiserver *a = arg;
	a->bootstrap = NULL;
	if (err->code && !a->closing)
		log_warn("apiserver", "the namespaces and the service of the cluster are not all there: %s",
			 err->message);
	if (a->vital_gone)
		bootstrap_mend(a);
}

void bootstrap_mend(struct apiserver *a)
{
	a->vital_gone = a->bootstrap != NULL;
	if (a->bootstrap || a->closing)
		return;
	struct bootstrap *b = NEW(struct bootstrap);
	*b = (struct bootstrap){.server = a,
				.done = on_mended,
				.arg = a,
				.rev = a->start_rev,
				.attempts = 1,
				.hubs = true,
				.told = true,
				.vital = true};
	b->values.free_value = blob_free;
	a->bootstrap = b;
	read_next(b);
}

static bool is_vital(const struct resource *res, const char *rest)
{
	if (*res->kind->group)
		return false;
	if (streq(res->kind->plural, "services"))
		return streq(rest, "default/kubernetes");
	bool found = false;
	for (size_t i = 0; streq(res->kind->plural, "namespaces") && i < ARRAY_LEN(namespaces); i++)
		found |= streq(rest, namespaces[i]);
	return found;
}

/* ---- what the server follows for itself ---- */

void server_observe(struct apiserver *a, struct resource *res, const struct hub_event *e)
{
	const char *rest = resource_key_rest(res, e->key);
	if (streq(res->kind->plural, "namespaces") && !*res->kind->group)
		map_del(&a->namespaces, rest);
	if (!e->cur && is_vital(res, rest))
		bootstrap_mend(a);
	if (streq(res->kind->plural, "pods") && !*res->kind->group)
		node_graph_observe(a->nodes, res, rest, e->cur, e->rev);
	if (!streq(res->kind->group, "rbac.authorization.k8s.io"))
		return;
	_cleanup_object_ struct object *o = recent_object(a, res, e->cur ? e->cur : e->prev, e->rev);
	if (!o)
		return;
	_cleanup_json_ json_t *tree = e->cur ? object_tree(o) : NULL;
	rbac_put(a->rbac, res->kind, o->ns, o->name, tree);
}
