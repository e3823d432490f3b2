/* A controller that keeps one object of a fixed name and content in every living namespace. Private to controllers/. */
#ifndef MINI_CONTROLLERS_PERNS_H
#define MINI_CONTROLLERS_PERNS_H

#include "controllers/internal.h"

struct perns_config {
	const char *queue;       /* name of the work queue */
	const char *kind, *name; /* core/v1 */
	/* The member that must be as `value` says; NULL: being there is enough. */
	const char *member;
	json_t *value; /* taken */
};
struct controller *perns_new(struct controllers *all, const struct perns_config *config);

#endif
