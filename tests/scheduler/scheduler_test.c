#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "scheduler/scheduler.h"
#include "tests/support/fake_cluster.h"

struct world {
	struct fake_cluster f;
	struct scheduler *s;
};

static int setup(void **state)
{
	struct world *w = NEW(struct world);
	fake_cluster_init(&w->f, 3);
	w->s = scheduler_new(w->f.client, "test");
	scheduler_start(w->s);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	scheduler_free(w->s);
	fake_cluster_done(&w->f);
	free(w);
	return 0;
}

/* extra: members of spec, each ending with a comma. */
static void add_pod(struct world *w, const char *name, const char *extra, const char *requests)
{
	fake_add(w->f.client,
		 "{'kind':'Pod','metadata':{'name':'%s'},'spec':{%s'containers':[{'name':'c','image':'i','resources':{"
		 "'requests':{%s}}}]}}",
		 name, extra, requests);
}

static const char *node_of(struct world *w, const char *pod)
{
	return fake_text(&w->f, "Pod", "default", pod, "spec|nodeName");
}

static const char *why(struct world *w, const char *pod)
{
	static char out[1024];
	_cleanup_json_ json_t *tree = fake_tree(w->f.client, "Pod", "default", pod);
	size_t i;
	json_t *c;
	out[0] = '\0';
	json_array_foreach(json_path(tree, "status", "conditions", NULL), i, c)
	{
		if (streq(json_get_str(c, "type", ""), "PodScheduled"))
			snprintf(out, sizeof(out), "%s", json_get_str(c, "message", ""));
	}
	return out;
}

static void test_spread(void **state)
{
	struct world *w = *state;
	fake_cluster_add_nodes(&w->f, 3, "4", "8Gi");
	for (int i = 0; i < 9; i++) {
		char name[24];
		snprintf(name, sizeof(name), "p%d", i);
		add_pod(w, name, "", "'cpu':'100m','memory':'128Mi'");
	}
	fake_run(&w->f, SECOND);
	unsigned on[3] = {0};
	for (int i = 0; i < 9; i++) {
		char name[24];
		snprintf(name, sizeof(name), "p%d", i);
		const char *node = node_of(w, name);
		assert_int_equal(strncmp(node, "node-", 5), 0);
		on[node[5] - '0']++;
	}
	assert_int_equal(on[0], 3);
	assert_int_equal(on[1], 3);
	assert_int_equal(on[2], 3);
	char text[64];
	snprintf(text, sizeof(text), "Successfully assigned default/p0 to %s", node_of(w, "p0"));
	assert_int_equal(fake_events(&w->f, "Scheduled", text), 1);
	assert_true(scheduler_idle(w->s));
}

static void test_reasons(void **state)
{
	struct world *w = *state;
	add_pod(w, "early", "", "");
	fake_run(&w->f, SECOND);
	assert_string_equal(why(w, "early"), "no nodes available to schedule pods");
	fake_cluster_add_nodes(&w->f, 3, "2", "4Gi");
	fake_patch(w->f.client, "Node", NULL, "node-0",
		   "{'spec':{'taints':[{'key':'dedicated','value':'db','effect':'NoSchedule'}]}}");
	fake_run(&w->f, 3 * SECOND);
	assert_string_not_equal(node_of(w, "early"), "");
	add_pod(w, "big", "", "'cpu':'3'");
	fake_run(&w->f, SECOND);
	assert_string_equal(why(w, "big"), "0/3 nodes are available: 1 node(s) had untolerated taint {dedicated: db}, "
					   "2 Insufficient cpu.");
	assert_string_equal(fake_condition(&w->f, "Pod", "default", "big", "PodScheduled"), "False|Unschedulable");
	assert_int_equal(fake_events(&w->f, "FailedScheduling", "2 Insufficient cpu."), 1);
	fake_patch(w->f.client, "Node", NULL, "node-1", "{'spec':{'unschedulable':true}}");
	add_pod(w, "selective", "'nodeSelector':{'disk':'ssd'},", "");
	fake_run(&w->f, SECOND);
	assert_string_equal(why(w, "selective"),
			    "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) "
			    "had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.");
	/* a node that fits appears: after the backoff they go there */
	fake_patch(w->f.client, "Node", NULL, "node-2",
		   "{'metadata':{'labels':{'disk':'ssd'}},'status':{'allocatable':{'cpu':'8'}}}");
	fake_run(&w->f, 12 * SECOND);
	assert_string_equal(node_of(w, "selective"), "node-2");
	assert_string_equal(node_of(w, "big"), "node-2");
	assert_string_equal(fake_condition(&w->f, "Pod", "default", "big", "PodScheduled"), "True|");
}

