/* What a scheduling plugin sees and says: a pod and a node in, a verdict or a score out. Pure functions.
 *
 * What takes a look at the whole cluster is counted once a decision (prepare). Names, weights and reasons are upstream's, so that events read the same. A decision runs over the cache without
 * yielding: one loop, so the cache is its own snapshot.
 */
#ifndef MINI_SCHEDULER_PLUGIN_H
#define MINI_SCHEDULER_PLUGIN_H

#include "lib/api/object.h"
#include "lib/core/list.h"
#include "scheduler/terms.h"

#define SCHED_SCORE_MAX    100
#define SCHED_EXTENDED_MAX 16 /* extended resources of one pod or node that are kept */

struct sched_extended {
	char *name;
	int64_t value;
};
struct sched_resources {
	int64_t cpu_milli, memory, storage, pods;
	struct sched_extended extended[SCHED_EXTENDED_MAX];
	unsigned n_extended;
};

struct sched_toleration {
	char *key, *op, *value, *effect;
};
struct sched_port {
	char *ip, *protocol; /* ip "0.0.0.0": all */
	int port;
};

/* What is known of a pod, extracted once per version. */
struct sched_pod {
	char *node; /* "" while unbound */
	int32_t priority;
	bool ours, gated, deleting, finished;
	const char
		*unsupported; /* a hard rule that no plugin here can judge; NULL: none. Better not run than run wrong */
	struct sched_resources requests;
	/* for scores, where a pod that asks for nothing still counts for something */
	int64_t score_cpu_milli, score_memory;
	char *ns;
	json_t *labels; /* NULL when absent, as all three */
	json_t *node_selector, *node_affinity;
	struct sched_terms *terms; /* about other pods */
	struct sched_spread *spread;
	unsigned n_spread;
	struct sched_toleration *tolerations;
	unsigned n_tolerations;
	struct sched_port *ports;
	unsigned n_ports;
};
void *sched_pod_make(struct object *obj, const json_t *tree);
void sched_pod_drop(void *pod);

struct sched_taint {
	char *key, *value, *effect;
};

struct sched_node {
	char *name;
	bool known; /* false: pods name it, the API does not (yet) */
	bool unschedulable;
	json_t *labels;
	struct sched_taint *taints;
	unsigned n_taints;
	struct sched_resources allocatable, requested;
	int64_t score_cpu_milli, score_memory; /* of its pods */
	struct sched_port *ports;              /* taken */
	unsigned n_ports, cap_ports;
	struct list pods;      /* cache_pod */
	unsigned n_with_terms; /* of them */
};

/* Why a node was turned down; a plugin may give several reasons. */
#define SCHED_REASONS_MAX 8
struct sched_verdict {
	char reasons[SCHED_REASONS_MAX][160];
	unsigned n;
};
void sched_refuse(struct sched_verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct sched_plugin {
	const char *name;
	int weight; /* of its score */
	/* What filter needs to know of all nodes (fit NULL), then what score does (fit: the nodes that will do). NULL: the
	 * plugin has nothing to say of this pod. A plugin without prepare is always asked, with a NULL state. */
	void *(*prepare)(const struct cache *c, const struct sched_pod *pod, struct sched_node *const *fit, size_t n);
	void (*release)(void *state);
	/* Adds reasons when the node will not do. NULL: no opinion. */
	void (*filter)(const void *state, const struct sched_pod *pod, const struct sched_node *node,
		       struct sched_verdict *v);
	/* Any number, larger is better; brought to 0..100 by normalize (NULL: it is already). */
	int64_t (*score)(const void *state, const struct sched_pod *pod, const struct sched_node *node);
	void (*normalize)(int64_t *scores, size_t n);
};
#define SCHED_PLUGINS_MAX 16
/* In the order of filtering: cheap and often decisive first. NULL-terminated. */
extern const struct sched_plugin *const sched_plugins[];

/* Scale so that the largest becomes 100 (reverse: 0). */
void sched_normalize(int64_t *scores, size_t n, bool reverse);
bool sched_tolerates(const struct sched_pod *pod, const char *key, const char *value, const char *effect);
int64_t sched_extended_get(const struct sched_resources *r, const char *name);

extern const struct sched_plugin sched_taint_toleration, sched_topology_spread, sched_pod_affinity;
extern const struct sched_plugin sched_node_affinity, sched_resources_fit, sched_balanced_allocation;
void sched__resources_read(struct sched_resources *r, const json_t *list);
void sched__resources_done(struct sched_resources *r);

#endif
