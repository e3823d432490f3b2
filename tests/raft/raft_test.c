/* Raft under random faults: messages lost, doubled, late, links cut, nodes crashing with unsynced disks. What must
 * hold is checked all along by the cluster; afterwards faults stop and everyone must agree. The seed is printed. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/raft/cluster.h"
#include "tests/support/tap.h"

static size_t leader_of(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->nodes[i].up && c->nodes[i].state == RAFT_LEADER)
			return i;
	return SIZE_MAX;
}

static void one_fault(struct cluster *c)
{
	size_t i = (size_t)cluster_random(c, c->n), k = (size_t)cluster_random(c, c->n);
	switch (cluster_random(c, 60)) {
	case 0:
		if (c->nodes[i].up)
			cluster_crash(c, i);
		break;
	case 1:
	case 2:
		c->cut[i][k] = true;
		break;
	case 3:
		memset(c->cut, 0, sizeof(c->cut));
		break;
	case 4:
	case 5:
		c->nodes[i].held = !c->nodes[i].held;
		break;
	default:
		break;
	}
	for (i = 0; i < c->n; i++)
		if (!c->nodes[i].up && cluster_random(c, 20) == 0)
			cluster_start(c, i);
}

static void turn(struct cluster *c, unsigned loss)
{
	for (size_t i = 0; i < c->n; i++) {
		struct node *n = &c->nodes[i];
		if (n->up && cluster_random(c, 3) == 0)
			raft_tick(n->raft);
		cluster_process(c, i);
		if (n->out && (!n->held || cluster_random(c, 10) == 0))
			cluster_finish(c, i);
	}
	for (size_t k = c->n_net; k; k--) {
		size_t at = (size_t)cluster_random(c, c->n_net); /* any order */
		if (cluster_random(c, 4) == 0)
			continue; /* later */
		cluster_deliver(c, at, cluster_random(c, 100) < loss);
	}
}

static void run_seed(uint64_t seed, uint64_t *ret_reads)
{
	struct cluster *c = calloc(1, sizeof(*c));
	cluster_init(c, seed % 3 == 0 ? 5 : 3, seed % 2, seed);
	unsigned n = 0;
	char text[24];
	for (int t = 0; t < 1500 && !c->broken[0]; t++) {
		one_fault(c);
		turn(c, (unsigned)(seed % 30));
		size_t l = (size_t)cluster_random(c, c->n);
		snprintf(text, sizeof(text), "x%u", n);
		if (cluster_propose(c, l, text) == 0)
			n++;
		cluster_read(c, (size_t)cluster_random(c, c->n));
	}
	memset(c->cut, 0, sizeof(c->cut));
	for (size_t i = 0; i < c->n; i++) {
		c->nodes[i].held = false;
		if (!c->nodes[i].up)
			cluster_start(c, i);
	}
	bool agreed = false;
	for (int t = 0; t < 600 && !agreed && !c->broken[0]; t++) {
		turn(c, 0);
		size_t l = leader_of(c);
		if (t == 400 && l != SIZE_MAX)
			cluster_propose(c, l, "last");
		agreed = t > 400 && c->n_committed && strcmp(c->committed[c->n_committed - 1].text, "last") == 0;
		for (size_t i = 0; i < c->n; i++)
			agreed = agreed && c->nodes[i].n_applied == c->n_committed;
	}
	if (c->broken[0] || !agreed)
		print_error("seed %" PRIu64 ": %s, %zu committed\n", seed, c->broken[0] ? c->broken : "no agreement",
			    c->n_committed);
	assert_false(c->broken[0]);
	assert_true(agreed);
	assert_true(c->n_committed > 1);
	*ret_reads += c->nodes[0].last_read;
	cluster_done(c);
	free(c);
}

static void random_faults(void **state)
{
	(void)state;
	const char *one = getenv("SEED");
	uint64_t reads = 0;
	if (one) {
		run_seed(strtoull(one, NULL, 10), &reads);
		return;
	}
	for (uint64_t seed = 1; seed <= 150; seed++)
		run_seed(seed, &reads);
	assert_true(reads > 0);
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
	cluster_init(c, 1, 0, 1);
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
