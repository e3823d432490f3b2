/* A Deployment's ReplicaSets: which are ours, which has the present template, their revisions, making and sizing them. */
#include "controllers/claim.h"
#include "controllers/deployment.h"

/* ---- the view ---- */

static void rollout_free(void *p)
{
	struct rollout *ro = p;
	for (size_t i = 0; i < ro->n; i++) {
		object_unref(ro->rs[i].obj);
		json_decref(ro->rs[i].tree);
	}
	free(ro->rs);
	object_unref(ro->obj);
	json_decref(ro->tree);
	free(ro);
}

/* "25%" of total, rounded as asked, or a plain number. */
static int64_t resolve(const json_t *v, int64_t total, bool round_up)
{
	if (json_is_integer(v))
		return json_integer_value(v);
	const char *s = json_string_value(v);
	int64_t percent = s ? strtoll(s, NULL, 10) : 0;
	int64_t product = percent * total;
	return round_up ? (product + 99) / 100 : product / 100;
}

static void resolve_limits(struct rollout *ro)
{
	if (ro->recreate)
		return;
	const json_t *rolling = json_path(ro->spec, "strategy", "rollingUpdate", NULL);
	json_t *surge = json_object_get(rolling, "maxSurge"), *unavailable = json_object_get(rolling, "maxUnavailable");
	_cleanup_json_ json_t *dflt = json_string("25%");
	ro->max_surge = resolve(surge ? surge : dflt, ro->replicas, true);
	ro->max_unavailable = resolve(unavailable ? unavailable : dflt, ro->replicas, false);
	/* Both may come out as zero by rounding: then nothing could ever move. */
	if (ro->max_surge == 0 && ro->max_unavailable == 0)
		ro->max_unavailable = 1;
	ro->max_unavailable = MIN(ro->max_unavailable, ro->replicas);
}

static bool templates_equal(const json_t *a, const json_t *b)
{
	_cleanup_json_ json_t *x = json_deep_copy(a), *y = json_deep_copy(b);
	json_object_del(json_path(x, "metadata", "labels", NULL), LABEL_HASH);
	json_object_del(json_path(y, "metadata", "labels", NULL), LABEL_HASH);
	return json_equal(x, y);
}

static int by_creation(const void *a, const void *b)
{
	const struct rollout_rs *x = a, *y = b;
	int c = strcmp(json_get_str(json_object_get(x->tree, "metadata"), "creationTimestamp", ""),
		       json_get_str(json_object_get(y->tree, "metadata"), "creationTimestamp", ""));
	return c ? c : strcmp(x->obj->name, y->obj->name);
}

static void add_rs(struct rollout *ro, struct object *obj)
{
	struct rollout_rs *rs = &ro->rs[ro->n++];
	rs->obj = object_ref(obj);
	rs->tree = object_tree(obj);
	const json_t *status = json_object_get(rs->tree, "status");
	rs->replicas = json_get_int(json_object_get(rs->tree, "spec"), "replicas", 1);
	rs->st_replicas = json_get_int(status, "replicas", 0);
	rs->ready = json_get_int(status, "readyReplicas", 0);
	rs->available = json_get_int(status, "availableReplicas", 0);
	rs->revision = rs_annotation(rs, ANNOTATION_REVISION, 0);
}

static void collect(struct rollout *ro)
{
	struct informer *sets = ro->c->base.all->replicasets;
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_by_index(sets, "owner", ro->obj->uid, &v);
	ro->rs = NEW_N(struct rollout_rs, n + 1);
	for (size_t i = 0; i < n; i++)
		add_rs(ro, v[i]);
	qsort(ro->rs, ro->n, sizeof(*ro->rs), by_creation);
	const json_t *template = json_object_get(ro->spec, "template");
	for (size_t i = 0; i < ro->n && !ro->newest; i++)
		if (templates_equal(template, json_path(ro->rs[i].tree, "spec", "template", NULL)))
			ro->newest = &ro->rs[i];
}

struct rollout *rollout_new(struct deployment_controller *c, struct reconcile *r, struct object *obj)
{
	struct rollout *ro = NEW(struct rollout);
	reconcile_defer(r, rollout_free, ro);
	ro->c = c;
	ro->r = r;
	ro->obj = object_ref(obj);
	ro->tree = object_tree(obj);
	ro->spec = json_object_get(ro->tree, "spec");
	ro->status = json_object_get(ro->tree, "status");
	ro->replicas = json_get_int(ro->spec, "replicas", 1);
	ro->min_ready_s = json_get_int(ro->spec, "minReadySeconds", 0);
	ro->deadline_s = json_get_int(ro->spec, "progressDeadlineSeconds", INT32_MAX);
	ro->has_deadline = ro->deadline_s != INT32_MAX;
	ro->history_limit = json_get_int(ro->spec, "revisionHistoryLimit", INT32_MAX);
	ro->has_history_limit = ro->history_limit != INT32_MAX;
	ro->paused = json_get_bool(ro->spec, "paused", false);
	ro->recreate = !strcmp(json_get_str(json_object_get(ro->spec, "strategy"), "type", ""), "Recreate");
	resolve_limits(ro);
	collect(ro);
	return ro;
}

