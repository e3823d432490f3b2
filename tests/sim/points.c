#include "tests/sim/points.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "tests/sim/sim.h"

static struct {
	_Atomic uint64_t passed, failed, died[2]; /* with its process, with its power */
} * counts;

void points_share(void)
{
	size_t size = sizeof(*counts) * FAILPOINT_COUNT;
	counts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(counts != MAP_FAILED);
}

static int pass(_unused_ void *arg, enum failpoint p)
{
	struct sim_server *s = sim_server_current;
	counts[p].passed++;
	if (!s || s->disk.dead || !s->point_in || s->point != (int)p || --s->point_in)
		return 0;
	if (failpoint_can_fail(p) && rand_chance(&sim.rand, 200000)) {
		sim_trace("server %u fails at %s", s->id, failpoint_name(p));
		counts[p].failed++;
		s->point_failed = true;
		return -EIO;
	}
	sim_trace("server %u dies at %s", s->id, failpoint_name(p));
	s->died_at = (int)p;
	s->disk.dead = true;
	return 0;
}

void points_begin(void)
{
	failpoints_set_handler(pass, NULL);
}

void points_arm(struct sim_server *s)
{
	s->point = sim.point >= 0 ? sim.point : (int)rand_below(&sim.rand, FAILPOINT_COUNT);
	/* the log is begun anew at a start only after a crash between the new state and that */
	bool needs_one = sim.point >= 0 && str_starts(failpoint_name((enum failpoint)sim.point), "log.reset.before");
	if (needs_one && rand_chance(&sim.rand, 500000))
		s->point = FAILPOINT_SNAPSHOT_REPLACED;
	if (s->point_in && sim.point >= 0)
		return; /* it waits for that */
	s->point_in = needs_one || rand_chance(&sim.rand, 500000) ? 1 : rand_between(&sim.rand, 2, 30);
}

void points_died(struct sim_server *s, bool power)
{
	if (s->died_at >= 0)
		counts[s->died_at].died[power]++;
	s->died_at = -1;
}

bool points_driven(int p)
{
	return counts[p].died[false] && counts[p].died[true];
}

void points_report(void)
{
	for (int p = 0; p < FAILPOINT_COUNT; p++)
		printf("# %-28s passed %8" PRIu64 ", died %4" PRIu64 " and with power lost %4" PRIu64
		       ", failed %4" PRIu64 "\n",
		       failpoint_name((enum failpoint)p), counts[p].passed, counts[p].died[false], counts[p].died[true],
		       counts[p].failed);
}
