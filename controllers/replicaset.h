/* Which pods of a ReplicaSet go first when there are too many. Source: upstream's ActivePodsWithRanks. */
#ifndef MINI_CONTROLLERS_REPLICASET_H
#define MINI_CONTROLLERS_REPLICASET_H

#include "controllers/internal.h"

struct rs_rank {
	struct object *pod;
	struct pod_info *info;
	int on_node; /* related pods on the same node */
};
/* First: the one to delete first. */
void rs_rank_sort(struct rs_rank *v, size_t n, int64_t now_s);

#endif
