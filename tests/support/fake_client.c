#include <errno.h>
#include <stdarg.h>

#include "lib/api/patch.h"
#include "lib/api/selector.h"
#include "tests/support/fake_client.h"

#define FAKE_MAGIC 0xfa4ec11eu

struct fake_table {
	const struct kind *kind;
	struct object **v; /* sorted by namespace, name */
	size_t n, cap;
};

struct fake_event {
	uint64_t rv, at_us;
	struct object *old_obj, *new_obj; /* deletion: both, and deleted */
	bool deleted;
};

struct fake_count {
	enum client_verb verb;
	const struct kind *kind;
	char subresource[32];
	unsigned n;
};

struct fake {
	struct client base;
	struct client_ops ops;
	uint32_t magic;
	uint64_t rv, compacted_rv, uids;
	uint64_t answer_us, event_us;
	struct fake_table *tables;
	size_t n_tables, cap_tables;
	struct fake_event *events;
	size_t n_events, cap_events;
	struct list calls, watches;
	bool (*react)(void *arg, const struct client_request *req, struct err *err);
	void *react_arg;
	struct fake_count *counts;
	size_t n_counts, cap_counts;
};

struct client_call {
	struct fake *f;
	struct list node;
	struct env_timer timer;
	struct client_request req; /* strings owned */
	client_cb cb;
	void *arg;
};

struct client_watch {
	struct fake *f;
	struct list node;
	struct env_timer timer;
	const struct kind *kind;
	char *ns;
	struct selector *labels;
	struct field_selector *fields;
	bool bookmarks, delivering, dead, ending;
	size_t next; /* event */
	struct err end;
	struct client_watch_ops ops;
	void *arg;
};

static struct fake *fake_of(struct client *c)
{
	struct fake *f = (struct fake *)(void *)c;
	MAGIC_CHECK(f, FAKE_MAGIC);
	return f;
}

/* ---- tables ---- */

static struct fake_table *table_of(struct fake *f, const struct kind *k)
{
	MUST(k != NULL);
	for (size_t i = 0; i < f->n_tables; i++)
		if (f->tables[i].kind == k)
			return &f->tables[i];
	GROW(f->tables, f->cap_tables, f->n_tables + 1);
	f->tables[f->n_tables] = (struct fake_table){.kind = k};
	return &f->tables[f->n_tables++];
}

static size_t position(const struct fake_table *t, const char *ns, const char *name, bool *ret_found)
{
	size_t lo = 0, hi = t->n;
	*ret_found = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(t->v[mid]->ns, ns);
		c = c ? c : strcmp(t->v[mid]->name, name);
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

static struct object *find(struct fake *f, const struct kind *k, const char *ns, const char *name)
{
	struct fake_table *t = table_of(f, k);
	bool found;
	size_t at = position(t, k->namespaced && ns ? ns : "", name ? name : "", &found);
	return found ? t->v[at] : NULL;
}

static bool labels_match(const struct selector *labels, const struct field_selector *fields, struct object *o)
{
	if (!labels && !fields)
		return true;
	_cleanup_json_ json_t *tree = object_tree(o);
	if (labels && !selector_matches(labels, json_path(tree, "metadata", "labels", NULL)))
		return false;
	return !fields || field_selector_matches(fields, tree);
}

static void watch__wake(struct client_watch *w)
{
	if (!env_timer_active(&w->timer))
		env_timer_start(w->f->base.env, &w->timer, w->f->event_us);
}

static void add_event(struct fake *f, struct object *old_obj, struct object *new_obj, bool deleted)
{
	GROW(f->events, f->cap_events, f->n_events + 1);
	f->events[f->n_events++] = (struct fake_event){
		.rv = new_obj->rv,
		.at_us = env_now_us(f->base.env),
		.old_obj = old_obj ? object_ref(old_obj) : NULL,
		.new_obj = object_ref(new_obj),
		.deleted = deleted,
	};
	LIST_EACH (&f->watches, w, struct client_watch, node)
		if (w->kind == new_obj->kind)
			watch__wake(w);
}

static void stamp_rv(struct fake *f, json_t *tree)
{
	char rv[24];
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)++f->rv);
	json_put_str(json_need_object(tree, "metadata"), "resourceVersion", rv);
}

