/* The life of pods on a node, in virtual time: a fake API, a fake runtime, a fake host; the agent is the real one. */
#include "lib/core/file.h"
#include "tests/support/nodeagent/pod_world.h"

static void node_is_registered(void **state)
{
	struct world *w = *state;
	agent_up(w);
	json_t *n = fake_tree(w->client, "Node", NULL, "n1");
	assert_non_null(n);
	assert_string_equal(meta_label(n, "kubernetes.io/hostname"), "n1");
	assert_string_equal(json_string_value(json_path(n, "status", "nodeInfo", "kubeletVersion", NULL)),
			    KUBELET_VERSION);
	assert_string_equal(json_string_value(json_path(n, "status", "capacity", "pods", NULL)), "110");
	assert_int_equal(json_array_size(json_path(n, "status", "conditions", NULL)), 4);
	json_decref(n);
	/* with the registration, not at the next renewal */
	run(w, 100);
	assert_non_null(fake_find(w->client, "Lease", "kube-node-lease", "n1"));
	uint64_t rv = fake_find(w->client, "Lease", "kube-node-lease", "n1")->rv;
	run(w, 10000);
	assert_true(fake_find(w->client, "Lease", "kube-node-lease", "n1")->rv > rv);
	unsigned writes = fake_calls(w->client, CLIENT_PATCH, "Node", "status");
	run(w, 310000); /* unchanged: once in five minutes */
	assert_in_range(fake_calls(w->client, CLIENT_PATCH, "Node", "status") - writes, 1, 2);
}

static bool refuse_lease(void *arg, const struct client_request *req, struct err *err)
{
	int *left = arg;
	if (req->verb != CLIENT_PATCH || !streq(req->kind->kind, "Lease") || !*left)
		return false;
	--*left;
	err_status(err, ERR_SERVICE_UNAVAILABLE, "no quorum");
	return true;
}

/* Forty seconds without a renewal, and the node counts as gone: it does not wait for the next heartbeat. */
static void a_lease_that_is_late(void **state)
{
	struct world *w = *state;
	int left = 1;
	agent_up(w);
	run(w, 100);
	fake_react(w->client, refuse_lease, &left);
	uint64_t rv = fake_find(w->client, "Lease", "kube-node-lease", "n1")->rv;
	for (int i = 0; i < 110 && left; i++)
		run(w, 100);
	assert_int_equal(left, 0);
	assert_int_equal(fake_find(w->client, "Lease", "kube-node-lease", "n1")->rv, rv);
	run(w, 2000);
	assert_true(fake_find(w->client, "Lease", "kube-node-lease", "n1")->rv > rv);
	fake_react(w->client, NULL, NULL);
}

static void pod_runs(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	assert_string_equal(phase(w), "Running");
	assert_string_equal(condition(w, "Ready"), "True");
	assert_string_equal(condition(w, "Initialized"), "True");
	assert_string_equal(condition(w, "PodReadyToStartContainers"), "True");
	json_t *s = pod_status(w);
	assert_string_equal(json_get_str(s, "podIP", ""), "10.0.0.1");
	assert_string_equal(json_get_str(s, "hostIP", ""), "192.168.1.1");
	assert_string_equal(json_get_str(s, "qosClass", ""), "BestEffort");
	json_decref(s);
	json_t *c = cstatus(w, 0);
	assert_true(json_get_bool(c, "ready", false));
	assert_true(json_get_bool(c, "started", false));
	assert_int_equal(json_get_int(c, "restartCount", -1), 0);
	assert_non_null(json_path(c, "state", "running", "startedAt", NULL));
	json_decref(c);
	assert_int_equal(events(w, "Started"), 1);
	assert_int_equal(events(w, "Pulled"), 1);
	assert_int_equal(events(w, "Created"), 1);
	/* few writes on the way, and nothing moves any more */
	unsigned writes = fake_calls(w->client, CLIENT_PATCH, "Pod", "status");
	assert_in_range(writes, 1, 2);
	run(w, 60000);
	assert_int_equal(fake_calls(w->client, CLIENT_PATCH, "Pod", "status"), writes);
}