bool rollout_claim(struct rollout *ro)
{
	struct informer *sets = ro->c->base.all->replicasets;
	_cleanup_selector_ struct selector *sel = NULL;
	if (selector_from_json(json_object_get(ro->spec, "selector"), &sel, NULL) < 0)
		return false;
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_list(sets, ro->obj->ns, &v);
	bool any = false;
	for (size_t i = 0; i < n; i++) {
		struct rs_info *info = informer_extract(sets, v[i]);
		bool matches = selector_matches(sel, info->labels);
		if (info->deleting)
			continue;
		if (!*info->owner_uid && matches) {
			claim_adopt(ro->r, v[i], ro->obj, sets);
			any = true;
		} else if (!strcmp(info->owner_uid, ro->obj->uid) && !matches) {
			claim_release(ro->r, v[i], ro->obj->uid, sets);
			any = true;
		}
	}
	return any;
}

int64_t rs_annotation(const struct rollout_rs *rs, const char *key, int64_t dflt)
{
	const char *s = meta_annotation(rs->tree, key);
	int64_t n;
	return s && parse_i64(s, &n) == 0 ? n : dflt;
}

int64_t rollout_total(const struct rollout *ro)
{
	int64_t sum = 0;
	for (size_t i = 0; i < ro->n; i++)
		sum += ro->rs[i].replicas;
	return sum;
}

/* ---- revisions ---- */

static int64_t next_revision(const struct rollout *ro)
{
	int64_t max = 0;
	for (size_t i = 0; i < ro->n; i++)
		if (&ro->rs[i] != ro->newest)
			max = MAX(max, ro->rs[i].revision);
	return max + 1;
}

static bool put_annotation(json_t *annotations, const char *key, const char *value)
{
	if (streq(json_get_str(annotations, key, NULL), value))
		return false;
	json_put_str(annotations, key, value);
	return true;
}

static bool put_number(json_t *annotations, const char *key, int64_t n)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)n);
	return put_annotation(annotations, key, text);
}

/* The Deployment's annotations go down to its newest ReplicaSet, but for those with a meaning of their own. */
static bool copy_annotations(const struct rollout *ro, json_t *to)
{
	static const char *const skip[] = {"kubectl.kubernetes.io/last-applied-configuration",
					   ANNOTATION_REVISION,
					   ANNOTATION_HISTORY,
					   ANNOTATION_DESIRED,
					   ANNOTATION_MAX,
					   "deprecated.deployment.rollback.to"};
	bool changed = false;
	const char *key;
	json_t *v;
	json_object_foreach(json_path(ro->tree, "metadata", "annotations", NULL), key, v)
	{
		bool skipped = !json_is_string(v);
		for (size_t i = 0; i < ARRAY_LEN(skip); i++)
			skipped = skipped || !strcmp(key, skip[i]);
		if (!skipped)
			changed |= put_annotation(to, key, json_string_value(v));
	}
	return changed;
}

static bool raise_revision(json_t *annotations, int64_t have, int64_t next)
{
	if (have >= next)
		return false;
	if (have > 0) {
		const char *history = json_get_str(annotations, ANNOTATION_HISTORY, "");
		_cleanup_free_ char *text = xasprintf("%s%s%lld", history, *history ? "," : "", (long long)have);
		/* bounded: a template gone back to over and over must not grow the object for ever */
		if (strlen(text) < 2000)
			json_put_str(annotations, ANNOTATION_HISTORY, text);
	}
	put_number(annotations, ANNOTATION_REVISION, next);
	return true;
}

static void update(struct rollout *ro, struct object *obj, json_t *tree, struct informer *inf, reconcile_cb cb,
		   void *arg)
{
	struct client_request req = request_for(CLIENT_UPDATE, obj);
	req.body = tree;
	reconcile_do(ro->r, &req, inf, cb, arg);
}

