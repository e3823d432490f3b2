#include "nodeagent/pod.h"

#include "lib/api/kinds/pod_qos.h"
#include "nodeagent/action.h"

#define ID_NAME_MAX 50

/* ---- ids ---- */

void pod_id_name(char ret[64], const char *name)
{
	if (strlen(name) <= ID_NAME_MAX)
		snprintf(ret, 64, "%s", name);
	else
		snprintf(ret, 64, "%.*s-%08x", ID_NAME_MAX - 9, name, fnv32a(name, strlen(name)));
}

void pod_container_id(char ret[128], const char *uid, const char *name, unsigned attempt)
{
	char short_name[64];
	pod_id_name(short_name, name);
	snprintf(ret, 128, "%.36s_%s_%u", uid, short_name, attempt);
}

bool pod_parse_id(const char *id, char ret_uid[64], char ret_name[64], unsigned *ret_attempt)
{
	const char *a = strchr(id, '_'), *b = strrchr(id, '_');
	int64_t attempt;
	if (!a || a == b || a == id || a - id > 36 || b - a - 1 > 60 || parse_i64(b + 1, &attempt) < 0 || attempt < 0 ||
	    attempt > INT32_MAX)
		return false;
	snprintf(ret_uid, 64, "%.*s", (int)(a - id), id);
	snprintf(ret_name, 64, "%.*s", (int)(b - a - 1), a + 1);
	*ret_attempt = (unsigned)attempt;
	return true;
}

/* ---- small readers ---- */

json_t *pod_spec(struct pod *p, json_t *tree)
{
	(void)p;
	return json_object_get(tree, "spec");
}

json_t *container_spec(const struct pod_container *c, const json_t *tree)
{
	const char *list = c->class == CONTAINER_MAIN ? "containers" : "initContainers";
	return json_array_get(json_path(tree, "spec", list, NULL), c->spec_i);
}

struct pod_container *pod_find_container(struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_containers; i++) {
		if (streq(p->containers[i].name, name))
			return &p->containers[i];
	}
	return NULL;
}

char *pod_dir(const struct pod *p)
{
	return xasprintf("%s/pods/%s", p->n->dir, p->uid);
}

int64_t pod_spec_grace(struct pod *p)
{
	if (!p->obj)
		return 30;
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	return MAX(json_get_int(json_object_get(tree, "spec"), "terminationGracePeriodSeconds", 30), 0);
}

void pod_event(struct pod *p, bool warning, const char *reason, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (p->obj && !p->gone)
		event_record(p->n->events, p->obj, warning, reason, "%s", text);
}

void container_event(struct pod_container *c, bool warning, const char *reason, const char *fmt, ...)
{
	char text[1024], path[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!c->pod->obj || c->pod->gone)
		return;
	snprintf(path, sizeof(path), "spec.%s{%s}", c->class == CONTAINER_MAIN ? "containers" : "initContainers",
		 c->name);
	event_record_field(c->pod->n->events, c->pod->obj, path, warning, reason, "%s", text);
}

/* ---- making one ---- */

static void on_kick(struct env_post *post)
{
	struct pod *p = CONTAINER_OF(post, struct pod, kick);
	MAGIC_CHECK(p, POD_MAGIC);
	pod_tick(p);
}

static void on_wake(struct env_timer *t)
{
	struct pod *p = CONTAINER_OF(t, struct pod, wake);
	MAGIC_CHECK(p, POD_MAGIC);
	p->wake_at_us = 0;
	pod_tick(p);
}

void pod_kick(struct pod *p)
{
	if (p->n->phase != AGENT_CLOSED)
		env_post(p->n->env, &p->kick);
}

void pod_wake_at(struct pod *p, uint64_t at_us)
{
	uint64_t now = env_now_us(p->n->env);
	if (p->wake_at_us && p->wake_at_us <= at_us && env_timer_active(&p->wake))
		return;
	p->wake_at_us = at_us;
	env_timer_start(p->n->env, &p->wake, at_us > now ? at_us - now : 0);
}

static struct pod *pod_alloc(struct nodeagent *n, const char *ns, const char *name, const char *uid)
{
	struct pod *p = NEW(struct pod);
	p->magic = POD_MAGIC;
	p->n = n;
	p->ns = xstrdup(ns);
	p->name = xstrdup(name);
	p->uid = xstrdup(uid);
	p->kick.fn = on_kick;
	p->wake.fn = on_wake;
	p->grace_s = -1;
	p->restart_policy = 'A';
	return p;
}

static char pull_policy(const json_t *cspec)
{
	const char *policy = json_get_str(cspec, "imagePullPolicy", "IfNotPresent");
	return policy[0];
}

