/* InterPodAffinity: near to pods, apart from pods, in the same value of a node's label. Required terms of the pod and of
 * those that run filter; preferred ones of both, and required nearness of those that run, score.
 * Source: kubernetes, pkg/scheduler/framework/plugins/interpodaffinity. */
#include "scheduler/cache.h"

#define HARD_WEIGHT 1 /* of a running pod's required nearness, when scoring */

/* How many pods (or how much weight) there are for each pair of topology key and value. */
struct near {
	const struct cache *cache;
	const struct sched_pod *pod;
	struct map pairs;    /* filter: that all near terms mean; score: weights */
	struct map apart;    /* that a term of the pod keeps apart from */
	struct map shunners; /* that want to be apart from the pod */
};

static const char *value_of(const struct sched_node *node, const char *key)
{
	return json_get_str(node->labels, key, NULL);
}

static bool means(const struct near *s, const struct sched_term *t, const struct cache_pod *p)
{
	return sched_term_matches(t, s->cache, p->ns, p->labels);
}

static bool means_us(const struct near *s, const struct sched_term *t)
{
	return sched_term_matches(t, s->cache, s->pod->ns, s->pod->labels);
}

static void count(struct map *m, const struct sched_term *t, const struct sched_node *node, int64_t n)
{
	const char *value = value_of(node, t->topology_key);
	if (value && n)
		sched_pairs_add(m, t->topology_key, value, n);
}

/* ---- filter ---- */

static void meet_for_filter(struct near *s, const struct sched_node *node, const struct cache_pod *p)
{
	const struct sched_terms *ours = s->pod->terms, *theirs = p->terms;
	bool all = ours && ours->n[TERM_NEAR];
	for (unsigned i = 0; theirs && i < theirs->n[TERM_APART]; i++)
		if (means_us(s, &theirs->v[TERM_APART][i]))
			count(&s->shunners, &theirs->v[TERM_APART][i], node, 1);
	for (unsigned i = 0; ours && i < ours->n[TERM_APART]; i++)
		if (means(s, &ours->v[TERM_APART][i], p))
			count(&s->apart, &ours->v[TERM_APART][i], node, 1);
	for (unsigned i = 0; all && i < ours->n[TERM_NEAR]; i++)
		all = means(s, &ours->v[TERM_NEAR][i], p);
	for (unsigned i = 0; all && i < ours->n[TERM_NEAR]; i++)
		count(&s->pairs, &ours->v[TERM_NEAR][i], node, 1);
}

/* The first of a group that wants to be together has nobody to go to. */
static bool is_first(const struct near *s)
{
	const struct sched_terms *t = s->pod->terms;
	bool own = s->pairs.count == 0;
	for (unsigned i = 0; own && i < t->n[TERM_NEAR]; i++)
		own = means_us(s, &t->v[TERM_NEAR][i]);
	return own;
}

static bool near_enough(const struct near *s, const struct sched_node *node)
{
	const struct sched_terms *t = s->pod->terms;
	bool there = true;
	for (unsigned i = 0; t && i < t->n[TERM_NEAR]; i++) {
		const char *key = t->v[TERM_NEAR][i].topology_key, *value = value_of(node, key);
		int64_t n;
		if (!value)
			return false;
		there = there && sched_pairs_get(&s->pairs, key, value, &n) && n > 0;
	}
	return there || is_first(s);
}

static bool is_apart(const struct near *s, const struct sched_node *node)
{
	const struct sched_terms *t = s->pod->terms;
	for (unsigned i = 0; t && i < t->n[TERM_APART]; i++) {
		const char *key = t->v[TERM_APART][i].topology_key, *value = value_of(node, key);
		int64_t n;
		if (value && sched_pairs_get(&s->apart, key, value, &n) && n > 0)
			return false;
	}
	return true;
}

static bool is_shunned(const struct near *s, const struct sched_node *node)
{
	MAP_EACH (&s->shunners, e) {
		size_t n = strcspn(e->key, "\n");
		char key[320];
		snprintf(key, sizeof(key), "%.*s", (int)n, e->key);
		if (streq(value_of(node, key), e->key + n + 1))
			return true;
	}
	return false;
}

static void filter(const void *state, const struct sched_pod *pod, const struct sched_node *node,
		   struct sched_verdict *v)
{
	const struct near *s = state;
	(void)pod;
	if (!near_enough(s, node))
		sched_refuse(v, "node(s) didn't match pod affinity rules");
	else if (!is_apart(s, node))
		sched_refuse(v, "node(s) didn't match pod anti-affinity rules");
	else if (is_shunned(s, node))
		sched_refuse(v, "node(s) didn't satisfy existing pods anti-affinity rules");
}

/* ---- score ---- */

static void meet_for_score(struct near *s, const struct sched_node *node, const struct cache_pod *p)
{
	static const int signs[TERM_KINDS] = {0, 0, 1, -1};
	for (enum term_kind k = 0; k < TERM_KINDS; k++) {
		const struct sched_terms *ours = s->pod->terms, *theirs = p->terms;
		for (unsigned i = 0; ours && signs[k] && i < ours->n[k]; i++)
			if (means(s, &ours->v[k][i], p))
				count(&s->pairs, &ours->v[k][i], node, signs[k] * ours->v[k][i].weight);
		for (unsigned i = 0; theirs && i < theirs->n[k]; i++)
			if (means_us(s, &theirs->v[k][i]))
				count(&s->pairs, &theirs->v[k][i], node,
				      k == TERM_NEAR ? HARD_WEIGHT : signs[k] * theirs->v[k][i].weight);
	}
}

static int64_t score(const void *state, const struct sched_pod *pod, const struct sched_node *node)
{
	const struct near *s = state;
	int64_t sum = 0;
	(void)pod;
	MAP_EACH (&s->pairs, e) {
		size_t n = strcspn(e->key, "\n");
		char key[320];
		snprintf(key, sizeof(key), "%.*s", (int)n, e->key);
		if (streq(value_of(node, key), e->key + n + 1))
			sum += (int64_t)(intptr_t)e->value;
	}
	return sum;
}

static void between_least_and_most(int64_t *scores, size_t n)
{
	int64_t least = INT64_MAX, most = INT64_MIN;
	for (size_t i = 0; i < n; i++) {
		least = MIN(least, scores[i]);
		most = MAX(most, scores[i]);
	}
	for (size_t i = 0; i < n; i++)
		scores[i] = most > least ? SCHED_SCORE_MAX * (scores[i] - least) / (most - least) : 0;
}

/* ---- both ---- */

/* Pods without rules need not be looked at by a pod without rules. */
static void *prepare(const struct cache *c, const struct sched_pod *pod, struct sched_node *const *fit, size_t n)
{
	(void)n;
	if (!pod->terms && !c->n_with_terms)
		return NULL;
	struct near *s = NEW(struct near);
	*s = (struct near){.cache = c, .pod = pod};
	for (size_t i = 0; i < c->n_sorted; i++) {
		struct sched_node *node = c->sorted[i];
		if (!pod->terms && !node->n_with_terms)
			continue;
		LIST_EACH (&node->pods, p, struct cache_pod, list)
			(fit ? meet_for_score : meet_for_filter)(s, node, p);
	}
	return s;
}

static void release(void *state)
{
	struct near *s = state;
	map_done(&s->pairs);
	map_done(&s->apart);
	map_done(&s->shunners);
	free(s);
}

const struct sched_plugin sched_pod_affinity = {.name = "InterPodAffinity",
						.weight = 2,
						.prepare = prepare,
						.release = release,
						.filter = filter,
						.score = score,
						.normalize = between_least_and_most};
