/* The pod's status as upstream has it, built from the struct, and written when it differs from what the API has. */
#include "nodeagent/pod.h"

#define RETRY_MIN_US  SECOND_US
#define RETRY_MAX_US  (30 * SECOND_US)
#define MOVING_MAX_US SECOND_US
#define ID_SCHEME     "mini://"

/* ---- container statuses ---- */

static void put_time(json_t *obj, const char *key, int64_t wall_us)
{
	char text[32];
	if (wall_us > 0)
		json_put_str(obj, key, time_format_s(wall_us / 1000000, text));
	else
		json_object_set_new(obj, key, json_null());
}

static json_t *terminated(const struct container_run *r)
{
	json_t *t = json_object();
	_cleanup_free_ char *id = xasprintf(ID_SCHEME "%s", r->id);
	json_put_int(t, "exitCode", r->exit_code);
	json_put_str(t, "reason", r->reason[0] ? r->reason : NULL);
	json_put_str(t, "message", str_empty(r->message) ? NULL : r->message);
	put_time(t, "startedAt", r->started_us);
	put_time(t, "finishedAt", r->finished_us);
	json_put_str(t, "containerID", id);
	return json_make("{s:o}", "terminated", t);
}

static json_t *waiting(const struct pod_container *c)
{
	json_t *w = json_object();
	const char *reason = c->waiting_reason;
	if (!*reason)
		reason = c->class != CONTAINER_SIDECAR && c->pod->n_init > 0 && !c->pod->initialized
				 ? "PodInitializing"
				 : "ContainerCreating";
	json_put_str(w, "reason", reason);
	json_put_str(w, "message", str_empty(c->waiting_message) ? NULL : c->waiting_message);
	return json_make("{s:o}", "waiting", w);
}

/* Where this container stands, in the three words of the API. */
enum shown { SHOWN_WAITING, SHOWN_RUNNING, SHOWN_TERMINATED };
static enum shown shown_as(const struct pod_container *c)
{
	if (c->state >= CONTAINER_POSTSTART && c->state <= CONTAINER_STOPPING)
		return SHOWN_RUNNING;
	bool over = c->pod->state >= POD_STOPPING && c->pod->state != POD_GONE;
	if (!c->cur.ended)
		return SHOWN_WAITING;
	if (over)
		return SHOWN_TERMINATED;
	return !c->in_sandbox || c->waiting_reason[0] ? SHOWN_WAITING : SHOWN_TERMINATED;
}

/* The run that lastState tells of. */
static const struct container_run *last_run(const struct pod_container *c)
{
	if (shown_as(c) == SHOWN_WAITING && c->cur.ended)
		return &c->cur;
	return c->prev.id[0] ? &c->prev : NULL;
}

static const struct container_run *latest_run(const struct pod_container *c)
{
	return c->cur.id[0] ? &c->cur : c->prev.id[0] ? &c->prev : NULL;
}

static json_t *mounts_status(const json_t *cspec)
{
	json_t *out = json_array();
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(cspec, "volumeMounts"), i, m)
	{
		json_t *e = json_object();
		json_put_str(e, "name", json_get_str(m, "name", ""));
		json_put_str(e, "mountPath", json_get_str(m, "mountPath", ""));
		if (json_get_bool(m, "readOnly", false)) {
			json_put_bool(e, "readOnly", true);
			json_put_str(e, "recursiveReadOnly", "Disabled");
		}
		json_array_append_new(out, e);
	}
	return out;
}

static bool shown_ready(const struct pod_container *c)
{
	if (c->class == CONTAINER_INIT)
		return shown_as(c) == SHOWN_TERMINATED && c->cur.exit_code == 0;
	return shown_as(c) == SHOWN_RUNNING && c->ready;
}

static json_t *container_status(const struct pod_container *c, const json_t *cspec)
{
	json_t *s = json_object();
	const struct container_run *last = last_run(c), *latest = latest_run(c);
	enum shown shown = shown_as(c);
	json_put_str(s, "name", c->name);
	if (shown == SHOWN_TERMINATED) {
		json_put(s, "state", terminated(&c->cur));
	} else if (shown == SHOWN_RUNNING) {
		json_t *r = json_object();
		put_time(r, "startedAt", c->cur.started_us);
		json_put(s, "state", json_make("{s:o}", "running", r));
	} else {
		json_put(s, "state", waiting(c));
	}
	json_put(s, "lastState", last ? terminated(last) : json_object());
	json_put_bool(s, "ready", shown_ready(c));
	json_put_int(s, "restartCount", latest ? latest->attempt : 0);
	json_put_str(s, "image", c->image);
	json_put_str(s, "imageID", c->image_digest ? c->image_digest : c->image_id);
	if (latest) {
		_cleanup_free_ char *id = xasprintf(ID_SCHEME "%s", latest->id);
		json_put_str(s, "containerID", id);
	}
	json_put_bool(s, "started", shown == SHOWN_RUNNING && c->started);
	json_t *mounts = mounts_status(cspec);
	if (json_array_size(mounts) > 0)
		json_put(s, "volumeMounts", mounts);
	else
		json_decref(mounts);
	return s;
}

