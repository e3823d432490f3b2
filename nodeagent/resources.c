/* Requests and limits: the pod's sums, and what they mean for cgroups. Source: upstream's resource docs. */
#include "lib/api/quantity.h"
#include "nodeagent/pod.h"

#define CPU_PERIOD_US 100000

static const char *quantity_text(const json_t *q, char buf[32])
{
	if (json_is_integer(q)) {
		snprintf(buf, 32, "%lld", (long long)json_integer_value(q));
		return buf;
	}
	return json_string_value(q);
}

int64_t container_resource(const json_t *cspec, const char *which, const char *resource)
{
	char text[32];
	const char *s = quantity_text(json_path(cspec, "resources", which, resource, NULL), text);
	if (!s)
		return -1;
	return streq(resource, "cpu") ? quantity_milli_of(s, -1) : quantity_value_of(s, -1);
}

/* What counts as requested: the limit stands in for a request that is not given (the server defaults it too). */
static int64_t request_of(const json_t *cspec, const char *resource)
{
	int64_t v = container_resource(cspec, "requests", resource);
	if (v < 0)
		v = container_resource(cspec, "limits", resource);
	return MAX(v, 0);
}

static bool is_sidecar(const json_t *cspec)
{
	return streq(json_get_str(cspec, "restartPolicy", ""), "Always");
}

int64_t pod_request(const json_t *pod_tree, const char *resource)
{
	int64_t sum = 0, sidecars = 0, init_peak = 0;
	size_t i;
	json_t *c;
	json_array_foreach(json_path(pod_tree, "spec", "containers", NULL), i, c) sum += request_of(c, resource);
	json_array_foreach(json_path(pod_tree, "spec", "initContainers", NULL), i, c)
	{
		int64_t r = request_of(c, resource);
		if (is_sidecar(c)) {
			sidecars += r;
			init_peak = MAX(init_peak, sidecars);
		} else {
			init_peak = MAX(init_peak, sidecars + r);
		}
	}
	char text[32];
	const char *over = quantity_text(json_path(pod_tree, "spec", "overhead", resource, NULL), text);
	int64_t overhead = 0;
	if (over)
		overhead = streq(resource, "cpu") ? quantity_milli_of(over, 0) : quantity_value_of(over, 0);
	return MAX(sum + sidecars, init_peak) + overhead;
}

static int64_t shares_of(int64_t milli)
{
	return MIN(MAX(milli * 1024 / 1000, 2), 262144);
}

static int64_t quota_of(int64_t milli)
{
	return milli > 0 ? MAX(milli * CPU_PERIOD_US / 1000, 1000) : 0;
}

/* A limit on the pod only when every container has one. */
static int64_t pod_limit(const json_t *pod_tree, const char *resource)
{
	int64_t sum = 0, init_peak = 0;
	size_t i;
	json_t *c;
	json_array_foreach(json_path(pod_tree, "spec", "containers", NULL), i, c)
	{
		int64_t v = container_resource(c, "limits", resource);
		if (v <= 0)
			return 0;
		sum += v;
	}
	json_array_foreach(json_path(pod_tree, "spec", "initContainers", NULL), i, c)
	{
		int64_t v = container_resource(c, "limits", resource);
		if (v <= 0)
			return 0;
		if (is_sidecar(c))
			sum += v;
		else
			init_peak = MAX(init_peak, v);
	}
	return MAX(sum, init_peak);
}

void pod_cgroup_limits(const json_t *pod_tree, struct runtime_resources *ret)
{
	*ret = (struct runtime_resources){.cpu_shares = shares_of(pod_request(pod_tree, "cpu"))};
	ret->cpu_quota_us = quota_of(pod_limit(pod_tree, "cpu"));
	ret->cpu_period_us = ret->cpu_quota_us ? CPU_PERIOD_US : 0;
	ret->memory_limit_bytes = pod_limit(pod_tree, "memory");
}

static int oom_score(struct nodeagent *n, const json_t *cspec, const char *qos)
{
	if (streq(qos, "Guaranteed"))
		return -997;
	if (streq(qos, "BestEffort"))
		return 1000;
	int64_t request = request_of(cspec, "memory");
	int64_t score = n->memory_bytes > 0 ? 1000 - (1000 * (request / 1024)) / MAX(n->memory_bytes / 1024, 1) : 1000;
	return (int)MIN(MAX(score, 3), 999);
}

void container_resources(struct nodeagent *n, const json_t *pod_tree, const json_t *cspec, const char *qos,
			 struct runtime_resources *ret)
{
	(void)pod_tree;
	*ret = (struct runtime_resources){.cpu_shares = shares_of(request_of(cspec, "cpu"))};
	ret->cpu_quota_us = quota_of(container_resource(cspec, "limits", "cpu"));
	ret->cpu_period_us = ret->cpu_quota_us ? CPU_PERIOD_US : 0;
	ret->memory_limit_bytes = MAX(container_resource(cspec, "limits", "memory"), 0);
	ret->memory_request_bytes = request_of(cspec, "memory");
	ret->oom_score_adj = oom_score(n, cspec, qos);
}
