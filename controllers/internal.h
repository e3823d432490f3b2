/* What every controller of this folder shares: one client, one set of informers, one recorder; small facts about pods
 * and ReplicaSets extracted once per version, so that hot paths read structs, not trees. Private to controllers/. */
#ifndef MINI_CONTROLLERS_INTERNAL_H
#define MINI_CONTROLLERS_INTERNAL_H

#include <errno.h>

#include "controllers/controllers.h"
#include "lib/api/selector.h"
#include "lib/client/leader.h"
#include "lib/client/reconciler.h"

/* A controller embeds this first. */
struct controller {
	struct controllers *all;
	struct reconciler *queue;
	void (*free)(struct controller *);
	/* Beside the queue: timers to start and stop with leadership. May be NULL. */
	void (*run)(struct controller *, bool on);
};

#define CONTROLLERS_MAX 16

struct controllers {
	uint32_t magic;
	struct client *client;
	struct env *env;
	struct informer_set *informers;
	struct leader *leader;
	char *cluster_cidr, *ca_pem, *identity;
	unsigned node_monitor_grace_s, eviction_toleration_s;
	bool running;
	struct controller *list[CONTROLLERS_MAX];
	unsigned n;
	/* shared informers */
	struct informer *pods, *replicasets, *deployments, *services, *nodes, *namespaces;
};

struct controller *deployment_controller_new(struct controllers *c);
struct controller *replicaset_controller_new(struct controllers *c);
struct controller *endpoints_controller_new(struct controllers *c);
struct controller *endpointslice_controller_new(struct controllers *c);
struct controller *endpointslicemirroring_controller_new(struct controllers *c);
struct controller *namespace_controller_new(struct controllers *c);
struct controller *gc_controller_new(struct controllers *c);
struct controller *nodelifecycle_controller_new(struct controllers *c);
struct controller *nodeipam_controller_new(struct controllers *c);
struct controller *podgc_controller_new(struct controllers *c);
struct controller *serviceaccount_controller_new(struct controllers *c);
struct controller *rootca_controller_new(struct controllers *c);
struct controller *tokencleaner_controller_new(struct controllers *c);
struct controller *clusterroleaggregation_controller_new(struct controllers *c);

/* Queue the object a handler was told of. */
void controller_enqueue(void *arg /* struct controller */, struct informer *inf, struct object *old_obj,
			struct object *new_obj);
/* "ns/name" split in place of a copy: ns points into buf. */
void key_split(const char *key, char *buf, size_t size, const char **ret_ns, const char **ret_name);
/* A request about an existing object. */
struct client_request request_for(enum client_verb verb, struct object *obj);
bool labels_equal(const json_t *a, const json_t *b);
int64_t json_time_s(const json_t *obj, const char *key); /* 0 when missing or bad */

/* ---- pods ---- */

enum pod_phase { POD_PENDING, POD_UNKNOWN, POD_RUNNING, POD_SUCCEEDED, POD_FAILED };

struct pod_port {
	char *name, *protocol;
	int port;
};
struct pod_toleration {
	char *key, *op, *value, *effect; /* "" when absent */
	int64_t seconds;                 /* -1: for ever */
};

struct pod_info {
	enum pod_phase phase;
	bool ready, deleting, host_network, ready_known;
	int64_t created_s, ready_since_s, deletion_s, deletion_grace_s;
	int restarts; /* of the container with most */
	int deletion_cost;
	char *node, *ip, *hostname, *subdomain;
	char *owner_uid, *owner_kind, *owner_name; /* of the controller; "" if none */
	json_t *labels;                            /* shared, never changed; may be NULL */
	struct pod_port *ports;
	unsigned n_ports;
	struct pod_toleration *tolerations;
	unsigned n_tolerations;
};

static inline bool pod_active(const struct pod_info *p)
{
	return p->phase != POD_SUCCEEDED && p->phase != POD_FAILED && !p->deleting;
}
/* Ready for min_ready_s; *ret_wait_s, if not NULL, gets the seconds until it will be (0: unknown or already). */
bool pod_available(const struct pod_info *p, int64_t min_ready_s, int64_t now_s, int64_t *ret_wait_s);
void *pod_info_make(struct object *obj, const json_t *tree);
void pod_info_drop(void *info);
static inline struct pod_info *pod_info(const struct controllers *c, struct object *pod)
{
	return informer_extract(c->pods, pod);
}
/* Index names of c->pods. */
#define PODS_BY_OWNER   "owner"
#define PODS_BY_NODE    "node"
#define PODS_BY_ORPHANS "orphans" /* by namespace: those without a controller */

/* ---- ReplicaSets ---- */

struct rs_info {
	struct selector *selector;
	json_t *labels;
	char *owner_uid, *owner_kind, *owner_name;
	bool deleting;
};
void *rs_info_make(struct object *obj, const json_t *tree);
void rs_info_drop(void *info);

#endif
