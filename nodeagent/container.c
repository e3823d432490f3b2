/* One container of a pod, from its image to its exit and around again.
 *
 *            image ok        created          started            hook done
 *   WAITING ---------> CREATE ------> START ---------> POSTSTART ---------> RUNNING
 *      ^  \                \              \                 |  exited          | |
 *      |   `--- IMAGE       `- failed      `- failed        v                  | | container_stop()
 *      |  failed: waits       waits           '---------> EXITED <-------------' v
 *      '--- new sandbox ---------------------------------- ^  ^--- STOPPING <-- PRESTOP
 *                                                          '-- restart, after its backoff: IMAGE
 */
#include "nodeagent/pod.h"

#define BACKOFF_MIN_US     (10 * SECOND_US)
#define BACKOFF_MAX_US     (300 * SECOND_US)
#define BACKOFF_FORGET_US  (600 * SECOND_US)
#define CONFIG_RETRY_US    (10 * SECOND_US)
#define IMAGE_ERR_SHOWN_US (2 * SECOND_US) /* how long ErrImagePull stands before it becomes ImagePullBackOff */
#define HOOK_TIMEOUT_S     3600
#define MESSAGE_MAX        4096
#define LOG_TAIL_BYTES     2048
#define LOG_TAIL_LINES     80

void container_run_done(struct container_run *r)
{
	free(r->message);
	*r = (struct container_run){0};
}

bool container_is_up(const struct pod_container *c)
{
	return c->state >= CONTAINER_START && c->state <= CONTAINER_STOPPING;
}

bool container_settled(const struct pod_container *c)
{
	return c->state == CONTAINER_WAITING || c->state == CONTAINER_EXITED;
}

void container_set_waiting(struct pod_container *c, const char *reason, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", reason);
	free(c->waiting_message);
	c->waiting_message = *text ? xstrdup(text) : NULL;
}

void container_forget_try(struct pod_container *c)
{
	c->in_sandbox = false;
	c->adopted = false;
	c->retry_at_us = 0;
	c->stop_asked = false;
	container_set_waiting(c, "", "%s", "");
}

static bool restarts(const struct pod_container *c)
{
	if (c->class == CONTAINER_SIDECAR)
		return true;
	switch (c->pod->restart_policy) {
	case 'N':
		return false;
	case 'O':
		return c->cur.exit_code != 0;
	default: /* an init container that has done its work is done */
		return c->class == CONTAINER_MAIN || c->cur.exit_code != 0;
	}
}

bool container_wants_run(const struct pod_container *c)
{
	if (!container_settled(c))
		return true;
	if (!c->cur.ended)
		return true;
	if (!c->in_sandbox) /* it ended in an earlier sandbox */
		return c->class != CONTAINER_MAIN || c->pod->restart_policy != 'O' || c->cur.exit_code != 0;
	return restarts(c);
}

/* ---- failing before it runs ---- */

static void try_failed(struct pod_container *c, const char *reason, const char *message, uint64_t retry_us)
{
	if (c->cur.id[0] && !c->cur.ended)
		container_run_done(&c->cur);
	c->state = c->cur.ended ? CONTAINER_EXITED : CONTAINER_WAITING;
	bool new_fault = !streq(c->waiting_reason, reason) || !streq(c->waiting_message, message);
	container_set_waiting(c, reason, "%s", message);
	if (new_fault)
		container_event(c, true, "Failed", "Error: %s", message);
	c->retry_at_us = env_now_us(c->pod->n->env) + retry_us;
}

/* ---- image ---- */

static void take_image(struct pod_container *c, const struct runtime_image *image)
{
	snprintf(c->image_id, sizeof(c->image_id), "%s", image->id);
	free(c->image_digest);
	c->image_digest = str_empty(image->digest) ? NULL : xstrdup(image->digest);
	c->image_user = image->user;
	free(c->image_user_name);
	c->image_user_name = str_empty(image->user_name) ? NULL : xstrdup(image->user_name);
}

static void image_failed(struct pod_container *c, const char *message)
{
	uint64_t now = env_now_us(c->pod->n->env);
	c->state = c->cur.ended ? CONTAINER_EXITED : CONTAINER_WAITING;
	c->image_backoff_us =
		c->image_backoff_us ? MIN(c->image_backoff_us * 2, BACKOFF_MAX_US) : (uint64_t)BACKOFF_MIN_US;
	c->image_failed_at_us = now;
	c->image_backing_off = false;
	c->retry_at_us = now + c->image_backoff_us;
	container_event(c, true, "Failed", "Failed to pull image \"%s\": %s", c->image, message);
	container_event(c, true, "Failed", "Error: ErrImagePull");
	container_set_waiting(c, "ErrImagePull", "%s", message);
}

