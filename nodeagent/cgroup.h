/* A pod's own control group, above those of its containers: made by the agent, with the sum of their limits. */
#ifndef MINI_NODEAGENT_CGROUP_H
#define MINI_NODEAGENT_CGROUP_H

#include "nodeagent/runtime.h"

/* Idempotent: a group that exists gets the limits. Short: no more than writes to kernel files. */
int cgroup_pod_create(const char *path, const struct runtime_resources *limits, struct err *err);
/* With everything below it; what still runs there is killed. Absent: 0. */
int cgroup_pod_remove(const char *path, struct err *err);

#endif