/* Takes the tree. Returns the object, borrowed from the table. */
static struct object *store(struct fake *f, const struct kind *k, json_t *tree_new)
{
	stamp_rv(f, tree_new);
	struct object *o = object_from_tree(k, tree_new);
	json_decref(tree_new);
	struct fake_table *t = table_of(f, k);
	bool found;
	size_t at = position(t, o->ns, o->name, &found);
	struct object *old_obj = NULL;
	if (found) {
		old_obj = t->v[at];
	} else {
		GROW(t->v, t->cap, t->n + 1);
		memmove(t->v + at + 1, t->v + at, (t->n - at) * sizeof(*t->v));
		t->n++;
	}
	t->v[at] = o;
	add_event(f, old_obj, o, false);
	object_unref(old_obj);
	return o;
}

/* Returns the last state with the revision of the deletion. New reference. */
static struct object *erase(struct fake *f, struct object *o)
{
	struct fake_table *t = table_of(f, o->kind);
	bool found;
	size_t at = position(t, o->ns, o->name, &found);
	MUST(found);
	json_t *tree = object_edit(o);
	stamp_rv(f, tree);
	struct object *last = object_from_tree(o->kind, tree);
	json_decref(tree);
	struct object *old_obj = t->v[at];
	memmove(t->v + at, t->v + at + 1, (t->n - at - 1) * sizeof(*t->v));
	t->n--;
	add_event(f, old_obj, last, true);
	object_unref(old_obj);
	return last;
}

/* ---- verbs; each returns the object with a new reference, or NULL with err set ---- */

static int not_found(const struct kind *k, const char *name, struct err *err)
{
	_cleanup_free_ char *res = kind_resource(k);
	return err_status(err, ERR_NOT_FOUND, "%s \"%s\" not found", res, name);
}

static int conflict(const struct kind *k, const char *name, const char *why, struct err *err)
{
	_cleanup_free_ char *res = kind_resource(k);
	return err_status(err, ERR_CONFLICT, "Operation cannot be fulfilled on %s \"%s\": %s", res, name, why);
}

static bool is(const struct kind *k, const char *kind)
{
	return !strcmp(k->kind, kind);
}

static char *random_suffix(struct env *env)
{
	static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
	char s[6] = {0};
	for (int i = 0; i < 5; i++)
		s[i] = letters[env_random_below(env, sizeof(letters) - 1)];
	return xstrdup(s);
}

static void fill_new(struct fake *f, const struct kind *k, json_t *tree)
{
	json_t *meta = json_need_object(tree, "metadata");
	_cleanup_free_ char *api_version = kind_api_version(k);
	json_put_str(tree, "apiVersion", api_version);
	json_put_str(tree, "kind", k->kind);
	char text[64];
	snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012llu", (unsigned long long)++f->uids);
	json_put_str(meta, "uid", text);
	json_put_str(meta, "creationTimestamp", time_format_s(env_wall_s(f->base.env), text));
	if (k->schema)
		schema_default(k->schema, tree);
	if (!strcmp(k->group, "apps"))
		json_put_int(meta, "generation", 1);
	if (is(k, "Pod") && !json_path(tree, "status", "phase", NULL))
		json_put_str(json_need_object(tree, "status"), "phase", "Pending");
	if (is(k, "Namespace")) {
		json_put_str(json_need_object(tree, "status"), "phase", "Active");
		json_t *fin = json_need_array(json_need_object(tree, "spec"), "finalizers");
		if (!json_array_size(fin))
			json_array_append_new(fin, json_string("kubernetes"));
	}
}

static struct object *do_create(struct fake *f, const struct client_request *r, struct err *err)
{
	const struct kind *k = r->kind;
	json_t *tree = json_deep_copy(r->body);
	json_t *meta = json_need_object(tree, "metadata");
	if (k->namespaced && r->ns)
		json_put_str(meta, "namespace", r->ns);
	const char *prefix = json_get_str(meta, "generateName", "");
	if (!*meta_name(tree) && *prefix) {
		_cleanup_free_ char *suffix = random_suffix(f->base.env);
		_cleanup_free_ char *name = xasprintf("%s%s", prefix, suffix);
		json_put_str(meta, "name", name);
	}
	struct object *ns = k->namespaced ? find(f, kind_by_kind("", "v1", "Namespace"), "", meta_ns(tree)) : NULL;
	if (ns) {
		_cleanup_json_ json_t *t = object_tree(ns);
		if (meta_deleting(t)) {
			_cleanup_free_ char *res = kind_resource(k);
			err_status(
				err, ERR_FORBIDDEN,
				"%s \"%s\" is forbidden: unable to create new content in namespace %s because it is being terminated",
				res, meta_name(tree), meta_ns(tree));
			json_decref(tree);
			return NULL;
		}
	}
	if (find(f, k, meta_ns(tree), meta_name(tree))) {
		_cleanup_free_ char *res = kind_resource(k);
		err_status(err, ERR_ALREADY_EXISTS, "%s \"%s\" already exists", res, meta_name(tree));
		json_decref(tree);
		return NULL;
	}
	fill_new(f, k, tree);
	return object_ref(store(f, k, tree));
}