static void status_golden(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	json_t *s = pod_status(w), *got = json_array();
	json_array_append_new(got, json_incref(s));
	struct buf text = BUF_INIT;
	json_write(&text, s);
	_cleanup_free_ char *cid = xasprintf("mini://%s", id(w, "web", 0));
	const char *parts[] = {
		"\"phase\":\"Running\"",
		"\"qosClass\":\"BestEffort\"",
		"\"podIPs\":[{\"ip\":\"10.0.0.1\"}]",
		"\"hostIPs\":[{\"ip\":\"192.168.1.1\"}]",
		"\"startTime\":\"2026-01-02T15:04:05Z\"",
		"{\"type\":\"ContainersReady\",\"status\":\"True\",\"lastProbeTime\":null,"
		"\"lastTransitionTime\":\"2026-01-02T15:04:05Z\"}",
		"\"state\":{\"running\":{\"startedAt\":\"2026-01-02T15:04:05Z\"}},\"lastState\":{},\"ready\":true,"
		"\"restartCount\":0,\"image\":\"web\",\"imageID\":\"sha256:",
		cid,
	};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!strstr(text.data, parts[i]))
			fail_msg("not in the status: %s\n%s", parts[i], text.data);
	}
	buf_done(&text);
	json_decref(got);
	json_decref(s);
}

static void crash_loop_backs_off(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_script(w->runtime, "web", 100 * MS, 1);
	add_pod(w, ONE_CONTAINER);
	run(w, 2000);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "reason", NULL)), "CrashLoopBackOff");
	assert_int_equal(json_integer_value(json_path(c, "lastState", "terminated", "exitCode", NULL)), 1);
	assert_string_equal(json_string_value(json_path(c, "lastState", "terminated", "reason", NULL)), "Error");
	json_decref(c);
	run(w, 800 * 1000);
	/* at once, then 10, 20, 40, 80, 160, 300 s after the exit */
	const uint64_t want_s[] = {0, 10, 20, 40, 80, 160, 300};
	for (unsigned i = 0; i < ARRAY_LEN(want_s); i++) {
		uint64_t start = when(w, "start", id(w, "web", i + 1)), end = when(w, "exited", id(w, "web", i));
		assert_in_range(start - end, want_s[i] * 1000, want_s[i] * 1000 + 50);
	}
	c = cstatus(w, 0);
	assert_int_equal(json_get_int(c, "restartCount", -1), 7);
	json_decref(c);
	assert_string_equal(phase(w), "Running");
	assert_true(events(w, "BackOff") >= 5);
}

static void backoff_is_forgotten_after_ten_minutes(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_script(w->runtime, "web", 100 * MS, 1);
	add_pod(w, ONE_CONTAINER);
	run(w, 5000);
	fake_runtime_script(w->runtime, "web", 0, 0);
	run(w, 20000);
	unsigned attempt = 2;
	assert_int_equal(fake_runtime_running(w->runtime), 1);
	run(w, 601 * 1000);
	assert_true(fake_runtime_exit(w->runtime, id(w, "web", attempt), 1, false));
	run(w, 100);
	assert_int_equal(fake_runtime_running(w->runtime), 1);
}

static void oom_is_told(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	fake_runtime_exit(w->runtime, id(w, "web", 0), 137, true);
	run(w, 500);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "lastState", "terminated", "reason", NULL)), "OOMKilled");
	assert_int_equal(json_get_int(c, "restartCount", -1), 1);
	json_decref(c);
}

static void jobs_complete(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_script(w->runtime, "web", 100 * MS, 0);
	add_pod(w, "'restartPolicy':'Never'," ONE_CONTAINER);
	run(w, 1000);
	assert_string_equal(phase(w), "Succeeded");
	assert_string_equal(condition(w, "Ready"), "False");
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	assert_int_equal(fake_host_cgroups(w->host), 0);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "terminated", "reason", NULL)), "Completed");
	json_decref(c);
}

