/* ReplicaSets: keep so many pods of a template. */
#include "controllers/replicaset.h"
#include "controllers/claim.h"

#define RS_MAGIC    0xc0175e71u
#define BURST       500 /* pods made or removed in one run */
#define FIRST_BATCH 1

struct replicaset_controller {
	struct controller base;
	uint32_t magic;
	struct event_recorder *events;
};

/* One run over one ReplicaSet: claim -> manage (create in doubling batches | delete) -> status. */
struct rs_run {
	struct replicaset_controller *c;
	struct reconcile *r;
	struct object *rs;
	json_t *tree;
	struct object **pods; /* ours and active */
	size_t n;
	json_t *next;   /* the ReplicaSet with the status that follows from what we saw */
	bool changed;   /* ... and it differs */
	int64_t diff;   /* pods too few (< 0) or too many at the time of looking */
	size_t to_make; /* still */
	size_t batch, in_batch;
	bool failed;
	char failure[512];
};

static void run_free(void *p)
{
	struct rs_run *run = p;
	object_unref(run->rs);
	json_decref(run->tree);
	json_decref(run->next);
	for (size_t i = 0; i < run->n; i++)
		object_unref(run->pods[i]);
	free(run->pods);
	free(run);
}

/* ---- which pods are ours ---- */

static void keep_pod(struct rs_run *run, struct object *pod, size_t *cap)
{
	GROW(run->pods, *cap, run->n + 1);
	run->pods[run->n++] = object_ref(pod);
}

static void claim_pods(struct rs_run *run, const struct rs_info *info)
{
	struct controllers *all = run->c->base.all;
	size_t cap = 0;
	_cleanup_free_ struct object **owned = NULL, **orphans = NULL;
	size_t n = informer_by_index(all->pods, PODS_BY_OWNER, run->rs->uid, &owned);
	for (size_t i = 0; i < n; i++) {
		struct pod_info *p = pod_info(all, owned[i]);
		if (!pod_active(p))
			continue;
		if (selector_matches(info->selector, p->labels))
			keep_pod(run, owned[i], &cap);
		else if (!info->deleting)
			claim_release(run->r, owned[i], run->rs->uid, all->pods);
	}
	if (info->deleting)
		return;
	n = informer_by_index(all->pods, PODS_BY_ORPHANS, run->rs->ns, &orphans);
	for (size_t i = 0; i < n; i++) {
		struct pod_info *p = pod_info(all, orphans[i]);
		if (!pod_active(p) || !selector_matches(info->selector, p->labels))
			continue;
		claim_adopt(run->r, orphans[i], run->rs, all->pods);
		keep_pod(run, orphans[i], &cap);
	}
}

/* ---- status ---- */

static json_t *find_condition(json_t *status, const char *type, size_t *ret_at)
{
	size_t i;
	json_t *cond;
	json_array_foreach(json_object_get(status, "conditions"), i, cond)
	{
		if (!strcmp(json_get_str(cond, "type", ""), type)) {
			*ret_at = i;
			return cond;
		}
	}
	return NULL;
}

static void set_failure(struct rs_run *run, json_t *status)
{
	size_t at = 0;
	json_t *cond = find_condition(status, "ReplicaFailure", &at);
	if (run->failed && !cond) {
		char now[32];
		time_format_s(env_wall_s(run->c->base.all->env), now);
		cond = json_make("{s:s, s:s, s:s, s:s}", "type", "ReplicaFailure", "status", "True",
				 "lastTransitionTime", now, "reason", run->diff < 0 ? "FailedCreate" : "FailedDelete");
		json_put_str(cond, "message", run->failure);
		json_array_append_new(json_need_array(status, "conditions"), cond);
		run->changed = true;
	} else if (!run->failed && cond) {
		run->changed = true;
		json_array_remove(json_object_get(status, "conditions"), at);
		if (!json_array_size(json_object_get(status, "conditions")))
			json_put(status, "conditions", NULL);
	}
}