bool rollout_sync_revisions(struct rollout *ro)
{
	struct rollout_rs *rs = ro->newest;
	_cleanup_json_ json_t *tree = json_deep_copy(rs->tree);
	json_t *annotations = json_need_object(json_need_object(tree, "metadata"), "annotations");
	bool changed = copy_annotations(ro, annotations);
	changed |= raise_revision(annotations, rs->revision, next_revision(ro));
	json_t *spec = json_need_object(tree, "spec");
	if (json_get_int(spec, "minReadySeconds", 0) != ro->min_ready_s) {
		json_put_int(spec, "minReadySeconds", ro->min_ready_s);
		changed = true;
	}
	if (changed) {
		update(ro, rs->obj, tree, ro->c->base.all->replicasets, NULL, NULL);
		return true;
	}
	const char *revision = meta_annotation(rs->tree, ANNOTATION_REVISION);
	if (!revision || streq(meta_annotation(ro->tree, ANNOTATION_REVISION), revision))
		return false;
	_cleanup_json_ json_t *d = json_deep_copy(ro->tree);
	json_put_str(json_need_object(json_need_object(d, "metadata"), "annotations"), ANNOTATION_REVISION, revision);
	update(ro, ro->obj, d, ro->c->base.all->deployments, NULL, NULL);
	return true;
}

/* ---- making one ---- */

/* A short stable name for a template: FNV-1a of its canonical JSON, in letters that make no words. */
static void template_hash(const json_t *template, int64_t collisions, bool collided, char ret[16])
{
	static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
	char *text = json_dumps(template, JSON_COMPACT | JSON_SORT_KEYS);
	_cleanup_buf_ struct buf b = BUF_INIT;
	buf_adds(&b, text);
	free(text);
	if (collided)
		buf_addf(&b, "\n%lld", (long long)collisions);
	char digits[16];
	int n = snprintf(digits, sizeof(digits), "%u", fnv32a(b.data, b.len));
	for (int i = 0; i < n; i++)
		ret[i] = letters[(unsigned char)digits[i] % 27];
	ret[n] = '\0';
}

struct rollout_create {
	struct rollout *ro;
	int64_t size;
	char name[300];
};

static bool on_existing(void *arg, const struct client_response *resp)
{
	struct rollout_create *cr = arg;
	struct rollout *ro = cr->ro;
	if (resp->err->code || !resp->object)
		return false;
	_cleanup_json_ json_t *tree = object_tree(resp->object);
	const json_t *owner = meta_controller(tree);
	bool ours = owner && streq(json_get_str(owner, "uid", NULL), ro->obj->uid);
	/* Ours with the same template: our copy is merely late. Anything else has taken the name. */
	if (!ours || !templates_equal(json_object_get(ro->spec, "template"), json_path(tree, "spec", "template", NULL)))
		rollout_bump_collisions(ro);
	return true;
}

static bool on_created(void *arg, const struct client_response *resp)
{
	struct rollout_create *cr = arg;
	struct rollout *ro = cr->ro;
	const struct err *err = resp->err;
	if (err->reason == ERR_ALREADY_EXISTS) {
		struct client_request req = {.verb = CLIENT_GET,
					     .kind = informer_kind(ro->c->base.all->replicasets),
					     .ns = ro->obj->ns,
					     .name = cr->name,
					     .grace_period_s = -1};
		reconcile_do(ro->r, &req, NULL, on_existing, cr);
		return true;
	}
	if (err->code && strstr(err->message, "because it is being terminated"))
		return true;
	if (err->code)
		event_record(ro->c->events, ro->obj, true, "ReplicaSetCreateError",
			     "Failed to create new replica set \"%s\": %s", cr->name, err->message);
	else if (cr->size > 0)
		event_record(ro->c->events, ro->obj, false, "ScalingReplicaSet",
			     "Scaled up replica set %s from 0 to %lld", cr->name, (long long)cr->size);
	rollout_created_status(ro, cr->name, err->code ? err : NULL);
	return false;
}

static json_t *new_rs(struct rollout *ro, const char *name, const char *hash, int64_t size)
{
	json_t *template = json_deep_copy(json_object_get(ro->spec, "template"));
	json_t *labels = json_need_object(json_need_object(template, "metadata"), "labels");
	json_put_str(labels, LABEL_HASH, hash);
	json_t *selector = json_deep_copy(json_object_get(ro->spec, "selector"));
	json_put_str(json_need_object(selector, "matchLabels"), LABEL_HASH, hash);
	json_t *annotations = json_object();
	copy_annotations(ro, annotations);
	put_number(annotations, ANNOTATION_REVISION, next_revision(ro));
	put_number(annotations, ANNOTATION_DESIRED, ro->replicas);
	put_number(annotations, ANNOTATION_MAX, ro->replicas + ro->max_surge);
	json_t *rs =
		json_make("{s:s, s:s, s:{s:s, s:s, s:o, s:o, s:o}, s:{s:I, s:o, s:o}}", "apiVersion", "apps/v1", "kind",
			  "ReplicaSet", "metadata", "name", name, "namespace", ro->obj->ns, "labels",
			  json_deep_copy(labels), "annotations", annotations, "ownerReferences", meta_owned_by(ro->obj),
			  "spec", "replicas", (json_int_t)size, "selector", selector, "template", template);
	if (ro->min_ready_s)
		json_put_int(json_object_get(rs, "spec"), "minReadySeconds", ro->min_ready_s);
	return rs;
}