static void missing_image_backs_off(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'containers':[{'name':'web','image':'none','imagePullPolicy':'IfNotPresent'}]");
	run(w, 1000);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "reason", NULL)), "ErrImagePull");
	json_decref(c);
	run(w, 5000);
	c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "reason", NULL)), "ImagePullBackOff");
	json_decref(c);
	run(w, 75000);
	assert_in_range(fake_runtime_when(w->runtime, "pull none", 1) - fake_runtime_when(w->runtime, "pull none", 0),
			10000, 10050);
	assert_in_range(fake_runtime_when(w->runtime, "pull none", 2) - fake_runtime_when(w->runtime, "pull none", 1),
			20000, 20050);
	assert_in_range(fake_runtime_when(w->runtime, "pull none", 3) - fake_runtime_when(w->runtime, "pull none", 2),
			40000, 40050);
	assert_true(events(w, "Failed") >= 2);
	fake_runtime_pull(w->runtime, 0);
	run(w, 81000);
	assert_string_equal(phase(w), "Running");
}

static void never_pull(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'containers':[{'name':'web','image':'none','imagePullPolicy':'Never'}]");
	run(w, 1000);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "reason", NULL)), "ErrImageNeverPull");
	json_decref(c);
	assert_int_equal(events(w, "ErrImageNeverPull"), 1);
	assert_int_equal(asked(w, "pull", "none"), 0);
}

static void init_containers_go_first(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_script(w->runtime, "one", 1000 * MS, 0);
	fake_runtime_script(w->runtime, "two", 1000 * MS, 0);
	add_pod(w,
		"'initContainers':[{'name':'one','image':'web','imagePullPolicy':'Never'},{'name':'side','image':'web',"
		"'imagePullPolicy':'Never','restartPolicy':'Always'},{'name':'two','image':'web','imagePullPolicy':"
		"'Never'}]," ONE_CONTAINER);
	run(w, 500);
	assert_string_equal(phase(w), "Pending");
	assert_string_equal(condition(w, "Initialized"), "False");
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "reason", NULL)), "PodInitializing");
	json_decref(c);
	run(w, 3000);
	assert_string_equal(phase(w), "Running");
	assert_true(when(w, "exited", id(w, "one", 0)) < when(w, "start", id(w, "side", 0)));
	assert_true(when(w, "start", id(w, "side", 0)) < when(w, "start", id(w, "two", 0)));
	assert_true(when(w, "exited", id(w, "two", 0)) < when(w, "start", id(w, "web", 0)));
	assert_int_equal(fake_runtime_running(w->runtime), 2);
	/* the sidecar ends after the main one */
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	char side[128], web[128];
	snprintf(side, sizeof(side), "%s", id(w, "side", 0));
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	run(w, 5000);
	assert_true(when(w, "exited", web) < when(w, "exited", side));
	assert_null(fake_find(w->client, "Pod", "default", "p"));
}

static void failing_init_ends_a_never_pod(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_script(w->runtime, "one", 100 * MS, 3);
	add_pod(w, "'restartPolicy':'Never','initContainers':[{'name':'one','image':'web','imagePullPolicy':'Never'}]"
		   "," ONE_CONTAINER);
	run(w, 2000);
	assert_string_equal(phase(w), "Failed");
	assert_int_equal(asked(w, "start", id(w, "web", 0)), 0);
}

static void endpoint_goes_before_sigterm(void **state)
{
	struct world *w = *state;
	w->endpoint_gone_after_us = 700 * MS;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	char web[128];
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 5000);
	assert_true(w->endpoint_gone_at_ms > 0);
	/* and what was on its way then has a moment to be accepted */
	assert_in_range(when(w, "stop", web), w->endpoint_gone_at_ms + 200, w->endpoint_gone_at_ms + 210);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	assert_int_equal(fake_host_addresses(w->host), 0);
	assert_int_equal(fake_host_cgroups(w->host), 0);
	assert_int_equal(events(w, "Killing"), 1);
	_cleanup_free_ char *dir = xasprintf("%s/pods/u1", w->dir);
	assert_false(file_exists(dir));
}

