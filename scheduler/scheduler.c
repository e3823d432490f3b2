#include <errno.h>

#include "lib/client/leader.h"
#include "lib/client/reconciler.h"
#include "lib/core/log.h"
#include "lib/core/metrics.h"
#include "scheduler/cache.h"
#include "scheduler/queue.h"
#include "scheduler/scheduler.h"

#define SCHEDULER_MAGIC 0x5c4ed01eu
/* Nodes looked at in one turn of the loop: some milliseconds. */
#define NODES_PER_TURN 5000
#define PODS_PER_TURN  64
#define BINDING_MAX    256 /* under way at once */

struct scheduler {
	uint32_t magic;
	struct client *client;
	struct env *env;
	struct informer_set *informers;
	struct informer *pods, *nodes, *namespaces;
	struct event_recorder *events;
	struct leader *leader;
	struct cache cache;
	struct queue queue;
	struct env_post turn;
	struct list writes; /* bindings and status patches under way */
	unsigned n_binding;
	bool running;
	bool waits_for_pods; /* a pod found no node, and has rules about other pods: a new one may help */
	struct metric_series *scheduled, *unschedulable, *errors;
};

struct sched_write {
	struct scheduler *s;
	struct list node;
	struct client_call *call;
	struct object *pod;
	char *node_name; /* NULL: a status patch */
};

static struct metric_family attempts_family = {.name = "scheduler_schedule_attempts_total",
					       .help = "Attempts to schedule pods, by result",
					       .type = METRIC_COUNTER,
					       .label_names = {"result", "profile"}};

/* ---- writes ---- */

static struct sched_write *write_new(struct scheduler *s, struct object *pod, const char *node_name)
{
	struct sched_write *w = NEW(struct sched_write);
	w->s = s;
	w->pod = object_ref(pod);
	w->node_name = node_name ? xstrdup(node_name) : NULL;
	list_push(&s->writes, &w->node);
	return w;
}

static void write_free(struct sched_write *w)
{
	list_del(&w->node);
	object_unref(w->pod);
	free(w->node_name);
	free(w);
}

static void wake(void *arg)
{
	struct scheduler *s = arg;
	if (s->running && s->queue.n_heap && s->n_binding < BINDING_MAX)
		env_post(s->env, &s->turn);
}

static void on_bound(void *arg, const struct client_response *resp)
{
	struct sched_write *w = arg;
	struct scheduler *s = w->s;
	MAGIC_CHECK(s, SCHEDULER_MAGIC);
	s->n_binding--;
	if (!resp->err->code) {
		metric_inc(s->scheduled);
		event_record(s->events, w->pod, false, "Scheduled", "Successfully assigned %s/%s to %s", w->pod->ns,
			     w->pod->name, w->node_name);
		queue_remove(&s->queue, w->pod->uid);
	} else {
		metric_inc(s->errors);
		log_warn("scheduler", "binding failed pod=%s/%s node=%s error=\"%s\"", w->pod->ns, w->pod->name,
			 w->node_name, resp->err->message);
		struct object *now = informer_find(s->pods, w->pod->ns, w->pod->name);
		struct sched_pod *info = now && !strcmp(now->uid, w->pod->uid) ? informer_extract(s->pods, now) : NULL;
		/* Its event may have told us meanwhile that it is bound after all (a lost answer), or gone. */
		if (!info || !*info->node)
			cache_del_pod(&s->cache, w->pod->uid);
		struct queue_entry *e = queue_find(&s->queue, w->pod->uid);
		if (resp->err->code == -ENOENT || (info && *info->node))
			queue_remove(&s->queue, w->pod->uid);
		else if (e && e->state == QUEUE_TRYING)
			queue_failed(e);
	}
	write_free(w);
	wake(s);
}

static void bind_pod(struct scheduler *s, struct object *pod, const char *node)
{
	struct sched_write *w = write_new(s, pod, node);
	_cleanup_json_ json_t *body =
		json_make("{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s}}", "apiVersion", "v1", "kind", "Binding",
			  "metadata", "name", pod->name, "namespace", pod->ns, "uid", pod->uid, "target", "apiVersion",
			  "v1", "kind", "Node", "name", node);
	struct client_request req = {.verb = CLIENT_CREATE,
				     .kind = pod->kind,
				     .ns = pod->ns,
				     .name = pod->name,
				     .subresource = "binding",
				     .body = body,
				     .grace_period_s = -1,
				     .field_manager = "kube-scheduler"};
	s->n_binding++;
	w->call = client_do(s->client, &req, on_bound, w);
}