static void image_back_off(struct pod_container *c)
{
	uint64_t flip = c->image_failed_at_us + IMAGE_ERR_SHOWN_US;
	if (c->image_backing_off || !streq(c->waiting_reason, "ErrImagePull"))
		return;
	if (env_now_us(c->pod->n->env) < flip) {
		pod_wake_at(c->pod, flip);
		return;
	}
	c->image_backing_off = true;
	_cleanup_free_ char *why = xstrdup(c->waiting_message ? c->waiting_message : "");
	container_event(c, false, "BackOff", "Back-off pulling image \"%s\"", c->image);
	container_event(c, true, "Failed", "Error: ImagePullBackOff");
	container_set_waiting(c, "ImagePullBackOff", "Back-off pulling image \"%s\": ErrImagePull: %s", c->image, why);
}

static void begin_create(struct pod_container *c);

static void on_pulled(struct pod *p, struct pod_container *c, const struct err *err, const struct runtime_image *image)
{
	if (c->state != CONTAINER_IMAGE)
		return;
	if (c->stop_asked) {
		c->state = c->cur.ended ? CONTAINER_EXITED : CONTAINER_WAITING;
		return;
	}
	if (err->code == -ENOTSUP && c->image_id[0]) {
		/* No registry can be asked: what is here is the newest there is. */
		container_event(c, false, "Pulled", "Container image \"%s\" already present on machine", c->image);
		begin_create(c);
		return;
	}
	if (err->code || !image) {
		image_failed(c, err->code ? err->message : "not found");
		return;
	}
	double took = (double)(env_now_us(p->n->env) - c->pull_started_us) / 1e6;
	container_event(c, false, "Pulled",
			"Successfully pulled image \"%s\" in %.3gs (%.3gs including waiting). Image size: %llu bytes.",
			c->image, took, took, (unsigned long long)image->size_bytes);
	take_image(c, image);
	begin_create(c);
}

static void on_image(struct pod *p, struct pod_container *c, const struct err *err, const struct runtime_image *image)
{
	if (c->state != CONTAINER_IMAGE)
		return;
	if (c->stop_asked) {
		c->state = c->cur.ended ? CONTAINER_EXITED : CONTAINER_WAITING;
		return;
	}
	bool absent = !image && (err->code == 0 || err->code == -ENOENT);
	if (!image && !absent) {
		if (err->code == -EINVAL) {
			container_event(c, true, "InspectFailed",
					"Failed to apply default image tag \"%s\": couldn't parse image name: %s",
					c->image, err->message);
			try_failed(c, "InvalidImageName", err->message, BACKOFF_MAX_US);
		} else {
			try_failed(c, "ImageInspectError", err->message, CONFIG_RETRY_US);
		}
		return;
	}
	c->image_id[0] = 0;
	if (image)
		take_image(c, image);
	if (absent && c->pull_policy == 'N') {
		container_event(c, true, "ErrImageNeverPull",
				"Container image \"%s\" is not present with pull policy of Never", c->image);
		_cleanup_free_ char *message =
			xasprintf("Container image \"%s\" is not present with pull policy of Never", c->image);
		try_failed(c, "ErrImageNeverPull", message, CONFIG_RETRY_US);
		return;
	}
	if (image && c->pull_policy != 'A') {
		container_event(c, false, "Pulled", "Container image \"%s\" already present on machine", c->image);
		begin_create(c);
		return;
	}
	container_event(c, false, "Pulling", "Pulling image \"%s\"", c->image);
	c->pull_started_us = env_now_us(p->n->env);
	rt_image_pull(c, c->image, on_pulled);
}

/* ---- create and start ---- */

static void run_hook_done(void *arg, bool ok, const char *output)
{
	struct pod_container *c = arg;
	c->hook = NULL;
	if (c->state == CONTAINER_POSTSTART) {
		c->state = CONTAINER_RUNNING;
		if (!ok) {
			container_event(c, true, "FailedPostStartHook", "PostStartHook failed: %s", output);
			container_stop(c, env_now_us(c->pod->n->env) + (uint64_t)pod_spec_grace(c->pod) * SECOND_US,
				       "FailedPostStartHook");
		}
	} else if (c->state == CONTAINER_PRESTOP) {
		if (!ok)
			container_event(c, true, "FailedPreStopHook", "PreStopHook failed: %s", output);
		c->prestop_done = true;
	}
	pod_kick(c->pod);
}