void rollout_create(struct rollout *ro)
{
	char hash[16];
	json_t *collisions = json_object_get(ro->status, "collisionCount");
	template_hash(json_object_get(ro->spec, "template"), json_integer_value(collisions), collisions != NULL, hash);
	struct rollout_create *cr = reconcile_alloc(ro->r, sizeof(*cr));
	cr->ro = ro;
	cr->size = rollout_new_size(ro, 0);
	snprintf(cr->name, sizeof(cr->name), "%s-%s", ro->obj->name, hash);
	_cleanup_json_ json_t *rs = new_rs(ro, cr->name, hash, cr->size);
	struct client_request req = {.verb = CLIENT_CREATE,
				     .kind = informer_kind(ro->c->base.all->replicasets),
				     .ns = ro->obj->ns,
				     .body = rs,
				     .grace_period_s = -1};
	reconcile_do(ro->r, &req, ro->c->base.all->replicasets, on_created, cr);
}

/* ---- sizing one ---- */

struct rollout_scaled {
	struct rollout *ro;
	int64_t from, to;
	char name[300];
};

static bool on_scaled(void *arg, const struct client_response *resp)
{
	struct rollout_scaled *s = arg;
	if (!resp->err->code && s->from != s->to)
		event_record(s->ro->c->events, s->ro->obj, false, "ScalingReplicaSet",
			     "Scaled %s replica set %s from %lld to %lld", s->to > s->from ? "up" : "down", s->name,
			     (long long)s->from, (long long)s->to);
	return false;
}

bool rollout_scale(struct rollout *ro, struct rollout_rs *rs, int64_t replicas)
{
	int64_t max = ro->replicas + ro->max_surge;
	bool sized = rs->replicas != replicas;
	bool annotate = rs_annotation(rs, ANNOTATION_DESIRED, -1) != ro->replicas ||
			rs_annotation(rs, ANNOTATION_MAX, -1) != max;
	if ((!sized && !annotate) || rs->scaled)
		return false;
	json_t *tree = json_deep_copy(rs->tree);
	json_t *annotations = json_need_object(json_need_object(tree, "metadata"), "annotations");
	put_number(annotations, ANNOTATION_DESIRED, ro->replicas);
	put_number(annotations, ANNOTATION_MAX, max);
	json_put_int(json_need_object(tree, "spec"), "replicas", replicas);
	struct rollout_scaled *s = reconcile_alloc(ro->r, sizeof(*s));
	*s = (struct rollout_scaled){.ro = ro, .from = rs->replicas, .to = replicas};
	snprintf(s->name, sizeof(s->name), "%s", rs->obj->name);
	update(ro, rs->obj, tree, ro->c->base.all->replicasets, on_scaled, s);
	json_decref(tree);
	rs->replicas = replicas;
	rs->scaled = true;
	return sized;
}

/* ---- history ---- */

static int by_revision(const void *a, const void *b)
{
	const struct rollout_rs *x = *(struct rollout_rs *const *)a, *y = *(struct rollout_rs *const *)b;
	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	return by_creation(x, y);
}

void rollout_cleanup(struct rollout *ro)
{
	if (!ro->has_history_limit)
		return;
	_cleanup_free_ struct rollout_rs **old = NEW_N(struct rollout_rs *, ro->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < ro->n; i++)
		if (&ro->rs[i] != ro->newest && !meta_deleting(ro->rs[i].tree))
			old[n++] = &ro->rs[i];
	qsort(old, n, sizeof(*old), by_revision);
	for (size_t i = 0; (int64_t)i < (int64_t)n - ro->history_limit; i++) {
		const json_t *status = json_object_get(old[i]->tree, "status");
		if (old[i]->st_replicas || old[i]->replicas ||
		    meta_generation(old[i]->tree) > json_get_int(status, "observedGeneration", 0))
			continue;
		struct client_request req = request_for(CLIENT_DELETE, old[i]->obj);
		req.precondition_uid = old[i]->obj->uid;
		reconcile_do(ro->r, &req, ro->c->base.all->replicasets, NULL, NULL);
	}
}
