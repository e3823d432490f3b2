#include "scheduler/terms.h"

#include "lib/api/object.h"
#include "scheduler/cache.h"

/* Further requirements: the pod's own values of these labels. */
static void add_keys(json_t *selector, const json_t *keys, const json_t *labels, const char *op)
{
	size_t i;
	json_t *k;
	json_array_foreach(keys, i, k)
	{
		const char *key = json_string_value(k), *value = key ? json_get_str(labels, key, NULL) : NULL;
		if (value)
			json_array_append_new(
				json_need_array(selector, "matchExpressions"),
				json_make("{s:s, s:s, s:[s]}", "key", key, "operator", op, "values", value));
	}
}

static int read_selector(const json_t *holder, const json_t *labels, struct selector **ret)
{
	const json_t *keys = json_object_get(holder, "matchLabelKeys");
	const json_t *other = json_object_get(holder, "mismatchLabelKeys");
	const json_t *given = json_object_get(holder, "labelSelector");
	if (!json_is_object(given) || (!json_array_size(keys) && !json_array_size(other)))
		return selector_from_json(given, ret, NULL);
	_cleanup_json_ json_t *whole = json_deep_copy(given);
	add_keys(whole, keys, labels, "In");
	add_keys(whole, other, labels, "NotIn");
	return selector_from_json(whole, ret, NULL);
}

/* ---- affinity ---- */

static void term_done(struct sched_term *t)
{
	selector_free(t->selector);
	selector_free(t->ns_selector);
	json_decref(t->namespaces);
	free(t->topology_key);
}

static int read_term(const json_t *j, const char *ns, const json_t *labels, struct sched_term *ret)
{
	const json_t *by_labels = json_object_get(j, "namespaceSelector");
	json_t *names = json_object_get(j, "namespaces");
	*ret = (struct sched_term){.topology_key = xstrdup(json_get_str(j, "topologyKey", "")),
				   .has_ns_selector = json_is_object(by_labels)};
	ret->namespaces = json_array_size(names) ? json_incref(names) : json_array();
	if (!json_array_size(names) && !ret->has_ns_selector)
		json_array_append_new(ret->namespaces, json_string(ns));
	int r = read_selector(j, labels, &ret->selector);
	if (r == 0 && ret->has_ns_selector)
		r = selector_from_json(by_labels, &ret->ns_selector, NULL);
	return r;
}

static int read_list(struct sched_terms *t, enum term_kind kind, const json_t *list, const char *ns,
		     const json_t *labels)
{
	size_t i;
	json_t *j;
	int r = 0;
	t->v[kind] = NEW_N(struct sched_term, json_array_size(list) + 1);
	json_array_foreach(list, i, j)
	{
		bool weighed = kind >= TERM_RATHER_NEAR;
		struct sched_term *term = &t->v[kind][t->n[kind]++];
		int one = read_term(weighed ? json_object_get(j, "podAffinityTerm") : j, ns, labels, term);
		term->weight = weighed ? json_get_int(j, "weight", 0) : 0;
		r = r < 0 ? r : one;
	}
	return r;
}

struct sched_terms *sched_terms_make(const json_t *spec, const char *ns, const json_t *labels, const char **ret_problem)
{
	static const struct {
		const char *part, *list;
	} where[TERM_KINDS] = {
		{"podAffinity", "requiredDuringSchedulingIgnoredDuringExecution"},
		{"podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"},
		{"podAffinity", "preferredDuringSchedulingIgnoredDuringExecution"},
		{"podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution"},
	};
	const json_t *affinity = json_object_get(spec, "affinity");
	unsigned all = 0;
	if (!json_object_get(affinity, "podAffinity") && !json_object_get(affinity, "podAntiAffinity"))
		return NULL;
	struct sched_terms *t = NEW(struct sched_terms);
	t->refs = 1;
	for (enum term_kind k = 0; k < TERM_KINDS; k++) {
		if (read_list(t, k, json_path(affinity, where[k].part, where[k].list, NULL), ns, labels) < 0)
			*ret_problem = "spec.affinity: a selector is not valid";
		all += t->n[k];
	}
	if (all)
		return t;
	sched_terms_unref(t);
	return NULL;
}

struct sched_terms *sched_terms_ref(struct sched_terms *t)
{
	if (t)
		t->refs++;
	return t;
}

void sched_terms_unref(struct sched_terms *t)
{
	if (!t || --t->refs)
		return;
	for (enum term_kind k = 0; k < TERM_KINDS; k++) {
		for (unsigned i = 0; i < t->n[k]; i++)
			term_done(&t->v[k][i]);
		free(t->v[k]);
	}
	free(t);
}

bool sched_term_matches(const struct sched_term *t, const struct cache *c, const char *ns, const json_t *labels)
{
	bool inside = t->has_ns_selector && selector_matches(t->ns_selector, map_get(&c->namespaces, ns));
	size_t i;
	json_t *name;
	json_array_foreach(t->namespaces, i, name) inside = inside || streq(json_string_value(name), ns);
	return inside && selector_matches(t->selector, labels);
}

/* ---- topology spread ---- */

struct sched_spread *sched_spread_make(const json_t *spec, const json_t *labels, unsigned *ret_n,
				       const char **ret_problem)
{
	const json_t *list = json_object_get(spec, "topologySpreadConstraints");
	size_t i;
	json_t *j;
	if (!json_array_size(list))
		return NULL;
	struct sched_spread *v = NEW_N(struct sched_spread, json_array_size(list));
	json_array_foreach(list, i, j)
	{
		struct sched_spread *s = &v[(*ret_n)++];
		*s = (struct sched_spread){
			.topology_key = xstrdup(json_get_str(j, "topologyKey", "")),
			.max_skew = json_get_int(j, "maxSkew", 1),
			.min_domains = json_get_int(j, "minDomains", 1),
			.hard = !streq(json_get_str(j, "whenUnsatisfiable", ""), "ScheduleAnyway"),
			.honor_affinity = !streq(json_get_str(j, "nodeAffinityPolicy", ""), "Ignore"),
			.honor_taints = streq(json_get_str(j, "nodeTaintsPolicy", ""), "Honor"),
		};
		if (read_selector(j, labels, &s->selector) < 0)
			*ret_problem = "spec.topologySpreadConstraints: a selector is not valid";
	}
	return v;
}

void sched_spread_free(struct sched_spread *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		selector_free(v[i].selector);
		free(v[i].topology_key);
	}
	free(v);
}

/* ---- pairs ---- */

static void pair_key(struct buf *b, const char *key, const char *value)
{
	buf_addf(b, "%s\n%s", key, value);
}

void sched_pairs_add(struct map *m, const char *key, const char *value, int64_t n)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	pair_key(&b, key, value);
	map_set(m, b.data, (void *)(intptr_t)((int64_t)(intptr_t)map_get(m, b.data) + n));
}

bool sched_pairs_get(const struct map *m, const char *key, const char *value, int64_t *ret)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	pair_key(&b, key, value);
	*ret = (int64_t)(intptr_t)map_get(m, b.data);
	return map_has(m, b.data);
}
