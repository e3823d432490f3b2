/* Would this pod fit on this node? Asked once, before anything is made for it. */
#include "lib/api/quantity.h"
#include "nodeagent/pod.h"

/* Still using what it asked for. */
static bool counts(struct pod *p)
{
	return p->obj && !p->reject_reason[0] && p->state != POD_NEW && p->state < POD_TEARDOWN;
}

static int64_t used_by_others(struct pod *self, const char *resource, int64_t *ret_pods)
{
	int64_t sum = 0;
	*ret_pods = 0;
	MAP_EACH (&self->n->pods, e) {
		struct pod *p = e->value;
		if (p == self || !counts(p))
			continue;
		_cleanup_json_ json_t *tree = object_tree(p->obj);
		sum += pod_request(tree, resource);
		*ret_pods += 1;
	}
	return sum;
}

static int refuse(char ret_reason[64], char **ret_message, const char *reason, char *message)
{
	snprintf(ret_reason, 64, "%s", reason);
	free(*ret_message);
	*ret_message = message;
	return -1;
}

static int admit_resources(struct pod *p, const json_t *tree, char ret_reason[64], char **ret_message)
{
	const struct {
		const char *name;
		int64_t capacity;
	} want[] = {{"cpu", p->n->cpu_milli}, {"memory", p->n->memory_bytes}, {"ephemeral-storage", p->n->disk_bytes}};
	int64_t pods = 0;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		int64_t used = used_by_others(p, want[i].name, &pods);
		int64_t request = pod_request(tree, want[i].name);
		if (request <= 0 || want[i].capacity <= 0 || used + request <= want[i].capacity)
			continue;
		char reason[64];
		snprintf(reason, sizeof(reason), "OutOf%s", want[i].name);
		return refuse(
			ret_reason, ret_message, reason,
			xasprintf("Pod was rejected: Node didn't have enough resource: %s, requested: %lld, used: "
				  "%lld, capacity: %lld",
				  want[i].name, (long long)request, (long long)used, (long long)want[i].capacity));
	}
	if (pods + 1 > NODE_PODS_MAX)
		return refuse(ret_reason, ret_message, "OutOfpods",
			      xasprintf("Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: "
					"%lld, capacity: %d",
					(long long)pods, NODE_PODS_MAX));
	return 0;
}

static int admit_features(const json_t *spec, char ret_reason[64], char **ret_message)
{
	const json_t *os = json_path(spec, "os", "name", NULL);
	if (os && !streq(json_string_value(os), "linux"))
		return refuse(ret_reason, ret_message, "PodOSNotSupported",
			      xasprintf("Failed to admit pod as the OS field doesn't match node OS"));
	if (json_is_false(json_object_get(spec, "hostUsers")))
		return refuse(ret_reason, ret_message, "UnexpectedAdmissionError",
			      xasprintf("Pod was rejected: user namespaces (hostUsers: false) are not supported here"));
	return 0;
}

static int admit_selector(struct pod *p, const json_t *spec, char ret_reason[64], char **ret_message)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)json_object_get(spec, "nodeSelector"), key, v)
	{
		const char *have = NULL;
		if (streq(key, "kubernetes.io/hostname"))
			have = p->n->node_name;
		else if (streq(key, "kubernetes.io/os"))
			have = "linux";
		else
			continue; /* labels set by others: the scheduler has looked at them */
		if (!streq(have, json_string_value(v)))
			return refuse(ret_reason, ret_message, "NodeAffinity",
				      xasprintf("Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match "
						"Pod's node affinity/selector"));
	}
	return 0;
}

int pod_admit(struct pod *p, char ret_reason[64], char **ret_message)
{
	_cleanup_json_ json_t *tree = object_tree(p->obj);
	const json_t *spec = json_object_get(tree, "spec");
	if (admit_features(spec, ret_reason, ret_message) < 0 || admit_selector(p, spec, ret_reason, ret_message) < 0 ||
	    admit_resources(p, tree, ret_reason, ret_message) < 0)
		return -1;
	return 0;
}
