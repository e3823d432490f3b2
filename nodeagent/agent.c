#include "lib/core/log.h"
#include "nodeagent/pod.h"

#define LIST_RETRY_US SECOND_US

/* ---- pods come and go ---- */

static void try_sync(struct nodeagent *n);

static void on_pod(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	(void)inf;
	struct nodeagent *n = arg;
	MAGIC_CHECK(n, NODEAGENT_MAGIC);
	if (n->phase != AGENT_RUNNING)
		return;
	struct object *obj = new_obj ? new_obj : old_obj;
	struct pod *p = map_get(&n->pods, obj->uid);
	/* Deleted and made again under the same name: another pod. */
	if (new_obj && old_obj && !streq(old_obj->uid, new_obj->uid)) {
		struct pod *former = map_get(&n->pods, old_obj->uid);
		if (former)
			pod_removed(former);
	}
	if (!new_obj) {
		if (p)
			pod_removed(p);
		return;
	}
	if (p) {
		pod_update(p, new_obj);
		return;
	}
	p = pod_new(n, new_obj);
	map_set(&n->pods, p->uid, p);
	pod_kick(p);
}

static void on_runtime_event(void *arg, const char *id)
{
	struct nodeagent *n = arg;
	char uid[64], name[64];
	unsigned attempt;
	if (!pod_parse_id(id, uid, name, &attempt))
		return;
	struct pod *p = map_get(&n->pods, uid);
	if (p)
		pod_runtime_event(p, id);
}

/* ---- the start: what is there, what should be ---- */

static void adopt_all(struct nodeagent *n)
{
	_cleanup_free_ struct object **list = NULL;
	size_t count = informer_list(n->pods_informer, NULL, &list);
	for (size_t i = 0; i < count; i++) {
		struct pod *p = pod_new(n, list[i]);
		map_set(&n->pods, p->uid, p);
		pod_adopt(p, n->found, n->n_found);
		pod_kick(p);
	}
}

static void remove_orphans(struct nodeagent *n)
{
	for (size_t i = 0; i < n->n_found; i++) {
		struct rt_found *f = &n->found[i];
		if (!f->uid[0] || f->taken || map_has(&n->pods, f->uid))
			continue;
		log_info("node", "removing what is left of an unknown pod uid=%s", f->uid);
		struct pod *p = pod_new_orphan(n, f->uid);
		map_set(&n->pods, p->uid, p);
		pod_adopt(p, n->found, n->n_found);
		pod_kick(p);
	}
}

/* Addresses of sandboxes that are no more are given back. */
static void retain_networks(struct nodeagent *n)
{
	const char **ids = NEW_N(const char *, n->n_found + 1);
	size_t k = 0;
	for (size_t i = 0; i < n->n_found; i++) {
		if (n->found[i].c.is_sandbox)
			ids[k++] = n->found[i].c.id;
	}
	n->host->ops->net_retain(n->host, ids);
	free(ids);
}

static void try_sync(struct nodeagent *n)
{
	if (n->phase != AGENT_SYNCING || !n->informers_synced || !n->runtime_listed)
		return;
	n->phase = AGENT_RUNNING;
	retain_networks(n);
	adopt_all(n);
	remove_orphans(n);
	volumes_clean_unknown(n);
	free(STEAL(n->found));
	n->n_found = 0;
}

static void on_synced(void *arg)
{
	struct nodeagent *n = arg;
	n->informers_synced = true;
	try_sync(n);
}

/* The first list of the runtime; it may be answered after the agent is gone, hence the struct of its own. */
struct first_list {
	struct list node;
	struct nodeagent *n;
};

static void on_first_list(void *arg, const struct err *err, const struct runtime_container *list, size_t count)
{
	struct first_list *f = arg;
	struct nodeagent *n = f->n;
	free(f);
	if (!n)
		return;
	n->first_list = NULL;
	if (err->code) {
		log_warn("node", "the runtime does not list its containers: %s", err->message);
		env_timer_start(n->env, &n->list_retry, LIST_RETRY_US);
		return;
	}
	n->found = NEW_N(struct rt_found, count + 1);
	n->n_found = count;
	for (size_t i = 0; i < count; i++) {
		struct rt_found *r = &n->found[i];
		r->c = list[i];
		if (!pod_parse_id(list[i].id, r->uid, r->name, &r->attempt))
			r->uid[0] = r->name[0] = 0;
	}
	n->runtime_listed = true;
	try_sync(n);
}

