/* The plugins of one thought each; resources and node affinity have files of their own. */
#include <stdarg.h>

#include "scheduler/plugin.h"

void sched_refuse(struct sched_verdict *v, const char *fmt, ...)
{
	if (v->n == SCHED_REASONS_MAX)
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(v->reasons[v->n++], sizeof(v->reasons[0]), fmt, ap);
	va_end(ap);
}

void sched_normalize(int64_t *scores, size_t n, bool reverse)
{
	int64_t most = 0;
	for (size_t i = 0; i < n; i++)
		most = MAX(most, scores[i]);
	for (size_t i = 0; i < n; i++) {
		int64_t s = most ? scores[i] * SCHED_SCORE_MAX / most : 0;
		scores[i] = reverse ? SCHED_SCORE_MAX - s : s;
	}
}

/* ---- NodeUnschedulable ---- */

static void filter_unschedulable(const void *state, const struct sched_pod *pod, const struct sched_node *node,
				 struct sched_verdict *v)
{
	(void)state;
	if (node->unschedulable && !sched_tolerates(pod, "node.kubernetes.io/unschedulable", "", "NoSchedule"))
		sched_refuse(v, "node(s) were unschedulable");
}

static const struct sched_plugin node_unschedulable = {.name = "NodeUnschedulable", .filter = filter_unschedulable};

/* ---- NodeName ---- */

static void filter_name(const void *state, const struct sched_pod *pod, const struct sched_node *node,
			struct sched_verdict *v)
{
	(void)state;
	if (*pod->node && strcmp(pod->node, node->name) != 0)
		sched_refuse(v, "node(s) didn't match the requested node name");
}

static const struct sched_plugin node_name = {.name = "NodeName", .filter = filter_name};

/* ---- TaintToleration ---- */

bool sched_tolerates(const struct sched_pod *pod, const char *key, const char *value, const char *effect)
{
	for (unsigned i = 0; i < pod->n_tolerations; i++) {
		const struct sched_toleration *t = &pod->tolerations[i];
		bool exists = !strcmp(t->op, "Exists");
		if (*t->effect && strcmp(t->effect, effect) != 0)
			continue;
		if (*t->key ? strcmp(t->key, key) != 0 : !exists)
			continue;
		if (exists || !strcmp(t->value, value))
			return true;
	}
	return false;
}

static void filter_taints(const void *state, const struct sched_pod *pod, const struct sched_node *node,
			  struct sched_verdict *v)
{
	(void)state;
	for (unsigned i = 0; i < node->n_taints; i++) {
		const struct sched_taint *t = &node->taints[i];
		bool hard = !strcmp(t->effect, "NoSchedule") || !strcmp(t->effect, "NoExecute");
		if (hard && !sched_tolerates(pod, t->key, t->value, t->effect)) {
			sched_refuse(v, "node(s) had untolerated taint {%s: %s}", t->key, t->value);
			return;
		}
	}
}

static int64_t score_taints(const void *state, const struct sched_pod *pod, const struct sched_node *node)
{
	(void)state;
	int64_t n = 0;
	for (unsigned i = 0; i < node->n_taints; i++)
		n += !strcmp(node->taints[i].effect, "PreferNoSchedule") &&
		     !sched_tolerates(pod, node->taints[i].key, node->taints[i].value, node->taints[i].effect);
	return n;
}

static void fewest_best(int64_t *scores, size_t n)
{
	sched_normalize(scores, n, true);
}

const struct sched_plugin sched_taint_toleration = {.name = "TaintToleration",
						    .weight = 3,
						    .filter = filter_taints,
						    .score = score_taints,
						    .normalize = fewest_best};

/* ---- NodePorts ---- */

static bool ports_clash(const struct sched_port *a, const struct sched_port *b)
{
	if (a->port != b->port || strcmp(a->protocol, b->protocol) != 0)
		return false;
	return !strcmp(a->ip, "0.0.0.0") || !strcmp(b->ip, "0.0.0.0") || !strcmp(a->ip, b->ip);
}

static void filter_ports(const void *state, const struct sched_pod *pod, const struct sched_node *node,
			 struct sched_verdict *v)
{
	(void)state;
	for (unsigned i = 0; i < pod->n_ports; i++)
		for (unsigned j = 0; j < node->n_ports; j++)
			if (ports_clash(&pod->ports[i], &node->ports[j])) {
				sched_refuse(v, "node(s) didn't have free ports for the requested pod ports");
				return;
			}
}

static const struct sched_plugin node_ports = {.name = "NodePorts", .filter = filter_ports};

const struct sched_plugin *const sched_plugins[] = {
	&node_unschedulable,
	&node_name,
	&sched_taint_toleration,
	&sched_node_affinity,
	&node_ports,
	&sched_resources_fit,
	&sched_topology_spread,
	&sched_pod_affinity,
	&sched_balanced_allocation,
	NULL,
};
