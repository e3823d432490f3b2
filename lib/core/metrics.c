#include "lib/core/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <time.h>

static struct metric_family *families, **families_end = &families;
static struct hook {
	void (*fn)(void *);
	void *arg;
	struct hook *next;
} * hooks;

static const double default_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

static void add_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			buf_addc(b, '\\');
		if (*s == '\n')
			buf_adds(b, "\\n");
		else
			buf_addc(b, *s);
	}
}

static void family_register(struct metric_family *f)
{
	f->registered = true;
	if (f->type == METRIC_HISTOGRAM && !f->bounds) {
		f->bounds = default_bounds;
		f->n_bounds = ARRAY_LEN(default_bounds);
	}
	f->next = NULL;
	*families_end = f;
	families_end = &f->next;
}

struct metric_series *metric_get(struct metric_family *f, ...)
{
	_cleanup_buf_ struct buf labels = BUF_INIT;
	va_list ap;
	va_start(ap, f);
	for (unsigned i = 0; i < ARRAY_LEN(f->label_names) && f->label_names[i]; i++) {
		const char *value = va_arg(ap, const char *);
		MUST(value != NULL);
		if (i)
			buf_addc(&labels, ',');
		buf_addf(&labels, "%s=\"", f->label_names[i]);
		add_escaped(&labels, value);
		buf_addc(&labels, '"');
	}
	va_end(ap);
	if (!f->registered)
		family_register(f);
	struct metric_series **p = &f->series;
	for (; *p; p = &(*p)->next)
		if (streq((*p)->labels, buf_str(&labels)))
			return *p;
	struct metric_series *s = NEW(struct metric_series);
	s->family = f;
	s->labels = buf_steal(&labels);
	if (f->type == METRIC_HISTOGRAM)
		s->buckets = NEW_N(uint64_t, f->n_bounds);
	return *p = s;
}

void metric_observe(struct metric_series *s, double v)
{
	const struct metric_family *f = s->family;
	for (unsigned i = 0; i < f->n_bounds; i++) {
		if (v <= f->bounds[i]) {
			s->buckets[i]++;
			break;
		}
	}
	s->value += v;
	s->count++;
}

void metrics_on_render(void (*fn)(void *arg), void *arg)
{
	struct hook *h = NEW(struct hook);
	*h = (struct hook){.fn = fn, .arg = arg, .next = hooks};
	hooks = h;
}

static void add_number(struct buf *out, double v)
{
	if (isfinite(v) && v == floor(v) && fabs(v) < 1e15)
		buf_addf(out, "%.0f", v);
	else
		buf_addf(out, "%.9g", v);
}

static void render_histogram(struct buf *out, const struct metric_series *s)
{
	const struct metric_family *f = s->family;
	const char *comma = s->labels[0] ? "," : "";
	uint64_t sum = 0;
	for (unsigned i = 0; i < f->n_bounds; i++) {
		sum += s->buckets[i];
		buf_addf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", f->name, s->labels, comma, f->bounds[i],
			 (unsigned long long)sum);
	}
	buf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", f->name, s->labels, comma, (unsigned long long)s->count);
	const char *open = s->labels[0] ? "{" : "", *close = s->labels[0] ? "}" : "";
	buf_addf(out, "%s_sum%s%s%s ", f->name, open, s->labels, close);
	add_number(out, s->value);
	buf_addf(out, "\n%s_count%s%s%s %llu\n", f->name, open, s->labels, close, (unsigned long long)s->count);
}

void metrics_render(struct buf *out)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};
	for (struct hook *h = hooks; h; h = h->next)
		h->fn(h->arg);
	for (struct metric_family *f = families; f; f = f->next) {
		buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, types[f->type]);
		for (struct metric_series *s = f->series; s; s = s->next) {
			if (f->type == METRIC_HISTOGRAM) {
				render_histogram(out, s);
				continue;
			}
			buf_adds(out, f->name);
			if (s->labels[0])
				buf_addf(out, "{%s}", s->labels);
			buf_addc(out, ' ');
			add_number(out, s->value);
			buf_addc(out, '\n');
		}
	}
}

static struct metric_family rss = {
	.name = "process_resident_memory_bytes", .help = "Resident memory size in bytes.", .type = METRIC_GAUGE};
static struct metric_family cpu = {.name = "process_cpu_seconds_total",
				   .help = "User and system CPU time spent in seconds.",
				   .type = METRIC_COUNTER};
static struct metric_family fds = {
	.name = "process_open_fds", .help = "Number of open file descriptors.", .type = METRIC_GAUGE};
static struct metric_family started = {.name = "process_start_time_seconds",
				       .help = "Start time of the process since the epoch in seconds.",
				       .type = METRIC_GAUGE};

static void read_process(void *arg)
{
	(void)arg;
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	metric_set(metric_get(&cpu, NULL), (double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	long size, resident;
	if (f && fscanf(f, "%ld %ld", &size, &resident) == 2)
		metric_set(metric_get(&rss, NULL), (double)resident * (double)sysconf(_SC_PAGESIZE));
	DIR *d = opendir("/proc/self/fd");
	if (d) {
		int n = 0;
		while (readdir(d))
			n++;
		closedir(d);
		metric_set(metric_get(&fds, NULL), n - 3);
	}
}

void metrics_add_process(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	metric_set(metric_get(&started, NULL), (double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
	metrics_on_render(read_process, NULL);
}
