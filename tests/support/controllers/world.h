/* All controllers on a cluster of fake nodes whose pods are bound and become ready by themselves, in virtual time. */
#ifndef MINI_TESTS_CONTROLLERS_WORLD_H
#define MINI_TESTS_CONTROLLERS_WORLD_H

#include "controllers/controllers.h"
#include "tests/support/fake_cluster.h"

struct world {
	struct fake_cluster f;
	struct controllers *c;
};

/* For cmocka's setup: *state is a new world with this seed and so many nodes. */
int world_new(void **state, uint64_t seed, unsigned nodes);
/* cmocka's teardown. */
int world_free(void **state);

#endif
