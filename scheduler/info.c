/* Pods as the plugins see them. */
#include "lib/api/quantity.h"
#include "scheduler/plugin.h"

/* What a container that asks for nothing is taken for when nodes are scored. Source: upstream's non-zero defaults. */
#define DEFAULT_CPU_MILLI 100
#define DEFAULT_MEMORY    (200ll * 1024 * 1024)

static char *copy(const json_t *obj, const char *key, const char *dflt)
{
	return xstrdup(json_get_str(obj, key, dflt));
}

static int64_t quantity_of(const json_t *v, bool milli)
{
	const char *s = json_string_value(v);
	char number[32];
	if (json_is_integer(v)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		s = number;
	}
	if (!s)
		return 0;
	return milli ? quantity_milli_of(s, 0) : quantity_value_of(s, 0);
}

static void extended_add(struct sched_resources *r, const char *name, int64_t value, bool max)
{
	for (unsigned i = 0; i < r->n_extended; i++) {
		if (strcmp(r->extended[i].name, name) != 0)
			continue;
		r->extended[i].value = max ? MAX(r->extended[i].value, value) : r->extended[i].value + value;
		return;
	}
	if (r->n_extended < SCHED_EXTENDED_MAX)
		r->extended[r->n_extended++] = (struct sched_extended){xstrdup(name), value};
}

int64_t sched_extended_get(const struct sched_resources *r, const char *name)
{
	for (unsigned i = 0; i < r->n_extended; i++)
		if (!strcmp(r->extended[i].name, name))
			return r->extended[i].value;
	return 0;
}

void sched__resources_read(struct sched_resources *r, const json_t *list)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)list, key, v)
	{
		if (!strcmp(key, "cpu"))
			r->cpu_milli = quantity_of(v, true);
		else if (!strcmp(key, "memory"))
			r->memory = quantity_of(v, false);
		else if (!strcmp(key, "ephemeral-storage"))
			r->storage = quantity_of(v, false);
		else if (!strcmp(key, "pods"))
			r->pods = quantity_of(v, false);
		else
			extended_add(r, key, quantity_of(v, false), false);
	}
}

void sched__resources_done(struct sched_resources *r)
{
	for (unsigned i = 0; i < r->n_extended; i++)
		free(r->extended[i].name);
	r->n_extended = 0;
}

/* The needs of one container, with those for scoring beside them. */
struct needs {
	struct sched_resources r;
	int64_t score_cpu, score_memory;
};

static void needs_read(struct needs *n, const json_t *container)
{
	*n = (struct needs){0};
	const json_t *requests = json_path(container, "resources", "requests", NULL);
	sched__resources_read(&n->r, requests);
	n->score_cpu = json_object_get(requests, "cpu") ? n->r.cpu_milli : DEFAULT_CPU_MILLI;
	n->score_memory = json_object_get(requests, "memory") ? n->r.memory : DEFAULT_MEMORY;
}

static void needs_add(struct needs *to, const struct needs *n)
{
	to->r.cpu_milli += n->r.cpu_milli;
	to->r.memory += n->r.memory;
	to->r.storage += n->r.storage;
	to->score_cpu += n->score_cpu;
	to->score_memory += n->score_memory;
	for (unsigned i = 0; i < n->r.n_extended; i++)
		extended_add(&to->r, n->r.extended[i].name, n->r.extended[i].value, false);
}

static void needs_max(struct needs *to, const struct needs *n)
{
	to->r.cpu_milli = MAX(to->r.cpu_milli, n->r.cpu_milli);
	to->r.memory = MAX(to->r.memory, n->r.memory);
	to->r.storage = MAX(to->r.storage, n->r.storage);
	to->score_cpu = MAX(to->score_cpu, n->score_cpu);
	to->score_memory = MAX(to->score_memory, n->score_memory);
	for (unsigned i = 0; i < n->r.n_extended; i++)
		extended_add(&to->r, n->r.extended[i].name, n->r.extended[i].value, true);
}