static bool has_finalizers(const json_t *tree)
{
	if (json_array_size(json_path(tree, "metadata", "finalizers", NULL)))
		return true;
	return streq(json_get_str(tree, "kind", ""), "Namespace") &&
	       json_array_size(json_path(tree, "spec", "finalizers", NULL));
}

static void keep(json_t *to, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);
	json_put(to, key, v ? json_deep_copy(v) : NULL);
}

/* What an update may not touch comes from the old version. Takes `tree_new`. */
static struct object *do_replace(struct fake *f, struct object *old_obj, json_t *tree_new, const char *sub,
				 struct err *err)
{
	const struct kind *k = old_obj->kind;
	_cleanup_json_ json_t *old_tree = object_tree(old_obj);
	json_t *meta = json_need_object(tree_new, "metadata");
	const char *rv = json_get_str(meta, "resourceVersion", "");
	if (*rv && strtoull(rv, NULL, 10) != old_obj->rv) {
		conflict(k, old_obj->name,
			 "the object has been modified; please apply your changes to the latest version and try again",
			 err);
		json_decref(tree_new);
		return NULL;
	}
	const char *uid = meta_uid(tree_new);
	if (*uid && strcmp(uid, old_obj->uid) != 0) {
		conflict(k, old_obj->name, "Precondition failed: UID in precondition differs", err);
		json_decref(tree_new);
		return NULL;
	}
	bool everything = streq(sub, "*");
	if (streq(sub, "status") || streq(sub, "finalize")) {
		json_t *t = object_edit(old_obj);
		if (streq(sub, "status")) {
			keep(t, tree_new, "status");
		} else {
			keep(t, tree_new, "spec");
		}
		json_decref(tree_new);
		tree_new = t;
		meta = json_need_object(tree_new, "metadata");
	} else if ((k->subresources & KIND_SUB_STATUS) && !everything) {
		keep(tree_new, old_tree, "status");
	}
	const json_t *old_meta = json_object_get(old_tree, "metadata");
	static const char *const kept[] = {
		"name", "namespace", "uid", "generation", "creationTimestamp", "resourceVersion", "generateName"};
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		keep(meta, old_meta, kept[i]);
	if (!everything) {
		keep(meta, old_meta, "deletionTimestamp");
		keep(meta, old_meta, "deletionGracePeriodSeconds");
	}
	_cleanup_free_ char *api_version = kind_api_version(k);
	json_put_str(tree_new, "apiVersion", api_version);
	json_put_str(tree_new, "kind", k->kind);
	if (k->schema)
		schema_default(k->schema, tree_new);
	if (!strcmp(k->group, "apps") &&
	    !json_equal(json_object_get(old_tree, "spec"), json_object_get(tree_new, "spec")))
		json_put_int(meta, "generation", meta_generation(old_tree) + 1);
	if (json_equal(old_tree, tree_new)) {
		json_decref(tree_new);
		return object_ref(old_obj);
	}
	bool graceful = is(k, "Pod") && json_get_int(meta, "deletionGracePeriodSeconds", 0) > 0;
	bool gone = meta_deleting(tree_new) && !has_finalizers(tree_new) && !graceful;
	struct object *o = object_ref(store(f, k, tree_new));
	if (gone) {
		struct object *last = erase(f, o);
		object_unref(o);
		return last;
	}
	return o;
}