static void container_init(struct pod_container *c, struct pod *p, enum container_class class, unsigned spec_i,
			   const json_t *cspec)
{
	c->pod = p;
	c->class = class;
	c->spec_i = spec_i;
	c->name = xstrdup(json_get_str(cspec, "name", ""));
	c->image = xstrdup(json_get_str(cspec, "image", ""));
	c->pull_policy = pull_policy(cspec);
	const json_t *hooks = json_object_get(cspec, "lifecycle");
	action_spec_make(&c->poststart, json_object_get(hooks, "postStart"), cspec);
	action_spec_make(&c->prestop, json_object_get(hooks, "preStop"), cspec);
	probes_init(c, cspec);
}

static void make_containers(struct pod *p, const json_t *spec)
{
	const json_t *init = json_object_get(spec, "initContainers"), *main = json_object_get(spec, "containers");
	p->n_init = json_array_size(init);
	p->n_containers = p->n_init + json_array_size(main);
	p->containers = NEW_N(struct pod_container, p->n_containers + 1);
	size_t i;
	json_t *c;
	json_array_foreach(init, i, c)
	{
		bool sidecar = streq(json_get_str(c, "restartPolicy", ""), "Always");
		container_init(&p->containers[i], p, sidecar ? CONTAINER_SIDECAR : CONTAINER_INIT, (unsigned)i, c);
	}
	json_array_foreach(main, i, c) container_init(&p->containers[p->n_init + i], p, CONTAINER_MAIN, (unsigned)i, c);
}

static char *cgroup_path(struct nodeagent *n, const char *qos, const char *uid)
{
	if (streq(qos, "Guaranteed"))
		return xasprintf("%s/pod%s", n->cgroup_root, uid);
	return xasprintf("%s/%s/pod%s", n->cgroup_root, streq(qos, "Burstable") ? "burstable" : "besteffort", uid);
}

struct pod *pod_new(struct nodeagent *n, struct object *obj)
{
	struct pod *p = pod_alloc(n, obj->ns, obj->name, obj->uid);
	p->obj = object_ref(obj);
	_cleanup_json_ json_t *tree = object_tree(obj);
	const json_t *spec = json_object_get(tree, "spec");
	snprintf(p->qos, sizeof(p->qos), "%s", pod_qos(tree));
	p->cgroup = cgroup_path(n, p->qos, p->uid);
	p->host_network = json_get_bool(spec, "hostNetwork", false);
	p->host_pid = json_get_bool(spec, "hostPID", false);
	p->host_ipc = json_get_bool(spec, "hostIPC", false);
	p->share_pid = json_get_bool(spec, "shareProcessNamespace", false);
	p->restart_policy = json_get_str(spec, "restartPolicy", "Always")[0];
	p->start_time_s = env_wall_s(n->env);
	make_containers(p, spec);
	status_recover(p);
	volumes_init(p);
	pod_update(p, obj);
	return p;
}

struct pod *pod_new_orphan(struct nodeagent *n, const char *uid)
{
	struct pod *p = pod_alloc(n, "", "", uid);
	p->gone = true;
	snprintf(p->qos, sizeof(p->qos), "BestEffort");
	p->cgroup = cgroup_path(n, p->qos, uid);
	p->cgroup_made = true;
	return p;
}

static void container_done(struct pod_container *c)
{
	probes_done(c);
	action_cancel(c->hook);
	action_spec_done(&c->poststart);
	action_spec_done(&c->prestop);
	container_run_done(&c->cur);
	container_run_done(&c->prev);
	free(c->name);
	free(c->image);
	free(c->image_digest);
	free(c->image_user_name);
	free(c->waiting_message);
}

void pod_free(struct pod *p)
{
	if (!p)
		return;
	rt_forget_pod(p);
	env_post_cancel(p->n->env, &p->kick);
	env_timer_stop(p->n->env, &p->wake);
	env_timer_stop(p->n->env, &p->endpoint_timer);
	pod_endpoint_forget(p);
	for (size_t i = 0; i < p->n_containers; i++)
		container_done(&p->containers[i]);
	free(p->containers);
	volumes_done(p);
	status_done(p);
	object_unref(p->obj);
	free(p->reject_message);
	free(p->cgroup);
	free(p->ns);
	free(p->name);
	free(p->uid);
	p->magic = 0;
	free(p);
}

/* ---- what an earlier agent left running ---- */

static void run_from_found(struct pod *p, struct container_run *r, const struct rt_found *f)
{
	container_run_done(r);
	snprintf(r->id, sizeof(r->id), "%s", f->c.id);
	r->attempt = f->attempt;
	r->created_us = f->c.created_us;
	r->started_us = f->c.started_us;
	r->finished_us = f->c.finished_us;
	r->exit_code = f->c.exit_code;
	r->ended = f->c.status == RUNTIME_EXITED;
	if (r->ended)
		snprintf(r->reason, sizeof(r->reason), "%s",
			 f->c.oom_killed  ? "OOMKilled"
			 : f->c.exit_code ? "Error"
					  : "Completed");
	(void)p;
}

