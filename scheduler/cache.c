#include "scheduler/cache.h"

static char *copy(const json_t *obj, const char *key)
{
	return xstrdup(json_get_str(obj, key, ""));
}

/* ---- nodes ---- */

static struct sched_node *node_need(struct cache *c, const char *name)
{
	struct sched_node *n = map_get(&c->nodes, name);
	if (!n) {
		n = NEW(struct sched_node);
		n->name = xstrdup(name);
		list_init(&n->pods);
		map_set(&c->nodes, name, n);
	}
	return n;
}

static void taints_free(struct sched_taint *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		free(v[i].key);
		free(v[i].value);
		free(v[i].effect);
	}
	free(v);
}

static void node_free(struct sched_node *n)
{
	taints_free(n->taints, n->n_taints);
	for (unsigned i = 0; i < n->n_ports; i++) {
		free(n->ports[i].ip);
		free(n->ports[i].protocol);
	}
	free(n->ports);
	sched__resources_done(&n->allocatable);
	sched__resources_done(&n->requested);
	json_decref(n->labels);
	free(n->name);
	free(n);
}

static size_t position(const struct cache *c, const char *name)
{
	size_t lo = 0, hi = c->n_sorted;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (strcmp(c->sorted[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void list_node(struct cache *c, struct sched_node *n)
{
	size_t at = position(c, n->name);
	GROW(c->sorted, c->cap_sorted, c->n_sorted + 1);
	memmove(c->sorted + at + 1, c->sorted + at, (c->n_sorted - at) * sizeof(*c->sorted));
	c->sorted[at] = n;
	c->n_sorted++;
	n->known = true;
}

static bool resources_equal(const struct sched_resources *a, const struct sched_resources *b)
{
	if (a->cpu_milli != b->cpu_milli || a->memory != b->memory || a->storage != b->storage || a->pods != b->pods ||
	    a->n_extended != b->n_extended)
		return false;
	for (unsigned i = 0; i < a->n_extended; i++)
		if (strcmp(a->extended[i].name, b->extended[i].name) != 0 ||
		    a->extended[i].value != b->extended[i].value)
			return false;
	return true;
}

static bool set_taints(struct sched_node *n, const json_t *list)
{
	unsigned count = (unsigned)json_array_size(list);
	struct sched_taint *v = NEW_N(struct sched_taint, count + 1);
	bool changed = count != n->n_taints;
	for (unsigned i = 0; i < count; i++) {
		const json_t *t = json_array_get(list, i);
		v[i] = (struct sched_taint){copy(t, "key"), copy(t, "value"), copy(t, "effect")};
		changed = changed || strcmp(v[i].key, n->taints[i].key) != 0 ||
			  strcmp(v[i].value, n->taints[i].value) != 0 || strcmp(v[i].effect, n->taints[i].effect) != 0;
	}
	taints_free(n->taints, n->n_taints);
	n->taints = v;
	n->n_taints = count;
	return changed;
}

bool cache_set_node(struct cache *c, const char *name, const json_t *tree)
{
	struct sched_node *n = node_need(c, name);
	bool changed = !n->known;
	if (!n->known)
		list_node(c, n);
	const json_t *spec = json_object_get(tree, "spec");
	json_t *labels = json_path(tree, "metadata", "labels", NULL);
	changed |= json_object_size(labels) != json_object_size(n->labels) ||
		   (labels && n->labels && !json_equal(labels, n->labels));
	json_incref(labels);
	json_decref(n->labels);
	n->labels = labels;
	changed |= set_taints(n, json_object_get(spec, "taints"));
	bool unschedulable = json_get_bool(spec, "unschedulable", false);
	changed |= unschedulable != n->unschedulable;
	n->unschedulable = unschedulable;
	struct sched_resources all = {0};
	const json_t *status = json_object_get(tree, "status"), *list = json_object_get(status, "allocatable");
	sched__resources_read(&all, list ? list : json_object_get(status, "capacity"));
	changed |= !resources_equal(&all, &n->allocatable);
	sched__resources_done(&n->allocatable);
	n->allocatable = all;
	return changed;
}

static void drop_if_unused(struct cache *c, struct sched_node *n)
{
	if (n->known || n->requested.pods)
		return;
	map_del(&c->nodes, n->name);
	node_free(n);
}

void cache_del_node(struct cache *c, const char *name)
{
	struct sched_node *n = map_get(&c->nodes, name);
	if (!n || !n->known)
		return;
	size_t at = position(c, name);
	memmove(c->sorted + at, c->sorted + at + 1, (c->n_sorted - at - 1) * sizeof(*c->sorted));
	c->n_sorted--;
	n->known = false;
	drop_if_unused(c, n);
}

/* ---- pods ---- */

static void requested_add(struct sched_node *n, const struct cache_pod *p, int sign)
{
	n->requested.cpu_milli += sign * p->requests.cpu_milli;
	n->requested.memory += sign * p->requests.memory;
	n->requested.storage += sign * p->requests.storage;
	n->requested.pods += sign;
	n->score_cpu_milli += sign * p->score_cpu_milli;
	n->score_memory += sign * p->score_memory;
	for (unsigned i = 0; i < p->requests.n_extended; i++) {
		const struct sched_extended *e = &p->requests.extended[i];
		unsigned j = 0;
		while (j < n->requested.n_extended && strcmp(n->requested.extended[j].name, e->name) != 0)
			j++;
		if (j == n->requested.n_extended) {
			if (j == SCHED_EXTENDED_MAX)
				continue;
			n->requested.extended[n->requested.n_extended++] = (struct sched_extended){xstrdup(e->name), 0};
		}
		n->requested.extended[j].value += sign * e->value;
	}
}

static void ports_add(struct sched_node *n, const struct cache_pod *p)
{
	for (unsigned i = 0; i < p->n_ports; i++) {
		GROW(n->ports, n->cap_ports, n->n_ports + 1);
		n->ports[n->n_ports++] =
			(struct sched_port){xstrdup(p->ports[i].ip), xstrdup(p->ports[i].protocol), p->ports[i].port};
	}
}

static void ports_remove(struct sched_node *n, const struct cache_pod *p)
{
	for (unsigned i = 0; i < p->n_ports; i++)
		for (unsigned j = 0; j < n->n_ports; j++) {
			struct sched_port *have = &n->ports[j];
			if (have->port != p->ports[i].port || strcmp(have->ip, p->ports[i].ip) != 0 ||
			    strcmp(have->protocol, p->ports[i].protocol) != 0)
				continue;
			struct sched_port gone = *have, *last = &n->ports[--n->n_ports];
			*have = *last;
			*last = (struct sched_port){0};
			free(gone.ip);
			free(gone.protocol);
			break;
		}
}

static void pod_free(struct cache_pod *p)
{
	for (unsigned i = 0; i < p->n_ports; i++) {
		free(p->ports[i].ip);
		free(p->ports[i].protocol);
	}
	free(p->ports);
	sched__resources_done(&p->requests);
	sched_terms_unref(p->terms);
	json_decref(p->labels);
	free(p->ns);
	free(p->node);
	free(p);
}

void cache_set_pod(struct cache *c, const char *uid, const char *node, const struct sched_pod *pod, bool assumed)
{
	struct cache_pod *have = map_get(&c->pods, uid);
	/* What a pod asks for cannot change once it is bound; its labels can. */
	if (have && !strcmp(have->node, node)) {
		have->assumed = have->assumed && assumed;
		have->deleting = pod->deleting;
		json_incref(pod->labels);
		json_decref(have->labels);
		have->labels = pod->labels;
		return;
	}
	cache_del_pod(c, uid);
	struct cache_pod *p = NEW(struct cache_pod);
	p->node = xstrdup(node);
	p->ns = xstrdup(pod->ns);
	p->labels = json_incref(pod->labels);
	p->terms = sched_terms_ref(pod->terms);
	p->assumed = assumed;
	p->deleting = pod->deleting;
	p->requests = pod->requests;
	for (unsigned i = 0; i < p->requests.n_extended; i++)
		p->requests.extended[i].name = xstrdup(pod->requests.extended[i].name);
	p->score_cpu_milli = pod->score_cpu_milli;
	p->score_memory = pod->score_memory;
	p->ports = NEW_N(struct sched_port, pod->n_ports + 1);
	for (unsigned i = 0; i < pod->n_ports; i++)
		p->ports[p->n_ports++] = (struct sched_port){xstrdup(pod->ports[i].ip), xstrdup(pod->ports[i].protocol),
							     pod->ports[i].port};
	map_set(&c->pods, uid, p);
	struct sched_node *n = node_need(c, node);
	requested_add(n, p, 1);
	ports_add(n, p);
	list_push(&n->pods, &p->list);
	n->n_with_terms += p->terms != NULL;
	c->n_with_terms += p->terms != NULL;
}

bool cache_del_pod(struct cache *c, const char *uid)
{
	struct cache_pod *p = map_del(&c->pods, uid);
	if (!p)
		return false;
	struct sched_node *n = map_get(&c->nodes, p->node);
	requested_add(n, p, -1);
	ports_remove(n, p);
	list_del(&p->list);
	n->n_with_terms -= p->terms != NULL;
	c->n_with_terms -= p->terms != NULL;
	drop_if_unused(c, n);
	pod_free(p);
	return true;
}

void cache_set_namespace(struct cache *c, const char *name, json_t *labels)
{
	json_decref(map_del(&c->namespaces, name));
	if (labels)
		map_set(&c->namespaces, name, json_incref(labels));
}

void cache_done(struct cache *c)
{
	MAP_EACH (&c->namespaces, e)
		json_decref(e->value);
	map_done(&c->namespaces);
	MAP_EACH (&c->pods, e)
		pod_free(e->value);
	map_done(&c->pods);
	MAP_EACH (&c->nodes, e)
		node_free(e->value);
	map_done(&c->nodes);
	free(c->sorted);
}