static void connections_not_yet_accepted_come_before_sigterm(void **state)
{
	struct world *w = *state;
	w->endpoint_gone_after_us = 10 * MS;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	char web[128];
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	fake_host_backlog(w->host, 10);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 5000);
	assert_in_range(when(w, "stop", web), w->endpoint_gone_at_ms + 400, w->endpoint_gone_at_ms + 410);
}

static void a_server_that_never_accepts_is_stopped_all_the_same(void **state)
{
	struct world *w = *state;
	w->endpoint_gone_after_us = 10 * MS;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	char web[128];
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	fake_host_backlog(w->host, UINT32_MAX);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 5000);
	assert_in_range(when(w, "stop", web), w->endpoint_gone_at_ms + 2000, w->endpoint_gone_at_ms + 2030);
}

static void a_silent_proxy_is_waited_for_two_seconds(void **state)
{
	struct world *w = *state;
	w->endpoint_gone_after_us = 60000 * MS;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	char web[128];
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	uint64_t at = env_now_ms(w->env);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 5000);
	assert_in_range(when(w, "stop", web) - at, 2000, 2050);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
	run(w, 60000); /* the late answer finds nobody */
}

static void prestop_and_grace(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w,
		"'terminationGracePeriodSeconds':20,'containers':[{'name':'web','image':'web','imagePullPolicy':'Never',"
		"'lifecycle':{'preStop':{'sleep':{'seconds':5}}}}]");
	run(w, 500);
	char web[128], stop[160];
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	uint64_t at = env_now_ms(w->env);
	fake_delete(w->client, "Pod", "default", "p", NULL, 20);
	run(w, 10000);
	assert_in_range(when(w, "stop", web) - at, 5000, 5050);
	snprintf(stop, sizeof(stop), "stop %s grace=15", web);
	assert_int_equal(fake_runtime_asked(w->runtime, stop), 1);
}

static void shortened_grace_is_respected(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_term(w->runtime, "web", UINT64_MAX);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	char web[128];
	snprintf(web, sizeof(web), "%s", id(w, "web", 0));
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 5000);
	assert_int_equal(fake_runtime_running(w->runtime), 1);
	uint64_t at = env_now_ms(w->env);
	fake_delete(w->client, "Pod", "default", "p", NULL, 1);
	run(w, 3000);
	assert_in_range(when(w, "exited", web) - at, 900, 1100);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
}

static void dead_pause_rebuilds_the_sandbox(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	assert_true(fake_runtime_exit(w->runtime, id(w, "POD", 0), 137, false));
	run(w, 3000);
	assert_int_equal(events(w, "SandboxChanged"), 1);
	assert_int_equal(asked(w, "run", id(w, "POD", 1)), 1);
	assert_int_equal(asked(w, "start", id(w, "web", 1)), 1);
	json_t *c = cstatus(w, 0);
	assert_int_equal(json_get_int(c, "restartCount", -1), 1);
	json_decref(c);
	assert_string_equal(condition(w, "Ready"), "True");
	json_t *s = pod_status(w);
	assert_string_equal(json_get_str(s, "podIP", ""), "10.0.0.2");
	assert_int_equal(json_array_size(json_object_get(s, "podIPs")), 1);
	json_decref(s);
}

#define PROBED(probe) "'containers':[{'name':'web','image':'web','imagePullPolicy':'Never'," probe "}]"

static void readiness_follows_the_probe(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_exec(w->runtime, "web", 1, "not yet");
	add_pod(w, PROBED("'readinessProbe':{'exec':{'command':['ready']},'periodSeconds':2,'failureThreshold':2}"));
	run(w, 1000);
	assert_string_equal(phase(w), "Running");
	assert_string_equal(condition(w, "Ready"), "False");
	fake_runtime_exec(w->runtime, "web", 0, NULL);
	run(w, 2000);
	assert_string_equal(condition(w, "Ready"), "True");
	fake_runtime_exec(w->runtime, "web", 1, "gone");
	run(w, 1500); /* one failure is not enough */
	assert_string_equal(condition(w, "Ready"), "True");
	run(w, 2100);
	assert_string_equal(condition(w, "Ready"), "False");
	assert_int_equal(asked(w, "start", id(w, "web", 1)), 0);
	assert_true(events(w, "Unhealthy") >= 2);
}