static struct object *do_binding(struct fake *f, struct object *pod, const json_t *body, struct err *err)
{
	json_t *tree = object_edit(pod);
	const char *node = json_get_str(json_path(body, "target", NULL), "name", "");
	json_t *spec = json_need_object(tree, "spec");
	if (meta_deleting(tree) || *json_get_str(spec, "nodeName", "")) {
		conflict(pod->kind, pod->name, "pod is already assigned to a node or being deleted", err);
		json_decref(tree);
		return NULL;
	}
	json_put_str(spec, "nodeName", node);
	json_t *conds = json_need_array(json_need_object(tree, "status"), "conditions");
	size_t n = json_array_size(conds);
	for (size_t i = n; i-- > 0;)
		if (streq(json_get_str(json_array_get(conds, i), "type", ""), "PodScheduled"))
			json_array_remove(conds, i);
	char now[32];
	json_array_append_new(conds, json_make("{s:s, s:s, s:s}", "type", "PodScheduled", "status", "True",
					       "lastTransitionTime", time_format_s(env_wall_s(f->base.env), now)));
	return object_ref(store(f, pod->kind, tree));
}

static void add_finalizer(json_t *meta, const char *name)
{
	json_t *fin = json_need_array(meta, "finalizers");
	for (size_t i = 0; i < json_array_size(fin); i++)
		if (streq(json_string_value(json_array_get(fin, i)), name))
			return;
	json_array_append_new(fin, json_string(name));
}

static int64_t pod_grace(const json_t *pod, int64_t asked)
{
	const json_t *spec = json_object_get(pod, "spec");
	const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
	if (!*json_get_str(spec, "nodeName", "") || streq(phase, "Succeeded") || streq(phase, "Failed"))
		return 0;
	return asked >= 0 ? asked : json_get_int(spec, "terminationGracePeriodSeconds", 30);
}

static struct object *do_delete(struct fake *f, struct object *o, const struct client_request *r, struct err *err)
{
	const struct kind *k = o->kind;
	char rv[24];
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)o->rv);
	if ((r->precondition_uid && strcmp(r->precondition_uid, o->uid) != 0) ||
	    (r->precondition_rv && strcmp(r->precondition_rv, rv) != 0)) {
		conflict(k, o->name, "Precondition failed", err);
		return NULL;
	}
	json_t *tree = object_edit(o);
	json_t *meta = json_need_object(tree, "metadata");
	bool was_deleting = meta_deleting(tree);
	if (streq(r->propagation, "Foreground"))
		add_finalizer(meta, "foregroundDeletion");
	else if (streq(r->propagation, "Orphan"))
		add_finalizer(meta, "orphan");
	int64_t grace = is(k, "Pod") ? pod_grace(tree, r->grace_period_s) : 0;
	int64_t old_grace = json_get_int(meta, "deletionGracePeriodSeconds", 0);
	if (was_deleting && is(k, "Pod") && grace >= old_grace && old_grace > 0) {
		json_decref(tree);
		return object_ref(o);
	}
	if (!has_finalizers(tree) && grace == 0) {
		json_decref(tree);
		return erase(f, o);
	}
	char when[32];
	if (!was_deleting || grace < old_grace)
		json_put_str(meta, "deletionTimestamp", time_format_s(env_wall_s(f->base.env) + grace, when));
	json_put_int(meta, "deletionGracePeriodSeconds", grace);
	if (is(k, "Namespace"))
		json_put_str(json_need_object(tree, "status"), "phase", "Terminating");
	_cleanup_json_ json_t *same = object_tree(o);
	if (json_equal(same, tree)) {
		json_decref(tree);
		return object_ref(o);
	}
	return object_ref(store(f, k, tree));
}

static struct object *do_patch(struct fake *f, struct object *o, const struct client_request *r, struct err *err)
{
	_cleanup_json_ json_t *doc = object_tree(o);
	json_t *out = NULL;
	int rc = -ENOSYS;
	if (r->patch == CLIENT_PATCH_JSON)
		rc = patch_json(doc, r->body, &out, err);
	else if (r->patch == CLIENT_PATCH_MERGE)
		rc = patch_merge(doc, r->body, &out, err);
	else if (r->patch == CLIENT_PATCH_STRATEGIC)
		rc = patch_strategic(r->kind->schema, doc, r->body, &out, err);
	else
		err_set(err, -ENOSYS, "the fake has no server-side apply");
	if (rc < 0)
		return NULL;
	json_t *mine = json_deep_copy(out);
	json_decref(out);
	return do_replace(f, o, mine, r->subresource, err);
}

static struct object *do_scale(struct fake *f, struct object *o, const struct client_request *r, struct err *err)
{
	json_t *tree = object_edit(o);
	json_t *replicas = json_path(r->body, "spec", "replicas", NULL);
	json_put(json_need_object(tree, "spec"), "replicas", json_incref(replicas));
	return do_replace(f, o, tree, NULL, err);
}

