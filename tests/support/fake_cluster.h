/* A simulated world for tests above the client: virtual time, an API in memory, and hollow nodes whose pods become
 * ready a while after they were bound. */
#ifndef MINI_TESTS_FAKE_CLUSTER_H
#define MINI_TESTS_FAKE_CLUSTER_H

#include "tests/support/fake_client.h"

#define SECOND 1000000ull
#define MINUTE (60 * SECOND)

struct fake_cluster {
	struct env *env;
	struct client *client;
	struct env_timer tick; /* the hollow nodes' */
	bool kubelet;          /* pods run: binds (when no scheduler does), readies, ends */
	bool bind;             /* unbound pods are put on node-0 */
	uint64_t ready_after_us;
	const char *broken_image; /* pods with it never get ready */
	const char *dead_node;    /* its pods stay as they are, its Lease is not renewed */
	unsigned nodes, ips;
};

void fake_cluster_init(struct fake_cluster *f, uint64_t seed);
void fake_cluster_done(struct fake_cluster *f);
void fake_cluster_add_nodes(struct fake_cluster *f, unsigned n, const char *cpu, const char *memory);
void fake_run(struct fake_cluster *f, uint64_t us);
/* Pods in `ns` that are ready (and not being deleted). */
size_t fake_ready_pods(struct fake_cluster *f, const char *ns);
/* String or number under a dotted path of an object, as text; "" when absent. Static buffer, overwritten. */
const char *fake_text(struct fake_cluster *f, const char *kind, const char *ns, const char *name, const char *path);
/* "status|reason" of a condition, "" when absent. Static buffer. */
const char *fake_condition(struct fake_cluster *f, const char *kind, const char *ns, const char *name,
			   const char *type);
/* Events with this reason whose message contains text. */
size_t fake_events(struct fake_cluster *f, const char *reason, const char *text);

#endif