static void on_started(struct pod *p, struct pod_container *c, const struct err *err)
{
	if (c->state != CONTAINER_START)
		return;
	if (err->code) {
		c->cur.ended = true;
		c->cur.exit_code = 128;
		c->cur.finished_us = c->cur.started_us = env_wall_us(p->n->env);
		snprintf(c->cur.reason, sizeof(c->cur.reason), "StartError");
		c->cur.message = xstrdup(err->message);
		c->state = CONTAINER_EXITED;
		c->in_sandbox = true;
		c->exited_at_us = env_now_us(p->n->env);
		container_set_waiting(c, "RunContainerError", "%s", err->message);
		container_event(c, true, "Failed", "Error: failed to start container \"%s\": %s", c->name,
				err->message);
		return;
	}
	c->cur.started_us = env_wall_us(p->n->env);
	c->in_sandbox = true;
	c->adopted = false;
	c->image_backoff_us = 0;
	container_set_waiting(c, "", "%s", "");
	container_event(c, false, "Started", "Started container %s", c->name);
	c->state = CONTAINER_RUNNING;
	container_look(c); /* it may be over already */
	if (c->poststart.type != ACTION_NONE) {
		c->state = CONTAINER_POSTSTART;
		c->hook = action_start(p->n, &c->poststart, c->cur.id, p->ip, HOOK_TIMEOUT_S, run_hook_done, c);
	}
	probes_start(c);
	if (c->stop_asked) {
		c->stop_asked = false;
		container_stop(c, c->stop_at_us, NULL);
	}
}

static void on_created(struct pod *p, struct pod_container *c, const struct err *err)
{
	if (c->state != CONTAINER_CREATE)
		return;
	if (err->code) {
		try_failed(c, "CreateContainerError", err->message, CONFIG_RETRY_US);
		return;
	}
	c->cur.created_us = env_wall_us(p->n->env);
	container_event(c, false, "Created", "Created container: %s", c->name);
	if (c->stop_asked) {
		rt_remove(c, c->cur.id, NULL);
		container_run_done(&c->cur);
		c->state = CONTAINER_WAITING;
		return;
	}
	c->next_attempt = c->cur.attempt + 1;
	c->state = CONTAINER_START;
	rt_start(c, on_started);
}

/* The run before last goes: one dead attempt is kept, for `logs --previous` and lastState. */
static void roll_runs(struct pod_container *c)
{
	if (!c->cur.ended)
		return;
	if (c->prev.id[0]) {
		rt_remove(c, c->prev.id, NULL);
		log_forget(c, c->prev.attempt);
	}
	container_run_done(&c->prev);
	c->prev = c->cur;
	c->cur = (struct container_run){0};
}

static void begin_create(struct pod_container *c)
{
	struct pod *p = c->pod;
	struct container_run old = c->cur;
	c->cur = (struct container_run){.attempt = c->next_attempt};
	pod_container_id(c->cur.id, p->uid, c->name, c->next_attempt);
	struct container_config *k = NULL;
	_cleanup_err_ struct err err = ERR_INIT;
	int rc = container_config_make(c, &k, &err);
	if (rc == 0)
		rc = log_prepare(c, c->next_attempt, &err);
	struct container_run fresh = c->cur;
	c->cur = old;
	if (rc == -EAGAIN) { /* a reference is still loading: its arrival kicks the pod */
		c->state = c->cur.ended ? CONTAINER_EXITED : CONTAINER_WAITING;
		c->retry_at_us = env_now_us(p->n->env) + SECOND_US;
		container_config_free(k);
		return;
	}
	if (rc < 0) {
		try_failed(c, "CreateContainerConfigError", err.message, CONFIG_RETRY_US);
		container_config_free(k);
		return;
	}
	roll_runs(c);
	c->cur = fresh;
	c->half_made = false;
	c->state = CONTAINER_CREATE;
	rt_create(c, container_config_get(k), on_created);
	container_config_free(k);
}

/* ---- when to try ---- */

static void duration_text(char ret[32], unsigned s)
{
	if (s < 60)
		snprintf(ret, 32, "%us", s);
	else
		snprintf(ret, 32, "%um%us", s / 60, s % 60);
}

