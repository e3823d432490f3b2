/* The proof that the fault test can fail: raft with each historic bug of raft/bugs.h in it is caught within 200 seeds.
 * raft is compiled into this program once more, with the bug's number in a variable; `-DRAFT_BUG=n` is the same with a
 * constant. BUG=n in the environment tries that one alone, SEEDS=n another number of seeds. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int bug;
#define RAFT_BUG bug

#include "raft/election.c"
#include "raft/forward.c"
#include "raft/log.c"
#include "raft/membership.c"
#include "raft/progress.c"
#include "raft/raft.c"
#include "raft/read.c"
#include "raft/ready.c"
#include "raft/snapshot.c"
#include "raft/transfer.c"

#include "tests/support/raft/fault.h"
#include "tests/support/tap.h"

static const struct {
	int number;
	const char *name, *text;
} bugs[] = {
#define ROW(n, name, text) {n, #name, text},
	RAFT_BUGS(ROW)};
#define N_BUGS (sizeof(bugs) / sizeof(bugs[0]))

/* In a child, since an abort() is a way of being caught too. The seed goes ahead of each run, what was seen after it. */
static void run_all(uint64_t seeds, int fd)
{
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct fault_sums sums = {0};
		char why[256] = "";
		dprintf(fd, "%" PRIu64 " ", seed);
		alarm(20);
		if (fault_run(seed, &sums, why, sizeof(why)))
			continue;
		dprintf(fd, ": %s", why);
		_exit(1);
	}
	_exit(0);
}

/* Returns the last seed tried, 0 when none was found wrong, and what was seen. */
static uint64_t try_seeds(uint64_t seeds, char *why, size_t len)
{
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_all(seeds, fd[1]);
	close(fd[1]);
	char text[4096];
	size_t n = 0;
	for (ssize_t got; n + 1 < sizeof(text) && (got = read(fd[0], text + n, sizeof(text) - 1 - n)) > 0;)
		n += (size_t)got;
	text[n] = '\0';
	close(fd[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status == 0)
		return 0;
	const char *said = strchr(text, ':');
	uint64_t seed = 0;
	for (char *p = text, *end; (end = NULL, *p && *p != ':'); p = end) {
		uint64_t x = strtoull(p, &end, 10);
		if (end == p)
			break;
		seed = x;
	}
	if (said)
		snprintf(why, len, "%s", said + 2);
	else
		snprintf(why, len, "ended by signal %d", WTERMSIG(status));
	return seed;
}

static void is_caught(void **state)
{
	size_t at = (size_t)(uintptr_t)*state;
	const char *only = getenv("SEEDS");
	uint64_t seeds = only ? strtoull(only, NULL, 10) : 200;
	bug = bugs[at].number;
	char why[300];
	uint64_t seed = try_seeds(seeds, why, sizeof(why));
	if (seed)
		print_message("# %d %s: seed %" PRIu64 ": %s\n", bug, bugs[at].name, seed, why);
	else
		print_error("%s was not caught in %" PRIu64 " seeds\n", bugs[at].text, seeds);
	assert_true(seed);
}

/* Without a bug the same program finds nothing. */
static void none_is_clean(void **state)
{
	(void)state;
	bug = 0;
	char why[300] = "";
	uint64_t seed = try_seeds(100, why, sizeof(why));
	if (seed)
		print_error("seed %" PRIu64 ": %s\n", seed, why);
	assert_false(seed);
}

int main(void)
{
	struct CMUnitTest tests[N_BUGS + 1] = {cmocka_unit_test(none_is_clean)};
	const char *one = getenv("BUG");
	size_t n = 1;
	for (size_t i = 0; i < N_BUGS; i++)
		if (!one || atoi(one) == bugs[i].number)
			tests[n++] = (struct CMUnitTest){
				.name = bugs[i].text, .test_func = is_caught, .initial_state = (void *)(uintptr_t)i};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests("bugs", tests, n, NULL, NULL);
}