static struct object *do_object(struct fake *f, const struct client_request *r, struct err *err)
{
	if (r->verb == CLIENT_CREATE && str_empty(r->subresource))
		return do_create(f, r, err);
	const char *name = r->name ? r->name : r->body ? meta_name(r->body) : "";
	const char *ns = r->ns ? r->ns : r->body ? meta_ns(r->body) : "";
	struct object *o = find(f, r->kind, ns, name);
	if (!o) {
		not_found(r->kind, name, err);
		return NULL;
	}
	if (streq(r->subresource, "binding"))
		return do_binding(f, o, r->body, err);
	if (streq(r->subresource, "eviction"))
		return do_delete(f, o, r, err);
	if (streq(r->subresource, "scale") && r->verb != CLIENT_GET)
		return do_scale(f, o, r, err);
	switch (r->verb) {
	case CLIENT_GET:
		return object_ref(o);
	case CLIENT_UPDATE:
		return do_replace(f, o, json_deep_copy(r->body), r->subresource, err);
	case CLIENT_PATCH:
		return do_patch(f, o, r, err);
	case CLIENT_DELETE:
		return do_delete(f, o, r, err);
	default:
		err_status(err, ERR_METHOD_NOT_ALLOWED, "the fake cannot do that");
		return NULL;
	}
}

/* ---- lists ---- */

static int parse_selectors(const char *labels, const char *fields, struct selector **ret_l,
			   struct field_selector **ret_f, struct err *err)
{
	struct selector *l = NULL;
	if (!str_empty(labels) && selector_parse(labels, &l, err) < 0)
		return err ? err->code : -EINVAL;
	if (!str_empty(fields) && field_selector_parse(fields, ret_f, err) < 0) {
		selector_free(l);
		return err ? err->code : -EINVAL;
	}
	*ret_l = l;
	return 0;
}

static size_t collect(struct fake *f, const struct client_request *r, struct object ***ret, struct err *err)
{
	struct selector *labels = NULL;
	struct field_selector *fields = NULL;
	*ret = NULL;
	if (parse_selectors(r->label_selector, r->field_selector, &labels, &fields, err) < 0)
		return 0;
	struct fake_table *t = table_of(f, r->kind);
	struct object **v = NEW_N(struct object *, t->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++) {
		struct object *o = t->v[i];
		if (!str_empty(r->ns) && strcmp(o->ns, r->ns) != 0)
			continue;
		if (labels_match(labels, fields, o))
			v[n++] = object_ref(o);
	}
	selector_free(labels);
	field_selector_free(fields);
	*ret = v;
	return n;
}

static void answer_list(struct fake *f, struct client_call *call, struct client_response *resp)
{
	struct object **v;
	size_t n = collect(f, &call->req, &v, resp->err), from = 0;
	if (!str_empty(call->req.continue_token)) {
		uint64_t u = 0;
		parse_u64(call->req.continue_token, &u);
		from = MIN((size_t)u, n);
	}
	size_t to = n;
	char token[24] = "";
	if (call->req.limit && n - from > call->req.limit) {
		to = from + (size_t)call->req.limit;
		snprintf(token, sizeof(token), "%zu", to);
	}
	resp->items = v ? v + from : NULL;
	resp->n_items = to - from;
	resp->rv = f->rv;
	resp->continue_token = token;
	resp->remaining = *token ? (int64_t)(n - to) : -1;
	call->cb(call->arg, resp);
	for (size_t i = 0; i < n; i++)
		object_unref(v[i]);
	free(v);
}

static void delete_collection(struct fake *f, const struct client_request *r, struct err *err)
{
	struct object **v;
	size_t n = collect(f, r, &v, err);
	for (size_t i = 0; i < n; i++) {
		struct object *o = find(f, r->kind, v[i]->ns, v[i]->name);
		if (o)
			object_unref(do_delete(f, o, r, err));
		object_unref(v[i]);
	}
	free(v);
}

/* ---- calls ---- */

static void request_done(struct client_request *r)
{
	free((void *)r->ns);
	free((void *)r->name);
	free((void *)r->subresource);
	free((void *)r->label_selector);
	free((void *)r->field_selector);
	free((void *)r->continue_token);
	free((void *)r->resource_version);
	free((void *)r->propagation);
	free((void *)r->precondition_uid);
	free((void *)r->precondition_rv);
	free((void *)r->field_manager);
	json_decref(r->body);
}

