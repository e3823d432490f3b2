/* NodeAffinity: nodeSelector, required terms (any of them), preferred terms (the sum of their weights). */
#include "scheduler/plugin.h"

static bool in_values(const json_t *values, const char *s)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)values, i, v)
	{
		if (streq(json_string_value(v), s))
			return true;
	}
	return false;
}

static bool compare_numbers(const char *have, const json_t *values, bool greater)
{
	int64_t a, b;
	const char *want = json_string_value(json_array_get(values, 0));
	if (json_array_size(values) != 1 || parse_i64(have, &a) < 0 || !want || parse_i64(want, &b) < 0)
		return false;
	return greater ? a > b : a < b;
}

/* value NULL: the node has no such label. */
static bool requirement_matches(const json_t *req, const char *value)
{
	const char *op = json_get_str(req, "operator", "");
	const json_t *values = json_object_get(req, "values");
	if (!strcmp(op, "In"))
		return value && in_values(values, value);
	if (!strcmp(op, "NotIn"))
		return !value || !in_values(values, value);
	if (!strcmp(op, "Exists"))
		return value != NULL;
	if (!strcmp(op, "DoesNotExist"))
		return value == NULL;
	if (!strcmp(op, "Gt") || !strcmp(op, "Lt"))
		return value && compare_numbers(value, values, *op == 'G');
	return false;
}

/* All of its expressions and fields; an empty term matches nothing. */
static bool term_matches(const json_t *term, const struct sched_node *node)
{
	const json_t *exprs = json_object_get(term, "matchExpressions"), *fields = json_object_get(term, "matchFields");
	if (!json_array_size(exprs) && !json_array_size(fields))
		return false;
	size_t i;
	json_t *req;
	json_array_foreach((json_t *)exprs, i, req)
	{
		const char *key = json_get_str(req, "key", "");
		if (!requirement_matches(req, json_get_str(node->labels, key, NULL)))
			return false;
	}
	json_array_foreach((json_t *)fields, i, req)
	{
		if (strcmp(json_get_str(req, "key", ""), "metadata.name") != 0 || !requirement_matches(req, node->name))
			return false;
	}
	return true;
}

static bool required_matches(const struct sched_pod *pod, const struct sched_node *node)
{
	const char *key;
	json_t *v;
	json_object_foreach(pod->node_selector, key, v)
	{
		if (!streq(json_get_str(node->labels, key, NULL), json_string_value(v)))
			return false;
	}
	const json_t *required = json_object_get(pod->node_affinity, "requiredDuringSchedulingIgnoredDuringExecution");
	if (!required)
		return true;
	size_t i;
	json_t *term;
	json_array_foreach(json_object_get(required, "nodeSelectorTerms"), i, term)
	{
		if (term_matches(term, node))
			return true;
	}
	return false;
}

static void filter(const void *state, const struct sched_pod *pod, const struct sched_node *node,
		   struct sched_verdict *v)
{
	(void)state;
	if ((pod->node_selector || pod->node_affinity) && !required_matches(pod, node))
		sched_refuse(v, "node(s) didn't match Pod's node affinity/selector");
}

static int64_t score(const void *state, const struct sched_pod *pod, const struct sched_node *node)
{
	(void)state;
	int64_t sum = 0;
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(pod->node_affinity, "preferredDuringSchedulingIgnoredDuringExecution"), i, p)
	{
		if (term_matches(json_object_get(p, "preference"), node))
			sum += json_get_int(p, "weight", 0);
	}
	return sum;
}

static void most_best(int64_t *scores, size_t n)
{
	sched_normalize(scores, n, false);
}

const struct sched_plugin sched_node_affinity = {
	.name = "NodeAffinity", .weight = 2, .filter = filter, .score = score, .normalize = most_best};
