/* Raft's contracts, and Raft under random faults (SEED=n: that one; RUNS=n: so many). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/cluster.h"
#include "tests/support/raft/fault.h"
#include "tests/support/tap.h"

static void random_faults(void **state)
{
	(void)state;
	const char *one = getenv("SEED"), *runs = getenv("RUNS");
	uint64_t from = one ? strtoull(one, NULL, 10) : 1;
	uint64_t n = runs ? strtoull(runs, NULL, 10) : one ? 1 : 200;
	struct fault_sums sums = {0};
	for (uint64_t seed = from; seed < from + n; seed++) {
		char why[256];
		bool ok = fault_run(seed, &sums, why, sizeof(why));
		if (!ok)
			print_error("seed %" PRIu64 ": %s\n", seed, why);
		assert_true(ok);
	}
	print_message("# %" PRIu64 " seeds: %" PRIu64 " committed, %" PRIu64 " reads served, %" PRIu64
		      " snapshots installed, %" PRIu64 " membership changes, %" PRIu64 " forwarded\n",
		      n, sums.committed, sums.reads, sums.installed, sums.changes, sums.forwarded);
	if (n >= 100)
		assert_true(sums.reads && sums.installed && sums.changes && sums.forwarded);
}

static void refuses_nonsense(void **state)
{
	(void)state;
	struct raft *r = NULL;
	struct raft_member two[] = {{.id = 1}, {.id = 1}};
	struct raft_config config = {.id = 1,
				     .members = two,
				     .n_members = 2,
				     .first_index = 1,
				     .election_ticks = 10,
				     .heartbeat_ticks = 1,
				     .max_inflight_bytes = 1,
				     .max_message_bytes = 1};
	assert_int_equal(raft_new(&config, &r), -EINVAL);
	config.n_members = 1;
	config.heartbeat_ticks = 10;
	assert_int_equal(raft_new(&config, &r), -EINVAL);
	config.heartbeat_ticks = 1;
	assert_int_equal(raft_new(&config, &r), 0);
	uint64_t index, term;
	assert_int_equal(raft_propose(r, "x", 1, &index, &term), -EAGAIN);
	assert_int_equal(raft_read_index(r, 1), -EAGAIN);
	assert_int_equal(raft_read_now(r, &index), -EAGAIN);
	struct raft_msg m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 3};
	assert_int_equal(raft_step(r, &m), -EINVAL);
	raft_free(r);
	raft_free(NULL);
}

/* The only voter leads as soon as its term and first entry are durable, in one write. */
static void alone(void **state)
{
	(void)state;
	struct cluster *c = calloc(1, sizeof(*c));
	cluster_init(c, 1, 0, 0, 1);
	struct node *n = &c->nodes[0];
	n->held = true;
	assert_int_equal(raft_campaign(n->raft), 0);
	cluster_process(c, 0);
	assert_true(n->out && n->rd.must_sync);
	assert_int_equal(n->rd.n_entries, 1);
	assert_int_equal(n->rd.hard_state.term, 1);
	assert_int_equal(n->rd.n_committed, 0);
	uint64_t index;
	assert_int_equal(raft_read_now(n->raft, &index), -EAGAIN);
	assert_int_equal(cluster_propose(c, 0, "a"), 0);
	assert_int_equal(cluster_propose(c, 0, "b"), 0);
	cluster_finish(c, 0);
	cluster_process(c, 0);
	assert_int_equal(n->n_applied, 1);
	assert_int_equal(n->rd.n_entries, 2); /* what gathered meanwhile is one batch */
	assert_int_equal(raft_read_now(n->raft, &index), 0);
	assert_int_equal(index, 1);
	cluster_finish(c, 0);
	cluster_process(c, 0);
	assert_int_equal(n->n_applied, 3);
	cluster_done(c);
	free(c);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(refuses_nonsense),
	cmocka_unit_test(alone),
	cmocka_unit_test(random_faults),
};
RUN_TESTS(tests)