/* ---- phase ---- */

struct counts {
	unsigned init_pending, init_failed, waiting, running, stopped, succeeded;
};

static void count_init(const struct pod_container *c, struct counts *n)
{
	enum shown shown = shown_as(c);
	const struct container_run *last = last_run(c);
	if (c->class == CONTAINER_SIDECAR) {
		if ((shown == SHOWN_RUNNING && !c->started) || (shown == SHOWN_WAITING && !last))
			n->init_pending++;
		return;
	}
	if (shown == SHOWN_RUNNING || (shown == SHOWN_WAITING && !last))
		n->init_pending++;
	else if (shown == SHOWN_TERMINATED ? c->cur.exit_code != 0 : last->exit_code != 0)
		n->init_failed++;
}

static void count_main(const struct pod_container *c, struct counts *n)
{
	enum shown shown = shown_as(c);
	if (shown == SHOWN_RUNNING) {
		n->running++;
	} else if (shown == SHOWN_TERMINATED) {
		n->stopped++;
		n->succeeded += c->cur.exit_code == 0;
	} else if (last_run(c)) {
		n->stopped++;
	} else {
		n->waiting++;
	}
}

/* Nothing of it will run any more. */
static bool is_over(const struct pod *p)
{
	return p->state >= POD_TEARDOWN;
}

const char *status_phase(struct pod *p)
{
	struct counts n = {0};
	if (p->phase_final && p->obj) {
		_cleanup_json_ json_t *tree = object_tree(p->obj);
		const char *phase = json_get_str(json_object_get(tree, "status"), "phase", "");
		return streq(phase, "Succeeded") ? "Succeeded" : "Failed";
	}
	if (p->reject_reason[0])
		return "Failed";
	for (size_t i = 0; i < p->n_containers; i++) {
		if (i < p->n_init)
			count_init(&p->containers[i], &n);
		else
			count_main(&p->containers[i], &n);
	}
	bool ran = p->initialized;
	if (n.init_failed && p->restart_policy == 'N')
		return "Failed";
	if ((n.init_pending || n.init_failed) && !ran)
		return is_over(p) && n.init_failed ? "Failed" : "Pending";
	if (n.waiting)
		return "Pending";
	if (n.running)
		return "Running";
	if (!n.stopped)
		return "Pending";
	if (p->restart_policy == 'A' && !is_over(p))
		return "Running";
	if (n.stopped == n.succeeded)
		return "Succeeded";
	return p->restart_policy == 'N' || is_over(p) ? "Failed" : "Running";
}

/* ---- conditions ---- */

static const json_t *find_condition(const json_t *list, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach(list, i, c)
	{
		if (streq(json_get_str(c, "type", ""), type))
			return c;
	}
	return NULL;
}

static void add_condition(json_t *out, const json_t *before, int64_t now_us, const char *type, bool ok,
			  const char *reason, const char *message)
{
	json_t *c = json_object();
	const json_t *old = find_condition(before, type);
	const char *status = ok ? "True" : "False";
	json_put_str(c, "type", type);
	json_put_str(c, "status", status);
	json_object_set_new(c, "lastProbeTime", json_null());
	json_t *since = json_object_get(old, "lastTransitionTime");
	if (since && streq(json_get_str(old, "status", ""), status))
		json_object_set(c, "lastTransitionTime", since);
	else
		put_time(c, "lastTransitionTime", now_us);
	if (!str_empty(reason))
		json_put_str(c, "reason", reason);
	if (!str_empty(message))
		json_put_str(c, "message", message);
	json_array_append_new(out, c);
}

static void add_name(struct buf *b, const char *name)
{
	buf_addf(b, "%s%s", b->len ? " " : "", name);
}

