#include "lib/api/patch.h"
#include "tests/support/fake_priv.h"

/* ---- tables ---- */

struct fake_table *fake__table(struct fake *f, const struct kind *k)
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

struct object *fake__find(struct fake *f, const struct kind *k, const char *ns, const char *name)
{
	struct fake_table *t = fake__table(f, k);
	bool found;
	size_t at = position(t, k->namespaced && ns ? ns : "", name ? name : "", &found);
	return found ? t->v[at] : NULL;
}

bool fake__matches(const struct selector *labels, const struct field_selector *fields, struct object *o)
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
	struct fake_table *t = fake__table(f, k);
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
	struct fake_table *t = fake__table(f, o->kind);
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

int fake__not_found(const struct kind *k, const char *name, struct err *err)
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

struct object *fake__create(struct fake *f, const struct client_request *r, struct err *err)
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
	struct object *ns =
		k->namespaced ? fake__find(f, kind_by_kind("", "v1", "Namespace"), "", meta_ns(tree)) : NULL;
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
	if (fake__find(f, k, meta_ns(tree), meta_name(tree))) {
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

struct object *fake__delete(struct fake *f, struct object *o, const struct client_request *r, struct err *err)
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

struct object *fake__patch(struct fake *f, struct object *o, const struct client_request *r, struct err *err)
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

struct object *fake__object(struct fake *f, const struct client_request *r, struct err *err)
{
	if (r->verb == CLIENT_CREATE && str_empty(r->subresource))
		return fake__create(f, r, err);
	const char *name = r->name ? r->name : r->body ? meta_name(r->body) : "";
	const char *ns = r->ns ? r->ns : r->body ? meta_ns(r->body) : "";
	struct object *o = fake__find(f, r->kind, ns, name);
	if (!o) {
		fake__not_found(r->kind, name, err);
		return NULL;
	}
	if (streq(r->subresource, "binding"))
		return do_binding(f, o, r->body, err);
	if (streq(r->subresource, "eviction"))
		return fake__delete(f, o, r, err);
	if (streq(r->subresource, "scale") && r->verb != CLIENT_GET)
		return do_scale(f, o, r, err);
	switch (r->verb) {
	case CLIENT_GET:
		return object_ref(o);
	case CLIENT_UPDATE:
		return do_replace(f, o, json_deep_copy(r->body), r->subresource, err);
	case CLIENT_PATCH:
		return fake__patch(f, o, r, err);
	case CLIENT_DELETE:
		return fake__delete(f, o, r, err);
	default:
		err_status(err, ERR_METHOD_NOT_ALLOWED, "the fake cannot do that");
		return NULL;
	}
}
