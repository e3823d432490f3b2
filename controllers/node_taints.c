#include "controllers/nodelifecycle.h"

#define NOT_READY   "node.kubernetes.io/not-ready"
#define UNREACHABLE "node.kubernetes.io/unreachable"

static const char *condition(const json_t *node, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_path(node, "status", "conditions", NULL), i, c)
	{
		if (!strcmp(json_get_str(c, "type", ""), type))
			return json_get_str(c, "status", "");
	}
	return "";
}

static bool set_taint(json_t *node, const char *key, const char *effect, bool wanted, int64_t now_s)
{
	json_t *spec = json_need_object(node, "spec"), *taints = json_object_get(spec, "taints"), *t;
	size_t i;
	json_array_foreach(taints, i, t)
	{
		if (strcmp(json_get_str(t, "key", ""), key) != 0 || strcmp(json_get_str(t, "effect", ""), effect) != 0)
			continue;
		if (wanted)
			return false;
		json_array_remove(taints, i);
		if (!json_array_size(taints))
			json_put(spec, "taints", NULL);
		return true;
	}
	if (!wanted)
		return false;
	t = json_make("{s:s, s:s}", "key", key, "effect", effect);
	char now[32];
	if (!strcmp(effect, "NoExecute"))
		json_put_str(t, "timeAdded", time_format_s(now_s, now));
	json_array_append_new(json_need_array(spec, "taints"), t);
	return true;
}

bool node_taints_update(json_t *node, int64_t now_s)
{
	static const struct {
		const char *condition, *key;
	} pressures[] = {
		{"MemoryPressure", "node.kubernetes.io/memory-pressure"},
		{"DiskPressure", "node.kubernetes.io/disk-pressure"},
		{"PIDPressure", "node.kubernetes.io/pid-pressure"},
		{"NetworkUnavailable", "node.kubernetes.io/network-unavailable"},
	};
	const char *ready = condition(node, "Ready");
	bool not_ready = !strcmp(ready, "False"), unreachable = !strcmp(ready, "Unknown");
	bool changed = false;
	/* One that has not said yet how it is keeps what it was given when it registered. */
	if (*ready)
		changed |= set_taint(node, NOT_READY, "NoSchedule", not_ready, now_s);
	changed |= set_taint(node, NOT_READY, "NoExecute", not_ready, now_s);
	changed |= set_taint(node, UNREACHABLE, "NoSchedule", unreachable, now_s);
	changed |= set_taint(node, UNREACHABLE, "NoExecute", unreachable, now_s);
	for (size_t i = 0; i < ARRAY_LEN(pressures); i++)
		changed |= set_taint(node, pressures[i].key, "NoSchedule",
				     !strcmp(condition(node, pressures[i].condition), "True"), now_s);
	bool cordoned = json_get_bool(json_object_get(node, "spec"), "unschedulable", false);
	changed |= set_taint(node, "node.kubernetes.io/unschedulable", "NoSchedule", cordoned, now_s);
	return changed;
}

static bool tolerates(const struct pod_toleration *t, const char *key, const char *value, const char *effect)
{
	if (*t->effect && strcmp(t->effect, effect) != 0)
		return false;
	if (!*t->key)
		return !strcmp(t->op, "Exists");
	if (strcmp(t->key, key) != 0)
		return false;
	return !strcmp(t->op, "Exists") || !strcmp(t->value, value);
}

/* Seconds this taint is put up with: INT64_MAX for ever. */
static int64_t tolerated_s(const struct pod_info *pod, const json_t *taint, int64_t default_s)
{
	const char *key = json_get_str(taint, "key", ""), *value = json_get_str(taint, "value", "");
	bool any = false;
	int64_t least = INT64_MAX;
	for (unsigned i = 0; i < pod->n_tolerations; i++) {
		if (!tolerates(&pod->tolerations[i], key, value, "NoExecute"))
			continue;
		any = true;
		if (pod->tolerations[i].seconds >= 0)
			least = MIN(least, pod->tolerations[i].seconds);
	}
	if (any)
		return least;
	/* As if admission (DefaultTolerationSeconds) had given it the usual ones. */
	return !strcmp(key, NOT_READY) || !strcmp(key, UNREACHABLE) ? default_s : 0;
}

int64_t node_taints_eviction_s(const json_t *node, const struct pod_info *pod, int64_t default_s)
{
	int64_t soonest = INT64_MAX;
	size_t i;
	json_t *t;
	json_array_foreach(json_path(node, "spec", "taints", NULL), i, t)
	{
		if (strcmp(json_get_str(t, "effect", ""), "NoExecute") != 0)
			continue;
		int64_t s = tolerated_s(pod, t, default_s);
		if (s == INT64_MAX)
			continue;
		int64_t due = s == 0 ? 0 : json_time_s(t, "timeAdded") + s;
		soonest = MIN(soonest, due);
	}
	return soonest;
}