static void initialized_condition(struct pod *p, json_t *out, const json_t *before, int64_t now, const char *phase)
{
	_cleanup_buf_ struct buf names = BUF_INIT;
	for (size_t i = 0; i < p->n_init; i++) {
		const struct pod_container *c = &p->containers[i];
		bool done = c->class == CONTAINER_SIDECAR ? c->started : shown_ready(c);
		if (!done)
			add_name(&names, c->name);
	}
	if (streq(phase, "Succeeded")) {
		add_condition(out, before, now, "Initialized", true, "PodCompleted", NULL);
		return;
	}
	if (names.len == 0 || p->initialized) {
		add_condition(out, before, now, "Initialized", true, NULL, NULL);
		return;
	}
	_cleanup_free_ char *message = xasprintf("containers with incomplete status: [%s]", buf_str(&names));
	add_condition(out, before, now, "Initialized", false, "ContainersNotInitialized", message);
}

static char *unready_message(struct pod *p)
{
	_cleanup_buf_ struct buf names = BUF_INIT;
	for (size_t i = 0; i < p->n_containers; i++) {
		const struct pod_container *c = &p->containers[i];
		if (c->class != CONTAINER_INIT && !shown_ready(c))
			add_name(&names, c->name);
	}
	return names.len ? xasprintf("containers with unready status: [%s]", buf_str(&names)) : NULL;
}

/* Readiness gates name conditions that others set. */
static char *gates_message(const json_t *tree)
{
	struct buf out = BUF_INIT;
	size_t i;
	json_t *g;
	json_array_foreach(json_path(tree, "spec", "readinessGates", NULL), i, g)
	{
		const char *type = json_get_str(g, "conditionType", "");
		const json_t *c = find_condition(json_path(tree, "status", "conditions", NULL), type);
		if (c && streq(json_get_str(c, "status", ""), "True"))
			continue;
		buf_addf(&out,
			 c ? "%sthe status of pod readiness gate \"%s\" is not \"True\", but %s"
			   : "%scorresponding condition of pod readiness gate \"%s\" does not exist.%.0s",
			 out.len ? ", " : "", type, c ? json_get_str(c, "status", "") : "");
	}
	return out.len ? buf_steal(&out) : NULL;
}

static void ready_conditions(struct pod *p, const json_t *tree, json_t *out, const json_t *before, int64_t now,
			     const char *phase)
{
	_cleanup_free_ char *message = unready_message(p), *gates = gates_message(tree);
	const char *reason = message ? "ContainersNotReady" : NULL;
	bool ok = !message, pod_ok = ok;
	if (streq(phase, "Succeeded") || streq(phase, "Failed")) {
		free(STEAL(message));
		reason = streq(phase, "Succeeded") ? "PodCompleted" : "PodFailed";
		ok = pod_ok = false;
	}
	const char *pod_reason = reason, *pod_message = message;
	if (ok && gates) {
		pod_ok = false;
		pod_reason = "ReadinessGatesNotReady";
		pod_message = gates;
	}
	add_condition(out, before, now, "Ready", pod_ok, pod_reason, pod_message);
	add_condition(out, before, now, "ContainersReady", ok, reason, message);
}

static json_t *conditions(struct pod *p, const json_t *tree, const char *phase)
{
	static const char *const ours[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
					   "PodScheduled"};
	const json_t *before = json_path(tree, "status", "conditions", NULL);
	int64_t now = env_wall_us(p->n->env);
	json_t *out = json_array();
	add_condition(out, before, now, ours[0], p->sandbox == SANDBOX_READY && p->ip[0], NULL, NULL);
	initialized_condition(p, out, before, now, phase);
	ready_conditions(p, tree, out, before, now, phase);
	const json_t *scheduled = find_condition(before, ours[4]);
	if (scheduled)
		json_array_append(out, (json_t *)scheduled);
	else
		add_condition(out, before, now, ours[4], true, NULL, NULL);
	size_t i;
	json_t *c;
	json_array_foreach(before, i, c)
	{
		bool known = false;
		for (size_t k = 0; k < ARRAY_LEN(ours); k++)
			known = known || streq(json_get_str(c, "type", ""), ours[k]);
		if (!known)
			json_array_append(out, c);
	}
	return out;
}

/* ---- the whole ---- */

static void put_ips(json_t *s, const char *one, const char *many, const char *ip)
{
	if (str_empty(ip)) {
		json_object_del(s, one);
		json_object_del(s, many);
		return;
	}
	json_put_str(s, one, ip);
	json_put(s, many, json_make("[{s:s}]", "ip", ip));
}

static void put_containers(struct pod *p, const json_t *tree, json_t *s)
{
	json_t *init = json_array(), *main = json_array();
	for (size_t i = 0; i < p->n_containers; i++) {
		const struct pod_container *c = &p->containers[i];
		json_array_append_new(i < p->n_init ? init : main, container_status(c, container_spec(c, tree)));
	}
	if (json_array_size(init) > 0)
		json_put(s, "initContainerStatuses", init);
	else
		json_decref(init);
	json_put(s, "containerStatuses", main);
}

