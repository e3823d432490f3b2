/* Taints that speak of a node's health, and how long a pod puts up with them. Pure; private to controllers/. */
#ifndef MINI_CONTROLLERS_NODELIFECYCLE_H
#define MINI_CONTROLLERS_NODELIFECYCLE_H

#include "controllers/internal.h"

/* Bring spec.taints of a node tree in line with its conditions and spec.unschedulable. True: something changed. */
bool node_taints_update(json_t *node, int64_t now_s);
/* When (wall clock, seconds) this pod must leave a node with these taints: INT64_MAX never, 0 at once. */
int64_t node_taints_eviction_s(const json_t *node, const struct pod_info *pod, int64_t default_s);

#endif