static bool put_count(json_t *status, const char *key, int64_t v)
{
	if (json_get_int(status, key, 0) == v)
		return false;
	/* Zero is left out, as everywhere in the API; `replicas` is always there. */
	json_put(status, key, v || !strcmp(key, "replicas") ? json_integer(v) : NULL);
	return true;
}

static bool fully_labeled(const struct pod_info *p, const json_t *want)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)want, key, v)
	{
		if (!json_equal(v, json_object_get(p->labels, key)))
			return false;
	}
	return true;
}

/* Counted when we look: by the time the writes are answered the pods may be newer versions. */
static void count_status(struct rs_run *run)
{
	struct controllers *all = run->c->base.all;
	int64_t now_s = env_wall_s(all->env), ready = 0, available = 0, labeled = 0, wait_s, soonest_s = 0;
	const json_t *spec = json_object_get(run->tree, "spec");
	int64_t min_ready_s = json_get_int(spec, "minReadySeconds", 0);
	const json_t *want = json_path(spec, "template", "metadata", "labels", NULL);
	for (size_t i = 0; i < run->n; i++) {
		struct pod_info *p = pod_info(all, run->pods[i]);
		labeled += fully_labeled(p, want);
		ready += p->ready;
		available += pod_available(p, min_ready_s, now_s, &wait_s);
		if (wait_s && (!soonest_s || wait_s < soonest_s))
			soonest_s = wait_s;
	}
	if (soonest_s)
		reconcile_again_after(run->r, (uint64_t)soonest_s * 1000000u);
	run->next = json_deep_copy(run->tree);
	json_t *status = json_need_object(run->next, "status");
	run->changed = put_count(status, "replicas", (int64_t)run->n);
	run->changed |= put_count(status, "fullyLabeledReplicas", labeled);
	run->changed |= put_count(status, "readyReplicas", ready);
	run->changed |= put_count(status, "availableReplicas", available);
	run->changed |= put_count(status, "observedGeneration", meta_generation(run->tree));
}

static void write_status(struct rs_run *run)
{
	set_failure(run, json_object_get(run->next, "status"));
	if (!run->changed)
		return;
	struct client_request req = request_for(CLIENT_UPDATE, run->rs);
	req.subresource = "status";
	req.body = run->next;
	reconcile_do(run->r, &req, run->c->base.all->replicasets, NULL, NULL);
}

/* ---- too few: create, in batches of 1, 2, 4 ..., so that a template that cannot work fails once, not 500 times ---- */

static void next_batch(struct rs_run *run);

static bool on_created(void *arg, const struct client_response *resp)
{
	struct rs_run *run = arg;
	const struct err *err = resp->err;
	bool ns_going = err->code && strstr(err->message, "because it is being terminated") != NULL;
	if (!err->code) {
		event_record(run->c->events, run->rs, false, "SuccessfulCreate", "Created pod: %s",
			     resp->object ? resp->object->name : "");
	} else if (!ns_going) {
		event_record(run->c->events, run->rs, true, "FailedCreate", "Error creating: %s", err->message);
		if (!run->failed)
			snprintf(run->failure, sizeof(run->failure), "%.500s", err->message);
		run->failed = true;
	}
	if (err->code)
		run->to_make = 0;
	if (--run->in_batch == 0) {
		run->batch *= 2;
		if (run->to_make)
			next_batch(run);
		else
			write_status(run);
	}
	return ns_going;
}

static json_t *new_pod(struct rs_run *run)
{
	const json_t *template = json_path(run->tree, "spec", "template", NULL);
	const json_t *from = json_object_get(template, "metadata");
	json_t *pod = json_make("{s:s, s:s, s:{s:o}, s:O}", "apiVersion", "v1", "kind", "Pod", "metadata",
				"ownerReferences", meta_owned_by(run->rs), "spec", json_object_get(template, "spec"));
	json_t *meta = json_object_get(pod, "metadata");
	_cleanup_free_ char *prefix = xasprintf("%s-", run->rs->name);
	json_put_str(meta, "generateName", prefix);
	static const char *const copied[] = {"labels", "annotations", "finalizers"};
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		json_t *v = json_object_get(from, copied[i]);
		if (v)
			json_put(meta, copied[i], json_incref(v));
	}
	return pod;
}

