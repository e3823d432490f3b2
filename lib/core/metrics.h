/* The metrics registry, written out in Prometheus' text format 0.0.4. One registry per process, loop thread only.
 *
 * A family is declared once (static storage) and registers itself on first use; a series is found by its label values.
 * Keep the series pointer where the hot path is. Source: prometheus.io/docs/instrumenting/exposition_formats.
 */
#ifndef MINI_CORE_METRICS_H
#define MINI_CORE_METRICS_H

#include "lib/core/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_series {
	double value;      /* counter, gauge; sum of a histogram */
	uint64_t count;    /* histogram */
	uint64_t *buckets; /* histogram: one per bound, not cumulative */
	char *labels;      /* rendered: a="b",c="d" or "" */
	struct metric_series *next;
	struct metric_family *family;
};

struct metric_family {
	const char *name, *help;
	enum metric_type type;
	const char *label_names[6]; /* NULL-terminated */
	const double *bounds;       /* histogram; NULL: 1 ms to 10 s */
	unsigned n_bounds;
	struct metric_series *series;
	struct metric_family *next;
	bool registered;
};

/* Label values in the order of label_names. */
struct metric_series *metric_get(struct metric_family *f, ...) __attribute__((sentinel));
static inline void metric_inc(struct metric_series *s)
{
	s->value += 1;
}
static inline void metric_add(struct metric_series *s, double v)
{
	s->value += v;
}
static inline void metric_set(struct metric_series *s, double v)
{
	s->value = v;
}
void metric_observe(struct metric_series *s, double v);
/* Called before each render: to set gauges that are cheaper to read than to track. */
void metrics_on_render(void (*fn)(void *arg), void *arg);
void metrics_render(struct buf *out);
/* process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds, process_start_time_seconds. */
void metrics_add_process(void);

#endif