static char *dup_str(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static struct client_request request_copy(const struct client_request *r)
{
	struct client_request c = *r;
	c.ns = dup_str(r->ns);
	c.name = dup_str(r->name);
	c.subresource = dup_str(r->subresource);
	c.label_selector = dup_str(r->label_selector);
	c.field_selector = dup_str(r->field_selector);
	c.continue_token = dup_str(r->continue_token);
	c.resource_version = dup_str(r->resource_version);
	c.propagation = dup_str(r->propagation);
	c.precondition_uid = dup_str(r->precondition_uid);
	c.precondition_rv = dup_str(r->precondition_rv);
	c.field_manager = dup_str(r->field_manager);
	c.field_validation = NULL;
	c.body = r->body ? json_deep_copy(r->body) : NULL;
	return c;
}

static struct fake_count *count_of(struct fake *f, enum client_verb verb, const struct kind *k, const char *sub)
{
	for (size_t i = 0; i < f->n_counts; i++)
		if (f->counts[i].verb == verb && f->counts[i].kind == k && streq(f->counts[i].subresource, sub))
			return &f->counts[i];
	GROW(f->counts, f->cap_counts, f->n_counts + 1);
	struct fake_count *n = &f->counts[f->n_counts++];
	*n = (struct fake_count){.verb = verb, .kind = k};
	snprintf(n->subresource, sizeof(n->subresource), "%s", sub);
	return n;
}

static void call__answer(struct env_timer *t)
{
	struct client_call *call = CONTAINER_OF(t, struct client_call, timer);
	struct fake *f = call->f;
	const struct client_request *r = &call->req;
	_cleanup_err_ struct err err = ERR_INIT;
	struct client_response resp = {.err = &err, .continue_token = "", .remaining = -1};
	list_del(&call->node);
	count_of(f, r->verb, r->kind, r->subresource ? r->subresource : "")->n++;
	if (f->react && f->react(f->react_arg, r, &err)) {
		call->cb(call->arg, &resp);
	} else if (r->verb == CLIENT_LIST) {
		answer_list(f, call, &resp);
	} else if (r->verb == CLIENT_DELETECOLLECTION) {
		delete_collection(f, r, &err);
		call->cb(call->arg, &resp);
	} else {
		struct object *o = do_object(f, r, &err);
		resp.object = o;
		resp.rv = o ? o->rv : 0;
		call->cb(call->arg, &resp);
		object_unref(o);
	}
	request_done(&call->req);
	free(call);
}

static struct client_call *fake__call(struct client *c, const struct client_request *r, client_cb cb, void *arg)
{
	struct fake *f = fake_of(c);
	MUST(r->kind != NULL);
	struct client_call *call = NEW(struct client_call);
	call->f = f;
	call->req = request_copy(r);
	call->cb = cb;
	call->arg = arg;
	call->timer.fn = call__answer;
	list_push(&f->calls, &call->node);
	env_timer_start(c->env, &call->timer, f->answer_us);
	return call;
}

static void fake__cancel(struct client *c, struct client_call *call)
{
	env_timer_stop(c->env, &call->timer);
	list_del(&call->node);
	request_done(&call->req);
	free(call);
}

/* ---- watches ---- */

static void watch_free(struct client_watch *w)
{
	env_timer_stop(w->f->base.env, &w->timer);
	selector_free(w->labels);
	field_selector_free(w->fields);
	err_done(&w->end);
	free(w->ns);
	free(w);
}

static void fake__unwatch(struct client *c, struct client_watch *w)
{
	(void)c;
	list_del(&w->node);
	if (w->delivering)
		w->dead = true;
	else
		watch_free(w);
}

static void watch_event(struct client_watch *w, const struct fake_event *e)
{
	if (e->new_obj->kind != w->kind || (w->ns && strcmp(w->ns, e->new_obj->ns) != 0))
		return;
	bool was = e->old_obj && labels_match(w->labels, w->fields, e->old_obj);
	bool now = !e->deleted && labels_match(w->labels, w->fields, e->new_obj);
	if (now)
		w->ops.on_event(w->arg, was ? WATCH_MODIFIED : WATCH_ADDED, e->new_obj);
	else if (was)
		w->ops.on_event(w->arg, WATCH_DELETED, e->new_obj);
}

static void watch__deliver(struct env_timer *t)
{
	struct client_watch *w = CONTAINER_OF(t, struct client_watch, timer);
	struct fake *f = w->f;
	uint64_t now = env_now_us(f->base.env);
	w->delivering = true;
	while (!w->dead && !w->ending && w->next < f->n_events && f->events[w->next].at_us + f->event_us <= now) {
		struct fake_event e = f->events[w->next++];
		object_ref(e.new_obj);
		watch_event(w, &e);
		object_unref(e.new_obj);
	}
	w->delivering = false;
	if (w->dead) {
		watch_free(w);
	} else if (w->ending) {
		list_del(&w->node);
		w->ops.on_end(w->arg, &w->end);
		watch_free(w);
	} else if (w->next < f->n_events) {
		uint64_t due = f->events[w->next].at_us + f->event_us;
		env_timer_start(f->base.env, &w->timer, due > now ? due - now : 0);
	}
}

static struct client_watch *fake__watch(struct client *c, const struct client_watch_request *r,
					const struct client_watch_ops *ops, void *arg)
{
	struct fake *f = fake_of(c);
	struct client_watch *w = NEW(struct client_watch);
	w->f = f;
	w->kind = r->kind;
	w->ns = str_empty(r->ns) ? NULL : xstrdup(r->ns);
	w->bookmarks = r->bookmarks;
	w->ops = *ops;
	w->arg = arg;
	w->timer.fn = watch__deliver;
	w->next = f->n_events;
	list_push(&f->watches, &w->node);
	if (parse_selectors(r->label_selector, r->field_selector, &w->labels, &w->fields, &w->end) < 0) {
		w->ending = true;
	} else if (r->rv < f->compacted_rv) {
		err_status(&w->end, ERR_EXPIRED, "too old resource version: %llu (%llu)", (unsigned long long)r->rv,
			   (unsigned long long)f->compacted_rv);
		w->ending = true;
	} else {
		while (w->next > 0 && f->events[w->next - 1].rv > r->rv)
			w->next--;
	}
	env_timer_start(c->env, &w->timer, f->event_us);
	return w;
}

/* ---- life and knobs ---- */

static void fake__free(struct client *c)
{
	struct fake *f = fake_of(c);
	LIST_EACH (&f->calls, call, struct client_call, node)
		fake__cancel(c, call);
	LIST_EACH (&f->watches, w, struct client_watch, node) {
		list_del(&w->node);
		watch_free(w);
	}
	for (size_t i = 0; i < f->n_events; i++) {
		object_unref(f->events[i].old_obj);
		object_unref(f->events[i].new_obj);
	}
	for (size_t i = 0; i < f->n_tables; i++) {
		for (size_t j = 0; j < f->tables[i].n; j++)
			object_unref(f->tables[i].v[j]);
		free(f->tables[i].v);
	}
	free(f->tables);
	free(f->events);
	free(f->counts);
	free(f);
}

struct client *fake_client_new(struct env *env)
{
	struct fake *f = NEW(struct fake);
	/* Not a static table: this file is linked into tests that have no use for it, and may then be dropped whole. */
	f->ops = (struct client_ops){
		.call = fake__call,
		.cancel = fake__cancel,
		.watch = fake__watch,
		.unwatch = fake__unwatch,
		.free = fake__free,
	};
	f->base.ops = &f->ops;
	f->base.env = env;
	f->magic = FAKE_MAGIC;
	f->rv = 1;
	list_init(&f->calls);
	list_init(&f->watches);
	return &f->base;
}

void fake_latency(struct client *c, uint64_t answer_us, uint64_t event_us)
{
	fake_of(c)->answer_us = answer_us;
	fake_of(c)->event_us = event_us;
}

void fake_react(struct client *c, bool (*fn)(void *arg, const struct client_request *req, struct err *err), void *arg)
{
	fake_of(c)->react = fn;
	fake_of(c)->react_arg = arg;
}

static const struct kind *kind_named(const char *name)
{
	for (size_t i = 0; kinds_all[i]; i++)
		if (!strcmp(kinds_all[i]->kind, name))
			return kinds_all[i];
	fprintf(stderr, "fake: no kind %s\n", name);
	abort();
}

unsigned fake_calls(struct client *c, enum client_verb verb, const char *kind, const char *subresource)
{
	return count_of(fake_of(c), verb, kind_named(kind), subresource ? subresource : "")->n;
}

void fake_end_watches(struct client *c, int code)
{
	LIST_EACH (&fake_of(c)->watches, w, struct client_watch, node) {
		w->ending = true;
		if (code)
			err_set(&w->end, code, "ended by the test");
		env_timer_start(c->env, &w->timer, 0);
	}
}

void fake_compact(struct client *c)
{
	fake_of(c)->compacted_rv = fake_of(c)->rv;
}

void fake_bookmark(struct client *c)
{
	struct fake *f = fake_of(c);
	LIST_EACH (&f->watches, w, struct client_watch, node) {
		if (!w->bookmarks || env_timer_active(&w->timer))
			continue;
		w->next = f->n_events; /* what is left there is of other kinds */
		struct object mark = {.refs = 1, .kind = w->kind, .rv = f->rv, .ns = "", .name = "", .uid = ""};
		w->ops.on_event(w->arg, WATCH_BOOKMARK, &mark);
	}
}

uint64_t fake_rv(struct client *c)
{
	return fake_of(c)->rv;
}

/* ---- helpers of tests ---- */

static json_t *parse(const char *fmt, va_list ap)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	_cleanup_err_ struct err err = ERR_INIT;
	json_t *tree = NULL;
	if (json_parse(text, strlen(text), &tree, &err) < 0) {
		fprintf(stderr, "fake: %s in %s\n", err.message, text);
		abort();
	}
	free(text);
	return tree;
}

