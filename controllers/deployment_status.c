/* A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure. */
#include "controllers/deployment.h"

static json_t *find(const json_t *conditions, const char *type, size_t *ret_at)
{
	size_t i;
	json_t *c;
	json_array_foreach((json_t *)conditions, i, c)
	{
		if (!strcmp(json_get_str(c, "type", ""), type)) {
			if (ret_at)
				*ret_at = i;
			return c;
		}
	}
	return NULL;
}

static bool has_reason(const json_t *cond, const char *reason)
{
	return cond && !strcmp(json_get_str(cond, "reason", ""), reason);
}

static void drop(json_t *conditions, const char *type)
{
	size_t at;
	if (find(conditions, type, &at))
		json_array_remove(conditions, at);
}

/* Same status and reason: nothing changes, not even the times. Same status: the transition keeps its time. */
static void put(struct rollout *ro, json_t *conditions, const char *type, const char *status, const char *reason,
		const char *message)
{
	char now[32];
	time_format_s(env_wall_s(ro->c->base.all->env), now);
	json_t *have = find(conditions, type, NULL);
	bool same_status = have && !strcmp(json_get_str(have, "status", ""), status);
	if (same_status && has_reason(have, reason))
		return;
	_cleanup_free_ char *since = xstrdup(same_status ? json_get_str(have, "lastTransitionTime", now) : now);
	drop(conditions, type);
	json_t *cond = json_make("{s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status, "lastUpdateTime", now,
				 "lastTransitionTime", since, "reason", reason);
	json_put_str(cond, "message", message);
	json_array_append_new(conditions, cond);
}

/* ---- counts ---- */

static bool put_count(json_t *status, const char *key, int64_t v)
{
	if (json_get_int(status, key, 0) == v)
		return false;
	json_put(status, key, v ? json_integer(v) : NULL); /* zero is left out, as everywhere in the API */
	return true;
}

static bool fill_counts(const struct rollout *ro, json_t *status)
{
	int64_t total = 0, replicas = 0, ready = 0, available = 0;
	for (size_t i = 0; i < ro->n; i++) {
		total += ro->rs[i].replicas;
		replicas += ro->rs[i].st_replicas;
		ready += ro->rs[i].ready;
		available += ro->rs[i].available;
	}
	bool changed = put_count(status, "observedGeneration", meta_generation(ro->tree));
	changed |= put_count(status, "replicas", replicas);
	changed |= put_count(status, "updatedReplicas", ro->newest ? ro->newest->st_replicas : 0);
	changed |= put_count(status, "readyReplicas", ready);
	changed |= put_count(status, "availableReplicas", available);
	changed |= put_count(status, "unavailableReplicas", MAX(total - available, 0));
	return changed;
}

static bool is_complete(const struct rollout *ro, const json_t *status)
{
	return json_get_int(status, "updatedReplicas", 0) == ro->replicas &&
	       json_get_int(status, "replicas", 0) == ro->replicas &&
	       json_get_int(status, "availableReplicas", 0) == ro->replicas &&
	       json_get_int(status, "observedGeneration", 0) >= meta_generation(ro->tree);
}

bool rollout_complete(const struct rollout *ro)
{
	return is_complete(ro, ro->status);
}

/* ---- progress ---- */

static bool is_progressing(const json_t *before, const json_t *now)
{
	int64_t updated = json_get_int(now, "updatedReplicas", 0), was = json_get_int(before, "updatedReplicas", 0);
	return updated > was ||
	       json_get_int(now, "replicas", 0) - updated < json_get_int(before, "replicas", 0) - was ||
	       json_get_int(now, "readyReplicas", 0) > json_get_int(before, "readyReplicas", 0) ||
	       json_get_int(now, "availableReplicas", 0) > json_get_int(before, "availableReplicas", 0);
}

static bool timed_out(const struct rollout *ro, const json_t *cond)
{
	if (!cond || has_reason(cond, "NewReplicaSetAvailable"))
		return false;
	if (has_reason(cond, "ProgressDeadlineExceeded"))
		return true;
	return json_time_s(cond, "lastUpdateTime") + ro->deadline_s < env_wall_s(ro->c->base.all->env);
}

static char *about(const struct rollout *ro, const char *what)
{
	if (ro->newest)
		return xasprintf("ReplicaSet \"%s\" %s", ro->newest->obj->name, what);
	return xasprintf("Deployment \"%s\" %s", ro->obj->name, what);
}

static void put_progressing(struct rollout *ro, json_t *conditions, const char *status, const char *reason,
			    const char *what, bool afresh)
{
	_cleanup_free_ char *message = about(ro, what);
	if (afresh) {
		/* Progress restarts the clock, under the same reason too; the transition keeps its time. */
		json_t *have = find(conditions, "Progressing", NULL);
		if (have)
			json_put_str(have, "reason", "");
	}
	put(ro, conditions, "Progressing", status, reason, message);
}

static void judge_progress(struct rollout *ro, json_t *status, json_t *conditions)
{
	const json_t *cond = find(conditions, "Progressing", NULL);
	if (!ro->has_deadline) {
		drop(conditions, "Progressing");
		return;
	}
	bool settled = json_get_int(status, "replicas", 0) == json_get_int(status, "updatedReplicas", 0) &&
		       has_reason(cond, "NewReplicaSetAvailable");
	if (settled)
		return;
	if (is_complete(ro, status))
		put_progressing(ro, conditions, "True", "NewReplicaSetAvailable", "has successfully progressed.",
				false);
	else if (is_progressing(ro->status, status))
		put_progressing(ro, conditions, "True", "ReplicaSetUpdated", "is progressing.", true);
	else if (timed_out(ro, cond))
		put_progressing(ro, conditions, "False", "ProgressDeadlineExceeded", "has timed out progressing.",
				false);
	else if (!cond && ro->newest) {
		_cleanup_free_ char *message = xasprintf("Found new replica set \"%s\"", ro->newest->obj->name);
		put(ro, conditions, "Progressing", "True", "FoundNewReplicaSet", message);
	}
}

