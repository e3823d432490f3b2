/* Forwarded proposals: each is taken once, and a server that restarts counts anew. */
#include "raft/raft.h"
#include "tests/support/tap.h"

static int no_entries(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	(void)arg;
	(void)lo;
	(void)hi;
	(void)ret;
	(void)max;
	return -5;
}

static int no_term(void *arg, uint64_t index, uint64_t *ret)
{
	(void)arg;
	(void)index;
	(void)ret;
	return -5;
}

/* How many answers to proposals this one wants to send. */
static unsigned answers(struct raft *r)
{
	struct raft_ready rd;
	unsigned n = 0;
	while (raft_has_ready(r)) {
		raft_get_ready(r, &rd);
		for (size_t i = 0; i < rd.n_messages; i++)
			n += rd.messages[i].type == RAFT_MSG_PROPOSE_RESP && !rd.messages[i].reject;
		raft_advance(r);
	}
	return n;
}

static unsigned taken(struct raft *r, uint64_t life, uint64_t id)
{
	const struct raft_entry e = {.index = 1, .type = RAFT_ENTRY_NORMAL, .len = 1, .data = "x"};
	const struct raft_msg m = {.type = RAFT_MSG_PROPOSE,
				   .from = 2,
				   .to = 1,
				   .term = 1,
				   .context = id,
				   .hint_term = life,
				   .entries = &e,
				   .n_entries = 1};
	assert_int_equal(raft_step(r, &m), 0);
	return answers(r);
}

static void lives(void **state)
{
	(void)state;
	const struct raft_member members[] = {{.id = 1, .role = RAFT_VOTER}, {.id = 2, .role = RAFT_LEARNER}};
	struct raft *r;
	assert_int_equal(raft_new(&(struct raft_config){.id = 1,
							.members = members,
							.n_members = 2,
							.first_index = 1,
							.election_ticks = 10,
							.heartbeat_ticks = 2,
							.max_inflight_bytes = 1 << 20,
							.max_message_bytes = 1 << 16,
							.seed = 3,
							.read_entries = no_entries,
							.read_term = no_term},
				  &r),
			 0);
	raft_campaign(r);
	answers(r);
	struct raft_status st;
	raft_get_status(r, &st);
	assert_int_equal(st.state, RAFT_LEADER);
	assert_int_equal(taken(r, 7, 1000), 1);
	assert_int_equal(taken(r, 7, 1000), 0); /* the network doubled it */
	assert_int_equal(taken(r, 7, 998), 1);  /* overtaken */
	assert_int_equal(taken(r, 7, 900), 0);  /* too old to tell */
	assert_int_equal(taken(r, 8, 5), 1);    /* killed and started again: from below */
	assert_int_equal(taken(r, 8, 5), 0);
	assert_int_equal(taken(r, 7, 1000), 0); /* a late one of the life before */
	assert_int_equal(taken(r, 8, 6), 1);
	for (uint64_t life = 9; life < 12; life++)
		assert_int_equal(taken(r, life, 1), 1);
	assert_int_equal(taken(r, 8, 6), 0); /* of the last four lives each is known */
	raft_free(r);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(lives)};
RUN_TESTS(tests)