json_t *status_build(struct pod *p)
{
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	json_t *before = json_object_get(tree, "status");
	json_t *s = json_is_object(before) ? json_deep_copy(before) : json_object();
	if (p->phase_final)
		return s;
	const char *phase = status_phase(p);
	char text[32];
	json_put_str(s, "phase", phase);
	json_put(s, "conditions", conditions(p, tree, phase));
	json_put_str(s, "reason", p->reject_reason[0] ? p->reject_reason : NULL);
	json_put_str(s, "message", p->reject_reason[0] ? p->reject_message : NULL);
	put_ips(s, "hostIP", "hostIPs", p->n->node_ip);
	/* An address once had is told until the end: that is how endpoints find what to drop. */
	if (p->ip[0] || p->state < POD_STOPPING)
		put_ips(s, "podIP", "podIPs", p->ip);
	json_put_str(s, "startTime", time_format_s(p->start_time_s, text));
	json_put_str(s, "qosClass", p->qos);
	if (!p->reject_reason[0] || p->cgroup_made || streq(p->reject_reason, "DeadlineExceeded"))
		put_containers(p, tree, s);
	return s;
}

/* ---- writing ---- */

/* RFC 7386: what turns `from` into `to`. */
static json_t *merge_diff(const json_t *from, const json_t *to)
{
	json_t *d = json_object();
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)to, key, v)
	{
		const json_t *old = json_object_get(from, key);
		if (old && json_equal(old, v))
			continue;
		if (json_is_object(v) && json_is_object(old))
			json_object_set_new(d, key, merge_diff(old, v));
		else
			json_object_set(d, key, v);
	}
	json_object_foreach((json_t *)from, key, v)
	{
		if (!json_object_get(to, key))
			json_object_set_new(d, key, json_null());
	}
	return d;
}

static void on_written(void *arg, const struct client_response *resp)
{
	struct pod *p = arg;
	MAGIC_CHECK(p, POD_MAGIC);
	p->status_call = NULL;
	if (resp->err->code) {
		json_decref(STEAL(p->status_sent));
		if (resp->err->reason == ERR_NOT_FOUND) /* its deletion is on the way through the watch */
			p->status_final = true;
		p->status_backoff_us =
			p->status_backoff_us ? MIN(p->status_backoff_us * 2, RETRY_MAX_US) : RETRY_MIN_US;
		/* A conflict: the newer object is on its way and kicks. */
		p->status_retry_at_us = env_now_us(p->n->env) +
					(resp->err->reason == ERR_CONFLICT ? RETRY_MIN_US / 10 : p->status_backoff_us);
		pod_wake_at(p, p->status_retry_at_us);
		return;
	}
	p->status_backoff_us = p->status_retry_at_us = 0;
	if (resp->object) {
		_cleanup_json_ json_t *tree = object_tree(resp->object);
		json_decref(p->status_result);
		p->status_result = json_incref(json_object_get(tree, "status"));
		if (streq(resp->object->uid, p->uid) && resp->object->rv > p->obj->rv) {
			object_unref(p->obj);
			p->obj = object_ref(resp->object);
		}
	}
	pod_kick(p);
}

static void write_status(struct pod *p, const json_t *tree, json_t *want)
{
	char rv[24];
	snprintf(rv, sizeof(rv), "%llu", (unsigned long long)p->obj->rv);
	_cleanup_json_ json_t *body = json_object();
	json_t *meta = json_need_object(body, "metadata");
	json_put_str(meta, "uid", p->uid);
	if (p->obj->rv)
		json_put_str(meta, "resourceVersion", rv);
	json_put(body, "status", merge_diff(json_object_get(tree, "status"), want));
	const struct client_request req = {
		.verb = CLIENT_PATCH,
		.patch = CLIENT_PATCH_MERGE,
		.kind = p->n->kind_pod,
		.ns = p->ns,
		.name = p->name,
		.subresource = "status",
		.body = body,
		.grace_period_s = -1,
		.field_manager = "kubelet",
	};
	json_decref(p->status_sent);
	p->status_sent = json_incref(want);
	p->status_call = client_do(p->n->client, &req, on_written, p);
}

