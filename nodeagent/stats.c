/* /stats/summary: what the node and its pods use, from their cgroups. */
#include "nodeagent/server.h"

static json_t *usage(const struct runtime_stats *st, const char *now, bool memory)
{
	if (memory)
		return json_make("{s:s, s:I, s:I, s:I}", "time", now, "usageBytes", (json_int_t)st->memory_usage_bytes,
				 "workingSetBytes", (json_int_t)st->memory_working_set_bytes, "rssBytes",
				 (json_int_t)st->memory_rss_bytes);
	return json_make("{s:s, s:I}", "time", now, "usageCoreNanoSeconds", (json_int_t)st->cpu_ns);
}

static json_t *pod_stats(struct pod *p, const char *now)
{
	json_t *containers = json_array();
	struct runtime_stats sum = {0};
	for (size_t i = 0; i < p->n_containers; i++) {
		struct pod_container *c = &p->containers[i];
		struct runtime_stats st = {0};
		if (!container_is_up(c) || p->n->runtime->ops->stats(p->n->runtime, c->cur.id, &st) < 0)
			continue;
		sum.cpu_ns += st.cpu_ns;
		sum.memory_usage_bytes += st.memory_usage_bytes;
		sum.memory_working_set_bytes += st.memory_working_set_bytes;
		sum.memory_rss_bytes += st.memory_rss_bytes;
		char started[32];
		time_format_s(c->cur.started_us / 1000000, started);
		json_array_append_new(containers,
				      json_make("{s:s, s:s, s:o, s:o}", "name", c->name, "startTime", started, "cpu",
						usage(&st, now, false), "memory", usage(&st, now, true)));
	}
	char started[32];
	time_format_s(p->start_time_s, started);
	return json_make("{s:{s:s, s:s, s:s}, s:s, s:o, s:o, s:o}", "podRef", "name", p->name, "namespace", p->ns,
			 "uid", p->uid, "startTime", started, "containers", containers, "cpu", usage(&sum, now, false),
			 "memory", usage(&sum, now, true));
}

json_t *server_stats_summary(struct nodeagent *n)
{
	char now[32];
	time_format_s(env_wall_s(n->env), now);
	json_t *pods = json_array();
	MAP_EACH (&n->pods, e) {
		struct pod *p = e->value;
		if (p->obj)
			json_array_append_new(pods, pod_stats(p, now));
	}
	return json_make("{s:{s:s}, s:o}", "node", "nodeName", n->node_name, "pods", pods);
}
