/* Which pods go first, and how long a pod stays on a tainted node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controllers/nodelifecycle.h"
#include "controllers/replicaset.h"

#define NOW 1000000

/* Listed from the first to go to the last; sorted from the reverse order. */
static void test_delete_order(void **state)
{
	(void)state;
	char node[] = "n", none[] = "";
	struct pod_info infos[] = {
		{.node = none, .phase = POD_PENDING, .created_s = NOW - 10},
		{.node = node, .phase = POD_PENDING, .created_s = NOW - 10},
		{.node = node, .phase = POD_RUNNING, .created_s = NOW - 10},
		{.node = node, .phase = POD_RUNNING, .ready = true, .ready_since_s = NOW - 999, .deletion_cost = -5},
		{.node = node, .phase = POD_RUNNING, .ready = true, .ready_since_s = NOW - 500}, /* doubled up */
		{.node = node, .phase = POD_RUNNING, .ready = true, .ready_since_s = NOW - 5},
		{.node = node,
		 .phase = POD_RUNNING,
		 .ready = true,
		 .ready_since_s = NOW - 500,
		 .restarts = 4,
		 .created_s = NOW - 600},
		{.node = node, .phase = POD_RUNNING, .ready = true, .ready_since_s = NOW - 500, .created_s = NOW - 600},
		{.node = node,
		 .phase = POD_RUNNING,
		 .ready = true,
		 .ready_since_s = NOW - 500,
		 .created_s = NOW - 90000},
	};
	enum { N = sizeof(infos) / sizeof(infos[0]) };
	struct object pods[N];
	struct rs_rank ranks[N];
	char uids[N][8];
	for (size_t i = 0; i < N; i++) {
		snprintf(uids[i], sizeof(uids[i]), "u%zu", N - i);
		pods[i] = (struct object){.uid = uids[i]};
		ranks[N - 1 - i] = (struct rs_rank){&pods[i], &infos[i], i == 4 ? 2 : 1};
	}
	rs_rank_sort(ranks, N, NOW);
	for (size_t i = 0; i < N; i++)
		assert_ptr_equal(ranks[i].info, &infos[i]);
}

static json_t *node_with(const char *status)
{
	return json_make("{s:{}, s:{s:[{s:s, s:s}]}}", "spec", "status", "conditions", "type", "Ready", "status",
			 status);
}

static void test_taints(void **state)
{
	(void)state;
	_cleanup_json_ json_t *node = node_with("Unknown");
	assert_true(node_taints_update(node, NOW));
	assert_false(node_taints_update(node, NOW + 5));
	struct pod_info plain = {0};
	assert_int_equal(node_taints_eviction_s(node, &plain, 300), NOW + 300);
	char key[] = "node.kubernetes.io/unreachable", exists[] = "Exists", effect[] = "NoExecute", empty[] = "";
	struct pod_toleration t = {key, exists, empty, effect, 10};
	struct pod_info some = {.tolerations = &t, .n_tolerations = 1};
	assert_int_equal(node_taints_eviction_s(node, &some, 300), NOW + 10);
	t.seconds = -1;
	assert_int_equal(node_taints_eviction_s(node, &some, 300), INT64_MAX);
	t.key = empty; /* tolerates everything */
	assert_int_equal(node_taints_eviction_s(node, &some, 300), INT64_MAX);
	json_object_set_new(json_array_get(json_path(node, "status", "conditions", NULL), 0), "status",
			    json_string("True"));
	assert_true(node_taints_update(node, NOW + 9));
	assert_null(json_path(node, "spec", "taints", NULL));
	assert_int_equal(node_taints_eviction_s(node, &plain, 300), INT64_MAX);
	/* any other NoExecute taint is not tolerated by default */
	json_object_set_new(json_object_get(node, "spec"), "taints",
			    json_make("[{s:s, s:s}]", "key", "k", "effect", "NoExecute"));
	assert_int_equal(node_taints_eviction_s(node, &plain, 300), 0);
}

/* As the API server hands out new nodes: not for pods before somebody has seen it ready. */
static void test_new_node(void **state)
{
	(void)state;
	_cleanup_json_ json_t *node = json_make("{s:{s:[{s:s, s:s}]}, s:{}}", "spec", "taints", "key",
						"node.kubernetes.io/not-ready", "effect", "NoSchedule", "status");
	assert_false(node_taints_update(node, NOW));
	json_object_set_new(node, "status",
			    json_make("{s:[{s:s, s:s}]}", "conditions", "type", "Ready", "status", "True"));
	assert_true(node_taints_update(node, NOW));
	assert_null(json_path(node, "spec", "taints", NULL));
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_delete_order), cmocka_unit_test(test_taints),
					   cmocka_unit_test(test_new_node)};
	return cmocka_run_group_tests_name("rank", tests, NULL, NULL);
}