static void next_batch(struct rs_run *run)
{
	size_t n = MIN(run->batch, run->to_make);
	run->to_make -= n;
	run->in_batch = n;
	_cleanup_json_ json_t *pod = new_pod(run);
	struct client_request req = {
		.verb = CLIENT_CREATE,
		.kind = informer_kind(run->c->base.all->pods),
		.ns = run->rs->ns,
		.body = pod,
		.grace_period_s = -1,
	};
	for (size_t i = 0; i < n; i++)
		reconcile_do(run->r, &req, run->c->base.all->pods, on_created, run);
}

/* ---- too many: delete those that would be missed least ---- */

struct rs_delete {
	struct rs_run *run;
	struct object *pod; /* lives as long as the run */
};

static bool on_deleted(void *arg, const struct client_response *resp)
{
	struct rs_delete *d = arg;
	struct rs_run *run = d->run;
	bool gone = resp->err->code == -ENOENT;
	if (!resp->err->code) {
		event_record(run->c->events, run->rs, false, "SuccessfulDelete", "Deleted pod: %s", d->pod->name);
	} else if (!gone) {
		event_record(run->c->events, run->rs, true, "FailedDelete", "Error deleting: %s", resp->err->message);
		if (!run->failed)
			snprintf(run->failure, sizeof(run->failure), "%.500s", resp->err->message);
		run->failed = true;
	}
	if (--run->in_batch == 0)
		write_status(run);
	return gone;
}

/* How many active pods of the same owner (all ReplicaSets of one Deployment) share the node. */
static int related_on_node(struct rs_run *run, const char *node)
{
	struct controllers *all = run->c->base.all;
	if (!*node)
		return 0;
	_cleanup_json_ json_t *tree = json_incref(run->tree);
	const json_t *owner = meta_controller(tree);
	const char *owner_uid = owner ? json_get_str(owner, "uid", "") : run->rs->uid;
	_cleanup_free_ struct object **v = NULL;
	size_t n = informer_by_index(all->pods, PODS_BY_NODE, node, &v);
	int count = 0;
	for (size_t i = 0; i < n; i++) {
		struct pod_info *p = pod_info(all, v[i]);
		if (!pod_active(p) || strcmp(v[i]->ns, run->rs->ns) != 0 || strcmp(p->owner_kind, "ReplicaSet") != 0)
			continue;
		struct object *rs = informer_find(all->replicasets, v[i]->ns, p->owner_name);
		struct rs_info *info = rs ? informer_extract(all->replicasets, rs) : NULL;
		count += !strcmp(p->owner_uid, run->rs->uid) || (info && !strcmp(info->owner_uid, owner_uid));
	}
	return count;
}

static void delete_pods(struct rs_run *run, size_t n)
{
	struct controllers *all = run->c->base.all;
	_cleanup_free_ struct rs_rank *ranks = NEW_N(struct rs_rank, run->n + 1);
	for (size_t i = 0; i < run->n; i++) {
		ranks[i].pod = run->pods[i];
		ranks[i].info = pod_info(all, run->pods[i]);
		ranks[i].on_node = n < run->n ? related_on_node(run, ranks[i].info->node) : 0;
	}
	rs_rank_sort(ranks, run->n, env_wall_s(all->env));
	run->in_batch = n;
	for (size_t i = 0; i < n; i++) {
		struct rs_delete *d = reconcile_alloc(run->r, sizeof(*d));
		*d = (struct rs_delete){run, ranks[i].pod};
		struct client_request req = request_for(CLIENT_DELETE, ranks[i].pod);
		req.precondition_uid = ranks[i].pod->uid;
		reconcile_do(run->r, &req, all->pods, on_deleted, d);
	}
}