/* Made and never started, or half made, or half removed: there is no process, and no exit will be heard of. */
static bool no_process(const struct rt_found *f)
{
	return f->c.status == RUNTIME_CREATED || f->c.status == RUNTIME_UNKNOWN;
}

static void adopt_container(struct pod_container *c, const struct rt_found *newest, const struct rt_found *older)
{
	struct pod *p = c->pod;
	if (older && !streq(older->c.id, c->prev.id))
		run_from_found(p, &c->prev, older);
	if (no_process(newest)) { /* made again, idempotently */
		c->next_attempt = newest->attempt;
		c->half_made = true;
		c->state = CONTAINER_WAITING;
		container_run_done(&c->cur);
		return;
	}
	bool same = streq(c->cur.id, newest->c.id);
	char *message = same && newest->c.status == RUNTIME_EXITED ? STEAL(c->cur.message) : NULL;
	if (!same && c->cur.id[0] && !older) { /* the API had not heard of the newest yet */
		container_run_done(&c->prev);
		c->prev = c->cur;
		c->cur = (struct container_run){0};
	}
	run_from_found(p, &c->cur, newest);
	c->cur.message = message;
	c->next_attempt = newest->attempt + 1;
	c->in_sandbox = true;
	c->exited_at_us = env_now_us(p->n->env);
	if (c->cur.ended) {
		c->state = CONTAINER_EXITED;
		return;
	}
	c->adopted = true;
	c->state = CONTAINER_RUNNING;
	probes_start(c);
}

/* The sandbox lives, the API knows of a run in it, the runtime no more: it has ended. */
static void adopt_lost(struct pod_container *c)
{
	if (!c->cur.ended)
		return;
	c->state = CONTAINER_EXITED;
	c->in_sandbox = true;
	c->exited_at_us = env_now_us(c->pod->n->env);
}

static void adopt_sandbox(struct pod *p, const struct rt_found *f)
{
	_cleanup_err_ struct err err = ERR_INIT;
	snprintf(p->sandbox_id, sizeof(p->sandbox_id), "%s", f->c.id);
	p->sandbox_attempt = f->attempt;
	/* one that was made and never started holds nothing: rebuilt, like one that has ended */
	p->sandbox = SANDBOX_DEAD;
	if (f->c.status != RUNTIME_RUNNING || f->c.pid <= 0)
		return;
	if (!p->obj) {
		p->sandbox = SANDBOX_READY;
		return;
	}
	if (p->host_network)
		snprintf(p->ip, sizeof(p->ip), "%s", p->n->node_ip);
	else if (p->n->host->ops->net_attach(p->n->host, f->c.id, f->c.pid, p->ip, &err) < 0)
		return;
	p->sandbox = SANDBOX_READY;
}

/* The newest attempt of a name among what was found, and the one before it. */
static void newest_two(struct rt_found *found, size_t n, const char *uid, const char *name, bool sandbox,
		       struct rt_found *ret[2])
{
	ret[0] = ret[1] = NULL;
	for (size_t i = 0; i < n; i++) {
		struct rt_found *f = &found[i];
		if (!streq(f->uid, uid) || !streq(f->name, name) || f->c.is_sandbox != sandbox)
			continue;
		if (!ret[0] || f->attempt > ret[0]->attempt) {
			ret[1] = ret[0];
			ret[0] = f;
		} else if (!ret[1] || f->attempt > ret[1]->attempt) {
			ret[1] = f;
		}
	}
	for (int i = 0; i < 2; i++) {
		if (ret[i])
			ret[i]->taken = true;
	}
}

/* An orphan's containers are only what was found. */
static void orphan_containers(struct pod *p, struct rt_found *found, size_t n)
{
	p->containers = NEW_N(struct pod_container, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct rt_found *f = &found[i];
		if (!streq(f->uid, p->uid) || f->c.is_sandbox || f->taken)
			continue;
		f->taken = true;
		struct pod_container *c = &p->containers[p->n_containers++];
		c->pod = p;
		c->class = CONTAINER_MAIN;
		c->name = xstrdup(f->name);
		c->image = xstrdup("");
		probes_init(c, NULL);
		run_from_found(p, &c->cur, f);
		c->next_attempt = f->attempt + 1;
		c->state = c->cur.ended || no_process(f) ? CONTAINER_EXITED : CONTAINER_RUNNING;
		c->cur.ended = c->state == CONTAINER_EXITED;
	}
}

