/* What an idle day costs: a lone store with the heartbeats of ten nodes, a day of virtual time, bytes counted. */
#include <inttypes.h>

#include "tests/support/store/fixture.h"
#include "tests/support/tap.h"

#define NODES     10u
#define BEAT_US   10000000u /* upstream's: a node renews its Lease every 10 s */
#define LEASE_LEN 420u      /* bytes of one */
#define DAY_US    86400000000ull

struct node {
	struct env_timer timer;
	struct fixture *f;
	unsigned id;
	uint64_t beats, answered;
};

static void on_put(void *arg, const struct err *err, _unused_ const struct store_txn_resp *r)
{
	assert_null(err);
	((struct node *)arg)->answered++;
}

static void beat(struct env_timer *t)
{
	struct node *n = CONTAINER_OF(t, struct node, timer);
	char key[64];
	snprintf(key, sizeof(key), "/registry/leases/kube-node-lease/node-%u", n->id);
	_cleanup_blob_ struct blob *v = blob_alloc(LEASE_LEN);
	memset(v->data, '.', LEASE_LEN);
	snprintf(v->data, LEASE_LEN, "{\"renewTime\":%" PRIu64 "}", n->beats++);
	struct store_op op = {.type = STORE_PUT, .key = key, .value = v};
	store_txn(n->f->store, &(struct store_txn_req){.then_ops = &op, .n_then = 1, .lazy = true}, on_put, n);
	env_timer_start(n->f->env, t, BEAT_US);
}

static void an_idle_day(void **state)
{
	(void)state;
	struct fixture f;
	struct node nodes[NODES] = {0};
	fixture_init(&f);
	f.disk.no_sync = true; /* what is written counts, not how long it takes */
	struct store_status before = fx_status(&f)->status;
	unsigned syncs = f.disk.syncs;
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i] = (struct node){.timer = {.fn = beat}, .f = &f, .id = i};
		env_timer_start(f.env, &nodes[i].timer, env_random_below(f.env, BEAT_US));
	}
	env_sim_run_for(f.env, DAY_US);
	struct store_status st = fx_status(&f)->status;
	uint64_t written = st.bytes_written - before.bytes_written, beats = 0;
	syncs = f.disk.syncs - syncs;
	for (unsigned i = 0; i < NODES; i++) {
		env_timer_stop(f.env, &nodes[i].timer);
		beats += nodes[i].answered;
	}
	print_message("# an idle day, %u nodes: %" PRIu64 " heartbeats, %.1f MB written in %u commits of the log; "
		      "log %.1f MB, state %.1f MB at its end\n",
		      NODES, beats, (double)written / 1e6, syncs, (double)st.log_bytes / 1e6,
		      (double)st.state_bytes / 1e6);
	assert_in_range(beats, NODES * 8600, NODES * 8641);
	assert_in_range(syncs, 1000, 43200 + 100); /* at most one in two seconds */
	assert_true(written < 1000u * 1000000u);
	assert_true(st.log_bytes < 32u << 20);
	assert_true(st.state_bytes < 4u << 20);
	fixture_done(&f);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(an_idle_day)};
RUN_TESTS(tests)
