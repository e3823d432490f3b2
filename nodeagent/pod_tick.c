/* One step after another of a pod's life on this node.
 *
 *   NEW --admitted--> VOLUMES --> SANDBOX --> RUNNING --pause died--> REBUILD --.
 *    |                   |           ^ |         |  |                           |
 *    |rejected           |           | |         |  | all ended, deadline        |
 *    |                   '---------- | '-- deleted, or the node stops: STOPPING  |
 *    |                               '-------------------------------------------'
 *    |                                                     |
 *    '-------------> ENDED <------------------- TEARDOWN <-'
 *                      |  deleted                  | the node stops, or nobody knows it
 *                      '--> DELETING --> GONE <----'
 */
#include "nodeagent/pod.h"

#define ENDPOINT_WAIT_US (2 * SECOND_US)
/* From the moment no new connection is sent here to SIGTERM: one that was on its way may still lie in the server's queue,
 * and a server that ends, or only closes its socket, would reset it. A busy one has more time to empty its queue. */
#define DRAIN_US        (SECOND_US / 5)
#define DRAIN_LOOK_US   (SECOND_US / 50)
#define DRAIN_MAX_US    (2 * SECOND_US)
#define RETRY_US        (5 * SECOND_US)
#define DELETE_RETRY_US (1 * SECOND_US)

/* ---- asking the proxy ---- */

struct endpoint_wait {
	struct pod *pod; /* NULL: nobody waits any more */
};

static void on_endpoint_gone(void *arg)
{
	struct endpoint_wait *w = arg;
	if (w->pod) {
		w->pod->endpoint_wait = NULL;
		w->pod->drain_by_us = env_now_us(w->pod->n->env) + DRAIN_MAX_US;
		env_timer_start(w->pod->n->env, &w->pod->endpoint_timer, DRAIN_US);
	}
	free(w);
}

static void on_endpoint_timer(struct env_timer *t)
{
	struct pod *p = CONTAINER_OF(t, struct pod, endpoint_timer);
	struct host *host = p->n->host;
	if (env_now_us(p->n->env) < p->drain_by_us && host->ops->net_backlog(host, p->sandbox_id)) {
		env_timer_start(p->n->env, &p->endpoint_timer, DRAIN_LOOK_US);
		return;
	}
	p->endpoint = ENDPOINT_GONE;
	pod_kick(p);
}

void pod_endpoint_forget(struct pod *p)
{
	if (p->endpoint_wait)
		p->endpoint_wait->pod = NULL;
	p->endpoint_wait = NULL;
}

static void ask_endpoints(struct pod *p)
{
	struct nodeagent *n = p->n;
	if (p->endpoint != ENDPOINT_UNASKED)
		return;
	if (!n->config.endpoints_gone || !p->ip[0] || !p->obj || p->gone || p->node_stop || p->grace_s == 0) {
		p->endpoint = ENDPOINT_GONE;
		return;
	}
	p->endpoint = ENDPOINT_ASKED;
	struct endpoint_wait *w = NEW(struct endpoint_wait);
	w->pod = p;
	p->endpoint_wait = w;
	p->endpoint_timer.fn = on_endpoint_timer;
	env_timer_start(n->env, &p->endpoint_timer, ENDPOINT_WAIT_US);
	n->config.endpoints_gone(n->config.endpoints_gone_ctx, p->ns, p->name, p->ip, on_endpoint_gone, w);
}

/* ---- conditions of the steps ---- */

static bool must_stop(struct pod *p)
{
	return p->gone || p->delete_seen || p->node_stop || p->reject_reason[0];
}

static void reject(struct pod *p, const char *reason, const char *message)
{
	snprintf(p->reject_reason, sizeof(p->reject_reason), "%s", reason);
	free(p->reject_message);
	p->reject_message = xstrdup(message);
}

static void check_deadline(struct pod *p)
{
	if (!p->obj || must_stop(p) || p->state > POD_REBUILD)
		return;
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	int64_t s = json_get_int(json_object_get(tree, "spec"), "activeDeadlineSeconds", -1);
	if (s < 0)
		return;
	int64_t left_s = p->start_time_s + s - env_wall_s(p->n->env);
	if (left_s > 0) {
		pod_wake_at(p, env_now_us(p->n->env) + (uint64_t)left_s * SECOND_US);
		return;
	}
	const char *message = "Pod was active on the node longer than the specified deadline";
	pod_event(p, false, "DeadlineExceeded", "%s", message);
	reject(p, "DeadlineExceeded", message);
}

