#include "lib/api/kinds/pod_qos.h"

#include "lib/api/quantity.h"

/* What all containers of a pod ask for and may use, of the two resources that count. */
struct qos_sum {
	__int128 requests[2];
	__int128 limits[2];
	bool all_limited; /* every container has a limit for both */
};

static const char *const qos_resources[2] = {"cpu", "memory"};

/* 0 for a quantity that is missing, not one, or not above zero. */
static __int128 positive(const json_t *list, const char *name)
{
	struct quantity q;
	const json_t *v = json_object_get(list, name);
	char number[32];
	const char *s = json_string_value(v);

	if (json_is_integer(v)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		s = number;
	}
	if (!s || quantity_parse(s, &q, NULL) || q.nano < 0)
		return 0;
	return q.nano;
}

static void add_containers(struct qos_sum *sum, const json_t *containers)
{
	size_t i;
	json_t *c;

	json_array_foreach(containers, i, c)
	{
		const json_t *resources = json_object_get(c, "resources");
		for (int r = 0; r < 2; r++) {
			__int128 limit = positive(json_object_get(resources, "limits"), qos_resources[r]);
			sum->requests[r] += positive(json_object_get(resources, "requests"), qos_resources[r]);
			sum->limits[r] += limit;
			sum->all_limited = sum->all_limited && limit > 0;
		}
	}
}

const char *pod_qos(const json_t *pod)
{
	const json_t *spec = json_object_get(pod, "spec");
	struct qos_sum sum = {.all_limited = true};

	add_containers(&sum, json_object_get(spec, "containers"));
	add_containers(&sum, json_object_get(spec, "initContainers"));

	if (!sum.requests[0] && !sum.requests[1] && !sum.limits[0] && !sum.limits[1])
		return "BestEffort";
	if (sum.all_limited && sum.requests[0] == sum.limits[0] && sum.requests[1] == sum.limits[1])
		return "Guaranteed";
	return "Burstable";
}