static void list_runtime(struct nodeagent *n)
{
	struct first_list *f = NEW(struct first_list);
	f->n = n;
	n->first_list = f;
	n->runtime->ops->list(n->runtime, NULL, on_first_list, f);
}

static void on_list_retry(struct env_timer *t)
{
	list_runtime(CONTAINER_OF(t, struct nodeagent, list_retry));
}

static void copy_config(struct nodeagent *n, const struct nodeagent_config *k)
{
	n->config = *k;
	n->config.node_name = n->node_name = xstrdup(k->node_name);
	n->config.node_ip = n->node_ip = xstrdup(k->node_ip ? k->node_ip : "127.0.0.1");
	n->config.dir = n->dir = xstrdup(k->dir);
	n->config.cgroup_root = n->cgroup_root = xstrdup(k->cgroup_root ? k->cgroup_root : "/kubepods");
	n->config.cluster_dns = n->cluster_dns = k->cluster_dns ? xstrdup(k->cluster_dns) : NULL;
	n->config.ca_pem = n->ca_pem = k->ca_pem ? xstrdup(k->ca_pem) : NULL;
	n->config.listen_host = n->listen_host = k->listen_host ? xstrdup(k->listen_host) : NULL;
}

static void find_kinds(struct nodeagent *n)
{
	n->kind_pod = kind_by_kind("", "v1", "Pod");
	n->kind_node = kind_by_kind("", "v1", "Node");
	n->kind_configmap = kind_by_kind("", "v1", "ConfigMap");
	n->kind_secret = kind_by_kind("", "v1", "Secret");
	n->kind_service = kind_by_kind("", "v1", "Service");
	n->kind_sa = kind_by_kind("", "v1", "ServiceAccount");
	n->kind_lease = kind_by_kind("coordination.k8s.io", "v1", "Lease");
}

static void make_informers(struct nodeagent *n)
{
	_cleanup_free_ char *mine = xasprintf("spec.nodeName=%s", n->node_name);
	n->informers = informer_set_new(n->client);
	n->pods_informer = informer_get(n->informers, n->kind_pod, NULL, NULL, mine);
	n->services_informer = informer_get(n->informers, n->kind_service, NULL, NULL, NULL);
	const struct informer_handler h = {.on_change = on_pod, .arg = n};
	informer_add_handler(n->pods_informer, &h);
}

static void agent_free(struct nodeagent *n)
{
	informer_set_free(n->informers); /* handlers point to what follows */
	node_reg_free(n->reg);
	event_recorder_free(n->events);
	if (n->host_owned && n->host)
		n->host->ops->free(n->host);
	env_timer_stop(n->env, &n->list_retry);
	env_timer_stop(n->env, &n->stop_timer);
	env_post_cancel(n->env, &n->stop_post);
	env_post_cancel(n->env, &n->close_post);
	map_done(&n->pods);
	map_done(&n->refs);
	free(n->found);
	free(n->node_name);
	free(n->node_ip);
	free(n->dir);
	free(n->cgroup_root);
	free(n->cluster_dns);
	free(n->ca_pem);
	free(n->listen_host);
	n->magic = 0;
	free(n);
}

int nodeagent_new(struct env *env, uv_loop_t *loop, const struct nodeagent_config *config, struct nodeagent **ret,
		  struct err *err)
{
	struct nodeagent *n = NEW(struct nodeagent);
	n->magic = NODEAGENT_MAGIC;
	n->env = env;
	n->loop = loop;
	n->client = config->client;
	n->runtime = config->runtime;
	list_init(&n->calls);
	list_init(&n->works);
	n->list_retry.fn = on_list_retry;
	copy_config(n, config);
	find_kinds(n);
	node_read_capacity(n);
	n->host = host_real(config->network, config->journal);
	n->host_owned = true;
	n->events = event_recorder_new(n->client, "kubelet", n->node_name);
	n->reg = node_reg_new(n);
	if (loop && config->serving_tls) {
		int rc = node_server_new(n, &n->server, err);
		if (rc < 0) {
			agent_free(n);
			return rc;
		}
	}
	*ret = n;
	return 0;
}