static void test_affinity(void **state)
{
	struct world *w = *state;
	fake_cluster_add_nodes(&w->f, 3, "2", "4Gi");
	fake_patch(w->f.client, "Node", NULL, "node-1", "{'metadata':{'labels':{'gen':'5'}}}");
	add_pod(w, "required",
		"'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':["
		"{'matchExpressions':[{'key':'gen','operator':'Gt','values':['4']}]}]}}},",
		"");
	add_pod(w, "field",
		"'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':["
		"{'matchFields':[{'key':'metadata.name','operator':'In','values':['node-2']}]}]}}},",
		"");
	add_pod(w, "preferred",
		"'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':100,"
		"'preference':{'matchExpressions':[{'key':'gen','operator':'Exists'}]}}]}},",
		"");
	fake_run(&w->f, SECOND);
	assert_string_equal(node_of(w, "required"), "node-1");
	assert_string_equal(node_of(w, "field"), "node-2");
	assert_string_equal(node_of(w, "preferred"), "node-1");
}

static void test_taints(void **state)
{
	struct world *w = *state;
	fake_cluster_add_nodes(&w->f, 2, "2", "4Gi");
	fake_patch(w->f.client, "Node", NULL, "node-0",
		   "{'spec':{'taints':[{'key':'k','value':'v','effect':'PreferNoSchedule'}]}}");
	fake_patch(w->f.client, "Node", NULL, "node-1",
		   "{'spec':{'taints':[{'key':'k','value':'v','effect':'NoExecute'}]}}");
	fake_run(&w->f, SECOND);
	add_pod(w, "plain", "", "");
	add_pod(w, "tolerant", "'tolerations':[{'key':'k','operator':'Equal','value':'v','effect':'NoExecute'}],", "");
	fake_run(&w->f, SECOND);
	assert_string_equal(node_of(w, "plain"), "node-0");
	assert_string_equal(node_of(w, "tolerant"), "node-1");
}