static void a_slow_start_does_not_cost_a_period(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_exec(w->runtime, "web", 1, "not yet");
	add_pod(w, PROBED("'readinessProbe':{'exec':{'command':['ready']},'periodSeconds':10,'failureThreshold':1}"));
	run(w, 150);
	fake_runtime_exec(w->runtime, "web", 0, NULL);
	run(w, 450);
	assert_string_equal(condition(w, "Ready"), "True");
	assert_int_equal(events(w, "Unhealthy"), 0);
}

static void liveness_restarts(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, PROBED("'livenessProbe':{'exec':{'command':['live']},'periodSeconds':1,'initialDelaySeconds':5}"));
	run(w, 10000);
	assert_int_equal(fake_runtime_running(w->runtime), 1);
	fake_runtime_exec(w->runtime, "web", 1, "dead");
	run(w, 3500);
	assert_int_equal(asked(w, "start", id(w, "web", 1)), 1);
	assert_int_equal(events(w, "Killing"), 1);
	json_t *c = cstatus(w, 0);
	assert_int_equal(json_get_int(c, "restartCount", -1), 1);
	assert_int_equal(json_integer_value(json_path(c, "lastState", "terminated", "exitCode", NULL)), 143);
	json_decref(c);
}

static void startup_holds_the_others_back(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_exec(w->runtime, "web", 1, "starting");
	add_pod(w, PROBED("'startupProbe':{'exec':{'command':['up']},'periodSeconds':1,'failureThreshold':30},"
			  "'livenessProbe':{'exec':{'command':['live']},'periodSeconds':1,'failureThreshold':1}"));
	run(w, 10000);
	json_t *c = cstatus(w, 0);
	assert_false(json_get_bool(c, "started", true));
	assert_int_equal(json_get_int(c, "restartCount", -1), 0);
	json_decref(c);
	fake_runtime_exec(w->runtime, "web", 0, NULL);
	run(w, 2000);
	c = cstatus(w, 0);
	assert_true(json_get_bool(c, "started", false));
	assert_true(json_get_bool(c, "ready", false));
	json_decref(c);
}

static void deadline_fails_the_pod(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'activeDeadlineSeconds':5," ONE_CONTAINER);
	run(w, 4000);
	assert_string_equal(phase(w), "Running");
	run(w, 3000);
	assert_string_equal(phase(w), "Failed");
	json_t *s = pod_status(w);
	assert_string_equal(json_get_str(s, "reason", ""), "DeadlineExceeded");
	json_decref(s);
	assert_int_equal(fake_runtime_count(w->runtime), 0);
}

static void too_big_is_refused(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'containers':[{'name':'web','image':'web','resources':{'requests':{'cpu':'10000'}}}]");
	run(w, 1000);
	assert_string_equal(phase(w), "Failed");
	json_t *s = pod_status(w);
	assert_string_equal(json_get_str(s, "reason", ""), "OutOfcpu");
	json_decref(s);
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 1000);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
}

static void read_into(char *ret, size_t size, const char *path)
{
	struct buf b = BUF_INIT;
	struct err err = ERR_INIT;
	if (file_read(path, 65536, &b, &err) < 0)
		snprintf(ret, size, "%s", err.message);
	else
		snprintf(ret, size, "%s", buf_str(&b));
	buf_done(&b);
}

