/* What an agent finds that an earlier one left: running, ended, and halves of both. */
#include "tests/support/nodeagent/pod_world.h"

static void restart_of_the_agent_adopts(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	fake_runtime_exit(w->runtime, id(w, "web", 0), 1, false);
	run(w, 500);
	agent_down(w);
	run(w, 5000);
	agent_up(w);
	run(w, 5000);
	assert_int_equal(asked(w, "start", id(w, "web", 1)), 1);
	assert_int_equal(asked(w, "start", id(w, "web", 2)), 0);
	assert_int_equal(asked(w, "run", id(w, "POD", 0)), 1);
	json_t *c = cstatus(w, 0);
	assert_int_equal(json_get_int(c, "restartCount", -1), 1);
	assert_true(json_get_bool(c, "ready", false));
	assert_int_equal(json_integer_value(json_path(c, "lastState", "terminated", "exitCode", NULL)), 1);
	json_decref(c);
	/* and it is in charge: an exit is seen */
	fake_runtime_exit(w->runtime, id(w, "web", 1), 2, false);
	run(w, 1000);
	assert_int_equal(asked(w, "start", id(w, "web", 2)), 1);
}

static void orphans_are_removed(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	agent_down(w);
	fake_delete(w->client, "Pod", "default", "p", NULL, 0);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
	agent_up(w);
	run(w, 5000);
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	assert_int_equal(fake_host_addresses(w->host), 0);
	assert_int_equal(fake_host_cgroups(w->host), 0);
}

static void restart_while_terminating(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_term(w->runtime, "web", UINT64_MAX);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 5000);
	agent_down(w);
	agent_up(w);
	run(w, 31000);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
	assert_int_equal(fake_runtime_count(w->runtime), 0);
}

static void node_stop_is_like_a_reboot(void **state)
{
	struct world *w = *state;
	bool stopped = false;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	nodeagent_stop_pods(w->agent, 10, on_flag, &stopped);
	run(w, 5000);
	assert_true(stopped);
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	assert_int_equal(fake_host_addresses(w->host), 0);
	assert_string_equal(phase(w), "Running"); /* the object stays as it was */
	agent_down(w);
	agent_up(w);
	run(w, 2000);
	assert_string_equal(condition(w, "Ready"), "True");
	json_t *c = cstatus(w, 0);
	assert_int_equal(json_get_int(c, "restartCount", -1), 1);
	json_decref(c);
}

static void a_never_pod_is_not_rerun_after_a_reboot(void **state)
{
	struct world *w = *state;
	bool stopped = false;
	agent_up(w);
	add_pod(w, "'restartPolicy':'Never'," ONE_CONTAINER);
	run(w, 500);
	nodeagent_stop_pods(w->agent, 10, on_flag, &stopped);
	run(w, 5000);
	assert_true(stopped);
	agent_down(w);
	agent_up(w);
	run(w, 2000);
	assert_string_equal(phase(w), "Failed");
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "terminated", "reason", NULL)),
			    "ContainerStatusUnknown");
	json_decref(c);
}

/* Killed between making a sandbox and starting it: there is one, and it holds nothing. */
static void a_sandbox_never_started_is_rebuilt(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	agent_down(w);
	fake_runtime_leave(w->runtime, id(w, "web", 0), RUNTIME_UNKNOWN, 0);
	fake_runtime_leave(w->runtime, id(w, "POD", 0), RUNTIME_CREATED, 4711);
	agent_up(w);
	run(w, 5000);
	assert_int_equal(asked(w, "remove", id(w, "POD", 0)), 1);
	assert_int_equal(asked(w, "run", id(w, "POD", 1)), 1);
	assert_int_equal(fake_runtime_running(w->runtime), 1);
	assert_string_equal(condition(w, "Ready"), "True");
}

/* Half made or half removed: no exit of it will be heard of, so it is not taken for one that runs. */
static void a_container_without_a_process_is_made_again(void **state)
{
	static const enum runtime_status left[] = {RUNTIME_CREATED, RUNTIME_UNKNOWN};
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	for (unsigned i = 0; i < ARRAY_LEN(left); i++) {
		agent_down(w);
		fake_runtime_leave(w->runtime, id(w, "web", 0), left[i], 0);
		agent_up(w);
		run(w, 5000);
		assert_int_equal(asked(w, "start", id(w, "web", 0)), 2 + i); /* the same attempt */
		assert_int_equal(fake_runtime_running(w->runtime), 1);
		assert_string_equal(condition(w, "Ready"), "True");
	}
	assert_int_equal(asked(w, "run", id(w, "POD", 0)), 1);
}

static void a_deleted_pod_does_not_wait_for_a_container_without_a_process(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	agent_down(w);
	fake_runtime_leave(w->runtime, id(w, "web", 0), RUNTIME_UNKNOWN, 0);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	agent_up(w);
	run(w, 5000);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	assert_int_equal(fake_host_addresses(w->host), 0);
}

static void an_orphan_without_a_process_is_removed(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	agent_down(w);
	fake_runtime_leave(w->runtime, id(w, "web", 0), RUNTIME_UNKNOWN, 0);
	fake_delete(w->client, "Pod", "default", "p", NULL, 0);
	agent_up(w);
	run(w, 5000);
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	assert_int_equal(fake_host_addresses(w->host), 0);
	assert_int_equal(fake_host_cgroups(w->host), 0);
	assert_int_equal(w->agent->pods.count, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
static const struct CMUnitTest tests[] = {
	T(restart_of_the_agent_adopts),
	T(orphans_are_removed),
	T(restart_while_terminating),
	T(node_stop_is_like_a_reboot),
	T(a_never_pod_is_not_rerun_after_a_reboot),
	T(a_sandbox_never_started_is_rebuilt),
	T(a_container_without_a_process_is_made_again),
	T(a_deleted_pod_does_not_wait_for_a_container_without_a_process),
	T(an_orphan_without_a_process_is_removed),
};

RUN_TESTS(tests)
