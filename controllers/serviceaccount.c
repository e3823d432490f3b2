/* The ServiceAccount "default" in every namespace. */
#include "controllers/perns.h"

struct controller *serviceaccount_controller_new(struct controllers *all)
{
	return perns_new(
		all, &(struct perns_config){.queue = "serviceaccount", .kind = "ServiceAccount", .name = "default"});
}
