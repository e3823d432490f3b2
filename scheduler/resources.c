/* NodeResourcesFit (enough left; prefer the least allocated) and NodeResourcesBalancedAllocation. */
#include <math.h>

#include "scheduler/plugin.h"

static void filter_fit(const void *state, const struct sched_pod *pod, const struct sched_node *node,
		       struct sched_verdict *v)
{
	(void)state;
	const struct sched_resources *want = &pod->requests, *all = &node->allocatable, *used = &node->requested;
	if (used->pods + 1 > all->pods)
		sched_refuse(v, "Too many pods");
	if (want->cpu_milli && want->cpu_milli > all->cpu_milli - used->cpu_milli)
		sched_refuse(v, "Insufficient cpu");
	if (want->memory && want->memory > all->memory - used->memory)
		sched_refuse(v, "Insufficient memory");
	if (want->storage && want->storage > all->storage - used->storage)
		sched_refuse(v, "Insufficient ephemeral-storage");
	for (unsigned i = 0; i < want->n_extended; i++) {
		const struct sched_extended *e = &want->extended[i];
		if (e->value && e->value > sched_extended_get(all, e->name) - sched_extended_get(used, e->name))
			sched_refuse(v, "Insufficient %s", e->name);
	}
}

static int64_t free_percent(int64_t used, int64_t all)
{
	return all <= 0 || used > all ? 0 : (int64_t)((__int128)(all - used) * SCHED_SCORE_MAX / all);
}

static int64_t score_least(const void *state, const struct sched_pod *pod, const struct sched_node *node)
{
	(void)state;
	int64_t cpu = free_percent(node->score_cpu_milli + pod->score_cpu_milli, node->allocatable.cpu_milli);
	int64_t memory = free_percent(node->score_memory + pod->score_memory, node->allocatable.memory);
	return (cpu + memory) / 2;
}

static double fraction(int64_t used, int64_t all)
{
	double f = all > 0 ? (double)used / (double)all : 1;
	return f > 1 ? 1 : f;
}

/* The closer the parts of cpu and memory in use, the better: neither is left over without the other. */
static int64_t score_balanced(const void *state, const struct sched_pod *pod, const struct sched_node *node)
{
	(void)state;
	double cpu = fraction(node->requested.cpu_milli + pod->requests.cpu_milli, node->allocatable.cpu_milli);
	double memory = fraction(node->requested.memory + pod->requests.memory, node->allocatable.memory);
	return (int64_t)((1 - fabs(cpu - memory) / 2) * SCHED_SCORE_MAX);
}

const struct sched_plugin sched_resources_fit = {
	.name = "NodeResourcesFit", .weight = 1, .filter = filter_fit, .score = score_least};
const struct sched_plugin sched_balanced_allocation = {
	.name = "NodeResourcesBalancedAllocation", .weight = 1, .score = score_balanced};
