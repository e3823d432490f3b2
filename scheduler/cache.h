/* The scheduler's view of nodes and what runs on them, kept by events; bindings under way are assumed to succeed. */
#ifndef MINI_SCHEDULER_CACHE_H
#define MINI_SCHEDULER_CACHE_H

#include "lib/core/map.h"
#include "scheduler/plugin.h"

/* What a pod takes from its node; kept apart from the pod, which may be gone when it is given back. */
struct cache_pod {
	struct list list; /* of its node */
	char *node, *ns;
	json_t *labels;
	struct sched_terms *terms;
	bool assumed, deleting;
	struct sched_resources requests;
	int64_t score_cpu_milli, score_memory;
	struct sched_port *ports;
	unsigned n_ports;
};

struct cache {
	struct map nodes;           /* sched_node by name */
	struct map pods;            /* cache_pod by uid */
	struct map namespaces;      /* labels by name; json_t */
	unsigned n_with_terms;      /* pods that have rules about other pods */
	struct sched_node **sorted; /* known ones, by name */
	size_t n_sorted, cap_sorted;
	size_t next; /* where the next search begins, so that all nodes get their turn */
};

void cache_done(struct cache *c);
/* True when the change can make a pod fit that did not. */
bool cache_set_node(struct cache *c, const char *name, const json_t *tree);
void cache_del_node(struct cache *c, const char *name);
/* The pod is on this node (assumed: we think it will be). Replaces what was known of it. */
void cache_set_pod(struct cache *c, const char *uid, const char *node, const struct sched_pod *pod, bool assumed);
/* True when it was there. */
bool cache_del_pod(struct cache *c, const char *uid);

/* labels NULL: it is gone. */
void cache_set_namespace(struct cache *c, const char *name, json_t *labels);

/* Choose a node. NULL: none will do, and *ret_why (may be NULL) says so as upstream's event does. random(arg, n): a
 * number below n, to choose among equals. *ret_looked: nodes looked at. */
struct sched_node *cache_choose(struct cache *c, const struct sched_pod *pod, uint64_t (*random)(void *arg, uint64_t n),
				void *arg, struct buf *ret_why, size_t *ret_looked);

#endif
