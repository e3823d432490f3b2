/* Startup, liveness and readiness probes.
 *
 * Each probe has one timer and at most one action under way. Its verdict turns after failureThreshold or
 * successThreshold results of one kind in a row. While a startup probe has not succeeded, the other two wait.
 *
 * A container just started is asked again soon (0.1 s, 0.2 s, ... below the period) until it first answers: these early
 * failures count for nothing, but a server that listens 20 ms after its start is not held back for a whole period.
 */
#include "nodeagent/pod.h"

#define EARLY_MIN_US (SECOND_US / 10)

static const char *const json_names[PROBE_COUNT] = {"startupProbe", "livenessProbe", "readinessProbe"};
static const char *const words[PROBE_COUNT] = {"Startup", "Liveness", "Readiness"};
static const char *const lower_words[PROBE_COUNT] = {"startup", "liveness", "readiness"};

static void on_timer(struct env_timer *t);

void probes_init(struct pod_container *c, const json_t *cspec)
{
	for (int i = 0; i < PROBE_COUNT; i++) {
		struct probe *pr = &c->probes[i];
		const json_t *j = json_object_get(cspec, json_names[i]);
		pr->c = c;
		pr->type = (enum probe_type)i;
		pr->timer.fn = on_timer;
		if (!json_is_object(j))
			continue;
		pr->set = true;
		action_spec_make(&pr->action, j, cspec);
		pr->initial_delay_s = (unsigned)MAX(json_get_int(j, "initialDelaySeconds", 0), 0);
		pr->period_s = (unsigned)MAX(json_get_int(j, "periodSeconds", 10), 1);
		pr->timeout_s = (unsigned)MAX(json_get_int(j, "timeoutSeconds", 1), 1);
		pr->success_threshold = (unsigned)MAX(json_get_int(j, "successThreshold", 1), 1);
		pr->failure_threshold = (unsigned)MAX(json_get_int(j, "failureThreshold", 3), 1);
		pr->grace_s = json_get_int(j, "terminationGracePeriodSeconds", -1);
	}
}

static void probe_begin(struct probe *pr)
{
	struct pod_container *c = pr->c;
	struct env *env = c->pod->n->env;
	if (!pr->set || pr->on)
		return;
	pr->on = true;
	pr->streak = 0;
	pr->ok = pr->type == PROBE_LIVENESS;
	bool fresh = pr->type != PROBE_LIVENESS && !c->adopted && pr->initial_delay_s == 0;
	pr->early_us = fresh ? EARLY_MIN_US : 0;
	uint64_t period = pr->period_s * SECOND_US, delay = pr->initial_delay_s * SECOND_US;
	int64_t up = c->cur.started_us ? env_wall_us(env) - c->cur.started_us : 0;
	if (c->adopted) /* the whole node starts at once: spread them */
		delay = env_random_below(env, period);
	else if (up > 0)
		delay = delay > (uint64_t)up ? delay - (uint64_t)up : 0;
	env_timer_start(env, &pr->timer, delay);
}

static void probe_end(struct probe *pr)
{
	env_timer_stop(pr->c->pod->n->env, &pr->timer);
	action_cancel(pr->running);
	pr->running = NULL;
	pr->on = false;
}

static void recompute(struct pod_container *c)
{
	struct probe *startup = &c->probes[PROBE_STARTUP], *readiness = &c->probes[PROBE_READINESS];
	c->started = !startup->set || startup->ok || c->started;
	if (c->started) {
		probe_end(startup);
		probe_begin(&c->probes[PROBE_LIVENESS]);
		probe_begin(readiness);
	}
	c->ready = c->started && (!readiness->set || readiness->ok);
}

void probes_start(struct pod_container *c)
{
	/* Until a probe of this agent says otherwise, what was ready before the agent restarted stays so. */
	bool was_ready = c->adopted && c->was_ready;
	c->started = c->adopted && c->was_started;
	for (int i = 0; i < PROBE_COUNT; i++)
		c->probes[i].ok = false;
	if (c->probes[PROBE_STARTUP].set && !c->started)
		probe_begin(&c->probes[PROBE_STARTUP]);
	recompute(c);
	if (was_ready && c->probes[PROBE_READINESS].set) {
		c->probes[PROBE_READINESS].ok = true;
		c->ready = c->started;
	}
}

void probes_stop(struct pod_container *c)
{
	for (int i = 0; i < PROBE_COUNT; i++)
		probe_end(&c->probes[i]);
}

void probes_done(struct pod_container *c)
{
	probes_stop(c);
	for (int i = 0; i < PROBE_COUNT; i++)
		action_spec_done(&c->probes[i].action);
}

static void kill_container(struct probe *pr)
{
	struct pod_container *c = pr->c;
	struct pod *p = c->pod;
	int64_t grace = pr->grace_s >= 0 ? pr->grace_s : pod_spec_grace(p);
	char why[256];
	snprintf(why, sizeof(why), "Container %s failed %s probe, will be restarted", c->name, lower_words[pr->type]);
	container_stop(c, env_now_us(p->n->env) + (uint64_t)grace * SECOND_US, why);
}

/* True when it is simply asked again soon. */
static bool early_failure(struct probe *pr, bool ok)
{
	uint64_t delay = pr->early_us;
	if (ok || delay == 0 || delay >= pr->period_s * SECOND_US) {
		pr->early_us = 0;
		return false;
	}
	pr->early_us *= 2;
	env_timer_start(pr->c->pod->n->env, &pr->timer, delay);
	return true;
}

static void on_result(void *arg, bool ok, const char *output)
{
	struct probe *pr = arg;
	struct pod_container *c = pr->c;
	pr->running = NULL;
	if (early_failure(pr, ok))
		return;
	env_timer_start(c->pod->n->env, &pr->timer, pr->period_s * SECOND_US);
	if (!ok)
		container_event(c, true, "Unhealthy", "%s probe failed: %s", words[pr->type], output);
	pr->streak = pr->streak && pr->streak_ok == ok ? pr->streak + 1 : 1;
	pr->streak_ok = ok;
	if (pr->streak < (ok ? pr->success_threshold : pr->failure_threshold))
		return;
	pr->ok = ok;
	if (!ok && pr->type != PROBE_READINESS)
		kill_container(pr);
	else
		recompute(c);
	pod_kick(c->pod);
}

static void on_timer(struct env_timer *t)
{
	struct probe *pr = CONTAINER_OF(t, struct probe, timer);
	struct pod_container *c = pr->c;
	if (c->state != CONTAINER_RUNNING && c->state != CONTAINER_POSTSTART)
		return;
	pr->running = action_start(c->pod->n, &pr->action, c->cur.id, c->pod->ip, pr->timeout_s, on_result, pr);
}