/* After an exit: at once the first time, then 10 s, 20 s, ... 5 min; forgotten after 10 quiet minutes. */
static bool crash_backoff_over(struct pod_container *c)
{
	struct pod *p = c->pod;
	uint64_t now = env_now_us(p->n->env);
	if (!c->cur.ended || !c->in_sandbox)
		return true;
	if (c->backoff_us && c->exited_at_us > c->backoff_updated_us + BACKOFF_FORGET_US)
		c->backoff_us = 0;
	uint64_t due = c->exited_at_us + c->backoff_us;
	if (c->class == CONTAINER_INIT && c->cur.exit_code == 0)
		due = 0;
	if (now >= due) {
		c->backoff_us = c->backoff_us ? MIN(c->backoff_us * 2, BACKOFF_MAX_US) : (uint64_t)BACKOFF_MIN_US;
		c->backoff_updated_us = now;
		c->backoff_told = false;
		return true;
	}
	pod_wake_at(p, due);
	if (c->backoff_told)
		return false;
	c->backoff_told = true;
	container_event(c, true, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)", c->name,
			p->name, p->ns, p->uid);
	char took[32];
	duration_text(took, (unsigned)(c->backoff_us / SECOND_US));
	container_set_waiting(c, "CrashLoopBackOff", "back-off %s restarting failed container=%s pod=%s_%s(%s)", took,
			      c->name, p->name, p->ns, p->uid);
	return false;
}

static void try_start(struct pod_container *c)
{
	struct pod *p = c->pod;
	uint64_t now = env_now_us(p->n->env);
	if (c->retry_at_us > now) {
		image_back_off(c);
		pod_wake_at(p, c->retry_at_us);
		return;
	}
	/* a retry of a try has been through the backoff already */
	if (c->retry_at_us == 0 && !crash_backoff_over(c))
		return;
	c->retry_at_us = 0;
	c->stop_asked = false;
	c->state = CONTAINER_IMAGE;
	rt_image_status(c, c->image, on_image);
}

void container_tick(struct pod_container *c)
{
	switch (c->state) {
	case CONTAINER_WAITING:
	case CONTAINER_EXITED:
		if (container_wants_run(c))
			try_start(c);
		return;
	case CONTAINER_PRESTOP:
	case CONTAINER_STOPPING:
		container_stop_tick(c);
		return;
	default:
		return;
	}
}

/* ---- the end of a run ---- */

static char *termination_message(struct pod_container *c)
{
	struct pod *p = c->pod;
	if (!p->obj)
		return NULL;
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	_cleanup_free_ char *dir = pod_dir(p);
	_cleanup_free_ char *path = xasprintf("%s/containers/%s/%u", dir, c->name, c->cur.attempt);
	char text[MESSAGE_MAX + 1];
	size_t n = 0;
	FILE *f = fopen(path, "re");
	if (f) {
		n = fread(text, 1, MESSAGE_MAX, f);
		fclose(f);
	}
	text[n] = 0;
	unlink(path);
	if (n > 0)
		return xstrdup(text);
	const char *policy = json_get_str(container_spec(c, tree), "terminationMessagePolicy", "File");
	if (c->cur.exit_code == 0 || !streq(policy, "FallbackToLogsOnError"))
		return NULL;
	_cleanup_free_ char *log = log_path(c, c->cur.attempt);
	return log_tail(log, LOG_TAIL_BYTES, LOG_TAIL_LINES);
}

static void container_exited(struct pod_container *c, const struct runtime_container *info)
{
	struct pod *p = c->pod;
	probes_stop(c);
	action_cancel(c->hook);
	c->hook = NULL;
	c->cur.ended = true;
	c->cur.exit_code = info ? info->exit_code : 137;
	c->cur.finished_us = info && info->finished_us ? info->finished_us : env_wall_us(p->n->env);
	if (info && info->started_us)
		c->cur.started_us = info->started_us;
	const char *reason = !info                  ? "ContainerStatusUnknown"
			     : info->oom_killed     ? "OOMKilled"
			     : info->exit_code == 0 ? "Completed"
						    : "Error";
	snprintf(c->cur.reason, sizeof(c->cur.reason), "%s", reason);
	free(c->cur.message);
	c->cur.message = info ? termination_message(c)
			      : xstrdup("The container could not be located when the pod was terminated");
	c->state = CONTAINER_EXITED;
	c->started = c->ready = false;
	c->stop_asked = false;
	c->retry_at_us = 0;
	c->exited_at_us = env_now_us(p->n->env);
	container_set_waiting(c, "", "%s", "");
	node_server_kick(p->n->server);
}