static void volumes_and_env(void **state)
{
	struct world *w = *state;
	char text[4096];
	agent_up(w);
	fake_add(w->client,
		 "{'apiVersion':'v1','kind':'Service','metadata':{'name':'db-main','namespace':'default'},'spec':{"
		 "'clusterIP':'10.96.0.7','ports':[{'port':5432,'protocol':'TCP'}]}}");
	fake_add(w->client, "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'s','namespace':'default'},'data':{"
			    "'pass':'aGVsbG8='}}");
	add_pod(w,
		"'volumes':[{'name':'cfg','configMap':{'name':'c'}},{'name':'e','emptyDir':{}},{'name':'d','downwardAPI':{"
		"'items':[{'path':'labels','fieldRef':{'fieldPath':'metadata.labels'}}]}}],'containers':[{'name':'web',"
		"'image':'web','imagePullPolicy':'Never','args':['$(GREETING) $(NOPE) $$(X)'],'resources':{'limits':{"
		"'memory':'64Mi','cpu':'500m'}},'env':[{'name':'GREETING','value':'hi'},{'name':'IP','valueFrom':{'fieldRef'"
		":{'fieldPath':'status.podIP'}}},{'name':'PASS','valueFrom':{'secretKeyRef':{'name':'s','key':'pass'}}},"
		"{'name':'MEM','valueFrom':{'resourceFieldRef':{'resource':'limits.memory','divisor':'1Mi'}}}],"
		"'volumeMounts':[{'name':'cfg','mountPath':'/cfg'},{'name':'e','mountPath':'/e'},{'name':'e','mountPath':"
		"'/sub','subPath':'a/b'}]}]");
	run(w, 1000);
	assert_string_equal(phase(w), "Pending"); /* the ConfigMap is missing */
	assert_int_equal(events(w, "FailedMount"), 1);
	fake_add(w->client,
		 "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','namespace':'default'},'data':{"
		 "'key':'one'}}");
	run(w, 1000);
	assert_string_equal(phase(w), "Running");
	const char *config = fake_runtime_config(w->runtime, "web");
	const char *parts[] = {"env GREETING=hi\n",
			       "env IP=10.0.0.1\n",
			       "env PASS=hello\n",
			       "env MEM=64\n",
			       "env DB_MAIN_SERVICE_HOST=10.96.0.7\n",
			       "env DB_MAIN_PORT_5432_TCP=tcp://10.96.0.7:5432\n",
			       "arg hi $(NOPE) $(X)\n",
			       ":/cfg:ro\n",
			       ":/e:rw\n",
			       "/a/b:/sub:rw\n",
			       ":/etc/hosts:rw\n",
			       ":/dev/termination-log:rw\n",
			       "memory 67108864\n",
			       "shares 512\n"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!strstr(config, parts[i]))
			fail_msg("not in the config: %s\n%s", parts[i], config);
	}
	_cleanup_free_ char *base = xasprintf("%s/pods/%s", w->dir, uid(w));
	_cleanup_free_ char *key = xasprintf("%s/volumes/kubernetes.io~configmap/cfg/key", base);
	_cleanup_free_ char *labels = xasprintf("%s/volumes/kubernetes.io~downward-api/d/labels", base);
	_cleanup_free_ char *resolv = xasprintf("%s/etc/resolv.conf", base);
	read_into(text, sizeof(text), key);
	assert_string_equal(text, "one");
	read_into(text, sizeof(text), labels);
	assert_string_equal(text, "a=\"b\"");
	read_into(text, sizeof(text), resolv);
	assert_non_null(strstr(text, "nameserver 10.96.0.10\noptions"));
	/* a change of the object arrives in the volume */
	fake_patch(w->client, "ConfigMap", "default", "c", "{'data':{'key':'two'}}");
	run(w, 1000);
	read_into(text, sizeof(text), key);
	assert_string_equal(text, "two");
}

static void same_name_other_uid(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	char old_id[128];
	snprintf(old_id, sizeof(old_id), "%s", id(w, "web", 0));
	fake_delete(w->client, "Pod", "default", "p", NULL, 0);
	fake_add(w->client,
		 "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default','uid':'u2'},'spec':{"
		 "'nodeName':'n1'," ONE_CONTAINER "}}");
	run(w, 5000);
	assert_int_equal(asked(w, "exited", old_id), 1);
	assert_string_not_equal(id(w, "web", 0), old_id);
	assert_int_equal(fake_runtime_running(w->runtime), 1);
	assert_string_equal(condition(w, "Ready"), "True");
}