void nodeagent__set_host(struct nodeagent *n, struct host *host)
{
	MUST(n->phase == AGENT_NEW);
	if (n->host_owned)
		n->host->ops->free(n->host);
	n->host = host;
	n->host_owned = false;
}

void nodeagent_start(struct nodeagent *n)
{
	MAGIC_CHECK(n, NODEAGENT_MAGIC);
	MUST(n->phase == AGENT_NEW);
	n->phase = AGENT_SYNCING;
	_cleanup_err_ struct err err = ERR_INIT;
	if (n->config.journal && journal_add(n->config.journal, JOURNAL_CGROUP, n->cgroup_root, NULL, &err) < 0)
		log_warn("node", "%s", err.message);
	n->runtime->on_event = on_runtime_event;
	n->runtime->on_event_arg = n;
	make_informers(n);
	node_reg_watch(n->reg);
	informer_set_on_synced(n->informers, on_synced, n);
	informer_set_start(n->informers);
	list_runtime(n);
	node_reg_start(n->reg);
}

/* ---- the node stops ---- */

static void on_all_stopped(struct env_post *post)
{
	struct nodeagent *n = CONTAINER_OF(post, struct nodeagent, stop_post);
	void (*done)(void *) = n->stop_done;
	n->stop_done = NULL;
	env_timer_stop(n->env, &n->stop_timer);
	if (done)
		done(n->stop_arg);
}

static void on_stop_timeout(struct env_timer *t)
{
	struct nodeagent *n = CONTAINER_OF(t, struct nodeagent, stop_timer);
	log_warn("node", "%u pods did not stop in time", n->pods.count);
	env_post(n->env, &n->stop_post);
}

void nodeagent__pod_gone(struct nodeagent *n)
{
	if (n->phase == AGENT_STOPPING && n->stop_done && n->pods.count == 0)
		env_post(n->env, &n->stop_post);
}

void nodeagent_stop_pods(struct nodeagent *n, unsigned max_s, void (*done)(void *arg), void *arg)
{
	MAGIC_CHECK(n, NODEAGENT_MAGIC);
	bool knew = n->phase == AGENT_RUNNING;
	n->phase = AGENT_STOPPING;
	n->stop_done = done;
	n->stop_arg = arg;
	n->stop_post.fn = on_all_stopped;
	n->stop_timer.fn = on_stop_timeout;
	if (!knew) /* stopped before it knew its pods: what runs is found by the runtime's own list */
		remove_orphans(n);
	/* SIGKILL comes early enough that what follows it fits too. */
	unsigned grace = max_s > 2 ? max_s - 2 : max_s;
	MAP_EACH (&n->pods, e)
		pod_stop_for_node(e->value, grace);
	env_timer_start(n->env, &n->stop_timer, max_s * SECOND_US);
	nodeagent__pod_gone(n);
}

/* ---- letting go ---- */

static void on_closed(struct env_post *post)
{
	struct nodeagent *n = CONTAINER_OF(post, struct nodeagent, close_post);
	void (*done)(void *) = n->close_done;
	void *arg = n->close_arg;
	agent_free(n);
	if (done)
		done(arg);
}

static void on_server_closed(void *arg)
{
	struct nodeagent *n = arg;
	env_post(n->env, &n->close_post);
}

void nodeagent_close(struct nodeagent *n, void (*done)(void *arg), void *arg)
{
	MAGIC_CHECK(n, NODEAGENT_MAGIC);
	n->phase = AGENT_CLOSED;
	n->runtime->on_event = NULL;
	if (n->first_list)
		n->first_list->n = NULL;
	n->first_list = NULL;
	env_timer_stop(n->env, &n->stop_timer);
	MAP_EACH (&n->pods, e) {
		struct pod *p = e->value;
		map_del(&n->pods, p->uid);
		pod_free(p);
	}
	rt_forget_all(n);
	volumes_forget_jobs(n);
	n->close_done = done;
	n->close_arg = arg;
	n->close_post.fn = on_closed;
	if (n->server)
		node_server_close(STEAL(n->server), on_server_closed, n);
	else
		env_post(n->env, &n->close_post);
}