void pod_adopt(struct pod *p, struct rt_found *found, size_t n_found)
{
	struct rt_found *two[2];
	newest_two(found, n_found, p->uid, "POD", true, two);
	if (two[0])
		adopt_sandbox(p, two[0]);
	if (two[1]) {
		rt_stop_sandbox(p, two[1]->c.id, NULL);
		rt_remove_sandbox(p, two[1]->c.id, NULL);
	}
	if (!p->obj) {
		orphan_containers(p, found, n_found);
		return;
	}
	for (size_t i = 0; i < p->n_containers; i++) {
		char name[64];
		pod_id_name(name, p->containers[i].name);
		newest_two(found, n_found, p->uid, name, false, two);
		if (two[0])
			adopt_container(&p->containers[i], two[0], two[1]);
		else if (p->sandbox == SANDBOX_READY)
			adopt_lost(&p->containers[i]);
	}
}

/* ---- what others tell it ---- */

/* The one thing of a container that may be changed is its image: the container is made anew with it. */
static void take_images(struct pod *p, const json_t *tree)
{
	for (size_t i = 0; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		const char *image = json_get_str(container_spec(c, tree), "image", c->image);
		if (streq(image, c->image))
			continue;
		free(c->image);
		c->image = xstrdup(image);
		c->image_backoff_us = 0;
		if (c->retry_at_us)
			c->retry_at_us = 1; /* not 0: it has been through its backoff */
		char why[256];
		snprintf(why, sizeof(why), "Container %s definition changed, will be restarted", c->name);
		if (c->class != CONTAINER_INIT)
			container_stop(c, env_now_us(p->n->env) + (uint64_t)pod_spec_grace(p) * SECOND_US, why);
	}
}

void pod_update(struct pod *p, struct object *obj)
{
	if (obj != p->obj && (!p->obj || obj->rv >= p->obj->rv)) {
		object_unref(p->obj);
		p->obj = object_ref(obj);
	}
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	if (meta_deleting(tree)) {
		int64_t grace = json_get_int(json_object_get(tree, "metadata"), "deletionGracePeriodSeconds", 30);
		uint64_t by = env_now_us(p->n->env) + (uint64_t)MAX(grace, 0) * SECOND_US;
		if (!p->delete_seen || grace < p->grace_s) {
			p->stop_by_us = p->delete_seen ? MIN(p->stop_by_us, by) : by;
			p->grace_s = grace;
		}
		p->delete_seen = true;
	}
	take_images(p, tree);
	volumes_pod_changed(p);
	pod_kick(p);
}

void pod_removed(struct pod *p)
{
	p->gone = true;
	if (!p->delete_seen) { /* deleted by force: no grace was promised */
		p->delete_seen = true;
		p->grace_s = 1;
		p->stop_by_us = env_now_us(p->n->env) + SECOND_US;
	}
	pod_kick(p);
}

void pod_refs_changed(struct pod *p, struct ref *r)
{
	for (size_t i = 0; i < p->n_refs; i++) {
		if (p->refs[i] != r)
			continue;
		p->volumes_dirty = true;
		p->volumes_retry_at_us = 0;
		for (size_t k = 0; k < p->n_containers; k++) {
			struct pod_container *c = &p->containers[k];
			if (c->retry_at_us &&
			    (streq(c->waiting_reason, "CreateContainerConfigError") || str_empty(c->waiting_reason)))
				c->retry_at_us = 1; /* not 0: it has been through its backoff */
		}
		pod_kick(p);
		return;
	}
}

static void on_sandbox_look(struct pod *p, struct pod_container *c, const struct err *err,
			    const struct runtime_container *list, size_t n)
{
	(void)c;
	if (!err->code && p->sandbox == SANDBOX_READY && (n == 0 || list[0].status == RUNTIME_EXITED)) {
		p->sandbox = SANDBOX_DEAD;
		p->sandbox_retry_at_us = 0;
	}
}

void pod_runtime_event(struct pod *p, const char *id)
{
	if (streq(id, p->sandbox_id)) {
		rt_list(p, NULL, p->sandbox_id, on_sandbox_look);
		return;
	}
	for (size_t i = 0; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		if (streq(id, c->cur.id) && container_is_up(c))
			container_look(c);
	}
}

void pod_stop_for_node(struct pod *p, unsigned grace_max_s)
{
	int64_t grace = MIN(pod_spec_grace(p), (int64_t)grace_max_s);
	uint64_t by = env_now_us(p->n->env) + (uint64_t)grace * SECOND_US;
	p->stop_by_us = p->delete_seen ? MIN(p->stop_by_us, by) : by;
	p->grace_s = grace;
	p->node_stop = true;
	pod_kick(p);
}
