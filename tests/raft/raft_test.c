/* Raft's contracts, and Raft under random faults (SEED=n: that one; RUNS=n: so many). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static struct raft_config config_of_two(const struct raft_member two[2])
{
	return (struct raft_config){.id = 1,
				    .members = two,
				    .n_members = 2,
				    .first_index = 1,
				    .election_ticks = 10,
				    .heartbeat_ticks = 1,
				    .max_inflight_bytes = 1,
				    .max_message_bytes = 1};
}

static void refuses_nonsense(void **state)
{
	(void)state;
	struct raft *r = NULL;
	struct raft_member two[] = {{.id = 1}, {.id = 1}};
	struct raft_config config = config_of_two(two);
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

static void memberships_are_encoded(void **state)
{
	(void)state;
	struct raft_membership m = {.n_members = 3,
				    .n_old = 1,
				    .members = {{1, RAFT_VOTER}, {0x1122334455667788, RAFT_LEARNER}, {3, RAFT_WITNESS}},
				    .old = {{1, RAFT_VOTER}}};
	uint8_t buf[RAFT_MEMBERSHIP_BYTES_MAX + 3];
	m.members[2].role = RAFT_VOTER;
	size_t n = raft_membership_encode(&m, buf);
	assert_int_equal(n, 4 + 4 * 9);
	memcpy(buf + n, "abc", 3);
	struct raft_membership got;
	const void *context;
	size_t context_len;
	assert_int_equal(raft_membership_decode(buf, n + 3, &got, &context, &context_len), 0);
	assert_int_equal(got.n_members, 3);
	assert_int_equal(got.members[1].id, 0x1122334455667788);
	assert_int_equal(got.members[1].role, RAFT_LEARNER);
	assert_int_equal(got.n_old, 1);
	assert_int_equal(context_len, 3);
	assert_memory_equal(context, "abc", 3);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(raft_membership_decode(buf, cut, &got, NULL, NULL), -EBADMSG);
	buf[0] = RAFT_MEMBERSHIP_VERSION + 1;
	assert_int_equal(raft_membership_decode(buf, n, &got, NULL, NULL), -EPROTONOSUPPORT);
	buf[0] = RAFT_MEMBERSHIP_VERSION;
	buf[4 + 8] = 77; /* a role that is none */
	assert_int_equal(raft_membership_decode(buf, n, &got, NULL, NULL), -EBADMSG);
	m.n_old = 0;
	m.members[1].role = RAFT_WITNESS;
	m.members[2].role = RAFT_WITNESS; /* two of three: a majority without anybody who has the data */
	n = raft_membership_encode(&m, buf);
	assert_int_equal(raft_membership_decode(buf, n, &got, NULL, NULL), -EBADMSG);
}

/* A member from the future changes the members in a way this program cannot read: it says so, and changes nothing. */
static void newer_configurations_are_refused(void **state)
{
	(void)state;
	struct cluster *c = calloc(1, sizeof(*c));
	cluster_init(c, 3, 0, 0, 1);
	const uint8_t newer[] = {RAFT_MEMBERSHIP_VERSION + 1, 0, 0, 0};
	struct raft_entry e = {.term = 1, .index = 1, .type = RAFT_ENTRY_CONFIG, .len = sizeof(newer), .data = newer};
	struct raft_msg m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 1, .entries = &e, .n_entries = 1};
	assert_int_equal(raft_step(c->nodes[0].raft, &m), -EPROTONOSUPPORT);
	struct raft_status st;
	raft_get_status(c->nodes[0].raft, &st);
	assert_int_equal(st.last_index, 0);
	assert_int_equal(st.term, 0);
	m = (struct raft_msg){.type = RAFT_MSG_SNAPSHOT, .from = 2, .to = 1, .term = 1, .index = 9, .log_term = 1};
	assert_int_equal(raft_step(c->nodes[0].raft, &m), -EINVAL); /* without a configuration */
	cluster_done(c);
	free(c);
}

/* No I/O, no clock, no threads: the archive asks libc for memory and for an end, and for nothing else. */
static void is_pure(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip();
#endif
	static const char *const allowed[] = {
		"malloc", "calloc", "realloc", "free",         "memcpy",        "memmove",          "memset",
		"memcmp", "abort",  "bcmp",    "__memcpy_chk", "__memmove_chk", "__stack_chk_fail", "__memset_chk"};
	char path[400] = "", line[400];
	assert_true(readlink("/proc/self/exe", path, sizeof(path) - 20) > 0);
	for (int up = 0; up < 3; up++)
		*strrchr(path, '/') = '\0';
	if (strstr(path, "/san-"))
		skip();
	snprintf(line, sizeof(line), "nm %.300s/raft.a", path);
	FILE *f = popen(line, "r");
	assert_non_null(f);
	size_t seen = 0;
	while (fgets(line, sizeof(line), f)) {
		char name[200];
		if (sscanf(line, " U %199s", name) != 1 || strncmp(name, "raft", 4) == 0)
			continue;
		bool ok = false;
		for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
			ok = ok || strcmp(name, allowed[i]) == 0;
		if (!ok)
			print_error("raft asks for %s\n", name);
		assert_true(ok);
		seen++;
	}
	assert_int_equal(pclose(f), 0);
	assert_true(seen > 3);
}