/* Containers and sidecars run together; each init container runs beside the sidecars started before it. */
static void read_needs(struct sched_pod *p, const json_t *spec)
{
	struct needs sum = {0}, sidecars = {0}, most = {0}, one;
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(spec, "containers"), i, c)
	{
		needs_read(&one, c);
		needs_add(&sum, &one);
		sched__resources_done(&one.r);
	}
	json_array_foreach(json_object_get(spec, "initContainers"), i, c)
	{
		needs_read(&one, c);
		if (!strcmp(json_get_str(c, "restartPolicy", ""), "Always")) {
			needs_add(&sidecars, &one);
			needs_max(&most, &sidecars);
		} else {
			needs_add(&one, &sidecars);
			needs_max(&most, &one);
		}
		sched__resources_done(&one.r);
	}
	needs_add(&sum, &sidecars);
	needs_max(&sum, &most);
	struct needs overhead = {0};
	sched__resources_read(&overhead.r, json_object_get(spec, "overhead"));
	needs_add(&sum, &overhead);
	p->requests = sum.r;
	p->requests.pods = 1;
	p->score_cpu_milli = sum.score_cpu + overhead.r.cpu_milli;
	p->score_memory = sum.score_memory + overhead.r.memory;
	sched__resources_done(&sidecars.r);
	sched__resources_done(&most.r);
	sched__resources_done(&overhead.r);
}

static void read_tolerations(struct sched_pod *p, const json_t *spec)
{
	const json_t *list = json_object_get(spec, "tolerations");
	size_t i;
	json_t *t;
	p->tolerations = NEW_N(struct sched_toleration, json_array_size(list) + 1);
	json_array_foreach((json_t *)list, i, t) p->tolerations[p->n_tolerations++] = (struct sched_toleration){
		copy(t, "key", ""), copy(t, "operator", "Equal"), copy(t, "value", ""), copy(t, "effect", "")};
}

static void read_ports(struct sched_pod *p, const json_t *spec)
{
	size_t i, j, cap = 0;
	json_t *c, *port;
	json_array_foreach(json_object_get(spec, "containers"), i, c)
	{
		json_array_foreach(json_object_get(c, "ports"), j, port)
		{
			int number = (int)json_get_int(port, "hostPort", 0);
			if (!number)
				continue;
			const char *ip = json_get_str(port, "hostIP", "");
			GROW(p->ports, cap, p->n_ports + 1);
			p->ports[p->n_ports++] = (struct sched_port){xstrdup(*ip ? ip : "0.0.0.0"),
								     copy(port, "protocol", "TCP"), number};
		}
	}
}

void *sched_pod_make(struct object *obj, const json_t *tree)
{
	struct sched_pod *p = NEW(struct sched_pod);
	const json_t *spec = json_object_get(tree, "spec");
	const char *phase = json_get_str(json_object_get(tree, "status"), "phase", "");
	p->node = copy(spec, "nodeName", "");
	p->priority = (int32_t)json_get_int(spec, "priority", 0);
	p->ours = !strcmp(json_get_str(spec, "schedulerName", "default-scheduler"), "default-scheduler");
	p->gated = json_array_size(json_object_get(spec, "schedulingGates")) > 0;
	p->deleting = meta_deleting(tree);
	p->finished = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
	p->ns = xstrdup(obj->ns);
	p->labels = json_incref(json_path(tree, "metadata", "labels", NULL));
	p->terms = sched_terms_make(spec, p->ns, p->labels, &p->unsupported);
	p->spread = sched_spread_make(spec, p->labels, &p->n_spread, &p->unsupported);
	json_t *selector = json_object_get(spec, "nodeSelector");
	if (json_object_size(selector))
		p->node_selector = json_incref(selector);
	p->node_affinity = json_incref(json_path(spec, "affinity", "nodeAffinity", NULL));
	read_needs(p, spec);
	read_tolerations(p, spec);
	read_ports(p, spec);
	return p;
}

void sched_pod_drop(void *pod)
{
	struct sched_pod *p = pod;
	for (unsigned i = 0; i < p->n_tolerations; i++) {
		free(p->tolerations[i].key);
		free(p->tolerations[i].op);
		free(p->tolerations[i].value);
		free(p->tolerations[i].effect);
	}
	for (unsigned i = 0; i < p->n_ports; i++) {
		free(p->ports[i].ip);
		free(p->ports[i].protocol);
	}
	sched__resources_done(&p->requests);
	json_decref(p->node_selector);
	json_decref(p->node_affinity);
	json_decref(p->labels);
	sched_terms_unref(p->terms);
	sched_spread_free(p->spread, p->n_spread);
	free(p->ns);
	free(p->tolerations);
	free(p->ports);
	free(p->node);
	free(p);
}
