#include "tests/support/controllers/world.h"

int world_new(void **state, uint64_t seed, unsigned nodes)
{
	struct world *w = NEW(struct world);
	fake_cluster_init(&w->f, seed);
	w->f.kubelet = w->f.bind = true;
	fake_cluster_add_nodes(&w->f, nodes, "8", "16Gi");
	w->c = controllers_new(
		w->f.client,
		&(struct controllers_config){.cluster_cidr = "10.244.0.0/16", .ca_pem = "CA", .identity = "test"});
	controllers_start(w->c);
	*state = w;
	return 0;
}

int world_free(void **state)
{
	struct world *w = *state;
	controllers_free(w->c);
	fake_cluster_done(&w->f);
	free(w);
	return 0;
}