static void must_work(const struct object *o, const struct err *err)
{
	if (o)
		return;
	fprintf(stderr, "fake: %s\n", err->message);
	abort();
}

struct object *fake_add(struct client *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_json_ json_t *tree = parse(fmt, ap);
	va_end(ap);
	_cleanup_err_ struct err err = ERR_INIT;
	struct client_request r = {.verb = CLIENT_CREATE, .body = tree, .grace_period_s = -1};
	r.kind = kind_named(json_get_str(tree, "kind", ""));
	if (r.kind->namespaced && !*meta_ns(tree))
		r.ns = "default";
	struct object *o = do_create(fake_of(c), &r, &err);
	must_work(o, &err);
	object_unref(o); /* the table has it */
	return o;
}

struct object *fake_find(struct client *c, const char *kind, const char *ns, const char *name)
{
	return find(fake_of(c), kind_named(kind), ns, name);
}

json_t *fake_tree(struct client *c, const char *kind, const char *ns, const char *name)
{
	struct object *o = fake_find(c, kind, ns, name);
	return o ? object_tree(o) : NULL;
}

struct object *fake_nth(struct client *c, const char *kind, const char *ns, size_t n)
{
	struct fake_table *t = table_of(fake_of(c), kind_named(kind));
	for (size_t i = 0; i < t->n; i++)
		if ((!ns || !strcmp(t->v[i]->ns, ns)) && n-- == 0)
			return t->v[i];
	return NULL;
}

