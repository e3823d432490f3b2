/* PodTopologySpread: as many pods of a kind in each value of a node's label, within maxSkew. Hard constraints filter, soft
 * ones score. Source: kubernetes, pkg/scheduler/framework/plugins/podtopologyspread. */
#include <math.h>

#include "scheduler/cache.h"

#define HOSTNAME "kubernetes.io/hostname"
#define IGNORED  INT64_MIN /* the score of a node that lacks a label of the constraints */

/* One constraint, and how many pods it means in each domain. */
struct part {
	const struct sched_spread *rule;
	struct map domains; /* "key\nvalue" -> pods */
	int64_t least;      /* of all domains */
	double weight;      /* when scoring: more for a key of more domains */
};
struct spread {
	const struct sched_pod *pod;
	struct part *parts;
	unsigned n;
};

static const char *value_of(const struct sched_node *node, const struct sched_spread *rule)
{
	return json_get_str(node->labels, rule->topology_key, NULL);
}

static bool has_all(const struct spread *s, const struct sched_node *node)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!value_of(node, s->parts[i].rule))
			return false;
	return true;
}

/* A node the pod could not go to anyway is no part of the balance, if the constraint says so. */
static bool counts(const struct sched_spread *rule, const struct sched_pod *pod, const struct sched_node *node)
{
	struct sched_verdict v;
	v.n = 0;
	if (rule->honor_affinity)
		sched_node_affinity.filter(NULL, pod, node, &v);
	if (rule->honor_taints)
		sched_taint_toleration.filter(NULL, pod, node, &v);
	return v.n == 0;
}

static int64_t count_pods(const struct sched_spread *rule, const struct sched_pod *pod, const struct sched_node *node)
{
	int64_t n = 0;
	LIST_EACH ((struct list *)(uintptr_t)&node->pods, p, struct cache_pod, list)
		n += !p->deleting && !strcmp(p->ns, pod->ns) && selector_matches(rule->selector, p->labels);
	return n;
}

static struct spread *make(const struct sched_pod *pod, bool hard)
{
	unsigned n = 0;
	for (unsigned i = 0; i < pod->n_spread; i++)
		n += pod->spread[i].hard == hard;
	if (!n)
		return NULL;
	struct spread *s = NEW(struct spread);
	*s = (struct spread){.pod = pod, .parts = NEW_N(struct part, n)};
	for (unsigned i = 0; i < pod->n_spread; i++)
		if (pod->spread[i].hard == hard)
			s->parts[s->n++].rule = &pod->spread[i];
	return s;
}

static void release(void *state)
{
	struct spread *s = state;
	for (unsigned i = 0; i < s->n; i++)
		map_done(&s->parts[i].domains);
	free(s->parts);
	free(s);
}

/* ---- filter ---- */

static struct spread *prepare_filter(const struct cache *c, const struct sched_pod *pod)
{
	struct spread *s = make(pod, true);
	for (size_t k = 0; s && k < c->n_sorted; k++) {
		const struct sched_node *node = c->sorted[k];
		for (unsigned i = 0; has_all(s, node) && i < s->n; i++) {
			const struct sched_spread *rule = s->parts[i].rule;
			if (counts(rule, pod, node))
				sched_pairs_add(&s->parts[i].domains, rule->topology_key, value_of(node, rule),
						count_pods(rule, pod, node));
		}
	}
	for (unsigned i = 0; s && i < s->n; i++) {
		struct part *p = &s->parts[i];
		p->least = INT64_MAX;
		MAP_EACH (&p->domains, e)
			p->least = MIN(p->least, (int64_t)(intptr_t)e->value);
		if (p->domains.count < p->rule->min_domains || p->domains.count == 0)
			p->least = 0;
	}
	return s;
}

static void filter(const void *state, const struct sched_pod *pod, const struct sched_node *node,
		   struct sched_verdict *v)
{
	const struct spread *s = state;
	for (unsigned i = 0; i < s->n; i++) {
		const struct part *p = &s->parts[i];
		const char *value = value_of(node, p->rule);
		int64_t n;
		if (!value) {
			sched_refuse(v,
				     "node(s) didn't match pod topology spread constraints (missing required label)");
			return;
		}
		(void)sched_pairs_get(&p->domains, p->rule->topology_key, value, &n);
		if (n + selector_matches(p->rule->selector, pod->labels) - p->least > p->rule->max_skew) {
			sched_refuse(v, "node(s) didn't match pod topology spread constraints");
			return;
		}
	}
}

/* ---- score ---- */

/* The domains are those of the nodes that will do; their pods are counted on all nodes. */
static struct spread *prepare_score(const struct cache *c, const struct sched_pod *pod, struct sched_node *const *fit,
				    size_t n)
{
	struct spread *s = make(pod, false);
	size_t whole = 0;
	for (size_t k = 0; s && k < n; k++) {
		whole += has_all(s, fit[k]);
		for (unsigned i = 0; has_all(s, fit[k]) && i < s->n; i++)
			sched_pairs_add(&s->parts[i].domains, s->parts[i].rule->topology_key,
					value_of(fit[k], s->parts[i].rule), 0);
	}
	for (unsigned i = 0; s && i < s->n; i++) {
		struct part *p = &s->parts[i];
		bool hosts = streq(p->rule->topology_key, HOSTNAME);
		p->weight = log((double)(hosts ? whole : p->domains.count) + 2);
		for (size_t k = 0; k < c->n_sorted; k++) {
			const struct sched_node *node = c->sorted[k];
			int64_t have;
			if (has_all(s, node) && counts(p->rule, pod, node) &&
			    sched_pairs_get(&p->domains, p->rule->topology_key, value_of(node, p->rule), &have))
				sched_pairs_add(&p->domains, p->rule->topology_key, value_of(node, p->rule),
						count_pods(p->rule, pod, node));
		}
	}
	return s;
}

static int64_t score(const void *state, const struct sched_pod *pod, const struct sched_node *node)
{
	const struct spread *s = state;
	double sum = 0;
	(void)pod;
	if (!has_all(s, node))
		return IGNORED;
	for (unsigned i = 0; i < s->n; i++) {
		const struct part *p = &s->parts[i];
		int64_t n;
		(void)sched_pairs_get(&p->domains, p->rule->topology_key, value_of(node, p->rule), &n);
		sum += (double)n * p->weight + (double)(p->rule->max_skew - 1);
	}
	return (int64_t)round(sum);
}

static void fewest_best(int64_t *scores, size_t n)
{
	int64_t least = INT64_MAX, most = 0;
	for (size_t i = 0; i < n; i++) {
		if (scores[i] == IGNORED)
			continue;
		least = MIN(least, scores[i]);
		most = MAX(most, scores[i]);
	}
	for (size_t i = 0; i < n; i++)
		scores[i] = scores[i] == IGNORED ? 0
			    : most == 0          ? SCHED_SCORE_MAX
						 : SCHED_SCORE_MAX * (most + least - scores[i]) / most;
}

static void *prepare(const struct cache *c, const struct sched_pod *pod, struct sched_node *const *fit, size_t n)
{
	return fit ? prepare_score(c, pod, fit, n) : prepare_filter(c, pod);
}

const struct sched_plugin sched_topology_spread = {.name = "PodTopologySpread",
						   .weight = 2,
						   .prepare = prepare,
						   .release = release,
						   .filter = filter,
						   .score = score,
						   .normalize = fewest_best};
