#include "lib/api/kinds/pod_text.h"

#include "lib/api/kinds/duration.h"

struct restarts {
	int64_t count;
	int64_t last_us; /* when the latest ended; 0: not known */
};

static void restarts_add(struct restarts *r, const json_t *status)
{
	const json_t *terminated = json_path(status, "lastState", "terminated", NULL);
	int64_t us = 0;

	r->count += json_get_int(status, "restartCount", 0);
	if (!time_parse_us(json_get_str(terminated, "finishedAt", ""), &us) && us > r->last_us)
		r->last_us = us;
}

static bool condition_true(const json_t *pod, const char *type)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_path(pod, "status", "conditions", NULL), i,
			   c) if (streq(json_get_str(c, "type", ""), type)) return streq(json_get_str(c, "status", ""),
											 "True");
	return false;
}

/* A sidecar: an init container that keeps running beside the others. */
static bool is_sidecar(const json_t *init_containers, const char *name)
{
	size_t i;
	json_t *c;

	json_array_foreach(init_containers, i, c) if (streq(json_get_str(c, "name", ""), name)) return streq(
		json_get_str(c, "restartPolicy", ""), "Always");
	return false;
}

/* "prefix" + the reason a container ended, or its signal or exit code where none was given. */
static void say_terminated(struct pod_text *t, const char *prefix, const json_t *terminated)
{
	const char *reason = json_get_str(terminated, "reason", "");
	int64_t sig = json_get_int(terminated, "signal", 0);

	if (*reason)
		snprintf(t->status, sizeof(t->status), "%s%s", prefix, reason);
	else if (sig)
		snprintf(t->status, sizeof(t->status), "%sSignal:%lld", prefix, (long long)sig);
	else
		snprintf(t->status, sizeof(t->status), "%sExitCode:%lld", prefix,
			 (long long)json_get_int(terminated, "exitCode", 0));
}

/* True: this one is done, or up as a sidecar, so the next may be looked at. */
static bool init_passed(const json_t *status, bool sidecar, struct pod_text *t)
{
	const json_t *terminated = json_path(status, "state", "terminated", NULL);

	if (terminated && json_get_int(terminated, "exitCode", 0) == 0)
		return true;
	if (sidecar && json_get_bool(status, "started", false)) {
		t->n_ready += json_get_bool(status, "ready", false);
		return true;
	}
	return false;
}

/* Walks the init containers' statuses; true when one of them is what the pod waits for. */
static bool look_at_inits(const json_t *pod, struct pod_text *t, struct restarts *all, struct restarts *sidecars)
{
	const json_t *init = json_path(pod, "spec", "initContainers", NULL);
	size_t i;
	json_t *s;

	json_array_foreach(json_path(pod, "status", "initContainerStatuses", NULL), i, s)
	{
		bool sidecar = is_sidecar(init, json_get_str(s, "name", ""));
		const json_t *terminated = json_path(s, "state", "terminated", NULL);
		const char *waiting = json_get_str(json_path(s, "state", "waiting", NULL), "reason", "");

		restarts_add(all, s);
		if (sidecar)
			restarts_add(sidecars, s);
		if (init_passed(s, sidecar, t))
			continue;
		if (terminated)
			say_terminated(t, "Init:", terminated);
		else if (*waiting && !streq(waiting, "PodInitializing"))
			snprintf(t->status, sizeof(t->status), "Init:%s", waiting);
		else
			snprintf(t->status, sizeof(t->status), "Init:%zu/%zu", i, json_array_size(init));
		return true;
	}
	return false;
}

static void look_at_containers(const json_t *pod, struct pod_text *t, struct restarts *restarts)
{
	const json_t *statuses = json_path(pod, "status", "containerStatuses", NULL);
	bool running = false;

	/* The first container that has something to say is heard last. */
	for (size_t i = json_array_size(statuses); i-- > 0;) {
		const json_t *s = json_array_get(statuses, i);
		const json_t *terminated = json_path(s, "state", "terminated", NULL);
		const char *waiting = json_get_str(json_path(s, "state", "waiting", NULL), "reason", "");

		restarts_add(restarts, s);
		if (*waiting) {
			snprintf(t->status, sizeof(t->status), "%s", waiting);
		} else if (terminated) {
			say_terminated(t, "", terminated);
		} else if (json_get_bool(s, "ready", false) && json_path(s, "state", "running", NULL)) {
			running = true;
			t->n_ready++;
		}
	}
	if (running && streq(t->status, "Completed"))
		snprintf(t->status, sizeof(t->status), "%s", condition_true(pod, "Ready") ? "Running" : "NotReady");
}

static void say_deleting(const json_t *pod, const char *phase, struct pod_text *t)
{
	if (!json_path(pod, "metadata", "deletionTimestamp", NULL))
		return;
	if (streq(json_get_str(json_object_get(pod, "status"), "reason", ""), "NodeLost"))
		snprintf(t->status, sizeof(t->status), "Unknown");
	else if (!streq(phase, "Failed") && !streq(phase, "Succeeded"))
		snprintf(t->status, sizeof(t->status), "Terminating");
}

/* What the status says before any container is looked at. */
static const char *first_reason(const json_t *pod, const char *phase)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_path(pod, "status", "conditions", NULL), i,
			   c) if (streq(json_get_str(c, "type", ""), "PodScheduled") &&
				  streq(json_get_str(c, "reason", ""), "SchedulingGated")) return "SchedulingGated";
	const char *reason = json_get_str(json_object_get(pod, "status"), "reason", "");
	return *reason ? reason : phase;
}

static unsigned count_containers(const json_t *pod)
{
	const json_t *init = json_path(pod, "spec", "initContainers", NULL);
	size_t n = json_array_size(json_path(pod, "spec", "containers", NULL)), i;
	json_t *c;

	json_array_foreach(init, i, c) n += streq(json_get_str(c, "restartPolicy", ""), "Always");
	return (unsigned)n;
}

void pod_format_status(const json_t *pod, int64_t now_s, struct pod_text *ret)
{
	const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
	struct restarts restarts = {0}, sidecars = {0};
	struct pod_text t = {.n_containers = count_containers(pod)};
	char age[HUMAN_DURATION_MAX];

	snprintf(t.status, sizeof(t.status), "%s", first_reason(pod, phase));
	bool initializing = look_at_inits(pod, &t, &restarts, &sidecars);
	if (!initializing || condition_true(pod, "Initialized")) {
		restarts = sidecars;
		look_at_containers(pod, &t, &restarts);
	}
	say_deleting(pod, phase, &t);

	t.n_restarts = restarts.count;
	snprintf(t.ready, sizeof(t.ready), "%u/%u", t.n_ready, t.n_containers);
	if (restarts.count && restarts.last_us)
		snprintf(t.restarts, sizeof(t.restarts), "%lld (%s ago)", (long long)restarts.count,
			 human_duration(now_s - restarts.last_us / 1000000, age));
	else
		snprintf(t.restarts, sizeof(t.restarts), "%lld", (long long)restarts.count);
	*ret = t;
}