static void test_ports_and_pod_count(void **state)
{
	struct world *w = *state;
	fake_cluster_add_nodes(&w->f, 1, "2", "4Gi");
	for (int i = 0; i < 2; i++)
		fake_add(w->f.client,
			 "{'kind':'Pod','metadata':{'name':'h%d'},'spec':{'containers':[{'name':'c','image':'i',"
			 "'ports':[{'containerPort':80,'hostPort':80}]}]}}",
			 i);
	fake_run(&w->f, SECOND);
	assert_string_equal(node_of(w, "h0"), "node-0");
	assert_string_equal(why(w, "h1"),
			    "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
	fake_delete(w->f.client, "Pod", "default", "h0", NULL, 0);
	fake_run(&w->f, 2 * SECOND);
	assert_string_equal(node_of(w, "h1"), "node-0");
	fake_patch(w->f.client, "Node", NULL, "node-0", "{'status':{'allocatable':{'pods':'1'}}}");
	add_pod(w, "more", "", "");
	fake_run(&w->f, SECOND);
	assert_string_equal(why(w, "more"), "0/1 nodes are available: 1 Too many pods.");
}

static void test_priority(void **state)
{
	struct world *w = *state;
	for (int i = 0; i < 3; i++) {
		char name[16], extra[32];
		snprintf(name, sizeof(name), "p%d", i);
		snprintf(extra, sizeof(extra), "'priority':%d,", i);
		add_pod(w, name, extra, "'cpu':'1'");
	}
	fake_run(&w->f, SECOND);
	fake_cluster_add_nodes(&w->f, 1, "1", "4Gi");
	fake_run(&w->f, 30 * SECOND);
	assert_string_equal(node_of(w, "p2"), "node-0");
	assert_string_equal(node_of(w, "p0"), "");
}

/* Three nodes: 0 and 1 in zone a, 2 in zone b. */
static void add_zones(struct world *w)
{
	fake_cluster_add_nodes(&w->f, 3, "4", "8Gi");
	for (int i = 0; i < 3; i++) {
		char name[24];
		snprintf(name, sizeof(name), "node-%d", i);
		fake_patch(w->f.client, "Node", NULL, name, "{'metadata':{'labels':{'zone':'%s'}}}", i < 2 ? "a" : "b");
	}
	fake_run(&w->f, SECOND);
}

/* A pod with this label app; extra as in add_pod. */
static void add_app(struct world *w, const char *name, const char *ns, const char *app, const char *extra)
{
	fake_add(
		w->f.client,
		"{'kind':'Pod','metadata':{'name':'%s','namespace':'%s','labels':{'app':'%s'}},'spec':{%s'containers':["
		"{'name':'c','image':'i'}]}}",
		name, ns, app, extra);
	fake_run(&w->f, SECOND);
}

#define MEANS(app) "'labelSelector':{'matchLabels':{'app':'" app "'}}"
#define REQUIRED(kind, key, means)                                                                                     \
	"'affinity':{'" kind "':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'" key "'," means    \
	"}]}},"
#define PREFERRED(kind, key, means)                                                                                    \
	"'affinity':{'" kind "':{'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':100,"                    \
	"'podAffinityTerm':{'topologyKey':'" key "'," means "}}]}},"
#define HOST "kubernetes.io/hostname"

static void test_apart(void **state)
{
	struct world *w = *state;
	add_zones(w);
	for (int i = 0; i < 4; i++) {
		char name[24];
		snprintf(name, sizeof(name), "x%d", i);
		add_app(w, name, "default", "x", REQUIRED("podAntiAffinity", HOST, MEANS("x")));
	}
	assert_string_not_equal(node_of(w, "x0"), "");
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < i; j++) {
			char a[24], b[24], on[32];
			snprintf(a, sizeof(a), "x%d", i);
			snprintf(b, sizeof(b), "x%d", j);
			snprintf(on, sizeof(on), "%s", node_of(w, a));
			assert_string_not_equal(on, node_of(w, b));
		}
	assert_string_equal(why(w, "x3"), "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
	/* one without rules of its own is shunned by those that run */
	add_app(w, "plain", "default", "x", "");
	assert_string_equal(why(w, "plain"),
			    "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.");
	/* in another namespace nobody minds */
	add_app(w, "elsewhere", "kube-system", "x", "");
	assert_string_not_equal(fake_text(&w->f, "Pod", "kube-system", "elsewhere", "spec|nodeName"), "");
	fake_delete(w->f.client, "Pod", "default", "x1", NULL, 0);
	fake_run(&w->f, 12 * SECOND);
	assert_string_not_equal(node_of(w, "x3"), "");
}

static void test_near(void **state)
{
	struct world *w = *state;
	add_zones(w);
	add_app(w, "lonely", "default", "y", REQUIRED("podAffinity", "zone", MEANS("db")));
	assert_string_equal(why(w, "lonely"), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
	add_app(w, "db", "default", "db", "'nodeSelector':{'zone':'b'},");
	fake_run(&w->f, 12 * SECOND);
	assert_string_equal(node_of(w, "lonely"), "node-2"); /* a new pod is news */
	/* a group that wants to be together has a first one */
	add_app(w, "g0", "default", "g", REQUIRED("podAffinity", "zone", MEANS("g")));
	char zone_of_first = node_of(w, "g0")[5] < '2' ? 'a' : 'b';
	assert_string_not_equal(node_of(w, "g0"), "");
	for (int i = 1; i < 5; i++) {
		char name[24];
		snprintf(name, sizeof(name), "g%d", i);
		add_app(w, name, "default", "g", REQUIRED("podAffinity", "zone", MEANS("g")));
		assert_int_equal(node_of(w, name)[5] < '2' ? 'a' : 'b', zone_of_first);
	}
	/* pods of other namespaces, by name and by label */
	add_app(w, "far", "kube-system", "far", "'nodeSelector':{'kubernetes.io/hostname':'node-1'},");
	add_app(w, "n1", "default", "z", REQUIRED("podAffinity", HOST, MEANS("far") ",'namespaces':['kube-system']"));
	assert_string_equal(node_of(w, "n1"), "node-1");
	add_app(w, "n2", "default", "z", REQUIRED("podAffinity", HOST, MEANS("far") ",'namespaceSelector':{}"));
	assert_string_equal(node_of(w, "n2"), "node-1");
	add_app(w, "n3", "default", "z",
		REQUIRED("podAffinity", HOST, MEANS("far") ",'namespaceSelector':{'matchLabels':{'team':'t'}}"));
	assert_string_equal(node_of(w, "n3"), "");
	fake_patch(w->f.client, "Namespace", NULL, "kube-system", "{'metadata':{'labels':{'team':'t'}}}");
	add_app(w, "n4", "default", "z",
		REQUIRED("podAffinity", HOST, MEANS("far") ",'namespaceSelector':{'matchLabels':{'team':'t'}}"));
	assert_string_equal(node_of(w, "n4"), "node-1");
}

static void test_rather(void **state)
{
	struct world *w = *state;
	add_zones(w);
	add_app(w, "cache", "default", "cache", "'nodeSelector':{'kubernetes.io/hostname':'node-1'},");
	add_app(w, "near", "default", "n", PREFERRED("podAffinity", HOST, MEANS("cache")));
	assert_string_equal(node_of(w, "near"), "node-1");
	add_app(w, "apart", "default", "n", PREFERRED("podAntiAffinity", "zone", MEANS("cache")));
	assert_string_equal(node_of(w, "apart"), "node-2");
	/* what one that runs would rather have counts too */
	add_app(w, "host", "default", "h",
		"'nodeSelector':{'kubernetes.io/hostname':'node-0'}," PREFERRED("podAffinity", HOST, MEANS("guest")));
	add_app(w, "guest", "default", "guest", "");
	assert_string_equal(node_of(w, "guest"), "node-0");
}

#define SPREAD(key, when, means)                                                                                       \
	"'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'" key "','whenUnsatisfiable':'" when "'," means "}],"

static void test_hard_spread(void **state)
{
	struct world *w = *state;
	add_zones(w);
	unsigned in_b = 0;
	for (int i = 0; i < 6; i++) {
		char name[24];
		snprintf(name, sizeof(name), "s%d", i);
		add_app(w, name, "default", "s", SPREAD("zone", "DoNotSchedule", MEANS("s")));
		in_b += streq(node_of(w, name), "node-2");
	}
	assert_int_equal(in_b, 3); /* zones, not nodes */
	fake_patch(w->f.client, "Node", NULL, "node-2", "{'spec':{'unschedulable':true}}");
	add_app(w, "t0", "default", "s", SPREAD("zone", "DoNotSchedule", MEANS("s")));
	add_app(w, "t1", "default", "s", SPREAD("zone", "DoNotSchedule", MEANS("s")));
	assert_string_equal(
		why(w, "t1"),
		"0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod topology "
		"spread constraints.");
	add_app(w, "racks", "default", "s", SPREAD("rack", "DoNotSchedule", MEANS("s")));
	assert_string_equal(
		why(w, "racks"),
		"0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod topology "
		"spread constraints (missing required label).");
}

static void test_soft_spread(void **state)
{
	struct world *w = *state;
	unsigned in_b = 0;
	add_zones(w);
	/* zone b has two pods of the kind: the next ones go to a, although its nodes are as full */
	for (int i = 0; i < 2; i++) {
		char name[24];
		snprintf(name, sizeof(name), "b%d", i);
		add_app(w, name, "default", "s", "'nodeSelector':{'zone':'b'},");
		snprintf(name, sizeof(name), "o%d", i);
		add_app(w, name, "default", "o", "'nodeSelector':{'kubernetes.io/hostname':'node-0'},");
		snprintf(name, sizeof(name), "q%d", i);
		add_app(w, name, "default", "o", "'nodeSelector':{'kubernetes.io/hostname':'node-1'},");
	}
	for (int i = 0; i < 2; i++) {
		char name[24];
		snprintf(name, sizeof(name), "s%d", i);
		add_app(w, name, "default", "s", SPREAD("zone", "ScheduleAnyway", MEANS("s")));
		in_b += streq(node_of(w, name), "node-2");
	}
	assert_int_equal(in_b, 0);
	/* and it is no more than a wish */
	fake_patch(w->f.client, "Node", NULL, "node-0", "{'spec':{'unschedulable':true}}");
	fake_patch(w->f.client, "Node", NULL, "node-1", "{'spec':{'unschedulable':true}}");
	add_app(w, "anyway", "default", "s", SPREAD("zone", "ScheduleAnyway", MEANS("s")));
	assert_string_equal(node_of(w, "anyway"), "node-2");
}

static bool fail_bindings(void *arg, const struct client_request *req, struct err *err)
{
	int *left = arg;
	if (!streq(req->subresource, "binding") || *left == 0)
		return false;
	(*left)--;
	err_status(err, ERR_INTERNAL_ERROR, "no luck");
	return true;
}

static void test_binding_fails(void **state)
{
	struct world *w = *state;
	int left = 2;
	fake_cluster_add_nodes(&w->f, 1, "1", "4Gi");
	fake_react(w->f.client, fail_bindings, &left);
	add_pod(w, "p", "", "'cpu':'1'");
	fake_run(&w->f, SECOND / 2);
	assert_string_equal(node_of(w, "p"), "");
	fake_run(&w->f, 5 * SECOND);
	assert_string_equal(node_of(w, "p"), "node-0");
	assert_int_equal(left, 0);
}

/* Never more on a node than fits, also while answers and events are late. */
static void test_assumed(void **state)
{
	struct world *w = *state;
	fake_latency(w->f.client, 200000, 700000);
	fake_cluster_add_nodes(&w->f, 2, "2", "8Gi");
	fake_run(&w->f, 5 * SECOND);
	for (int i = 0; i < 6; i++) {
		char name[24];
		snprintf(name, sizeof(name), "p%d", i);
		add_pod(w, name, "", "'cpu':'1'");
	}
	fake_run(&w->f, 20 * SECOND);
	unsigned bound = 0;
	for (int i = 0; i < 6; i++) {
		char name[24];
		snprintf(name, sizeof(name), "p%d", i);
		bound += *node_of(w, name) != '\0';
	}
	assert_int_equal(bound, 4);
}

static void test_speed(void **state)
{
	struct world *w = *state;
	fake_cluster_add_nodes(&w->f, 100, "32", "64Gi");
	fake_run(&w->f, SECOND);
	enum { PODS = 2000 };
	for (int i = 0; i < PODS; i++) {
		char name[24];
		snprintf(name, sizeof(name), "p%d", i);
		add_pod(w, name, "", "'cpu':'100m','memory':'64Mi'");
	}
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	fake_run(&w->f, SECOND);
	clock_gettime(CLOCK_MONOTONIC, &b);
	double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	print_message("# %d pods onto 100 nodes, API in memory included: %.0f pods/s\n", PODS, PODS / s);
	size_t bound = 0;
	for (size_t i = 0; i < PODS; i++) {
		_cleanup_json_ json_t *tree = object_tree(fake_nth(w->f.client, "Pod", NULL, i));
		bound += *json_get_str(json_object_get(tree, "spec"), "nodeName", "") != '\0';
	}
	assert_int_equal(bound, PODS);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_spread),
		T(test_reasons),
		T(test_affinity),
		T(test_taints),
		T(test_ports_and_pod_count),
		T(test_apart),
		T(test_near),
		T(test_rather),
		T(test_hard_spread),
		T(test_soft_spread),
		T(test_priority),
		T(test_binding_fails),
		T(test_assumed),
		T(test_speed),
	};
	return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
