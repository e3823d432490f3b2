#include "apiserver/stats.h"

#include "apiserver/hub.h"
#include "lib/core/metrics.h"

static struct metric_family requests_total = {
	.name = "apiserver_request_total",
	.help = "Requests by verb, resource, subresource and code",
	.type = METRIC_COUNTER,
	.label_names = {"verb", "resource", "subresource", "code", NULL},
};
static struct metric_family duration = {
	.name = "apiserver_request_duration_seconds",
	.help = "From a request's arrival to its answer, streams excepted",
	.type = METRIC_HISTOGRAM,
	.label_names = {"verb", "resource", NULL},
};
static struct metric_family in_flight = {
	.name = "apiserver_current_inflight_requests",
	.help = "Requests being worked on",
	.type = METRIC_GAUGE,
	.label_names = {"request_kind", NULL},
};
static struct metric_family watchers = {
	.name = "apiserver_longrunning_requests",
	.help = "Watches under way",
	.type = METRIC_GAUGE,
	.label_names = {"verb", "resource", NULL},
};

/* The server whose gauges are shown: one per process in production. */
static struct apiserver *shown;

static void on_render(void *arg)
{
	(void)arg;
	struct apiserver *a = shown;
	if (!a)
		return;
	metric_set(metric_get(&in_flight, "readOnly", NULL), a->n_reading);
	metric_set(metric_get(&in_flight, "mutating", NULL), a->n_writing);
	for (size_t i = 0; i < a->n_resources; i++)
		if (a->resources[i].hub)
			metric_set(metric_get(&watchers, "WATCH", a->resources[i].kind->plural, NULL),
				   (double)hub_watchers(a->resources[i].hub));
}

void stats_init(struct apiserver *a)
{
	static bool registered;
	shown = a;
	if (!registered)
		metrics_on_render(on_render, NULL);
	registered = true;
}

void stats_fini(struct apiserver *a)
{
	if (shown == a)
		shown = NULL;
}

void stats_request_done(struct request *r)
{
	/* what a stranger invents must not become a label */
	const char *resource = r->kind ? r->kind->plural : "";
	const char *sub = r->kind && r->handler ? r->route.subresource : "";
	char code[8];
	snprintf(code, sizeof(code), "%d",
		 r->err.code             ? err_http(&r->err)
		 : r->result.http_status ? r->result.http_status
					 : 200);
	const char *verb = r->verb == V_NONE ? "GET" : verb_str(r->verb);
	metric_inc(metric_get(&requests_total, verb, resource, sub, code, NULL));
	if (r->verb != V_WATCH && r->verb != V_CONNECT)
		metric_observe(metric_get(&duration, verb, resource, NULL),
			       (double)(env_now_us(r->server->env) - r->started_us) / 1e6);
}