size_t fake_count(struct client *c, const char *kind, const char *ns)
{
	struct fake_table *t = table_of(fake_of(c), kind_named(kind));
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++)
		n += !ns || !strcmp(t->v[i]->ns, ns);
	return n;
}

void fake_patch(struct client *c, const char *kind, const char *ns, const char *name, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	_cleanup_json_ json_t *patch = parse(fmt, ap);
	va_end(ap);
	_cleanup_err_ struct err err = ERR_INIT;
	struct object *o = fake_find(c, kind, ns, name);
	if (!o)
		not_found(kind_named(kind), name, &err);
	must_work(o, &err);
	struct client_request r = {.verb = CLIENT_PATCH,
				   .patch = CLIENT_PATCH_MERGE,
				   .kind = o->kind,
				   .body = patch,
				   .subresource = "*",
				   .grace_period_s = -1};
	struct object *done = do_patch(fake_of(c), o, &r, &err);
	must_work(done, &err);
	object_unref(done);
}

void fake_delete(struct client *c, const char *kind, const char *ns, const char *name, const char *propagation,
		 int64_t grace_s)
{
	_cleanup_err_ struct err err = ERR_INIT;
	struct object *o = fake_find(c, kind, ns, name);
	if (!o)
		not_found(kind_named(kind), name, &err);
	must_work(o, &err);
	struct client_request r = {
		.verb = CLIENT_DELETE, .kind = o->kind, .propagation = propagation, .grace_period_s = grace_s};
	struct object *done = do_delete(fake_of(c), o, &r, &err);
	must_work(done, &err);
	object_unref(done);
}