/* A ReplicaSet that cannot make its pods speaks through the Deployment. The newest goes first. */
static void judge_failure(struct rollout *ro, json_t *conditions)
{
	const json_t *failure = NULL;
	for (size_t i = 0; i < ro->n; i++) {
		const json_t *c = find(json_path(ro->rs[i].tree, "status", "conditions", NULL), "ReplicaFailure", NULL);
		if (c && (!failure || &ro->rs[i] == ro->newest))
			failure = c;
	}
	if (failure)
		put(ro, conditions, "ReplicaFailure", json_get_str(failure, "status", "True"),
		    json_get_str(failure, "reason", ""), json_get_str(failure, "message", ""));
	else
		drop(conditions, "ReplicaFailure");
}

/* Nothing may ever happen again to a rollout that is stuck: look when its time is over. */
static void watch_deadline(struct rollout *ro, const json_t *status, const json_t *conditions)
{
	const json_t *cond = find(conditions, "Progressing", NULL);
	if (!ro->has_deadline || !cond || is_complete(ro, status) || has_reason(cond, "ProgressDeadlineExceeded") ||
	    has_reason(cond, "NewReplicaSetAvailable") || ro->paused)
		return;
	int64_t left_s = json_time_s(cond, "lastUpdateTime") + ro->deadline_s - env_wall_s(ro->c->base.all->env);
	reconcile_again_after(ro->r, (uint64_t)(MAX(left_s, 0) + 1) * 1000000u);
}

/* ---- writing ---- */

static json_t *copy_with_conditions(struct rollout *ro, json_t **ret_status, json_t **ret_conditions)
{
	json_t *tree = json_deep_copy(ro->tree);
	*ret_status = json_need_object(tree, "status");
	*ret_conditions = json_need_array(*ret_status, "conditions");
	return tree;
}

static void write_status(struct rollout *ro, json_t *tree)
{
	struct client_request req = request_for(CLIENT_UPDATE, ro->obj);
	req.subresource = "status";
	req.body = tree;
	reconcile_do(ro->r, &req, ro->c->base.all->deployments, NULL, NULL);
}

static bool conditions_changed(const struct rollout *ro, const json_t *now)
{
	const json_t *before = json_object_get(ro->status, "conditions");
	if (json_array_size(before) != json_array_size(now))
		return true;
	return json_array_size(now) && !json_equal(before, now);
}

void rollout_write_status(struct rollout *ro, bool progress)
{
	json_t *status, *conditions;
	_cleanup_json_ json_t *tree = copy_with_conditions(ro, &status, &conditions);
	bool changed = fill_counts(ro, status);
	if (json_get_int(status, "availableReplicas", 0) >= ro->replicas - ro->max_unavailable)
		put(ro, conditions, "Available", "True", "MinimumReplicasAvailable",
		    "Deployment has minimum availability.");
	else
		put(ro, conditions, "Available", "False", "MinimumReplicasUnavailable",
		    "Deployment does not have minimum availability.");
	if (progress) {
		judge_progress(ro, status, conditions);
		judge_failure(ro, conditions);
		watch_deadline(ro, status, conditions);
	}
	if (changed || conditions_changed(ro, conditions))
		write_status(ro, tree);
}

bool rollout_sync_paused(struct rollout *ro)
{
	json_t *status, *conditions;
	_cleanup_json_ json_t *tree = copy_with_conditions(ro, &status, &conditions);
	const json_t *cond = find(conditions, "Progressing", NULL);
	bool shown = has_reason(cond, "DeploymentPaused");
	if (!ro->has_deadline || has_reason(cond, "ProgressDeadlineExceeded") || ro->paused == shown)
		return false;
	if (ro->paused)
		put(ro, conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
	else
		put(ro, conditions, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
	write_status(ro, tree);
	return true;
}

void rollout_created_status(struct rollout *ro, const char *rs_name, const struct err *err)
{
	json_t *status, *conditions;
	_cleanup_json_ json_t *tree = copy_with_conditions(ro, &status, &conditions);
	_cleanup_free_ char *message =
		err ? xasprintf("Failed to create new replica set \"%s\": %s", rs_name, err->message)
		    : xasprintf("Created new replica set \"%s\"", rs_name);
	/* None of the present template yet: what comes next counts as progress from zero. */
	bool changed = fill_counts(ro, status);
	if (err && ro->has_deadline)
		put(ro, conditions, "Progressing", "False", "ReplicaSetCreateError", message);
	else if (ro->has_deadline)
		put(ro, conditions, "Progressing", "True", "NewReplicaSetCreated", message);
	if (changed || conditions_changed(ro, conditions))
		write_status(ro, tree);
}

void rollout_bump_collisions(struct rollout *ro)
{
	_cleanup_json_ json_t *tree = json_deep_copy(ro->tree);
	json_put_int(json_need_object(tree, "status"), "collisionCount",
		     json_get_int(ro->status, "collisionCount", 0) + 1);
	write_status(ro, tree);
}