static void on_patched(void *arg, const struct client_response *resp)
{
	struct sched_write *w = arg;
	if (resp->err->code && resp->err->code != -ENOENT)
		log_warn("scheduler", "condition not written pod=%s/%s error=\"%s\"", w->pod->ns, w->pod->name,
			 resp->err->message);
	write_free(w);
}

static bool says_so_already(const json_t *pod, const char *why)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_path(pod, "status", "conditions", NULL), i, c)
	{
		if (!strcmp(json_get_str(c, "type", ""), "PodScheduled"))
			return !strcmp(json_get_str(c, "reason", ""), "Unschedulable") &&
			       !strcmp(json_get_str(c, "message", ""), why);
	}
	return false;
}

static void tell_unschedulable(struct scheduler *s, struct object *pod, const char *why)
{
	event_record(s->events, pod, true, "FailedScheduling", "%s", why);
	_cleanup_json_ json_t *tree = object_tree(pod);
	if (says_so_already(tree, why))
		return;
	char now[32];
	json_t *cond = json_make("{s:s, s:s, s:s, s:s}", "type", "PodScheduled", "status", "False", "reason",
				 "Unschedulable", "lastTransitionTime", time_format_s(env_wall_s(s->env), now));
	json_put_str(cond, "message", why);
	_cleanup_json_ json_t *body = json_make("{s:{s:[o]}}", "status", "conditions", cond);
	struct sched_write *w = write_new(s, pod, NULL);
	struct client_request req = {.verb = CLIENT_PATCH,
				     .kind = pod->kind,
				     .ns = pod->ns,
				     .name = pod->name,
				     .subresource = "status",
				     .patch = CLIENT_PATCH_STRATEGIC,
				     .body = body,
				     .grace_period_s = -1,
				     .field_manager = "kube-scheduler"};
	w->call = client_do(s->client, &req, on_patched, w);
}

/* ---- one decision ---- */

static uint64_t pick(void *arg, uint64_t n)
{
	return env_random_below(arg, n);
}

/* Returns the number of nodes looked at. */
static size_t try_pod(struct scheduler *s, struct queue_entry *e)
{
	struct object *pod = informer_find(s->pods, e->ns, e->name);
	struct sched_pod *info = pod && !strcmp(pod->uid, e->uid) ? informer_extract(s->pods, pod) : NULL;
	if (!info || *info->node || info->deleting) {
		queue_remove(&s->queue, e->uid);
		return 1;
	}
	_cleanup_buf_ struct buf why = BUF_INIT;
	size_t looked = 0;
	struct sched_node *node = NULL;
	if (info->unsupported)
		buf_adds(&why, info->unsupported);
	else
		node = cache_choose(&s->cache, info, pick, s->env, &why, &looked);
	if (node) {
		cache_set_pod(&s->cache, e->uid, node->name, info, true);
		bind_pod(s, pod, node->name);
	} else {
		metric_inc(s->unschedulable);
		s->waits_for_pods |= info->terms || info->n_spread;
		tell_unschedulable(s, pod, buf_str(&why));
		queue_unschedulable(e);
	}
	return looked + 1;
}

static void on_turn(struct env_post *p)
{
	struct scheduler *s = CONTAINER_OF(p, struct scheduler, turn);
	MAGIC_CHECK(s, SCHEDULER_MAGIC);
	size_t looked = 0;
	for (int i = 0; i < PODS_PER_TURN && looked < NODES_PER_TURN && s->running; i++) {
		struct queue_entry *e = s->n_binding < BINDING_MAX ? queue_pop(&s->queue) : NULL;
		if (!e)
			break;
		looked += try_pod(s, e);
	}
	wake(s);
}

/* ---- what we hear ---- */

