/* What a Service stands for right now: its pods with their addresses, readiness and resolved ports. Shared by the
 * Endpoints and the EndpointSlice controller. Private to controllers/. */
#ifndef MINI_CONTROLLERS_TARGETS_H
#define MINI_CONTROLLERS_TARGETS_H

#include "controllers/internal.h"

struct service_info {
	struct selector *selector; /* NULL: none, its endpoints are somebody else's */
	bool external_name;
};
void *service_info_make(struct object *obj, const json_t *tree);
void service_info_drop(void *info);

struct target {
	struct object *pod; /* borrowed from the copy */
	struct pod_info *info;
	json_t *ports;   /* [{name, port, protocol, appProtocol}], resolved for this pod */
	char *ports_key; /* equal for equal ports */
	bool ready, serving, terminating;
};
struct targets {
	struct target *v; /* by pod name */
	size_t n;
	bool headless, publish_not_ready;
};
/* All pods with an address that the service selects, those being deleted included. */
void targets_find(struct controllers *c, struct object *service, const json_t *tree, struct targets *ret);
void targets_done(struct targets *t);
/* {kind: Pod, namespace, name, uid}. New reference. */
json_t *target_ref(const struct target *t);
/* The hostname under which DNS knows the pod, or "". */
const char *target_hostname(const struct target *t, const char *service);

/* Queue every service (of `queue`) that a pod's change may concern. */
void targets_on_pod(struct controllers *c, struct reconciler *queue, struct informer *pods, struct object *old_obj,
		    struct object *new_obj);
/* The Service's labels for its endpoints, with the headless mark. New reference. */
json_t *targets_labels(const struct targets *t, const json_t *service_tree);

/* Ports of a slice with their members in one order and form, whatever the server made of zero values, so that equal
 * ports compare equal. New reference. */
json_t *ports_normal(const json_t *ports);

#endif