static void node_says_ready_again(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_patch(
		w->client, "Node", NULL, "n1",
		"{'status':{'conditions':[{'type':'Ready','status':'Unknown','lastTransitionTime':'2026-01-02T15:04:05Z'},"
		"{'type':'NetworkUnavailable','status':'False'}]}}");
	run(w, 1000);
	json_t *n = fake_tree(w->client, "Node", NULL, "n1");
	struct buf text = BUF_INIT;
	json_write(&text, json_path(n, "status", "conditions", NULL));
	assert_non_null(strstr(text.data, "\"type\":\"Ready\",\"status\":\"True\""));
	assert_non_null(strstr(text.data, "NetworkUnavailable")); /* another's condition stays */
	buf_done(&text);
	json_decref(n);
}

static void status_conflicts_are_looked_at_again(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, ONE_CONTAINER);
	for (int i = 0; i < 40; i++) { /* someone else keeps writing while it starts */
		fake_patch(w->client, "Pod", "default", "p", "{'metadata':{'annotations':{'n':'%d'}}}", i);
		run(w, 1);
	}
	run(w, 2000);
	assert_string_equal(phase(w), "Running");
	assert_string_equal(condition(w, "Ready"), "True");
}

static void foreign_conditions_and_gates(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'readinessGates':[{'conditionType':'example.com/up'}]," ONE_CONTAINER);
	run(w, 1000);
	assert_string_equal(condition(w, "ContainersReady"), "True");
	assert_string_equal(condition(w, "Ready"), "False");
	json_t *tree = fake_tree(w->client, "Pod", "default", "p");
	json_t *list = json_deep_copy(json_path(tree, "status", "conditions", NULL));
	json_array_append_new(list, json_make("{s:s, s:s}", "type", "example.com/up", "status", "True"));
	struct buf text = BUF_INIT;
	json_write(&text, list);
	fake_patch(w->client, "Pod", "default", "p", "{'status':{'conditions':%s}}", text.data);
	buf_done(&text);
	json_decref(list);
	json_decref(tree);
	run(w, 1000);
	assert_string_equal(condition(w, "Ready"), "True");
	assert_string_equal(condition(w, "example.com/up"), "True");
}

static void failing_poststart_kills(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_exec(w->runtime, "web", 1, "no");
	add_pod(w,
		"'containers':[{'name':'web','image':'web','imagePullPolicy':'Never','lifecycle':{'postStart':{'exec':{"
		"'command':['hook']}}}}]");
	run(w, 1000);
	assert_true(events(w, "FailedPostStartHook") >= 1);
	assert_true(asked(w, "exited", id(w, "web", 0)) == 1);
}

static void missing_secret_in_env(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w,
		"'containers':[{'name':'web','image':'web','imagePullPolicy':'Never','env':[{'name':'A','valueFrom':{"
		"'secretKeyRef':{'name':'s','key':'k'}}}]}]");
	run(w, 1000);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "reason", NULL)),
			    "CreateContainerConfigError");
	assert_string_equal(json_string_value(json_path(c, "state", "waiting", "message", NULL)),
			    "secret \"s\" not found");
	json_decref(c);
	fake_add(w->client,
		 "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'s','namespace':'default'},'data':{'k':"
		 "'aGVsbG8='}}");
	run(w, 100); /* its arrival is enough */
	assert_string_equal(phase(w), "Running");
}

static void termination_message_is_told(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'restartPolicy':'Never'," ONE_CONTAINER);
	run(w, 500);
	_cleanup_free_ char *path = xasprintf("%s/pods/%s/containers/web/0", w->dir, uid(w));
	assert_int_equal(file_write(path, "said", NULL), 0);
	fake_runtime_exit(w->runtime, id(w, "web", 0), 4, false);
	run(w, 500);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_string_value(json_path(c, "state", "terminated", "message", NULL)), "said");
	json_decref(c);
	assert_string_equal(phase(w), "Failed");
}

static void finalizers_hold_only_the_object(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_add(w->client,
		 "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default','finalizers':["
		 "'example.com/f']},'spec':{'nodeName':'n1'," ONE_CONTAINER "}}");
	run(w, 500);
	fake_delete(w->client, "Pod", "default", "p", NULL, 5);
	run(w, 20000);
	assert_non_null(fake_find(w->client, "Pod", "default", "p"));
	assert_int_equal(fake_runtime_count(w->runtime), 0);
	fake_patch(w->client, "Pod", "default", "p", "{'metadata':{'finalizers':null}}");
	run(w, 1000);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
	assert_int_equal(w->agent->pods.count, 0);
}

