/* Rules of pods about other pods: affinity terms and topology spread constraints, read once per version of a pod, and what
 * judging them takes. Terms are shared with the cache, which outlives the pod. */
#ifndef MINI_SCHEDULER_TERMS_H
#define MINI_SCHEDULER_TERMS_H

#include "lib/api/selector.h"
#include "lib/core/map.h"

enum term_kind { TERM_NEAR, TERM_APART, TERM_RATHER_NEAR, TERM_RATHER_APART, TERM_KINDS };

struct sched_term {
	struct selector *selector;
	json_t *namespaces;           /* names; array */
	struct selector *ns_selector; /* of further namespaces, by their labels */
	bool has_ns_selector;
	char *topology_key;
	int64_t weight; /* of the last two kinds */
};
struct sched_terms {
	unsigned refs;
	struct sched_term *v[TERM_KINDS];
	unsigned n[TERM_KINDS];
};

struct sched_spread {
	struct selector *selector;
	char *topology_key;
	int64_t max_skew, min_domains;
	bool hard;
	bool honor_affinity, honor_taints; /* nodes that the pod cannot go to for these are not counted */
};

/* NULL when the pod has none. *ret_problem: set when one can't be read. labels: the pod's own. */
struct sched_terms *sched_terms_make(const json_t *spec, const char *ns, const json_t *labels,
				     const char **ret_problem);
struct sched_terms *sched_terms_ref(struct sched_terms *t); /* NULL too */
void sched_terms_unref(struct sched_terms *t);

struct sched_spread *sched_spread_make(const json_t *spec, const json_t *labels, unsigned *ret_n,
				       const char **ret_problem);
void sched_spread_free(struct sched_spread *v, unsigned n);

struct cache;
/* A pod of this namespace with these labels is one the term means. */
bool sched_term_matches(const struct sched_term *t, const struct cache *c, const char *ns, const json_t *labels);

/* Counts by (topology key, value). */
void sched_pairs_add(struct map *m, const char *key, const char *value, int64_t n);
/* False: nothing was ever added there. */
bool sched_pairs_get(const struct map *m, const char *key, const char *value, int64_t *ret);

#endif