void container_seen(struct pod_container *c, const struct runtime_container *info)
{
	if (!container_is_up(c) || c->state == CONTAINER_START)
		return;
	if (!info || info->status == RUNTIME_EXITED)
		container_exited(c, info);
	else if (c->state == CONTAINER_RUNNING && info->started_us)
		c->cur.started_us = info->started_us;
}

static void on_look(struct pod *p, struct pod_container *c, const struct err *err, const struct runtime_container *list,
		    size_t n)
{
	(void)p;
	if (err->code)
		return;
	const struct runtime_container *info = NULL;
	for (size_t i = 0; i < n; i++) {
		if (streq(list[i].id, c->cur.id))
			info = &list[i];
	}
	/* The answer may be about an attempt that is over. */
	if (info || n == 0)
		container_seen(c, info);
}

void container_look(struct pod_container *c)
{
	rt_list(c->pod, c, c->cur.id, on_look);
}

/* ---- stopping ---- */

static void on_stopped(struct pod *p, struct pod_container *c, const struct err *err)
{
	if (c->state != CONTAINER_STOPPING)
		return;
	if (err->code) {
		container_event(c, true, "FailedKillPod", "error killing pod: %s", err->message);
		c->retry_at_us = env_now_us(p->n->env) + SECOND_US;
		c->state = CONTAINER_PRESTOP; /* once more */
		c->prestop_done = true;
		return;
	}
	container_look(c);
}

static unsigned remaining_grace_s(const struct pod_container *c)
{
	uint64_t now = env_now_us(c->pod->n->env);
	uint64_t left = c->stop_at_us > now ? (c->stop_at_us - now + SECOND_US - 1) / SECOND_US : 0;
	/* Whoever spent its grace on a hook still gets a moment after SIGTERM. */
	return MIN(c->stop_grace_s, (unsigned)MAX(left, (uint64_t)2));
}

void container_stop_tick(struct pod_container *c)
{
	struct pod *p = c->pod;
	uint64_t now = env_now_us(p->n->env);
	if (c->state != CONTAINER_PRESTOP)
		return;
	if (c->retry_at_us > now) {
		pod_wake_at(p, c->retry_at_us);
		return;
	}
	c->retry_at_us = 0;
	bool proxied = p->delete_seen && p->endpoint == ENDPOINT_ASKED;
	if (now < c->stop_at_us && (!c->prestop_done || proxied)) {
		pod_wake_at(p, c->stop_at_us);
		return;
	}
	action_cancel(c->hook);
	c->hook = NULL;
	c->state = CONTAINER_STOPPING;
	rt_stop(c, remaining_grace_s(c), on_stopped);
}

static void stop_sooner(struct pod_container *c, uint64_t by_us)
{
	if (by_us >= c->stop_at_us)
		return;
	uint64_t now = env_now_us(c->pod->n->env);
	c->stop_at_us = by_us;
	c->stop_grace_s = by_us > now ? (unsigned)((by_us - now + SECOND_US - 1) / SECOND_US) : 0;
	if (c->state == CONTAINER_STOPPING)
		rt_stop(c, c->stop_grace_s, on_stopped);
}

void container_stop(struct pod_container *c, uint64_t by_us, const char *reason)
{
	struct pod *p = c->pod;
	uint64_t now = env_now_us(p->n->env);
	switch (c->state) {
	case CONTAINER_WAITING:
	case CONTAINER_EXITED:
		return;
	case CONTAINER_IMAGE:
	case CONTAINER_CREATE:
	case CONTAINER_START:
		c->stop_at_us = by_us;
		c->stop_asked = true;
		return;
	case CONTAINER_PRESTOP:
	case CONTAINER_STOPPING:
		stop_sooner(c, by_us);
		return;
	case CONTAINER_POSTSTART:
	case CONTAINER_RUNNING:
		break;
	}
	action_cancel(c->hook);
	c->hook = NULL;
	c->stop_at_us = by_us;
	c->stop_grace_s = by_us > now ? (unsigned)((by_us - now + SECOND_US - 1) / SECOND_US) : 0;
	c->state = CONTAINER_PRESTOP;
	c->prestop_done = c->prestop.type == ACTION_NONE || c->stop_grace_s == 0;
	probes_stop(c);
	if (reason)
		container_event(c, false, "Killing", "%s", reason);
	else
		container_event(c, false, "Killing", "Stopping container %s", c->name);
	if (!c->prestop_done)
		c->hook = action_start(p->n, &c->prestop, c->cur.id, p->ip, c->stop_grace_s, run_hook_done, c);
	pod_kick(p);
}