/* ---- NEW ---- */

static bool has_run_already(struct pod *p)
{
	for (size_t i = 0; i < p->n_containers; i++) {
		if (p->containers[i].in_sandbox)
			return true;
	}
	return p->sandbox_id[0] != 0;
}

/* Its containers were lost with their sandbox (the host was rebooted), and they are to run but once. */
static bool lost_for_good(struct pod *p)
{
	for (size_t i = p->n_init; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		if (p->restart_policy == 'N' && c->cur.ended && !c->in_sandbox)
			return true;
	}
	return false;
}

static enum pod_state step_new(struct pod *p)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (must_stop(p) || lost_for_good(p))
		return POD_STOPPING;
	const char *phase = status_phase(p);
	if (streq(phase, "Succeeded") || streq(phase, "Failed"))
		return POD_STOPPING;
	char reason[64];
	_cleanup_free_ char *message = NULL;
	if (!has_run_already(p) && pod_admit(p, reason, &message) < 0) {
		pod_event(p, true, reason, "%s", message);
		reject(p, reason, message);
		return POD_ENDED;
	}
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	struct runtime_resources limits;
	pod_cgroup_limits(tree, &limits);
	if (p->n->host->ops->cgroup_create(p->n->host, p->cgroup, &limits, &err) < 0) {
		pod_event(p, true, "FailedCreatePodContainer", "unable to ensure pod container exists: %s",
			  err.message);
		pod_wake_at(p, env_now_us(p->n->env) + RETRY_US);
		return POD_NEW;
	}
	p->cgroup_made = true;
	return POD_VOLUMES;
}

/* ---- SANDBOX ---- */

static enum pod_state step_sandbox(struct pod *p)
{
	_cleanup_err_ struct err err = ERR_INIT;
	if (must_stop(p) && p->sandbox != SANDBOX_STARTING && p->sandbox != SANDBOX_LOOKUP &&
	    p->sandbox != SANDBOX_REMOVING)
		return POD_STOPPING;
	switch (p->sandbox) {
	case SANDBOX_NONE:
		sandbox_start(p);
		return POD_SANDBOX;
	case SANDBOX_DEAD:
		return POD_REBUILD;
	case SANDBOX_READY:
		break;
	default:
		return POD_SANDBOX;
	}
	if (pod_etc_write(p, &err) < 0) {
		pod_event(p, true, "FailedMount", "%s", err.message);
		pod_wake_at(p, env_now_us(p->n->env) + RETRY_US);
		return POD_SANDBOX;
	}
	return POD_RUNNING;
}

/* ---- RUNNING ---- */

/* Init containers one after the other. True when all are through. */
static bool step_init(struct pod *p)
{
	for (size_t i = 0; i < p->n_init; i++) {
		struct pod_container *c = &p->containers[i];
		if (c->class == CONTAINER_INIT && p->initialized) /* has done its work */
			continue;
		container_tick(c);
		if (c->class == CONTAINER_SIDECAR) {
			if (!c->started && !p->initialized)
				return false;
		} else if (!p->initialized &&
			   (c->state != CONTAINER_EXITED || container_wants_run(c) || c->cur.exit_code != 0)) {
			return false;
		}
	}
	return true;
}

/* An init container has failed for good: the pod has. */
static bool init_failed(struct pod *p)
{
	for (size_t i = 0; i < p->n_init; i++) {
		struct pod_container *c = &p->containers[i];
		if (c->class == CONTAINER_INIT && c->state == CONTAINER_EXITED && c->cur.exit_code != 0 &&
		    !container_wants_run(c))
			return true;
	}
	return false;
}

static bool main_over(struct pod *p)
{
	for (size_t i = p->n_init; i < p->n_containers; i++) {
		if (container_wants_run(&p->containers[i]))
			return false;
	}
	return p->n_containers > p->n_init;
}

static bool main_ran(struct pod *p)
{
	for (size_t i = p->n_init; i < p->n_containers; i++) {
		if (p->containers[i].in_sandbox)
			return true;
	}
	return false;
}

