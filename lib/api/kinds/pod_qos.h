/* The quality-of-service class of a pod, from its containers' requests and limits. Pure.
 * Source: kubernetes.io/docs/concepts/workloads/pods/pod-qos. */
#ifndef MINI_API_KINDS_POD_QOS_H
#define MINI_API_KINDS_POD_QOS_H

#include "lib/api/json.h"

/* "Guaranteed", "Burstable" or "BestEffort"; a constant. */
const char *pod_qos(const json_t *pod);

#endif
