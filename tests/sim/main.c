/* Seeds: one, or many, a process each. */
#include <inttypes.h>
#include <sys/wait.h>

#include "tests/sim/disk.h"
#include "tests/sim/points.h"
#include "tests/sim/sim.h"

static void run_seed(uint64_t seed)
{
	sim.seed = seed;
	sim.rand.x = seed * 3 + 1;
	sim.disk.x = seed * 3 + 2;
	sim.salts.x = seed * 3 + 3;
	sim.hash = 0xcbf29ce484222325ull;
	sim.now_us = 1000000;
	if (!sim.verbose) {
		fflush(stderr);
		if (!freopen("/dev/null", "w", stderr))
			abort();
	}
	sim_vfs_register();
	points_begin();
	sim_live();
	printf("seed %" PRIu64 " hash %016" PRIx64 " ok\n", sim.seed, sim.hash);
}

/* A process for each seed: the same from its first byte, whatever ran before it. */
static unsigned run_many(uint64_t from, uint64_t n, unsigned jobs, bool until_found)
{
	unsigned running = 0, failed = 0;
	pid_t pids[64];
	uint64_t seeds[64];
	for (uint64_t i = 0; i < n || running;) {
		if (i < n && running < jobs) {
			fflush(stdout);
			pid_t pid = fork();
			if (pid == 0) {
				run_seed(from + i);
				fflush(stdout);
				_exit(0);
			}
			if (pid < 0)
				return 1;
			pids[running] = pid;
			seeds[running++] = from + i++;
			continue;
		}
		int status;
		pid_t pid = wait(&status);
		if (pid < 0)
			break;
		unsigned k = 0;
		while (k + 1 < running && pids[k] != pid)
			k++;
		if (WIFSIGNALED(status))
			printf("seed %" PRIu64 " VIOLATION: ended by signal %d\n", seeds[k], WTERMSIG(status));
		running--;
		pids[k] = pids[running];
		seeds[k] = seeds[running];
		failed += status != 0;
		if (failed && until_found)
			n = MIN(n, i);
	}
	return failed;
}

/* What the runs before did not reach: seeds in which servers die at just that place, until both ways of dying were seen. */
static int every_failpoint(unsigned jobs)
{
	unsigned missed = 0;
	for (int p = 0; p < FAILPOINT_COUNT; p++) {
		sim.point = p;
		for (uint64_t from = 1; from <= 60 && !points_driven(p); from += jobs)
			if (run_many(from, jobs, jobs, true))
				return 1;
		if (!points_driven(p))
			printf("failpoint %s was not driven\n", failpoint_name((enum failpoint)p));
		missed += !points_driven(p);
	}
	points_report();
	return missed ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, from = 1, runs = 0, jobs = 2;
	bool until_found = false, every = false;
	sim.point = -1;
	points_share();
	for (int i = 1; i < argc; i++) {
		uint64_t *to = streq(argv[i], "--seed")   ? &seed
			       : streq(argv[i], "--from") ? &from
			       : streq(argv[i], "--runs") ? &runs
			       : streq(argv[i], "--jobs") ? &jobs
			       : streq(argv[i], "--days") ? &sim.days
							  : NULL;
		if (streq(argv[i], "--verbose")) {
			sim.verbose = true;
		} else if (streq(argv[i], "--until-found")) {
			until_found = true;
		} else if (streq(argv[i], "--every-failpoint")) {
			every = true;
		} else if (streq(argv[i], "--failpoint") && i + 1 < argc && failpoint_by_name(argv[i + 1]) >= 0) {
			sim.point = failpoint_by_name(argv[++i]);
		} else if (!to || i + 1 == argc || parse_u64(argv[++i], to)) {
			fprintf(stderr,
				"usage: sim [--seed N | --runs N [--from N] [--jobs N] [--until-found]] [--days N] [--failpoint NAME]\n"
				"           [--every-failpoint] [--verbose]\n");
			return 2;
		}
	}
	unsigned n_jobs = jobs ? (unsigned)MIN(jobs, (uint64_t)64) : 1;
	if (runs) {
		unsigned failed = run_many(from, runs, n_jobs, until_found);
		printf("%" PRIu64 " seeds from %" PRIu64 ", %u failed\n", runs, from, failed);
		if (failed)
			return 1;
	}
	if (every)
		return every_failpoint(n_jobs);
	if (!runs)
		run_seed(seed);
	return 0;
}