static enum pod_state step_running(struct pod *p)
{
	if (must_stop(p))
		return POD_STOPPING;
	if (p->sandbox == SANDBOX_DEAD)
		return POD_REBUILD;
	if (p->volumes_dirty || p->n_tokens > 0)
		volumes_tick(p);
	p->initialized = p->initialized || main_ran(p);
	if (!step_init(p))
		return init_failed(p) ? POD_STOPPING : POD_RUNNING;
	p->initialized = true;
	for (size_t i = p->n_init; i < p->n_containers; i++)
		container_tick(&p->containers[i]);
	return main_over(p) ? POD_STOPPING : POD_RUNNING;
}

/* ---- stopping ---- */

static bool all_settled(struct pod *p)
{
	for (size_t i = 0; i < p->n_containers; i++) {
		if (!container_settled(&p->containers[i]))
			return false;
	}
	return true;
}

static void stop_one(struct pod *p, struct pod_container *c)
{
	container_stop(c, p->stop_by_us, NULL);
	container_stop_tick(c);
}

/* The main ones together; then sidecars, the last first, one at a time. True when none is left. */
static bool stop_containers(struct pod *p)
{
	bool main_left = false;
	for (size_t i = 0; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		if (c->class == CONTAINER_SIDECAR)
			continue;
		stop_one(p, c);
		main_left = main_left || !container_settled(c);
	}
	for (size_t i = p->n_init; !main_left && i-- > 0;) {
		struct pod_container *c = &p->containers[i];
		if (c->class != CONTAINER_SIDECAR || container_settled(c))
			continue;
		stop_one(p, c);
		break;
	}
	return all_settled(p);
}

static void need_grace(struct pod *p)
{
	if (p->grace_s >= 0)
		return;
	p->grace_s = pod_spec_grace(p);
	p->stop_by_us = env_now_us(p->n->env) + (uint64_t)p->grace_s * SECOND_US;
}

static bool any_main_up(struct pod *p)
{
	for (size_t i = 0; i < p->n_containers; i++) {
		if (p->containers[i].class != CONTAINER_INIT && container_is_up(&p->containers[i]))
			return true;
	}
	return false;
}

static bool sandbox_busy(const struct pod *p)
{
	return p->sandbox == SANDBOX_STARTING || p->sandbox == SANDBOX_LOOKUP || p->sandbox == SANDBOX_REMOVING;
}

static enum pod_state step_stopping(struct pod *p)
{
	need_grace(p);
	if (p->delete_seen && any_main_up(p))
		ask_endpoints(p);
	if (!stop_containers(p) || sandbox_busy(p))
		return POD_STOPPING;
	return POD_TEARDOWN;
}

static enum pod_state step_rebuild(struct pod *p)
{
	if (must_stop(p))
		return POD_STOPPING;
	if (p->grace_s < 0) { /* the first look */
		need_grace(p);
		pod_event(p, false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
	}
	if (!stop_containers(p))
		return POD_REBUILD;
	if (p->sandbox != SANDBOX_NONE) {
		sandbox_remove(p);
		return POD_REBUILD;
	}
	p->grace_s = -1;
	if (p->restart_policy == 'N' && main_ran(p))
		return POD_STOPPING;
	p->initialized = false;
	for (size_t i = 0; i < p->n_containers; i++)
		container_forget_try(&p->containers[i]);
	return POD_SANDBOX;
}

/* ---- teardown ---- */

static void remove_containers(struct pod *p)
{
	for (size_t i = 0; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		struct container_run *runs[] = {&c->prev, &c->cur};
		for (size_t k = 0; k < ARRAY_LEN(runs); k++) {
			if (runs[k]->id[0] && !c->removed[k])
				rt_remove(c, runs[k]->id, NULL);
			c->removed[k] = true;
		}
		if (c->half_made) {
			char id[128];
			pod_container_id(id, p->uid, c->name, c->next_attempt);
			rt_remove(c, id, NULL);
			c->half_made = false;
		}
	}
}

/* Which class it had, nobody knows any more. */
static void remove_orphan_cgroups(struct pod *p)
{
	static const char *const classes[] = {"", "/burstable", "/besteffort"};
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		_cleanup_err_ struct err err = ERR_INIT;
		_cleanup_free_ char *path = xasprintf("%s%s/pod%s", p->n->cgroup_root, classes[i], p->uid);
		p->n->host->ops->cgroup_remove(p->n->host, path, &err);
	}
}