/* A log on a disk that cannot be read: the driver is told, and nothing is concluded from what was not seen. */
static int unreadable;
static int term_of(void *arg, uint64_t index, uint64_t *ret)
{
	(void)arg, (void)index;
	*ret = 1;
	return unreadable;
}
static int entries_of(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	(void)arg, (void)hi, (void)max;
	*ret = (struct raft_entry){.index = lo, .term = 1};
	return unreadable ? unreadable : 1;
}

static void an_unreadable_log(void **state)
{
	(void)state;
	struct raft *r = NULL;
	struct raft_member two[] = {{.id = 1}, {.id = 2}};
	struct raft_config config = config_of_two(two);
	config.last_index = 9;
	config.hard_state = (struct raft_hard_state){.term = 1, .commit = 5};
	config.applied = 5;
	config.read_entries = entries_of;
	config.read_term = term_of;
	unreadable = -EIO;
	assert_int_equal(raft_new(&config, &r), -EIO);
	assert_null(r);
	unreadable = 0;
	assert_int_equal(raft_new(&config, &r), 0);
	/* one that matches, and one that would cut what was acknowledged if "unknown" were taken for "another" */
	struct raft_entry e[2] = {{.term = 1, .index = 7}, {.term = 1, .index = 8}};
	struct raft_msg m = {.type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 1, .log_term = 1, .index = 6};
	m.entries = e;
	m.n_entries = 2;
	unreadable = -EIO;
	assert_int_equal(raft_step(r, &m), -EIO);
	struct raft_status st;
	raft_get_status(r, &st);
	assert_int_equal(st.last_index, 9);
	unreadable = 0;
	assert_int_equal(raft_step(r, &m), 0);
	raft_get_status(r, &st);
	assert_int_equal(st.last_index, 9);
	raft_free(r);
}

static uint64_t read_from;
static int entries_from(void *arg, uint64_t lo, uint64_t hi, struct raft_entry *ret, size_t max)
{
	read_from = lo;
	return entries_of(arg, lo, hi, ret, max);
}

static void turn(struct raft *r)
{
	struct raft_ready rd;
	while (raft_has_ready(r)) {
		raft_get_ready(r, &rd);
		raft_advance(r);
	}
}

/* What a member lacks is kept in memory as long as it is not much; the rest is read from the log. */
static void memory_is_bounded_in_bytes(void **state)
{
	(void)state;
	static char large[10000];
	struct raft *r = NULL;
	struct raft_member two[] = {{.id = 1}, {.id = 2, .role = RAFT_LEARNER}};
	struct raft_config config = config_of_two(two);
	config.max_inflight_bytes = config.max_message_bytes = 100000;
	config.read_entries = entries_from;
	config.read_term = term_of;
	uint64_t index, term;
	assert_int_equal(raft_new(&config, &r), 0);
	assert_int_equal(raft_campaign(r), 0);
	turn(r);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(raft_propose(r, large, sizeof(large), &index, &term), 0);
		turn(r);
		if (i == 5)
			assert_int_equal(raft_step(r, &(struct raft_msg){.type = RAFT_MSG_HEARTBEAT_RESP,
									 .from = 2,
									 .to = 1,
									 .term = term}),
					 0);
		turn(r);
		if (i == 5)
			assert_int_equal(read_from, 0);
	}
	struct raft_msg m = {.type = RAFT_MSG_HEARTBEAT_RESP, .from = 2, .to = 1, .term = term};
	assert_int_equal(raft_step(r, &m), 0);
	turn(r);
	assert_int_equal(read_from, 1);
	raft_free(r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(an_unreadable_log),
	cmocka_unit_test(memory_is_bounded_in_bytes),
	cmocka_unit_test(memberships_are_encoded),
	cmocka_unit_test(newer_configurations_are_refused),
	cmocka_unit_test(is_pure),
	cmocka_unit_test(refuses_nonsense),
	cmocka_unit_test(alone),
	cmocka_unit_test(random_faults),
};
RUN_TESTS(tests)