/* A container on its way up is through in a moment: what is between is not worth a write, unless it takes longer. */
static bool wait_for_containers(struct pod *p)
{
	uint64_t now = env_now_us(p->n->env);
	bool moving = false;
	for (size_t i = 0; i < p->n_containers; i++)
		moving = moving ||
			 (p->containers[i].state >= CONTAINER_IMAGE && p->containers[i].state <= CONTAINER_START);
	if (!moving) {
		p->moving_since_us = 0;
		return false;
	}
	if (!p->moving_since_us)
		p->moving_since_us = now;
	if (now >= p->moving_since_us + MOVING_MAX_US)
		return false;
	pod_wake_at(p, p->moving_since_us + MOVING_MAX_US);
	return true;
}

void status_tick(struct pod *p)
{
	if (!p->obj || p->gone || p->node_stop || p->status_call || wait_for_containers(p))
		return;
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	_cleanup_json_ json_t *want = status_build(p);
	const json_t *have = json_object_get(tree, "status");
	/* The server may write a status differently from how it was sent: then it is asked for once, not forever. */
	bool accepted = json_equal(want, p->status_sent) && json_equal(have, p->status_result);
	if (json_equal(want, have) || accepted) {
		p->status_final = p->state >= POD_ENDED;
		return;
	}
	if (p->status_retry_at_us > env_now_us(p->n->env)) {
		pod_wake_at(p, p->status_retry_at_us);
		return;
	}
	write_status(p, tree, want);
}

void status_done(struct pod *p)
{
	if (p->status_call)
		client_cancel(p->n->client, p->status_call);
	if (p->delete_call)
		client_cancel(p->n->client, p->delete_call);
	p->status_call = p->delete_call = NULL;
	json_decref(p->status_sent);
	json_decref(p->status_result);
}

/* ---- what an earlier agent wrote ---- */

static int64_t time_of(const json_t *obj, const char *key)
{
	int64_t us = 0;
	const char *s = json_get_str(obj, key, "");
	return *s && time_parse_us(s, &us) == 0 ? us : 0;
}

static bool run_from_state(struct container_run *r, const json_t *state, const char *id, int64_t now_us)
{
	const json_t *t = json_object_get(state, "terminated"), *running = json_object_get(state, "running");
	char uid[64], name[64];
	unsigned attempt;
	id = json_get_str(t, "containerID", id);
	if (!str_starts(id, ID_SCHEME) || !pod_parse_id(id + strlen(ID_SCHEME), uid, name, &attempt))
		return false;
	if (!t && !running)
		return false;
	container_run_done(r);
	snprintf(r->id, sizeof(r->id), "%s", id + strlen(ID_SCHEME));
	r->attempt = attempt;
	r->ended = true; /* unless the runtime says otherwise */
	r->started_us = time_of(t ? t : running, "startedAt");
	r->finished_us = t ? time_of(t, "finishedAt") : now_us;
	r->exit_code = t ? (int)json_get_int(t, "exitCode", 0) : 137;
	snprintf(r->reason, sizeof(r->reason), "%s", t ? json_get_str(t, "reason", "") : "ContainerStatusUnknown");
	const char *message =
		t ? json_get_str(t, "message", "") : "The container could not be located when the pod was terminated";
	r->message = *message ? xstrdup(message) : NULL;
	return true;
}

static void recover_container(struct pod_container *c, const json_t *cs)
{
	int64_t now = env_wall_us(c->pod->n->env);
	const char *id = json_get_str(cs, "containerID", "");
	c->was_ready = json_get_bool(cs, "ready", false);
	c->was_started = json_get_bool(cs, "started", false);
	const char *image_id = json_get_str(cs, "imageID", "");
	if (str_starts(image_id, "sha256:"))
		snprintf(c->image_id, sizeof(c->image_id), "%s", image_id);
	else if (*image_id)
		c->image_digest = xstrdup(image_id);
	bool cur = run_from_state(&c->cur, json_object_get(cs, "state"), id, now);
	const json_t *last = json_object_get(cs, "lastState");
	if (cur)
		run_from_state(&c->prev, last, "", now);
	else
		cur = run_from_state(&c->cur, last, "", now);
	if (cur)
		c->next_attempt = c->cur.attempt + 1;
}

void status_recover(struct pod *p)
{
	static const char *const lists[] = {"initContainerStatuses", "containerStatuses"};
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	const json_t *s = json_object_get(tree, "status");
	const char *phase = json_get_str(s, "phase", "");
	p->phase_final = streq(phase, "Succeeded") || streq(phase, "Failed");
	int64_t started = time_of(s, "startTime");
	if (started)
		p->start_time_s = started / 1000000;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *cs;
		json_array_foreach(json_object_get(s, lists[l]), i, cs)
		{
			struct pod_container *c = pod_find_container(p, json_get_str(cs, "name", ""));
			if (c)
				recover_container(c, cs);
		}
	}
}