static enum pod_state step_teardown(struct pod *p)
{
	_cleanup_err_ struct err err = ERR_INIT;
	remove_containers(p);
	if (p->sandbox != SANDBOX_NONE) {
		sandbox_remove(p);
		return POD_TEARDOWN;
	}
	if (!p->torn_volumes) {
		volumes_teardown(p);
		if (!p->torn_volumes)
			return POD_TEARDOWN;
	}
	if (!p->obj) {
		remove_orphan_cgroups(p);
		return POD_GONE;
	}
	if (p->cgroup_made && p->n->host->ops->cgroup_remove(p->n->host, p->cgroup, &err) < 0) {
		pod_wake_at(p, env_now_us(p->n->env) + SECOND_US);
		return POD_TEARDOWN;
	}
	p->cgroup_made = false;
	return p->node_stop ? POD_GONE : POD_ENDED;
}

/* ---- the end ---- */

static enum pod_state step_ended(struct pod *p)
{
	if (p->node_stop)
		return POD_GONE;
	return p->delete_seen || p->gone ? POD_DELETING : POD_ENDED;
}

static void on_deleted(void *arg, const struct client_response *resp)
{
	struct pod *p = arg;
	MAGIC_CHECK(p, POD_MAGIC);
	p->delete_call = NULL;
	enum err_reason why = resp->err->reason;
	if (resp->err->code && (why == ERR_NOT_FOUND || why == ERR_CONFLICT))
		p->gone = true; /* it, or even its successor by name, has been and gone */
	else if (resp->err->code)
		p->delete_retry_at_us = env_now_us(p->n->env) + DELETE_RETRY_US;
	else /* finalizers may keep it for a while: the informer tells when it is gone */
		p->delete_sent = true;
	pod_kick(p);
}

static enum pod_state step_deleting(struct pod *p)
{
	if (p->gone || p->node_stop)
		return POD_GONE;
	if (!p->status_final || p->delete_call || p->delete_sent)
		return POD_DELETING;
	if (p->delete_retry_at_us > env_now_us(p->n->env)) {
		pod_wake_at(p, p->delete_retry_at_us);
		return POD_DELETING;
	}
	const struct client_request req = {
		.verb = CLIENT_DELETE,
		.kind = p->n->kind_pod,
		.ns = p->ns,
		.name = p->name,
		.grace_period_s = 0,
		.precondition_uid = p->uid,
	};
	p->delete_call = client_do(p->n->client, &req, on_deleted, p);
	return POD_DELETING;
}

static enum pod_state step(struct pod *p)
{
	switch (p->state) {
	case POD_NEW:
		return step_new(p);
	case POD_VOLUMES:
		if (must_stop(p))
			return POD_STOPPING;
		volumes_tick(p);
		return p->volumes_ready ? POD_SANDBOX : POD_VOLUMES;
	case POD_SANDBOX:
		return step_sandbox(p);
	case POD_RUNNING:
		return step_running(p);
	case POD_REBUILD:
		return step_rebuild(p);
	case POD_STOPPING:
		return step_stopping(p);
	case POD_TEARDOWN:
		return step_teardown(p);
	case POD_ENDED:
		return step_ended(p);
	case POD_DELETING:
		return step_deleting(p);
	case POD_GONE:
		break;
	}
	return p->state;
}

static void bury(struct pod *p)
{
	struct nodeagent *n = p->n;
	if (!p->node_stop)
		logs_remove_pod(p);
	map_del(&n->pods, p->uid);
	pod_free(p);
	nodeagent__pod_gone(n);
}

void pod_tick(struct pod *p)
{
	enum pod_state before;
	do {
		check_deadline(p);
		before = p->state;
		p->state = step(p);
	} while (p->state != before && p->state != POD_GONE);
	if (p->state != POD_GONE)
		status_tick(p);
	/* the status may have been the last thing missing */
	if (p->state == POD_DELETING)
		p->state = step(p);
	if (p->state == POD_GONE)
		bury(p);
}