static void changed_image_restarts(void **state)
{
	struct world *w = *state;
	agent_up(w);
	fake_runtime_image(w->runtime, "web2");
	add_pod(w, ONE_CONTAINER);
	run(w, 500);
	fake_patch(w->client, "Pod", "default", "p",
		   "{'spec':{'containers':[{'name':'web','image':'web2','imagePullPolicy':'Never'}]}}");
	run(w, 1000);
	json_t *c = cstatus(w, 0);
	assert_string_equal(json_get_str(c, "image", ""), "web2");
	assert_int_equal(json_get_int(c, "restartCount", -1), 1);
	json_decref(c);
}

static void unsupported_volumes_say_so(void **state)
{
	struct world *w = *state;
	agent_up(w);
	add_pod(w, "'volumes':[{'name':'n','nfs':{'server':'a','path':'/b'}}]," ONE_CONTAINER);
	run(w, 1000);
	assert_string_equal(phase(w), "Pending");
	struct object *e = fake_nth(w->client, "Event", NULL, 0);
	json_t *t = object_tree(e);
	assert_string_equal(
		json_get_str(t, "message", ""),
		"MountVolume.SetUp failed for volume \"n\" : volume type nfs is not supported by this node agent");
	json_decref(t);
	fake_delete(w->client, "Pod", "default", "p", NULL, 30);
	run(w, 1000);
	assert_null(fake_find(w->client, "Pod", "default", "p"));
}

static void ids_carry_what_is_needed(void **state)
{
	(void)state;
	char text[128], u[64], n[64];
	unsigned attempt;
	pod_container_id(text, "0f0e0d0c-1111-2222-3333-444455556666", "web-1", 12);
	assert_true(pod_parse_id(text, u, n, &attempt));
	assert_string_equal(u, "0f0e0d0c-1111-2222-3333-444455556666");
	assert_string_equal(n, "web-1");
	assert_int_equal(attempt, 12);
	pod_container_id(text, "0f0e0d0c-1111-2222-3333-444455556666",
			 "a23456789012345678901234567890123456789012345678901234567890123", 1000000);
	assert_true(strlen(text) <= 100);
	assert_false(pod_parse_id("stranger", u, n, &attempt));
	assert_false(pod_parse_id("a_b", u, n, &attempt));
	assert_false(pod_parse_id("a_b_x", u, n, &attempt));
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
static const struct CMUnitTest tests[] = {
	T(node_is_registered),
	T(a_lease_that_is_late),
	T(pod_runs),
	T(status_golden),
	T(crash_loop_backs_off),
	T(backoff_is_forgotten_after_ten_minutes),
	T(oom_is_told),
	T(jobs_complete),
	T(missing_image_backs_off),
	T(never_pull),
	T(init_containers_go_first),
	T(failing_init_ends_a_never_pod),
	T(endpoint_goes_before_sigterm),
	T(connections_not_yet_accepted_come_before_sigterm),
	T(a_server_that_never_accepts_is_stopped_all_the_same),
	T(a_silent_proxy_is_waited_for_two_seconds),
	T(prestop_and_grace),
	T(shortened_grace_is_respected),
	T(dead_pause_rebuilds_the_sandbox),
	T(readiness_follows_the_probe),
	T(a_slow_start_does_not_cost_a_period),
	T(liveness_restarts),
	T(startup_holds_the_others_back),
	T(deadline_fails_the_pod),
	T(too_big_is_refused),
	T(volumes_and_env),
	T(same_name_other_uid),
	T(node_says_ready_again),
	T(status_conflicts_are_looked_at_again),
	T(foreign_conditions_and_gates),
	T(failing_poststart_kills),
	T(missing_secret_in_env),
	T(termination_message_is_told),
	T(finalizers_hold_only_the_object),
	T(changed_image_restarts),
	T(unsupported_volumes_say_so),
	cmocka_unit_test(ids_carry_what_is_needed),
};

RUN_TESTS(tests)