/* ---- the run ---- */

static int replicaset_reconcile(void *arg, struct reconcile *r, const char *key, struct err *err)
{
	struct replicaset_controller *c = arg;
	MAGIC_CHECK(c, RS_MAGIC);
	(void)err;
	char buf[600];
	const char *ns, *name;
	key_split(key, buf, sizeof(buf), &ns, &name);
	struct object *rs = informer_find(c->base.all->replicasets, ns, name);
	if (!rs)
		return 0;
	struct rs_info *info = informer_extract(c->base.all->replicasets, rs);
	struct rs_run *run = NEW(struct rs_run);
	reconcile_defer(r, run_free, run);
	run->c = c;
	run->r = r;
	run->rs = object_ref(rs);
	run->tree = object_tree(rs);
	run->batch = FIRST_BATCH;
	claim_pods(run, info);
	int64_t want = json_get_int(json_object_get(run->tree, "spec"), "replicas", 1);
	run->diff = (int64_t)run->n - want;
	count_status(run);
	if (!info->deleting && run->diff < 0) {
		run->to_make = (size_t)MIN(-run->diff, BURST);
		next_batch(run);
	} else if (!info->deleting && run->diff > 0) {
		delete_pods(run, (size_t)MIN(run->diff, BURST));
	} else {
		write_status(run);
	}
	return 0;
}

/* ---- what makes us look ---- */

static void enqueue_owner(struct replicaset_controller *c, struct object *pod, const struct pod_info *p)
{
	if (strcmp(p->owner_kind, "ReplicaSet") != 0)
		return;
	struct object *rs = informer_find(c->base.all->replicasets, pod->ns, p->owner_name);
	if (rs && !strcmp(rs->uid, p->owner_uid))
		reconciler_add_object(c->base.queue, rs);
}

static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct replicaset_controller *c = arg;
	MAGIC_CHECK(c, RS_MAGIC);
	struct pod_info *o = old_obj ? informer_extract(inf, old_obj) : NULL;
	struct pod_info *n = new_obj ? informer_extract(inf, new_obj) : NULL;
	if (o && (!n || strcmp(o->owner_uid, n->owner_uid) != 0))
		enqueue_owner(c, old_obj, o);
	if (!n)
		return;
	if (*n->owner_uid) {
		enqueue_owner(c, new_obj, n);
		return;
	}
	if (!pod_active(n) || (o && !*o->owner_uid && labels_equal(o->labels, n->labels)))
		return;
	_cleanup_free_ struct object **v = NULL;
	size_t count = informer_list(c->base.all->replicasets, new_obj->ns, &v);
	for (size_t i = 0; i < count; i++) {
		struct rs_info *info = informer_extract(c->base.all->replicasets, v[i]);
		if (selector_matches(info->selector, n->labels))
			reconciler_add_object(c->base.queue, v[i]);
	}
}

static void replicaset_free(struct controller *base)
{
	struct replicaset_controller *c = (struct replicaset_controller *)(void *)base;
	reconciler_free(base->queue);
	event_recorder_free(c->events);
	free(c);
}

struct controller *replicaset_controller_new(struct controllers *all)
{
	struct replicaset_controller *c = NEW(struct replicaset_controller);
	c->magic = RS_MAGIC;
	c->base.all = all;
	c->base.free = replicaset_free;
	c->events = event_recorder_new(all->client, "replicaset-controller", NULL);
	struct reconciler_config config = {.name = "replicaset", .reconcile = replicaset_reconcile, .arg = c};
	c->base.queue = reconciler_new(all->env, all->client, &config);
	informer_add_handler(all->replicasets, &(struct informer_handler){controller_enqueue, &c->base});
	informer_add_handler(all->pods, &(struct informer_handler){on_pod, c});
	return &c->base;
}