static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct scheduler *s = arg;
	MAGIC_CHECK(s, SCHEDULER_MAGIC);
	struct sched_pod *n = new_obj ? informer_extract(inf, new_obj) : NULL;
	if (old_obj && (!new_obj || strcmp(old_obj->uid, new_obj->uid) != 0)) {
		queue_remove(&s->queue, old_obj->uid);
		if (cache_del_pod(&s->cache, old_obj->uid))
			queue_move_all(&s->queue);
	}
	if (!n)
		return;
	if (n->finished) {
		queue_remove(&s->queue, new_obj->uid);
		if (cache_del_pod(&s->cache, new_obj->uid))
			queue_move_all(&s->queue);
	} else if (*n->node) {
		struct sched_pod *o = old_obj ? informer_extract(inf, old_obj) : NULL;
		queue_remove(&s->queue, new_obj->uid);
		cache_set_pod(&s->cache, new_obj->uid, n->node, n, false);
		if (s->waits_for_pods && (!o || !*o->node || !json_equal(o->labels, n->labels))) {
			s->waits_for_pods = false;
			queue_move_all(&s->queue);
		}
	} else if (n->deleting || n->gated || !n->ours) {
		queue_remove(&s->queue, new_obj->uid);
	} else {
		/* Our own condition coming back is no news: only another spec or other labels give it another try. */
		_cleanup_json_ json_t *a = old_obj ? object_tree(old_obj) : NULL, *b = a ? object_tree(new_obj) : NULL;
		if (!a || !json_equal(json_object_get(a, "spec"), json_object_get(b, "spec")))
			queue_add(&s->queue, new_obj->uid, new_obj->ns, new_obj->name, n->priority);
	}
}

static void on_node(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct scheduler *s = arg;
	MAGIC_CHECK(s, SCHEDULER_MAGIC);
	(void)inf;
	if (!new_obj) {
		cache_del_node(&s->cache, old_obj->name);
		return;
	}
	_cleanup_json_ json_t *tree = object_tree(new_obj);
	if (cache_set_node(&s->cache, new_obj->name, tree))
		queue_move_all(&s->queue);
}

static void on_namespace(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct scheduler *s = arg;
	MAGIC_CHECK(s, SCHEDULER_MAGIC);
	(void)inf;
	_cleanup_json_ json_t *tree = new_obj ? object_tree(new_obj) : NULL;
	cache_set_namespace(&s->cache, (new_obj ? new_obj : old_obj)->name,
			    json_path(tree, "metadata", "labels", NULL));
}

/* ---- life ---- */

static void update_running(struct scheduler *s)
{
	s->running = leader_holds(s->leader) && informer_set_synced(s->informers);
	wake(s);
}

static void on_change(void *arg)
{
	struct scheduler *s = arg;
	MAGIC_CHECK(s, SCHEDULER_MAGIC);
	update_running(s);
}

struct scheduler *scheduler_new(struct client *client, const char *identity)
{
	struct scheduler *s = NEW(struct scheduler);
	s->magic = SCHEDULER_MAGIC;
	s->client = client;
	s->env = client->env;
	s->turn.fn = on_turn;
	list_init(&s->writes);
	queue_init(&s->queue, s->env, wake, s);
	s->events = event_recorder_new(client, "default-scheduler", NULL);
	s->scheduled = metric_get(&attempts_family, "scheduled", "default-scheduler", NULL);
	s->unschedulable = metric_get(&attempts_family, "unschedulable", "default-scheduler", NULL);
	s->errors = metric_get(&attempts_family, "error", "default-scheduler", NULL);
	s->informers = informer_set_new(client);
	s->nodes = informer_get(s->informers, kind_by_kind("", "v1", "Node"), NULL, NULL, NULL);
	informer_add_handler(s->nodes, &(struct informer_handler){on_node, s});
	s->pods = informer_get(s->informers, kind_by_kind("", "v1", "Pod"), NULL, NULL, NULL);
	informer_set_extract(s->pods, sched_pod_make, sched_pod_drop);
	informer_add_handler(s->pods, &(struct informer_handler){on_pod, s});
	s->namespaces = informer_get(s->informers, kind_by_kind("", "v1", "Namespace"), NULL, NULL, NULL);
	informer_add_handler(s->namespaces, &(struct informer_handler){on_namespace, s});
	s->leader = leader_new(client, &(struct leader_config){.lease = "kube-scheduler",
							       .identity = identity,
							       .started = on_change,
							       .stopped = on_change,
							       .arg = s});
	return s;
}

void scheduler_start(struct scheduler *s)
{
	informer_set_on_synced(s->informers, on_change, s);
	informer_set_start(s->informers);
	leader_start(s->leader);
}

bool scheduler_idle(const struct scheduler *s)
{
	return s->running && queue_idle(&s->queue) && list_empty(&s->writes);
}

void scheduler_free(struct scheduler *s)
{
	if (!s)
		return;
	leader_free(s->leader);
	env_post_cancel(s->env, &s->turn);
	LIST_EACH (&s->writes, w, struct sched_write, node) {
		client_cancel(s->client, w->call);
		write_free(w);
	}
	queue_done(&s->queue);
	informer_set_free(s->informers);
	cache_done(&s->cache);
	event_recorder_free(s->events);
	free(s);
}
