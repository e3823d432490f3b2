/* mini_store_*: the store's figures on /metrics. */
#include "apiserver/stats.h"

#include <inttypes.h>

#include "lib/core/metrics.h"

#define GAUGES(X)                                                                                                      \
	X(rev, "revision", "The newest revision this server has applied.")                                             \
	X(compacted_rev, "compacted_revision", "Revisions before this one are gone.")                                  \
	X(raft_term, "term", "The term of the cluster's leader.")                                                      \
	X(raft_index, "log_index", "The last entry of this server's log.")                                             \
	X(applied_index, "applied_index", "The last entry this server has applied.")                                   \
	X(is_leader, "is_leader", "1 while this server leads.")                                                        \
	X(has_quorum, "has_quorum", "1 while this server knows a leader.")                                             \
	X(read_only, "read_only", "1 while the disk is full, and nothing is taken.")                                   \
	X(alarm, "alarm", "1 while the members hold different data (minictl cluster status says more).")               \
	X(keys, "keys", "Keys there are now.")                                                                         \
	X(memory_bytes, "memory_bytes", "Values and recent history in memory.")                                        \
	X(log_bytes, "log_bytes", "Log segments on disk.")                                                             \
	X(state_bytes, "state_bytes", "The state's database on disk.")

#define X(field, metric, text)                                                                                         \
	static struct metric_family store_##field = {.name = "mini_store_" metric, .help = text, .type = METRIC_GAUGE};
GAUGES(X)
#undef X
static struct metric_family bytes_written = {.name = "mini_store_bytes_written_total",
					     .help = "Bytes the store has written to disk since it was opened.",
					     .type = METRIC_COUNTER};
static struct metric_family pending = {
	.name = "mini_store_requests_waiting", .help = "API requests that wait for the store.", .type = METRIC_GAUGE};
static struct metric_family info = {.name = "mini_store_info",
				    .help = "1; who this member is, and of which cluster.",
				    .type = METRIC_GAUGE,
				    .label_names = {"engine", "cluster", "member", NULL}};

void store_stats(struct apiserver *a, const struct store_status *st)
{
	char cluster[17], member[17];
	double n = 0;
#define X(field, metric, text) metric_set(metric_get(&store_##field, NULL), (double)st->field);
	GAUGES(X)
#undef X
	metric_set(metric_get(&bytes_written, NULL), (double)st->bytes_written);
	LIST_EACH (&a->requests, r, struct request, node)
		n += r->stage != REQUEST_STREAM && r->pending > 0;
	metric_set(metric_get(&pending, NULL), n);
	snprintf(cluster, sizeof(cluster), "%016" PRIx64, st->cluster_id);
	snprintf(member, sizeof(member), "%016" PRIx64, st->member_id);
	metric_set(metric_get(&info, st->engine, cluster, member, NULL), 1);
}
